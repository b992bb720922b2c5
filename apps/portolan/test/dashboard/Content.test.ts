/**
 * What the pages say: of fleets of every kind, of the configuration, and that it is what the command says too.
 * Numbers are those of the acceptance checks in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Page } from "playwright-core"
import { registry } from "../fleet.ts"
import { portolan } from "../process.ts"
import { barriers, Browser, complete, lacking, unreadable, visit } from "./browser.ts"
import { places } from "./pages.ts"
import { proxy } from "./proxy.ts"
import { broken, type Scene, scene, settled } from "./scenes.ts"
import { type Servers, servers, type Tool } from "./servers.ts"

const tools: ReadonlyArray<Tool> = [{ name: "get_forecast", description: "Forecast for a city" }]

interface Candidate {
  readonly instance: string
}

/** What `explain --json` says, as far as it is compared. */
interface Explained {
  readonly strategy: string
  readonly picked?: Candidate
  readonly considered: ReadonlyArray<Candidate>
  readonly leftOut: ReadonlyArray<Candidate>
}

interface Stage extends Scene {
  readonly record: (id: string, more?: object) => object
}

class Port extends Context.Service<Port, Stage>()("portolan/test/dashboard/Content") {
  static readonly layer = Layer.effect(
    Port,
    Effect.gen(function*() {
      const made: Servers = yield* servers(new Map([["weather", { version: "1.4.2", latency: 1, tools }]]))
      const running = yield* scene({ local: registry() })
      return {
        ...running,
        record: (id, more = {}) => ({
          id,
          service: "weather",
          endpoint: { transport: "streamable-http", url: made.url("weather", id) },
          ...more
        })
      }
    })
  )
}

/** What is wrong with the text of any page of the fleet as it is now. */
const scan = async (page: Page, url: string, more: ReadonlyArray<string> = []) => {
  const found: Record<string, ReadonlyArray<string>> = {}
  for (const path of [...places.map(({ path }) => path), ...more]) {
    await page.goto(url + path)
    await complete(page)
    const lines = await unreadable(page)
    if (lines.length > 0) found[path] = lines
  }
  return found
}

const verdict = (page: Page, name: string) => page.getByRole("heading", { level: 1, name, exact: true }).waitFor()

describe.skipIf(lacking !== undefined)("content", () => {
  layer(Layer.merge(Browser.layer, Port.layer), { timeout: "120 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "22: an empty gateway says how to add a server; no page shows what isn't there",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Port
          const { page } = yield* visit(url, "/")
          yield* Effect.promise(async () => {
            await verdict(page, "No servers yet")
            for (const line of ["portolan register", "portolan scan", `${url}/mcp`]) {
              await page.getByText(line).first().waitFor()
            }
            assert.deepStrictEqual(await barriers(page), [])
            assert.deepStrictEqual(await scan(page, url), {})
          })
        }),
      60_000
    )

    it.effect(
      "22: one instance without calls, of no version and no region, and a gateway whose clock is 5 min ahead or behind",
      () =>
        Effect.gen(function*() {
          const { announce, record, url } = yield* Port
          announce("local", registry(record("weather-1")))
          yield* settled(url, { healthy: 1 })
          for (const ahead of [-300_000, 300_000]) {
            const between = yield* proxy(url, { ahead })
            const { page } = yield* visit(between.url, "/")
            yield* Effect.promise(async () => {
              await verdict(page, "The only service is well")
              assert.deepStrictEqual(await scan(page, between.url, ["/instances/weather-1?source=local"]), {})
            })
          }
        }),
      60_000
    )

    it.effect("22: forty regions; all down; and all of it from a source that is lost", () =>
      Effect.gen(function*() {
        const { announce, record, url } = yield* Port
        const many = Array.from({ length: 40 }, (_, at) => ({ region: `region-${at + 1}` }))
        const { page } = yield* visit(url, "/")
        announce("local", registry(...many.map((more, at) => record(`weather-${at}`, more))))
        yield* settled(url, { healthy: 40 })
        yield* Effect.promise(async () => {
          const grid = page.getByRole("grid", { name: "Services by region" })
          await grid.getByRole("link", { name: "weather, region-40: 1 instance, 1 healthy", exact: true }).waitFor()
          assert.strictEqual(await grid.locator("th.region").count(), 40)
          assert.deepStrictEqual(await unreadable(page), [])
        })
        announce("local", registry(...many.map((more, at) => record(`weather-${at}`, { ...more, status: "down" }))))
        yield* settled(url, { down: 40 })
        yield* Effect.promise(async () => {
          await verdict(page, "The only service takes no calls")
          assert.deepStrictEqual(await scan(page, url, ["/instances/weather-1?source=local"]), {})
        })
        announce("local", registry(...many.map((more, at) => record(`weather-${at}`, more))))
        yield* settled(url, { healthy: 40 })
        announce("local", broken)
        yield* settled(url, { stale: 40 })
        yield* Effect.promise(async () => {
          await page.goto(url)
          await page.getByRole("navigation").getByText("1 stale").waitFor()
          assert.deepStrictEqual(await scan(page, url, ["/instances/weather-1?source=local"]), {})
        })
        announce("local", registry(record("weather-1"), record("weather-2")))
        yield* settled(url, { healthy: 2 })
      }), 60_000)

    it.effect(
      "24: a mistake in a configuration is told with its line and column, and gone to",
      () =>
        Effect.gen(function*() {
          const { url } = yield* Port
          const { page } = yield* visit(url, "/configuration")
          yield* Effect.promise(async () => {
            const text = page.getByRole("textbox", { name: /portolan\.yaml/ })
            await text.fill("registries:\n  - { type: memory }\nhealth:\n  intervall: 3s\n")
            await page.keyboard.press("Control+Enter")
            await page.getByRole("button", { name: "4:3, go to line 4, column 3" }).click()
            assert.strictEqual(await text.evaluate((field) => field.selectionStart), 43)
            await text.fill("registries:\n  - { type: memory }\n")
            await page.getByRole("button", { name: "Validate" }).click()
            await page.getByRole("status").filter({ hasText: /mistake/i }).first().waitFor()
            assert.strictEqual(await page.getByRole("button", { name: /go to line/ }).count(), 0)
          })
        }),
      60_000
    )

    it.effect("25: what the page explains is what the command explains", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const told = yield* portolan(["explain", "weather", "--json", "--url", url])
        assert.strictEqual(told.code, 0, told.stderr)
        const { page } = yield* visit(url, "/")
        const said: Explained = JSON.parse(told.stdout)
        yield* Effect.promise(async () => {
          const [response] = await Promise.all([
            page.waitForResponse((response) => response.url().includes("/api/v1/explain")),
            page.getByRole("link", { name: "weather", exact: true }).click()
          ])
          const shown: Explained = JSON.parse(await response.text())
          // Who of equals is picked is another one each time.
          const taken = ({ considered, picked }: Explained) =>
            [...considered, ...picked === undefined ? [] : [picked]].map(({ instance }) => instance).sort()
          assert.strictEqual(shown.strategy, said.strategy)
          assert.deepStrictEqual(taken(shown), taken(said))
          assert.deepStrictEqual(
            shown.leftOut.map(({ instance }) => instance),
            said.leftOut.map(({ instance }) => instance)
          )
          const why = page.getByRole("region", { name: "Why that instance" })
          await why.getByText("picked").waitFor()
          for (const instance of taken(said)) await why.getByRole("link", { name: instance }).waitFor()
        })
      }), 60_000)
  })
})

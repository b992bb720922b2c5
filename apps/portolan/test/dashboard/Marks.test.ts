/**
 * What people change from the dashboard: nobody's change is overruled unseen, and nothing is offered that can't help or
 * would be refused.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Page } from "playwright-core"
import { registry } from "../fleet.ts"
import { Browser, lacking, live, visit } from "./browser.ts"
import { proxy } from "./proxy.ts"
import { type Scene, scene, settled } from "./scenes.ts"
import { servers } from "./servers.ts"

class Port extends Context.Service<Port, Scene>()("portolan/test/dashboard/Marks") {
  static readonly layer = Layer.effect(
    Port,
    Effect.gen(function*() {
      const made = yield* servers(new Map([["weather", { version: "1.4.2", latency: 1, tools: [{ name: "now" }] }]]))
      const record = (id: string, more = {}) => ({
        id,
        service: "weather",
        endpoint: { transport: "streamable-http", url: made.url("weather", id) },
        ...more
      })
      const running = yield* scene({
        local: registry(record("one"), record("two"), record("gone", { status: "down" }))
      })
      yield* settled(running.url, { healthy: 2, down: 1 })
      return running
    })
  )
}

/** Somebody else marks an instance. */
const mark = async (url: string, id: string, as: string, reason = "") => {
  const answer = await fetch(`${url}/api/v1/instances/${id}/mark`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ as, reason })
  })
  assert.strictEqual(answer.status, 200)
}

const sheet = async (page: Page, url: string, id: string) => {
  await page.goto(`${url}/instances/${id}?source=local`)
  await live(page)
  return page.getByRole("complementary", { name: id })
}

describe.skipIf(lacking !== undefined)("marks", () => {
  layer(Layer.merge(Browser.layer, Port.layer), { timeout: "60 seconds", excludeTestServices: true })((it) => {
    it.effect("bring back only what a mark keeps out, not what its registry announces as down", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const { page } = yield* visit(url, "/")
        yield* Effect.promise(async () => {
          const announced = await sheet(page, url, "gone")
          await announced.getByRole("button", { name: /^Check now/ }).waitFor()
          assert.strictEqual(await announced.getByRole("button", { name: /^(Back into|Drain|Take down)/ }).count(), 0)
          await mark(url, "gone", "draining", "to be moved")
          await announced.getByRole("button", { name: /^Back into service/ }).click()
          await announced.getByText(/Still down: announced as down/).waitFor()
        })
      }))

    it.effect("of somebody else that were made meanwhile stay, and are told", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const { page } = yield* visit(url, "/")
        yield* Effect.promise(async () => {
          const dialog = page.getByRole("dialog")
          const one = await sheet(page, url, "one")
          await one.getByRole("button", { name: /^Drain/ }).click()
          await dialog.waitFor()
          await mark(url, "one", "down", "disk is full")
          await page.keyboard.type("kernel update")
          await page.keyboard.press("Enter")
          await one.getByRole("alert").getByText(/one was marked down at [\d:]+: disk is full/).waitFor()
          // Seen now, it can be taken away.
          await one.getByRole("button", { name: /^Back into service/ }).click()
          await one.getByRole("button", { name: /^Drain/ }).waitFor()

          await page.goto(`${url}/instances?state=healthy`)
          const bulk = page.getByRole("group", { name: "Chosen instances" })
          await bulk.getByRole("button", { name: "Choose all 2 shown" }).click()
          assert.strictEqual(await bulk.getByRole("button", { name: "Back into service…" }).count(), 0)
          await bulk.getByRole("button", { name: "Drain…" }).click()
          await dialog.waitFor()
          await mark(url, "two", "down", "disk is full")
          await page.keyboard.press("Enter")
          await bulk.getByText("1 instance done, 1 refused").waitFor()
          await bulk.getByText(/two was marked down at [\d:]+: disk is full/).waitFor()
        })
      }))

    it.effect("are made of what is chosen, which the dialog names, shown or not, and of nothing that was gone", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const { page } = yield* visit(url, "/instances")
        yield* Effect.promise(async () => {
          const announce = () =>
            fetch(`${url}/api/v1/instances/spare?ttl=1h`, {
              method: "PUT",
              headers: { "content-type": "application/json" },
              body: JSON.stringify({
                id: "spare",
                service: "weather",
                endpoint: { transport: "streamable-http", url: "http://127.0.0.1:9/mcp" }
              })
            }).then((answer) => assert.isTrue(answer.ok, String(answer.status)))
          const bulk = page.getByRole("group", { name: "Chosen instances" })
          const spare = page.getByRole("checkbox", { name: "Choose spare" })
          const down = page.getByRole("group", { name: "States" }).getByRole("button", { name: /^down/ })

          await announce()
          await spare.check()
          await bulk.getByText("1 chosen", { exact: true }).waitFor()
          await down.click()
          await bulk.getByText("1 chosen, 1 not shown").waitFor()
          await bulk.getByRole("button", { name: "Drain…" }).click()
          await page.getByRole("dialog").getByText("spare", { exact: true }).waitFor()
          await page.keyboard.press("Escape")

          await fetch(`${url}/api/v1/instances/spare`, { method: "DELETE" })
          await bulk.getByText("None chosen").waitFor()
          await announce()
          await down.click()
          await spare.waitFor()
          assert.isFalse(await spare.isChecked())
          await bulk.getByText("None chosen").waitFor()
        })
      }))

    it.effect("aren't offered where the gateway would refuse them, which says why", () =>
      Effect.gen(function*() {
        const { url } = yield* Port
        const between = yield* proxy(url, { rewritesHost: true })
        const { page } = yield* visit(between.url, "/")
        yield* Effect.promise(async () => {
          const one = await sheet(page, between.url, "one")
          await one.getByText(`pages of ${between.url} may not write here without a token`).waitFor()
          assert.strictEqual(await one.getByRole("button", { name: /^(Drain|Check now)/ }).count(), 0)
        })
      }))
  })
})

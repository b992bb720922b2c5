/**
 * The dashboard follows the gateway: what happens there is on the page at once, also when the gateway itself goes and comes.
 * Numbers are those of the acceptance checks in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Page } from "playwright-core"
import { record, registry } from "../fleet.ts"
import { directory, until } from "../process.ts"
import { replica } from "../replicas.ts"
import { Browser, lacking, live, visit } from "./browser.ts"
import { proxy } from "./proxy.ts"
import { broken, instances, type Scene, scene, settled, traffic } from "./scenes.ts"
import { listen } from "./told.ts"

/** Two processes behind the service `look`, and a file as a second source. */
class Port extends Context.Service<Port, {
  readonly scene: Scene
  readonly kill: Effect.Effect<void>
  readonly far: string
}>()("portolan/test/dashboard/Live") {
  static readonly layer = Layer.effect(
    Port,
    Effect.gen(function*() {
      const folder = yield* directory()
      const [one, two] = yield* Effect.all([replica(`${folder}/log`), replica(`${folder}/log`)], { concurrency: 2 })
      const of = (id: string, url: string) => ({ ...record(id, url), service: "look", region: "eu-west-1" })
      const far = registry({ ...record("far", two.url.replace("127.0.0.1", "localhost")), region: "us-west-2" })
      const made = yield* scene({ local: registry(of("look-one", one.url), of("look-two", two.url)), other: far }, {
        health: { interval: "500ms", fall: 1 }
      })
      yield* traffic(made.url, [{ tool: "look__look", rate: 10 }])
      yield* settled(made.url, { healthy: 3 })
      return { scene: made, kill: one.kill, far }
    })
  )
}

const heading = (page: Page, name: string | RegExp) => page.getByRole("heading", { level: 1, name }).waitFor()
const cell = (page: Page, name: string | RegExp) => page.getByRole("link", { name, exact: true }).waitFor()
const change = (page: Page, text: RegExp) =>
  page.getByRole("region", { name: "Latest changes" }).getByRole("listitem").filter({ hasText: text }).first().waitFor()

/** Waits for all of it on the page, and answers how long after the gateway's own event that was, ms. */
const after = async (event: Promise<number>, seen: ReadonlyArray<Promise<unknown>>): Promise<number> => {
  const at = Promise.all(seen).then(() => performance.now())
  return await at - await event
}

const Limit = 1_000

const restOf = async (url: string) => (await instances(url)).map(({ id, source }) => `${source} ${id}`).sort()

const rowsOf = async (page: Page) => {
  const rows = page.getByRole("table", { name: "Instances" }).locator("tbody tr[aria-rowindex]")
  const links = await rows.locator("a.row").evaluateAll((links) =>
    links.map((link) => String(link.getAttribute("href")))
  )
  return links.map((link) => {
    const { pathname, searchParams } = new URL(link, "http://here")
    return `${searchParams.get("source")} ${decodeURIComponent(pathname.split("/").at(-1) ?? "")}`
  }).toSorted()
}

describe.skipIf(lacking !== undefined)("live", () => {
  layer(Layer.merge(Browser.layer, Port.layer), { timeout: "120 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "1: what comes, is drained, is lost and comes back is seen within 1 s of the gateway's own event",
      () =>
        Effect.gen(function*() {
          const { far, kill, scene } = yield* Port
          const { page } = yield* visit(scene.url, "/")
          const signal = yield* Effect.abortSignal
          const { heard } = yield* Effect.promise(() => listen(scene.url, signal))
          const put = (path: string, body: object) =>
            fetch(`${scene.url}/api/v1/${path}`, {
              method: "PUT",
              headers: { "content-type": "application/json" },
              body: JSON.stringify(body)
            }).then((answer) => assert.isTrue(answer.ok, String(answer.status)))

          yield* Effect.promise(async () => {
            await heading(page, "Both services are well")
            await cell(page, "look, eu-west-1: 2 instances, 2 healthy")

            // It comes.
            const record = {
              id: "look-three",
              service: "look",
              region: "us-west-2",
              endpoint: JSON.parse(far).services[0].endpoint
            }
            void put("instances/look-three?ttl=1h", record)
            assert.isBelow(
              await after(heard("catalog", "look-three"), [
                cell(page, "look, us-west-2: 1 instance, 1 healthy"),
                change(page, /look-three/)
              ]),
              Limit
            )

            // It is drained.
            void put("instances/look-two/mark", { as: "draining", reason: "kernel update" })
            assert.isBelow(
              await after(heard("health", "kernel update"), [
                cell(page, "look, eu-west-1: 2 instances, 1 healthy, 1 draining"),
                change(page, /look-two.*kernel update/s)
              ]),
              Limit
            )
            void put("instances/look-two/mark", { as: "up" })
            await cell(page, "look, eu-west-1: 2 instances, 2 healthy")
          })

          // Its process is killed while it carries calls.
          const event = heard("health", "look-one")
          yield* kill
          yield* Effect.promise(async () => {
            assert.isBelow(
              await after(event, [
                heading(page, "One of 2 services needs attention"),
                // By a call or by a check, whichever comes first.
                cell(page, /^look, eu-west-1: 2 instances, 1 healthy, 1 (unhealthy|ejected)$/),
                change(page, /look-one/)
              ]),
              Limit
            )
            await page.getByRole("navigation").getByRole("link", { name: "Services" }).click()
            await page.getByRole("row", { name: /look.*unhealthy|look.*degraded/ }).waitFor()
            await page.getByRole("navigation").getByRole("link", { name: "Chart" }).click()

            // A source is lost, and comes back.
            scene.announce("other", broken)
            assert.isBelow(
              await after(heard("sources", "\"stale\""), [
                cell(page, "far, us-west-2: 1 instance, 0 healthy, 1 stale"),
                page.getByRole("navigation").getByText("1 stale").waitFor(),
                change(page, /other/)
              ]),
              Limit
            )
            const back = heard("sources", "\"connected\"")
            scene.announce("other", far)
            assert.isBelow(await after(back, [cell(page, "far, us-west-2: 1 instance, 1 healthy")]), Limit)
          })
        }),
      60_000
    )

    it.effect(
      "2: a gateway that is killed is told of within 5 s, and live again within 3 s of its return",
      () =>
        Effect.gen(function*() {
          const { scene } = yield* Port
          const { page } = yield* visit(scene.url, "/instances")
          const before = yield* Effect.promise(() => rowsOf(page))
          assert.isAbove(before.length, 2)
          // Its code is there when the gateway isn't.
          const tools = page.getByRole("navigation").getByRole("link", { name: "Tools" })
          const tool = page.getByRole("row", { name: /look__look/ })
          yield* Effect.promise(async () => {
            await tools.click()
            await tool.waitFor()
            await page.goBack()
          })
          yield* Effect.promise(() => page.getByRole("link", { name: "look-two" }).click())
          const drain = page.getByRole("complementary").getByRole("button", { name: /^Drain/ })
          yield* Effect.promise(() => drain.waitFor())

          const killed = performance.now()
          yield* scene.kill
          const bar = page.getByText(/^No word from the gateway (for|yet)/)
          yield* Effect.promise(async () => {
            await bar.waitFor({ timeout: 10_000 })
            assert.isBelow(performance.now() - killed, 5_000)
            assert.strictEqual(await drain.getAttribute("aria-disabled"), "true")
            assert.match(await drain.textContent() ?? "", /nothing is heard from the gateway/)
            // What was known is still there.
            assert.deepStrictEqual(await rowsOf(page), before)
            await tools.click()
            await page.getByRole("alert").getByText("the gateway can't be reached").first().waitFor()
          })

          yield* scene.start
          const started = performance.now()
          yield* Effect.promise(async () => {
            await bar.waitFor({ state: "detached", timeout: 10_000 })
            assert.isBelow(performance.now() - started, 3_000)
            await live(page)
            // What couldn't be had is there, too.
            await tool.waitFor()
            assert.isBelow(performance.now() - started, 5_000)
            await page.getByRole("navigation").getByRole("link", { name: /^Instances/ }).click()
            await page.getByRole("table", { name: "Instances" }).waitFor()
          })
          // What it knew from memory alone is gone with it.
          yield* until(
            Effect.promise(async () => String(await rowsOf(page)) === String(await restOf(scene.url))),
            10_000
          )
        }),
      60_000
    )

    it.effect(
      "2: one that says nothing any more, and ends no connection, is told of within 5 s",
      () =>
        Effect.gen(function*() {
          const { scene } = yield* Port
          const between = yield* proxy(scene.url)
          const { page } = yield* visit(between.url, "/")
          between.freeze()
          const frozen = performance.now()
          yield* Effect.promise(async () => {
            await page.getByText(/^No word from the gateway for \d+ s\.$/).waitFor({ timeout: 15_000 })
            // The last word may have come up to 2 s before.
            assert.isBelow(performance.now() - frozen, 6_000)
            await page.getByText(/This is its last known state, from \d\d:\d\d:\d\d\./).waitFor()
          })
        }),
      60_000
    )

    it.effect("4: eight tabs share one stream, and hand it over within 1 s", () =>
      Effect.gen(function*() {
        const { scene } = yield* Port
        const between = yield* proxy(scene.url)
        const { context, page } = yield* visit(between.url, "/")
        const tabs = [page]
        yield* Effect.promise(async () => {
          while (tabs.length < 8) {
            const tab = await context.newPage()
            await tab.goto(`${between.url}/services`)
            await tab.getByRole("row", { name: /\blook\b/ }).waitFor()
            tabs.push(tab)
          }
          assert.deepStrictEqual(between.streams(), { open: 1, ever: 1 })

          // Whoever came first goes; all others go on.
          await tabs.shift()?.close()
          assert.deepStrictEqual(between.streams(), { open: 1, ever: 1 })
        })

        // The browser ends the worker, as it does where memory is short: one tab finds out, and all go over to another one.
        const [tab] = tabs
        if (tab === undefined) return assert.fail("there are no tabs")
        const browser = yield* Browser
        yield* Effect.promise(async () => {
          await tab.bringToFront()
          const devtools = await browser.newBrowserCDPSession()
          const { targetInfos } = await devtools.send("Target.getTargets")
          for (const { targetId, type, url } of targetInfos) {
            if (type === "shared_worker" && url.startsWith(between.url)) {
              await devtools.send("Target.closeTarget", { targetId })
            }
          }
        })
        yield* until(Effect.sync(() => between.streams().ever > 1), 15_000)
        yield* Effect.promise(async () => {
          for (const tab of tabs) await tab.getByText("No word from the gateway").waitFor({ state: "detached" })
          // The last one takes the stream with it.
          assert.strictEqual(between.streams().open, 1)
          for (const tab of tabs) await tab.close()
        })
        yield* until(Effect.sync(() => between.streams().open === 0), 10_000)
      }), 60_000)

    it.effect(
      "what can't be had anew says so, and what doesn't come at all is asked for until it does",
      () =>
        Effect.gen(function*() {
          const { scene } = yield* Port
          const between = yield* proxy(scene.url)
          const { context, page } = yield* visit(between.url, "/services/look")
          yield* Effect.promise(async () => {
            await page.getByRole("region", { name: "Calls per second" }).waitFor()
            const tools = await context.newPage()
            between.hinder({ unanswered: /api\/v1\/tools/, refused: /reports\/series/ })
            await tools.goto(`${between.url}/tools`)
            await tools.getByRole("alert").getByText("the gateway takes too long").waitFor({ timeout: 15_000 })
            await page.getByText(/^Some of this page is from \d\d:\d\d:\d\d\.$/).waitFor({ timeout: 20_000 })
            between.hinder({})
            const passed = performance.now()
            await Promise.all([
              tools.getByRole("row", { name: /look__look/ }).waitFor(),
              page.getByText("Some of this page is from").waitFor({ state: "detached" })
            ])
            assert.isBelow(performance.now() - passed, 8_000)
          })
        }),
      60_000
    )

    it.effect("a region that goes leaves the chart in reach of the keyboard", () =>
      Effect.gen(function*() {
        const { far, scene } = yield* Port
        const { page } = yield* visit(scene.url, "/")
        const path = `${scene.url}/api/v1/instances/last`
        yield* Effect.promise(async () => {
          const [{ endpoint }] = JSON.parse(far).services
          await fetch(`${path}?ttl=1h`, {
            method: "PUT",
            headers: { "content-type": "application/json" },
            body: JSON.stringify({ id: "last", service: "look", region: "zz-last", endpoint })
          })
          await page.getByRole("link", { name: /^look, zz-last: / }).focus()
          await page.getByRole("navigation").getByRole("link").first().focus()
          await fetch(path, { method: "DELETE" })
          await page.getByRole("columnheader", { name: /zz-last/ }).waitFor({ state: "detached" })
          assert.strictEqual(await page.getByRole("grid").locator("[tabindex='0']").count(), 1)
        })
      }), 60_000)
  })
})

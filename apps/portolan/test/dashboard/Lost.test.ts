/**
 * The dashboard when what it hears from goes: a gateway that dies or falls silent, a worker, a page of the API, a region.
 * Numbers are those of the acceptance checks in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Page } from "playwright-core"
import { until } from "../process.ts"
import { Browser, lacking, live, visit } from "./browser.ts"
import { Port } from "./port.ts"
import { proxy } from "./proxy.ts"
import { instances } from "./scenes.ts"

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

/** An instance that the gateway knows from its API alone, at the endpoint of the one in `far`. */
const announce = async (url: string, far: string, instance: { id: string; service: string; region: string }) => {
  const [{ endpoint }] = JSON.parse(far).services
  const answer = await fetch(`${url}/api/v1/instances/${instance.id}?ttl=1h`, {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...instance, endpoint })
  })
  assert.isTrue(answer.ok, String(answer.status))
}

describe.skipIf(lacking !== undefined)("lost", () => {
  layer(Layer.merge(Browser.layer, Port.layer), { timeout: "120 seconds", excludeTestServices: true })((it) => {
    it.effect(
      "2: a gateway that is killed is told of within 5 s, and live again within 3 s of its return",
      () =>
        Effect.gen(function*() {
          const { far, scene } = yield* Port
          yield* Effect.promise(() =>
            announce(scene.url, far, { id: "look-three", service: "look", region: "us-west-2" })
          )
          const { page } = yield* visit(scene.url, "/instances")
          yield* Effect.promise(() => page.getByRole("link", { name: "look-three" }).waitFor())
          const before = yield* Effect.promise(() => rowsOf(page))
          assert.strictEqual(before.length, 4)
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
          // What it knew from its API alone is gone with it.
          yield* until(
            Effect.promise(async () => String(await rowsOf(page)) === String(await restOf(scene.url))),
            10_000
          )
          yield* Effect.promise(async () => assert.strictEqual((await rowsOf(page)).length, 3))
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

    it.effect("a service that goes takes nothing from who is at another one", () =>
      Effect.gen(function*() {
        const { far, scene } = yield* Port
        const { page } = yield* visit(scene.url, "/")
        yield* Effect.promise(async () => {
          for (const service of ["aaa", "zzz"]) {
            await announce(scene.url, far, { id: service, service, region: "us-west-2" })
            await fetch(`${scene.url}/api/v1/instances/${service}/mark`, {
              method: "PUT",
              headers: { "content-type": "application/json" },
              body: JSON.stringify({ as: "down", reason: "moved" })
            })
          }
          const cards = page.getByRole("region", { name: "Needs attention" })
          const [first, last] = ["aaa", "zzz"].map((name) => cards.getByRole("link", { name, exact: true }).first())
          await first?.waitFor()
          await last?.focus()
          await fetch(`${scene.url}/api/v1/instances/aaa`, { method: "DELETE" })
          await first?.waitFor({ state: "detached" })
          assert.strictEqual(await page.evaluate("document.activeElement.textContent.trim()"), "zzz")
          await fetch(`${scene.url}/api/v1/instances/zzz`, { method: "DELETE" })
        })
      }), 60_000)

    it.effect("a region that goes leaves the chart in reach of the keyboard", () =>
      Effect.gen(function*() {
        const { far, scene } = yield* Port
        const { page } = yield* visit(scene.url, "/")
        const path = `${scene.url}/api/v1/instances/last`
        yield* Effect.promise(async () => {
          await announce(scene.url, far, { id: "last", service: "look", region: "zz-last" })
          await page.getByRole("link", { name: /^look, zz-last: / }).focus()
          await page.getByRole("navigation").getByRole("link").first().focus()
          await fetch(path, { method: "DELETE" })
          await page.getByRole("columnheader", { name: /zz-last/ }).waitFor({ state: "detached" })
          assert.strictEqual(await page.getByRole("grid").locator("[tabindex='0']").count(), 1)
        })
      }), 60_000)
  })
})

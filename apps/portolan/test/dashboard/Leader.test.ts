/**
 * Browsers without shared workers: the page that holds a lock runs the worker for all. The number is that of the acceptance
 * check in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { registry } from "../fleet.ts"
import { until } from "../process.ts"
import { Browser, lacking, live } from "./browser.ts"
import { proxy } from "./proxy.ts"
import { scene } from "./scenes.ts"

describe.skipIf(lacking !== undefined)("without shared workers", () => {
  layer(Browser.layer, { timeout: "60 seconds", excludeTestServices: true })((it) => {
    it.effect("4: tabs share one stream all the same, and the next one takes it over", () =>
      Effect.gen(function*() {
        const { url } = yield* scene({ local: registry() })
        const between = yield* proxy(url)
        const browser = yield* Browser
        const context = yield* Effect.acquireRelease(
          Effect.promise(() => browser.newContext()),
          (context) => Effect.promise(() => context.close())
        )
        yield* Effect.promise(async () => {
          await context.addInitScript("delete globalThis.SharedWorker")
          const tabs = [await context.newPage(), await context.newPage(), await context.newPage()]
          for (const tab of tabs) {
            await tab.goto(between.url)
            await live(tab)
          }
          assert.deepStrictEqual(between.streams(), { open: 1, ever: 1 })
          await tabs.shift()?.close()
          for (const tab of tabs) await tab.locator("footer .live.live").waitFor()
        })
        yield* until(Effect.sync(() => between.streams().open === 1 && between.streams().ever === 2), 10_000)
      }), 60_000)
  })
})

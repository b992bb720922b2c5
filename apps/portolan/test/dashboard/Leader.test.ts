/**
 * Browsers without shared workers: the page that holds a lock runs the worker for all. The number is that of the acceptance
 * check in docs/dashboard-checks.md.
 */
import { assert, describe, layer } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { isDeepStrictEqual } from "node:util"
import type { Page } from "playwright-core"
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
        const tabs: Array<Page> = []
        yield* Effect.promise(async () => {
          await context.addInitScript(`delete globalThis.SharedWorker
          globalThis.workers = []
          globalThis.Worker = class extends Worker {
            constructor(...args) { workers.push(super(...args) ?? this) }
          }`)
          while (tabs.length < 3) tabs.push(await context.newPage())
          for (const tab of tabs) {
            await tab.goto(between.url)
            await live(tab)
          }
          assert.deepStrictEqual(between.streams(), { open: 1, ever: 1 })
        })
        const has = (ever: number) => Effect.sync(() => isDeepStrictEqual(between.streams(), { open: 1, ever }))

        // Whoever has it goes.
        const closed = performance.now()
        yield* Effect.promise(async () => tabs.shift()?.close())
        yield* until(has(2), 10_000)
        assert.isBelow(between.opened() - closed, 1_000)

        // Its worker ends, and nobody says so: those that hear nothing take it over.
        const [leader] = yield* Effect.promise(() =>
          Promise.all(tabs.map((tab) => tab.evaluate<number>("workers.length")))
        )
        yield* Effect.promise(async () => {
          await tabs[leader === 0 ? 1 : 0]?.evaluate("workers.at(-1).terminate()")
        })
        yield* until(has(3), 15_000)
        yield* Effect.promise(async () => {
          for (const tab of tabs) await tab.getByText("No word from the gateway").waitFor({ state: "detached" })
        })
        assert.deepStrictEqual(between.streams(), { open: 1, ever: 3 })
      }), 60_000)
  })
})

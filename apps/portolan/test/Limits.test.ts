/**
 * Limits of calls, through a running gateway and the official client.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { join } from "node:path"
import { gateway } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { until } from "./process.ts"

const configuration = (url: string, limits: object) => ({
  mcpServers: { worker: { url } },
  calls: { limits }
})

/** A server whose calls run until they are let go. */
const worker = Effect.gen(function*() {
  const running: Array<() => void> = []
  let peak = 0
  const { url } = yield* served({
    tools: [{
      name: "work",
      run: () =>
        new Promise((resolve) => {
          running.push(() => resolve("done"))
          peak = Math.max(peak, running.length)
        })
    }]
  })
  return {
    url,
    running: () => running.length,
    peak: () => peak,
    finish: (count = 1) => {
      for (const resolve of running.splice(0, count)) resolve()
    }
  }
})

describe("limits", () => {
  it.live(
    "hold, let calls wait, refuse with a hint, and take effect when they are edited",
    () =>
      Effect.gen(function*() {
        const server = yield* worker
        const { cwd, url } = yield* gateway(configuration(server.url, { perInstance: 2, queue: 3, wait: "20s" }))
        const client = yield* Peers.stateless(url)
        const call = () => client.call("worker__work", {}).then(Peers.textOf)
        const calls = Array.from({ length: 5 }, call)
        yield* until(Effect.sync(() => server.running() === 2), 10_000)
        yield* Effect.sleep(100)
        assert.strictEqual(server.running(), 2)

        const refused = yield* Effect.promise(() => call().then(() => undefined, (error: unknown) => error))
        assert.instanceOf(refused, Error)
        assert.match(
          refused instanceof Error ? refused.message : "",
          /worker__work: overloaded: 3 calls wait already, as many as may; try again in [\d.]+ s$/
        )
        assert.deepInclude(refused, { code: -31000 })

        const settings = Effect.promise(async () => {
          const { settings }: { settings: ReadonlyArray<{ path: string; value: unknown; origin: string }> } = JSON
            .parse(
              await (await fetch(`${url}/api/v1/configuration`)).text()
            )
          return new Map(settings.map(({ origin, path, value }) => [path, [value, origin]]))
        })
        const before = yield* settings
        assert.deepStrictEqual(before.get("calls.limits.perInstance"), [2, "file"])
        assert.deepStrictEqual(before.get("calls.retryBudget.share"), [0.2, "default"])
        assert.deepStrictEqual(before.get("health.ejection.baseTime"), ["1s", "default"])
        assert.deepStrictEqual(before.get("gateway.sessions"), ["sticky", "default"])

        // Room that is made by hand is found by those who wait.
        Fs.writeFileSync(
          join(cwd, "portolan.json"),
          JSON.stringify(configuration(server.url, { perInstance: 4, queue: 3, wait: "20s" }))
        )
        yield* until(Effect.sync(() => server.running() === 4), 10_000)
        assert.deepStrictEqual((yield* settings).get("calls.limits.perInstance"), [4, "file"])
        server.finish()
        yield* until(Effect.sync(() => server.running() === 4), 10_000)
        server.finish(4)
        assert.deepStrictEqual(yield* Effect.promise(() => Promise.all(calls)), Array.from(calls, () => "done"))
        assert.strictEqual(server.peak(), 4)
      }),
    40_000
  )

  it.live("of time shed who waited too long, and nothing is stuck then", () =>
    Effect.gen(function*() {
      const server = yield* worker
      const { url } = yield* gateway(configuration(server.url, { perService: 1, wait: "200ms" }))
      const client = yield* Peers.stateless(url)
      const call = () => client.call("worker__work", {}).then(Peers.textOf, (error: unknown) => String(error))
      const first = call()
      yield* until(Effect.sync(() => server.running() === 1), 10_000)
      assert.match(yield* Effect.promise(call), /overloaded: no room within 200 ms; try again in/)
      server.finish()
      assert.strictEqual(yield* Effect.promise(() => first), "done")
      const next = call()
      yield* until(Effect.sync(() => server.running() === 1), 10_000)
      server.finish()
      assert.strictEqual(yield* Effect.promise(() => next), "done")
    }), 40_000)
})

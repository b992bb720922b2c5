import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Health from "../src/Health.ts"
import { CheckLog } from "../src/internal/health/history.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = (options?: Health.HealthOptions) => Health.layer(options).pipe(Layer.provideMerge(layer))

describe("the history of an instance", () => {
  it.effect("holds its checks and the changes of its status and its circuit, with their reasons", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let result: Health.CheckResult = { _tag: "Pass" }
      yield* health.addCheck(() => Effect.suspend(() => Effect.as(Effect.sleep(20), result)))
      yield* fleet.put(instance("a"))
      yield* TestClock.adjust("1 second")
      result = { _tag: "Degraded", reason: "slow" }
      yield* TestClock.adjust("30 seconds")
      result = { _tag: "Fail", reason: "refused", fatal: false }
      yield* TestClock.adjust("30 seconds")
      result = { _tag: "Skip" }
      yield* TestClock.adjust("10 seconds")
      for (let call = 0; call < 3; call++) health.record(key("a"), { _tag: "failure", latency: 0, reason: "500" })
      yield* TestClock.adjust("1 second")
      for (let call = 0; call < 3; call++) {
        health.admit(key("a"), 72_000)
        health.record(key("a"), { _tag: "success", latency: 0, trial: true })
      }
      const { checks, states } = health.history(key("a"))
      assert.deepStrictEqual(checks, [
        { at: 20, result: "pass", latency: 20, reason: "" },
        { at: 30_040, result: "degraded", latency: 20, reason: "slow" },
        { at: 60_060, result: "fail", latency: 20, reason: "refused" }
      ])
      assert.deepStrictEqual(states.map(({ at, circuit, status }) => [at, status, circuit]), [
        [20, "healthy", "closed"],
        [30_040, "degraded", "closed"],
        [71_000, "unhealthy", "open"],
        [72_000, "unhealthy", "half-open"],
        [72_000, "unknown", "closed"]
      ])
      assert.deepStrictEqual(states.map(({ reason }) => reason), [
        "check passed",
        "slow",
        "ejected for 1s: 3 calls in a row failed: 500",
        "half-open: 0 of 3 trial calls passed; 3 calls in a row failed: 500",
        "no check speaks about it"
      ])
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("of one that isn't known is empty, and begins anew with another endpoint", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      assert.deepStrictEqual(health.history(key("nobody")), { checks: [], states: [] })
      yield* fleet.put(instance("a", { status: "down" }))
      assert.lengthOf(health.history(key("a")).states, 1)
      const endpoint = { transport: "streamable-http", url: "http://elsewhere.test/mcp" } as const
      yield* fleet.put(instance("a", { endpoint }))
      assert.deepStrictEqual(health.history(key("a")).states.map(({ status }) => status), ["unknown"])
    }).pipe(Effect.provide(live())))

  it.effect("holds sixty changes and no more", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"))
      for (let change = 1; change <= 200; change++) {
        yield* health.override(key("a"), change % 2 === 0 ? "down" : "draining", `${change}`)
      }
      const { states } = health.history(key("a"))
      assert.lengthOf(states, 60)
      assert.strictEqual(states[0]!.reason, "marked draining: 141")
      assert.strictEqual(states[59]!.reason, "marked down: 200")
    }).pipe(Effect.provide(live())))

  it("holds the last sixty checks as they were, to a tenth of a ms", () => {
    const check = fc.record({
      gap: fc.oneof(fc.nat(100_000), fc.constant(-5_000), fc.constant(10 ** 10)),
      latency: fc.double({ min: 0, max: 100_000, noNaN: true }),
      result: fc.constantFrom("pass" as const, "degraded" as const, "fail" as const)
    })
    fc.assert(fc.property(fc.array(check, { maxLength: 200 }), (checks) => {
      const log = new CheckLog()
      let at = 1_700_000_000_000
      const all = checks.map(({ gap, latency, result }, index) => {
        at += gap
        const reason = result === "pass" ? "" : `reason ${index}`
        log.add(at, result, latency, reason)
        return { at, latency, result, reason }
      })
      const records = log.records()
      const last = all.slice(-60)
      assert.deepStrictEqual(
        records.map(({ reason, result }) => [result, reason]),
        last.map(({ reason, result }) => [result, reason])
      )
      records.forEach(({ latency }, index) => assert.closeTo(latency, last[index]!.latency, 0.051))
      // Backwards from the newest, as far as the clock went forwards and no pause was too long to note.
      for (let index = last.length - 1; index >= 0; index--) {
        assert.strictEqual(records[index]!.at, last[index]!.at)
        const gap = index === 0 ? 0 : last[index]!.at - last[index - 1]!.at
        if (gap < 0 || gap > 2 ** 31 - 1) break
      }
    }))
  })
})

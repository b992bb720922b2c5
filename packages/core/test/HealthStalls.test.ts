import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Health from "../src/Health.ts"
import { heartbeat, Stalls } from "../src/internal/health/stalls.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"
import { Jump, jumping } from "./fixtures/jumping.ts"

const pass: Health.CheckResult = { _tag: "Pass" }
const refused: Health.CheckResult = { _tag: "Fail", reason: "refused", fatal: true }

const live = (options?: Health.HealthOptions) =>
  Health.layer(options).pipe(Layer.provideMerge(layer), Layer.provideMerge(jumping))

const started = (check?: Health.HealthCheck) =>
  Effect.gen(function*() {
    const health = yield* Health.Health
    const fleet = yield* Fleet
    const jump = yield* Jump
    if (check !== undefined) yield* health.addCheck(check)
    yield* fleet.put(instance("a"), instance("b"))
    yield* TestClock.adjust(0)
    const failed = (latency: number, times = 1) => {
      for (let call = 0; call < times; call++) {
        health.record(key("a"), { _tag: "failure", latency, reason: "no answer in time" })
      }
    }
    return { health, jump, failed, status: () => health.status(key("a")) }
  })

describe("H8: a stall of our own", () => {
  it.effect("of 5 s under load ejects nobody: not by what comes while it is noticed, and not by what comes after", () =>
    Effect.gen(function*() {
      const { failed, health, jump, status } = yield* started()
      yield* TestClock.adjust("10 seconds")
      jump.by(5_000)
      // Deadlines that passed meanwhile are looked at before the heartbeat is.
      failed(5_000, 100)
      assert.strictEqual(status(), "unknown")
      yield* TestClock.adjust(500)
      failed(5_500, 100)
      // Connections that servers gave up show in the calls that are next.
      failed(50, 100)
      assert.include(health.get(key("a")), { status: "unknown", successRate: undefined })
      yield* TestClock.adjust("1650 millis")
      failed(400, 2)
      assert.strictEqual(status(), "unknown")
      failed(400, 1)
      assert.strictEqual(status(), "unhealthy", "what began after it counts again")
    }).pipe(Effect.provide(live())))

  it.effect("is no trial: what fails in it gives its place back and leaves the circuit half-open", () =>
    Effect.gen(function*() {
      const { failed, health, jump } = yield* started()
      yield* TestClock.adjust("1 second")
      failed(0, 3)
      yield* TestClock.adjust("2 seconds")
      for (let trial = 0; trial < 3; trial++) assert.isTrue(health.admit(key("a"), 3_000))
      health.record(key("a"), { _tag: "success", latency: 0, trial: true })
      jump.by(5_000)
      for (let trial = 0; trial < 2; trial++) {
        health.record(key("a"), { _tag: "failure", latency: 5_000, reason: "no answer in time", trial: true })
      }
      assert.include(health.circuit(key("a"))!, { state: "half-open", passed: 1, times: 1 })
      for (let trial = 0; trial < 3; trial++) assert.isTrue(health.admit(key("a"), 8_000))
      assert.isFalse(health.admit(key("a"), 8_000))
    }).pipe(Effect.provide(live())))

  it.effect("says nothing of how long an answer took, but it is an answer", () =>
    Effect.gen(function*() {
      const { health, jump } = yield* started()
      yield* TestClock.adjust("10 seconds")
      for (const latency of [10, 12]) health.record(key("a"), { _tag: "success", latency })
      jump.by(3_000)
      for (let call = 0; call < 100; call++) health.record(key("a"), { _tag: "success", latency: 3_000 })
      assert.include(health.get(key("a")), { latency: 11, successRate: 1 })
    }).pipe(Effect.provide(live())))

  it.effect("excuses only what it took a good part of", () =>
    Effect.gen(function*() {
      const { failed, health, jump, status } = yield* started()
      yield* TestClock.adjust("60 seconds")
      jump.by(1_000)
      yield* TestClock.adjust("10 seconds")
      // The whole minute was silence but for a second.
      failed(60_000, 3)
      assert.strictEqual(status(), "unhealthy")
      assert.isFalse(health.stalled(62_500, 71_000))
      assert.isTrue(health.stalled(60_500, 61_500))
    }).pipe(Effect.provide(live())))

  it.effect("of a server's own making can't be mistaken for one: without a stall everything counts", () =>
    Effect.gen(function*() {
      const { failed, health, status } = yield* started()
      yield* TestClock.adjust("10 minutes")
      assert.isFalse(health.stalled(0, 600_000))
      for (let second = 0; second < 600; second += 10) {
        assert.isFalse(health.stalled(second * 1_000, (second + 1) * 1_000))
      }
      failed(5_000, 3)
      assert.strictEqual(status(), "unhealthy")
    }).pipe(Effect.provide(live())))

  it.effect("throws away the verdict of a check, which is asked again soon", () =>
    Effect.gen(function*() {
      let result: Health.CheckResult = pass
      let checks = 0
      const { health, jump, status } = yield* started(({ id }) =>
        Effect.gen(function*() {
          if (id !== "a") return pass
          const began = result
          checks++
          yield* Effect.sleep("1 second")
          return began
        })
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual(status(), "healthy")
      result = refused
      yield* TestClock.adjust("30500 millis")
      assert.strictEqual(checks, 2)
      jump.by(5_000)
      yield* TestClock.adjust("600 millis")
      assert.strictEqual(status(), "healthy", "a fatal failure, but not to be believed")
      assert.lengthOf(health.history(key("a")).checks, 1)
      result = pass
      yield* TestClock.adjust("1 second")
      assert.strictEqual(checks, 3, "not after half a minute")
      yield* TestClock.adjust("1 second")
      assert.lengthOf(health.history(key("a")).checks, 2)
      result = refused
      yield* TestClock.adjust("31 seconds")
      assert.strictEqual(status(), "unhealthy", "without a stall it is believed")
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("is doubted each time anew, and how long a check took in it isn't believed", () =>
    Effect.gen(function*() {
      let result: Health.CheckResult = pass
      const { health, jump, status } = yield* started(() => Effect.suspend(() => Effect.as(Effect.sleep(20), result)))
      yield* TestClock.adjust(20)
      for (let stall = 0; stall < 10; stall++) {
        result = refused
        yield* Effect.forkChild(health.check(key("a")), { startImmediately: true })
        yield* TestClock.adjust(0)
        jump.by(5_000)
        yield* TestClock.adjust(20)
        assert.strictEqual(status(), "healthy", `stall ${stall}`)
        result = pass
        yield* Effect.forkChild(health.check(key("a")), { startImmediately: true })
        yield* TestClock.adjust(0)
        jump.by(1_000)
        yield* TestClock.adjust("10 seconds")
        // The one of before all of it, as long as that is known.
        assert.isAtMost(health.get(key("a")).latency ?? 20, 20)
      }
    }).pipe(Effect.provide(live({ jitter: 0, interval: "1 hour" }))))

  it.effect("that never ends doesn't hide a server that is dead", () =>
    Effect.gen(function*() {
      let result: Health.CheckResult = pass
      const { jump, status } = yield* started(() => Effect.suspend(() => Effect.succeed(result)))
      assert.strictEqual(status(), "healthy")
      result = refused
      for (let beat = 0; beat < 400 && status() === "healthy"; beat++) {
        jump.by(1_000)
        yield* TestClock.adjust(heartbeat)
      }
      assert.strictEqual(status(), "unhealthy")
    }).pipe(Effect.provide(live())))

  it.live("is what blocking the loop is", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let answer: ((result: Health.CheckResult) => void) | undefined
      yield* health.addCheck(() =>
        Effect.callback<Health.CheckResult>((resume) => {
          answer = (result) => resume(Effect.succeed(result))
        })
      )
      const until = (holds: () => boolean) =>
        Effect.gen(function*() {
          for (const end = performance.now() + 10_000; performance.now() < end && !holds();) yield* Effect.sleep(5)
          assert.isTrue(holds())
        })
      yield* fleet.put(instance("a"))
      yield* until(() => answer !== undefined)
      answer!(pass)
      yield* until(() => health.status(key("a")) === "healthy")
      answer = undefined
      const asked = yield* Effect.forkScoped(health.check(key("a")), { startImmediately: true })
      yield* until(() => answer !== undefined)
      const end = performance.now() + 1_500
      while (performance.now() < end);
      // The check's time-out passed meanwhile.
      assert.strictEqual((yield* Fiber.join(asked)).status, "healthy")
      for (let call = 0; call < 10; call++) {
        health.record(key("a"), { _tag: "failure", latency: 1_500, reason: "time-out" })
      }
      assert.strictEqual(health.status(key("a")), "healthy")
    }).pipe(Effect.provide(Health.layer({ timeout: "1 second", fall: 1 }).pipe(Layer.provideMerge(layer)))))
})

describe("the heartbeat", () => {
  it("finds exactly the spans of which a twentieth was lost, whatever the stalls", () => {
    const pauses = fc.array(fc.oneof(fc.integer({ min: 0, max: 750 }), fc.integer({ min: 751, max: 9_000 })), {
      minLength: 1,
      maxLength: 16
    })
    fc.assert(fc.property(pauses, fc.nat(20_000), (pauses, span) => {
      const stalls = new Stalls(0)
      const lost: Array<readonly [number, number]> = []
      let now = 0
      for (const pause of pauses) {
        const before = now
        now += pause
        if (pause - heartbeat > 250) lost.push([before, now + Math.min(pause - heartbeat, 1_000)])
        stalls.beat(now)
      }
      const since = now - span
      const overlaps = lost.filter(([from, to]) => from <= now && to >= since)
      // Each for itself: that they can overlap one another by their aftermath makes it no worse.
      const sum = overlaps.reduce((sum, [from, to]) => sum + Math.min(to, now) - Math.max(from, since), 0)
      assert.strictEqual(stalls.spoiled(since, now), overlaps.length > 0 && sum >= span / 20)
      for (let beat = 0; beat < 3; beat++) stalls.beat(now += heartbeat)
      assert.isFalse(stalls.spoiled(now - 50, now), "nothing of it is left a second later")
    }))
  })

  it("that is overdue is a stall already", () => {
    const stalls = new Stalls(0)
    assert.isFalse(stalls.spoiled(0, 750))
    assert.isTrue(stalls.spoiled(0, 751))
    assert.isTrue(stalls.spoiled(400, 800), "whenever in it it began")
  })
})

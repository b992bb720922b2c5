import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Health from "../src/Health.ts"
import { DueHeap } from "../src/internal/dueHeap.ts"
import { durationMillis } from "../src/internal/durationText.ts"
import { SlidingWindow } from "../src/internal/health/slidingWindow.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = (options?: Health.HealthOptions) => Health.layer(options).pipe(Layer.provideMerge(layer))

const pass: Health.CheckResult = { _tag: "Pass" }
const fail: Health.CheckResult = { _tag: "Fail", reason: "refused", fatal: false }
const fatal: Health.CheckResult = { _tag: "Fail", reason: "it is another server", fatal: true }
const degraded: Health.CheckResult = { _tag: "Degraded", reason: "slow" }
const skip: Health.CheckResult = { _tag: "Skip" }

/** One instance `a` and one check, whose results a test sets; counts the checks. */
const scripted = (first: Health.CheckResult = pass) =>
  Effect.gen(function*() {
    const health = yield* Health.Health
    const fleet = yield* Fleet
    const script = { result: first, checks: 0 }
    yield* health.addCheck(() =>
      Effect.sync(() => {
        script.checks++
        return script.result
      })
    )
    yield* fleet.put(instance("a"))
    yield* TestClock.adjust(0)
    return script
  })

/** Lets others run until something holds. */
const until = (holds: () => boolean) =>
  Effect.gen(function*() {
    for (let turn = 0; turn < 10_000 && !holds(); turn++) yield* Effect.yieldNow
    assert.isTrue(holds())
  })

const status = (id = "a") => Effect.map(Health.Health, (health) => health.status(key(id)))

const calls = (tag: "success" | "failure" | "ignored", times: number, latency = 10, id = "a") =>
  Effect.map(Health.Health, (health) => {
    for (let call = 0; call < times; call++) health.record(key(id), { _tag: tag, latency, reason: "500" })
  })

describe("active checks", () => {
  it.effect("H1: begin at once, and the first success is enough whatever `rise` says", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      assert.strictEqual(yield* status(), "healthy")
      assert.strictEqual(script.checks, 1)
    }).pipe(Effect.provide(live({ rise: 3 }))))

  it.effect("that have nothing to say about a new instance are asked again soon, then less and less often", () =>
    Effect.gen(function*() {
      const script = yield* scripted(skip)
      yield* TestClock.adjust("500 millis")
      script.result = pass
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(yield* status(), "healthy")
      script.result = skip
      yield* TestClock.adjust("30 seconds")
      script.checks = 0
      yield* TestClock.adjust("1 hour")
      assert.isBelow(script.checks, 130)
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  for (const [rise, fall] of [[1, 1], [1, 3], [2, 3], [3, 2]] as const) {
    it.effect(`H1: rise ${rise}, fall ${fall}: so many in a row and no fewer`, () =>
      Effect.gen(function*() {
        const script = yield* scripted()
        script.result = fail
        for (let failed = 1; failed <= fall; failed++) {
          assert.strictEqual(yield* status(), "healthy", `before failure ${failed}`)
          yield* TestClock.adjust("30 seconds")
        }
        assert.strictEqual(yield* status(), "unhealthy")
        script.result = pass
        for (let passed = 1; passed <= rise; passed++) {
          assert.strictEqual(yield* status(), "unhealthy", `before success ${passed}`)
          yield* TestClock.adjust("1 second")
        }
        assert.strictEqual(yield* status(), "healthy")
      }).pipe(Effect.provide(live({ rise, fall, jitter: 0 }))))
  }

  it.effect("a success in between begins the count anew", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      for (const result of [fail, fail, pass, fail, fail]) {
        script.result = result
        yield* TestClock.adjust("30 seconds")
      }
      assert.strictEqual(yield* status(), "healthy")
      script.result = fail
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* status(), "unhealthy")
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("H1: a fatal failure is enough at once, as is any failure of one never seen healthy", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      script.result = fatal
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* status(), "unhealthy")
      const health = yield* Health.Health
      const fleet = yield* Fleet
      assert.strictEqual(health.get(key("a")).reason, "check failed: it is another server")
      script.result = fail
      yield* fleet.put(instance("b"))
      yield* TestClock.adjust(0)
      assert.strictEqual(yield* status("b"), "unhealthy")
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("the worst of several results counts, and a check ends with its scope", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const scope = yield* Scope.make()
      yield* scripted()
      yield* Scope.provide(health.addCheck(() => Effect.succeed(degraded)), scope)
      yield* TestClock.adjust(0)
      assert.include(health.get(key("a")), { status: "degraded", reason: "slow" })
      yield* health.addCheck(() => Effect.succeed(skip))
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("40 seconds")
      assert.include(health.get(key("a")), { status: "healthy", reason: "check passed" })
    }).pipe(Effect.provide(live())))

  it.effect("a check that breaks or doesn't end is a failed check, and harms no other", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let interrupted = 0
      yield* health.addCheck(({ id }) => {
        if (id === "throws") throw new Error("thrown")
        if (id === "dies") return Effect.die("died")
        if (id === "hangs") return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
        return Effect.succeed(pass)
      })
      yield* fleet.put(instance("throws"), instance("dies"), instance("hangs"), instance("fine"))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* status("hangs"), "unknown")
      assert.strictEqual(yield* status("fine"), "healthy")
      assert.include(health.get(key("throws")), {
        status: "unhealthy",
        reason: "check failed: the check broke: Error: thrown"
      })
      assert.strictEqual(health.get(key("dies")).reason, "check failed: the check broke: died")
      yield* TestClock.adjust("1 second")
      assert.include(health.get(key("hangs")), { status: "unhealthy", reason: "check failed: no answer within 3s" })
      assert.strictEqual(interrupted, 1)
    }).pipe(Effect.provide(live({ timeout: "3 seconds" }))))

  it.effect("H4: never overlap for one instance, and those asked for join the one under way", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let [running, most, checks] = [0, 0, 0]
      yield* health.addCheck(() =>
        Effect.gen(function*() {
          checks++
          most = Math.max(most, ++running)
          yield* Effect.sleep("5 seconds")
          running--
          return pass
        })
      )
      yield* fleet.put(instance("a", { health: { interval: "1s" } }))
      const asked = yield* Effect.forkChild(
        Effect.all([health.check(key("a")), health.check(key("a"))], { concurrency: 2 }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("5 seconds")
      const [one, two] = yield* Fiber.join(asked)
      assert.strictEqual(one.status, "healthy")
      assert.deepStrictEqual(one, two)
      assert.strictEqual(checks, 1)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(most, 1)
      assert.isAtLeast(checks, 8)
    }).pipe(Effect.provide(live())))

  it.effect("an instance's own interval is kept", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const fleet = yield* Fleet
      yield* TestClock.adjust("29 seconds")
      assert.strictEqual(script.checks, 1)
      yield* fleet.put(instance("a", { health: { interval: "2s" } }))
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(script.checks, 11)
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("that are due aren't put off by a record with a longer interval", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* health.addCheck(({ id }) =>
        id === "busy" ? Effect.as(Effect.sleep("1 second"), pass) : Effect.succeed(pass)
      )
      yield* fleet.put(instance("busy"), instance("a"))
      // It waits for the only place.
      yield* fleet.put(instance("a", { health: { interval: "1h" } }))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* status(), "healthy")
    }).pipe(Effect.provide(live({ concurrency: 1 }))))

  it.effect("answer for one instance when asked", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const health = yield* Health.Health
      script.result = fatal
      assert.strictEqual((yield* health.check(key("a"))).status, "unhealthy")
      assert.include(yield* health.check(key("nobody")), { status: "unknown", score: 1 })
    }).pipe(Effect.provide(live())))

  it.effect("asked for are not waited for when another instance takes its place", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* health.addCheck(({ id }) => id === "busy" ? Effect.never : Effect.succeed(pass))
      yield* fleet.put(instance("busy"), instance("a"))
      // The only place is taken, so the check waits in the queue.
      const asked = yield* Effect.forkChild(health.check(key("a")), { startImmediately: true })
      yield* fleet.put(instance("a", { endpoint: { transport: "streamable-http", url: "http://elsewhere.test/mcp" } }))
      assert.strictEqual((yield* Fiber.join(asked)).status, "unknown")
    }).pipe(Effect.provide(live({ concurrency: 1 }))))

  it.effect("are asked for in vain when the instance goes", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let interrupted = 0
      yield* health.addCheck(() => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++)))
      yield* fleet.put(instance("a"))
      const asked = yield* Effect.forkChild(health.check(key("a")), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* fleet.remove("a")
      assert.strictEqual((yield* Fiber.join(asked)).status, "unknown")
      assert.strictEqual(interrupted, 1)
    }).pipe(Effect.provide(live())))
})

describe("the schedule", () => {
  it.effect("H2: spreads checks by the jitter", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      const times: Array<number> = []
      yield* health.addCheck(() =>
        Effect.map(Effect.clockWith((clock) => clock.currentTimeMillis), (now) => {
          times.push(now)
          return pass
        })
      )
      yield* fleet.put(...Array.from({ length: 1_000 }, (_, index) => instance(`i${index}`)))
      yield* TestClock.adjust("24 seconds")
      assert.lengthOf(times, 1_000)
      yield* TestClock.adjust("12 seconds")
      const second = times.slice(1_000)
      assert.lengthOf(second, 1_000)
      // Twelve seconds, 1,000 checks: 83 in each on average.
      const buckets = Array.from({ length: 12 }, () => 0)
      for (const time of second) buckets[Math.min(Math.floor((time - 24_000) / 1_000), 11)]!++
      for (const count of buckets) assert.isTrue(count > 0 && count <= 2 * 1_000 / 12, `${buckets}`)
    }).pipe(Effect.provide(live({ concurrency: 1_000 }))))

  it.effect("bounds how many run at once, and gets through all of them", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let [running, most] = [0, 0]
      yield* health.addCheck(() =>
        Effect.gen(function*() {
          most = Math.max(most, ++running)
          yield* Effect.sleep("100 millis")
          running--
          return pass
        })
      )
      yield* fleet.put(...Array.from({ length: 100 }, (_, index) => instance(`i${index}`)))
      yield* TestClock.adjust("1 second")
      assert.strictEqual(most, 8)
      yield* TestClock.adjust("300 millis")
      for (let index = 0; index < 100; index++) assert.strictEqual(yield* status(`i${index}`), "healthy")
    }).pipe(Effect.provide(live({ concurrency: 8 }))))

  it.effect("costs ten thousand instances one timer", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      let checks = 0
      yield* health.addCheck(() => Effect.sync(() => (checks++, pass)))
      yield* fleet.put(...Array.from({ length: 10_000 }, (_, index) => instance(`i${index}`)))
      let sleepers = 0
      const clock = yield* Clock.Clock
      // From here on what is slept is counted.
      const sleep = clock.sleep.bind(clock)
      clock.sleep = (duration) =>
        Effect.acquireUseRelease(
          Effect.sync(() => void sleepers++),
          () => sleep(duration),
          () => Effect.sync(() => void sleepers--)
        )
      // One for all checks, and the heartbeat.
      yield* until(() => checks === 10_000)
      assert.isAtMost(sleepers, 2)
      yield* TestClock.adjust("22 seconds")
      assert.strictEqual(checks, 10_000)
      assert.isAtMost(sleepers, 2)
      yield* TestClock.adjust("14 seconds")
      yield* until(() => checks === 20_000)
      assert.isAtMost(sleepers, 2)
    }).pipe(Effect.provide(live({ concurrency: 16 }))))

  it("is a heap in which due times move", () => {
    fc.assert(fc.property(
      fc.array(fc.record({ item: fc.nat(9), due: fc.option(fc.nat(50), { nil: undefined }) }), { maxLength: 200 }),
      (steps) => {
        const heap = new DueHeap<{ due: number; place: number }>()
        const items = Array.from({ length: 10 }, () => ({ due: 0, place: -1 }))
        const model = new Set<{ due: number; place: number }>()
        for (const { due, item } of steps) {
          const moved = items[item]!
          if (due === undefined) {
            heap.remove(moved)
            model.delete(moved)
          } else {
            heap.set(moved, due)
            model.add(moved)
          }
          const first = heap.first()
          if (model.size === 0) assert.isUndefined(first)
          else assert.strictEqual(first!.due, Math.min(...Array.from(model, (item) => item.due)))
        }
      }
    ))
  })
})

describe("outcomes of calls", () => {
  it.effect("take an instance out after `fall` failures in a row, and bring its check forward", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const health = yield* Health.Health
      yield* calls("failure", 2)
      yield* calls("ignored", 5)
      yield* calls("success", 1)
      yield* calls("failure", 2)
      assert.strictEqual(yield* status(), "healthy")
      script.result = fail
      yield* calls("failure", 1)
      assert.include(health.get(key("a")), {
        status: "unhealthy",
        score: 0,
        reason: "ejected for 1s: 3 calls in a row failed: 500"
      })
      assert.strictEqual(script.checks, 1)
      yield* TestClock.adjust(0)
      assert.strictEqual(script.checks, 2, "without waiting for its turn")
      script.result = pass
      yield* TestClock.adjust("2 seconds")
      // 5 of its 9 calls and checks failed.
      assert.strictEqual(yield* status(), "healthy")
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("below 0.8 of at least ten in 60 s it is degraded, until it is above or they are long ago", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      yield* scripted(skip)
      for (let call = 0; call < 3; call++) {
        yield* calls("failure", 1)
        yield* calls("success", 2)
      }
      assert.strictEqual(yield* status(), "unknown", "nine are too few")
      yield* calls("failure", 1)
      assert.include(health.get(key("a")), {
        status: "degraded",
        successRate: 0.6,
        reason: "4 of 10 calls and checks failed within 60 s"
      })
      yield* calls("success", 9)
      assert.strictEqual(yield* status(), "degraded", "15 of 19")
      yield* calls("success", 1)
      assert.strictEqual(yield* status(), "unknown", "16 of 20")
      yield* calls("failure", 2)
      assert.strictEqual(yield* status(), "degraded", "16 of 22")
      yield* TestClock.adjust("100 seconds")
      assert.include(health.get(key("a")), { status: "unknown", successRate: undefined, latency: undefined })
    }).pipe(Effect.provide(live())))

  it.effect("that failed are forgotten in time, however rarely its record wants it to be checked", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const fleet = yield* Fleet
      yield* fleet.put(instance("a", { health: { interval: "1h" } }))
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(script.checks, 2)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(script.checks, 2)
      for (let call = 0; call < 6; call++) {
        yield* calls("failure", 1)
        yield* calls("success", 1)
      }
      assert.strictEqual(yield* status(), "degraded")
      // Others that are healthy have all calls now.
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* status(), "healthy")
      script.result = degraded
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* status(), "degraded")
      script.result = pass
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* status(), "healthy")
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("have calls again as soon as checks pass, however long those failed", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const health = yield* Health.Health
      script.result = fatal
      yield* TestClock.adjust("90 seconds")
      assert.strictEqual(yield* status(), "unhealthy")
      assert.strictEqual(health.get(key("a")).successRate, 0)
      script.result = pass
      yield* TestClock.adjust("1 second")
      assert.include(health.get(key("a")), { status: "healthy", reason: "check passed", score: 1, successRate: 1 })
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("of an instance that nobody announces are not kept", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      yield* calls("failure", 10, 1, "nobody")
      assert.include(health.get(key("nobody")), { status: "unknown", successRate: undefined })
    }).pipe(Effect.provide(live())))
})

describe("the score", () => {
  it.effect("weighs success rate and latency", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      const score = (id: string) => health.get(key(id)).score
      yield* fleet.put(instance("a"), instance("b"), instance("c"), instance("other", { service: "stock" }))
      assert.strictEqual(score("a"), 1, "nothing is known")
      yield* calls("success", 4, 10, "a")
      yield* calls("success", 4, 40, "b")
      yield* calls("success", 1, 1, "other")
      assert.closeTo(score("a"), 1, 1e-9)
      assert.closeTo(score("b"), 0.7 + 0.3 / 4, 1e-9)
      assert.closeTo(score("c"), 1, 1e-9)
      yield* calls("failure", 1, 500, "b")
      assert.closeTo(score("b"), 0.7 * 0.8 + 0.3 / 4, 1e-9)
      assert.strictEqual(health.get(key("b")).latency, 40, "a failure isn't an answer")
      yield* calls("failure", 2, 1, "b")
      assert.strictEqual(score("b"), 0, "unhealthy")
      yield* fleet.put(instance("a", { status: "down" }))
      assert.strictEqual(score("a"), 0)
    }).pipe(Effect.provide(live())))

  it.effect("of one among more than a few is by a fastest that is 2 s old at most", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      const ids = Array.from({ length: 17 }, (_, index) => `a-${index}`)
      yield* fleet.put(...ids.map((id) => instance(id)))
      const score = () => health.get(key("a-0")).score
      yield* calls("success", 4, 40, "a-0")
      assert.closeTo(score(), 1, 1e-9)
      yield* calls("success", 4, 10, "a-1")
      yield* TestClock.adjust("1999 millis")
      assert.closeTo(score(), 1, 1e-9)
      yield* TestClock.adjust("1 millis")
      assert.closeTo(score(), 0.7 + 0.3 / 4, 1e-9)
    }).pipe(Effect.provide(live())))

  it.effect("has weights to set", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"), instance("b"))
      yield* calls("success", 1, 10, "a")
      yield* calls("success", 1, 20, "b")
      assert.closeTo(health.get(key("b")).score, 0.75, 1e-9)
    }).pipe(Effect.provide(live({ weights: { success: 0.5, latency: 0.5 } }))))

  it("rests on a window of 60 s that agrees with a plain list", () => {
    fc.assert(fc.property(
      fc.array(
        fc.record({ step: fc.nat(20_000), latency: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }) }),
        { maxLength: 60 }
      ),
      (events) => {
        const window = new SlidingWindow()
        const list: Array<{ readonly at: number; readonly latency: number | undefined }> = []
        let now = 0
        for (const { latency, step } of events) {
          now += step
          if (latency === undefined) window.failure(now)
          else window.success(latency, now, () => 0.999)
          list.push({ at: now, latency })
          // Slots are 5 s long, so that is how exact the far end is.
          const slot = Math.floor(now / 5_000)
          const recent = list.filter(({ at }) => Math.floor(at / 5_000) > slot - 12)
          const latencies = recent.flatMap(({ latency }) => latency === undefined ? [] : [latency]).sort((a, b) =>
            a - b
          )
          assert.strictEqual(window.samples(now), recent.length)
          assert.strictEqual(window.successRate(now), latencies.length / recent.length)
          if (latencies.length <= 8) {
            const middle = latencies.length >> 1
            assert.strictEqual(
              window.median(now),
              latencies.length === 0
                ? undefined
                : latencies.length % 2 === 1
                ? latencies[middle]
                : (latencies[middle - 1]! + latencies[middle]!) / 2
            )
          }
        }
      }
    ))
  })
})

it("the latencies of a busy window are an even sample", () => {
  const window = new SlidingWindow()
  let place = 0
  for (let slot = 0; slot < 2; slot++) {
    for (let call = 0; call < 8; call++) window.success(10.5, slot * 5_000, () => 0)
    assert.strictEqual(window.median(slot * 5_000), 10.5)
    // Each takes the place of another one, or of none.
    for (let call = 8; call < 16; call += 2) {
      window.success(20.5, slot * 5_000, () => (place++ % 8 + 0.5) / (call + 1))
      window.success(99, slot * 5_000, () => 0.999)
    }
  }
  assert.strictEqual(window.samples(5_000), 32)
  assert.strictEqual(window.median(5_000), 15.5, "half of them of either kind")
  assert.strictEqual(window.median(60_000), 15.5, "the first slot is over, the second is like it")
  assert.strictEqual(window.median(65_000), undefined)
  assert.strictEqual(window.samples(65_000), 0)
})

describe("what the registry and people say", () => {
  it.effect("draining and down hold, whatever checks say", () =>
    Effect.gen(function*() {
      yield* scripted()
      const fleet = yield* Fleet
      yield* fleet.put(instance("a", { status: "draining" }))
      assert.strictEqual(yield* status(), "draining")
      yield* fleet.put(instance("a", { status: "down" }))
      assert.strictEqual(yield* status(), "down")
      yield* fleet.put(instance("a"))
      assert.strictEqual(yield* status(), "healthy")
    }).pipe(Effect.provide(live())))

  it.effect("a mark wins over all of it until it is cleared, even while the instance is away", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* health.override(key("a"), "draining", "maintenance")
      assert.include(health.get(key("a")), { status: "draining", reason: "marked draining: maintenance" })
      yield* fleet.remove("a")
      yield* fleet.put(instance("a", { status: "down" }))
      assert.strictEqual(yield* status(), "draining")
      yield* health.override(key("a"), "up", "it is fine")
      script.result = fatal
      yield* calls("failure", 10)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* status(), "healthy")
      yield* health.override(key("a"), undefined, "")
      assert.strictEqual(yield* status(), "down")
    }).pipe(Effect.provide(live())))

  it.effect("another endpoint is another instance, of which nothing is known", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* calls("success", 3)
      yield* fleet.put(instance("a", { version: "2.0.0" }))
      assert.include(health.get(key("a")), { status: "healthy", successRate: 1 })
      script.result = skip
      yield* fleet.put(instance("a", { endpoint: { transport: "streamable-http", url: "http://elsewhere.test/mcp" } }))
      assert.include(health.get(key("a")), { status: "unknown", successRate: undefined })
    }).pipe(Effect.provide(live())))

  it.effect("an instance that is gone is forgotten", () =>
    Effect.gen(function*() {
      const script = yield* scripted()
      const fleet = yield* Fleet
      const health = yield* Health.Health
      yield* fleet.remove("a")
      assert.include(health.get(key("a")), { status: "unknown", checkedAt: undefined })
      assert.strictEqual(health.revision("weather"), 0)
      const before = script.checks
      yield* TestClock.adjust("5 minutes")
      assert.strictEqual(script.checks, before)
    }).pipe(Effect.provide(live())))
})

describe("changes", () => {
  it.effect("are told as they come, and the revision of their service grows", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const ready = yield* Deferred.make<void>()
      const seen = yield* Stream.runCollect(Stream.take(health.changes, 3)).pipe(
        Effect.tap(() => Deferred.succeed(ready, undefined)),
        Effect.forkChild({ startImmediately: true })
      )
      yield* scripted()
      const first = health.revision("weather")
      assert.isAbove(first, 0)
      yield* calls("failure", 3)
      yield* calls("success", 3, 0)
      assert.strictEqual(health.revision("weather"), first + 2)
      assert.strictEqual(health.revision("stock"), 0)
      const changes = yield* Fiber.join(seen)
      assert.deepStrictEqual(
        Array.from(changes, ({ health, previous }) => [previous, health.status]),
        [["unknown", "healthy"], ["healthy", "unhealthy"], ["unhealthy", "healthy"]]
      )
    }).pipe(Effect.provide(live())))

  it.effect("a slow reader loses the oldest, and holds up nobody", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const gate = yield* Deferred.make<void>()
      let held = true
      const reader = yield* health.changes.pipe(
        Stream.mapEffect((change) => held ? Effect.as(Deferred.await(gate), change) : Effect.succeed(change)),
        Stream.takeUntil(({ health }) => health.reason.endsWith("last")),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* scripted(skip)
      for (let change = 0; change < 5_000; change++) {
        yield* health.override(key("a"), change % 2 === 0 ? "down" : "draining", "test")
      }
      yield* health.override(key("a"), "up", "last")
      held = false
      yield* Deferred.succeed(gate, undefined)
      const read = yield* Fiber.join(reader)
      assert.isAtMost(read.length, 2 * 1_024)
      assert.strictEqual(read[read.length - 1]!.health.status, "healthy")
    }).pipe(Effect.provide(live())))
})

describe("other settings", () => {
  it.effect("hold at once, and what is known stays", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const script = yield* scripted()
      yield* health.override(key("a"), "draining", "by hand")
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(script.checks, 1)
      yield* health.reconfigure({ interval: "5 seconds", jitter: 0 })
      // Half a minute was agreed on, but five seconds is what is wanted now.
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(script.checks, 2)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(script.checks, 6)
      assert.strictEqual(yield* status(), "draining")
      yield* health.override(key("a"), undefined, "")
      assert.strictEqual(yield* status(), "healthy")
    }).pipe(Effect.provide(live({ jitter: 0 }))))

  it.effect("a check that is near isn't put off, however often they change", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const script = yield* scripted()
      for (let second = 0; second < 60; second++) {
        yield* health.reconfigure({ interval: 20_000 + second, jitter: 0 })
        yield* TestClock.adjust("1 second")
      }
      assert.strictEqual(script.checks, 3)
    }).pipe(Effect.provide(live({ interval: "20 seconds", jitter: 0 }))))

  it.effect("thresholds and time-outs too; what isn't said is its default", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const script = yield* scripted()
      yield* health.reconfigure({ fall: 1 })
      script.result = fail
      yield* health.check(key("a"))
      assert.strictEqual(yield* status(), "unhealthy")
      script.result = pass
      yield* health.check(key("a"))
      yield* health.reconfigure({})
      script.result = fail
      yield* health.check(key("a"))
      assert.strictEqual(yield* status(), "healthy", "three in a row by default")
      yield* health.reconfigure({ fall: 1, timeout: "1 second" })
      yield* health.addCheck(() => Effect.never)
      script.result = pass
      yield* TestClock.adjust("1 second")
      assert.include(health.get(key("a")).reason, "no answer within 1s")
    }).pipe(Effect.provide(live({ fall: 5, jitter: 0 }))))
})

describe("durations of records", () => {
  it("are read in ms", () => {
    assert.deepStrictEqual(["250ms", "30s", "1.5m", "2h", "1d"].map(durationMillis), [
      250,
      30_000,
      90_000,
      7.2e6,
      8.64e7
    ])
  })
})

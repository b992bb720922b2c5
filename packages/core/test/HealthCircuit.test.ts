import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Health from "../src/Health.ts"
import { InstanceCircuit } from "../src/internal/health/circuit.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"
import { ids, settings, tableOf } from "./fixtures/healthTable.ts"

const live = (options?: Health.HealthOptions) => Health.layer(options).pipe(Layer.provideMerge(layer))

const still = (ejection: Health.EjectionOptions = {}, others: Health.HealthOptions = {}) =>
  live({ jitter: 0, ...others, ejection })

const skip: Health.CheckResult = { _tag: "Skip" }
const pass: Health.CheckResult = { _tag: "Pass" }

const elsewhere = { transport: "streamable-http", url: "http://elsewhere.test/mcp" } as const

/** Health of some instances, and the means to tell it of calls. `at` is what `Balancer.now()` would be. */
const known = (...names: ReadonlyArray<string>) =>
  Effect.gen(function*() {
    const health = yield* Health.Health
    const fleet = yield* Fleet
    yield* fleet.put(...names.map((name) => instance(name)))
    const record = (outcome: Partial<Health.Outcome>, id = names[0]!) =>
      health.record(key(id), { _tag: "failure", latency: 0, reason: "500", ...outcome })
    return {
      health,
      fleet,
      record,
      fail: (times: number, id = names[0]!) => {
        for (let call = 0; call < times; call++) record({}, id)
      },
      succeed: (times: number, id = names[0]!) => {
        for (let call = 0; call < times; call++) record({ _tag: "success" }, id)
      },
      circuit: (id = names[0]!) => health.circuit(key(id)),
      admit: (at: number, id = names[0]!) => health.admit(key(id), at),
      status: (id = names[0]!) => health.status(key(id))
    }
  })

const now = Effect.clockWith((clock) => clock.monotonicTimeNanos).pipe(Effect.map((nanos) => Number(nanos) / 1e6))

describe("a circuit", () => {
  it.effect("is opened by calls that fail in a row, and by no fewer", () =>
    Effect.gen(function*() {
      const { circuit, fail, health, record, status, succeed } = yield* known("a")
      fail(4)
      succeed(1)
      fail(4)
      record({ _tag: "ignored" })
      assert.isUndefined(circuit())
      const revision = health.revision("weather")
      fail(1)
      assert.strictEqual(status(), "unhealthy")
      assert.isAbove(health.revision("weather"), revision)
      assert.deepInclude({ ...circuit() }, {
        state: "open",
        cause: "failures",
        reason: "5 calls in a row failed: 500",
        since: 0,
        until: 1_000,
        times: 1
      })
      assert.strictEqual(health.get(key("a")).reason, "ejected for 1s: 5 calls in a row failed: 500")
      assert.strictEqual(health.ejections(key("a")), 1)
    }).pipe(Effect.provide(still({ consecutiveFailures: 5 }))))

  it.effect("without checks comes back by trial calls alone, and by nothing without them", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, health, record, status } = yield* known("a")
      yield* health.addCheck(() => Effect.succeed(skip))
      fail(3)
      assert.isFalse(admit(0))
      yield* TestClock.adjust(999)
      assert.isFalse(admit(999))
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(circuit()!.state, "open", "it waits for a call, not for a timer")
      for (let trial = 0; trial < 3; trial++) {
        const at = yield* now
        assert.isTrue(health.admits(key("a"), at))
        assert.isTrue(admit(at))
        yield* TestClock.adjust(10)
        assert.strictEqual(status(), "unhealthy")
        assert.strictEqual(
          health.get(key("a")).reason,
          `half-open: ${trial} of 3 trial calls passed; 3 calls in a row failed: 500`
        )
        record({ _tag: "success", latency: 10, trial: true })
      }
      assert.isUndefined(circuit())
      assert.notStrictEqual(status(), "unhealthy")
    }).pipe(Effect.provide(still())))

  it.effect("X1: its time doubles up to its longest, and each quiet interval takes one time back", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, record } = yield* known("a")
      const times: Array<number> = []
      fail(3)
      for (let time = 0; time < 6; time++) {
        const { since, until } = circuit()!
        times.push(until - since)
        yield* TestClock.adjust(until - since)
        assert.isTrue(admit(yield* now))
        record({ trial: true, reason: "still" })
        assert.strictEqual(circuit()!.reason, "a trial call failed: still")
      }
      assert.deepStrictEqual(times, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000])
      const close = Effect.gen(function*() {
        yield* TestClock.adjust("10 seconds")
        const at = yield* now
        for (let trial = 0; trial < 3; trial++) {
          admit(at)
          record({ _tag: "success", trial: true })
        }
        assert.isUndefined(circuit())
      })
      yield* close
      yield* TestClock.adjust("25 seconds")
      fail(3)
      assert.strictEqual(circuit()!.times, 5, "6, less 2, and once more")
      yield* close
      yield* TestClock.adjust("90 seconds")
      fail(3)
      assert.strictEqual(circuit()!.times, 1)
    }).pipe(Effect.provide(still({ maxTime: "10 seconds" }))))

  it.effect("X1: a time in which nothing but failures came is none to forgive it for", () =>
    Effect.gen(function*() {
      const { circuit, fail, health } = yield* known("a")
      yield* health.addCheck(() => Effect.succeed(pass))
      yield* TestClock.adjust(0)
      const times: Array<number> = []
      // Calls are few, and a check closes it each time.
      for (let time = 0; time < 3; time++) {
        for (let call = 0; call < 3; call++) {
          yield* TestClock.adjust("8 seconds")
          assert.isUndefined(circuit())
          fail(1)
        }
        times.push(circuit()!.times)
      }
      assert.deepStrictEqual(times, [1, 2, 3])
    }).pipe(Effect.provide(still())))

  it.effect("X1: its time is shortened at random, by no more than the jitter", () =>
    Effect.gen(function*() {
      const names = ids(1_000)
      const { circuit, fail } = yield* known(...names)
      for (const name of names) fail(3, name)
      const times = names.map((name) => circuit(name)!.until)
      assert.isAtMost(Math.max(...times), 1_000)
      assert.isAtLeast(Math.min(...times), 800)
      assert.closeTo(times.reduce((sum, time) => sum + time, 0) / times.length, 900, 10)
    }).pipe(Effect.provide(live({ ejection: { maxShare: 1 } }))))

  it("X1: never are more of a service out than its share, but one always may be", () => {
    fc.assert(fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.array(fc.nat(11), { minLength: 100, maxLength: 100 }),
      (count, maxShare, calls) => {
        const names = ids(count)
        const { circuit, fail, table } = tableOf(names, { maxShare })
        table.put(key("stranger"), instance("stranger", { service: "stock" }))
        const most = Math.max(Math.floor(maxShare * count), 1)
        const out = () => names.filter((name) => circuit(name) !== undefined)
        fail(names[0]!, 3)
        assert.lengthOf(out(), 1)
        for (const call of calls) {
          fail(names[call % count]!)
          assert.isAtMost(out().length, most)
        }
        for (const name of names) fail(name, 3)
        assert.lengthOf(out(), most, "who fails and could stay is next")
        for (const name of names) {
          assert.strictEqual(table.status(key(name)) === "unhealthy", circuit(name) !== undefined)
        }
        fail("stranger", 3)
        assert.strictEqual(table.status(key("stranger")), "unhealthy", "another service has its own share")
        // Who leaves makes room, as far as the share of those that are left goes.
        const gone = out()[0]!
        table.remove(key(gone))
        for (const name of names) if (name !== gone) fail(name)
        assert.lengthOf(out(), Math.min(Math.max(Math.floor(maxShare * (count - 1)), 1, most - 1), count - 1))
      }
    ))
  })

  it.effect("X1: another endpoint has none, and what the one before did says nothing of it", () =>
    Effect.gen(function*() {
      const { circuit, fail, fleet, record, status } = yield* known("a", "b")
      fail(3)
      yield* TestClock.adjust("10 seconds")
      yield* fleet.put(instance("a", { endpoint: elsewhere }))
      assert.isUndefined(circuit())
      assert.strictEqual(status(), "unknown")
      for (let call = 0; call < 10; call++) record({ latency: 5_000 })
      assert.isUndefined(circuit(), "they began before")
      fail(3, "b")
      assert.strictEqual(status("b"), "unhealthy", "the share of the service is free again")
      yield* fleet.remove("b")
      fail(3)
      assert.strictEqual(circuit()!.times, 1)
    }).pipe(Effect.provide(still())))

  it.effect("X1: late outcomes of an instance that is gone do no harm, even when it is back", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, fleet, record, status } = yield* known("a")
      fail(3)
      yield* TestClock.adjust("1 second")
      assert.isTrue(admit(1_000))
      yield* fleet.remove("a")
      record({ trial: true, latency: 0 })
      fail(10)
      assert.isUndefined(circuit())
      yield* TestClock.adjust("1 second")
      yield* fleet.put(instance("a", { endpoint: elsewhere }))
      for (let call = 0; call < 10; call++) record({ latency: 1_500, trial: call % 2 === 0 })
      assert.strictEqual(status(), "unknown")
      fail(3)
      assert.strictEqual(status(), "unhealthy")
    }).pipe(Effect.provide(still())))

  it.effect("X1: other settings hold at once", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, health, record } = yield* known("a")
      fail(2)
      yield* health.reconfigure({ jitter: 0, ejection: { consecutiveFailures: 3, trials: 1, baseTime: "3 seconds" } })
      fail(1)
      assert.strictEqual(circuit()!.until, 3_000)
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(admit(3_000))
      assert.isFalse(admit(3_000))
      yield* health.reconfigure({ jitter: 0, ejection: { trials: 2 } })
      assert.isTrue(admit(3_000))
      record({ _tag: "success", trial: true })
      assert.strictEqual(circuit()!.state, "half-open")
      record({ _tag: "success", trial: true })
      assert.isUndefined(circuit())
    }).pipe(Effect.provide(still({ consecutiveFailures: 10 }))))
})

describe("trial calls", () => {
  const halfOpen = (options: Health.EjectionOptions = {}) =>
    Effect.gen(function*() {
      const parts = yield* known("a")
      parts.fail(options.consecutiveFailures ?? 3)
      yield* TestClock.adjust("1 second")
      return parts
    })

  for (const trials of [1, 3, 10]) {
    it.effect(`X8: of 1,000 at the same time exactly ${trials} are admitted`, () =>
      Effect.gen(function*() {
        const { admit, record } = yield* halfOpen()
        const asked = yield* Effect.forEach(
          ids(1_000),
          () => Effect.andThen(Effect.yieldNow, Effect.sync(() => admit(1_000))),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(asked.filter((admitted) => admitted), trials)
        record({ _tag: "ignored", trial: true })
        assert.isTrue(admit(1_000), "an interrupted one makes room")
        assert.isFalse(admit(1_000))
      }).pipe(Effect.provide(still({ trials }))))
  }

  it.effect("X8: one that hangs takes its place until its time-out, which opens the circuit again", () =>
    Effect.gen(function*() {
      const { admit, circuit, record } = yield* halfOpen()
      for (let trial = 0; trial < 3; trial++) assert.isTrue(admit(1_000))
      yield* TestClock.adjust("1 minute")
      assert.isFalse(admit(61_000))
      for (let trial = 0; trial < 3; trial++) record({ latency: 60_000, trial: true, reason: "no answer in time" })
      assert.include(circuit()!, { state: "open", until: 63_000, times: 2 })
      yield* TestClock.adjust("2 seconds")
      assert.isTrue(admit(63_000))
    }).pipe(Effect.provide(still())))

  it.effect("X8: outcomes of an era that is over are ignored", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, record } = yield* halfOpen()
      for (let trial = 0; trial < 3; trial++) admit(1_000)
      yield* TestClock.adjust("1 second")
      record({ latency: 1_000, trial: true })
      assert.strictEqual(circuit()!.until, 4_000)
      yield* TestClock.adjust("2 seconds")
      for (let trial = 0; trial < 3; trial++) assert.isTrue(admit(4_000))
      yield* TestClock.adjust("1 second")
      // The other two of the first time, one good and one bad, and one that began before all of it.
      record({ _tag: "success", latency: 4_000, trial: true })
      record({ latency: 4_000, trial: true })
      record({ latency: 5_000 })
      assert.include(circuit()!, { state: "half-open", passed: 0 })
      assert.isFalse(admit(5_000), "they had no place to give back")
      for (let trial = 0; trial < 2; trial++) record({ _tag: "success", latency: 1_000, trial: true })
      admit(5_000)
      yield* TestClock.adjust("1 second")
      record({ _tag: "success", latency: 2_000, trial: true })
      assert.isUndefined(circuit())
      // A trial that ends after the others closed it, and calls of before.
      for (let call = 0; call < 5; call++) record({ latency: 1_000, trial: call === 0 })
      assert.isUndefined(circuit())
      fail(3)
      assert.strictEqual(circuit()!.times, 3, "but what begins now counts")
    }).pipe(Effect.provide(still())))

  it.effect("X8: six that fail together at a threshold of five don't keep it from being half-open later", () =>
    Effect.gen(function*() {
      const { admit, circuit, record } = yield* known("a")
      yield* TestClock.adjust("1 minute")
      for (let call = 0; call < 6; call++) record({ latency: 100 })
      assert.include(circuit()!, { state: "open", times: 1, until: 61_000 })
      yield* TestClock.adjust("1 second")
      assert.isTrue(admit(61_000))
      assert.strictEqual(circuit()!.state, "half-open")
    }).pipe(Effect.provide(still({ consecutiveFailures: 5 }))))

  it.effect("aren't wasted on one of which a check says that it is unhealthy", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, health, status } = yield* known("a")
      let result: Health.CheckResult = { _tag: "Fail", reason: "refused", fatal: true }
      yield* health.addCheck(() => Effect.sync(() => result))
      fail(3)
      yield* TestClock.adjust("5 seconds")
      assert.isFalse(admit(5_000))
      result = pass
      yield* TestClock.adjust("1 second")
      assert.isUndefined(circuit())
      assert.notStrictEqual(status(), "unhealthy")
    }).pipe(Effect.provide(still())))

  it.effect("aren't the only ones that count: calls in panic do too", () =>
    Effect.gen(function*() {
      const { circuit, fail, succeed } = yield* known("a")
      fail(3)
      succeed(2)
      fail(1)
      succeed(2)
      assert.strictEqual(circuit()!.state, "open", "three in a row")
      succeed(1)
      assert.isUndefined(circuit())
    }).pipe(Effect.provide(still())))

  it("X8: whatever happens in whatever order, places are neither lost nor doubled, and it is never stuck", () => {
    const step = fc.record({
      do: fc.constantFrom<"wait" | "begin" | Health.Outcome["_tag"]>(
        "wait",
        "begin",
        "begin",
        "success",
        "failure",
        "ignored"
      ),
      number: fc.nat(3_000)
    })
    fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), fc.array(step, { maxLength: 200 }), (trials, steps) => {
      const { admit, circuit, fail, record, table, time } = tableOf(["a"], { trials })
      fail("a", 3)
      // Calls under way: when they began, whether on trial, and of which era.
      const calls: Array<{ readonly began: number; readonly trial: boolean; readonly era: number | undefined }> = []
      const era = () => circuit("a")?.since
      const end = (index: number, tag: Health.Outcome["_tag"]) => {
        const [call] = calls.splice(index, 1)
        record("a", { _tag: tag, latency: time.now - call!.began, trial: call!.trial })
      }
      for (const { do: act, number } of steps) {
        if (act === "wait") time.now += number + 1
        else if (act === "begin") {
          const trial = admit("a")
          calls.push({ began: time.now, trial, era: era() })
        } else if (calls.length > 0) end(number % calls.length, act)
        const now = circuit("a")
        if (now === undefined) continue
        const onTrial = calls.filter((call) => call.trial && call.era === now.since).length
        assert.isAtMost(onTrial, trials)
        assert.strictEqual(table.find(key("a"))?.circuit?.running, now.state === "half-open" ? onTrial : 0)
      }
      // Whatever it has come to, good calls bring it back.
      while (calls.length > 0) end(0, "ignored")
      time.now += 600_000
      for (let call = 0; call < trials && circuit("a") !== undefined; call++) {
        assert.isTrue(admit("a"))
        record("a", { _tag: "success", trial: true })
      }
      assert.isUndefined(circuit("a"))
    }))
  })
})

describe("pushback", () => {
  it.effect("X3: leaves an instance alone for as long as it asked, and five minutes at most", () =>
    Effect.gen(function*() {
      const { admit, circuit, health, record, status } = yield* known("a", "b", "c")
      const revision = health.revision("weather")
      for (const id of ["a", "b", "c"]) record({ retryAfter: 30_000, reason: "429" }, id)
      assert.isAbove(health.revision("weather"), revision)
      for (const id of ["a", "b", "c"]) assert.strictEqual(status(id), "unhealthy", "no share holds")
      assert.strictEqual(health.get(key("a")).reason, "asked to be left alone for 30s: 429")
      record({ retryAfter: 30_500 })
      record({ _tag: "success" })
      record({ _tag: "success" })
      record({ _tag: "success" })
      assert.include(circuit()!, { cause: "pushback", times: 0, until: 30_000 })
      record({ retryAfter: 1e9, latency: 5_000 })
      assert.strictEqual(circuit()!.until, 300_000, "whenever it began")
      yield* TestClock.adjust("30 seconds")
      assert.isFalse(admit(30_000))
      assert.isTrue(admit(30_000, "b"))
      record({ retryAfter: 60_000, trial: true }, "b")
      assert.include(circuit("b")!, { state: "open", cause: "pushback", until: 90_000 })
      // And one that really fails after that is ejected, for the shortest time.
      yield* TestClock.adjust("60 seconds")
      assert.isTrue(admit(90_000, "b"))
      record({ trial: true }, "b")
      assert.include(circuit("b")!, { state: "open", cause: "failures", until: 91_000, times: 1 })
    }).pipe(Effect.provide(still())))

  it.effect("ends in traffic where a trial call fails and too many are out already", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, health, record } = yield* known("a", "b")
      record({ retryAfter: 5_000 })
      fail(3, "b")
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(admit(5_000))
      record({ trial: true })
      assert.isUndefined(circuit())
      assert.strictEqual(circuit("b")!.cause, "failures")
      assert.strictEqual(health.ejections(key("a")), 1)
    }).pipe(Effect.provide(still())))

  it.effect("of the caller, and of no time, isn't meant", () =>
    Effect.gen(function*() {
      const { circuit, record } = yield* known("a")
      record({ _tag: "ignored", retryAfter: 1_000 })
      record({ retryAfter: 0 })
      record({ retryAfter: -5 })
      assert.isUndefined(circuit())
    }).pipe(Effect.provide(still())))

  it.effect("isn't ended by a check that passes before that, and takes no place of the ejected", () =>
    Effect.gen(function*() {
      const { circuit, fail, health, record } = yield* known("a", "b")
      yield* health.addCheck(() => Effect.succeed(pass))
      yield* TestClock.adjust(0)
      record({ retryAfter: 60_000 })
      yield* TestClock.adjust("59 seconds")
      assert.strictEqual(circuit()!.cause, "pushback")
      fail(3, "b")
      assert.strictEqual(circuit("b")!.cause, "failures")
      yield* TestClock.adjust("1 second")
      assert.isUndefined(circuit(), "then it is as good as any")
    }).pipe(Effect.provide(still())))
})

describe("checks and circuits", () => {
  const checked = (...names: ReadonlyArray<string>) =>
    Effect.gen(function*() {
      const parts = yield* known(...names)
      let checks = 0
      yield* parts.health.addCheck(() =>
        Effect.sync(() => {
          checks++
          return pass
        })
      )
      yield* TestClock.adjust(0)
      return { ...parts, checks: () => checks }
    })

  it.effect("H7: a check that passes closes it, the first time at once", () =>
    Effect.gen(function*() {
      const { circuit, fail, status } = yield* checked("a")
      fail(3)
      assert.strictEqual(status(), "unhealthy")
      yield* TestClock.adjust(0)
      assert.isUndefined(circuit())
      assert.strictEqual(status(), "healthy")
    }).pipe(Effect.provide(still())))

  it.effect("H7: and doesn't where that is switched off: then it takes trial calls", () =>
    Effect.gen(function*() {
      const { admit, circuit, fail, health, record } = yield* checked("a")
      fail(3)
      yield* TestClock.adjust("10 minutes")
      yield* health.check(key("a"))
      assert.strictEqual(circuit()!.state, "open")
      for (let trial = 0; trial < 3; trial++) {
        assert.isTrue(admit(600_000))
        record({ _tag: "success", trial: true })
      }
      assert.isUndefined(circuit())
    }).pipe(Effect.provide(still({ readmitOnCheck: false }))))

  it.effect("H7: as many in a row close it as bring back one that checks took out, of which none was before", () =>
    Effect.gen(function*() {
      const { circuit, fail, health, checks } = yield* checked("a")
      for (let check = 0; check < 5; check++) yield* health.check(key("a"))
      const before = checks()
      fail(3)
      yield* TestClock.adjust(0)
      assert.strictEqual(checks(), before + 1)
      assert.strictEqual(circuit()!.state, "open")
      yield* TestClock.adjust("1 second")
      assert.strictEqual(checks(), before + 2)
      assert.isUndefined(circuit())
    }).pipe(Effect.provide(still({}, { rise: 2 }))))

  it.effect("one that passes while calls keep failing is asked later each time, and not believed earlier", () =>
    Effect.gen(function*() {
      const { checks, fail, health, status } = yield* checked("a")
      const waits: Array<number> = []
      for (let strike = 0; strike < 6; strike++) {
        fail(3)
        assert.strictEqual(status(), "unhealthy")
        if (strike > 0) {
          yield* health.check(key("a"))
          assert.strictEqual(status(), "unhealthy", "even when a person asks for a check")
        }
        const before = checks()
        let wait = 0
        yield* TestClock.adjust(0)
        for (; checks() === before; wait += 250) yield* TestClock.adjust(250)
        assert.notStrictEqual(status(), "unhealthy")
        waits.push(wait)
      }
      assert.deepStrictEqual(waits, [0, 2_000, 4_000, 8_000, 16_000, 32_000])
    }).pipe(Effect.provide(still({}, { interval: "1 hour" }))))

  it.effect("one that began before it was opened doesn't close it", () =>
    Effect.gen(function*() {
      const { circuit, fail, health } = yield* known("a")
      yield* health.addCheck(() => Effect.as(Effect.sleep("3 seconds"), pass))
      yield* TestClock.adjust("2 seconds")
      fail(3)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(circuit()!.state, "open")
      yield* TestClock.adjust("4 seconds")
      assert.isUndefined(circuit())
    }).pipe(Effect.provide(still())))
})

describe("checks of the failing", () => {
  it.effect("come at once, also where too many are out already", () =>
    Effect.gen(function*() {
      const { circuit, fail, health, status } = yield* known("a", "b", "c")
      let result: Health.CheckResult = pass
      yield* health.addCheck(() => Effect.sync(() => result))
      yield* TestClock.adjust(0)
      result = { _tag: "Fail", reason: "refused", fatal: true }
      fail(3)
      fail(3, "b")
      assert.isUndefined(circuit("b"))
      assert.strictEqual(status("c"), "healthy")
      yield* TestClock.adjust(0)
      assert.strictEqual(status("b"), "unhealthy")
      assert.strictEqual(status("c"), "healthy", "it isn't its turn")
    }).pipe(Effect.provide(still())))

  it.effect("aren't put off by a circuit that opens and closes all the time", () =>
    Effect.gen(function*() {
      const { admit, fail, health, record } = yield* known("a")
      let checks = 0
      yield* health.addCheck(() =>
        Effect.sync(() => {
          checks++
          return pass
        })
      )
      for (let second = 0; second < 120; second += 5) {
        fail(3)
        yield* TestClock.adjust("5 seconds")
        for (let trial = 0; trial < 3; trial++) {
          if (admit(yield* now)) record({ _tag: "success", trial: true })
        }
      }
      assert.isAtLeast(checks, 4)
    }).pipe(Effect.provide(still({ readmitOnCheck: false, maxTime: "1 second" }))))
})

describe("H3: the checks of a service that nobody calls", () => {
  it.effect("come less often, and as often as ever once somebody does", () =>
    Effect.gen(function*() {
      const { fleet, health, record } = yield* known("a", "b")
      yield* fleet.put(instance("busy", { service: "stock" }), instance("gone", { service: "spare" }))
      const checks: Record<string, number> = {}
      yield* health.addCheck(({ id }) =>
        Effect.sync(() => {
          checks[id] = (checks[id] ?? 0) + 1
          return id === "gone" ? { _tag: "Fail", reason: "refused", fatal: true } : pass
        })
      )
      const during = (minutes: number) =>
        Effect.gen(function*() {
          for (const id of ["a", "b", "busy", "gone"]) checks[id] = 0
          for (let minute = 0; minute < minutes; minute++) {
            record({ _tag: "success" }, "busy")
            yield* TestClock.adjust("1 minute")
          }
        })
      yield* during(5)
      assert.isAtLeast(checks["a"]!, 10, "a new one is checked as it should be")
      yield* during(20)
      assert.deepInclude(checks, { a: 4, b: 4, gone: 4 })
      assert.isAtLeast(checks["busy"]!, 39)
      // Just after one, when the next is far away.
      const before = checks["a"]!
      while (checks["a"] === before) yield* TestClock.adjust("1 second")
      record({ _tag: "success" }, "a")
      yield* during(1)
      assert.deepInclude(checks, { a: 2, b: 2 })
    }).pipe(Effect.provide(still({}, { idleInterval: "5 minutes" }))))
})

describe("what is told of a circuit", () => {
  const of = (change: (circuit: InstanceCircuit) => void) => {
    const circuit = new InstanceCircuit()
    change(circuit)
    return circuit
  }
  const ejection = { ...settings.ejection, baseTime: 30_000 }

  it("is one line, true at the moment it is asked for", () => {
    const circuit = of((circuit) => circuit.eject("failures", "5 calls in a row failed: refused", 1_000, ejection, 1))
    assert.strictEqual(
      Health.describeCircuit(circuit, 21_000),
      "ejected 20s ago: 5 calls in a row failed: refused, back in 10s"
    )
    assert.strictEqual(
      Health.describeCircuit(circuit, 32_000),
      "ejected 31s ago: 5 calls in a row failed: refused, the next call tries it"
    )
    assert.strictEqual(
      Health.describeCircuit(circuit, 32_000, false),
      "ejected 31s ago: 5 calls in a row failed: refused, back when a check passes"
    )
    circuit.admit(32_000, 3)
    assert.strictEqual(
      Health.describeCircuit(circuit, 33_000),
      "half-open: 0 of 3 trial calls passed; 5 calls in a row failed: refused"
    )
    const pushback = of((circuit) => circuit.leave("429", 0, 500, 3))
    assert.strictEqual(Health.describeCircuit(pushback, 100), "asked to be left alone 100ms ago: 429, back in 400ms")
  })
})

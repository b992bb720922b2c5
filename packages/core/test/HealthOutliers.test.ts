import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Health from "../src/Health.ts"
import { outliers } from "../src/internal/health/outliers.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"
import { ids, tableOf } from "./fixtures/healthTable.ts"

const rules = { minInstances: 5, minRequests: 100, deviations: 1.9 }

describe("X1: success rates", () => {
  it("below the mean by so many deviations are outliers, the worst first; too few calls or instances are no measure", () => {
    const good = { passed: 100, failed: 0 }
    const bad = { passed: 50, failed: 50 }
    const worse = { passed: 40, failed: 60 }
    const found = (...members: ReadonlyArray<{ passed: number; failed: number }>) =>
      outliers(members, rules).map(({ of }) => of)
    assert.deepStrictEqual(found(good, good, good, good, bad), [bad])
    assert.deepStrictEqual(found(bad, ...Array.from({ length: 18 }, () => good), worse), [worse, bad])
    assert.deepStrictEqual(found(good, good, good, bad), [], "four instances")
    assert.deepStrictEqual(found(good, good, good, good, { passed: 50, failed: 49 }), [], "99 calls")
    assert.deepStrictEqual(found(good, good, good, { passed: 99, failed: 0 }, bad), [], "four with enough calls")
    assert.deepStrictEqual(found(bad, bad, bad, bad, bad), [], "all the same")
    assert.deepStrictEqual(found(good, good, good, good, good, good, { passed: 99, failed: 1 }), [], "a hair's breadth")
    const sharp = { ...rules, deviations: 1 }
    assert.deepStrictEqual(outliers([good, good, good, bad], sharp), [], "four instances, whatever the deviations")
    assert.lengthOf(outliers([good, good, good, bad], { ...sharp, minInstances: 4 }), 1)
    assert.deepStrictEqual(outliers([], { ...rules, minInstances: 0, minRequests: 0 }), [])
  })

  it("are compared as the formula says", () => {
    const member = fc.record({ passed: fc.nat(200), failed: fc.nat(200) })
    fc.assert(fc.property(fc.array(member, { maxLength: 30 }), (members) => {
      const rates = members.filter(({ failed, passed }) => failed + passed >= 100).map(({ failed, passed }) =>
        passed / (passed + failed)
      )
      const mean = rates.reduce((sum, rate) => sum + rate, 0) / rates.length
      const deviation = Math.sqrt(rates.reduce((sum, rate) => sum + (rate - mean) ** 2, 0) / rates.length)
      const expected = rates.length < 5
        ? []
        : rates.filter((rate) => rate < mean - Math.max(1.9 * deviation, 0.05) - 1e-9).sort((a, b) => a - b)
      const found = outliers(members, rules).map(({ rate }) => rate)
      assert.isAtMost(Math.abs(found.length - expected.length), 0)
      found.forEach((rate, index) => assert.closeTo(rate, expected[index]!, 1e-9))
    }))
  })

  // 100 calls each at so many instances, of which the first fails every other.
  const interval = (names: ReadonlyArray<string>, of: ReturnType<typeof tableOf>, failing = 1, calls = 100) => {
    names.forEach((name, index) => {
      for (let call = 0; call < calls; call++) {
        of.record(name, { _tag: index < failing && call % 2 === 0 ? "failure" : "success" })
      }
    })
  }

  it("are looked at every interval, in which each is ejected once at most and counted anew", () => {
    const names = ids(10)
    const of = tableOf(names)
    const { circuit, table, time } = of
    interval(names, of)
    for (; time.now < 9_900; time.now += 100) table.sweep()
    assert.isUndefined(circuit("i0"))
    time.now = 10_000
    table.sweep()
    assert.include(circuit("i0")!, {
      cause: "success-rate",
      times: 1,
      until: 11_000,
      reason: "50 of 100 calls succeeded (50 %), of the calls to all instances 95 %"
    })
    time.now = 10_050
    table.sweep()
    for (const name of names.slice(1)) assert.isUndefined(circuit(name))
    time.now = 20_000
    table.sweep()
    assert.strictEqual(table.ejections(key("i0")), 1, "nothing happened since")
  })

  it("of fewer than the least calls are no measure, however long one waits", () => {
    const names = ids(10)
    const of = tableOf(names)
    for (let round = 1; round < 20; round++) {
      interval(names, of, 1, 98)
      of.time.now = round * 10_000
      of.table.sweep()
      assert.isUndefined(of.circuit("i0"))
    }
  })

  it("eject no more than the share, the worst first", () => {
    const names = ids(40)
    const of = tableOf(names, { maxShare: 0.05, consecutiveFailures: Infinity })
    interval(names, of, 3)
    for (let call = 0; call < 100; call++) {
      of.fail("i1")
      of.fail("i2", 2)
    }
    of.time.now = 10_000
    of.table.sweep()
    assert.deepStrictEqual(names.filter((name) => of.circuit(name) !== undefined), ["i1", "i2"])
  })

  it("are compared at another interval as soon as that is set", () => {
    const names = ids(10)
    const of = tableOf(names, { interval: 3_600_000 })
    interval(names, of)
    of.time.now = 20_000
    of.table.sweep()
    assert.isUndefined(of.circuit("i0"))
    of.table.reconfigure(of.settings({ interval: 5_000 }))
    of.table.sweep()
    assert.isDefined(of.circuit("i0"))
  })

  it("of ten thousand instances are looked at in a few ms", () => {
    const names = ids(10_000)
    const of = tableOf(names)
    interval(names, of, 100)
    let least = Infinity
    for (let round = 1; round <= 5; round++) {
      of.time.now = round * 10_000
      of.fail("i9999")
      const began = performance.now()
      of.table.sweep()
      least = Math.min(least, performance.now() - began)
    }
    // What it takes is a millisecond; the machine may be busy.
    assert.isBelow(least, 50)
  })

  it.effect("are looked at as time goes by, and a check that passes is no excuse before the time is over", () =>
    Effect.gen(function*() {
      const health = yield* Health.Health
      const fleet = yield* Fleet
      yield* health.addCheck(() => Effect.succeed({ _tag: "Pass" }))
      yield* fleet.put(...ids(10).map((id) => instance(id)))
      yield* TestClock.adjust("5 seconds")
      for (let call = 0; call < 100; call++) {
        for (const id of ids(10)) {
          health.record(key(id), { _tag: id === "i3" && call % 2 === 0 ? "failure" : "success", latency: 1 })
        }
      }
      yield* TestClock.adjust("5 seconds")
      yield* health.check(key("i3"))
      assert.strictEqual(health.circuit(key("i3"))?.cause, "success-rate")
      yield* TestClock.adjust("1 second")
      assert.isUndefined(health.circuit(key("i3")))
    }).pipe(Effect.provide(Health.layer({ jitter: 0 }).pipe(Layer.provideMerge(layer)))))
})

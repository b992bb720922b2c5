import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { monotonic } from "../src/internal/monotonic.ts"
import { type Timer, Timers } from "../src/internal/routing/timers.ts"

const make = Effect.gen(function*() {
  const now = monotonic(yield* Clock.Clock)
  const fork = Effect.runForkWith(yield* Effect.context())
  const fired: Array<string> = []
  let wakes = 0
  const timers = new Timers(now, (effect) => {
    wakes++
    return fork(effect)
  })
  const add = (name: string, at: number, onFire: () => void = () => {}): Timer => {
    const timer: Timer = {
      due: 0,
      place: -1,
      fire: () => {
        fired.push(name)
        onFire()
      }
    }
    timers.set(timer, at)
    return timer
  }
  return { add, fired, timers, wakes: () => wakes, now }
})

describe("Timers", () => {
  it.effect("fire each at its own time, whatever the order in which they came", () =>
    Effect.gen(function*() {
      const { add, fired } = yield* make
      add("last", 300)
      add("first", 100)
      add("second", 200)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(fired, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(fired, ["first"])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(fired, ["first", "second"])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(fired, ["first", "second", "last"])
    }))

  it.effect("don't fire where they were removed, and fire later where they were moved", () =>
    Effect.gen(function*() {
      const { add, fired, timers } = yield* make
      const removed = add("removed", 100)
      const moved = add("moved", 100)
      add("other", 100, () => timers.remove(alsoRemoved))
      const alsoRemoved = add("also removed", 100.5)
      timers.remove(removed)
      timers.remove(removed)
      timers.set(moved, 250)
      yield* TestClock.adjust(200)
      assert.deepStrictEqual(fired, ["other"])
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(fired, ["other", "moved"])
      timers.set(moved, 300)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(fired, ["other", "moved", "moved"])
    }))

  it.effect("set again for a time that has passed, comes soon and doesn't go on for ever", () =>
    Effect.gen(function*() {
      const { add, fired, now, timers } = yield* make
      const again: Timer = add("again", 10, () => timers.set(again, now() - 5))
      yield* TestClock.adjust(20)
      assert.isAtLeast(fired.length, 2)
      assert.isAtMost(fired.length, 11)
    }))

  it.effect("one that breaks doesn't hold up the others", () =>
    Effect.gen(function*() {
      const { add, fired } = yield* make
      add("broken", 10, () => {
        throw new Error("broken")
      })
      add("other", 10)
      add("later", 20)
      yield* TestClock.adjust(30)
      assert.deepStrictEqual(fired, ["broken", "other", "later"])
    }))

  it.live("give what our own event loop held up some of its time back", () =>
    Effect.gen(function*() {
      const { add, fired, now } = yield* make
      add("held up", now() + 100)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 700)
      const stalled = now()
      yield* Effect.sleep(50)
      if (now() - stalled < 400) assert.deepStrictEqual(fired, [])
      yield* Effect.sleep(1_500)
      assert.deepStrictEqual(fired, ["held up"])
    }))

  it.effect("cost no wake each", () =>
    Effect.gen(function*() {
      const { add, fired, timers, wakes } = yield* make
      for (let at = 60_000; at < 61_000; at++) timers.remove(add("call", at))
      assert.strictEqual(wakes(), 1)
      yield* TestClock.adjust(120_000)
      assert.deepStrictEqual(fired, [])
      assert.strictEqual(wakes(), 1)
    }))

  it.effect("X9: fire in order, none early, none late by more than a millisecond, for any course of events", () =>
    Effect.promise(() =>
      fc.assert(fc.asyncProperty(
        fc.array(
          fc.record({
            id: fc.integer({ min: 0, max: 5 }),
            in: fc.double({ min: 0.25, max: 60, noNaN: true }),
            remove: fc.boolean(),
            pass: fc.integer({ min: 0, max: 20 })
          }),
          { maxLength: 40 }
        ),
        (steps) =>
          Effect.runPromise(
            Effect.gen(function*() {
              const { now, timers } = yield* make
              const due = new Map<number, number>()
              const timer = (id: number): Timer => ({
                due: 0,
                place: -1,
                fire: (at) => {
                  assert.isTrue(due.has(id))
                  assert.isAtLeast(at, due.get(id)!)
                  assert.isBelow(now(), due.get(id)! + 1)
                  due.delete(id)
                }
              })
              const all = Array.from({ length: 6 }, (_, id) => timer(id))
              for (const step of steps) {
                if (step.remove) {
                  timers.remove(all[step.id]!)
                  due.delete(step.id)
                } else {
                  due.set(step.id, now() + step.in)
                  timers.set(all[step.id]!, now() + step.in)
                }
                yield* TestClock.adjust(step.pass)
              }
              yield* TestClock.adjust(100)
              assert.strictEqual(due.size, 0)
            }).pipe(Effect.provide(TestClock.layer()))
          )
      ))
    ))
})

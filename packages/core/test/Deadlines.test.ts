import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import { Deadlines, type Waiting } from "../src/internal/deadlines.ts"
import { monotonic } from "../src/internal/monotonic.ts"

const make = Effect.gen(function*() {
  const now = monotonic(yield* Clock.Clock)
  const fork = Effect.runForkWith(yield* Effect.context())
  const expired: Array<string> = []
  let timers = 0
  const deadlines = new Deadlines(now, (effect) => {
    timers++
    return fork(effect)
  })
  const add = (name: string, at: number) => {
    const limit = { at }
    const waiting: Waiting = { place: 0, deadline: () => limit.at, expire: () => void expired.push(name) }
    deadlines.add(waiting)
    return { limit, remove: () => deadlines.remove(waiting) }
  }
  return { add, expired, timers: () => timers }
})

describe("Deadlines", () => {
  it.effect("ends each at its own deadline, whatever the order in which they came", () =>
    Effect.gen(function*() {
      const { add, expired } = yield* make
      add("last", 300)
      add("first", 100)
      add("second", 200)
      yield* TestClock.adjust(99)
      assert.deepStrictEqual(expired, [])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(expired, ["first"])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(expired, ["first", "second"])
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(expired, ["first", "second", "last"])
    }))

  it.effect("leaves alone what ended before, and waits for what was given more time", () =>
    Effect.gen(function*() {
      const { add, expired } = yield* make
      const ended = add("ended", 100)
      const extended = add("extended", 100)
      add("other", 100)
      ended.remove()
      ended.remove()
      extended.limit.at = 250
      yield* TestClock.adjust(100)
      assert.deepStrictEqual(expired, ["other"])
      yield* TestClock.adjust(149)
      assert.deepStrictEqual(expired, ["other"])
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(expired, ["other", "extended"])
      add("later", 300)
      yield* TestClock.adjust(50)
      assert.deepStrictEqual(expired, ["other", "extended", "later"])
    }))

  it.effect("sets no timer per call", () =>
    Effect.gen(function*() {
      const { add, expired, timers } = yield* make
      for (let at = 60_000; at < 61_000; at++) add("call", at).remove()
      assert.strictEqual(timers(), 1)
      yield* TestClock.adjust(120_000)
      assert.deepStrictEqual(expired, [])
      assert.strictEqual(timers(), 1)
    }))
})

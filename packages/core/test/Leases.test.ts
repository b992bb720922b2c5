import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Leases from "../src/Leases.ts"

const lease = (renewal: string): Leases.Lease => ({ ttl: Duration.seconds(2), renewal })

/** Listens for so many ms; answers which ids were doubted. */
const listen = Effect.fnUntraced(function*(leases: Leases.Leases, ms: number) {
  const doubted: Array<string> = []
  const session = yield* leases.listen(Stream.never).pipe(
    Stream.runForEach((heard) => Effect.sync(() => heard._tag === "Moment" && doubted.push(...heard.doubtful))),
    Effect.forkChild({ startImmediately: true })
  )
  yield* TestClock.adjust(ms)
  yield* Fiber.interrupt(session)
  return doubted
})

describe("Leases", () => {
  it.effect("a lease lasts for its TTL from when its renewal was seen", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      leases.see("a", lease("first"))
      yield* listen(leases, 1_750)
      assert.isFalse(leases.isOver("a"))
      leases.see("a", lease("second"))
      yield* listen(leases, 1_750)
      assert.isFalse(leases.isOver("a"))
      yield* listen(leases, 250)
      assert.isTrue(leases.isOver("a"))
      leases.see("a", lease("third"))
      assert.isFalse(leases.isOver("a"))
    }))

  it.effect("what is seen again without a renewal isn't kept alive by that", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      leases.see("a", lease("first"))
      yield* listen(leases, 1_500)
      leases.see("a", lease("first"))
      yield* listen(leases, 500)
      assert.isTrue(leases.isOver("a"))
    }))

  it.effect("one that is taken away, or not kept, is nobody's any more", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      for (const id of ["a", "b", "c"]) leases.see(id, lease("first"))
      leases.see("a", undefined)
      leases.keep(new Set(["c"]))
      yield* listen(leases, 2_000)
      assert.deepStrictEqual(["a", "b", "c"].map(leases.has), [false, false, true])
      assert.deepStrictEqual(["a", "b", "c"].map(leases.isOver), [false, false, true])
    }))

  it.effect("each session doubts a lease that is nearly over, once, and again after a renewal", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      leases.see("a", lease("first"))
      assert.deepStrictEqual(yield* listen(leases, 1_250), [])
      assert.deepStrictEqual(yield* listen(leases, 500), ["a"])
      assert.deepStrictEqual(yield* listen(leases, 500), ["a"])
      leases.see("a", lease("second"))
      assert.deepStrictEqual(yield* listen(leases, 2_000), ["a"])
    }))

  it.effect("time in which nobody listened doesn't count", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      leases.see("a", lease("first"))
      yield* listen(leases, 1_750)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(leases.listened(), 1_750)
      yield* listen(leases, 0)
      assert.isFalse(leases.isOver("a"))
    }))

  it.effect("nor does the time in which this process stood still, but for a moment", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      const moments = yield* Queue.unbounded<void>()
      const release = yield* Queue.unbounded<void>()
      // Who takes what is heard is held up for an hour.
      yield* leases.listen(Stream.never).pipe(
        Stream.runForEach(() => Effect.andThen(Queue.offer(moments, undefined), Queue.take(release))),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* Queue.take(moments)
      yield* TestClock.adjust("1 hour")
      yield* Queue.offer(release, undefined)
      yield* Queue.take(moments)
      assert.isAtMost(leases.listened(), 500)
    }))

  it.effect("events pass as they are, and the moments end with them, however they end", () =>
    Effect.gen(function*() {
      const leases = Leases.make()
      const ended = yield* Stream.runCollect(leases.listen(Stream.make(1, 2)))
      assert.deepStrictEqual(ended.filter(({ _tag }) => _tag === "Event"), [
        { _tag: "Event", event: 1 },
        { _tag: "Event", event: 2 }
      ])
      const failed = yield* Effect.exit(Stream.runDrain(leases.listen(Stream.fail("lost"))))
      assert.deepStrictEqual(failed, Exit.fail("lost"))
    }))
})

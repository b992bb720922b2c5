import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Discovery from "../src/Discovery.ts"
import * as Registries from "../src/Registries.ts"
import * as Registry from "../src/Registry.ts"
import { count, fleet, live } from "./fixtures/scripted.ts"

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

/** A backend that says what it is told to say, when it was polled, and who listens for its hints. */
class Backend {
  answer: Effect.Effect<Registry.Snapshot | Registry.Polled, Registry.RegistryError> = Effect.succeed(
    Registry.snapshot(fleet(1))
  )
  readonly polls: Array<number> = []
  readonly listeners = new Set<Latch.Latch>()

  get poll() {
    return Effect.flatMap(now, (time) => {
      this.polls.push(time)
      return this.answer
    })
  }

  get wake(): Registry.Wake {
    return Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const latch = Latch.makeUnsafe(false)
          this.listeners.add(latch)
          return latch
        }),
        (latch) => Effect.sync(() => this.listeners.delete(latch))
      ),
      (latch) => Effect.andThen(latch.await, Effect.sync(() => void latch.closeUnsafe()))
    )
  }

  hint() {
    // Not those that begin to listen because of it.
    for (const latch of Array.from(this.listeners)) latch.openUnsafe()
  }

  says(size: number) {
    this.answer = Effect.succeed(Registry.snapshot(fleet(size)))
  }

  breaks(reason: string) {
    this.answer = Effect.fail(new Registry.RegistryError({ registry: "list", operation: "poll", reason }))
  }

  /** Polls since the last call. */
  take(): ReadonlyArray<number> {
    return this.polls.splice(0)
  }
}

const make = (backend: Backend, options?: Partial<Registry.PollOptions>) =>
  Registry.fromPoll({ name: "list", every: "10 minutes", poll: backend.poll, wake: backend.wake, ...options })

/** The registry in discovery, connected. */
const open = Effect.fnUntraced(function*(backend: Backend, options?: Partial<Registry.PollOptions>) {
  const discovery = yield* Discovery.Discovery
  const registry = yield* make(backend, options)
  yield* Effect.flatMap(Registries.Registries, (registries) => registries.add(registry))
  yield* TestClock.adjust("1 second")
  backend.take()
  return { count: () => count(discovery), source: () => discovery.catalog().sources.get("list") }
})

describe("fromPoll", () => {
  it.effect("polls at a hint; a burst of hints is one poll; the same snapshot is no news", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const registry = yield* make(backend)
      const events: Array<string> = []
      const fiber = yield* Effect.forkChild(
        Stream.runForEach(registry.watch, ({ _tag }) => Effect.sync(() => void events.push(_tag)))
      )
      yield* TestClock.adjust("1 second")
      backend.hint()
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(backend.take(), [0, 1_000])
      assert.deepStrictEqual(events, ["Snapshot", "Alive"])
      backend.says(2)
      backend.hint()
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(events, ["Snapshot", "Alive", "Snapshot"])
      yield* Fiber.interrupt(fiber)
      assert.strictEqual(backend.listeners.size, 0)
    }))

  it.effect("a burst of hints within the settle time is one reading", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend, { settle: "25 millis" })
      backend.hint()
      for (let step = 0; step < 5; step++) {
        yield* TestClock.adjust("4 millis")
        backend.hint()
      }
      yield* TestClock.adjust("1 second")
      // Nothing changed, so it has settled.
      assert.deepStrictEqual(backend.take(), [1_025])
      assert.strictEqual(view.count(), 1)
    }).pipe(Effect.provide(live())))

  it.effect("polls again when what it was told is good no longer", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      backend.answer = Effect.succeed({ snapshot: Registry.snapshot(fleet(2)), goodFor: Duration.seconds(5) })
      const view = yield* open(backend)
      backend.says(1)
      yield* TestClock.adjust("3999 millis")
      assert.strictEqual(view.count(), 2)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(view.count(), 1)
      assert.deepStrictEqual(backend.take(), [5_000])
    }).pipe(Effect.provide(live())))

  it.effect("a state counts once it lasts for the settle time", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend, { settle: "25 millis" })
      const seen = new Set<number>()
      backend.hint()
      for (const size of [2, 3, 4]) {
        backend.says(size)
        yield* TestClock.adjust("25 millis")
        seen.add(view.count())
      }
      backend.breaks("half of it")
      yield* TestClock.adjust("75 millis")
      backend.says(5)
      yield* TestClock.adjust("25 millis")
      seen.add(view.count())
      assert.deepStrictEqual(Array.from(seen), [1])
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(view.count(), 5)
      assert.include(view.source(), { state: "connected", reconnects: 0, lastError: undefined })
    }).pipe(Effect.provide(live())))

  it.effect("a mistake that lasts is told; what changes without pause counts in the end", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend, { settle: "25 millis" })
      backend.breaks("line 3")
      backend.hint()
      yield* TestClock.adjust("120 millis")
      assert.include(view.source(), { state: "connected" })
      yield* TestClock.adjust("10 millis")
      assert.include(view.source(), { state: "stale", lastError: "line 3" })
      assert.strictEqual(view.count(), 1)
      backend.answer = Effect.sync(() => Registry.snapshot(fleet(2)))
      backend.hint()
      yield* TestClock.adjust("900 millis")
      assert.strictEqual(view.count(), 1)
      yield* TestClock.adjust("300 millis")
      assert.strictEqual(view.count(), 2)
    }).pipe(Effect.provide(live())))

  it.effect("a lost session is begun anew at a hint, however long its back-off", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend)
      backend.breaks("503")
      backend.hint()
      yield* TestClock.adjust("1 minute")
      const polls = backend.take()
      assert.isAbove(polls.length, 5)
      assert.isBelow(polls.length, 120)
      assert.include(view.source(), { state: "stale", lastError: "503" })
      // In the midst of a wait: the last poll is longer ago than sessions are apart, whenever that was.
      const last = polls.at(-1) ?? 0
      let time = yield* now
      while (time - (backend.polls.at(-1) ?? last) < 200) {
        yield* TestClock.adjust("50 millis")
        time = yield* now
      }
      backend.take()
      backend.says(3)
      backend.hint()
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(backend.take(), [time])
      assert.strictEqual(view.count(), 3)
      assert.include(view.source(), { state: "connected", reconnects: 1 })
    }).pipe(Effect.provide(live())))

  it.effect("hints don't begin sessions more often than ten times a second", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      yield* open(backend)
      backend.breaks("503")
      for (let step = 0; step < 1_000; step++) {
        backend.hint()
        yield* TestClock.adjust("1 millis")
      }
      const polls = backend.take()
      assert.isAbove(polls.length, 5)
      assert.isAtMost(polls.length, 12)
    }).pipe(Effect.provide(live())))

  it.effect("a reading that takes too long has failed, for a list too", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend, { timeout: "2 seconds" })
      backend.answer = Effect.never
      backend.hint()
      yield* TestClock.adjust("2 seconds")
      assert.include(view.source(), { state: "stale", lastError: "no answer within 2s" })
      const { list } = yield* make(backend, { timeout: "2 seconds" })
      const fiber = yield* Effect.forkChild(Effect.flip(list))
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(fiber)).message, "list: poll: no answer within 2s")
    }).pipe(Effect.provide(live())))
})

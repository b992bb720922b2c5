import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Discovery from "../src/Discovery.ts"
import * as Registries from "../src/Registries.ts"
import * as Registry from "../src/Registry.ts"
import { Jump, jumping } from "./fixtures/jumping.ts"
import { count, fleet, instance, live } from "./fixtures/scripted.ts"

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

describe("N5: fromPoll with rise and fall", () => {
  const ids = Effect.fnUntraced(function*({ list }: Registry.Registry) {
    return (yield* list).instances.map(({ id }) => id)
  })

  it.effect("what some polls in a row found is there, until some in a row missed it", () =>
    Effect.gen(function*() {
      const poll = fc.record({ found: fc.subarray(["a", "b", "c"]), stalled: fc.boolean() })
      yield* Effect.promise((signal) =>
        fc.assert(
          fc.asyncProperty(
            fc.integer({ min: 1, max: 3 }),
            fc.integer({ min: 1, max: 3 }),
            fc.array(poll, { minLength: 1, maxLength: 20 }),
            (rise, fall, polls) =>
              Effect.runPromise(
                Effect.gen(function*() {
                  const jump = yield* Jump
                  const backend = new Backend()
                  const registry = yield* make(backend, { rise, fall })
                  const counted = new Map<string, Array<boolean>>([["a", []], ["b", []], ["c", []]])
                  for (const { found, stalled } of polls) {
                    backend.answer = Effect.sync(() => {
                      if (stalled) jump.by(5_000)
                      return Registry.snapshot(found.map((id) => instance(id)))
                    })
                    const there = yield* ids(registry)
                    for (const [id, history] of counted) {
                      // A poll of a moment in which our loop stood still says nothing against anybody.
                      if (found.includes(id) || !stalled) history.push(found.includes(id))
                      assert.strictEqual(
                        there.includes(id),
                        isThere(history, rise, fall),
                        `${id}: ${history.join(" ")}`
                      )
                    }
                  }
                }).pipe(Effect.provide(jumping)),
                { signal }
              )
          ),
          { numRuns: 200 }
        )
      )
    }))

  /** Whether the last time that enough polls in a row agreed they agreed that it is there. */
  const isThere = (history: ReadonlyArray<boolean>, rise: number, fall: number): boolean => {
    const agreed = (end: number, times: number, on: boolean) =>
      end >= times && history.slice(end - times, end).every((found) => found === on)
    for (let end = history.length; end > 0; end--) {
      if (agreed(end, rise, true)) return true
      if (agreed(end, fall, false)) return false
    }
    return false
  }

  it.effect("one that is missed stays as it was; a change of one that is there counts at once", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend, { rise: 2, fall: 2 })
      assert.strictEqual(view.count(), 0)
      const answer = (...instances: ReadonlyArray<Registry.Snapshot["instances"][number]>) => {
        backend.answer = Effect.succeed(Registry.snapshot(instances))
        backend.hint()
        return TestClock.adjust("1 second")
      }
      const version = Effect.map(
        Discovery.Discovery,
        (discovery) => Array.from(discovery.catalog().entries, ([, { instance }]) => instance.version).join()
      )
      yield* answer(instance("i1", { version: "1.0.0" }))
      assert.strictEqual(yield* version, "1.0.0")
      yield* answer(instance("i1", { version: "1.1.0" }))
      assert.strictEqual(yield* version, "1.1.0")
      yield* answer()
      assert.strictEqual(yield* version, "1.1.0")
      yield* answer(instance("i1", { version: "1.2.0" }))
      yield* answer()
      assert.strictEqual(yield* version, "1.2.0")
      yield* answer()
      assert.strictEqual(yield* version, "")
    }).pipe(Effect.provide(live())))

  it.effect("a poll that failed says nothing, nor does one that found the record in a form that can't be used", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const view = yield* open(backend, { fall: 2 })
      const missed = Effect.suspend(() => {
        backend.says(0)
        backend.hint()
        return TestClock.adjust("5 seconds")
      })
      yield* missed
      backend.breaks("503")
      backend.hint()
      yield* TestClock.adjust("5 seconds")
      assert.include(view.source(), { state: "stale", instances: 1 })
      backend.answer = Effect.succeed(Registry.snapshot([], [{ id: "i1", reason: "no" }]))
      backend.hint()
      yield* TestClock.adjust("5 seconds")
      assert.include(view.source(), { state: "connected", instances: 1 })
      assert.strictEqual(view.source()?.rejected.length, 1)
      yield* missed
      assert.strictEqual(view.count(), 0)
    }).pipe(Effect.provide(live())))
})

describe("N6: a stall of our own", () => {
  it.effect("removes nobody, whatever the polls during it missed", () =>
    Effect.gen(function*() {
      const jump = yield* Jump
      const backend = new Backend()
      const registry = yield* make(backend, { fall: 1 })
      backend.says(3)
      yield* registry.list
      for (const lost of [5_000, 2_000, 1_000]) {
        backend.answer = Effect.sync(() => {
          jump.by(lost)
          return Registry.snapshot([])
        })
        assert.strictEqual((yield* registry.list).instances.length, 3)
      }
      // It was over before the poll began.
      backend.says(0)
      assert.strictEqual((yield* registry.list).instances.length, 0)
    }).pipe(Effect.provide(jumping)))

  it.effect("is found in the midst of a long poll, and excuses it only if it was a good part of it", () =>
    Effect.gen(function*() {
      const jump = yield* Jump
      const backend = new Backend()
      const registry = yield* make(backend, { fall: 1, timeout: "10 minutes" })
      for (const [length, left] of [["20 seconds", 3], ["8 minutes", 0]] as const) {
        backend.says(3)
        yield* registry.list
        backend.answer = Effect.andThen(
          Effect.sleep("5 seconds"),
          Effect.suspend(() => {
            jump.by(5_000)
            return Effect.as(Effect.sleep(length), Registry.snapshot([]))
          })
        )
        const fiber = yield* Effect.forkChild(registry.list)
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual((yield* Fiber.join(fiber)).instances.length, left, length)
      }
    }).pipe(Effect.provide(jumping)))
})

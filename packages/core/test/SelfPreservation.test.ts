import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "../src/Catalog.ts"
import type * as Discovery from "../src/Discovery.ts"
import * as Registry from "../src/Registry.ts"
import {
  adding,
  count,
  error,
  fleet,
  following,
  ids,
  instance,
  live,
  put,
  removed,
  scripted,
  state
} from "./fixtures/scripted.ts"

const { alive, delta, snapshot } = Registry

type Script = ReturnType<typeof scripted>

/** A source of so many instances that is lost and comes back with the last ones. */
const rejoining = Effect.fnUntraced(function*(script: Script, before: number, after: number) {
  script.first = Effect.succeed([snapshot(fleet(before))])
  const discovery = yield* adding(script)
  script.first = Effect.succeed([snapshot(fleet(after, before - after + 1))])
  yield* script.fail("gone")
  yield* TestClock.adjust("3 seconds")
  return discovery
})

/** Lets time go by with the registry alive. */
const wait = Effect.fnUntraced(function*(script: Script, seconds: number) {
  for (let passed = 0; passed < seconds; passed++) {
    yield* script.emit(alive)
    yield* TestClock.adjust("1 second")
  }
})

const missing = (discovery: Discovery.Discovery["Service"]) =>
  Array.from(HashMap.values(discovery.catalog().entries)).filter(({ missingSince }) => missingSince !== undefined)
    .length

describe("H6: what a new session lacks", () => {
  for (
    const [before, after, held] of [
      [1, 0, 0],
      [3, 0, 0],
      [4, 0, 0],
      [4, 1, 0],
      [5, 4, 0],
      [5, 3, 0],
      [5, 2, 3],
      [5, 0, 5],
      [6, 4, 0],
      [6, 3, 0],
      [6, 2, 4],
      [10, 8, 0],
      [10, 5, 0],
      [10, 4, 6],
      [100, 40, 60]
    ] as const
  ) {
    it.effect(`${before} instances, then ${after}: ${held} held`, () =>
      Effect.gen(function*() {
        const script = scripted()
        const discovery = yield* rejoining(script, before, after)
        assert.include(state(discovery), { state: "connected", held, instances: after + held })
        assert.strictEqual(missing(discovery), held)
        assert.strictEqual(count(discovery), after + held)
        yield* wait(script, 56)
        assert.strictEqual(count(discovery), after + held)
        yield* wait(script, 5)
        assert.strictEqual(count(discovery), after)
        assert.include(state(discovery), { held: 0, instances: after })
      }).pipe(Effect.provide(live())))
  }

  it.effect("is gone at once where the registry is authoritative", () =>
    Effect.gen(function*() {
      const discovery = yield* rejoining(scripted({ authoritative: true }), 10, 0)
      assert.strictEqual(count(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("is gone at once when a live session's later snapshot lacks it", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(snapshot([]))
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(count(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("a recovery ends the hold of the one; the others are held until their time", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* rejoining(script, 10, 2)
      const follower = yield* following(discovery)
      yield* script.emit(delta([put(instance("i1")), put(instance("i2"))]))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(follower.take(), ["Updated scripted/i1", "Updated scripted/i2"])
      assert.strictEqual(state(discovery).held, 6)
      assert.strictEqual(missing(discovery), 6)
      yield* wait(script, 60)
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i1", "scripted/i10", "scripted/i2", "scripted/i9"])
      const entry = HashMap.getUnsafe(discovery.catalog().entries, Catalog.key("scripted", "i1"))
      // It was there all along.
      assert.strictEqual(entry.firstSeen, 0)
    }).pipe(Effect.provide(live())))

  it.effect("a wipe that is announced again within the grace time is no removal at all", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* rejoining(script, 10, 0)
      const follower = yield* following(discovery)
      for (const one of fleet(10)) {
        yield* script.emit(delta([put(one)]))
        yield* TestClock.adjust("2 seconds")
      }
      yield* wait(script, 100)
      assert.strictEqual(count(discovery), 10)
      assert.isEmpty(follower.take().filter((line) => !line.startsWith("Updated")))
      assert.strictEqual(missing(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("a proven deletion of a held one acts at once", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* rejoining(script, 10, 0)
      yield* script.emit(delta([removed("i1", "deregistered")]))
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(count(discovery), 9)
      assert.strictEqual(state(discovery).held, 9)
    }).pipe(Effect.provide(live())))

  it.effect("is kept for longer when its source is lost again, and goes when a session lacks it after its time", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* rejoining(script, 10, 0)
      script.first = Effect.fail(error("down"))
      yield* script.fail("gone")
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(count(discovery), 10)
      script.first = Effect.succeed([snapshot([])])
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(count(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("more that goes missing in a next session is held too", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* rejoining(script, 10, 4)
      script.first = Effect.succeed([snapshot([])])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      assert.include(state(discovery), { held: 10, instances: 10 })
      yield* wait(script, 61)
      assert.strictEqual(count(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("across groups the fleet is judged as a whole", () =>
    Effect.gen(function*() {
      const script = scripted()
      const groups = (...groups: ReadonlyArray<string>): Registry.Groups => ({ _tag: "Groups", groups })
      script.first = Effect.succeed([groups("a", "b"), snapshot(fleet(4), [], "a"), snapshot(fleet(6, 5), [], "b")])
      const discovery = yield* adding(script)
      script.first = Effect.succeed([groups("b"), snapshot(fleet(6, 5), [], "b")])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      // Four of ten: the whole of group a, yet less than half of the fleet.
      assert.strictEqual(count(discovery), 6)
      script.first = Effect.succeed([groups()])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(state(discovery).held, 6)
    }).pipe(Effect.provide(live())))
})

describe("what expires", () => {
  const expiring = (...numbers: ReadonlyArray<number>) =>
    delta(numbers.map((number) => removed(`i${number}`, "expired")))

  it.effect("acts at once while it is the lesser part", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(count(discovery), 5)
    }).pipe(Effect.provide(live())))

  it.effect("is held where one batch is the greater part", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1, 2, 3, 4, 5, 6))
      yield* TestClock.adjust("100 millis")
      assert.include(state(discovery), { held: 6, instances: 10 })
      yield* wait(script, 61)
      assert.strictEqual(count(discovery), 4)
    }).pipe(Effect.provide(live())))

  it.effect("one after the other: held from where they are the greater part within the grace time", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      for (let number = 1; number <= 8; number++) {
        yield* script.emit(expiring(number))
        yield* TestClock.adjust("1 second")
      }
      assert.include(state(discovery), { held: 3, instances: 5 })
    }).pipe(Effect.provide(live())))

  it.effect("those that came back don't count", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      yield* script.emit(delta(fleet(5).map(put)))
      yield* script.emit(expiring(6, 7, 8))
      yield* TestClock.adjust("100 millis")
      assert.include(state(discovery), { held: 0, instances: 7 })
    }).pipe(Effect.provide(live())))

  it.effect("slowly: never held", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      for (let number = 1; number <= 10; number++) {
        yield* script.emit(expiring(number))
        yield* wait(script, 31)
        assert.strictEqual(count(discovery), 10 - number)
      }
    }).pipe(Effect.provide(live())))

  it.effect("proven deletions and removals of a live session are never held", () =>
    Effect.gen(function*() {
      for (const how of ["deregistered", "unknown"] as const) {
        const script = scripted({ name: how })
        script.first = Effect.succeed([snapshot(fleet(10))])
        const discovery = yield* adding(script)
        yield* script.emit(delta(fleet(10).map(({ id }) => removed(id, how))))
        yield* TestClock.adjust("100 millis")
        assert.strictEqual(count(discovery), 0)
      }
    }).pipe(Effect.provide(live())))
})

describe("damping", () => {
  it.effect("an instance that flaps stays; one that is away for longer than the window goes", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(3))])
      const discovery = yield* adding(script)
      const follower = yield* following(discovery)
      for (let time = 0; time < 20; time++) {
        yield* script.emit(delta([removed("i1")]))
        yield* TestClock.adjust("1 second")
        yield* script.emit(delta([put(instance("i1"))]))
        yield* TestClock.adjust("1 second")
      }
      assert.isEmpty(follower.take().filter((line) => !line.startsWith("Updated")))
      yield* script.emit(delta([removed("i1"), put(instance("i9"))]))
      assert.include(follower.take(), "Added scripted/i9")
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(count(discovery), 4)
      // Held by damping, not by self-preservation.
      assert.strictEqual(state(discovery).held, 0)
      assert.strictEqual(missing(discovery), 1)
      yield* TestClock.adjust("1100 millis")
      assert.strictEqual(count(discovery), 3)
    }).pipe(Effect.provide(live({ damping: "5 seconds" }))))

  it.effect("a damped removal goes even when its source is lost", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(3))])
      const discovery = yield* adding(script)
      yield* script.emit(delta([removed("i1")]))
      script.first = Effect.fail(error("down"))
      yield* script.fail("gone")
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(count(discovery), 2)
    }).pipe(Effect.provide(live({ damping: "5 seconds" }))))
})

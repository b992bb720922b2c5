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

  for (const groups of [false, true]) {
    it.effect(`is held however little it is where the backend lost data${groups ? ", also in groups" : ""}`, () =>
      Effect.gen(function*() {
        const told = (last: number, dataLost?: boolean): ReadonlyArray<Registry.RegistryEvent> =>
          groups
            ? [{ _tag: "Groups", groups: ["g"], dataLost }, snapshot(fleet(last), [], "g")]
            : [{ ...snapshot(fleet(last)), dataLost }]
        const script = scripted()
        script.first = Effect.succeed(told(8))
        const discovery = yield* adding(script)
        script.first = Effect.succeed(told(7, true))
        yield* script.fail("gone")
        yield* TestClock.adjust("3 seconds")
        assert.include(state(discovery), { state: "connected", held: 1, instances: 8 })
        yield* wait(script, 61)
        assert.include(state(discovery), { held: 0, instances: 7 })
        // That was so for the one session alone.
        script.first = Effect.succeed(told(6))
        yield* script.fail("gone")
        yield* TestClock.adjust("3 seconds")
        assert.include(state(discovery), { held: 0, instances: 6 })
        // A few are no fleet.
        script.first = Effect.succeed(told(4))
        yield* script.fail("gone")
        yield* TestClock.adjust("3 seconds")
        yield* wait(script, 61)
        script.first = Effect.succeed(told(2, true))
        yield* script.fail("gone")
        yield* TestClock.adjust("3 seconds")
        assert.include(state(discovery), { held: 0, instances: 2 })
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

const expiring = (...numbers: ReadonlyArray<number>) => delta(numbers.map((number) => removed(`i${number}`, "expired")))

/** Lets the second pass in which leases that ran out are gathered; until it is over, so many are there. */
const gather = Effect.fnUntraced(function*(discovery: Discovery.Discovery["Service"], there: number) {
  const { held } = state(discovery)
  yield* TestClock.adjust("999 millis")
  assert.include(state(discovery), { held, instances: there })
  assert.strictEqual(count(discovery), there)
  // Published at once, or with what was published before it.
  yield* TestClock.adjust("51 millis")
})

describe("what expires", () => {
  it.effect("acts after a second while it is the lesser part", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      yield* gather(discovery, 10)
      assert.strictEqual(count(discovery), 5)
    }).pipe(Effect.provide(live())))

  it.effect("is held where one batch is the greater part", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1, 2, 3, 4, 5, 6))
      yield* gather(discovery, 10)
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
        yield* gather(discovery, 10 - Math.min(number - 1, 5))
      }
      assert.include(state(discovery), { held: 3, instances: 5 })
    }).pipe(Effect.provide(live())))

  it.effect("those that came back don't count", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      yield* gather(discovery, 10)
      assert.strictEqual(count(discovery), 5)
      yield* script.emit(delta(fleet(5).map(put)))
      yield* script.emit(expiring(6, 7, 8))
      yield* gather(discovery, 10)
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

  it.effect("what nothing proves is held like it", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(delta(fleet(3).map(({ id }) => removed(id, "expired"))))
      yield* gather(discovery, 10)
      assert.include(state(discovery), { held: 0, instances: 7 })
      yield* script.emit(delta(fleet(3, 4).map(({ id }) => removed(id, "unknown"))))
      yield* gather(discovery, 7)
      assert.include(state(discovery), { held: 3, instances: 7 })
    }).pipe(Effect.provide(live())))

  it.effect("proven deletions are never held, nor is what a live session doesn't show any more", () =>
    Effect.gen(function*() {
      for (const event of [delta(fleet(10).map(({ id }) => removed(id, "deregistered"))), snapshot([])]) {
        const script = scripted({ name: event._tag })
        script.first = Effect.succeed([snapshot(fleet(10))])
        const discovery = yield* adding(script)
        yield* script.emit(event)
        yield* TestClock.adjust("100 millis")
        assert.strictEqual(count(discovery), 0)
      }
    }).pipe(Effect.provide(live())))
})

describe("what a snapshot says has expired", () => {
  const said = (left: ReadonlyArray<string>, expired: ReadonlyArray<string>): Registry.Snapshot => ({
    ...snapshot(left.map((id) => instance(id))),
    expired
  })
  const numbered = (from: number, to: number) => fleet(to - from + 1, from).map(({ id }) => id)

  it.effect("is judged like a lease that ran out, however often it is said", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      // The backend knows them for a while, and ids that were never here.
      yield* script.emit(said(numbered(1, 5), [...numbered(6, 10), "x"]))
      yield* gather(discovery, 10)
      assert.include(state(discovery), { held: 0, instances: 5 })
      yield* script.emit(said(numbered(1, 4), [...numbered(5, 10), "x"]))
      yield* gather(discovery, 5)
      assert.include(state(discovery), { held: 1, instances: 5 })
      for (let second = 0; second < 61; second++) {
        yield* script.emit(said(numbered(1, 4), numbered(5, 10)))
        yield* TestClock.adjust("1 second")
      }
      assert.include(state(discovery), { held: 0, instances: 4 })
    }).pipe(Effect.provide(live())))

  it.effect("is held while what was taken away beside it goes at once", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(said(numbered(1, 2), numbered(3, 8)))
      yield* TestClock.adjust(0)
      yield* gather(discovery, 8)
      assert.include(state(discovery), { held: 6, instances: 8 })
      // One that is back is back, though it is said to have expired too.
      yield* script.emit(said(numbered(1, 3), numbered(3, 8)))
      yield* TestClock.adjust("100 millis")
      assert.include(state(discovery), { held: 5, instances: 8 })
    }).pipe(Effect.provide(live())))

  it.effect("in its own group only", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([
        { _tag: "Groups", groups: ["a", "b"] },
        snapshot(fleet(5), [], "a"),
        snapshot(fleet(5, 6), [], "b")
      ])
      const discovery = yield* adding(script)
      yield* script.emit({ ...said([], numbered(1, 10)), group: "a" })
      yield* gather(discovery, 10)
      assert.deepStrictEqual(ids(discovery.catalog()), numbered(6, 10).map((id) => `scripted/${id}`).sort())
    }).pipe(Effect.provide(live())))
})

describe("leases that run out are gathered for a second in a fleet of five and more", () => {
  const told = Effect.fnUntraced(function*(size: number) {
    const script = scripted()
    script.first = Effect.succeed([snapshot(fleet(size))])
    const discovery = yield* adding(script)
    return { script, discovery, follower: yield* following(discovery) }
  })
  /** What else than that some of them are missing. */
  const comingAndGoing = (lines: ReadonlyArray<string>) => lines.filter((line) => !line.startsWith("Updated"))

  for (
    const [unit, after] of [
      ["group", (group: number) => ({ ...snapshot([], [], `g${group}`), expired: [`i${group}`] })],
      ["key", (key: number) => expiring(key)]
    ] as const
  ) {
    it.effect(`all of them, told ${unit} by ${unit}: held, and none removed and added again`, () =>
      Effect.gen(function*() {
        const script = scripted()
        const numbers = Array.from({ length: 8 }, (_, index) => index + 1)
        script.first = Effect.succeed([
          { _tag: "Groups", groups: numbers.map((number) => `g${number}`) },
          ...numbers.map((number) => snapshot([instance(`i${number}`)], [], `g${number}`))
        ])
        const discovery = yield* adding(script)
        const follower = yield* following(discovery)
        const begun = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
        for (const number of numbers) {
          yield* script.emit(after(number))
          yield* TestClock.adjust("100 millis")
          assert.include(state(discovery), { held: 0, instances: 8 })
          assert.strictEqual(missing(discovery), number)
        }
        yield* TestClock.adjust("250 millis")
        assert.include(state(discovery), { held: 8, instances: 8 })
        // Since it was told, not since it was judged.
        const entry = HashMap.getUnsafe(discovery.catalog().entries, Catalog.key("scripted", "i1"))
        assert.strictEqual(entry.missingSince, begun)
        for (const number of numbers) yield* script.emit(delta([put(instance(`i${number}`))]))
        yield* wait(script, 70)
        assert.include(state(discovery), { held: 0, instances: 8 })
        assert.strictEqual(missing(discovery), 0)
        assert.isEmpty(comingAndGoing(follower.take()))
      }).pipe(Effect.provide(live())))
  }

  it.effect("what was gathered is judged as one: held for the whole grace time from then on", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(8)
      yield* script.emit(expiring(1, 2, 3, 4))
      yield* TestClock.adjust("900 millis")
      yield* script.emit(expiring(5))
      yield* TestClock.adjust("150 millis")
      assert.include(state(discovery), { held: 5, instances: 8 })
      yield* wait(script, 59)
      assert.include(state(discovery), { held: 5, instances: 8 })
      yield* wait(script, 1)
      assert.include(state(discovery), { held: 0, instances: 3 })
    }).pipe(Effect.provide(live())))

  it.effect("one of eight is missing at once, and goes after the second", () =>
    Effect.gen(function*() {
      const { discovery, follower, script } = yield* told(8)
      yield* script.emit(expiring(3))
      yield* gather(discovery, 8)
      assert.deepStrictEqual(follower.take(), ["Updated scripted/i3", "Removed scripted/i3"])
      assert.include(state(discovery), { held: 0, instances: 7 })
    }).pipe(Effect.provide(live())))

  it.effect("in a smaller fleet they go at once, also when it was larger long ago", () =>
    Effect.gen(function*() {
      const { discovery, follower, script } = yield* told(4)
      yield* script.emit(expiring(1, 2, 3))
      assert.strictEqual(count(discovery), 1)
      assert.deepStrictEqual(follower.take(), ["Removed scripted/i1", "Removed scripted/i2", "Removed scripted/i3"])

      yield* script.emit(delta(fleet(5).map(put)))
      yield* script.emit(expiring(5))
      yield* wait(script, 70)
      assert.strictEqual(count(discovery), 4)
      yield* script.emit(expiring(4))
      yield* TestClock.adjust("50 millis")
      assert.strictEqual(count(discovery), 3)
    }).pipe(Effect.provide(live())))

  it.effect("all at once where the registry is authoritative", () =>
    Effect.gen(function*() {
      const script = scripted({ authoritative: true })
      script.first = Effect.succeed([snapshot(fleet(8))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1))
      assert.strictEqual(count(discovery), 7)
    }).pipe(Effect.provide(live())))

  it.effect("all at once without grace time", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(8))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1))
      assert.strictEqual(count(discovery), 7)
    }).pipe(Effect.provide(live({ grace: 0 }))))

  it.effect("a proven deletion within the second acts at once", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(8)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      yield* TestClock.adjust("500 millis")
      yield* script.emit(delta([removed("i1", "deregistered")]))
      assert.include(state(discovery), { held: 0, instances: 7 })
      yield* TestClock.adjust("550 millis")
      // Four of seven.
      assert.include(state(discovery), { held: 4, instances: 7 })
    }).pipe(Effect.provide(live())))

  it.effect("one that is put again within the second is there, and doesn't count", () =>
    Effect.gen(function*() {
      const { discovery, follower, script } = yield* told(8)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      yield* TestClock.adjust("500 millis")
      yield* script.emit(delta([put(instance("i1")), { _tag: "Reject", rejected: { id: "i2", reason: "bad" } }]))
      yield* TestClock.adjust("550 millis")
      assert.include(state(discovery), { held: 0, instances: 5 })
      assert.strictEqual(missing(discovery), 0)
      assert.deepStrictEqual(comingAndGoing(follower.take()), [
        "Removed scripted/i3",
        "Removed scripted/i4",
        "Removed scripted/i5"
      ])
    }).pipe(Effect.provide(live())))

  it.effect("what is told twice, or was never here, ends nothing", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(5)
      yield* script.emit(expiring(1))
      // Four are left, too few to be gathered.
      yield* script.emit(delta([removed("i2", "deregistered")]))
      yield* script.emit(expiring(1, 9))
      yield* gather(discovery, 4)
      assert.strictEqual(count(discovery), 3)
    }).pipe(Effect.provide(live())))

  it.effect("one that runs out again has a second of its own", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(8)
      yield* script.emit(expiring(1))
      yield* TestClock.adjust("500 millis")
      yield* script.emit(delta([put(instance("i1"))]))
      yield* script.emit(expiring(1))
      yield* gather(discovery, 8)
      assert.strictEqual(count(discovery), 7)
    }).pipe(Effect.provide(live())))

  it.effect("a session lost within the second: what the next one lacks is judged with it, whenever that comes", () =>
    Effect.gen(function*() {
      for (const away of ["300 millis", "30 seconds"] as const) {
        const script = scripted({ name: away })
        script.first = Effect.succeed([snapshot(fleet(8))])
        const discovery = yield* adding(script)
        const follower = yield* following(discovery)
        yield* script.emit(expiring(1, 2, 3))
        script.first = Effect.fail(error("down"))
        yield* script.fail("gone")
        yield* TestClock.adjust(away)
        assert.include(state(discovery, away), { state: "stale", held: 0, instances: 8 })
        script.first = Effect.succeed([snapshot([])])
        yield* TestClock.adjust("4 seconds")
        assert.include(state(discovery, away), { state: "connected", held: 8, instances: 8 })
        assert.isEmpty(comingAndGoing(follower.take()))
      }
    }).pipe(Effect.provide(live())))

  it.effect("a session lost within the second: what the next one has is there, and the lesser part goes", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(8)
      yield* script.emit(expiring(1, 2, 3))
      script.first = Effect.succeed([snapshot(fleet(7, 2))])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      assert.include(state(discovery), { state: "connected", held: 0, instances: 7 })
      assert.strictEqual(missing(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("what runs out before its session has said all is judged with what that lacks", () =>
    Effect.gen(function*() {
      const script = scripted()
      const groups: Registry.Groups = { _tag: "Groups", groups: ["a", "b"] }
      script.first = Effect.succeed([groups, snapshot(fleet(4), [], "a"), snapshot(fleet(4, 5), [], "b")])
      const discovery = yield* adding(script)
      script.first = Effect.succeed([groups, snapshot(fleet(4), [], "a"), expiring(1, 2, 3)])
      yield* script.fail("gone")
      yield* TestClock.adjust("3 seconds")
      assert.include(state(discovery), { state: "stale", held: 0, instances: 8 })
      yield* script.emit(snapshot(fleet(2, 5), [], "b"))
      yield* TestClock.adjust("100 millis")
      assert.include(state(discovery), { state: "connected", held: 5, instances: 8 })
    }).pipe(Effect.provide(live())))

  it.effect("a list that lacks them ends it", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(8)
      yield* script.emit(expiring(1, 2, 3, 4, 5))
      script.list = Effect.succeed(snapshot(fleet(4, 5)))
      yield* discovery.refresh()
      assert.include(state(discovery), { held: 0, instances: 4 })
      assert.strictEqual(missing(discovery), 0)
    }).pipe(Effect.provide(live())))

  it.effect("a list that was asked for before they ran out doesn't bring them back", () =>
    Effect.gen(function*() {
      const { discovery, script } = yield* told(8)
      script.list = Effect.delay(Effect.succeed(snapshot(fleet(8))), "500 millis")
      yield* Effect.forkScoped(discovery.refresh(), { startImmediately: true })
      yield* script.emit({ ...snapshot(fleet(7, 2)), expired: ["i1"] })
      yield* gather(discovery, 8)
      assert.include(state(discovery), { held: 0, instances: 7 })
    }).pipe(Effect.provide(live())))

  it.effect("damping holds for its own time after it", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(8))])
      const discovery = yield* adding(script)
      yield* script.emit(expiring(1))
      yield* TestClock.adjust("5900 millis")
      assert.include(state(discovery), { held: 0, instances: 8 })
      yield* TestClock.adjust("150 millis")
      assert.include(state(discovery), { held: 0, instances: 7 })
    }).pipe(Effect.provide(live({ damping: "5 seconds" }))))
})

describe("what a list lacks", () => {
  it.effect("is gone, and what was held too", () =>
    Effect.gen(function*() {
      const script = scripted()
      const discovery = yield* rejoining(script, 10, 2)
      assert.include(state(discovery), { held: 8, instances: 10 })
      script.list = Effect.succeed(snapshot(fleet(1, 9)))
      yield* discovery.refresh()
      assert.include(state(discovery), { held: 0, instances: 1 })
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i9"])
    }).pipe(Effect.provide(live())))

  it.effect("is held while the source is lost", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      script.first = Effect.fail(error("down"))
      yield* script.fail("gone")
      yield* discovery.refresh()
      assert.include(state(discovery), { held: 10, instances: 10 })
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

  it.effect("what is on its way out is no part of the fleet", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([snapshot(fleet(10))])
      const discovery = yield* adding(script)
      yield* script.emit(delta(fleet(4).map(({ id }) => removed(id))))
      yield* script.emit(expiring(5, 6, 7, 8))
      yield* TestClock.adjust("1050 millis")
      // Four of six.
      assert.include(state(discovery), { held: 4, instances: 10 })
      yield* TestClock.adjust("4 seconds")
      assert.include(state(discovery), { held: 4, instances: 6 })
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

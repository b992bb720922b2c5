import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Catalog from "../src/Catalog.ts"
import type * as Discovery from "../src/Discovery.ts"
import * as Registry from "../src/Registry.ts"
import {
  adding,
  error,
  fleet,
  following,
  instance,
  live,
  put,
  removed,
  type Scripted,
  scripted,
  state,
  tell
} from "./fixtures/scripted.ts"

const { alive, delta, snapshot } = Registry

/** Lets time go by with the registries alive that can be reached. */
const pass = Effect.fnUntraced(function*(time: Duration.Input, ...scripts: ReadonlyArray<Scripted>) {
  const seconds = Duration.toSeconds(Duration.fromInputUnsafe(time))
  for (let passed = 0; passed < seconds; passed += 10) {
    for (const script of scripts) if (script.open()) yield* script.emit(alive)
    yield* TestClock.adjust("10 seconds")
  }
})

const view = ({ entries }: Catalog.Catalog) =>
  Array.from(
    HashMap.values(entries),
    ({ alsoIn, instance, source }) => [source, ...alsoIn].join("+") + "/" + instance.id
  )
    .sort()

/** For how many seconds its source has been lost. */
const age = Effect.fnUntraced(function*(discovery: Discovery.Discovery["Service"], source: string, id: string) {
  const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
  const catalog = discovery.catalog()
  const entry = HashMap.getUnsafe(catalog.entries, Catalog.key(source, id))
  return Option.map(Catalog.staleSince(catalog, entry), (since) => (now - since) / 1_000)
})

const away = Effect.fail(error("no route to host"))

describe("D12: two datacenters", () => {
  it.effect("one lost for an hour is served with its age, and its rejoin gives true deltas only", () =>
    Effect.gen(function*() {
      const [near, far] = [scripted({ name: "near" }), scripted({ name: "far" })]
      near.first = Effect.succeed([snapshot(fleet(4))])
      far.first = Effect.succeed([snapshot(fleet(6, 3))])
      const discovery = yield* adding(near, far)
      const before = ["far/i5", "far/i6", "far/i7", "far/i8", "near+far/i3", "near+far/i4", "near/i1", "near/i2"]
      assert.deepStrictEqual(view(discovery.catalog()), before)
      const follower = yield* following(discovery)

      far.first = away
      yield* far.fail("connection reset")
      yield* pass("30 minutes", near)
      // What goes on in the other one is seen all along: here the lost one takes over with what it said last.
      yield* near.emit(delta([put(instance("i9")), removed("i3")]))
      yield* pass("30 minutes", near)
      assert.deepStrictEqual(follower.take(), ["Added near/i9", "Added far/i3", "Removed near/i3"])
      assert.include(state(discovery, "far"), {
        state: "stale",
        instances: 6,
        reconnects: 0,
        lastError: "no route to host"
      })
      assert.include(state(discovery, "near"), { state: "connected", reconnects: 0 })
      assert.isAtLeast(Option.getOrThrow(yield* age(discovery, "far", "i5")), 3_600)
      assert.deepStrictEqual(yield* age(discovery, "near", "i1"), Option.none())
      // It was tried all the time, and not too often.
      assert.isAbove(far.begun.length, 3_600 / 3)
      assert.isBelow(far.begun.length, 3_600)

      const [i3, i4, i5] = fleet(3, 3)
      assert(i3 !== undefined && i4 !== undefined && i5 !== undefined)
      far.first = Effect.succeed([snapshot([i3, i4, { ...i5, weight: 2 }, ...fleet(3, 7)])])
      yield* TestClock.adjust("3 seconds")
      // What both have now is one entry.
      assert.deepStrictEqual(follower.take().sort(), ["Removed far/i6", "Updated far/i5", "Updated near/i9"])
      assert.include(state(discovery, "far"), { state: "connected", reconnects: 1, held: 0, lastError: undefined })
      assert.deepStrictEqual(yield* age(discovery, "far", "i5"), Option.none())
      yield* pass("2 minutes", near, far)
      assert.deepStrictEqual(follower.take(), [])
    }).pipe(Effect.provide(live())))

  it.effect("the one that comes first goes on winning while it is lost; wiped, it gives way after the grace time", () =>
    Effect.gen(function*() {
      const [near, far] = [scripted({ name: "near" }), scripted({ name: "far" })]
      near.first = far.first = Effect.succeed([snapshot(fleet(6))])
      const discovery = yield* adding(near, far)
      const follower = yield* following(discovery)
      near.first = away
      yield* near.fail("connection reset")
      yield* pass("1 hour", far)
      assert.deepStrictEqual(follower.take(), [])

      near.first = Effect.succeed([snapshot([])])
      yield* pass("50 seconds", near, far)
      assert.include(state(discovery, "near"), { state: "connected", held: 6 })
      assert.deepStrictEqual(view(discovery.catalog()), fleet(6).map(({ id }) => `near+far/${id}`))
      assert.isTrue(follower.take().every((line) => line.startsWith("Updated near/")))
      yield* pass("20 seconds", near, far)
      assert.deepStrictEqual(view(discovery.catalog()), fleet(6).map(({ id }) => `far/${id}`))
      // Each in the same step: no moment without it.
      assert.deepStrictEqual(
        follower.take().sort(),
        fleet(6).flatMap(({ id }) => [`Added far/${id}`, `Removed near/${id}`]).sort()
      )
    }).pipe(Effect.provide(live())))

  it("whatever changed while it was away, each difference is told once", () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          before: fc.uniqueArray(fc.nat(9)),
          after: fc.uniqueArray(fc.nat(9)),
          changed: fc.uniqueArray(fc.nat(9)),
          other: fc.uniqueArray(fc.nat(9)),
          seconds: fc.constantFrom(1, 60, 3_600)
        }),
        ({ after, before, changed, other, seconds }) =>
          Effect.gen(function*() {
            const [near, far] = [scripted({ name: "near" }), scripted({ name: "far" })]
            const said = (numbers: ReadonlyArray<number>, changed: ReadonlyArray<number> = []) =>
              Effect.succeed([
                snapshot(numbers.map((number) => instance(`x${number}`, changed.includes(number) ? { weight: 2 } : {})))
              ])
            near.first = said(other)
            far.first = said(before)
            const discovery = yield* adding(near, far)
            const follower = yield* following(discovery)
            const old = discovery.catalog()
            far.first = away
            yield* far.fail("connection reset")
            yield* pass(`${seconds} seconds`, near)
            assert.deepStrictEqual(follower.take(), [])
            far.first = said(after, changed)
            // Self-preservation may hold some for its time.
            yield* pass("80 seconds", near, far)
            const told = follower.take()
            const differences = Catalog.diff(old, discovery.catalog())
            const kinds = new Map(told.map((line) => [line.replace(/^\w+ /, ""), line]))
            // What was held was first told to be missing, then to be gone.
            const gone = new Set(told.filter((line) => line.startsWith("Removed")).map((line) => line.slice(8)))
            const counted = told.filter((line) => !(line.startsWith("Updated") && gone.has(line.slice(8))))
            assert.strictEqual(counted.length, kinds.size)
            assert.deepStrictEqual(Array.from(kinds.values()).sort(), differences.map(tell).sort())
          }).pipe(
            Effect.scoped,
            Effect.provide([live(), TestClock.layer(), Logger.layer([])]),
            Effect.runPromise
          )
      ),
      { numRuns: 60 }
    ))
})

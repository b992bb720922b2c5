/**
 * Registries that are replaced, moved and set while they are listened to.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "../src/Catalog.ts"
import * as Discovery from "../src/Discovery.ts"
import * as Registries from "../src/Registries.ts"
import * as Registry from "../src/Registry.ts"
import * as StaticRegistry from "../src/StaticRegistry.ts"
import { adding, error, fleet, following, ids, instance, live, scripted, state } from "./fixtures/scripted.ts"

const { snapshot } = Registry

/** A scripted registry that has been heard, in a scope of its own, and what replaces it. */
const replaceable = (
  options: Parameters<typeof scripted>[0] = {},
  first: ReadonlyArray<Registry.RegistryEvent> = [snapshot(fleet(4))]
) =>
  Effect.gen(function*() {
    const old = scripted(options)
    old.first = Effect.succeed(first)
    const registries = yield* Registries.Registries
    const scope = yield* Scope.make()
    yield* Scope.provide(registries.add(old.registry), scope)
    const discovery = yield* Discovery.Discovery
    yield* TestClock.adjust("100 millis")
    const follower = yield* following(discovery)
    return {
      discovery,
      follower,
      registries,
      replace: (next: Registry.Registry) =>
        Effect.andThen(registries.add(next, { replace: true }), Scope.close(scope, Exit.void))
    }
  })

describe("a registry that replaces another of its name", () => {
  it.effect("changes nothing but what it says otherwise, and not before it has said it", () =>
    Effect.gen(function*() {
      const { discovery, follower, registries, replace } = yield* replaceable()
      const next = scripted()
      next.first = Effect.as(Effect.sleep("1 second"), [
        snapshot([...fleet(2), instance("i3", { weight: 7 }), instance("i5")])
      ])
      yield* replace(next.registry)
      assert.deepStrictEqual(registries.members().map(({ registry }) => registry), [next.registry])
      yield* TestClock.adjust("900 millis")
      assert.deepStrictEqual(follower.take(), [])
      assert.include(state(discovery), { state: "connecting", instances: 4 })
      yield* TestClock.adjust("200 millis")
      assert.deepStrictEqual(follower.take(), ["Updated scripted/i3", "Added scripted/i5", "Removed scripted/i4"])
      assert.include(state(discovery), { state: "connected", instances: 4, held: 0 })
    }).pipe(Effect.provide(live())))

  it.effect("speaks for itself: what it doesn't have goes at once, though it be most of the fleet", () =>
    Effect.gen(function*() {
      const { discovery, replace } = yield* replaceable({}, [snapshot(fleet(20))])
      const next = scripted()
      next.first = Effect.succeed([snapshot(fleet(1))])
      yield* replace(next.registry)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i1"])
    }).pipe(Effect.provide(live())))

  it.effect("in groups, keeps what they confirm", () =>
    Effect.gen(function*() {
      const groups = (...groups: ReadonlyArray<string>): Registry.Groups => ({ _tag: "Groups", groups })
      const { discovery, follower, replace } = yield* replaceable({}, [
        groups("a", "b"),
        snapshot(fleet(2), [], "a"),
        snapshot(fleet(2, 3), [], "b")
      ])
      const next = scripted()
      next.first = Effect.succeed([groups("a", "c"), snapshot(fleet(2), [], "a")])
      yield* replace(next.registry)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(follower.take(), [])
      yield* next.emit(snapshot(fleet(1, 3), [], "c"))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(follower.take(), ["Removed scripted/i4"])
      assert.strictEqual(state(discovery).state, "connected")
    }).pipe(Effect.provide(live())))

  it.effect("that can't be read leaves what was known, stale", () =>
    Effect.gen(function*() {
      const { discovery, follower, replace } = yield* replaceable()
      const next = scripted()
      next.first = Effect.fail(error("connection refused"))
      yield* replace(next.registry)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(follower.take(), [])
      const heard = state(discovery)
      assert.include(heard, { state: "stale", lastError: "connection refused", instances: 4 })
      assert.isDefined(heard.lastHeard, "the age of what is served")
      next.first = Effect.succeed([snapshot(fleet(3))])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(follower.take(), ["Removed scripted/i4"])
    }).pipe(Effect.provide(live())))

  it.effect("with less trust doesn't keep what it may not announce", () =>
    Effect.gen(function*() {
      const process = instance("p", { endpoint: { transport: "stdio", command: "node" } })
      const { discovery, replace } = yield* replaceable({ trust: "full" }, [snapshot([process, instance("a")])])
      const next = scripted({ trust: "limited" })
      next.first = Effect.never
      yield* replace(next.registry)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/a"])
    }).pipe(Effect.provide(live())))

  it.effect("doesn't keep what it can't read, as where the keys of encryption changed", () =>
    Effect.gen(function*() {
      const { discovery, replace } = yield* replaceable({}, [snapshot(fleet(4))])
      const next = scripted()
      const unread = { id: "i1", reason: "it is not sealed" }
      next.first = Effect.succeed([snapshot([...fleet(2, 3), instance("i2")], [unread])])
      yield* replace(next.registry)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i2", "scripted/i3", "scripted/i4"])
      assert.deepStrictEqual(state(discovery).rejected, [unread])
      // Its own last good form stays, as ever.
      yield* next.emit(
        snapshot(fleet(1, 3), [unread, { id: "i2", reason: "garbage" }, { id: "i4", reason: "garbage" }])
      )
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), ["scripted/i2", "scripted/i3", "scripted/i4"])
    }).pipe(Effect.provide(live())))

  it.effect("replaces nothing where it isn't asked to, or where the name is free", () =>
    Effect.gen(function*() {
      const { registries } = yield* replaceable()
      const result = yield* Effect.result(registries.add(scripted().registry))
      assert.isTrue(Result.isFailure(result))
      const other = scripted({ name: "other" })
      yield* registries.add(other.registry, { replace: true })
      assert.strictEqual(registries.members().length, 2)
    }).pipe(Effect.provide(live())))
})

describe("another order", () => {
  it.effect("moves what both registries have, and opens no session", () =>
    Effect.gen(function*() {
      const [a, b] = [scripted({ name: "a" }), scripted({ name: "b" })]
      a.first = Effect.succeed([snapshot([instance("same"), instance("only-a")])])
      b.first = Effect.succeed([snapshot([instance("same"), instance("only-b")])])
      const discovery = yield* adding(a, b)
      const registries = yield* Registries.Registries
      const follower = yield* following(discovery)
      yield* registries.reorder(new Map([["a", 2], ["b", 1], ["unknown", 0]]))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(registries.members().map(({ registry }) => registry.name), ["b", "a"])
      assert.deepStrictEqual(follower.take(), ["Added b/same", "Removed a/same"])
      yield* registries.reorder(new Map([["b", 1]]))
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual([a.begun.length, b.begun.length, follower.updates.length], [1, 1, 0])
    }).pipe(Effect.provide(live())))
})

describe("a static registry", () => {
  it.effect("is set in one step; what is the same stays", () =>
    Effect.gen(function*() {
      const list = yield* StaticRegistry.make({ instances: fleet(3) })
      const registries = yield* Registries.Registries
      const discovery = yield* Discovery.Discovery
      yield* registries.add(list.registry)
      yield* TestClock.adjust("100 millis")
      const follower = yield* following(discovery)
      const process = instance("p", { endpoint: { transport: "stdio", command: "node" } })
      yield* list.set([instance("i3"), instance("i1", { weight: 2 }), process])
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(follower.updates.length, 1)
      assert.deepStrictEqual(follower.take(), ["Updated static/i1", "Added static/p", "Removed static/i2"])
      yield* list.set([process, instance("i3"), instance("i1", { weight: 2 })])
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(follower.take(), [])
      yield* list.set([])
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(ids(discovery.catalog()), [])
      assert.include(state(discovery, "static"), { state: "connected", held: 0 })
    }).pipe(Effect.provide(live())))
})

it("the registry of a key is read from it", () => {
  assert.strictEqual(Catalog.sourceOf(Catalog.key("a b", "c/d")), "a b")
})

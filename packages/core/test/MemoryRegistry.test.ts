import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Discovery from "../src/Discovery.ts"
import * as MemoryRegistry from "../src/MemoryRegistry.ts"
import * as Registries from "../src/Registries.ts"
import * as Registry from "../src/Registry.ts"
import { count, fleet, instance, live } from "./fixtures/scripted.ts"

const lease = (incarnation: string, seconds = 10): Registry.LeaseOptions => ({
  incarnation,
  ttl: Duration.seconds(seconds)
})

const open = Effect.fnUntraced(function*(options?: MemoryRegistry.MemoryRegistryOptions) {
  const registry = yield* MemoryRegistry.make(options)
  const events: Array<Registry.RegistryEvent> = []
  yield* Effect.forkScoped(
    Stream.runForEach(registry.watch, (event) => Effect.sync(() => events.push(event))),
    { startImmediately: true }
  )
  yield* TestClock.adjust(0)
  return { registry, registrar: Option.getOrThrow(registry.registrar), events }
})

const tell = (events: ReadonlyArray<Registry.RegistryEvent>) =>
  events.flatMap((event) =>
    event._tag !== "Delta" ? [event._tag] : event.changes.map((change) =>
      change._tag === "Put" ?
        `Put ${change.instance.id} ${change.instance.status}`
        : change._tag === "Removed" ?
        `Removed ${change.id} ${change.how}`
        : "Reject"
    )
  )

const listed = (registry: Registry.Registry) =>
  Effect.map(registry.list, ({ instances }) => instances.map(({ id }) => id).sort())

describe("MemoryRegistry", () => {
  it.effect("tells what happens, in order", () =>
    Effect.gen(function*() {
      const { events, registrar, registry } = yield* open({ instances: fleet(1) })
      assert.deepStrictEqual(events, [Registry.snapshot(fleet(1))])
      const held = yield* registrar.put(instance("a"), lease("1"))
      yield* registrar.put(instance("a", { status: "draining" }), lease("1"))
      yield* registrar.remove(held)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(tell(events).slice(1), ["Put a up", "Put a draining", "Removed a deregistered"])
      assert.deepStrictEqual(yield* listed(registry), ["i1"])
    }))

  it.effect("a lease is over at its time and never before; a renewal lengthens it; static instances stay", () =>
    Effect.gen(function*() {
      const { events, registrar, registry } = yield* open({ instances: fleet(1) })
      const a = yield* registrar.put(instance("a"), lease("1", 10))
      const b = yield* registrar.put(instance("b"), lease("2", 20))
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(yield* listed(registry), ["a", "b", "i1"])
      assert.deepStrictEqual(yield* registrar.renew([a]), [])
      yield* TestClock.adjust("9999 millis")
      assert.deepStrictEqual(yield* listed(registry), ["a", "b", "i1"])
      yield* TestClock.adjust("2 millis")
      assert.deepStrictEqual(yield* listed(registry), ["i1"])
      assert.deepStrictEqual(tell(events).slice(-2).sort(), ["Removed a expired", "Removed b expired"])
      assert.deepStrictEqual((yield* registrar.renew([a, b])).map(({ lease }) => lease), [a, b])
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(yield* listed(registry), ["i1"])
    }))

  it.effect("a shorter lease that comes later is over sooner", () =>
    Effect.gen(function*() {
      const { registrar, registry } = yield* open()
      yield* registrar.put(instance("a"), lease("1", 100))
      yield* TestClock.adjust("1 second")
      yield* registrar.put(instance("b"), lease("1", 5))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(yield* listed(registry), ["a"])
    }))

  it.effect("the lease of another process can neither remove nor renew a record", () =>
    Effect.gen(function*() {
      const { registrar, registry } = yield* open()
      const old = yield* registrar.put(instance("a"), lease("old"))
      yield* registrar.put(instance("a", { version: "2.0.0" }), lease("new"))
      yield* registrar.remove(old)
      assert.deepStrictEqual(yield* listed(registry), ["a"])
      assert.lengthOf(yield* registrar.renew([old]), 1)
    }))

  it.effect("a watcher that is far behind gets a snapshot, not a heap of changes", () =>
    Effect.gen(function*() {
      const registry = yield* MemoryRegistry.make()
      const registrar = Option.getOrThrow(registry.registrar)
      const events: Array<Registry.RegistryEvent> = []
      yield* Effect.forkScoped(
        Stream.runForEach(registry.watch, (event) =>
          Effect.andThen(Effect.sync(() => events.push(event)), Effect.sleep("1 minute"))),
        { startImmediately: true }
      )
      for (let time = 0; time < 5_000; time++) {
        yield* registrar.put(instance("a", { weight: time }), lease("1", 1_000))
      }
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(
        events.map(({ _tag }) =>
          _tag
        ),
        ["Snapshot", "Snapshot"]
      )
      yield* registrar.put(instance("b"), lease("1", 1_000))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(tell(events).slice(2), ["Put b up"])
    }))

  it.effect("is bounded", () =>
    Effect.gen(function*() {
      const { registrar } = yield* open({ capacity: 1 })
      yield* registrar.put(instance("a"), lease("1"))
      yield* registrar.put(instance("a"), lease("1"))
      const result = yield* Effect.result(registrar.put(instance("b"), lease("1")))
      assert.strictEqual(Result.isFailure(result) ? result.failure.message : "", "memory: put: it is full: 1 instances")
    }))

  it.effect("an instance that was there from the start is nobody's to announce", () =>
    Effect.gen(function*() {
      const { events, registrar } = yield* open({ instances: [instance("a")] })
      const result = yield* Effect.result(registrar.put(instance("a", { version: "2.0.0" }), lease("1")))
      assert.strictEqual(
        Result.isFailure(result) ? result.failure.message : "",
        "memory: put: \"a\" is configured here; announce under another id"
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(events, [Registry.snapshot([instance("a")])])
    }))

  it.effect("layer adds it to the registries", () =>
    Effect.gen(function*() {
      const discovery = yield* Discovery.Discovery
      yield* discovery.ready
      assert.strictEqual(count(discovery), 3)
    }).pipe(Effect.provide(MemoryRegistry.layer({ instances: fleet(3) }).pipe(Layer.provideMerge(live())))))
})

describe("fromPoll", () => {
  it.effect("polls at its interval; core finds what changed; a poll that fails leaves what was", () =>
    Effect.gen(function*() {
      let answer: Effect.Effect<ReturnType<typeof fleet>, Registry.RegistryError> = Effect.succeed(fleet(3))
      const polls: Array<number> = []
      const registry = yield* Registry.fromPoll({
        name: "list",
        every: "10 seconds",
        poll: Effect.suspend(() =>
          Effect.clockWith((clock) => {
            polls.push(clock.currentTimeMillisUnsafe())
            return answer
          })
        )
      })
      const discovery = yield* Discovery.Discovery
      yield* Effect.flatMap(Registries.Registries, (registries) => registries.add(registry))
      yield* discovery.ready
      assert.strictEqual(count(discovery), 3)
      yield* TestClock.adjust("100 seconds")
      const waits = polls.slice(1).map((time, index) => time - (polls[index] ?? 0))
      assert.isAtLeast(waits.length, 9)
      assert.isTrue(waits.every((wait) => wait >= 9_000 && wait <= 11_000), String(waits))
      assert.isAbove(new Set(waits).size, 3)
      assert.include(discovery.catalog().sources.get("list"), { state: "connected", reconnects: 0 })
      answer = Effect.fail(new Registry.RegistryError({ registry: "list", operation: "poll", reason: "503" }))
      yield* TestClock.adjust("12 seconds")
      assert.include(discovery.catalog().sources.get("list"), { state: "stale", lastError: "503" })
      assert.strictEqual(count(discovery), 3)
      answer = Effect.succeed(fleet(2))
      yield* TestClock.adjust("4 seconds")
      assert.include(discovery.catalog().sources.get("list"), { state: "connected" })
      assert.strictEqual(count(discovery), 2)
    }).pipe(Effect.provide(live())))

  it.effect("a poll that never answers is a lost session; one that is slow is not", () =>
    Effect.gen(function*() {
      let takes = 8
      const registry = yield* Registry.fromPoll({
        name: "list",
        every: "1 second",
        timeout: "9 seconds",
        poll: Effect.suspend(() => Effect.as(Effect.sleep(Duration.seconds(takes)), Registry.snapshot(fleet(1))))
      })
      const discovery = yield* Discovery.Discovery
      yield* Effect.flatMap(Registries.Registries, (registries) => registries.add(registry))
      yield* TestClock.adjust("100 seconds")
      assert.include(discovery.catalog().sources.get("list"), { state: "connected", reconnects: 0 })
      takes = 100_000
      yield* TestClock.adjust("100 seconds")
      assert.include(discovery.catalog().sources.get("list"), { state: "stale" })
    }).pipe(Effect.provide(live())))
})

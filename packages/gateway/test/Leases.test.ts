import { assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import { Registries } from "@portolan/core/Registries"
import * as Leasing from "@portolan/gateway/rest/Leases"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { instance } from "./fleet.ts"

/** Lets time pass until something that waits for it is done. */
const inTime = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    for (let step = 0; step < 400 && fiber.pollUnsafe() === undefined; step++) yield* TestClock.adjust("50 millis")
    assert.isDefined(fiber.pollUnsafe(), "it takes more than 20 s")
    return yield* Fiber.join(fiber)
  })

/** Closing takes time: what is announced says that it drains. */
const holding = <A, E>(
  options: Leasing.LeasesOptions,
  use: Effect.Effect<A, E, Leasing.Leases | Registries | Scope.Scope>
) =>
  Effect.gen(function*() {
    const scope = yield* Scope.make()
    const layer = Layer.provideMerge(Leasing.layer(options), Portolan.layer())
    const context = yield* Layer.buildWithScope(layer, scope)
    yield* use.pipe(Effect.provideContext(context), Effect.onExit((exit) => inTime(Scope.close(scope, exit))))
  })

const write = (id: string, more: Partial<Leasing.Write> = {}): Leasing.Write => ({
  registry: "memory",
  instance: instance(id),
  ttl: 60_000,
  create: false,
  ...more
})

const ids = Effect.map(Registries, (registries) => registries.members().map(({ registry }) => registry)).pipe(
  Effect.flatMap((all) => Effect.forEach(all, ({ list }) => list)),
  Effect.map((snapshots) => snapshots.flatMap(({ instances }) => instances.map(({ id }) => id)).sort())
)

describe("Leases", () => {
  it.effect("end when their time is over, unless they are renewed", () =>
    holding(
      {},
      Effect.gen(function*() {
        const leases = yield* Leasing.Leases
        const first = yield* inTime(leases.put(write("a")))
        assert.isTrue(first.created)
        yield* inTime(leases.put(write("b", { ttl: 300_000 })))
        yield* TestClock.adjust("50 seconds")
        assert.deepEqual(yield* ids, ["a", "b"])
        const renewed = yield* inTime(leases.put(write("a")))
        assert.isFalse(renewed.created)
        yield* TestClock.adjust("50 seconds")
        assert.deepEqual(yield* ids, ["a", "b"])
        yield* TestClock.adjust("15 seconds")
        assert.deepEqual(yield* ids, ["b"])
        assert.isUndefined(leases.find(first.entry.key))
        yield* TestClock.adjust("5 minutes")
        assert.deepEqual(yield* ids, [])
        // What was there before may be announced again.
        assert.isTrue((yield* inTime(leases.put(write("a", { create: true })))).created)
      })
    ))

  it.live("don't end because our own event loop stood still: a renewal that waits is read first", () =>
    Effect.gen(function*() {
      const leases = yield* Leasing.Leases
      const { entry } = yield* leases.put(write("a", { ttl: 1_000 }))
      // A second and a half later timers come before anything that was received.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500)
      yield* Effect.callback<void>((resume) => void setTimeout(() => setImmediate(() => resume(Effect.void)), 0))
      assert.isDefined(leases.find(entry.key))
      assert.isFalse((yield* leases.put(write("a", { ttl: 60_000 }))).created)
      yield* Effect.sleep(1_000)
      assert.isDefined(leases.find(entry.key))
    }).pipe(Effect.provide(Layer.provideMerge(Leasing.layer(), Portolan.layer()))))

  it.effect("are bounded", () =>
    holding(
      { capacity: 3 },
      Effect.gen(function*() {
        const leases = yield* Leasing.Leases
        for (const id of ["a", "b", "c"]) yield* inTime(leases.put(write(id)))
        const refused = yield* Effect.flip(leases.put(write("d")))
        assert.strictEqual(refused._tag, "Overloaded")
        yield* inTime(leases.put(write("a")))
        yield* inTime(leases.remove("memory", "a"))
        yield* inTime(leases.put(write("d")))
        assert.deepEqual(yield* ids, ["b", "c", "d"])
      })
    ))

  it.effect("are held by one writer at a time", () =>
    holding(
      {},
      Effect.gen(function*() {
        const leases = yield* Leasing.Leases
        const writes = yield* inTime(Effect.all(
          Array.from({ length: 5 }, () => Effect.exit(leases.put(write("a", { create: true })))),
          { concurrency: "unbounded" }
        ))
        assert.strictEqual(writes.filter(Exit.isSuccess).length, 1)
        assert.deepEqual(yield* ids, ["a"])
      })
    ))

  it.effect("are taken back when the gateway ends", () =>
    Effect.gen(function*() {
      const other = yield* MemoryRegistry.make({ name: "other" })
      const scope = yield* Scope.make()
      const built = Layer.provideMerge(
        Leasing.layer(),
        Layer.provideMerge(
          Layer.effectDiscard(Effect.flatMap(Registries, (all) => all.add(other))),
          Portolan.layer()
        )
      )
      const context = yield* Layer.buildWithScope(built, scope)
      yield* Effect.gen(function*() {
        const leases = yield* Leasing.Leases
        for (let at = 0; at < 20; at++) yield* inTime(leases.put(write(`a-${at}`, { registry: "other" })))
      }).pipe(Effect.provideContext(context))
      assert.strictEqual((yield* other.list).instances.length, 20)
      // Side by side: not twenty times the time in which one says that it drains.
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      assert.isDefined(closing.pollUnsafe())
      assert.deepEqual((yield* other.list).instances, [])
    }))

  it.effect("go with their registry", () =>
    holding(
      {},
      Effect.gen(function*() {
        const leases = yield* Leasing.Leases
        const registries = yield* Registries
        const scope = yield* Scope.make()
        yield* Effect.gen(function*() {
          yield* registries.add(yield* MemoryRegistry.make({ name: "brief" }))
        }).pipe(Scope.provide(scope))
        const { entry } = yield* inTime(leases.put(write("a", { registry: "brief" })))
        assert.isDefined(leases.find(entry.key))
        yield* inTime(Scope.close(scope, Exit.void))
        yield* TestClock.adjust("10 seconds")
        assert.isUndefined(leases.find(entry.key))
        assert.strictEqual((yield* Effect.flip(leases.put(write("a", { registry: "brief" }))))._tag, "NotFound")
      })
    ))
})

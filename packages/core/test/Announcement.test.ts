import { assert, describe, it } from "@effect/vitest"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Announcement from "../src/Announcement.ts"
import * as MemoryRegistry from "../src/MemoryRegistry.ts"
import * as Registry from "../src/Registry.ts"
import { instance, scripted } from "./fixtures/scripted.ts"

const down = new Registry.RegistryError({ registry: "backend", operation: "put", reason: "connection refused" })

/** A backend in memory whose every request is seen, and can be made to fail or hang. */
const backend = Effect.fnUntraced(function*() {
  const memory = yield* MemoryRegistry.make({ name: "backend" })
  const registrar = Option.getOrThrow(memory.registrar)
  const log: Array<string> = []
  const times: Array<number> = []
  const incarnations = new Set<string>()
  const leases = new Map<string, Registry.Lease>()
  let fault: Effect.Effect<void, Registry.RegistryError> = Effect.void
  const request = <A>(line: string, effect: Effect.Effect<A, Registry.RegistryError>) =>
    Effect.clockWith((clock) => {
      log.push(line)
      times.push(clock.currentTimeMillisUnsafe())
      return Effect.andThen(fault, effect)
    })
  return {
    times,
    incarnations,
    setFault: (effect: Effect.Effect<void, Registry.RegistryError>) => {
      fault = effect
    },
    take: () => log.splice(0),
    list: memory.list,
    ids: Effect.map(memory.list, ({ instances }) => instances.map(({ id, status }) => `${id} ${status}`).sort()),
    /** Removes a record behind the announcer's back. */
    lose: (id: string) =>
      Effect.suspend(() => {
        const lease = leases.get(id)
        return lease === undefined ? Effect.die(new Error(`${id} was not announced`)) : registrar.remove(lease)
      }),
    registry: Registry.make({
      name: "backend",
      type: "test",
      list: memory.list,
      watch: memory.watch,
      registrar: Option.some<Registry.Registrar>({
        put: (instance, options) =>
          Effect.map(request(`put ${instance.id} ${instance.status}`, registrar.put(instance, options)), (lease) => {
            incarnations.add(options.incarnation)
            leases.set(instance.id, lease)
            return lease
          }),
        renew: (leases) =>
          request(`renew ${leases.map(({ instance }) => instance.id).sort().join(" ")}`, registrar.renew(leases)),
        remove: (lease) => request(`remove ${lease.instance.id}`, registrar.remove(lease))
      })
    })
  }
})

const closing = Effect.fnUntraced(function*(scope: Scope.Closeable) {
  const fiber = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
  yield* TestClock.adjust(0)
  return fiber
})

const within = <A, E, R>(scope: Scope.Scope, effect: Effect.Effect<A, E, R>) => Scope.provide(effect, scope)

describe("Announcement", () => {
  it.effect("writes, renews each third of the time to live, drains and removes", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const scope = yield* Scope.make()
      const announcement = yield* within(scope, Announcement.announce(test.registry, instance("a")))
      assert.deepStrictEqual(test.take(), ["put a up"])
      assert.deepStrictEqual(announcement.state(), { announced: true, lastError: undefined })
      test.times.length = 0
      yield* TestClock.adjust("100 seconds")
      const waits = test.times.slice(1).map((time, index) => time - (test.times[index] ?? 0))
      assert.isTrue(waits.every((wait) => wait >= 8_000 && wait <= 10_000), String(waits))
      assert.deepStrictEqual([...new Set(test.take())], ["renew a"])
      assert.deepStrictEqual(yield* test.ids, ["a up"])

      const fiber = yield* closing(scope)
      assert.deepStrictEqual(yield* test.ids, ["a draining"])
      yield* TestClock.adjust("249 millis")
      assert.deepStrictEqual(yield* test.ids, ["a draining"])
      yield* TestClock.adjust("1 millis")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(test.take().filter((line) => line !== "renew a"), ["put a draining", "remove a"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(test.take(), [])
    }))

  it.effect("closing leaves the record of a process that took the id over alone", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const [old, young] = [yield* Scope.make(), yield* Scope.make()]
      yield* within(old, Announcement.announce(test.registry, instance("a")))
      yield* within(young, Announcement.announce(test.registry, instance("a", { version: "2.0.0" })))
      const fiber = yield* closing(old)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* test.ids, ["a up"])
      const last = yield* closing(young)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(last)
      assert.deepStrictEqual(yield* test.ids, [])
    }))

  it.effect("of two processes with one id the older stands by, and takes over when the newer is gone", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const [older, newer] = [yield* Scope.make(), yield* Scope.make()]
      const [old, current] = [instance("a", { version: "1.0.0" }), instance("a", { version: "2.0.0" })]
      const first = yield* within(older, Announcement.announce(test.registry, old))
      yield* TestClock.adjust("1 second")
      const second = yield* within(newer, Announcement.announce(test.registry, current))
      const version = Effect.map(test.list, ({ instances }) => instances[0]?.version)
      for (let beat = 0; beat < 6; beat++) {
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual(yield* version, "2.0.0")
      }
      assert.isFalse(first.state().announced)
      assert.match(first.state().lastError ?? "", /another process/)
      assert.deepStrictEqual(second.state(), { announced: true, lastError: undefined })
      assert.strictEqual(test.take().filter((line) => line.startsWith("put")).length, 2)
      // What it is told meanwhile waits too.
      yield* first.update((instance) => ({ ...instance, version: "1.1.0" }))
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* version, "2.0.0")

      yield* Effect.forkChild(Scope.close(newer, Exit.void))
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(yield* version, "1.1.0")
      assert.deepStrictEqual(first.state(), { announced: true, lastError: undefined })
      yield* closing(older)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* test.ids, [])
    }))

  it.effect("one announcer renews all in one request", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const scope = yield* Scope.make()
      const announcer = yield* within(scope, Announcement.announcer(test.registry))
      for (const id of ["a", "b", "c"]) yield* within(scope, announcer.announce(instance(id)))
      test.take()
      yield* TestClock.adjust("11 seconds")
      assert.deepStrictEqual([...new Set(test.take())], ["renew a b c"])
      assert.strictEqual(test.incarnations.size, 3)
      const fiber = yield* closing(scope)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual(yield* test.ids, [])
    }))

  it.effect("what was lost is written again within a beat", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const scope = yield* Scope.make()
      const announcer = yield* within(scope, Announcement.announcer(test.registry))
      for (const id of ["a", "b"]) yield* within(scope, announcer.announce(instance(id)))
      yield* test.lose("a")
      assert.deepStrictEqual(yield* test.ids, ["b up"])
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* test.ids, ["a up", "b up"])
      const fiber = yield* closing(scope)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
    }))

  it.effect("a backend that is away is tried again for ever, at random waits of 3 s at most", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      test.setFault(Effect.fail(down))
      const scope = yield* Scope.make()
      const announcement = yield* within(scope, Announcement.announce(test.registry, instance("a")))
      assert.deepStrictEqual(announcement.state(), { announced: false, lastError: "backend: put: connection refused" })
      test.times.length = 0
      yield* TestClock.adjust("10 minutes")
      const waits = test.times.slice(1).map((time, index) => time - (test.times[index] ?? 0))
      assert.isAbove(waits.length, 200)
      assert.isAtMost(Math.max(...waits), 3_000)
      assert.isAtLeast(Math.max(...waits), 2_000)
      test.setFault(Effect.void)
      yield* TestClock.adjust("3 seconds")
      assert.deepStrictEqual(announcement.state(), { announced: true, lastError: undefined })

      // Away for so long that the lease is over.
      test.setFault(Effect.fail(down))
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* test.ids, [])
      assert.strictEqual(announcement.state().lastError, "backend: put: connection refused")
      test.setFault(Effect.void)
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* test.ids, ["a up"])
      assert.strictEqual(announcement.state().lastError, undefined)
      const fiber = yield* closing(scope)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
    }))

  it.effect("an update is written once, even when the backend was away", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const scope = yield* Scope.make()
      const announcement = yield* within(scope, Announcement.announce(test.registry, instance("a")))
      yield* announcement.update((instance) => ({ ...instance, id: "other", status: "draining" }))
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* test.ids, ["a draining"])
      test.setFault(Effect.fail(down))
      yield* announcement.update((instance) => ({ ...instance, status: "down" }))
      yield* announcement.update((instance) => ({ ...instance, status: "up" }))
      yield* TestClock.adjust(0)
      test.setFault(Effect.void)
      yield* TestClock.adjust("4 seconds")
      assert.deepStrictEqual(yield* test.ids, ["a up"])
      const fiber = yield* closing(scope)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
    }))

  it.effect("closing takes no longer than its deadline, whatever the backend does", () =>
    Effect.gen(function*() {
      for (
        const fault of [
          Effect.fail(down),
          Effect.never,
          Effect.uninterruptible(Effect.never),
          Effect.die(new Error("boom"))
        ]
      ) {
        const test = yield* backend()
        const scope = yield* Scope.make()
        yield* within(scope, Announcement.announce(test.registry, instance("a"), { deadline: "2 seconds" }))
        test.setFault(fault)
        const fiber = yield* closing(scope)
        yield* TestClock.adjust("2 seconds")
        assert.isDefined(fiber.pollUnsafe())
      }
    }))

  it.effect("a hanging backend neither holds up the start nor the others", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      test.setFault(Effect.never)
      const scope = yield* Scope.make()
      const fiber = yield* Effect.forkChild(within(scope, Announcement.announce(test.registry, instance("a"))), {
        startImmediately: true
      })
      yield* TestClock.adjust("5 seconds")
      const announcement = yield* Fiber.join(fiber)
      assert.strictEqual(announcement.state().lastError, "backend: put: no answer within 5000 ms")
      test.setFault(Effect.void)
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(announcement.state().announced)
      const close = yield* closing(scope)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(close)
    }))

  it.effect("a registry that can't be written is a typed error", () =>
    Effect.gen(function*() {
      const result = yield* Effect.result(Effect.scoped(Announcement.announce(scripted().registry, instance("a"))))
      assert.match(
        Result.isFailure(result) ? result.failure.message : "",
        /scripted: put: nothing can be announced here/
      )
    }))

  it.effect("the time to live that was granted counts", () =>
    Effect.gen(function*() {
      const test = yield* backend()
      const registrar = Option.getOrThrow(test.registry.registrar)
      const registry = {
        ...test.registry,
        registrar: Option.some<Registry.Registrar>({
          ...registrar,
          put: (instance, options) => registrar.put(instance, { ...options, ttl: Duration.minutes(5) })
        })
      }
      const scope = yield* Scope.make()
      yield* within(scope, Announcement.announce(registry, instance("a"), { ttl: "3 seconds" }))
      test.take()
      yield* TestClock.adjust("79 seconds")
      assert.deepStrictEqual(test.take(), [])
      yield* TestClock.adjust("22 seconds")
      assert.deepStrictEqual(test.take(), ["renew a"])
      const fiber = yield* closing(scope)
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
    }))
})

/**
 * Announces instances and keeps them announced.
 *
 * **Mental model**: an announcer keeps a list of what should be in its registry, and one fiber makes it so: it writes
 * what isn't there, renews everything in one request each third of the time to live, writes again what was lost, and
 * never gives up. A `Registrar` only does what it is told, once.
 *
 * **Details**: of several processes that announce the same id the newest is seen. The others say so and stand by; each
 * renewal tells whether its record is gone, and then they announce theirs.
 *
 * **Gotchas**: closing takes time (`drain`), so a test on a virtual clock has to move it on while a scope closes.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { type Lease, type Registry, RegistryError } from "./Registry.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnnouncementOptions {
  /** How long the record lives without a renewal. Default 30 s. The registry may grant more. */
  readonly ttl?: Duration.Input | undefined
  /** Longest one request may take. Default 5 s. */
  readonly timeout?: Duration.Input | undefined
  /** Longest wait before something that failed is tried again. Default 3 s. */
  readonly retryCap?: Duration.Input | undefined
  /** How long the record says `draining` before it is removed. Default 250 ms. */
  readonly drain?: Duration.Input | undefined
  /** Longest that closing may take, whatever the registry does. Default 5 s. */
  readonly deadline?: Duration.Input | undefined
}

/**
 * An announced instance. It is removed when its scope closes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Announcement {
  /** What is, or should be, announced now. Plain. */
  readonly instance: () => ServiceInstance
  /** Whether the registry has it as it is now, and what went wrong last, while it does. Plain. */
  readonly state: () => { readonly announced: boolean; readonly lastError: string | undefined }
  /** How long the record outlives this process, as the registry granted it; none before it was ever written. Plain. */
  readonly lease: () => Duration.Duration | undefined
  /** Announces it changed; its id stays. Written in the background, and again until it is there. */
  readonly update: (f: (instance: ServiceInstance) => ServiceInstance) => Effect.Effect<void>
}

/**
 * Announces in one registry.
 *
 * @category models
 * @since 0.1.0
 */
export interface Announcer {
  /**
   * Announces until the scope closes: then the record says `draining`, and then it is removed. Answers when the first
   * attempt to write it was made; one that failed goes on in the background.
   */
  readonly announce: (instance: ServiceInstance) => Effect.Effect<Announcement, never, Scope.Scope>
}

/** What should be in the registry. */
interface Entry {
  instance: ServiceInstance
  readonly incarnation: string
  lease: Lease | undefined
  /** Whether `instance` was not written yet. */
  dirty: boolean
  /** Whether another process announces this id, which is newer. */
  standby: boolean
  lastError: string | undefined
  readonly tried: Deferred.Deferred<void>
}

/** Records written at the same time, when many were lost at once. */
const concurrency = 16

/** First step of the back-off; uniform between nothing and a step that doubles up to the cap. */
const backoffBase = 100

/**
 * Makes the announcer of a registry. Fails where the registry can't be written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const announcer = (
  registry: Registry,
  options: AnnouncementOptions = {}
): Effect.Effect<Announcer, RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    if (Option.isNone(registry.registrar)) {
      const reason = `nothing can be announced here: a ${registry.type} registry is read-only`
      return yield* new RegistryError({ registry: registry.name, operation: "put", reason })
    }
    const registrar = registry.registrar.value
    const ttl = Duration.fromInputUnsafe(options.ttl ?? "30 seconds")
    const timeout = Duration.fromInputUnsafe(options.timeout ?? "5 seconds")
    const retryCap = Duration.toMillis(Duration.fromInputUnsafe(options.retryCap ?? "3 seconds"))
    const drain = Duration.fromInputUnsafe(options.drain ?? "250 millis")
    const deadline = Duration.fromInputUnsafe(options.deadline ?? "5 seconds")

    const entries = new Set<Entry>()
    const woken = Latch.makeUnsafe(false)
    // A renewal under way while a record is removed could write it again.
    const lock = Semaphore.makeUnsafe(1)
    let nextBeat = Infinity

    // Neither silence nor a defect of an adapter may end the loop that keeps everything announced.
    const bounded = <A>(operation: string, effect: Effect.Effect<A, RegistryError>) =>
      Effect.timeoutOrElse(
        Effect.catchDefect(effect, (cause) => {
          return Effect.fail(new RegistryError({ registry: registry.name, operation, cause }))
        }),
        {
          duration: timeout,
          orElse: () => {
            const reason = `no answer within ${Duration.toMillis(timeout)} ms`
            return Effect.fail(new RegistryError({ registry: registry.name, operation, reason }))
          }
        }
      )

    const schedule = Effect.fnUntraced(function*(ttl: number) {
      const now = yield* Clock.currentTimeMillis
      nextBeat = Math.min(nextBeat, now + Math.round(ttl / 3 * (0.8 + 0.2 * (yield* Random.next))))
    })

    const put = Effect.fnUntraced(function*(entry: Entry) {
      const instance = entry.instance
      const result = yield* Effect.result(
        bounded("put", registrar.put(instance, { ttl, incarnation: entry.incarnation }))
      )
      if (Result.isSuccess(result)) {
        entry.lease = result.success
        entry.dirty = entry.instance !== instance
        entry.lastError = undefined
        yield* schedule(Duration.toMillis(result.success.ttl))
      } else entry.lastError = result.failure.message
      Deferred.doneUnsafe(entry.tried, Effect.void)
      return Result.isSuccess(result)
    })

    const renew = Effect.fnUntraced(function*() {
      if ((yield* Clock.currentTimeMillis) < nextBeat) return true
      const leased = new Map<Lease, Entry>()
      for (const entry of entries) if (entry.lease !== undefined) leased.set(entry.lease, entry)
      nextBeat = Infinity
      if (leased.size === 0) return true
      const result = yield* Effect.result(bounded("renew", registrar.renew(Array.from(leased.keys()))))
      if (Result.isFailure(result)) {
        for (const entry of leased.values()) entry.lastError = result.failure.message
        nextBeat = yield* Clock.currentTimeMillis
        return false
      }
      for (const entry of leased.values()) entry.lastError = undefined
      for (const { lease, reason, taken } of result.success) {
        const entry = leased.get(lease)
        if (entry === undefined) continue
        if (taken && !entry.standby) {
          yield* Effect.logWarning(
            `${registry.name}: another process announces "${lease.instance.id}" too; this one waits until that is gone`
          )
        }
        // The lease is kept, as renewing it tells when the other's record is gone.
        if (!taken) entry.lease = undefined
        entry.standby = taken
        entry.dirty = true
        entry.lastError = reason
      }
      for (const lease of leased.keys()) yield* schedule(Duration.toMillis(lease.ttl))
      return true
    })

    /** Brings the registry in line; answers whether all went well. */
    const pass = lock.withPermit(Effect.gen(function*() {
      const renewed = yield* renew()
      const wanted = Array.from(entries).filter((entry) => entry.dirty && !entry.standby)
      const written = yield* Effect.forEach(wanted, put, { concurrency })
      return renewed && !written.includes(false)
    }))

    yield* Effect.forkScoped(Effect.gen(function*() {
      let failures = 0
      while (true) {
        if (failures > 0) {
          yield* Effect.sleep((yield* Random.next) * Math.min(retryCap, backoffBase * 2 ** Math.min(failures, 20)))
        } else if (nextBeat === Infinity) yield* woken.await
        else yield* Effect.timeoutOption(woken.await, Math.max(0, nextBeat - (yield* Clock.currentTimeMillis)))
        woken.closeUnsafe()
        failures = (yield* pass) ? 0 : failures + 1
      }
    }))

    const withdraw = Effect.fnUntraced(function*(entry: Entry): Effect.fn.Return<void, RegistryError> {
      entry.instance = { ...entry.instance, status: "draining" }
      const drained = yield* lock.withPermit(Effect.gen(function*() {
        // A record that is another process's by now is left alone.
        if (entry.lease === undefined) return false
        const lost = yield* Effect.result(bounded("renew", registrar.renew([entry.lease])))
        return Result.isSuccess(lost) && lost.success.length === 0 && (yield* put(entry))
      }))
      if (drained) yield* Effect.sleep(drain)
      yield* lock.withPermit(Effect.suspend(() => {
        entries.delete(entry)
        return entry.lease === undefined ? Effect.void : bounded("remove", registrar.remove(entry.lease))
      }))
    })

    const close = (entry: Entry) =>
      Effect.gen(function*() {
        const closed = Deferred.makeUnsafe<void>()
        const work = yield* Effect.forkDetach(
          withdraw(entry).pipe(
            Effect.catch((error) =>
              Effect.logWarning(`${error.message}; "${entry.instance.id}" goes when its lease is over`)
            ),
            Effect.ensuring(Deferred.succeed(closed, undefined))
          )
        )
        const alarm = yield* Effect.forkDetach(
          Effect.andThen(Effect.sleep(deadline), Deferred.succeed(closed, undefined))
        )
        yield* Deferred.await(closed)
        entries.delete(entry)
        // Not waited for: what hangs may not be willing to stop either.
        yield* Effect.forkDetach(Fiber.interruptAll([work, alarm]))
      })

    return {
      announce: (instance) =>
        Effect.gen(function*() {
          const incarnation = (yield* Random.nextIntBetween(0, Number.MAX_SAFE_INTEGER)).toString(36)
          const entry: Entry = {
            instance,
            incarnation,
            lease: undefined,
            dirty: true,
            standby: false,
            lastError: undefined,
            tried: Deferred.makeUnsafe()
          }
          yield* Effect.acquireRelease(
            Effect.sync(() => {
              entries.add(entry)
              woken.openUnsafe()
            }),
            () => close(entry)
          )
          yield* Deferred.await(entry.tried)
          return {
            instance: () => entry.instance,
            state: () => ({ announced: entry.lease !== undefined && !entry.dirty, lastError: entry.lastError }),
            lease: () => entry.lease?.ttl,
            update: (f) =>
              Effect.sync(() => {
                entry.instance = { ...f(entry.instance), id: entry.instance.id }
                entry.dirty = true
                woken.openUnsafe()
              })
          }
        })
    }
  })

/**
 * Announces one instance until the scope closes, see `Announcer`. Fails where the registry can't be written.
 *
 * @category constructors
 * @since 0.1.0
 */
export const announce = (
  registry: Registry,
  instance: ServiceInstance,
  options?: AnnouncementOptions
): Effect.Effect<Announcement, RegistryError, Scope.Scope> =>
  Effect.flatMap(announcer(registry, options), (announcer) => announcer.announce(instance))

/**
 * Layer that announces one instance for as long as it lives: all that a server needs.
 *
 * **Details**: the registry is what an adapter's `make` answers, or `Registries.named` of one that the program has
 * already. Give the instance as an effect where its address is known only later, as that of a server on a free port.
 *
 * **Example** (Announcing a server)
 *
 * ```ts
 * const Announced = Announcement.layer(
 *   ConsulRegistry.make({ url: "http://127.0.0.1:8500" }),
 *   ServiceInstance.make({
 *     id: "weather-1",
 *     service: "weather",
 *     endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }
 *   })
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R, E2 = never, R2 = never>(
  registry: Effect.Effect<Registry, E, R>,
  instance: ServiceInstance | Effect.Effect<ServiceInstance, E2, R2>,
  options?: AnnouncementOptions
): Layer.Layer<never, E | E2 | RegistryError, Exclude<R | R2, Scope.Scope>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    yield* announce(yield* registry, Effect.isEffect(instance) ? yield* instance : instance, options)
  }))

/**
 * Registry in the memory of this process: the embedded default, a list of static servers, and the oracle that other
 * backends are compared with.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Latest } from "./internal/discovery/latest.ts"
import * as Registries from "./Registries.ts"
import * as Registry from "./Registry.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface MemoryRegistryOptions {
  /** Default `memory`. */
  readonly name?: string | undefined
  /** Default `limited`: whoever may announce here may not start processes. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** Instances that are there from the start and have no lease. Default none. */
  readonly instances?: ReadonlyArray<ServiceInstance> | undefined
  /** Most instances it holds; one more is refused. Default 100,000. */
  readonly capacity?: number | undefined
}

interface Entry {
  readonly instance: ServiceInstance
  /** None: it was there from the start. */
  readonly incarnation: string | undefined
  /** Epoch ms; infinite for one without a lease. */
  readonly expires: number
}

/** Changes remembered for watchers. One that is further behind gets a snapshot. */
const logSize = 1024

/**
 * Makes a registry in memory. It is empty again when the process ends.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: MemoryRegistryOptions = {}
): Effect.Effect<Registry.Registry, never, Scope.Scope> =>
  Effect.gen(function*() {
    const name = options.name ?? "memory"
    const capacity = options.capacity ?? 100_000
    const entries = new Map<string, Entry>()
    for (const instance of options.instances ?? []) {
      entries.set(instance.id, { instance, incarnation: undefined, expires: Infinity })
    }
    // The number of changes so far; the log holds the last of them.
    const count = new Latest(0)
    const log: Array<Registry.Change> = []
    // When the next lease is over, and what tells of one that is over sooner.
    let next = Infinity
    const sooner = Latch.makeUnsafe(false)

    const record = (change: Registry.Change) => {
      log.push(change)
      if (log.length >= 2 * logSize) log.splice(0, log.length - logSize)
      count.set(count.value + 1)
    }
    const expire = (now: number) => {
      for (const [id, { expires }] of entries) {
        if (expires <= now && entries.delete(id)) record({ _tag: "Removed", id, how: "expired" })
      }
    }
    yield* Effect.addFinalizer(() => Effect.sync(() => count.close()))
    yield* Effect.forkScoped(
      Effect.forever(Effect.gen(function*() {
        sooner.closeUnsafe()
        next = Infinity
        for (const { expires } of entries.values()) next = Math.min(next, expires)
        if (next === Infinity) return yield* sooner.await
        yield* Effect.timeoutOption(sooner.await, Math.max(0, next - (yield* Clock.currentTimeMillis)))
        expire(yield* Clock.currentTimeMillis)
      })),
      { startImmediately: true }
    )

    const snapshot = () => Registry.snapshot(Array.from(entries.values(), ({ instance }) => instance))
    const since = (seen: number | undefined): Registry.RegistryEvent => {
      const missed = seen === undefined ? Infinity : count.value - seen
      return missed > log.length ? snapshot() : Registry.delta(log.slice(log.length - missed))
    }

    const registrar: Registry.Registrar = {
      put: (instance, { incarnation, ttl }) =>
        Clock.clockWith((clock) => {
          const known = entries.get(instance.id)
          const reason = known === undefined
            ? entries.size >= capacity ? `it is full: ${capacity} instances` : undefined
            : known.incarnation === undefined
            ? `"${instance.id}" is configured here; announce under another id`
            : undefined
          if (reason !== undefined) {
            return Effect.fail(new Registry.RegistryError({ registry: name, operation: "put", reason }))
          }
          const expires = clock.currentTimeMillisUnsafe() + Duration.toMillis(ttl)
          entries.set(instance.id, { instance, incarnation, expires })
          record({ _tag: "Put", instance })
          if (expires < next) sooner.openUnsafe()
          return Effect.succeed({ instance, incarnation, ttl, handle: instance.id })
        }),
      renew: (leases) =>
        Clock.clockWith((clock) => {
          const now = clock.currentTimeMillisUnsafe()
          const lost: Array<Registry.LeaseLost> = []
          for (const lease of leases) {
            const entry = entries.get(lease.instance.id)
            if (entry === undefined) lost.push({ lease, reason: "its record is gone", taken: false })
            else if (entry.incarnation !== lease.incarnation) {
              lost.push({ lease, reason: "another process took its id", taken: true })
            } else entries.set(lease.instance.id, { ...entry, expires: now + Duration.toMillis(lease.ttl) })
          }
          return Effect.succeed(lost)
        }),
      remove: (lease) =>
        Effect.sync(() => {
          const id = lease.instance.id
          if (entries.get(id)?.incarnation !== lease.incarnation) return
          entries.delete(id)
          record({ _tag: "Removed", id, how: "deregistered" })
        })
    }

    return Registry.make({
      name,
      type: "memory",
      list: Effect.sync(snapshot),
      watch: Stream.mapAccum(
        count.changes,
        (): number | undefined => undefined,
        (seen) => [count.value, [since(seen)]]
      ),
      registrar: Option.some(registrar),
      trust: options.trust ?? "limited",
      authoritative: true,
      // Nothing lies between it and its watchers that could be lost.
      idleTimeout: Option.some(Duration.infinity)
    })
  })

/**
 * Layer that adds a registry in memory to `Registries`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: MemoryRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

/**
 * Instances that were announced through the REST API: the gateway holds their leases and keeps them announced until those
 * are over.
 *
 * @since 0.1.0
 */
import * as Announcement from "@portolan/core/Announcement"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import { Registries } from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HashMap from "effect/HashMap"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type BadRequest, Conflict, Forbidden, mistaken, NotFound, Overloaded, RegistryFailed } from "./Problems.ts"

/**
 * A lease that the gateway holds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lease {
  readonly registry: string
  /** ms */
  readonly ttl: number
  /** Epoch ms. */
  readonly expiresAt: number
}

/**
 * What is written, and where.
 *
 * @category models
 * @since 0.1.0
 */
export interface Write {
  /** Name of a registry. */
  readonly registry: string
  readonly instance: ServiceInstance.ServiceInstance
  /** ms */
  readonly ttl: number
  /** Whether there must be no such instance yet. */
  readonly create: boolean
}

/**
 * What came of a write.
 *
 * @category models
 * @since 0.1.0
 */
export interface Written {
  /** As the catalog has it by now, with the record that was written last. */
  readonly entry: Catalog.CatalogEntry
  readonly lease: Lease
  /** Whether it was not announced before. */
  readonly created: boolean
}

/**
 * Service that writes instances to registries.
 *
 * @category services
 * @since 0.1.0
 */
export class Leases extends Context.Service<Leases, {
  /** Announces an instance, or announces it changed, and begins its lease anew. */
  readonly put: (
    write: Write
  ) => Effect.Effect<Written, BadRequest | Forbidden | NotFound | Conflict | RegistryFailed | Overloaded>
  /** Takes back what was announced by `put`. */
  readonly remove: (registry: string, id: string) => Effect.Effect<void, NotFound | Conflict>
  /** The lease of an instance, if the gateway holds it. Plain. */
  readonly find: (key: Catalog.InstanceKey) => Lease | undefined
  /** What was written last under a lease, which the catalog may not have yet. Plain. */
  readonly written: (key: Catalog.InstanceKey) => ServiceInstance.ServiceInstance | undefined
}>()("@portolan/gateway/rest/Leases") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface LeasesOptions {
  /**
   * Whether only holders of a token write. Without, nobody may announce what starts a process or names a secret, not even
   * in a registry of full trust. Default false. Plain.
   */
  readonly protected?: (() => boolean) | undefined
  /** Most leases held. Default 10,000. */
  readonly capacity?: number | undefined
  /** How long an answer waits until the catalog has what was written, ms. Default 2,000. */
  readonly visibleWithin?: number | undefined
}

/** How late a look at the leases is that tells of an event loop that stood still; and how long it is then put off, ms. */
const late = 500

/** Name of the registry that is written to where none is named. */
export const defaultRegistry = "memory"

interface Held {
  readonly key: Catalog.InstanceKey
  readonly registry: Registry.Registry
  readonly announcement: Announcement.Announcement
  readonly scope: Scope.Closeable
  readonly ttl: number
  readonly expiresAt: number
}

interface Writer {
  readonly announcer: Announcement.Announcer
  readonly scope: Scope.Closeable
}

/**
 * Layer that holds the leases. When it closes, everything is taken back.
 *
 * **Details**: the registry `memory` is there when it is written to for the first time, if the configuration names none.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: LeasesOptions = {}): Layer.Layer<Leases, never, Discovery | Registries> =>
  Layer.effect(Leases, make(options))

const make = Effect.fnUntraced(function*(options: LeasesOptions) {
  const discovery = yield* Discovery
  const registries = yield* Registries
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const capacity = options.capacity ?? 10_000
  const visibleWithin = options.visibleWithin ?? 2_000
  const held = new Map<Catalog.InstanceKey, Held>()
  const writers = new Map<Registry.Registry, Writer>()
  // Keys that are written just now: two writes of one instance don't overtake each other.
  const busy = new Set<Catalog.InstanceKey>()
  // Closed side by side, as each takes its time.
  const leases = yield* Effect.acquireRelease(Scope.make("parallel"), (all, exit) => Scope.close(all, exit))

  const release = (lease: Held) =>
    Effect.suspend(() => {
      if (held.get(lease.key) === lease) held.delete(lease.key)
      return Scope.close(lease.scope, Exit.void)
    })

  // Ends leases that are over.
  const sooner = Latch.makeUnsafe(false)
  yield* Effect.forever(Effect.gen(function*() {
    sooner.closeUnsafe()
    let next = Infinity
    for (const { expiresAt } of held.values()) next = Math.min(next, expiresAt)
    if (next === Infinity) return yield* sooner.await
    yield* Effect.timeoutOption(sooner.await, Math.max(0, next - clock.currentTimeMillisUnsafe()))
    // Held up ourselves: what was renewed meanwhile is read first.
    if (clock.currentTimeMillisUnsafe() - next >= late) yield* Effect.sleep(late)
    const now = clock.currentTimeMillisUnsafe()
    for (const lease of Array.from(held.values())) {
      if (lease.expiresAt > now) continue
      held.delete(lease.key)
      yield* Effect.forkIn(release(lease), scope, { startImmediately: true })
    }
  })).pipe(Effect.forkScoped({ startImmediately: true }))

  // What was written to a registry that is gone can't be taken back there.
  yield* Stream.runForEach(registries.changes, (members) =>
    Effect.gen(function*() {
      const there = new Set(members.map(({ registry }) => registry))
      for (const lease of Array.from(held.values())) {
        if (!there.has(lease.registry)) yield* Effect.forkIn(release(lease), scope, { startImmediately: true })
      }
      for (const [registry, writer] of Array.from(writers)) {
        if (there.has(registry)) continue
        writers.delete(registry)
        yield* Effect.forkIn(Scope.close(writer.scope, Exit.void), scope, { startImmediately: true })
      }
    })).pipe(Effect.forkScoped({ startImmediately: true }))

  const find = (name: string) => registries.members().find(({ registry }) => registry.name === name)?.registry

  const memory = Effect.gen(function*() {
    const registry = yield* MemoryRegistry.make({ name: defaultRegistry, capacity })
    // Refused where the name is taken by now: another request was first, and its registry serves this one too.
    yield* Effect.ignore(registries.add(registry, { precedence: Number.MAX_SAFE_INTEGER }))
  }).pipe(Scope.provide(scope))

  const opened = Effect.fnUntraced(function*(name: string) {
    if (name === defaultRegistry && find(name) === undefined) yield* memory
    const registry = find(name)
    const writable = registries.members().filter((member) => Option.isSome(member.registry.registrar))
    const names = Array.from(new Set([defaultRegistry, ...writable.map((member) => member.registry.name)])).join(", ")
    if (registry === undefined) {
      return yield* new NotFound({ detail: `no registry is called ${name}; those that can be written: ${names}` })
    }
    if (Option.isNone(registry.registrar)) {
      return yield* new Conflict({
        detail: `registry ${name} (${registry.type}) is read-only; those that can be written: ${names}`,
        source: name
      })
    }
    return registry
  })

  const writer = Effect.fnUntraced(function*(registry: Registry.Registry) {
    const known = writers.get(registry)
    if (known !== undefined) return known.announcer
    const own = yield* Scope.fork(scope)
    const announcer = yield* Effect.provideService(Announcement.announcer(registry), Scope.Scope, own)
    // Two writes may come here at once; the first stays.
    const first = writers.get(registry)
    if (first !== undefined) {
      yield* Scope.close(own, Exit.void)
      return first.announcer
    }
    writers.set(registry, { announcer, scope: own })
    return announcer
  }, Effect.mapError((error: Registry.RegistryError) => new RegistryFailed({ detail: error.message })))

  const check = (registry: Registry.Registry, { create, instance }: Write) => {
    if (instance.id.includes("\u0000")) {
      return mistaken([{ path: "id", message: "it can't hold a NUL character" }])
    }
    const refused = Registry.refusal(registry, instance)
    if (refused !== undefined) return new Forbidden({ detail: refused })
    const unsafe = Registry.refusal({ ...registry, trust: "limited" }, instance)
    if (unsafe !== undefined && options.protected?.() !== true) {
      return new Forbidden({
        detail: `endpoint: records that start a process or name a secret are taken only where gateway.token protects ` +
          `writes; registry ${registry.name} would trust them`
      })
    }
    const { entries, sources } = discovery.catalog()
    for (const source of sources.keys()) {
      const entry = Option.getOrUndefined(HashMap.get(entries, Catalog.key(source, instance.id)))
      if (entry === undefined) continue
      const other = [entry.source, ...entry.alsoIn].find((source) => source !== registry.name)
      if (other !== undefined && entry.source !== registry.name) {
        return new Conflict({
          detail: `registry ${other} announces ${instance.id} already; change it there, or choose another id`,
          source: other
        })
      }
      if (create) {
        return new Conflict({
          detail: `${instance.id} is announced in ${registry.name} already; change it with PUT`,
          source: registry.name
        })
      }
    }
    const known = held.get(Catalog.key(registry.name, instance.id))
    if (create && known !== undefined) {
      return new Conflict({ detail: `${instance.id} is announced already; change it with PUT`, source: registry.name })
    }
    if (known === undefined && held.size + busy.size >= capacity) {
      return new Overloaded({ detail: `this gateway holds ${capacity} leases, its limit` })
    }
    return undefined
  }

  const written = (key: Catalog.InstanceKey) => held.get(key)?.announcement.instance()

  // Waited for, so that who wrote reads what it wrote, or what somebody wrote after it.
  const visible = (key: Catalog.InstanceKey) =>
    discovery.updates.pipe(
      Stream.map(({ catalog }) => Option.getOrUndefined(HashMap.get(catalog.entries, key))),
      Stream.filter((entry) => {
        const instance = written(key)
        return instance === undefined || entry !== undefined && ServiceInstance.equals(entry.instance, instance)
      }),
      Stream.take(1),
      Stream.runDrain,
      Effect.timeoutOption(visibleWithin)
    )

  const announce = Effect.fnUntraced(function*(registry: Registry.Registry, { instance, ttl }: Write) {
    const key = Catalog.key(registry.name, instance.id)
    const known = held.get(key)
    const renewed = { key, registry, ttl, expiresAt: clock.currentTimeMillisUnsafe() + ttl }
    if (known !== undefined && known.registry === registry) {
      // First, so that it isn't over meanwhile.
      held.set(key, { ...known, ...renewed })
      if (!ServiceInstance.equals(known.announcement.instance(), instance)) {
        yield* known.announcement.update(() => instance)
      }
    } else {
      const announcer = yield* writer(registry)
      const own = yield* Scope.fork(leases)
      const announcement = yield* Effect.provideService(announcer.announce(instance), Scope.Scope, own).pipe(
        Effect.onInterrupt(() => Scope.close(own, Exit.void))
      )
      const { announced, lastError } = announcement.state()
      if (!announced && lastError !== undefined) {
        yield* Effect.forkIn(Scope.close(own, Exit.void), scope, { startImmediately: true })
        return yield* /is configured here/.test(lastError)
          ? new Conflict({ detail: lastError, source: registry.name })
          : new RegistryFailed({ detail: lastError, source: registry.name })
      }
      held.set(key, { ...renewed, announcement, scope: own })
    }
    sooner.openUnsafe()
  })

  const put = Effect.fnUntraced(function*(write: Write) {
    const registry = yield* opened(write.registry)
    const key = Catalog.key(registry.name, write.instance.id)
    const refused = check(registry, write)
    if (refused !== undefined) return yield* refused
    if (busy.has(key)) {
      return yield* new Conflict({ detail: `${write.instance.id} is being written just now`, source: registry.name })
    }
    const created = !held.has(key) && !HashMap.has(discovery.catalog().entries, key)
    busy.add(key)
    yield* Effect.ensuring(announce(registry, write), Effect.sync(() => busy.delete(key)))
    const isVisible = Option.isSome(yield* visible(key))
    const state = held.get(key)?.announcement.state()
    if (!isVisible && state?.announced === false) {
      const reason = state.lastError ?? `${registry.name}: no answer within ${visibleWithin} ms`
      return yield* new RegistryFailed({
        detail: `${reason}; it is tried again until the lease is over`,
        source: registry.name
      })
    }
    const now = clock.currentTimeMillisUnsafe()
    const known = Option.getOrElse(HashMap.get(discovery.catalog().entries, key), (): Catalog.CatalogEntry => ({
      key,
      instance: write.instance,
      source: registry.name,
      alsoIn: [],
      firstSeen: now,
      changedAt: now,
      missingSince: undefined
    }))
    const entry = { ...known, instance: written(key) ?? known.instance }
    return { entry, created, lease: leaseOf(key) ?? { registry: registry.name, ttl: write.ttl, expiresAt: now } }
  })

  const leaseOf = (key: Catalog.InstanceKey): Lease | undefined => {
    const lease = held.get(key)
    return lease === undefined
      ? undefined
      : { registry: lease.registry.name, ttl: lease.ttl, expiresAt: lease.expiresAt }
  }

  const gone = (key: Catalog.InstanceKey) =>
    discovery.updates.pipe(
      Stream.filter(({ catalog }) => !HashMap.has(catalog.entries, key)),
      Stream.take(1),
      Stream.runDrain,
      Effect.timeoutOption(visibleWithin)
    )

  const remove = Effect.fnUntraced(function*(name: string, id: string) {
    const key = Catalog.key(name, id)
    const lease = held.get(key)
    if (lease !== undefined) {
      held.delete(key)
      yield* Effect.forkIn(release(lease), scope, { startImmediately: true })
      return void (yield* gone(key))
    }
    if (HashMap.has(discovery.catalog().entries, key)) {
      return yield* new Conflict({
        detail:
          `${id} was not announced through this gateway: it goes when whoever announces it in ${name} takes it back`,
        source: name
      })
    }
    return yield* new NotFound({ detail: `no instance in ${name} has the id ${id}` })
  })

  return Leases.of({ put, remove, find: leaseOf, written })
})

/**
 * Runs a session per registry, merges by precedence and publishes the catalog.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as Catalogs from "./Catalog.ts"
import type { Catalog, CatalogChange, CatalogUpdate, SourceState } from "./Catalog.ts"
import { Latest } from "./internal/discovery/latest.ts"
import { Merge } from "./internal/discovery/merge.ts"
import { Session } from "./internal/discovery/session.ts"
import * as Slices from "./internal/discovery/slices.ts"
import { Source } from "./internal/discovery/source.ts"
import { type Member, Registries } from "./Registries.ts"
import { type Registry, RegistryError } from "./Registry.ts"
import * as ServiceInstance from "./ServiceInstance.ts"

/**
 * Service that publishes the catalog.
 *
 * @category services
 * @since 0.1.0
 */
export class Discovery extends Context.Service<Discovery, {
  /** The catalog now. Plain data: safe on a hot path. */
  readonly catalog: () => Catalog
  /**
   * The catalog now, then every change. A subscriber that is slow holds up nobody, gets the newest state when it comes
   * back, and its `changes` tell what differs from the value it had before.
   */
  readonly updates: Stream.Stream<CatalogUpdate>
  /** Waits until each registry has given its first snapshot. */
  readonly ready: Effect.Effect<void>
  /** Reads a registry anew, or all of them. Fails with the first that can't be read. */
  readonly refresh: (name?: string) => Effect.Effect<void, RegistryError>
}>()("@portolan/core/Discovery") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface DiscoveryOptions {
  /** How long a session may be silent before it is begun anew, unless its registry says otherwise. Default 30 s. */
  readonly idleTimeout?: Duration.Input | undefined
  /** How long a new session may be silent before it counts as lost. Default 10 s. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Longest wait between two sessions of a registry that was never connected. Default 30 s. */
  readonly firstRetryCap?: Duration.Input | undefined
  /** Longest wait between two sessions of a registry that was connected once. Default 3 s. */
  readonly retryCap?: Duration.Input | undefined
  /** After how long a connected session forgets the failures before it. Default 10 s. */
  readonly healthyAfter?: Duration.Input | undefined
  /** Shortest time between two publications; the first change after a quiet time is published at once. Default 50 ms. */
  readonly debounce?: Duration.Input | undefined
  /**
   * How long self-preservation holds removals that nobody witnessed. Default 60 s. In a fleet of five and more, leases
   * that run out are gathered for a second, or for this if it is shorter, to see whether they are most of it.
   */
  readonly grace?: Duration.Input | undefined
  /** How long every removal is held, so that an instance that flaps stays. Default 0: off. */
  readonly damping?: Duration.Input | undefined
}

interface Publication extends CatalogUpdate {
  /** Revision of the catalog that `changes` start from. */
  readonly from: number
}

/**
 * Layer that discovers. It runs a session for every registry of `Registries`, as they come and go.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: DiscoveryOptions = {}): Layer.Layer<Discovery, never, Registries> =>
  Layer.effect(Discovery, make(options))

/** Changes applied in one go, before others on the event loop have their turn. */
const slice = 1_000

/** ms for which leases that ran out in a larger fleet are gathered before it is judged how many they are. */
const gathering = 1_000

const make = Effect.fnUntraced(function*(options: DiscoveryOptions) {
  const registries = yield* Registries
  const clock = yield* Clock.Clock
  const ms = (input: Duration.Input | undefined, byDefault: number) =>
    input === undefined ? byDefault : Duration.toMillis(Duration.fromInputUnsafe(input))
  const settings = {
    idleTimeout: ms(options.idleTimeout, 30_000),
    connectTimeout: ms(options.connectTimeout, 10_000),
    firstRetryCap: ms(options.firstRetryCap, 30_000),
    retryCap: ms(options.retryCap, 3_000),
    healthyAfter: ms(options.healthyAfter, 10_000)
  }
  const grace = ms(options.grace, 60_000)
  const limits = { grace, damping: ms(options.damping, 0), gathering: Math.min(gathering, grace) }
  const debounce = ms(options.debounce, 50)

  const merge = new Merge()
  let sessions: ReadonlyMap<Registry, Session> = new Map()
  const published = new Latest<Publication>({ catalog: Catalogs.empty, changes: [], from: 0 })
  const publishing = Semaphore.makeUnsafe(1)
  const due = Latch.makeUnsafe(false)
  const urgent = Latch.makeUnsafe(false)

  const states = (): ReadonlyMap<string, SourceState> =>
    new Map(Array.from(sessions.values(), ({ source }) => [source.registry.name, source.summary]))

  // Not interrupted half-way: what `merge` told once it doesn't tell again.
  const publish = Effect.uninterruptible(publishing.withPermit(Effect.gen(function*() {
    const before = published.value.catalog
    // Before the entries: a source that says it is connected has all of its entries in the same catalog.
    const sources = states()
    const changes = yield* Slices.run(merge.changes())
    if (changes.length === 0 && isSame(before.sources, sources)) return
    let catalog = before
    let at = 0
    do {
      if (at > 0) yield* Effect.yieldNow
      catalog = Catalogs.apply(catalog, changes.slice(at, at + slice), sources)
      at += slice
    } while (at < changes.length)
    published.set({ catalog, changes, from: before.revision })
  })))

  const changed = (source?: Source) => {
    source?.settle(merge.touched)
    const { value } = published
    const sources = states()
    // A first snapshot is waited for, so it doesn't wait.
    if (isFirst(value.catalog.sources, sources)) urgent.openUnsafe()
    if (merge.touched.size > 0 || !isSame(value.catalog.sources, sources)) due.openUnsafe()
    // When a registry was heard is no event, but it is there to be read.
    else published.replace({ ...value, catalog: { ...value.catalog, sources } })
  }

  const fibers = yield* FiberMap.make<Registry>()
  const scope = yield* Effect.scope
  const follow = Effect.fnUntraced(function*(members: ReadonlyArray<Member>) {
    const before = sessions
    const after = new Map<Registry, Session>()
    for (const { registry } of members) {
      const source = () => {
        const replaced = Array.from(before.values()).find(({ source }) => source.registry.name === registry.name)
        return new Source(registry, limits, clock.currentTimeMillisUnsafe(), replaced?.source)
      }
      after.set(registry, before.get(registry) ?? new Session(source(), settings, changed))
    }
    sessions = after
    merge.setSources(Array.from(after.values(), ({ source }) => source))
    changed()
    for (const registry of before.keys()) {
      // Not waited for: closing a backend may take its time.
      if (!after.has(registry)) {
        yield* Effect.forkIn(FiberMap.remove(fibers, registry), scope, { startImmediately: true })
      }
    }
    for (const [registry, session] of after) {
      if (!before.has(registry)) yield* FiberMap.run(fibers, registry, session.run)
    }
  })

  yield* Effect.addFinalizer(() => Effect.sync(() => published.close()))
  yield* Effect.forkScoped(Stream.runForEach(registries.changes, follow), { startImmediately: true })
  yield* Effect.forkScoped(
    Effect.forever(Effect.gen(function*() {
      yield* due.await
      due.closeUnsafe()
      urgent.closeUnsafe()
      yield* publish
      yield* Effect.timeoutOption(urgent.await, debounce)
    })),
    { startImmediately: true }
  )

  const isReady = ({ catalog }: CatalogUpdate) =>
    registries.members().every(({ registry }) => {
      const state = catalog.sources.get(registry.name)?.state
      return state !== undefined && state !== "connecting"
    })

  const refresh = Effect.fnUntraced(function*(name?: string) {
    const chosen = Array.from(sessions.values()).filter(({ source }) =>
      name === undefined || source.registry.name === name
    )
    if (name !== undefined && chosen.length === 0) {
      const names = Array.from(sessions.keys(), (registry) => registry.name).join(", ")
      const reason = `no registry has this name; there are: ${names === "" ? "none" : names}`
      return yield* new RegistryError({ registry: name, operation: "list", reason })
    }
    const all = Effect.forEach(chosen, (session) => Effect.result(session.refresh), { concurrency: "unbounded" })
    const results = yield* all
    yield* publish
    for (const result of results) yield* Effect.fromResult(result)
  })

  return Discovery.of({
    catalog: () => published.value.catalog,
    updates: Stream.mapAccum(published.changes, (): Catalog | undefined => undefined, (seen, publication) => {
      const { catalog } = publication
      return [catalog, [{ catalog, changes: changesSince(seen, publication) }]]
    }),
    ready: published.changes.pipe(Stream.filter(isReady), Stream.take(1), Stream.runDrain),
    refresh
  })
})

const changesSince = (seen: Catalog | undefined, publication: Publication): ReadonlyArray<CatalogChange> => {
  if (seen === undefined) return []
  return seen.revision === publication.from ? publication.changes : Catalogs.diff(seen, publication.catalog)
}

/** Whether the states tell the same, but for when the registries were last heard. */
const isSame = (self: ReadonlyMap<string, SourceState>, that: ReadonlyMap<string, SourceState>): boolean =>
  self.size === that.size && Array.from(that).every(([name, state]) => {
    const known = self.get(name)
    return known !== undefined && ServiceInstance.equals({ ...known, lastHeard: state.lastHeard }, state)
  })

/** Whether a registry gave its first snapshot. */
const isFirst = (self: ReadonlyMap<string, SourceState>, that: ReadonlyMap<string, SourceState>): boolean =>
  Array.from(that.values()).some(({ name, state }) =>
    state === "connected" && (self.get(name)?.state ?? "connecting") === "connecting"
  )

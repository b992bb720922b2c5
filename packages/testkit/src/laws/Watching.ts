/**
 * Two ways to watch a registry: one raw session, and through `Discovery`.
 *
 * @since 0.1.0
 */
import type * as Catalog from "@portolan/core/Catalog"
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Waiting from "../internal/Waiting.ts"
import { type Bench, Broken, difference, hold } from "./Law.ts"

/** Waits for a condition, no longer than the ceiling; the failure tells how things stood then. */
export const within = <A>(
  effect: Effect.Effect<A, Broken>,
  millis: number,
  reason: () => string
): Effect.Effect<A, Broken> =>
  Effect.timeoutOrElse(effect, {
    duration: millis,
    orElse: () => Effect.fail(new Broken({ reason: `${reason()} (waited ${millis} ms)` }))
  })

/**
 * One watching session, folded into the set it describes.
 */
export interface RawView {
  readonly events: () => number
  /** Whether what the session began with is complete: a snapshot, or one of each group. */
  readonly begun: () => boolean
  readonly instances: () => ReadonlyArray<ServiceInstance>
  readonly until: (what: string, holds: () => boolean) => Effect.Effect<void, Broken>
  readonly equals: (truth: () => Iterable<ServiceInstance>) => Effect.Effect<void, Broken>
  readonly end: Effect.Effect<void>
}

/** Begins a session and follows it until the scope closes. `onEvent` sees each event after it was applied. */
export const raw = Effect.fnUntraced(function*(
  bench: Bench,
  registry: Registry.Registry,
  onEvent: (event: Registry.RegistryEvent, instances: ReadonlyMap<string, ServiceInstance>) => void = () => {}
): Effect.fn.Return<RawView, never, Scope.Scope> {
  const waiting = Waiting.make()
  const groups = new Map<string, Map<string, ServiceInstance>>()
  let expected: ReadonlySet<string> | undefined
  let begun = false
  let events = 0
  let wrong: string | undefined

  const flat = () => {
    const all = new Map<string, ServiceInstance>()
    for (const group of groups.values()) for (const [id, instance] of group) all.set(id, instance)
    return all
  }

  const apply = (event: Registry.RegistryEvent) => {
    events++
    switch (event._tag) {
      case "Groups":
        expected = new Set(event.groups)
        for (const group of groups.keys()) if (!expected.has(group)) groups.delete(group)
        break
      case "Snapshot":
        if (event.group === undefined) groups.clear()
        groups.set(event.group ?? "", new Map(event.instances.map((instance) => [instance.id, instance])))
        break
      case "Delta": {
        if (!begun) wrong ??= "a delta came before the first snapshot"
        for (const change of event.changes) {
          for (const group of groups.values()) {
            if (change._tag === "Removed") group.delete(change.id)
            if (change._tag === "Put") group.delete(change.instance.id)
          }
          if (change._tag === "Put") {
            const group = groups.get("") ?? new Map<string, ServiceInstance>()
            groups.set("", group.set(change.instance.id, change.instance))
          }
        }
        break
      }
      case "Alive":
        break
    }
    begun = begun ||
      (expected === undefined ? groups.has("") : Array.from(expected).every((group) => groups.has(group)))
    onEvent(event, flat())
    waiting.notify()
  }

  const fiber = yield* registry.watch.pipe(
    Stream.runForEach((event) => Effect.sync(() => apply(event))),
    Effect.onExit((exit) =>
      Effect.sync(() => {
        wrong ??= Exit.isSuccess(exit) ? "the session ended" : `the session failed: ${Cause.pretty(exit.cause)}`
        waiting.notify()
      })
    ),
    Effect.exit,
    Effect.forkScoped
  )

  const until = (what: () => string, holds: () => boolean) =>
    within(
      Effect.flatMap(waiting.until(() => wrong !== undefined || holds()), () =>
        hold(wrong === undefined || holds(), () => `${wrong} before ${what()}`)),
      bench.times.visible,
      () =>
        `a session did not see ${what()}`
    )

  return {
    events: () => events,
    begun: () => begun,
    instances: () => Array.from(flat().values()),
    until: (what, holds) => until(() => what, holds),
    equals: (truth) =>
      until(
        () => `what the backend holds: ${difference(flat().values(), truth())}`,
        () => begun && difference(flat().values(), truth()) === ""
      ),
    end: Fiber.interrupt(fiber)
  }
})

/** A change, and in which update it came (counted from 0) and when (epoch ms of this process). */
interface Logged {
  readonly change: Catalog.CatalogChange
  readonly update: number
  readonly at: number
}

/**
 * A registry under a real `Discovery`, with a log of what it published.
 */
export interface View {
  readonly discovery: Discovery.Discovery["Service"]
  readonly log: () => ReadonlyArray<Logged>
  readonly updates: () => number
  readonly catalog: () => Catalog.Catalog
  readonly instances: () => ReadonlyArray<ServiceInstance>
  readonly source: () => Catalog.SourceState | undefined
  readonly until: (what: string, holds: (view: View) => boolean, ceiling?: number) => Effect.Effect<void, Broken>
  readonly equals: (truth: () => Iterable<ServiceInstance>) => Effect.Effect<void, Broken>
  readonly connected: Effect.Effect<void, Broken>
}

/** Runs a registry under `Discovery` until the scope closes. */
export const discover = Effect.fnUntraced(function*(
  bench: Bench,
  registry: Registry.Registry,
  options: Discovery.DiscoveryOptions = {}
): Effect.fn.Return<View, Broken, Scope.Scope> {
  const services = yield* Layer.build(
    bench.discovery({ debounce: 0, idleTimeout: bench.times.visible * 10, ...options }).pipe(
      Layer.provideMerge(Registries.layer)
    )
  )
  const discovery = Context.get(services, Discovery.Discovery)
  const waiting = Waiting.make()
  const log: Array<Logged> = []
  let updates = 0
  let catalog = discovery.catalog()

  yield* discovery.updates.pipe(
    Stream.runForEach((update) =>
      Effect.clockWith((clock) =>
        Effect.sync(() => {
          const at = clock.currentTimeMillisUnsafe()
          for (const change of update.changes) log.push({ change, update: updates, at })
          updates++
          catalog = update.catalog
          waiting.notify()
        })
      )
    ),
    Effect.forkScoped
  )
  yield* waiting.until(() => updates > 0)
  yield* Context.get(services, Registries.Registries).add(registry).pipe(
    Effect.mapError((error) => new Broken({ reason: `the registry can't be added: ${error.message}` }))
  )

  const instances = () => Array.from(HashMap.values(catalog.entries), (entry) => entry.instance)
  const describe = () => {
    const source = catalog.sources.get(registry.name)
    const state = source === undefined
      ? "no source"
      : `source ${source.state}, held ${source.held}, reconnects ${source.reconnects}, last error ${
        source.lastError ?? "none"
      }`
    return `${state}; catalog: ${instances().map((instance) => instance.id).sort().join(" ") || "empty"}`
  }
  const view: View = {
    discovery,
    log: () => log,
    updates: () => updates,
    catalog: () => catalog,
    instances,
    source: () => catalog.sources.get(registry.name),
    until: (what, holds, ceiling = bench.times.visible) =>
      within(waiting.until(() => holds(view)), ceiling, () => `the catalog did not show ${what}; ${describe()}`),
    equals: (truth) =>
      within(
        waiting.until(() => difference(instances(), truth()) === ""),
        bench.times.visible,
        () => `the catalog is not what the backend holds: ${difference(instances(), truth())}; ${describe()}`
      ),
    connected: Effect.suspend(() => view.until("a connected source", (view) => view.source()?.state === "connected"))
  }
  return view
})

/**
 * Writes a marker and waits until it is seen: everything written before has been seen by then too. The marker is the
 * only change it causes.
 */
export const fence = Effect.fnUntraced(
  function*(bench: Bench, view: View, n: number): Effect.fn.Return<ServiceInstance, Broken> {
    const marker = bench.instance(n)
    yield* bench.controls.add(marker)
    yield* view.until(
      `the marker ${marker.id}`,
      (view) => view.instances().some((instance) => instance.id === marker.id)
    )
    return marker
  }
)

/** Lines of a log from an index on, each as `Added id`. */
export const lines = (view: View, from: number): ReadonlyArray<string> =>
  view.log().slice(from).map(({ change }) => `${change._tag} ${change.entry.instance.id}`)

/**
 * A catalog by hand, and what upstreams make of it.
 */
import {
  type Catalog,
  type CatalogChange,
  type CatalogEntry,
  type CatalogUpdate,
  type InstanceKey,
  key
} from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as SubscriptionRef from "effect/SubscriptionRef"
import type { Upstream } from "../../src/upstream/Upstream.ts"
import {
  layer as layerUpstreams,
  type UpstreamEvent,
  Upstreams,
  type UpstreamsOptions
} from "../../src/upstream/Upstreams.ts"

export type Input = Parameters<typeof ServiceInstance.make>[0]

export type Env = NonNullable<Extract<Input["endpoint"], { readonly transport: "stdio" }>["env"]>

export const keyOf = (id: string): InstanceKey => key("test", id)

export const instanceOf = (input: Input) => ServiceInstance.make(input)

export const entryOf = (input: Input): CatalogEntry => ({
  key: keyOf(input.id),
  instance: ServiceInstance.make(input),
  source: "test",
  alsoIn: [],
  firstSeen: 0,
  changedAt: 0,
  missingSince: undefined
})

const catalogOf = (entries: ReadonlyArray<CatalogEntry>, revision: number): Catalog => ({
  revision,
  entries: HashMap.fromIterable(entries.map((entry) => [entry.key, entry] as const)),
  services: HashMap.empty(),
  capabilities: HashMap.empty(),
  tags: HashMap.empty(),
  sources: new Map()
})

/** A Discovery whose catalog is what `set` says. */
export const discovery = (inputs: ReadonlyArray<Input>) =>
  Effect.gen(function*() {
    const first = catalogOf(inputs.map(entryOf), 1)
    const state = yield* SubscriptionRef.make<CatalogUpdate>({ catalog: first, changes: [] })
    let catalog = first
    const set = (inputs: ReadonlyArray<Input>) =>
      Effect.suspend(() => {
        const next = catalogOf(inputs.map(entryOf), catalog.revision + 1)
        const changes: Array<CatalogChange> = []
        for (const [key, entry] of next.entries) {
          const before = HashMap.get(catalog.entries, key)
          if (before._tag === "None") changes.push({ _tag: "Added", entry })
          else if (!ServiceInstance.equals(before.value.instance, entry.instance)) {
            changes.push({ _tag: "Updated", entry, previous: before.value })
          }
        }
        for (const [key, entry] of catalog.entries) {
          if (!HashMap.has(next.entries, key)) changes.push({ _tag: "Removed", entry })
        }
        catalog = next
        return SubscriptionRef.set(state, { catalog: next, changes })
      })
    const layer = Layer.merge(
      Registries.layer,
      Layer.succeed(
        Discovery,
        Discovery.of({
          catalog: () => catalog,
          updates: SubscriptionRef.changes(state),
          ready: Effect.void,
          refresh: () => Effect.void
        })
      )
    )
    return { layer, set }
  })

/** The first event that fits, among those there were and those to come. */
export const recorder = Effect.gen(function*() {
  const upstreams = yield* Upstreams
  const seen: Array<UpstreamEvent> = []
  yield* upstreams.events.pipe(
    Stream.runForEach((event) => Effect.sync(() => void seen.push(event))),
    Effect.forkScoped({ startImmediately: true })
  )
  const until = (
    what: string,
    fits: (event: UpstreamEvent) => boolean,
    from = 0,
    ms = 20_000
  ): Effect.Effect<UpstreamEvent> => eventually(what, () => seen.slice(from).find(fits), ms)
  return { seen, until }
})

/** Polls until there is a value; dies, telling what it waited for. */
export const eventually = <A>(what: string, get: () => A | undefined, ms = 20_000): Effect.Effect<A> =>
  Effect.callback((resume) => {
    const deadline = performance.now() + ms
    const end = (outcome: Effect.Effect<A>) => {
      clearInterval(timer)
      resume(outcome)
    }
    const timer = setInterval(() => {
      try {
        const value = get()
        if (value !== undefined) end(Effect.succeed(value))
        else if (performance.now() > deadline) end(Effect.die(new Error(`waited ${ms} ms in vain for: ${what}`)))
      } catch (error) {
        end(Effect.die(error))
      }
    }, 10)
    return Effect.sync(() => clearInterval(timer))
  })

export interface Tools {
  readonly get: (id: string) => Effect.Effect<Upstream>
  readonly until: Effect.Success<typeof recorder>["until"]
  readonly seen: ReadonlyArray<UpstreamEvent>
  readonly set: (inputs: ReadonlyArray<Input>) => Effect.Effect<void>
}

/** Runs with upstreams of the given instances; they are closed when it ends. */
export const withUpstreams = <A, E, R>(
  inputs: ReadonlyArray<Input>,
  use: (tools: Tools) => Effect.Effect<A, E, R>,
  options: UpstreamsOptions = {}
) =>
  Effect.gen(function*() {
    const { layer, set } = yield* discovery(inputs)
    return yield* Effect.gen(function*() {
      const upstreams = yield* Upstreams
      const { seen, until } = yield* recorder
      const get = (id: string) => eventually(`upstream ${id}`, () => upstreams.get(keyOf(id)))
      return yield* use({ get, until, seen, set })
    }).pipe(Effect.scoped, Effect.provide(layerUpstreams(options).pipe(Layer.provide(layer))))
  })

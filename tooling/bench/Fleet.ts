/**
 * A catalog of any size that changes when it is told to: what a benchmark of routing needs of discovery.
 */
import * as Catalog from "@portolan/core/Catalog"
import * as Discovery from "@portolan/core/Discovery"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"

export const instance = (index: number): ServiceInstance.ServiceInstance =>
  ServiceInstance.make({
    id: `weather-${index}`,
    service: "weather",
    endpoint: {
      transport: "streamable-http",
      url: `http://10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/mcp`
    }
  })

export const instances = (count: number): ReadonlyArray<ServiceInstance.ServiceInstance> =>
  Array.from({ length: count }, (_, index) => instance(index))

export const key = (index: number): Catalog.InstanceKey => Catalog.key("bench", `weather-${index}`)

// One list for all, as `Discovery` has it.
const nowhere: ReadonlyArray<string> = []

const entryOf = (instance: ServiceInstance.ServiceInstance): Catalog.CatalogEntry => ({
  key: Catalog.key("bench", instance.id),
  instance,
  source: "bench",
  alsoIn: nowhere,
  firstSeen: 0,
  changedAt: 0,
  missingSince: undefined
})

export interface Fleet {
  readonly put: (instance: ServiceInstance.ServiceInstance) => Effect.Effect<void>
  readonly remove: (index: number) => Effect.Effect<void>
  readonly layer: Layer.Layer<Discovery.Discovery>
}

export const make = (count: number): Effect.Effect<Fleet> =>
  Effect.gen(function*() {
    let catalog = Catalog.apply(
      Catalog.empty,
      instances(count).map((instance): Catalog.CatalogChange => ({ _tag: "Added", entry: entryOf(instance) })),
      new Map()
    )
    const updates = yield* PubSub.unbounded<Catalog.CatalogUpdate>()
    const publish = (change: Catalog.CatalogChange) =>
      Effect.suspend(() => {
        const changes = [change]
        catalog = Catalog.apply(catalog, changes, catalog.sources)
        return PubSub.publish(updates, { catalog, changes })
      })
    const known = (key: Catalog.InstanceKey) => Option.getOrUndefined(HashMap.get(catalog.entries, key))
    return {
      put: (instance) =>
        Effect.suspend(() => {
          const entry = entryOf(instance)
          const previous = known(entry.key)
          return publish(previous === undefined ? { _tag: "Added", entry } : { _tag: "Updated", entry, previous })
        }),
      remove: (index) =>
        Effect.suspend(() => {
          const entry = known(key(index))
          return entry === undefined ? Effect.void : publish({ _tag: "Removed", entry })
        }),
      layer: Layer.succeed(Discovery.Discovery, {
        catalog: () => catalog,
        updates: Stream.unwrap(Effect.gen(function*() {
          const subscription = yield* PubSub.subscribe(updates)
          const first: Catalog.CatalogUpdate = { catalog, changes: [] }
          return Stream.concat(Stream.succeed(first), Stream.fromSubscription(subscription))
        })),
        ready: Effect.void,
        refresh: () => Effect.void
      })
    }
  })

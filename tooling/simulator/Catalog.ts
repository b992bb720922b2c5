import * as Catalog from "@portolan/core/Catalog"
import * as Discovery from "@portolan/core/Discovery"
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"

const source = "simulation"

export const keyOf = (id: string): Catalog.InstanceKey => Catalog.key(source, id)

/** Discovery that a scenario writes. */
export interface Announcements {
  readonly discovery: Discovery.Discovery["Service"]
  readonly announce: (instance: ServiceInstance.ServiceInstance) => void
  readonly withdraw: (id: string) => void
}

export const make: Effect.Effect<Announcements> = Effect.gen(function*() {
  let catalog = Catalog.empty
  const updates = yield* PubSub.unbounded<Catalog.CatalogUpdate>()
  const publish = (changes: ReadonlyArray<Catalog.CatalogChange>) => {
    catalog = Catalog.apply(catalog, changes, catalog.sources)
    PubSub.publishUnsafe(updates, { catalog, changes })
  }
  const known = (id: string) => Option.getOrUndefined(HashMap.get(catalog.entries, keyOf(id)))
  return {
    discovery: Discovery.Discovery.of({
      catalog: () => catalog,
      updates: Stream.unwrap(Effect.gen(function*() {
        const subscription = yield* PubSub.subscribe(updates)
        const first: Catalog.CatalogUpdate = { catalog, changes: [] }
        return Stream.concat(Stream.succeed(first), Stream.fromSubscription(subscription))
      })),
      ready: Effect.void,
      refresh: () => Effect.void
    }),
    announce: (instance) => {
      const previous = known(instance.id)
      const entry: Catalog.CatalogEntry = {
        key: keyOf(instance.id),
        instance,
        source,
        alsoIn: [],
        firstSeen: 0,
        changedAt: 0,
        missingSince: undefined
      }
      publish([previous === undefined ? { _tag: "Added", entry } : { _tag: "Updated", entry, previous }])
    },
    withdraw: (id) => {
      const entry = known(id)
      if (entry !== undefined) publish([{ _tag: "Removed", entry }])
    }
  }
})

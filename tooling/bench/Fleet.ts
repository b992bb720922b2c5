/**
 * A catalog of any size that stands still: what a benchmark of routing needs of discovery.
 */
import * as Catalog from "@portolan/core/Catalog"
import * as Discovery from "@portolan/core/Discovery"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

export const instances = (count: number): ReadonlyArray<ServiceInstance.ServiceInstance> =>
  Array.from({ length: count }, (_, index) =>
    ServiceInstance.make({
      id: `weather-${index}`,
      service: "weather",
      endpoint: {
        transport: "streamable-http",
        url: `http://10.${index >> 16}.${(index >> 8) & 255}.${index & 255}/mcp`
      }
    }))

export const discovery = (count: number): Layer.Layer<Discovery.Discovery> => {
  const changes = instances(count).map((instance): Catalog.CatalogChange => ({
    _tag: "Added",
    entry: {
      key: Catalog.key("bench", instance.id),
      instance,
      source: "bench",
      alsoIn: [],
      firstSeen: 0,
      changedAt: 0,
      missingSince: undefined
    }
  }))
  const catalog = Catalog.apply(Catalog.empty, changes, new Map())
  return Layer.succeed(Discovery.Discovery, {
    catalog: () => catalog,
    updates: Stream.concat(Stream.succeed({ catalog, changes: [] }), Stream.never),
    ready: Effect.void,
    refresh: () => Effect.void
  })
}

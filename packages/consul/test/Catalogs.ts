/** A catalog of what a registry in Consul announces, for tests. */
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import type { CatalogChange } from "@portolan/core/Catalog"
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"

export const instance = (n: number, service = "weather") =>
  ServiceInstance.make({
    id: `${service}-${n}`,
    service,
    endpoint: { transport: "streamable-http", url: `http://10.0.0.${n}:8080/mcp` },
    metadata: { seq: "0" }
  })

/** A running catalog; that Consul is lost is what some of the tests are about, no news. */
export const make = Effect.fnUntraced(function*(options: Parameters<typeof ConsulRegistry.layer>[0]) {
  const discovery = Context.get(
    yield* Layer.build(
      ConsulRegistry.layer(options).pipe(
        Layer.provideMerge(Discovery.layer({ debounce: 0 })),
        Layer.provideMerge(Registries.layer)
      )
    ),
    Discovery.Discovery
  )
  const changes: Array<CatalogChange> = []
  yield* discovery.updates.pipe(
    Stream.runForEach((update) => Effect.sync(() => void changes.push(...update.changes))),
    Effect.forkScoped
  )
  const entries = () => Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance)
  const ids = () => entries().map(({ id }) => id).sort().join()
  const source = () => discovery.catalog().sources.get(options.name ?? "consul")
  return {
    discovery,
    entries,
    ids,
    source,
    /** What was published so far, as `Added weather-1`. */
    changes: () => changes.map(({ _tag, entry }) => `${_tag} ${entry.instance.id}`),
    until: (holds: () => boolean) =>
      discovery.updates.pipe(
        Stream.filter(holds),
        Stream.runHead,
        Effect.timeoutOrElse({
          duration: "10 seconds",
          orElse: () => Effect.die(new Error(`after 10 s: "${ids()}", ${source()?.state}, ${source()?.lastError}`))
        })
      )
  }
}, Effect.provideService(References.MinimumLogLevel, "Error"))

/** Waits for something that no stream tells of. */
export const eventually = (holds: () => boolean) =>
  Effect.gen(function*() {
    while (!holds()) yield* Effect.sleep(10)
  }).pipe(Effect.timeout("20 seconds"))

/** What tests of etcd look at: the catalog that a registry in it makes. */
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type { RegistryEvent } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import * as Stream from "effect/Stream"

export const instance = (n: number, seq = 0) =>
  ServiceInstance.make({
    id: `weather-${n}`,
    service: "weather",
    endpoint: { transport: "streamable-http", url: `http://10.0.0.${n}:8080/mcp` },
    metadata: { seq: String(seq) }
  })

export const discovered = (options: EtcdRegistry.EtcdRegistryOptions) =>
  Layer.build(
    EtcdRegistry.layer(options).pipe(
      Layer.provideMerge(Discovery.layer({ debounce: 0 })),
      Layer.provideMerge(Registries.layer)
    )
  ).pipe(
    Effect.map(Context.get(Discovery.Discovery)),
    // That a registry is lost is what the tests are about, no news.
    Effect.provideService(References.MinimumLogLevel, "Error")
  )

type Watched = Discovery.Discovery["Service"]

export const shown = (discovery: Watched) =>
  Array.from(
    HashMap.values(discovery.catalog().entries),
    ({ instance }) => `${instance.id} #${String(instance.metadata["seq"])}`
  ).sort()

export const source = (discovery: Watched) => discovery.catalog().sources.get("etcd")

export const until = (discovery: Watched, holds: () => boolean, limit: Duration.Input = "10 seconds") =>
  discovery.updates.pipe(
    Stream.filter(holds),
    Stream.runHead,
    Effect.timeoutOrElse({
      duration: limit,
      orElse: () => Effect.die(new Error(`at last: ${shown(discovery).join(", ")}; ${source(discovery)?.lastError}`))
    })
  )

/** Every change of the catalog from now on, in order. */
export const changes = Effect.fnUntraced(function*(discovery: Watched) {
  const seen: Array<string> = []
  yield* discovery.updates.pipe(
    // What is there at first is no change.
    Stream.drop(1),
    Stream.runForEach(({ changes }) =>
      Effect.sync(() => void seen.push(...changes.map(({ _tag, entry }) => `${_tag} ${entry.instance.id}`)))
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  return seen
})

/** Waits for what nobody announces. */
export const eventually = <E, R>(holds: Effect.Effect<boolean, E, R>, limit: Duration.Input = "10 seconds") =>
  Effect.gen(function*() {
    while (!(yield* holds)) yield* Effect.sleep(20)
  }).pipe(Effect.timeout(limit))

/** Why the first session of a registry failed, and what it said before. */
export const failure = (options: EtcdRegistry.EtcdRegistryOptions) =>
  Effect.gen(function*() {
    const registry = yield* EtcdRegistry.make(options)
    const said: Array<RegistryEvent> = []
    const exit = yield* registry.watch.pipe(
      Stream.runForEach((event) => Effect.sync(() => void said.push(event))),
      Effect.exit,
      Effect.timeout("10 seconds")
    )
    return { said, reason: Exit.isFailure(exit) ? Cause.pretty(exit.cause) : "" }
  })

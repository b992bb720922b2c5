/** A registry in Redis as the catalog shows it, with a log of all that the catalog published. */
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"

/** The nth test instance; `seq` tells its versions apart. */
export const instance = (n: number, seq = 0) =>
  ServiceInstance.make({
    id: `weather-${n}`,
    service: "weather",
    endpoint: { transport: "streamable-http", url: `http://10.0.${n >> 8}.${n & 255}:8080/mcp` },
    metadata: { seq: String(seq) }
  })

export const watch = Effect.fnUntraced(function*(
  options: RedisRegistry.RedisRegistryOptions,
  settings: Discovery.DiscoveryOptions = {}
) {
  const services = yield* Layer.build(
    RedisRegistry.layer(options).pipe(
      Layer.provideMerge(Discovery.layer({ debounce: 0, ...settings })),
      Layer.provideMerge(Registries.layer)
    )
  )
  const discovery = Context.get(services, Discovery.Discovery)
  const log: Array<string> = []
  yield* discovery.updates.pipe(
    Stream.runForEach(({ changes }) =>
      Effect.sync(() => {
        for (const { _tag, entry } of changes) log.push(`${_tag} ${entry.instance.id}`)
      })
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  const shown = () =>
    Array.from(
      HashMap.values(discovery.catalog().entries),
      ({ instance }) => `${instance.id} #${String(instance.metadata["seq"])}`
    ).sort()
  const source = () => discovery.catalog().sources.get(options.name ?? "redis")
  const until = (holds: () => boolean, ceiling = 15_000) =>
    discovery.updates.pipe(
      Stream.filter(holds),
      Stream.runHead,
      Effect.timeoutOrElse({
        duration: ceiling,
        orElse: () => {
          const { lastError, state } = source() ?? {}
          return Effect.die(new Error(`${ceiling} ms later: ${state} (${lastError}): ${shown().join(", ") || "none"}`))
        }
      }),
      Effect.asVoid
    )
  return {
    /** `Added weather-1` and so on, in order. */
    log,
    /** As `weather-1 #0`, sorted. */
    shown,
    source,
    until,
    shows: (...expected: ReadonlyArray<string>) => until(() => shown().join() === expected.join()),
    connected: until(() => source()?.state === "connected")
  }
})

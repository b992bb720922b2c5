/**
 * The registries of a configuration, held open, and changed to those of another one without touching what both have.
 *
 * @since 0.1.0
 */
import { Discovery } from "@portolan/core/Discovery"
import { Registries } from "@portolan/core/Registries"
import { type Registry, RegistryError } from "@portolan/core/Registry"
import * as StaticRegistry from "@portolan/core/StaticRegistry"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import { type Configuration, type ConfiguredRegistry, type Mistake, serversName } from "./Configuration.ts"
import { sameRegistry } from "./ConfigurationChanges.ts"

/**
 * Service that holds the configured registries open: the servers of the file itself first, then its registries in their
 * order.
 *
 * @category services
 * @since 0.1.0
 */
export class ConfiguredRegistries extends Context.Service<ConfiguredRegistries, {
  /**
   * Opens, replaces, moves and closes until the registries are those of this configuration. The answer is what could
   * not be opened: of those, the registries of the same names stay as they were.
   */
  readonly apply: (configuration: Configuration) => Effect.Effect<ReadonlyArray<Mistake>>
}>()("@portolan/gateway/configuration/ConfiguredRegistries") {}

interface Opened {
  readonly entry: ConfiguredRegistry
  readonly scope: Scope.Closeable
}

/** A registry that takes longer to open isn't waited for. */
const openTimeout = Duration.seconds(10)
/** How long new registries have to say what they know before old ones go, so that what moves is never missing. */
const firstTimeout = Duration.seconds(3)

const make = Effect.fnUntraced(function*(configuration: Configuration) {
  const registries = yield* Registries
  const discovery = yield* Discovery
  const scope = yield* Effect.scope
  const opened = new Map<string, Opened>()
  let servers: { readonly list: StaticRegistry.StaticRegistry; readonly scope: Scope.Closeable } | undefined

  const close = (closing: Scope.Closeable) =>
    // Not waited for: closing a backend may take its time.
    Effect.asVoid(Effect.forkIn(Scope.close(closing, Exit.void), scope, { startImmediately: true }))

  const applyServers = Effect.fnUntraced(function*({ servers: instances }: Configuration) {
    if (servers !== undefined && instances.length > 0) return yield* servers.list.set(instances)
    if (servers !== undefined) {
      yield* close(servers.scope)
      servers = undefined
    } else if (instances.length > 0) {
      const own = yield* Scope.fork(scope)
      const list = yield* Scope.provide(StaticRegistry.make({ name: serversName, instances }), own)
      yield* Scope.provide(registries.add(list.registry, { precedence: 0 }), own)
      servers = { list, scope: own }
    }
  })

  const open = Effect.fnUntraced(function*(entry: ConfiguredRegistry) {
    const own = yield* Scope.fork(scope)
    const registry: Registry = yield* entry.open.pipe(
      Scope.provide(own),
      Effect.timeoutOrElse({
        duration: openTimeout,
        orElse: () =>
          new RegistryError({ registry: entry.name, operation: "open", reason: "it took longer than 10 seconds" })
      }),
      Effect.onError(() => Scope.close(own, Exit.void))
    )
    return { entry, registry, scope: own }
  })

  const apply = Effect.fnUntraced(function*(wanted: Configuration) {
    const failures: Array<{ readonly error: RegistryError; readonly mistake: Mistake }> = []
    const failed = (error: RegistryError, path: ReadonlyArray<string | number>) =>
      void failures.push({ error, mistake: wanted.source.mistakeAt(path, error.message) })
    const fresh: Array<Effect.Success<ReturnType<typeof open>>> = []
    for (const entry of wanted.registries) {
      const known = opened.get(entry.name)
      if (known !== undefined && sameRegistry(known.entry, entry)) continue
      const result = yield* Effect.result(open(entry))
      if (Result.isSuccess(result)) fresh.push(result.success)
      else failed(result.failure, ["registries", entry.index])
    }
    const precedences = new Map(wanted.registries.map(({ name }, index) => [name, index + 1]))
    // From here to the removals nothing waits, so all of it is one step for whoever listens.
    yield* registries.reorder(precedences)
    const replaced: Array<Scope.Closeable> = []
    let added = false
    for (const { entry, registry, scope: own } of fresh) {
      const known = opened.get(entry.name)
      const options = { precedence: precedences.get(entry.name), replace: known !== undefined }
      const result = yield* Effect.result(Scope.provide(registries.add(registry, options), own))
      if (Result.isFailure(result)) {
        yield* close(own)
        failed(result.failure, ["registries", entry.index])
        continue
      }
      if (known === undefined) added = true
      else replaced.push(known.scope)
      opened.set(entry.name, { entry, scope: own })
    }
    for (const old of replaced) yield* close(old)
    const applied = yield* Effect.result(applyServers(wanted))
    if (Result.isFailure(applied)) failed(applied.failure, ["mcpServers"])

    const gone = Array.from(opened).filter(([name]) => !precedences.has(name))
    if (gone.length > 0 && added) yield* Effect.timeoutOption(discovery.ready, firstTimeout)
    for (const [name, { scope: old }] of gone) {
      opened.delete(name)
      yield* close(old)
    }
    return failures
  })

  for (const { error } of yield* apply(configuration)) return yield* error
  return ConfiguredRegistries.of({
    apply: (wanted) => Effect.map(apply(wanted), (failures) => failures.map(({ mistake }) => mistake))
  })
})

/**
 * Layer that opens the registries of a configuration. One that can't be opened is an error here, and none later.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  configuration: Configuration
): Layer.Layer<ConfiguredRegistries, RegistryError, Registries | Discovery> =>
  Layer.effect(ConfiguredRegistries, make(configuration))

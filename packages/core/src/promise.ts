/**
 * Announcing for programs without Effect: plain functions and promises.
 *
 * **Example** (Announcing a server)
 *
 * ```ts
 * import { consulRegistry } from "@portolan/consul/promise"
 * import { announce } from "@portolan/core/promise"
 *
 * await using announcement = await announce(consulRegistry({ url: "http://127.0.0.1:8500" }), {
 *   service: "weather",
 *   version: "1.4.0",
 *   endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }
 * })
 * ```
 *
 * **Gotchas**: `await using` needs Node 24 or a compiler; `announcement.close()` does the same everywhere.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Hash from "effect/Hash"
import * as Logger from "effect/Logger"
import * as RcRef from "effect/RcRef"
import * as Scope from "effect/Scope"
import * as Announcement from "./Announcement.ts"
import { onShutdown } from "./internal/discovery/shutdown.ts"
import { unrefClock } from "./internal/unrefClock.ts"
import * as MemoryRegistry from "./MemoryRegistry.ts"
import type { Registry, RegistryError } from "./Registry.ts"
import * as ServiceInstance from "./ServiceInstance.ts"

/**
 * A registry that is opened where it is used. The functions `fileRegistry`, `consulRegistry`, `etcdRegistry` and
 * `memoryRegistry` make one; `open` is the one place where Effect shows.
 *
 * @category models
 * @since 0.1.0
 */
export interface RegistryOption {
  /** Unique among the registries of a process. */
  readonly name: string
  /** Opens the registry until the scope closes. */
  readonly open: Effect.Effect<Registry, RegistryError, Scope.Scope>
}

type Fields = typeof ServiceInstance.ServiceInstance.Encoded

/**
 * An instance as a server author writes it: `service` and `endpoint`, and whatever differs from its default.
 *
 * @category models
 * @since 0.1.0
 */
export type InstanceInput =
  & { readonly [Key in keyof Fields as string extends Key ? never : Key extends "id" ? never : Key]: Fields[Key] }
  & {
    /** Default: the service and a hash of the endpoint, so that a server that is started again replaces itself. */
    readonly id?: string | undefined
    readonly [field: string]: unknown
  }

/**
 * Settings, with their defaults. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnnounceOptions extends Announcement.AnnouncementOptions {
  /**
   * Whether the record is removed when the process gets SIGTERM or SIGINT, or has nothing more to do. Default true. A
   * handler of the program's own goes on as before; where there is none, the process then ends as it would have.
   */
  readonly untilExit?: boolean | undefined
}

/**
 * An announced instance. Heartbeats don't keep the process alive.
 *
 * @category models
 * @since 0.1.0
 */
export interface Announced extends AsyncDisposable {
  /** What is, or should be, announced now. */
  readonly instance: () => ServiceInstance.ServiceInstance
  /** Whether the registry has it as it is now, and what went wrong last, while it does. */
  readonly state: () => { readonly announced: boolean; readonly lastError: string | undefined }
  /** Announces it with these fields changed; its id stays. Throws a `TypeError` where a field is wrong. */
  readonly update: (fields: Partial<InstanceInput>) => void
  /** Says `draining` for a moment, then removes the record. The second call waits for the first. */
  readonly close: () => Promise<void>
}

/**
 * Announces an instance until it is closed or the process ends, and again whenever the registry lost it.
 *
 * **Details**: answers when the first attempt to write the record was made; one that failed goes on in the background,
 * see `state`. Rejects where the registry can't be written at all or a field is wrong.
 *
 * @category constructors
 * @since 0.1.0
 */
export const announce = async (
  registry: RegistryOption,
  instance: InstanceInput,
  options: AnnounceOptions = {}
): Promise<Announced> => {
  const scope = Scope.makeUnsafe()
  const announcement = await Effect.runPromiseWith(context)(
    Effect.flatMap(registry.open, (opened) => Announcement.announce(opened, withId(instance), options)).pipe(
      Scope.provide(scope),
      Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause)))
    )
  )
  let closed: Promise<void> | undefined
  const close = () => {
    closed ??= Effect.runPromiseWith(context)(Scope.close(scope, Exit.void)).finally(forget)
    return closed
  }
  const forget = options.untilExit === false ? () => {} : onShutdown(close)
  return {
    instance: announcement.instance,
    state: announcement.state,
    update: (fields) => {
      const changed = ServiceInstance.make({ ...announcement.instance(), ...fields, id: announcement.instance().id })
      Effect.runSyncWith(context)(announcement.update(() => changed))
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

/**
 * A registry in the memory of this process. Whoever opens it sees the same records, which are gone when nobody has it
 * open any more.
 *
 * @category constructors
 * @since 0.1.0
 */
export const memoryRegistry = (
  options: Omit<MemoryRegistry.MemoryRegistryOptions, "instances"> & {
    /** Instances that are there from the start. Default none. */
    readonly instances?: ReadonlyArray<InstanceInput> | undefined
  } = {}
): RegistryOption => {
  const instances = options.instances?.map(withId)
  const shared = Effect.runSyncWith(context)(
    Scope.provide(RcRef.make({ acquire: MemoryRegistry.make({ ...options, instances }) }), Scope.makeUnsafe())
  )
  return { name: options.name ?? "memory", open: RcRef.get(shared) }
}

const withId = (input: InstanceInput): ServiceInstance.ServiceInstance => {
  if (input.id !== undefined) return ServiceInstance.make({ ...input, id: input.id })
  const instance = ServiceInstance.make({ ...input, id: input.service })
  const hash = Hash.string(ServiceInstance.endpointKey(instance)) >>> 0
  return { ...instance, id: `${instance.service}-${hash.toString(36)}` }
}

// Standard output is the program's own, and over stdio it is the protocol's.
const context = Context.mergeAll(
  Context.make(Clock.Clock, unrefClock),
  Context.make(Logger.CurrentLoggers, new Set([Logger.withConsoleError(Logger.formatLogFmt)]))
)

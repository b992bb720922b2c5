/**
 * Tools, resources and prompts with handlers given in code, announced like every other server.
 *
 * **Mental model**: a server in this process is a registry of one instance whose endpoint is `in-process`. Discovery,
 * health, balancing and the relay treat it like any other; only its handlers are never written down.
 *
 * **Details**
 * - A tool answers with a text, with content blocks (an array in which each element has a `type`), with a structured value
 *   (any other object or array), with nothing, or with `result` for full control.
 * - A failure of a handler is a result with `isError` and the error's message. A defect is logged, and the caller reads
 *   one line that tells nothing of it.
 * - Handlers that are taken away let the calls under way finish, for at most `drainTimeout`.
 *
 * **Example** (A tool beside a fleet)
 *
 * ```ts
 * const House = InProcess.tools({
 *   service: "house",
 *   tools: [{ name: "motd", handler: () => Effect.succeed("hello") }]
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as HandlerHost from "./inprocess/HandlerHost.ts"
import { type Offering, RegistrationError, type Services, type Tool } from "./inprocess/Handlers.ts"
import * as Registration from "./inprocess/Registration.ts"
import * as InProcessConnection from "./upstream/transports/InProcessConnection.ts"

export {
  type CallContext,
  InvalidArguments,
  type Offering,
  type Prompt,
  type ReadContext,
  RegistrationError,
  type Resource,
  result,
  type Services,
  type Tool,
  tool
} from "./inprocess/Handlers.ts"

type Encoded = typeof ServiceInstance.ServiceInstance.Encoded

/**
 * How a server is announced, with its defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerOptions extends
  Partial<
    Pick<
      Encoded,
      | "version"
      | "capabilities"
      | "tags"
      | "region"
      | "zone"
      | "weight"
      | "priority"
      | "limits"
      | "cost"
      | "tenants"
      | "metadata"
    >
  >
{
  readonly service: string
  /** Default: the service, with a number where that is taken. */
  readonly id?: string | undefined
  /** Name of the registry. Default `in-process:<id>`. */
  readonly name?: string | undefined
  readonly precedence?: number | undefined
  /** What the server says of itself to models. */
  readonly instructions?: string | undefined
  /** Longest that calls under way may take once their handler is taken away. Default 10 s. */
  readonly drainTimeout?: Duration.Input | undefined
}

/**
 * A server in this process.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  readonly instance: ServiceInstance.ServiceInstance
  /** Name of its registry. */
  readonly source: string
  /** Offers all of it, in one step, until the scope closes. A name that is taken is an error, and nothing is offered. */
  readonly register: <const O extends Offering<unknown>>(
    offering: O
  ) => Effect.Effect<void, RegistrationError, Services<O> | Scope.Scope>
  /** Takes away what has these names, in one step; what isn't there is passed over. Answers how many there were. */
  readonly unregister: (names: {
    readonly tools?: ReadonlyArray<string> | undefined
    /** URIs and URI templates. */
    readonly resources?: ReadonlyArray<string> | undefined
    readonly prompts?: ReadonlyArray<string> | undefined
  }) => Effect.Effect<number>
}

/**
 * Makes a server in this process and announces it until the scope closes. What it offers at first is there at once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const O extends Offering<unknown>>(
  options: ServerOptions & O
): Effect.Effect<
  Server,
  RegistrationError | Registry.RegistryError,
  Registries.Registries | Scope.Scope | Services<O>
> =>
  Effect.gen(function*() {
    const registries = yield* Registries.Registries
    const drain = Duration.toMillis(Duration.fromInputUnsafe(options.drainTimeout ?? "10 seconds"))
    const id = yield* Effect.fromResult(idOf(InProcessConnection.ids(registries), options))
    const instance = instanceOf(options, id)
    const source = options.name ?? `in-process:${id}`
    const host = HandlerHost.make({
      id,
      serverInfo: { name: options.service, version: options.version ?? "0.0.0" },
      instructions: options.instructions,
      fork: Effect.runForkWith(yield* Effect.context<never>())
    })
    yield* Effect.addFinalizer(() => Effect.sync(host.close))
    const register = Registration.make(options.service, host, drain)
    yield* register<O>(options)

    const snapshot = Registry.snapshot([instance])
    const registry = Registry.make({
      name: source,
      type: "in-process",
      list: Effect.succeed(snapshot),
      watch: Stream.concat(Stream.succeed(snapshot), Stream.never),
      trust: "full",
      authoritative: true,
      // Nothing lies between it and its watchers that could be lost.
      idleTimeout: Option.some(Duration.infinity)
    })
    InProcessConnection.serve(registry, host)
    yield* registries.add(registry, { precedence: options.precedence })
    // Runs first: requests go elsewhere from here, then the registry is taken away, then calls under way may end.
    yield* Effect.addFinalizer(() => Effect.sync(() => host.refuse("this server is closing")))
    return {
      instance,
      source,
      register,
      unregister: ({ prompts = [], resources = [], tools = [] }) =>
        Effect.sync(() => {
          const gone = [
            ...tools.filter((name) => host.remove("tools", name)).map(() => "tools" as const),
            ...resources.filter((uri) => host.remove("resources", uri)).map(() => "resources" as const),
            ...resources.filter((uri) => host.remove("resourceTemplates", uri)).map(() => "resourceTemplates" as const),
            ...prompts.filter((name) => host.remove("prompts", name)).map(() => "prompts" as const)
          ]
          host.changed(gone)
          return gone.length
        })
    }
  })

/** The id of a server: two with one id would count as one instance. */
const idOf = (taken: ReadonlySet<string>, { id, service }: ServerOptions): Result.Result<string, RegistrationError> => {
  if (id !== undefined) {
    return taken.has(id)
      ? Result.fail(new RegistrationError({ service, item: id, reason: "another server of this process has this id" }))
      : Result.succeed(id)
  }
  for (let number = 1;; number++) {
    const next = number === 1 ? service : `${service}-${number}`
    if (!taken.has(next)) return Result.succeed(next)
  }
}

const instanceOf = (options: ServerOptions, id: string): ServiceInstance.ServiceInstance => {
  const { capabilities, cost, limits, metadata, priority, region, service, tags, tenants, version, weight, zone } =
    options
  const given = { version, capabilities, tags, region, zone, weight, priority, limits, cost, tenants, metadata }
  return ServiceInstance.make({
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    id,
    service,
    endpoint: { transport: "in-process" }
  })
}

/**
 * Layer that announces a server in this process with what it offers. Usable several times, for one service too.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <const O extends Offering<unknown>>(
  options: ServerOptions & O
): Layer.Layer<
  never,
  RegistrationError | Registry.RegistryError,
  Registries.Registries | Exclude<Services<O>, Scope.Scope>
> => Layer.effectDiscard(make<O>(options))

/**
 * Layer that announces a server in this process with tools.
 *
 * @category layers
 * @since 0.1.0
 */
export const tools = <const T extends ReadonlyArray<Tool<unknown>>>(
  options: ServerOptions & { readonly tools: T }
): Layer.Layer<
  never,
  RegistrationError | Registry.RegistryError,
  Registries.Registries | Exclude<Services<{ readonly tools: T }>, Scope.Scope>
> => layer<{ readonly tools: T }>(options)

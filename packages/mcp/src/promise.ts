/**
 * The smart client for programs without Effect: plain functions, promises and async iteration.
 *
 * **Example** (Calling a tool)
 *
 * ```ts
 * import { fileRegistry } from "@portolan/file/promise"
 * import { connect } from "@portolan/mcp/promise"
 *
 * await using fleet = await connect({ registries: [fileRegistry({ path: "./services.json" })] })
 * const forecast = await fleet.callTool("get_forecast", { city: "Lisbon" })
 * console.log(forecast.value, forecast.routing.instance)
 * ```
 *
 * **Gotchas**: `await using` needs Node 24 or a compiler; `fleet.close()` does the same everywhere. What fails rejects with
 * an `Error` that has a `_tag` (`NoTool`, `ToolFailed`, …) and one clear line as its message.
 *
 * @since 0.1.0
 */
import type { BalancerOptions } from "@portolan/core/Balancer"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery, type DiscoveryOptions } from "@portolan/core/Discovery"
import type { Explanation } from "@portolan/core/Explanation"
import type { HealthOptions } from "@portolan/core/Health"
import * as Portolan from "@portolan/core/Portolan"
import type { RegistryOption } from "@portolan/core/promise"
import type { Query } from "@portolan/core/Query"
import { Registries } from "@portolan/core/Registries"
import { Router, type RouterOptions } from "@portolan/core/Router"
import type { ReportOptions, RoutingReport } from "@portolan/core/RoutingReport"
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import * as ToolCatalog from "./catalog/ToolCatalog.ts"
import * as Changes from "./client/Changes.ts"
import * as InProcess from "./InProcess.ts"
import { messageOf } from "./inprocess/Results.ts"
import type { Fields } from "./JsonRpc.ts"
import type { LogLevel } from "./relay/LogLevel.ts"
import * as ToolClient from "./ToolClient.ts"
import * as McpHealthCheck from "./upstream/McpHealthCheck.ts"
import * as Upstreams from "./upstream/Upstreams.ts"

export type { Explanation } from "@portolan/core/Explanation"
export type { RegistryOption } from "@portolan/core/promise"
export type { RoutingReport } from "@portolan/core/RoutingReport"
export type { Answer, CallResult, InstanceChange, ListedTool } from "./ToolClient.ts"

/**
 * Settings, with their defaults. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConnectOptions {
  /** Where instances are announced; earlier ones win. */
  readonly registries?: ReadonlyArray<RegistryOption> | undefined
  readonly balancing?: BalancerOptions | undefined
  readonly health?: HealthOptions | undefined
  readonly routing?: RouterOptions | undefined
  readonly discovery?: DiscoveryOptions | undefined
  readonly catalog?: ToolCatalog.ToolCatalogOptions | undefined
}

/**
 * What a call goes to, and how.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions extends ToolClient.CallOptions {
  /** Aborting cancels the call at its server, and rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined
}

/**
 * The call that a handler answers.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandlerContext {
  /** Aborted when the caller gives the call up. */
  readonly signal: AbortSignal
  /** Tells the caller how far it is. Each time more than the time before. */
  readonly progress: (progress: number, of?: { readonly total?: number; readonly message?: string }) => void
  /** Sends the caller a log message, where it asked for messages of this level. */
  readonly log: (level: LogLevel, data: unknown, logger?: string) => void
  /** What the caller wrote into `_meta`, without what belongs to the protocol. */
  readonly meta: Fields
}

/**
 * A tool with a handler in this process. What the handler throws is the tool's answer, with `isError`.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolInput extends Omit<InProcess.Tool, "handler" | "checksArguments"> {
  /** The service that offers it. Default `local`. */
  readonly service?: string | undefined
  readonly handler: (args: Fields, context: HandlerContext) => unknown
}

/**
 * A registered tool.
 *
 * @category models
 * @since 0.1.0
 */
export interface Registration extends AsyncDisposable {
  /** Takes the tool away; calls under way may finish. The second call waits for the first. */
  readonly unregister: () => Promise<void>
}

/**
 * The servers of some registries, as one.
 *
 * @category models
 * @since 0.1.0
 */
export interface Fleet extends AsyncDisposable {
  /** Calls a tool by its public name, or by the name that servers give it. Rejects where the tool says it failed. */
  readonly callTool: (name: string, args?: Fields, options?: CallOptions) => Promise<ToolClient.CallResult>
  /** Calls whichever tool stands for a capability. */
  readonly callCapability: (capability: string, args?: Fields, options?: CallOptions) => Promise<ToolClient.CallResult>
  readonly listTools: (query?: Query) => Promise<ReadonlyArray<ToolClient.ListedTool>>
  readonly readResource: (
    uri: string,
    options?: CallOptions
  ) => Promise<ToolClient.Answer & { readonly contents: ReadonlyArray<Fields> }>
  readonly getPrompt: (
    name: string,
    args?: Readonly<Record<string, string>>,
    options?: CallOptions
  ) => Promise<ToolClient.Answer & { readonly messages: ReadonlyArray<Fields> }>
  /** Where a call of this tool would go now, and why the other instances are left out. Asking changes nothing. */
  readonly explain: (name: string, options?: CallOptions) => Promise<Explanation>
  /** What became of the calls so far: by service, instance, tool and caller. */
  readonly report: (options?: ReportOptions) => Promise<RoutingReport>
  /**
   * What changes among the announced instances from this call on. A slow reader gets the difference since it last
   * read. Ends with `break`, and when the fleet is closed.
   */
  readonly changes: () => AsyncIterable<ToolClient.InstanceChange>
  /** Offers a tool of this process, until it is unregistered or the fleet is closed. */
  readonly registerTool: (tool: ToolInput) => Promise<Registration>
  /** Ends all connections. The second call waits for the first. */
  readonly close: () => Promise<void>
}

/**
 * Error that everything rejects with once the fleet is closed.
 *
 * @category errors
 * @since 0.1.0
 */
export class FleetClosed extends Error {
  readonly _tag = "FleetClosed"
  override readonly name = "FleetClosed"
  constructor() {
    super("the fleet is closed")
  }
}

/** Waits until what was registered or taken away is so for callers too: that is a matter of milliseconds. */
const until = (holds: () => boolean) =>
  Effect.sync(holds).pipe(
    Effect.repeat({ until: (there) => there, schedule: Schedule.spaced(2) }),
    Effect.timeoutOption("2 seconds"),
    Effect.asVoid
  )

/** What a handler threw. */
class HandlerFailed extends Schema.TaggedError<HandlerFailed>()("HandlerFailed", { cause: Schema.Unknown }) {
  override get message(): string {
    return messageOf(this.cause)
  }
}

/** An async function as a handler. */
const handlerOf = (handler: ToolInput["handler"]) => (args: Fields, context: InProcess.CallContext) =>
  Effect.tryPromise({
    try: async (signal) =>
      await handler(args, {
        signal,
        progress: (progress, of) => Effect.runSync(context.progress(progress, of)),
        log: (level, data, logger) => Effect.runSync(context.log(level, data, logger)),
        meta: context.meta
      }),
    catch: (cause) => cause instanceof InProcess.InvalidArguments ? cause : new HandlerFailed({ cause })
  })

/**
 * Opens registries and calls what is announced in them. Rejects where a registry can't be opened. What isn't connected yet
 * when a call comes is waited for, two seconds at most.
 *
 * @category constructors
 * @since 0.1.0
 */
export const connect = async (options: ConnectOptions = {}): Promise<Fleet> => {
  const registries = Layer.effectDiscard(Effect.gen(function*() {
    const all = yield* Registries
    for (const { open } of options.registries ?? []) yield* all.add(yield* open)
  }))
  const Live = Layer.merge(ToolClient.layerNoDeps, McpHealthCheck.layer).pipe(
    Layer.provideMerge(ToolCatalog.layer(options.catalog)),
    Layer.provideMerge(Upstreams.layer()),
    Layer.provideMerge(registries),
    Layer.provideMerge(Portolan.layer(options)),
    // Standard output is the program's own, and over stdio it is the protocol's.
    Layer.provideMerge(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
  )
  const scope = Scope.makeUnsafe()
  const context = await Effect.runPromise(
    Effect.onError(Layer.buildWithScope(Live, scope), (cause) => Scope.close(scope, Exit.failCause(cause)))
  )
  const tools = Context.get(context, ToolClient.ToolClient)
  const catalog = Context.get(context, ToolCatalog.ToolCatalog)
  const discovery = Context.get(context, Discovery)
  const router = Context.get(context, Router)
  const servers = new Map<string, InProcess.Server>()
  const oneByOne = Semaphore.makeUnsafe(1)
  const ended = new AbortController()
  let closed: Promise<void> | undefined

  const run = async <A, E>(effect: Effect.Effect<A, E, Registries>, signal?: AbortSignal): Promise<A> => {
    if (closed !== undefined) throw new FleetClosed()
    signal?.throwIfAborted()
    const signals = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal])
    const exit = await Effect.runPromiseExitWith(context)(effect, { signal: signals })
    if (Exit.isSuccess(exit)) return exit.value
    signal?.throwIfAborted()
    if (ended.signal.aborted) throw new FleetClosed()
    throw Cause.squash(exit.cause)
  }

  /** The server of a service in this process, made with its first tool. */
  const serverOf = (service: string) =>
    oneByOne.withPermits(1)(Effect.suspend(() => {
      const known = servers.get(service)
      if (known !== undefined) return Effect.succeed(known)
      return InProcess.make({ service }).pipe(
        Scope.provide(scope),
        Effect.tap((server) => Effect.sync(() => servers.set(service, server)))
      )
    }))

  const close = () => {
    closed ??= Promise.resolve().then(() => {
      ended.abort()
      return Effect.runPromiseWith(context)(Scope.close(scope, Exit.void))
    })
    return closed
  }

  return {
    callTool: (name, args, { signal, ...how } = {}) => run(tools.callTool(name, args, how), signal),
    callCapability: (name, args, { signal, ...how } = {}) => run(tools.callCapability(name, args, how), signal),
    listTools: (query) => run(tools.listTools(query)),
    readResource: (uri, { signal, ...how } = {}) => run(tools.readResource(uri, how), signal),
    getPrompt: (name, args, { signal, ...how } = {}) => run(tools.getPrompt(name, args, how), signal),
    explain: (name, { signal, ...how } = {}) => run(tools.explainTool(name, how), signal),
    report: (options) => run(Effect.sync(() => router.report(options))),
    changes: () =>
      Stream.toAsyncIterable(
        Changes.since(discovery, discovery.catalog()).pipe(Stream.interruptWhen(Effect.callback<void>((resume) => {
          const end = () => resume(Effect.void)
          if (ended.signal.aborted) return end()
          ended.signal.addEventListener("abort", end, { once: true })
          return Effect.sync(() => ended.signal.removeEventListener("abort", end))
        })))
      ),
    registerTool: async ({ handler, service = "local", ...tool }) => {
      // A part of the fleet's own, so that closing that takes the tool away too.
      const own = Effect.runSync(Scope.fork(scope))
      const { instance, source } = await run(
        serverOf(service).pipe(
          Effect.tap((server) => server.register({ tools: [{ ...tool, handler: handlerOf(handler) }] })),
          Scope.provide(own),
          Effect.onError(() => Scope.close(own, Exit.void))
        )
      )
      const key = Catalog.key(source, instance.id)
      const listed = () => catalog.named("tools", tool.name).some((offer) => offer.instances().includes(key))
      await Effect.runPromiseWith(context)(until(listed))
      let gone: Promise<void> | undefined
      const unregister = () => {
        gone ??= Effect.runPromiseWith(context)(
          Effect.andThen(Scope.close(own, Exit.void), closed === undefined ? until(() => !listed()) : Effect.void)
        )
        return gone
      }
      return { unregister, [Symbol.asyncDispose]: unregister }
    },
    close,
    [Symbol.asyncDispose]: close
  }
}

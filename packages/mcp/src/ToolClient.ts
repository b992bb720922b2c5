/**
 * Calls tools from a program: found wherever they are announced, balanced, and made again elsewhere where that is safe.
 *
 * **Mental model**: a name means a tool, not a server. A public name (`weather__get_forecast`) is exact; a tool's own name
 * (`get_forecast`) means whoever offers it, which must be one service unless the call narrows with `service`,
 * `capabilities` or `query`: then it chooses among all of them.
 *
 * **Example** (Calling a tool of whoever forecasts the weather)
 *
 * ```ts
 * const program = Effect.gen(function*() {
 *   const tools = yield* ToolClient.ToolClient
 *   const forecast = yield* tools.callTool("get_forecast", { city: "Lisbon" }, { capabilities: ["weather.forecast"] })
 *   yield* Effect.log(forecast.value, forecast.routing.instance, forecast.routing.failovers)
 * })
 * ```
 *
 * @since 0.1.0
 */
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import type { Explanation } from "@portolan/core/Explanation"
import { Health } from "@portolan/core/Health"
import * as Query from "@portolan/core/Query"
import type { Registries } from "@portolan/core/Registries"
import type { Router } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as ToolCatalog from "./catalog/ToolCatalog.ts"
import * as CallError from "./client/CallError.ts"
import * as Calling from "./client/Calling.ts"
import * as Changes from "./client/Changes.ts"
import type * as Resolution from "./client/Resolution.ts"
import { type Fields, isFields } from "./JsonRpc.ts"
import * as McpHealthCheck from "./upstream/McpHealthCheck.ts"
import * as Upstreams from "./upstream/Upstreams.ts"

export {
  AmbiguousTool,
  CallInterrupted,
  CallRefused,
  CallUnavailable,
  NoTool,
  SessionLost,
  type ToolCallError,
  ToolFailed,
  UnexpectedValue
} from "./client/CallError.ts"
export type { Answer, AnsweredBy, CallOptions, Progress } from "./client/Calling.ts"
export type { InstanceChange } from "./client/Changes.ts"

type ToolCallError = CallError.ToolCallError
type CallOptions = Calling.CallOptions
type Answer = Calling.Answer

/**
 * What a tool answered: `value` is its structured result, else its text, else its content.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallResult<out A = unknown> extends Answer {
  readonly value: A
}

/**
 * A tool that can be called.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListedTool {
  /** The public name. */
  readonly name: string
  /** The name that its servers give it. */
  readonly tool: string
  readonly service: string
  readonly description: string | undefined
  /** As the server defines it, under its public name. */
  readonly definition: Fields
  /** Ids of the instances that have it. */
  readonly instances: ReadonlyArray<string>
}

/**
 * Calls a tool by name.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallTool {
  (name: string, args?: Fields, options?: CallOptions): Effect.Effect<CallResult, ToolCallError>
  /** Decodes the value: the structured result, or the text as JSON, or the text itself. */
  <A>(
    name: string,
    args: Fields,
    options: CallOptions & { readonly schema: Schema.Codec<A, unknown> }
  ): Effect.Effect<CallResult<A>, ToolCallError>
}

/**
 * Service that calls tools.
 *
 * **Details**: a call is made again on another instance where that is safe: it certainly had not run, or the tool says that
 * it is read-only or idempotent. Where servers are still connecting, a name that nobody has yet is waited for, ten seconds
 * at most; a choice among several waits two. Interruption cancels the call at its server.
 *
 * @category services
 * @since 0.1.0
 */
export class ToolClient extends Context.Service<ToolClient, {
  readonly callTool: CallTool
  /**
   * Calls whichever tool stands for a capability, among all instances that have it: one that an alias of the catalog names,
   * one of the capability's own name, or the only tool of an instance that announces it.
   */
  readonly callCapability: CallTool
  readonly readResource: (
    uri: string,
    options?: CallOptions
  ) => Effect.Effect<Answer & { readonly contents: ReadonlyArray<Fields> }, ToolCallError>
  readonly getPrompt: (
    name: string,
    args?: Readonly<Record<string, string>>,
    options?: CallOptions
  ) => Effect.Effect<Answer & { readonly messages: ReadonlyArray<Fields> }, ToolCallError>
  /**
   * Where a call of this tool would go now, and why the other instances are left out: a rehearsal that changes nothing, as
   * `Router.explain`.
   */
  readonly explainTool: (
    name: string,
    options?: CallOptions
  ) => Effect.Effect<Explanation, CallError.NoTool | CallError.AmbiguousTool>
  /** The tools there are, by public name; with a query those that an instance has which meets it. */
  readonly listTools: (query?: Query.Query) => Effect.Effect<ReadonlyArray<ListedTool>, Query.QueryError>
  /** What changes among the announced instances from now on. A slow reader gets the difference since it last read. */
  readonly changes: Stream.Stream<Changes.InstanceChange>
}>()("@portolan/mcp/ToolClient") {}

const list = (value: unknown): ReadonlyArray<Fields> => Array.isArray(value) ? value.filter(isFields) : []

const textsOf = ({ content }: Fields): ReadonlyArray<string> =>
  list(content).flatMap(({ text, type }) => type === "text" && typeof text === "string" ? [text] : [])

const valueOf = (result: Fields): unknown => {
  const { content, structuredContent } = result
  if (structuredContent !== undefined) return structuredContent
  const texts = textsOf(result)
  return texts.length === list(content).length ? texts.join("\n") : content
}

/** What a text says as JSON, if it is that. */
const jsonOf = (value: unknown): Option.Option<unknown> =>
  typeof value !== "string" ? Option.none() : Result.getSuccess(Result.try((): unknown => JSON.parse(value)))

const make = Effect.gen(function*() {
  const discovery = yield* Discovery
  const health = yield* Health
  const catalog = yield* ToolCatalog.ToolCatalog
  const { call, explain } = yield* Calling.make

  const decoded = <A>(name: string, answer: Answer, value: unknown, schema: Schema.Codec<A, unknown>) => {
    const decode = Schema.decodeUnknownEffect(Schema.toCodecJson(schema), { errors: "all" })
    const first = decode(value)
    const json = answer.result["structuredContent"] === undefined ? jsonOf(value) : Option.none()
    return (Option.isNone(json)
      ? first
      : Effect.catch(first, (error) => Effect.mapError(decode(json.value), () => error)))
      .pipe(
        Effect.mapError((error) =>
          new CallError.UnexpectedValue({
            requested: name,
            value,
            reason: ServiceInstance.explain(error.issue),
            instance: answer.routing.instance
          })
        ),
        Effect.map((value): CallResult<A> => ({ ...answer, value }))
      )
  }

  const calling = (wantedOf: (name: string, options: CallOptions) => Resolution.Wanted) => {
    function callTool(name: string, args?: Fields, options?: CallOptions): Effect.Effect<CallResult, ToolCallError>
    function callTool<A>(
      name: string,
      args: Fields,
      options: CallOptions & { readonly schema: Schema.Codec<A, unknown> }
    ): Effect.Effect<CallResult<A>, ToolCallError>
    function callTool(
      name: string,
      args: Fields = {},
      options: CallOptions & { readonly schema?: Schema.Codec<unknown, unknown> | undefined } = {}
    ): Effect.Effect<CallResult, ToolCallError> {
      return Effect.flatMap(
        call(wantedOf(name, options), { arguments: args }, options),
        (answer): Effect.Effect<CallResult, ToolCallError> => {
          if (answer.result["isError"] === true) {
            return Effect.fail(
              CallError.ofResult(name, answer.result, textsOf(answer.result).join("\n"), answer.routing)
            )
          }
          const value = valueOf(answer.result)
          return options.schema === undefined
            ? Effect.succeed({ ...answer, value })
            : decoded(name, answer, value, options.schema)
        }
      )
    }
    return callTool
  }

  return ToolClient.of({
    callTool: calling((name, options) => ({ kind: "tools", name, ...narrowing(options) })),
    callCapability: calling((capability, options) => ({
      kind: "tools",
      name: undefined,
      ...narrowing(options),
      capabilities: [capability, ...(options.capabilities ?? [])]
    })),
    readResource: (uri, options = {}) =>
      Effect.map(call({ kind: "resources", name: uri, ...narrowing(options) }, { uri }, options), (answer) => ({
        ...answer,
        contents: list(answer.result["contents"])
      })),
    getPrompt: (name, args = {}, options = {}) =>
      Effect.map(call({ kind: "prompts", name, ...narrowing(options) }, { arguments: args }, options), (answer) => ({
        ...answer,
        messages: list(answer.result["messages"])
      })),
    explainTool: (name, options = {}) => explain({ kind: "tools", name, ...narrowing(options) }, options),
    listTools: (query) =>
      Effect.gen(function*() {
        const meets = yield* Effect.fromResult(Query.compile(query ?? {}))
        yield* catalog.settled
        // What is out of date is read for whoever comes next.
        yield* catalog.freshness("tools")
        const now = discovery.catalog()
        return catalog.list("tools").flatMap((offer): ReadonlyArray<ListedTool> => {
          const entries = offer.instances().flatMap((key) => {
            const entry = Option.getOrUndefined(HashMap.get(now.entries, key))
            if (entry === undefined) return []
            const { score, status } = health.get(key)
            const stale = Option.isSome(Catalog.staleSince(now, entry))
            return meets({ entry, health: status, score, stale }) ? [entry] : []
          })
          if (entries.length === 0) return []
          const { definition, name, publicName, service } = offer
          const description = definition["description"]
          return [{
            name: publicName,
            tool: name,
            service,
            description: typeof description === "string" ? description : undefined,
            definition,
            instances: entries.map(({ instance }) => instance.id)
          }]
        })
      }),
    changes: Stream.suspend(() => Changes.since(discovery, discovery.catalog()))
  })
})

const narrowing = ({ capabilities, query, service }: CallOptions) => ({ capabilities, query, service })

/**
 * Layer that calls tools through connections that are there: inside a gateway, which provides them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerNoDeps: Layer.Layer<
  ToolClient,
  never,
  Discovery | Health | Router | ToolCatalog.ToolCatalog | Upstreams.Upstreams
> = Layer.effect(ToolClient, make)

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolClientOptions {
  readonly catalog?: ToolCatalog.ToolCatalogOptions | undefined
  readonly upstreams?: Upstreams.UpstreamsOptions | undefined
}

/**
 * Layer that calls tools, with connections, catalog and health checks of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (
  options: ToolClientOptions
): Layer.Layer<ToolClient, never, Discovery | Health | Registries | Router> =>
  Layer.merge(layerNoDeps, McpHealthCheck.layer).pipe(
    Layer.provide(ToolCatalog.layer(options.catalog)),
    Layer.provide(Upstreams.layer(options.upstreams))
  )

/**
 * Layer that calls tools, with connections, catalog and health checks of its own, all as they are by default: needs
 * nothing but core and the registries.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<ToolClient, never, Discovery | Health | Registries | Router> = layerWith({})

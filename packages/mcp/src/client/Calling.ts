/**
 * Makes the calls of programs: resolved, routed, and carried to the server that has what is asked for.
 *
 * @since 0.1.0
 */
import type { StrategyName } from "@portolan/core/Balancer"
import { Discovery } from "@portolan/core/Discovery"
import type { Explanation } from "@portolan/core/Explanation"
import type { Query } from "@portolan/core/Query"
import {
  type Attempt,
  type AttemptFailure,
  type Caller,
  Router,
  type RouteRequest,
  type Routing
} from "@portolan/core/Router"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { ToolCatalog } from "../catalog/ToolCatalog.ts"
import { Code, type Fields, type JsonRpcNotification } from "../JsonRpc.ts"
import * as Failures from "../relay/calls/Failures.ts"
import * as ParamHeaders from "../relay/calls/ParamHeaders.ts"
import { UpstreamError } from "../upstream/Upstream.ts"
import { Upstreams } from "../upstream/Upstreams.ts"
import * as CallError from "./CallError.ts"
import * as Resolution from "./Resolution.ts"

/** Longest wait for a name that nobody has while servers still connect: as long as a connection may take, ms. */
const AppearTimeout = 10_000
const AppearInterval = 50

/**
 * How far a call is, as its server tells.
 *
 * @category models
 * @since 0.1.0
 */
export interface Progress {
  readonly progress: number
  readonly total?: number | undefined
  readonly message?: string | undefined
}

/**
 * What a call goes to, and how; what isn't given is the router's to say.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallOptions {
  /** Only instances of this service (or group). */
  readonly service?: string | undefined
  /** Only instances that have all of these capabilities, `*` allowed; of whatever service. */
  readonly capabilities?: ReadonlyArray<string> | undefined
  /** Only instances that meet it; of whatever service. */
  readonly query?: Query | undefined
  readonly caller?: Caller | undefined
  /** Whole time of the call with all its attempts. */
  readonly timeout?: Duration.Input | undefined
  /** The most that progress may extend that to. */
  readonly maxTimeout?: Duration.Input | undefined
  /** Attempts at most. */
  readonly attempts?: number | undefined
  readonly strategy?: StrategyName | undefined
  /** Hears of progress, which also extends the time. Plain; what it throws ends the call as a defect. */
  readonly onProgress?: ((progress: Progress) => void) | undefined
  /** Sent along as `_meta`. */
  readonly meta?: Fields | undefined
}

/**
 * The instance that answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface AnsweredBy {
  readonly service: string
  readonly instance: string
  readonly version: string
  readonly source: string
}

/**
 * What a server answered, as it came, and how it was come by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Answer {
  readonly result: Fields
  readonly routing: Routing
  readonly server: AnsweredBy
}

/**
 * Calls what is wanted, with the parameters that its method takes beside the name.
 *
 * @category models
 * @since 0.1.0
 */
export type Call = (
  wanted: Resolution.Wanted,
  params: Fields,
  options: CallOptions
) => Effect.Effect<Answer, CallError.ToolCallError>

/**
 * Says where such a call would go now, and why.
 *
 * @category models
 * @since 0.1.0
 */
export type Explain = (
  wanted: Resolution.Wanted,
  options: CallOptions
) => Effect.Effect<Explanation, CallError.NoTool | CallError.AmbiguousTool>

const methods = { tools: "tools/call", prompts: "prompts/get", resources: "resources/read" } as const

const milliseconds = (input: Duration.Input | undefined): number | undefined =>
  input === undefined ? undefined : Duration.toMillis(Duration.fromInputUnsafe(input))

/** A call as the router sees it. */
const requestOf = (
  { name, readOnly, repeatable, target }: Resolution.Plan,
  options: CallOptions
): RouteRequest => ({
  target,
  name,
  repeatable,
  readOnly,
  caller: options.caller,
  timeout: milliseconds(options.timeout),
  maxTimeout: milliseconds(options.maxTimeout),
  attempts: options.attempts,
  strategy: options.strategy
})

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  { readonly call: Call; readonly explain: Explain },
  never,
  Discovery | Router | ToolCatalog | Upstreams
> = Effect.gen(function*() {
  const router = yield* Router
  const upstreams = yield* Upstreams
  const catalog = yield* ToolCatalog
  const resolve = Resolution.make(catalog, yield* Discovery)

  const isConnecting = () =>
    upstreams.all().some((upstream) => {
      const { _tag } = upstream.state()
      return _tag === "idle" || _tag === "connecting"
    })

  let settledOnce = false
  const settled = Effect.map(catalog.settled, () => {
    settledOnce = true
  })
  const planOf = (wanted: Resolution.Wanted, timeout: number | undefined) => {
    const resolved = Effect.suspend(() => Effect.fromResult(resolve(wanted)))
    const waited = timeout === undefined ? settled : Effect.timeoutOption(settled, timeout)
    // What a server that is still starting has is worth a longer wait than what others have too.
    const later = Effect.andThen(waited, resolved).pipe(
      Effect.retry({
        schedule: Schedule.upTo(Schedule.spaced(AppearInterval), { duration: timeout ?? AppearTimeout }),
        while: ({ _tag }) => _tag === "NoTool" && isConnecting()
      })
    )
    const { capabilities, name, query, service } = wanted
    const exact = name !== undefined && capabilities === undefined && service === undefined && query === undefined &&
      catalog.find(wanted.kind, name) !== undefined
    // Who else has it is known once all have been asked.
    return exact || settledOnce ? Effect.catchTag(resolved, "NoTool", () => later) : later
  }

  const call: Call = (wanted, given, options) =>
    Effect.gen(function*() {
      const plan = yield* planOf(wanted, milliseconds(options.timeout))
      const { name, offerOf, repeatable } = plan
      const method = methods[wanted.kind]
      // As the wire would carry it.
      const params = yield* Effect.try({
        try: (): Fields => JSON.parse(JSON.stringify({ ...given, _meta: options.meta })),
        catch: (cause) =>
          new CallError.CallRefused({
            requested: name,
            code: Code.invalidParams,
            reason: `the arguments can't be written as JSON: ${cause instanceof Error ? cause.message : String(cause)}`
          })
      })
      let heard = 0
      let highest = -Infinity
      let thrown: { readonly error: unknown } | undefined

      const attempt = (
        instance: ServiceInstance,
        current: Attempt
      ): Effect.Effect<{ readonly result: Fields; readonly version: string }, AttemptFailure<Failures.Failure>> => {
        const upstream = upstreams.get(current.key)
        const offer = offerOf(current.key)
        if (upstream === undefined || offer === undefined) {
          return Effect.fail(Failures.unanswered(
            new UpstreamError({ instance: instance.id, phase: "notSent", reason: "no longer announced" })
          ))
        }
        const onNotification = ({ method, params = {} }: JsonRpcNotification): void => {
          const { message, progress, total } = params
          if (heard !== current.number || method !== "notifications/progress" || thrown !== undefined) return
          current.extend()
          // It must grow, also across attempts.
          if (typeof progress !== "number" || progress <= highest) return
          highest = progress
          try {
            options.onProgress?.({
              progress,
              ...(typeof total === "number" ? { total } : undefined),
              ...(typeof message === "string" ? { message } : undefined)
            })
          } catch (error) {
            thrown = { error }
          }
        }
        heard = current.number
        return upstream.request({
          method,
          params: wanted.kind === "resources" ? params : { ...params, name: offer.name },
          headers: wanted.kind === "tools" ? ParamHeaders.make(offer.definition, params["arguments"]) : undefined,
          progress: options.onProgress !== undefined,
          onNotification,
          onSent: current.sent
        }).pipe(
          Effect.matchEffect({
            onFailure: (error) => Effect.fail(Failures.unanswered(error)),
            onSuccess: (reply) =>
              "error" in reply
                ? Effect.fail(Failures.answered(reply.error))
                : Effect.succeed({ result: reply.result, version: instance.version })
          })
        )
      }

      const { routing, value } = yield* router.route(requestOf(plan, options), attempt).pipe(
        Effect.mapError((error) =>
          error._tag === "NoInstance" && error.kind === "unknown" && wanted.query !== undefined
            ? new CallError.NoTool({ requested: name, reason: "no instance that offers it meets the query" })
            : CallError.ofRoute(error, { name, repeatable })
        ),
        Effect.ensuring(Effect.sync(() => void (heard = 0)))
      )
      if (thrown !== undefined) return yield* Effect.die(thrown.error)
      const { result, version } = value
      const type = result["resultType"]
      if (type !== undefined && type !== "complete") {
        const reason = `${routing.instance} answered with a result of type ${
          String(type)
        }, which nobody here can go on with`
        return yield* new CallError.CallRefused({ requested: name, code: Code.internalError, reason })
      }
      const { instance, service, source } = routing
      return { result, routing, server: { service, instance, version, source } }
    })

  return {
    call,
    explain: (wanted, options) =>
      Effect.map(
        planOf(wanted, milliseconds(options.timeout)),
        (plan) => router.explain(requestOf(plan, options))
      )
  }
})

/**
 * One routed request of a call: to a server that has what it names, and elsewhere where that fails and may be tried again.
 *
 * @since 0.2.0
 */
import { type InstanceKey, sourceOf } from "@portolan/core/Catalog"
import {
  type Attempt,
  type AttemptFailure,
  type Routed,
  type RouteError,
  type Router,
  type Routing,
  SessionLost
} from "@portolan/core/Router"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type { Offer } from "../../catalog/ToolCatalog.ts"
import type { Fields, JsonRpcNotification, Reply } from "../../JsonRpc.ts"
import * as TraceContext from "../../telemetry/TraceContext.ts"
import {
  type Caller,
  type ServerRequest,
  type Upstream,
  UpstreamError,
  type UpstreamRequest
} from "../../upstream/Upstream.ts"
import type { Upstreams } from "../../upstream/Upstreams.ts"
import type { Logging } from "../Logging.ts"
import * as Meta from "../Meta.ts"
import * as Bindings from "../sessions/Bindings.ts"
import { BoundRequest } from "../sessions/BoundRequest.ts"
import type { Exchange } from "./Exchange.ts"
import * as Failures from "./Failures.ts"
import * as Hearing from "./Hearing.ts"

/**
 * A request of a client, and where it goes.
 *
 * @category models
 * @since 0.2.0
 */
export interface Call {
  readonly method: string
  readonly offer: Offer
  /** As that server takes them. */
  readonly params: Fields
  /** As the client sent it. */
  readonly meta: Fields | undefined
  readonly exchange: Exchange
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** What a server of the stateless era is told that the client can do, in place of what the client declared. */
  readonly capabilities?: Fields | undefined
  /** Whom a server of the handshake era runs it for, in place of the client's own caller. */
  readonly caller?: Caller | undefined
  /**
   * Makes the reply of a result where the call may have become a task; `ordinary` makes that of any other call. Without it a
   * call whose server answers with a task fails. Plain.
   */
  readonly answer?: ((result: Fields, routing: Routing, ordinary: (result: Fields) => Reply) => Reply) | undefined
  /** Goes on with what a server replied, where that is not the end of the request. Plain; must not throw. */
  readonly goOn?:
    | ((reply: Reply, request: UpstreamRequest, at: Underway) => Effect.Effect<Reply, UpstreamError> | undefined)
    | undefined
  /** Gets what a server replied; gives what takes the progress that it tells of from then on. Plain; must not throw. */
  readonly late?:
    | ((at: Upstream, reply: Reply) => ((notification: JsonRpcNotification) => void) | undefined)
    | undefined
  /** Gets a complete result for which one round was enough, as the server gave it. Plain; must not throw. */
  readonly onResult?: ((result: Fields, routing: Routing) => void) | undefined
}

/**
 * An attempt at a call.
 *
 * @category models
 * @since 0.2.0
 */
export interface Underway {
  readonly upstream: Upstream
  readonly attempt: Attempt
  readonly hearing: Hearing.Hearing
}

/**
 * One round of a call.
 *
 * @category models
 * @since 0.2.0
 */
export interface Round {
  readonly call: Call
  /** 1 for the first. */
  readonly number: number
  readonly params: Fields
  readonly hearing: Hearing.Hearing
  /** The instance that the round before was at. */
  readonly after: InstanceKey | undefined
  /** What is done with what the server asks meanwhile. */
  readonly onRequest: ((attempt: Attempt, request: ServerRequest) => void) | undefined
}

/**
 * What takes requests to the servers.
 *
 * @category models
 * @since 0.2.0
 */
export interface RoutesOptions {
  readonly router: Router["Service"]
  readonly upstreams: Upstreams["Service"]
  readonly logging: Logging
  /** Whether somebody wants spans. */
  readonly tracing: boolean
  readonly settings: {
    /** Whole time of a request, and the most that progress may extend it to, ms. Those of the router where not given. */
    readonly timeout: number | undefined
    readonly maxTimeout: number | undefined
    /** How calls of one session stay together. Read for each request. */
    readonly sessions: Bindings.SessionMode
  }
}

const gone = (instance: string): AttemptFailure<Failures.Failure> =>
  Failures.unanswered(new UpstreamError({ instance, phase: "notSent", reason: "no longer announced" }))

/**
 * Whether it is opened within a moment. The catalog is read at once, and whoever follows it comes after: an instance that
 * moves from one registry to another is known before its upstream is.
 */
const opened = (upstreams: Upstreams["Service"], key: InstanceKey): Effect.Effect<boolean> =>
  Effect.sync(() => upstreams.get(key) !== undefined).pipe(
    Effect.repeat({ until: (is) => is, schedule: Schedule.spaced("5 millis"), times: 20 })
  )

const annotate = ({ routing }: Routed<unknown>) =>
  Effect.annotateCurrentSpan({
    "portolan.service": routing.service,
    "portolan.instance": routing.instance,
    "portolan.strategy": routing.strategy,
    "portolan.failovers": routing.failovers
  })

/**
 * Makes what sends one round of a call.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ logging, router, settings, tracing, upstreams }: RoutesOptions) =>
(
  { after, call, hearing, onRequest, params: given }: Round
): Effect.Effect<Routed<Fields>, RouteError<Failures.Failure>> => {
  const { exchange, meta, method, offer } = call
  const { client, logLevel } = exchange
  let params = given
  let { headers } = call
  // Both ways lead to the server in both ways, also where nobody here listens. With a span of ours that stands there.
  const inMessage = TraceContext.read(meta)
  const inHeaders = exchange.hop?.trace
  const trace = TraceContext.orElse(inMessage, inHeaders)
  if (trace !== undefined) {
    params = { ...given, _meta: TraceContext.write(trace, Meta.of(given)) }
    headers = TraceContext.write(TraceContext.orElse(inHeaders, inMessage) ?? trace, headers)
  }
  const { progress } = hearing
  const strict = settings.sessions === "strict"
  const caller = call.caller ?? client.caller
  // What is run for another caller leaves no state in the sessions of this one.
  const bound = client.bindings === undefined || settings.sessions === "free" || caller !== client.caller
    ? undefined
    : Bindings.call(client.bindings, offer, strict, upstreams, caller)

  const attempt = (
    instance: ServiceInstance,
    current: Attempt
  ): Effect.Effect<Fields, AttemptFailure<Failures.Failure>> => {
    const upstream = upstreams.get(current.key)
    if (upstream === undefined) {
      return Effect.flatMap(
        opened(upstreams, current.key),
        (is) => is ? attempt(instance, current) : Effect.fail(gone(instance.id))
      )
    }
    const session = bound?.begin(upstream, current.number)
    const request: UpstreamRequest = {
      method,
      params,
      headers,
      progress,
      logLevel,
      session,
      caller,
      capabilities: call.capabilities,
      onNotification: (notification) => Hearing.tell(hearing, current, upstream.key, logging, notification),
      onRequest: onRequest === undefined ? undefined : (request) => onRequest(current, request),
      onLate: call.late === undefined ? undefined : (reply) => call.late?.(upstream, reply),
      onSent: current.sent
    }
    const replied = upstream.request(request)
    const sent = (call.goOn === undefined ? replied : Effect.flatMap(
      replied,
      (reply) => call.goOn?.(reply, request, { upstream, attempt: current, hearing }) ?? Effect.succeed(reply)
    )).pipe(
      Effect.matchEffect({
        onFailure: (error) => {
          if (session === undefined || error.sessionLost !== true) return Effect.fail(Failures.unanswered(error))
          bound?.lose(error.reason)
          return Effect.fail(Failures.lost(error))
        },
        onSuccess: (reply) => {
          bound?.answered(upstream)
          if ("result" in reply) return Effect.succeed(reply.result)
          return Effect.fail(Failures.answered(reply.error, { source: sourceOf(current.key), instance: instance.id }))
        }
      })
    )
    const prepared = logLevel === undefined ? undefined : logging.prepare(upstream, logLevel)
    return prepared === undefined ? sent : Effect.andThen(prepared, sent)
  }

  return Effect.suspend(() => {
    const lost = bound?.lost()
    if (lost !== undefined) return Effect.fail(new SessionLost({ requested: offer.publicName, ...lost }))
    const beside = after === undefined ? undefined : { instance: after, strict: false }
    const request = {
      target: offer.target,
      name: offer.publicName,
      caller: { principal: client.principal },
      affinity: beside,
      hashKey: client.principal ?? client.affinity,
      repeatable: offer.repeatable,
      readOnly: offer.readOnly,
      timeout: settings.timeout,
      maxTimeout: settings.maxTimeout
    }
    const routed = router.route(
      bound === undefined ? request : new BoundRequest(request, () => bound.affinity() ?? beside),
      attempt
    )
    const told = tracing ? Effect.tap(routed, annotate) : routed
    return bound === undefined ? told : Effect.tapError(told, (error) =>
      Effect.sync(() => {
        if (error._tag === "SessionLost") bound.lose(error.reason)
      }))
  })
}

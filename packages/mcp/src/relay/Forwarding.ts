/**
 * The way of a request to a server and back: routed, its names and `_meta` rewritten by the caller of this, its
 * notifications carried while it runs.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import {
  type Attempt,
  type AttemptFailure,
  type Routed,
  Router,
  type Routing,
  SessionLost
} from "@portolan/core/Router"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Offer } from "../catalog/ToolCatalog.ts"
import type { Era } from "../Era.ts"
import { Code, type Fields, type JsonRpcNotification, type Reply } from "../JsonRpc.ts"
import * as RoutingFigures from "../telemetry/RoutingFigures.ts"
import type { Hop } from "../telemetry/Serving.ts"
import * as Spans from "../telemetry/Spans.ts"
import * as TraceContext from "../telemetry/TraceContext.ts"
import { type Caller, UpstreamError } from "../upstream/Upstream.ts"
import { Upstreams } from "../upstream/Upstreams.ts"
import * as Bindings from "./Bindings.ts"
import * as Failures from "./Failures.ts"
import * as Logging from "./Logging.ts"
import type { LogLevel } from "./LogLevel.ts"
import * as Meta from "./Meta.ts"
import type * as Notices from "./Notices.ts"
import type * as Seal from "./Seal.ts"
import * as Translation from "./Translation.ts"

/**
 * Who asks, and in which era.
 *
 * @category models
 * @since 0.1.0
 */
export interface Client {
  readonly era: Era
  readonly protocolVersion: string
  readonly info: Fields | undefined
  readonly capabilities: Fields
  readonly principal: string | undefined
  /** Seed of a session: a strategy that keeps calls together keeps those of one session together. */
  readonly affinity?: string | undefined
  /** What servers may ask of it, and with whom it shares connections to them. */
  readonly caller: Caller
  /** Of a session: the instances that keep its state. */
  readonly bindings?: Bindings.Bindings | undefined
  /** In the words of OpenTelemetry; `pipe` for standard input and output. Default `tcp`. */
  readonly transport?: "tcp" | "pipe" | undefined
}

/**
 * The client's side of one request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly client: Client
  /** Whether messages can reach the client on this request's stream before the reply. */
  readonly streams: boolean
  /** Sends a notification that belongs to this request. Plain; must not throw. */
  readonly notify: (notification: JsonRpcNotification) => void
  /**
   * Asks a client of the handshake era something for this request: on its own stream, or on another one of its session.
   * Always replies: with an error where the client can't be reached, or doesn't answer in time. Interruption withdraws it.
   * None: a client of the stateless era, which is asked by the result.
   */
  readonly ask?: ((method: string, params: Fields | undefined) => Effect.Effect<Reply>) | undefined
  /** Lowest level of log messages wanted. None: in the handshake era what servers send by themselves, else nothing. */
  readonly logLevel: LogLevel | undefined
  /** What the request came by. Default: HTTP without trace context. */
  readonly hop?: Hop | undefined
  /** What the client knows of the lists, where that is kept. */
  readonly known?: Notices.Known | undefined
}

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface ForwardingOptions {
  /** Seals what clients carry for the gateway. */
  readonly seals: Seal.Seals
  readonly serverInfo: Fields
  /** Whether results say how they were routed. */
  readonly showRouting: boolean
  /** Whole time of a call, and the most that progress may extend it to, ms. Those of the router where not given. */
  readonly timeout: number | undefined
  readonly maxTimeout: number | undefined
  /** How calls of one session stay together. Read for each call, so that whoever holds the options may change it. */
  readonly sessions: Bindings.SessionMode
  /** A log message of a server that belongs to no call, for every session whose level it passes. Plain. */
  readonly broadcast: (
    notification: JsonRpcNotification,
    passes: (wanted: LogLevel | undefined) => boolean
  ) => void
}

/**
 * The way to the servers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Forwarding {
  /** Sends a request to a server that has the offer. `params` are as that server takes them, `meta` as the client sent it. */
  readonly forward: (
    method: string,
    offer: Offer,
    params: Fields,
    meta: Fields | undefined,
    exchange: Exchange,
    headers?: Readonly<Record<string, string>>
  ) => Effect.Effect<Reply>
  readonly logging: Logging.Logging
  readonly figures: () => { readonly inFlight: number; readonly calls: number; readonly failedCalls: number }
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

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: ForwardingOptions
): Effect.Effect<Forwarding, never, Scope.Scope | Router | Upstreams> =>
  Effect.gen(function*() {
    const router = yield* Router
    const upstreams = yield* Upstreams
    const logging = yield* Logging.make(upstreams)
    const figures = yield* RoutingFigures.make
    const tracing = yield* Spans.wanted

    yield* upstreams.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Connected") return logging.connected(event.upstream)
          if (event._tag === "Closed") return logging.closed(event.key)
          if (event._tag !== "Notified" || event.notification.method !== "notifications/message") return
          const { notification, upstream: { key } } = event
          const level = notification.params?.["level"]
          options.broadcast(notification, (wanted) => logging.passes(key, level, wanted))
        })
      ),
      Effect.forkScoped
    )

    const annotate = ({ routing }: Routed<unknown>) =>
      Effect.annotateCurrentSpan({
        "portolan.service": routing.service,
        "portolan.instance": routing.instance,
        "portolan.strategy": routing.strategy,
        "portolan.failovers": routing.failovers
      })

    /** Turns a server's result into the client's. */
    const answer = (method: string, result: Fields, routing: Routing, era: Era): Reply => {
      const type = result["resultType"]
      if (type !== undefined && type !== "complete") {
        figures.failed++
        const message = `${routing.service} answered with a result of type ${
          String(type)
        }, which this gateway does not relay`
        return { error: { code: Code.internalError, message } }
      }
      let meta = Meta.withoutHop(Meta.of(result))
      if (options.showRouting) (meta ??= {})[Meta.Key.routing] = routing
      if (era === "stateless") (meta ??= {})[Meta.Key.serverInfo] = options.serverInfo
      return { result: Translation.result(era, method, result, meta) }
    }

    const forward: Forwarding["forward"] = (method, offer, given, meta, exchange, ownHeaders) => {
      const { client, logLevel } = exchange
      let params = given
      let headers = ownHeaders
      // Both ways lead to the server in both ways, also where nobody here listens. With a span of ours that stands there.
      const inMessage = TraceContext.read(meta)
      const inHeaders = exchange.hop?.trace
      const trace = TraceContext.orElse(inMessage, inHeaders)
      if (trace !== undefined) {
        params = { ...given, _meta: TraceContext.write(trace, Meta.of(given)) }
        headers = TraceContext.write(TraceContext.orElse(inHeaders, inMessage) ?? trace, ownHeaders)
      }
      const token = meta?.[Meta.Key.progressToken]
      const progress = typeof token === "string" || typeof token === "number"
      let highest = -Infinity
      const strict = options.sessions === "strict"
      const bound = client.bindings === undefined || options.sessions === "free"
        ? undefined
        : Bindings.call(client.bindings, offer, strict, upstreams)

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
        const deliver = (notification: JsonRpcNotification): void => {
          if (!current.isHeard()) return
          const given = notification.params ?? {}
          const { _meta, ...rest } = given
          const kept = Meta.withoutHop(Meta.of(given))
          const carried: Record<string, unknown> = kept === undefined ? rest : { ...rest, _meta: kept }
          if (notification.method === "notifications/progress") {
            if (!progress) return
            current.extend()
            const value = given["progress"]
            // It must grow, also across attempts.
            if (typeof value !== "number" || value <= highest) return
            highest = value
            carried["progressToken"] = token
          } else if (notification.method === "notifications/message") {
            if (logLevel === undefined && client.era === "stateless") return
            if (!logging.passes(current.key, given["level"], logLevel)) return
          } else return
          if (exchange.streams) current.commit()
          exchange.notify({ jsonrpc: "2.0", method: notification.method, params: carried })
        }
        const session = bound?.begin(upstream, current.number)
        const sent = upstream.request({
          method,
          params,
          headers,
          progress,
          logLevel,
          session,
          onNotification: deliver,
          onSent: current.sent
        }).pipe(
          Effect.matchEffect({
            onFailure: (error) => {
              if (session === undefined || error.sessionLost !== true) return Effect.fail(Failures.unanswered(error))
              bound?.lose(error.reason)
              return Effect.fail(Failures.lost(error))
            },
            onSuccess: (reply) => {
              bound?.answered(upstream)
              return "error" in reply ? Effect.fail(Failures.answered(reply.error)) : Effect.succeed(reply.result)
            }
          })
        )
        const prepared = logLevel === undefined ? undefined : logging.prepare(upstream, logLevel)
        return prepared === undefined ? sent : Effect.andThen(prepared, sent)
      }

      return Effect.suspend(() => {
        figures.calls++
        figures.inFlight++
        const lost = bound?.lost()
        if (lost !== undefined) return Effect.fail(new SessionLost({ requested: offer.publicName, ...lost }))
        const routed = router.route(
          {
            target: offer.target,
            name: offer.publicName,
            caller: { principal: client.principal },
            get affinity() {
              return bound?.affinity()
            },
            hashKey: client.principal ?? client.affinity,
            repeatable: offer.repeatable,
            readOnly: offer.readOnly,
            timeout: options.timeout,
            maxTimeout: options.maxTimeout
          },
          attempt
        )
        return tracing ? Effect.tap(routed, annotate) : routed
      }).pipe(
        Effect.match({
          onSuccess: ({ routing, value }) => {
            figures.routed(routing)
            return answer(method, value, routing, client.era)
          },
          onFailure: (error): Reply => {
            figures.notRouted(error)
            if (error._tag === "SessionLost") bound?.lose(error.reason)
            const { publicName: name, repeatable } = offer
            return { error: Failures.toClient(error, { name, repeatable, era: client.era }) }
          }
        }),
        Effect.onExit(() => {
          figures.inFlight--
          return Effect.void
        })
      )
    }

    return {
      forward,
      logging,
      figures: () => ({ inFlight: figures.inFlight, calls: figures.calls, failedCalls: figures.failed })
    }
  })

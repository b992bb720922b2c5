/**
 * What clients of both eras talk to: streamable HTTP at `/mcp`, HTTP+SSE, and any channel of messages.
 *
 * @since 0.1.0
 */
import type { Router } from "@portolan/core/Router"
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import type * as Redacted from "effect/Redacted"
import * as Schedule from "effect/Schedule"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ToolCatalog } from "../catalog/ToolCatalog.ts"
import { InFlight } from "../internal/InFlight.ts"
import type { Upstreams } from "../upstream/Upstreams.ts"
import type { SessionMode } from "./Bindings.ts"
import * as Downstream from "./Downstream.ts"
import type { ForwardingOptions } from "./Forwarding.ts"
import * as Handshake from "./Handshake.ts"
import * as HttpTraffic from "./HttpTraffic.ts"
import * as Relay from "./Relay.ts"
import type { BodyLimits } from "./RequestBody.ts"
import * as Seal from "./Seal.ts"
import * as Sessions from "./Sessions.ts"
import * as SessionSeal from "./SessionSeal.ts"
import * as SseHttp from "./SseHttp.ts"
import * as StreamableHttp from "./StreamableHttp.ts"
import * as Traffic from "./Traffic.ts"

/**
 * Figures of the endpoint. Plain counters.
 *
 * @category models
 * @since 0.1.0
 */
export interface EndpointFigures {
  readonly sessions: number
  readonly streams: number
  readonly callsInFlight: number
  readonly calls: number
  readonly failedCalls: number
}

/**
 * Service that answers clients.
 *
 * **Gotchas**: the handlers read the body themselves. Host and Origin are checked by the listener that calls them.
 *
 * @category services
 * @since 0.1.0
 */
export class McpEndpoint extends Context.Service<McpEndpoint, {
  /** Node's request handler; plain, and answers every request in the end. */
  readonly handle: (request: IncomingMessage, response: ServerResponse) => void
  /** Handlers of the transport of 2024-11-05. */
  readonly sse: SseHttp.SseHttp
  /** Serves a client on a channel of its own, until it is closed. */
  readonly connect: (channel: Downstream.Channel, client: Downstream.DownstreamClient) => Downstream.Downstream
  readonly limits: BodyLimits
  /**
   * Takes other settings, which hold from the next request on; what an option doesn't say is its default. Sessions stay:
   * those that an earlier key sealed are still opened.
   */
  readonly reconfigure: (
    options: Pick<McpEndpointOptions, "sessionKey" | "sessions" | "pageSize" | "maxBody">
  ) => Effect.Effect<void>
  readonly figures: () => EndpointFigures
  /** Refuses new calls, waits for the ones in flight, ends the streams gracefully. */
  readonly drain: Effect.Effect<void>
}>()("@portolan/mcp/relay/McpEndpoint") {}

/**
 * Settings, with their defaults. Times in ms, sizes in bytes.
 *
 * @category models
 * @since 0.1.0
 */
export interface McpEndpointOptions {
  /** What the gateway says of itself. Default `{ name: "portolan", version: "0.1.0" }`. */
  readonly serverInfo?: Readonly<Record<string, unknown>> | undefined
  /** Guidance for models on how to use the servers behind the gateway. None by default. */
  readonly instructions?: string | undefined
  /** Seals session ids: replicas with the same key go on with each other's sessions. Random per process by default. */
  readonly sessionKey?: Redacted.Redacted<string> | undefined
  /**
   * How calls of one session of the handshake era stay together where its servers keep state. Default `sticky`: with the
   * instance that answered first, and elsewhere once that is gone. `strict`: elsewhere never; the calls of such a session
   * fail until the client begins a new one. `free`: not at all.
   */
  readonly sessions?: SessionMode | undefined
  /** Who sent a request, where the listener knows; a session belongs to whoever opened it. Plain. */
  readonly principal?: ((request: IncomingMessage) => string | undefined) | undefined
  /** Whether results say in `_meta` how they were routed. Default true. */
  readonly showRouting?: boolean | undefined
  /** Items in a page of a list. Default 1,000. */
  readonly pageSize?: number | undefined
  /** How long clients may keep lists without asking again. Default 0: they are told when a list changes. */
  readonly listTtl?: number | undefined
  /** Whole time of a call. Default that of the router, 60,000. */
  readonly timeout?: number | undefined
  /** The most that progress may extend that to. Default that of the router, 600,000. */
  readonly maxTimeout?: number | undefined
  /** Largest body of a request. Default 4 MiB. */
  readonly maxBody?: number | undefined
  /** Deepest nesting of a request. Default 128. */
  readonly maxDepth?: number | undefined
  /** Unread bytes of a stream before it is cut. Default 1 MiB. */
  readonly maxBuffered?: number | undefined
  /** Sessions kept alive; those that are idle make room. Default 10,000. */
  readonly maxSessions?: number | undefined
  /** Time without a request and without a stream after which a session is no longer kept. Default 30 minutes. */
  readonly sessionIdleTimeout?: number | undefined
  /** Time after which the id of a session is refused. Default 24 hours. */
  readonly sessionLifetime?: number | undefined
  /** Requests in flight in one session. Default 256. */
  readonly maxInFlightPerSession?: number | undefined
  /** Requests in flight, all together. Default 10,000. */
  readonly maxRequests?: number | undefined
  /** Open streams: GET streams and subscriptions. Default 10,000. */
  readonly maxStreams?: number | undefined
  /** Time between two comments that keep a stream open. Default 15,000. */
  readonly keepAlive?: number | undefined
}

/**
 * Layer that answers `/mcp` from what the upstreams offer. With its scope calls in flight are cancelled and streams end.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: McpEndpointOptions = {}
): Layer.Layer<McpEndpoint, never, Router | ToolCatalog | Upstreams> =>
  Layer.effect(
    McpEndpoint,
    Effect.gen(function*() {
      const clock = yield* Clock.Clock
      const context = yield* Effect.context()
      const fork = Effect.runForkWith(context)
      const fibers = new InFlight<Fiber.Fiber<unknown>>()
      const runFork = <A>(effect: Effect.Effect<A>): Fiber.Fiber<A> => {
        const fiber = fork(effect)
        fiber.addObserver(fibers.add(fiber))
        return fiber
      }

      let broadcast: ForwardingOptions["broadcast"] = () => {}
      const pageSizeOf = ({ pageSize }: Pick<McpEndpointOptions, "pageSize">) => Math.max(1, pageSize ?? 1_000)
      const maxBytesOf = ({ maxBody }: Pick<McpEndpointOptions, "maxBody">) => maxBody ?? 4 * 1_048_576
      let sessionKey = options.sessionKey
      const seals = Seal.make(sessionKey)
      const relaySettings = {
        seals,
        serverInfo: options.serverInfo ?? { name: "portolan", version: "0.1.0" },
        instructions: options.instructions,
        showRouting: options.showRouting ?? true,
        pageSize: pageSizeOf(options),
        listTtl: options.listTtl ?? 0,
        timeout: options.timeout,
        maxTimeout: options.maxTimeout,
        sessions: options.sessions ?? "sticky",
        broadcast: (...args: Parameters<ForwardingOptions["broadcast"]>) => broadcast(...args)
      }
      const relay = yield* Relay.make(relaySettings)
      const sessions = Sessions.make({
        seal: SessionSeal.make(seals),
        now: () => clock.currentTimeMillisUnsafe(),
        maxSessions: options.maxSessions ?? 10_000,
        idleTimeout: options.sessionIdleTimeout ?? 30 * 60_000,
        lifetime: options.sessionLifetime ?? 24 * 3_600_000,
        onDrop: (session) => {
          relay.logging.want(session, undefined)
          relay.serving.sessionEnded(
            session.client.protocolVersion,
            session.client.transport ?? "tcp",
            clock.currentTimeMillisUnsafe() - session.began
          )
        }
      })
      const onDefect = (what: string, cause: Cause.Cause<unknown>): void => {
        runFork(Effect.logError(`${what} failed inside the gateway`, cause))
      }
      const traffic = Traffic.make({
        runFork,
        onDefect,
        maxRequests: options.maxRequests ?? 10_000,
        maxRequestsPerClient: options.maxInFlightPerSession ?? 256,
        maxStreams: options.maxStreams ?? 10_000
      })
      const http = HttpTraffic.make(traffic, options.maxBuffered ?? 1_048_576)
      const handshake = Handshake.make({ relay, traffic, sessions })
      broadcast = handshake.broadcast
      const principal = options.principal ?? (() => undefined)
      const limits = { maxBytes: maxBytesOf(options), maxDepth: options.maxDepth ?? 128 }
      const connect = Downstream.make({ relay, traffic, sessions, handshake, onDefect })
      yield* Effect.sync(() => {
        traffic.keepAlive()
        sessions.sweep()
      }).pipe(
        Effect.repeat(Schedule.spaced(options.keepAlive ?? 15_000)),
        Effect.forkScoped
      )

      const idle = Effect.callback<void>((resume) => {
        if (traffic.isIdle()) return resume(Effect.void)
        const forget = traffic.onIdle(() => {
          forget()
          resume(Effect.void)
        })
        return Effect.sync(forget)
      })

      const endStreams = Effect.sync(() => {
        relay.close()
        traffic.endStreams()
      })

      // Subscriptions are answered before what is left is interrupted.
      yield* Effect.addFinalizer(() => {
        traffic.close()
        return Effect.map(endStreams, () => {
          for (const fiber of fibers.all()) fiber.interruptUnsafe()
        })
      })

      return McpEndpoint.of({
        handle: StreamableHttp.make({ relay, traffic, sessions, handshake, http, onDefect, principal, limits }),
        sse: SseHttp.make({ connect, http, limits, principal, onDefect }),
        connect,
        limits,
        reconfigure: (next) =>
          Effect.sync(() => {
            relaySettings.pageSize = pageSizeOf(next)
            relaySettings.sessions = next.sessions ?? "sticky"
            limits.maxBytes = maxBytesOf(next)
            if (Equal.equals(sessionKey, next.sessionKey)) return
            sessionKey = next.sessionKey
            seals.rotate(sessionKey)
          }),
        figures: () => {
          const { calls, failedCalls, inFlight } = relay.figures()
          return { sessions: sessions.size(), streams: traffic.streams(), callsInFlight: inFlight, calls, failedCalls }
        },
        drain: Effect.suspend(() => {
          traffic.close()
          return Effect.ensuring(idle, endStreams)
        })
      })
    })
  )

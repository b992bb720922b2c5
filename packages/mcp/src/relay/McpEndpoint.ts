/**
 * What clients of both eras talk to: streamable HTTP at `/mcp`, HTTP+SSE, and any channel of messages.
 *
 * @since 0.1.0
 */
import type { Discovery } from "@portolan/core/Discovery"
import type { Health } from "@portolan/core/Health"
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
import { Upstreams } from "../upstream/Upstreams.ts"
import type { ForwardingOptions } from "./calls/Forwarding.ts"
import * as Downstream from "./Downstream.ts"
import * as HttpTraffic from "./http/HttpTraffic.ts"
import * as Replay from "./http/Replay.ts"
import type { BodyLimits } from "./http/RequestBody.ts"
import * as SseHttp from "./http/SseHttp.ts"
import * as StreamableHttp from "./http/StreamableHttp.ts"
import * as Relay from "./Relay.ts"
import * as Seal from "./Seal.ts"
import type { SessionMode } from "./sessions/Bindings.ts"
import * as CallerSessions from "./sessions/CallerSessions.ts"
import * as Handshake from "./sessions/Handshake.ts"
import * as Sessions from "./sessions/Sessions.ts"
import * as SessionSeal from "./sessions/SessionSeal.ts"
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
  /** Attempts that followed a failed one. */
  readonly failovers: number
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
  readonly reconfigure: (options: LiveOptions) => Effect.Effect<void>
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
  /**
   * How long clients may keep lists without asking again where a server in them doesn't say. Default 0: they are told when
   * a list changes.
   */
  readonly listTtl?: number | undefined
  /** Bytes of resources that are kept for as long as their servers say. Default 16 MiB; 0 keeps none. */
  readonly maxCached?: number | undefined
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
  /** How long a client has to answer what a server asks of it. Default 600,000. */
  readonly inputTimeout?: number | undefined
  /** Calls that wait for a client of the stateless era to come back with its answers. Default 1,000. */
  readonly maxParked?: number | undefined
  /** Those of one client. Default 64. */
  readonly maxParkedPerClient?: number | undefined
  /** Sessions kept alive; those that are idle make room. Default 10,000. */
  readonly maxSessions?: number | undefined
  /** Those of one client: of one principal, else of one address. Default 1,000. */
  readonly maxSessionsPerClient?: number | undefined
  /** Bytes of events that are kept for each session, for clients that lost their stream. Default 256 KiB; 0 keeps none. */
  readonly maxReplay?: number | undefined
  /** Time without a request and without a stream after which a session is no longer kept. Default 30 minutes. */
  readonly sessionIdleTimeout?: number | undefined
  /** Time after which the id of a session is refused. Default 24 hours. */
  readonly sessionLifetime?: number | undefined
  /** Requests in flight in one session. Default 256. */
  readonly maxInFlightPerSession?: number | undefined
  /** Requests in flight, all together. Default 10,000. */
  readonly maxRequests?: number | undefined
  /** Resources that one session, or one stream of the stateless era, may watch. Default 1,000. */
  readonly maxSubscriptions?: number | undefined
  /** Open streams: GET streams and subscriptions. Default 10,000. */
  readonly maxStreams?: number | undefined
  /** Time between two comments that keep a stream open. Default 15,000. */
  readonly keepAlive?: number | undefined
}

/**
 * The settings that may change while clients are served.
 *
 * @category models
 * @since 0.2.0
 */
export type LiveOptions = Pick<
  McpEndpointOptions,
  | "sessionKey"
  | "sessions"
  | "showRouting"
  | "pageSize"
  | "listTtl"
  | "maxCached"
  | "maxBody"
  | "inputTimeout"
  | "maxParked"
  | "maxParkedPerClient"
  | "maxSessions"
  | "maxSessionsPerClient"
  | "maxReplay"
  | "sessionIdleTimeout"
  | "sessionLifetime"
  | "maxInFlightPerSession"
  | "maxRequests"
  | "maxStreams"
  | "maxSubscriptions"
>

const live = (options: LiveOptions) => ({
  sessions: options.sessions ?? "sticky",
  showRouting: options.showRouting ?? true,
  pageSize: Math.max(1, options.pageSize ?? 1_000),
  listTtl: options.listTtl ?? 0,
  maxCached: options.maxCached ?? 16 * 1_048_576,
  maxBody: options.maxBody ?? 4 * 1_048_576,
  inputTimeout: options.inputTimeout ?? 600_000,
  maxParked: options.maxParked ?? 1_000,
  maxParkedPerClient: options.maxParkedPerClient ?? 64,
  maxSessions: options.maxSessions ?? 10_000,
  maxSessionsPerClient: options.maxSessionsPerClient ?? 1_000,
  maxReplay: options.maxReplay ?? 262_144,
  sessionIdleTimeout: options.sessionIdleTimeout ?? 30 * 60_000,
  sessionLifetime: options.sessionLifetime ?? 24 * 3_600_000,
  maxInFlightPerSession: options.maxInFlightPerSession ?? 256,
  maxRequests: options.maxRequests ?? 10_000,
  maxStreams: options.maxStreams ?? 10_000,
  maxSubscriptions: options.maxSubscriptions ?? 1_000
})

/**
 * Layer that answers `/mcp` from what the upstreams offer. With its scope calls in flight are cancelled and streams end.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: McpEndpointOptions = {}
): Layer.Layer<McpEndpoint, never, Discovery | Health | Router | ToolCatalog | Upstreams> =>
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
      // Who reads of it does so whenever it needs to know.
      const settings = live(options)
      let sessionKey = options.sessionKey
      const seals = Seal.make(sessionKey)
      const relaySettings = {
        seals,
        serverInfo: options.serverInfo ?? { name: "portolan", version: "0.1.0" },
        instructions: options.instructions,
        get showRouting() {
          return settings.showRouting
        },
        get pageSize() {
          return settings.pageSize
        },
        get listTtl() {
          return settings.listTtl
        },
        get maxCached() {
          return settings.maxCached
        },
        get maxSubscriptions() {
          return settings.maxSubscriptions
        },
        get inputTimeout() {
          return settings.inputTimeout
        },
        get maxParked() {
          return settings.maxParked
        },
        get maxParkedPerClient() {
          return settings.maxParkedPerClient
        },
        timeout: options.timeout,
        maxTimeout: options.maxTimeout,
        get sessions() {
          return settings.sessions
        },
        broadcast: (...args: Parameters<ForwardingOptions["broadcast"]>) => broadcast(...args)
      }
      const relay = yield* Relay.make(relaySettings)
      const callers = CallerSessions.make({
        runFork,
        upstreams: yield* Upstreams,
        logging: relay.logging,
        tasks: relay.tasks
      })
      const replays = Replay.make({
        now: () => clock.currentTimeMillisUnsafe(),
        get maxReplay() {
          return settings.maxReplay
        },
        maxReplayTotal: 32 * 1_048_576,
        keep: 5 * 60_000
      })
      const sessions = Sessions.make({
        seal: SessionSeal.make(seals),
        now: () => clock.currentTimeMillisUnsafe(),
        get maxSessions() {
          return settings.maxSessions
        },
        get idleTimeout() {
          return settings.sessionIdleTimeout
        },
        get lifetime() {
          return settings.sessionLifetime
        },
        get maxSessionsPerClient() {
          return settings.maxSessionsPerClient
        },
        replays,
        questions: {
          get inputTimeout() {
            return settings.inputTimeout
          },
          reachTimeout: 10_000,
          maxQuestions: 256
        },
        callerSession: callers.make,
        onDrop: (session) => {
          callers.forget(session)
          relay.forget(session.known)
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
        get maxRequests() {
          return settings.maxRequests
        },
        get maxRequestsPerClient() {
          return settings.maxInFlightPerSession
        },
        get maxStreams() {
          return settings.maxStreams
        }
      })
      const http = HttpTraffic.make(traffic, options.maxBuffered ?? 1_048_576)
      const handshake = Handshake.make({ relay, traffic, sessions, callers })
      broadcast = handshake.broadcast
      const principal = options.principal ?? (() => undefined)
      const limits = {
        get maxBytes() {
          return settings.maxBody
        },
        maxDepth: options.maxDepth ?? 128
      }
      const connect = Downstream.make({ relay, traffic, sessions, handshake, onDefect })
      yield* Effect.sync(() => {
        traffic.keepAlive()
        sessions.sweep()
        replays.sweep()
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
            Object.assign(settings, live(next))
            if (Equal.equals(sessionKey, next.sessionKey)) return
            sessionKey = next.sessionKey
            seals.rotate(sessionKey)
          }),
        figures: () => {
          const { inFlight, ...counts } = relay.figures()
          return { sessions: sessions.size(), streams: traffic.streams(), callsInFlight: inFlight, ...counts }
        },
        drain: Effect.suspend(() => {
          traffic.close()
          return Effect.ensuring(idle, endStreams)
        })
      })
    })
  )

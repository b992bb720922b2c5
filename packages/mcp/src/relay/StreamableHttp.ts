/**
 * Streamable HTTP for clients of both eras, on one address.
 *
 * **Details**: which era a request is of is read from its body: one that carries a protocol version in `_meta` is
 * stateless, all others belong to a session. The headers are only compared with it.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { IncomingMessage, ServerResponse } from "node:http"
import { handshakeVersions } from "../Era.ts"
import {
  Code,
  type JsonRpcErrorObject,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type Reply,
  type RequestId
} from "../JsonRpc.ts"
import * as EventStream from "./EventStream.ts"
import { isLogLevel, passes } from "./LogLevel.ts"
import * as Messages from "./Messages.ts"
import * as Meta from "./Meta.ts"
import * as Notices from "./Notices.ts"
import type { Client, Exchange, Relay } from "./Relay.ts"
import * as RequestBody from "./RequestBody.ts"
import * as Responder from "./Responder.ts"
import type { Outlet, Session, Sessions } from "./Sessions.ts"
import * as SessionSeal from "./SessionSeal.ts"
import * as StatelessRequest from "./StatelessRequest.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamableHttpOptions {
  readonly relay: Relay
  readonly sessions: Sessions
  readonly runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly principal: (request: IncomingMessage) => string | undefined
  /** A call failed in a way that it can't. Plain. */
  readonly onDefect: (method: string, cause: Cause.Cause<unknown>) => void
  readonly limits: RequestBody.BodyLimits
  /** Unread bytes that a stream may hold before it is cut. */
  readonly maxBuffered: number
  readonly maxInFlightPerSession: number
  readonly maxRequests: number
  readonly maxStreams: number
}

/** Streams of one session; the oldest is ended by a further one. */
const MaxOutlets = 4
/** Messages of one batch. */
const MaxBatch = 100
/** Seconds after which a refused client may come again. */
const retryAfter = { "retry-after": "1" }
const everyList: ReadonlySet<"tools" | "resources" | "prompts"> = new Set(Notices.listKinds)

const headerOf = (request: IncomingMessage): StatelessRequest.HeaderOf => (name) => {
  const value = request.headers[name]
  return typeof value === "string" ? value.trim() : undefined
}

/** Which replies a client takes. Without the header, JSON: whoever sends none expects no stream. */
const acceptedBy = (request: IncomingMessage): { readonly json: boolean; readonly events: boolean } => {
  const accept = request.headers.accept
  if (accept === undefined) return { json: true, events: false }
  const any = accept.includes("*/*")
  return {
    json: any || /application\/(json|\*)/i.test(accept),
    events: any || /text\/(event-stream|\*)/i.test(accept)
  }
}

const refuse = (
  response: ServerResponse,
  status: number,
  error: JsonRpcErrorObject,
  id: RequestId | null = null,
  headers?: Readonly<Record<string, string>>
): void => Responder.sendJson(response, status, JSON.stringify({ jsonrpc: "2.0", id, error }), headers)

const invalidRequest = (message: string): JsonRpcErrorObject => ({ code: Code.invalidRequest, message })
const unavailable = (message: string): JsonRpcErrorObject => ({
  code: Code.unavailable,
  message,
  data: { reason: "overloaded" }
})
const draining = unavailable("The gateway is shutting down")
const sessionNotFound: JsonRpcErrorObject = { code: -32001, message: "Session not found" }

/**
 * Makes the handler.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: StreamableHttpOptions) => {
  const { relay, sessions } = options
  /** Everything that wants a keep-alive. */
  const waiting = new Set<{ readonly keepAlive: () => void }>()
  const streams = new Set<() => void>()
  const whenIdle = new Set<() => void>()
  let active = 0
  let subscriptions = 0
  let closing = false

  const ended = () => {
    active--
    if (active > 0) return
    for (const wake of Array.from(whenIdle)) wake()
  }

  /** Runs one request; `done` gets its reply, or `undefined` where it was cancelled. */
  const run = (
    message: JsonRpcRequest,
    effect: Effect.Effect<Reply>,
    done: (reply: Reply | undefined) => void
  ): Fiber.Fiber<Reply> => {
    const fiber = options.runFork(effect)
    fiber.addObserver((exit) => {
      if (Exit.isSuccess(exit)) return done(exit.value)
      if (Cause.hasInterruptsOnly(exit.cause)) return done(undefined)
      options.onDefect(message.method, exit.cause)
      done({ error: { code: Code.internalError, message: "Internal error of the gateway" } })
    })
    return fiber
  }

  /** Whether there is room for a further request; refuses it where there is none. */
  const admit = (response: ServerResponse, id: RequestId | null): boolean => {
    if (closing) refuse(response, 503, draining, id, retryAfter)
    else if (active >= options.maxRequests) {
      refuse(response, 503, unavailable("Too many requests in flight"), id, retryAfter)
    } else return true
    return false
  }

  const makeResponder = (
    response: ServerResponse,
    accepted: { readonly json: boolean; readonly events: boolean },
    expected: number,
    batch: boolean,
    headers?: Readonly<Record<string, string>>
  ) => {
    const responder = Responder.make(response, {
      ...accepted,
      expected,
      batch,
      headers,
      maxBuffered: options.maxBuffered
    })
    waiting.add(responder)
    response.on("close", () => waiting.delete(responder))
    return responder
  }

  // ---- stateless era

  const stateless = (
    request: IncomingMessage,
    response: ServerResponse,
    accepted: { readonly json: boolean; readonly events: boolean },
    message: JsonRpcRequest
  ): void => {
    const { id, method } = message
    const header = headerOf(request)
    const envelope = StatelessRequest.check(message, header, options.principal(request))
    if ("error" in envelope) return refuse(response, 400, envelope.error, id)
    if (!relay.knows("stateless", method)) {
      return refuse(response, 404, { code: Code.methodNotFound, message: `Method not found: ${method}` }, id)
    }
    if (method === "tools/call") {
      const name = message.params?.["name"]
      const reason = typeof name === "string"
        ? relay.headerMismatch(name, message.params?.["arguments"], header)
        : undefined
      if (reason !== undefined) {
        return refuse(response, 400, { code: Code.headerMismatch, message: `Header mismatch: ${reason}` }, id)
      }
    }
    if (!admit(response, id)) return
    const subscribes = method === "subscriptions/listen"
    if (subscribes) {
      if (!accepted.events) return refuse(response, 406, invalidRequest("Accept must list text/event-stream"), id)
      if (streams.size + subscriptions >= options.maxStreams) {
        return refuse(response, 503, unavailable("Too many subscriptions"), id, retryAfter)
      }
      subscriptions++
    } else active++
    const responder = makeResponder(response, accepted, 1, false)
    const exchange: Exchange = {
      client: envelope.client,
      logLevel: envelope.logLevel,
      streams: responder.streams,
      notify: responder.notify
    }
    const fiber = run(message, relay.request(message, exchange), (reply) => {
      if (subscribes) subscriptions--
      else ended()
      if (reply === undefined) responder.skip()
      else responder.reply(id, reply)
    })
    // The end of the connection is the cancellation.
    response.on("close", () => fiber.interruptUnsafe())
  }

  // ---- handshake era

  const notifySession = (session: Session, notification: JsonRpcNotification) =>
    session.outlets.at(-1)?.notify(notification)

  const setLevel = (session: Session, message: JsonRpcRequest): Reply => {
    const level = message.params?.["level"]
    if (!isLogLevel(level)) return { error: { code: Code.invalidParams, message: "level is not a log level" } }
    session.logLevel = level
    relay.logging.want(session, level)
    return { result: {} }
  }

  const inSession = (session: Session, message: JsonRpcRequest, responder: Responder.Responder): void => {
    const { id, method } = message
    if (method === "initialize") {
      return responder.reply(id, { error: invalidRequest("The session is already initialized") })
    }
    if (method === "ping") return responder.reply(id, { result: {} })
    if (method === "logging/setLevel") return responder.reply(id, setLevel(session, message))
    if (session.inFlight.has(id)) {
      return responder.reply(id, { error: invalidRequest(`A request with id ${JSON.stringify(id)} is in flight`) })
    }
    if (session.inFlight.size >= options.maxInFlightPerSession) {
      return responder.reply(id, { error: unavailable("Too many requests in flight in this session") }, 429)
    }
    const exchange: Exchange = {
      client: session.client,
      logLevel: session.logLevel,
      streams: responder.streams,
      known: session.known,
      notify: (notification) => {
        if (responder.streams) responder.notify(notification)
        else if (notification.method === "notifications/message") notifySession(session, notification)
      }
    }
    active++
    let over = false
    const fiber = run(message, relay.request(message, exchange), (reply) => {
      over = true
      session.inFlight.delete(id)
      ended()
      if (reply === undefined) responder.skip()
      else responder.reply(id, reply)
    })
    if (!over) session.inFlight.set(id, () => fiber.interruptUnsafe())
  }

  const notified = (session: Session, message: JsonRpcNotification): void => {
    if (message.method !== "notifications/cancelled") return
    const id = message.params?.["requestId"]
    if (typeof id === "string" || typeof id === "number") session.inFlight.get(id)?.()
  }

  /** The session of a request; refuses it where there is none. */
  const sessionOf = (request: IncomingMessage, response: ServerResponse, id: RequestId | null): Session | undefined => {
    const given = headerOf(request)("mcp-session-id")
    if (given === undefined) {
      refuse(response, 400, invalidRequest("Mcp-Session-Id is missing: initialize first"), id)
      return undefined
    }
    const session = sessions.find(given, options.principal(request))
    if (session === undefined) refuse(response, 404, sessionNotFound, id)
    return session
  }

  const initialize = (
    request: IncomingMessage,
    response: ServerResponse,
    accepted: { readonly json: boolean; readonly events: boolean },
    message: JsonRpcRequest
  ): void => {
    const { id } = message
    const params = message.params ?? {}
    const requested = params["protocolVersion"]
    if (typeof requested !== "string") {
      return refuse(response, 400, { code: Code.invalidParams, message: "protocolVersion must be a string" }, id)
    }
    if (!admit(response, id)) return
    // A version that isn't spoken here is answered with the newest of the era, which the client may refuse.
    const protocolVersion = handshakeVersions.find((version) => version === requested) ?? handshakeVersions[0]
    const client: Client = {
      era: "handshake",
      protocolVersion,
      principal: options.principal(request),
      ...SessionSeal.fitting(params["clientInfo"], params["capabilities"])
    }
    const session = sessions.open(client)
    if (session === undefined) return refuse(response, 503, unavailable("Too many sessions"), id, retryAfter)
    active++
    const responder = makeResponder(response, accepted, 1, false, { "mcp-session-id": session.id })
    const effect = relay.initialized(protocolVersion)
    const fiber = options.runFork(effect)
    fiber.addObserver((exit) => {
      ended()
      if (Exit.isSuccess(exit)) responder.reply(id, { result: exit.value })
      else responder.reply(id, { error: draining }, 503)
    })
  }

  const batch = (
    request: IncomingMessage,
    response: ServerResponse,
    accepted: { readonly json: boolean; readonly events: boolean },
    values: ReadonlyArray<unknown>
  ): void => {
    const session = sessionOf(request, response, null)
    if (session === undefined) return
    if (session.client.protocolVersion !== "2025-03-26") {
      return refuse(response, 400, invalidRequest("Batches exist in protocol version 2025-03-26 alone"))
    }
    if (values.length === 0 || values.length > MaxBatch) {
      return refuse(response, 400, invalidRequest(`A batch has 1 to ${MaxBatch} messages`))
    }
    const messages = values.map(Messages.classify)
    const wrong = messages.find((each) => each._tag === "Invalid")
    if (wrong !== undefined) return refuse(response, 400, invalidRequest(wrong.reason), wrong.id)
    const requests = messages.filter((each) => each._tag === "Request")
    for (const each of messages) {
      if (each._tag === "Notification") notified(session, each.message)
    }
    if (requests.length === 0) return accept(response)
    if (!admit(response, null)) return
    const responder = makeResponder(response, accepted, requests.length, true)
    for (const { message } of requests) inSession(session, message, responder)
  }

  const accept = (response: ServerResponse): void => {
    response.writeHead(202)
    response.end()
  }

  const post = (
    request: IncomingMessage,
    response: ServerResponse,
    accepted: { readonly json: boolean; readonly events: boolean },
    value: unknown
  ): void => {
    const versionHeader = headerOf(request)("mcp-protocol-version")
    if (Array.isArray(value)) return batch(request, response, accepted, value)
    const classified = Messages.classify(value)
    if (classified._tag === "Invalid") return refuse(response, 400, invalidRequest(classified.reason), classified.id)
    const headerIsStateless = StatelessRequest.isStatelessVersion(versionHeader)
    if (classified._tag === "Response") {
      if (headerIsStateless) return refuse(response, 400, invalidRequest("Responses can't be sent in this era"))
      if (sessionOf(request, response, null) !== undefined) accept(response)
      return
    }
    const { message } = classified
    const id = classified._tag === "Request" ? classified.message.id : null
    const modern = StatelessRequest.claims(message) || (headerIsStateless && message.method !== "initialize")
    if (classified._tag === "Notification" && modern) return accept(response)
    if (classified._tag === "Request" && modern) return stateless(request, response, accepted, classified.message)
    if (headerIsStateless) {
      const reason = "Header mismatch: initialize doesn't belong to the version in MCP-Protocol-Version"
      return refuse(response, 400, { code: Code.headerMismatch, message: reason }, id)
    }
    if (classified._tag === "Request" && message.method === "initialize") {
      return initialize(request, response, accepted, classified.message)
    }
    if (versionHeader !== undefined && !handshakeVersions.some((version) => version === versionHeader)) {
      return refuse(response, 400, StatelessRequest.unsupported(versionHeader), id)
    }
    const session = sessionOf(request, response, id)
    if (session === undefined) return
    if (classified._tag === "Notification") {
      notified(session, classified.message)
      return accept(response)
    }
    if (!admit(response, id)) return
    inSession(session, classified.message, makeResponder(response, accepted, 1, false))
  }

  const onPost = (request: IncomingMessage, response: ServerResponse): void => {
    if (!/^application\/json\s*(;|$)/i.test(request.headers["content-type"] ?? "")) {
      request.resume()
      return refuse(response, 415, invalidRequest("Content-Type must be application/json"))
    }
    const encoding = request.headers["content-encoding"]
    if (encoding !== undefined && encoding !== "identity") {
      request.resume()
      return refuse(response, 415, invalidRequest("The body must not be compressed"))
    }
    const accepted = acceptedBy(request)
    if (!accepted.json && !accepted.events) {
      request.resume()
      return refuse(response, 406, invalidRequest("Accept must list application/json and text/event-stream"))
    }
    RequestBody.read(request, options.limits, (body) => {
      switch (body._tag) {
        case "Json":
          return guarded(response, () => post(request, response, accepted, body.value))
        case "NotJson":
          return refuse(response, 400, { code: Code.parseError, message: `Parse error: ${body.reason}` })
        case "TooLarge":
          return refuse(
            response,
            413,
            invalidRequest(`The body is larger than ${options.limits.maxBytes} bytes`),
            null,
            { connection: "close" }
          )
      }
    })
  }

  const onGet = (request: IncomingMessage, response: ServerResponse): void => {
    if (StatelessRequest.isStatelessVersion(headerOf(request)("mcp-protocol-version"))) {
      return notAllowed(response, "POST")
    }
    if (!acceptedBy(request).events) return refuse(response, 406, invalidRequest("Accept must list text/event-stream"))
    const session = sessionOf(request, response, null)
    if (session === undefined) return
    if (closing) return refuse(response, 503, draining, null, retryAfter)
    if (streams.size + subscriptions >= options.maxStreams) {
      return refuse(response, 503, unavailable("Too many streams"), null, retryAfter)
    }
    const stream = EventStream.open(response, { maxBuffered: options.maxBuffered })
    // A client learns only with the first bytes that the stream is open.
    stream.keepAlive()
    const outlet: Outlet = {
      notify: (notification) => stream.send(JSON.stringify(notification)),
      end: stream.end
    }
    session.outlets.push(outlet)
    if (session.outlets.length > MaxOutlets) session.outlets.shift()?.end()
    // One listener per session: with the first stream, until the last is closed.
    listen(session)
    streams.add(stream.end)
    waiting.add(stream)
    response.on("close", () => {
      streams.delete(stream.end)
      waiting.delete(stream)
      const at = session.outlets.indexOf(outlet)
      if (at >= 0) session.outlets.splice(at, 1)
      if (session.outlets.length === 0) unlisten(session)
    })
  }

  const listeners = new Map<Session, () => void>()
  const listen = (session: Session): void => {
    if (listeners.has(session)) return
    listeners.set(
      session,
      relay.notices.add({
        kinds: everyList,
        known: session.known,
        notify: (kind) => notifySession(session, { jsonrpc: "2.0", method: `notifications/${kind}/list_changed` })
      })
    )
  }
  const unlisten = (session: Session): void => {
    listeners.get(session)?.()
    listeners.delete(session)
  }

  const onDelete = (request: IncomingMessage, response: ServerResponse): void => {
    if (StatelessRequest.isStatelessVersion(headerOf(request)("mcp-protocol-version"))) {
      return notAllowed(response, "POST")
    }
    const session = sessionOf(request, response, null)
    if (session === undefined) return
    sessions.end(session)
    response.writeHead(200)
    response.end()
  }

  /** A mistake in here is one failed request, not the end of the process. */
  const guarded = (response: ServerResponse, answer: () => void): void => {
    try {
      answer()
    } catch (error) {
      options.onDefect("an HTTP request", Cause.die(error))
      if (response.headersSent) response.destroy()
      else refuse(response, 500, { code: Code.internalError, message: "Internal error of the gateway" })
    }
  }

  const notAllowed = (response: ServerResponse, allow: string): void =>
    refuse(response, 405, invalidRequest("Method not allowed"), null, { allow })

  return {
    handle: (request: IncomingMessage, response: ServerResponse): void => {
      // A client that goes away while it is written to is no error of ours; `close` tells the rest.
      response.on("error", () => {})
      guarded(response, () => {
        switch (request.method) {
          case "POST":
            return onPost(request, response)
          case "GET":
            return onGet(request, response)
          case "DELETE":
            return onDelete(request, response)
          default:
            request.resume()
            return notAllowed(response, "GET, POST, DELETE")
        }
      })
    },
    /** A log message that belongs to no call, for the sessions that want it. */
    broadcast: (notification: JsonRpcNotification): void => {
      const level = notification.params?.["level"]
      const { _meta, ...params } = notification.params ?? {}
      const kept = Meta.withoutHop(Meta.of(notification.params))
      const carried = { ...notification, params: kept === undefined ? params : { ...params, _meta: kept } }
      for (const session of sessions.all()) {
        if (session.logLevel === undefined || passes(level, session.logLevel)) notifySession(session, carried)
      }
    },
    keepAlive: (): void => {
      for (const each of waiting) each.keepAlive()
    },
    figures: () => ({ sessions: sessions.size(), streams: streams.size + subscriptions }),
    /** Refuses what comes from now on. */
    refuse: (): void => {
      closing = true
    },
    isIdle: (): boolean => active === 0,
    /** Calls `wake` when the last request in flight ends. Gives what takes it back. */
    onIdle: (wake: () => void): () => void => {
      whenIdle.add(wake)
      return () => void whenIdle.delete(wake)
    },
    endStreams: (): void => {
      relay.close()
      for (const end of Array.from(streams)) end()
    }
  }
}

/**
 * Sessions of the handshake era over HTTP.
 *
 * **Details**: a client that goes away in the middle of a request has not cancelled it; only its
 * `notifications/cancelled` or the end of its session does.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { ListKind } from "../catalog/ToolCatalog.ts"
import { handshakeVersions } from "../Era.ts"
import { Code, type JsonRpcNotification, type JsonRpcRequest, type Reply, type RequestId } from "../JsonRpc.ts"
import { type Accepted, acceptedBy, headerOf, invalidRequest, overloaded, refuse } from "./HttpReplies.ts"
import { isLogLevel, passes } from "./LogLevel.ts"
import * as Messages from "./Messages.ts"
import * as Meta from "./Meta.ts"
import * as Notices from "./Notices.ts"
import type { Relay } from "./Relay.ts"
import type { Responder } from "./Responder.ts"
import type { Outlet, Session, Sessions } from "./Sessions.ts"
import * as SessionSeal from "./SessionSeal.ts"
import type { Traffic } from "./Traffic.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandshakeHttpOptions {
  readonly relay: Relay
  readonly traffic: Traffic
  readonly sessions: Sessions
  readonly principal: (request: IncomingMessage) => string | undefined
  readonly maxInFlightPerSession: number
}

/** Streams of one session; the oldest is ended by a further one. */
const MaxOutlets = 4
/** Messages of one batch. */
const MaxBatch = 100
const everyList: ReadonlySet<ListKind> = new Set(Notices.listKinds)

/**
 * Makes the handlers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: HandshakeHttpOptions) => {
  const { principal, relay, sessions, traffic } = options
  /** Sessions with a stream, and what ends their listening. */
  const listeners = new Map<Session, () => void>()

  const accept = (response: ServerResponse): void => {
    response.writeHead(202)
    response.end()
  }

  /** Each message goes to one stream of a session alone. */
  const notify = (session: Session, notification: JsonRpcNotification): void =>
    session.outlets.at(-1)?.notify(notification)

  /** The session of a request; refuses it where there is none. */
  const sessionOf = (request: IncomingMessage, response: ServerResponse, id: RequestId | null): Session | undefined => {
    const given = headerOf(request)("mcp-session-id")
    if (given === undefined) {
      refuse(response, 400, invalidRequest("Mcp-Session-Id is missing: initialize first"), id)
      return undefined
    }
    const session = sessions.find(given, principal(request))
    if (session === undefined) refuse(response, 404, { code: -32001, message: "Session not found" }, id)
    return session
  }

  const setLevel = (session: Session, message: JsonRpcRequest): Reply => {
    const level = message.params?.["level"]
    if (!isLogLevel(level)) return { error: { code: Code.invalidParams, message: "level is not a log level" } }
    session.logLevel = level
    relay.logging.want(session, level)
    return { result: {} }
  }

  const answer = (session: Session, message: JsonRpcRequest, responder: Responder): void => {
    const { id, method } = message
    if (method === "initialize") {
      return responder.reply(id, { error: invalidRequest("The session is already initialized") })
    }
    if (method === "logging/setLevel") return responder.reply(id, setLevel(session, message))
    if (session.inFlight.find((each) => each.id === id) !== undefined) {
      return responder.reply(id, { error: invalidRequest(`A request with id ${JSON.stringify(id)} is in flight`) })
    }
    if (session.inFlight.size >= options.maxInFlightPerSession) {
      return responder.reply(id, { error: overloaded("Too many requests in flight in this session") }, 429)
    }
    const effect = relay.request(message, {
      client: session.client,
      logLevel: session.logLevel,
      streams: responder.streams,
      known: session.known,
      notify: (notification) => {
        if (responder.streams) responder.notify(notification)
        else if (notification.method === "notifications/message") notify(session, notification)
      }
    })
    const fiber = traffic.answer(message, effect, responder)
    if (fiber.pollUnsafe() !== undefined) return
    fiber.addObserver(session.inFlight.add({ id, cancel: () => fiber.interruptUnsafe() }))
  }

  const notified = (session: Session, message: JsonRpcNotification): void => {
    if (message.method !== "notifications/cancelled") return
    const id = message.params?.["requestId"]
    session.inFlight.find((each) => each.id === id)?.cancel()
  }

  const initialize = (
    request: IncomingMessage,
    response: ServerResponse,
    accepted: Accepted,
    message: JsonRpcRequest
  ): void => {
    const { id, params } = message
    const requested = params?.["protocolVersion"]
    if (typeof requested !== "string") {
      return refuse(response, 400, { code: Code.invalidParams, message: "protocolVersion must be a string" }, id)
    }
    if (!traffic.admit(response, id)) return
    // A version that isn't spoken here is answered with the newest of the era, which the client may refuse.
    const protocolVersion = handshakeVersions.find((version) => version === requested) ?? handshakeVersions[0]
    const session = sessions.open({
      era: "handshake",
      protocolVersion,
      principal: principal(request),
      ...SessionSeal.fitting(params?.["clientInfo"], params?.["capabilities"])
    })
    if (session === undefined) return refuse(response, 503, overloaded("Too many sessions"), id)
    const responder = traffic.responder(response, accepted, { headers: { "mcp-session-id": session.id } })
    const effect = Effect.map(relay.initialized(protocolVersion), (result): Reply => ({ result }))
    traffic.answer(message, effect, responder)
  }

  const listen = (session: Session): void => {
    if (listeners.has(session)) return
    const forget = relay.notices.add({
      kinds: everyList,
      known: session.known,
      notify: (kind) => notify(session, { jsonrpc: "2.0", method: `notifications/${kind}/list_changed` })
    })
    listeners.set(session, forget)
  }

  return {
    initialize,

    /** One message that is no request to begin a session. */
    message: (
      request: IncomingMessage,
      response: ServerResponse,
      accepted: Accepted,
      given: Exclude<Messages.Message, { readonly _tag: "Invalid" }>
    ): void => {
      const id = given._tag === "Request" ? given.message.id : null
      const session = sessionOf(request, response, id)
      if (session === undefined) return
      if (given._tag === "Request") {
        if (traffic.admit(response, id)) answer(session, given.message, traffic.responder(response, accepted))
        return
      }
      if (given._tag === "Notification") notified(session, given.message)
      accept(response)
    },

    batch: (
      request: IncomingMessage,
      response: ServerResponse,
      accepted: Accepted,
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
      for (const each of messages) {
        if (each._tag === "Notification") notified(session, each.message)
      }
      const requests = messages.filter((each) => each._tag === "Request")
      if (requests.length === 0) return accept(response)
      if (!traffic.admit(response, null)) return
      const responder = traffic.responder(response, accepted, { batch: requests.length })
      for (const { message } of requests) answer(session, message, responder)
    },

    /** Opens a stream for messages that belong to no request. */
    get: (request: IncomingMessage, response: ServerResponse): void => {
      if (!acceptedBy(request).events) {
        return refuse(response, 406, invalidRequest("Accept must list text/event-stream"))
      }
      const session = sessionOf(request, response, null)
      if (session === undefined || !traffic.admitStream(response, null)) return
      const stream = traffic.stream(response, () => {
        const at = session.outlets.indexOf(outlet)
        if (at >= 0) session.outlets.splice(at, 1)
        if (session.outlets.length > 0) return
        listeners.get(session)?.()
        listeners.delete(session)
      })
      const outlet: Outlet = {
        notify: (notification) => stream.send(JSON.stringify(notification)),
        end: stream.end
      }
      session.outlets.push(outlet)
      if (session.outlets.length > MaxOutlets) session.outlets.shift()?.end()
      listen(session)
    },

    /** Ends a session. */
    delete: (request: IncomingMessage, response: ServerResponse): void => {
      const session = sessionOf(request, response, null)
      if (session === undefined) return
      sessions.end(session)
      response.writeHead(200)
      response.end()
    },

    /** A log message that belongs to no call, for the sessions that want it. */
    broadcast: (notification: JsonRpcNotification): void => {
      const { _meta, ...params } = notification.params ?? {}
      const kept = Meta.withoutHop(Meta.of(notification.params))
      const carried = { ...notification, params: kept === undefined ? params : { ...params, _meta: kept } }
      for (const session of sessions.all()) {
        if (session.logLevel === undefined || passes(params["level"], session.logLevel)) notify(session, carried)
      }
    }
  }
}

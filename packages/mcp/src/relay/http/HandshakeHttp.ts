/**
 * Sessions of the handshake era over streamable HTTP.
 *
 * **Details**: a client that goes away in the middle of a request has not cancelled it; only its
 * `notifications/cancelled` or the end of its session does.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports
 * @since 0.1.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { JsonRpcNotification, JsonRpcRequest, RequestId } from "../../JsonRpc.ts"
import { hopOf } from "../../telemetry/Serving.ts"
import type * as Messages from "../Messages.ts"
import { invalidRequest } from "../Refusals.ts"
import type { Handshake } from "../sessions/Handshake.ts"
import type { Session, Sessions } from "../sessions/Sessions.ts"
import type { Traffic } from "../Traffic.ts"
import type { Purpose } from "./EventIds.ts"
import type { Events, EventStream } from "./EventStream.ts"
import { accept, type Accepted, acceptedBy, headerOf, refuse } from "./HttpReplies.ts"
import type { HttpTraffic } from "./HttpTraffic.ts"
import type * as Replay from "./Replay.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface HandshakeHttpOptions {
  readonly handshake: Handshake
  readonly traffic: Traffic
  readonly http: HttpTraffic
  readonly sessions: Sessions
  readonly principal: (request: IncomingMessage) => string | undefined
}

/** Whether events of the session's version have ids. */
const hasIds = ({ client }: Session): boolean => client.protocolVersion !== "2024-11-05"

/** Whether streams of the session outlive their connections. */
const keeps = (session: Session): boolean => hasIds(session) && session.replay.isOn()

/** Whether clients of the session's version know events without text. */
const primes = ({ client }: Session): boolean => client.protocolVersion === "2025-11-25"

/**
 * Makes the handlers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ handshake, http, principal, sessions, traffic }: HandshakeHttpOptions) => {
  /** The session of a request; refuses it where there is none. */
  const sessionOf = (request: IncomingMessage, response: ServerResponse, id: RequestId | null): Session | undefined => {
    const given = headerOf(request)("mcp-session-id")
    if (given === undefined) {
      refuse(response, 400, invalidRequest("Mcp-Session-Id is missing: initialize first"), id)
      return undefined
    }
    const session = sessions.find(given, principal(request), request.socket.remoteAddress)
    if (!("error" in session)) return session
    refuse(response, session.status, session.error, id)
    return undefined
  }

  /** What ends the listening of a stream that messages of its session go to. */
  const listening = new WeakMap<Events, () => void>()

  /** Makes of a connection a stream that outlives it. */
  const outliving = (
    response: ServerResponse,
    session: Session,
    purpose: Purpose,
    connection: EventStream
  ): Replay.KeptStream => {
    const kept = session.replay.begin(purpose, connection, primes(session))
    response.on("close", () => kept.disconnect(connection))
    return kept
  }

  const listen = (session: Session, stream: Events): () => void => {
    // Its client may be back before its former connection is known to be gone.
    listening.get(stream)?.()
    const say = (message: JsonRpcNotification | JsonRpcRequest) => stream.send(JSON.stringify(message))
    const forget = handshake.listen(session, { notify: say, request: say, isOpen: stream.isOpen, end: stream.end })
    listening.set(stream, forget)
    return forget
  }

  /** Opens a stream for messages that belong to no request. */
  const open = (response: ServerResponse, session: Session): void => {
    if (!http.admitStream(response, null)) return
    const connection = http.stream(response, () => forget())
    const forget = listen(
      session,
      keeps(session) ? outliving(response, session, { _tag: "Session" }, connection) : connection
    )
  }

  /** Goes on with a stream after an event of it. */
  const resume = (response: ServerResponse, session: Session, last: string): void => {
    const found = session.replay.find(last)
    if (found._tag === "Unknown") return refuse(response, 400, invalidRequest("Last-Event-ID: no event of this server"))
    // No client comes again after that.
    if (found._tag === "Over") return refuse(response, 405, invalidRequest("Nothing follows that event"))
    if (found._tag === "Gone" && found.purpose._tag === "Batch") {
      return refuse(response, 405, invalidRequest("Nothing is kept of the stream of that event any more"))
    }
    if (found.purpose._tag === "Session") {
      if (found._tag === "Gone") return open(response, session)
      if (!http.admitStream(response, null)) return
    }
    // The reply to a request that was admitted needs no admission, also when no more are.
    let forget = () => {}
    const connection = http.stream(response, () => forget())
    if (found._tag === "Stream") {
      const kept = found.resume(connection)
      response.on("close", () => kept.disconnect(connection))
      if (found.purpose._tag === "Session") forget = listen(session, kept)
    } else if (found.purpose._tag === "Request") {
      session.replay.lose(found.purpose.id, connection)
    }
  }

  return {
    initialize: (
      request: IncomingMessage,
      response: ServerResponse,
      accepted: Accepted,
      message: JsonRpcRequest
    ): void => {
      const { id } = message
      if (!http.admit(response, id)) return
      const begun = handshake.begin(
        message,
        principal(request),
        hopOf(request),
        (client) => sessions.open(client, request.socket.remoteAddress)
      )
      if ("error" in begun) return refuse(response, begun.status, begun.error, id)
      const responder = http.responder(response, accepted, { headers: { "mcp-session-id": begun.session.id } })
      traffic.answer(message, begun.reply, responder)
    },

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
        if (http.admit(response, id)) {
          const { message } = given
          const keep = (connection: EventStream) =>
            outliving(response, session, { _tag: "Request", id: message.id }, connection)
          const responder = http.responder(response, accepted, { keep: keeps(session) ? keep : undefined })
          handshake.request(session, message, responder)
        }
        return
      }
      if (given._tag === "Notification") handshake.notification(session, given.message)
      const refusal = given._tag === "Response" ? handshake.response(session, given.id, given.reply) : undefined
      if (refusal === undefined) accept(response)
      else refuse(response, refusal.status, refusal.error)
    },

    batch: (
      request: IncomingMessage,
      response: ServerResponse,
      accepted: Accepted,
      values: ReadonlyArray<unknown>
    ): void => {
      const session = sessionOf(request, response, null)
      if (session === undefined) return
      const batch = handshake.batch(session, values)
      if ("error" in batch) return refuse(response, batch.status, batch.error, batch.id)
      if (batch.requests.length === 0) return accept(response)
      if (!http.admit(response, null)) return
      const keep = (connection: EventStream) => outliving(response, session, { _tag: "Batch" }, connection)
      const responder = http.responder(response, accepted, {
        batch: batch.requests.length,
        keep: keeps(session) ? keep : undefined
      })
      for (const message of batch.requests) handshake.request(session, message, responder)
    },

    /** Opens a stream for messages that belong to no request, or goes on with one that was lost. */
    get: (request: IncomingMessage, response: ServerResponse): void => {
      if (!acceptedBy(request).events) {
        return refuse(response, 406, invalidRequest("Accept must list text/event-stream"))
      }
      const session = sessionOf(request, response, null)
      if (session === undefined) return
      // Also of a time or a replica where events are kept.
      const last = hasIds(session) ? headerOf(request)("last-event-id") : undefined
      if (last === undefined) open(response, session)
      else resume(response, session, last)
    },

    /** Ends a session. */
    delete: (request: IncomingMessage, response: ServerResponse): void => {
      const session = sessionOf(request, response, null)
      if (session === undefined) return
      sessions.end(session)
      response.writeHead(200)
      response.end()
    }
  }
}

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
import type { JsonRpcRequest, RequestId } from "../JsonRpc.ts"
import { hopOf } from "../telemetry/Serving.ts"
import type { Handshake } from "./Handshake.ts"
import { accept, type Accepted, acceptedBy, headerOf, refuse } from "./HttpReplies.ts"
import type { HttpTraffic } from "./HttpTraffic.ts"
import type * as Messages from "./Messages.ts"
import { invalidRequest } from "./Refusals.ts"
import type { Session, Sessions } from "./Sessions.ts"
import type { Traffic } from "./Traffic.ts"

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
    const session = sessions.find(given, principal(request))
    if (session === undefined) refuse(response, 404, { code: -32001, message: "Session not found" }, id)
    return session
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
      const begun = handshake.begin(message, principal(request), hopOf(request), sessions.open)
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
          handshake.request(session, given.message, http.responder(response, accepted))
        }
        return
      }
      if (given._tag === "Notification") handshake.notification(session, given.message)
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
      const batch = handshake.batch(session, values)
      if ("error" in batch) return refuse(response, batch.status, batch.error, batch.id)
      if (batch.requests.length === 0) return accept(response)
      if (!http.admit(response, null)) return
      const responder = http.responder(response, accepted, { batch: batch.requests.length })
      for (const message of batch.requests) handshake.request(session, message, responder)
    },

    /** Opens a stream for messages that belong to no request. */
    get: (request: IncomingMessage, response: ServerResponse): void => {
      if (!acceptedBy(request).events) {
        return refuse(response, 406, invalidRequest("Accept must list text/event-stream"))
      }
      const session = sessionOf(request, response, null)
      if (session === undefined || !http.admitStream(response, null)) return
      const stream = http.stream(response, () => forget())
      const forget = handshake.listen(session, {
        notify: (notification) => stream.send(JSON.stringify(notification)),
        end: stream.end
      })
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

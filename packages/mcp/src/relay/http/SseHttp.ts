/**
 * HTTP+SSE, the transport of 2024-11-05: a stream of events to the client, and POSTs from it that belong to the stream.
 *
 * @see https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import { randomBytes } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Channel, Downstream, DownstreamClient } from "../Downstream.ts"
import { defect, invalidRequest, noSession } from "../Refusals.ts"
import { accept, acceptedBy, notAllowed, refuse } from "./HttpReplies.ts"
import type { HttpTraffic } from "./HttpTraffic.ts"
import * as RequestBody from "./RequestBody.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface SseHttpOptions {
  readonly connect: (channel: Channel, client: DownstreamClient) => Downstream
  readonly http: HttpTraffic
  readonly limits: RequestBody.BodyLimits
  readonly principal: (request: IncomingMessage) => string | undefined
  /** Something failed in a way that it can't. Plain. */
  readonly onDefect: (what: string, cause: Cause.Cause<unknown>) => void
}

/**
 * The handlers of its two addresses. Plain, and each answers every request in the end.
 *
 * @category models
 * @since 0.1.0
 */
export interface SseHttp {
  /** Opens a stream, and says on it where its messages go: to `messages` with the id of the session as `sessionId`. */
  readonly stream: (request: IncomingMessage, response: ServerResponse, messages: string) => void
  /** Takes a message; its reply goes to the stream. */
  readonly message: (request: IncomingMessage, response: ServerResponse) => void
}

/**
 * Makes the handlers.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ connect, http, limits, onDefect, principal }: SseHttpOptions): SseHttp => {
  const open = new Map<string, { readonly downstream: Downstream; readonly principal: string | undefined }>()

  const guarded = (response: ServerResponse, answer: () => void): void => {
    // A client that goes away while it is written to is no error of ours; `close` tells the rest.
    response.on("error", () => {})
    try {
      answer()
    } catch (error) {
      onDefect("an HTTP request", Cause.die(error))
      if (response.headersSent) response.destroy()
      else refuse(response, 500, defect)
    }
  }

  const stream: SseHttp["stream"] = (request, response, messages) => {
    request.resume()
    if (request.method !== "GET") return notAllowed(response, "GET")
    if (request.headers.accept !== undefined && !acceptedBy(request).events) {
      return refuse(response, 406, invalidRequest("Accept must list text/event-stream"))
    }
    if (!http.admitStream(response, null)) return
    // Whoever knows it may speak for the session.
    const id = randomBytes(24).toString("base64url")
    const events = http.stream(response, () => {
      open.delete(id)
      downstream.close()
    })
    const given = principal(request)
    const downstream = connect({
      send: (json) => events.send(json),
      notify: (notification) => events.send(JSON.stringify(notification)),
      end: events.end
    }, { stateless: false, principal: given, address: request.socket.remoteAddress })
    open.set(id, { downstream, principal: given })
    events.write(`${messages}?sessionId=${id}`, { event: "endpoint" })
  }

  const message: SseHttp["message"] = (request, response) => {
    if (request.method !== "POST") {
      request.resume()
      return notAllowed(response, "POST")
    }
    const id = new URLSearchParams(/\?(.*)$/.exec(request.url ?? "")?.[1]).get("sessionId")
    const found = id === null ? undefined : open.get(id)
    if (found === undefined || found.principal !== principal(request)) {
      request.resume()
      return id === null
        ? refuse(response, 400, invalidRequest("sessionId is missing: open a stream first"))
        : refuse(response, 404, noSession)
    }
    RequestBody.receive(request, response, limits, (value) => {
      accept(response)
      found.downstream.receive(value)
    })
  }

  return {
    stream: (request, response, messages) => guarded(response, () => stream(request, response, messages)),
    message: (request, response) => guarded(response, () => message(request, response))
  }
}

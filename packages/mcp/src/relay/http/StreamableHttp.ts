/**
 * Streamable HTTP for clients of both eras, on one address.
 *
 * **Details**: which era a request is of is read from its body: one that carries a protocol version in `_meta` is
 * stateless, all others belong to a session. The headers are only compared with it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type { IncomingMessage, ServerResponse } from "node:http"
import { handshakeVersions } from "../../Era.ts"
import * as Messages from "../Messages.ts"
import { defect, headerMismatch, invalidRequest } from "../Refusals.ts"
import * as StatelessRequest from "../StatelessRequest.ts"
import * as HandshakeHttp from "./HandshakeHttp.ts"
import { accept, type Accepted, acceptedBy, headerOf, notAllowed, refuse } from "./HttpReplies.ts"
import * as RequestBody from "./RequestBody.ts"
import * as StatelessHttp from "./StatelessHttp.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface StreamableHttpOptions extends HandshakeHttp.HandshakeHttpOptions, StatelessHttp.StatelessHttpOptions {
  readonly limits: RequestBody.BodyLimits
  /** Something failed in a way that it can't. Plain. */
  readonly onDefect: (what: string, cause: Cause.Cause<unknown>) => void
}

/**
 * Makes the handler.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: StreamableHttpOptions) => {
  const handshake = HandshakeHttp.make(options)
  const stateless = StatelessHttp.make(options)

  /** A mistake in here is one failed request, not the end of the process. */
  const guarded = (response: ServerResponse, answer: () => void): void => {
    try {
      answer()
    } catch (error) {
      options.onDefect("an HTTP request", Cause.die(error))
      if (response.headersSent) response.destroy()
      else refuse(response, 500, defect)
    }
  }

  const onMessage = (
    request: IncomingMessage,
    response: ServerResponse,
    accepted: Accepted,
    value: unknown
  ): void => {
    if (Array.isArray(value)) return handshake.batch(request, response, accepted, value)
    const given = Messages.classify(value)
    if (given._tag === "Invalid") return refuse(response, 400, invalidRequest(given.reason), given.id)
    const version = headerOf(request)("mcp-protocol-version")
    const id = given._tag === "Request" ? given.message.id : null
    const initializes = given._tag === "Request" && given.message.method === "initialize"
    const claims = given._tag !== "Response" && StatelessRequest.claims(given.message)
    if (claims || StatelessRequest.isStatelessVersion(version)) {
      if (given._tag === "Response") {
        return refuse(response, 400, invalidRequest("Responses can't be sent in this era"))
      }
      if (given._tag === "Notification") return accept(response)
      if (claims || !initializes) return stateless(request, response, accepted, given.message)
      return refuse(
        response,
        400,
        headerMismatch("initialize doesn't belong to the version in MCP-Protocol-Version"),
        id
      )
    }
    if (initializes) return handshake.initialize(request, response, accepted, given.message)
    if (version !== undefined && !handshakeVersions.some((known) => known === version)) {
      return refuse(response, 400, StatelessRequest.unsupported(version), id)
    }
    handshake.message(request, response, accepted, given)
  }

  const onPost = (request: IncomingMessage, response: ServerResponse): void => {
    const accepted = acceptedBy(request)
    if (!accepted.json && !accepted.events) {
      request.resume()
      return refuse(response, 406, invalidRequest("Accept must list application/json and text/event-stream"))
    }
    RequestBody.receive(
      request,
      response,
      options.limits,
      (value) => guarded(response, () => onMessage(request, response, accepted, value))
    )
  }

  /** GET and DELETE are of the handshake era. */
  const ofSession = (
    request: IncomingMessage,
    response: ServerResponse,
    handle: (request: IncomingMessage, response: ServerResponse) => void
  ): void => {
    request.resume()
    if (StatelessRequest.isStatelessVersion(headerOf(request)("mcp-protocol-version"))) notAllowed(response, "POST")
    else handle(request, response)
  }

  return (request: IncomingMessage, response: ServerResponse): void => {
    // A client that goes away while it is written to is no error of ours; `close` tells the rest.
    response.on("error", () => {})
    guarded(response, () => {
      switch (request.method) {
        case "POST":
          return onPost(request, response)
        case "GET":
          return ofSession(request, response, handshake.get)
        case "DELETE":
          return ofSession(request, response, handshake.delete)
        default:
          request.resume()
          return notAllowed(response, "GET, POST, DELETE")
      }
    })
  }
}

/**
 * Requests of the stateless era over HTTP.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
 * @since 0.1.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { Code, type JsonRpcRequest, type Reply } from "../../JsonRpc.ts"
import { headerMismatch, invalidRequest } from "../Refusals.ts"
import type { Relay } from "../Relay.ts"
import * as StatelessRequest from "../StatelessRequest.ts"
import type { Traffic } from "../Traffic.ts"
import { type Accepted, headerOf, refuse } from "./HttpReplies.ts"
import type { HttpTraffic } from "./HttpTraffic.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface StatelessHttpOptions {
  readonly relay: Relay
  readonly traffic: Traffic
  readonly http: HttpTraffic
  readonly principal: (request: IncomingMessage) => string | undefined
}

/** What these fail with is said by the tool, prompt or resource: the method itself is known. */
const used: ReadonlySet<string> = new Set(["tools/call", "prompts/get", "resources/read"])

/** The status that an error of a server has to have, too, where nothing was written before it. */
const statusOf = (method: string, reply: Reply): number => {
  switch ("error" in reply ? reply.error.code : undefined) {
    case Code.missingClientCapability:
      return 400
    case Code.methodNotFound:
      // A client takes the status for the absence of the method, and hides what was said.
      return used.has(method) ? 200 : 404
    default:
      return 200
  }
}

/**
 * Makes the handler of one request.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = ({ http, principal, relay, traffic }: StatelessHttpOptions) =>
(
  request: IncomingMessage,
  response: ServerResponse,
  accepted: Accepted,
  message: JsonRpcRequest
): void => {
  const { id, method, params } = message
  const header = headerOf(request)
  const envelope = StatelessRequest.check(message, header, principal(request))
  if ("error" in envelope) return refuse(response, 400, envelope.error, id)
  if (!relay.knows("stateless", method)) {
    return refuse(response, 404, { code: Code.methodNotFound, message: `Method not found: ${method}` }, id)
  }
  const name = params?.["name"]
  if (method === "tools/call" && typeof name === "string") {
    const reason = relay.headerMismatch(envelope.client, name, params?.["arguments"], header)
    if (reason !== undefined) return refuse(response, 400, headerMismatch(reason), id)
  }
  const subscribes = method === "subscriptions/listen"
  if (subscribes && !accepted.events) {
    return refuse(response, 406, invalidRequest("Accept must list text/event-stream"), id)
  }
  if (!(subscribes ? http.admitStream(response, id) : http.admit(response, id))) return
  const responder = http.responder(response, accepted)
  const effect = relay.request(message, {
    client: envelope.client,
    logLevel: envelope.logLevel,
    streams: responder.streams,
    hop: responder.hop,
    address: () => request.socket.remoteAddress,
    notify: responder.notify
  })
  const fiber = traffic.run({ method, stream: subscribes }, effect, (reply) => {
    if (reply === undefined) responder.skip()
    else responder.reply(id, reply, statusOf(method, reply))
  })
  // The end of the connection is the cancellation.
  response.on("close", () => fiber.interruptUnsafe())
}

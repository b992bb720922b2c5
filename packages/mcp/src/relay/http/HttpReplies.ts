/**
 * What is read from the headers of a request before its body, and how it is refused.
 *
 * @since 0.1.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import type { JsonRpcErrorObject, RequestId } from "../../JsonRpc.ts"
import { invalidRequest } from "../Refusals.ts"
import type { HeaderOf } from "../StatelessRequest.ts"

/**
 * Kinds of reply that a client takes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Accepted {
  readonly json: boolean
  readonly events: boolean
}

/**
 * Makes the function that reads the headers of a request.
 *
 * @category accessors
 * @since 0.1.0
 */
export const headerOf = (request: IncomingMessage): HeaderOf => (name) => {
  const value = request.headers[name]
  return typeof value === "string" ? value.trim() : undefined
}

/**
 * Tells which replies a client takes. Without the header JSON alone: whoever sends none expects no stream.
 *
 * @category accessors
 * @since 0.1.0
 */
export const acceptedBy = (request: IncomingMessage): Accepted => {
  const accept = request.headers.accept
  if (accept === undefined) return { json: true, events: false }
  const any = accept.includes("*/*")
  return {
    json: any || /application\/(json|\*)/i.test(accept),
    events: any || /text\/(event-stream|\*)/i.test(accept)
  }
}

/** Seconds after which a refused client may come again. */
const retryAfter = { "retry-after": "1" }

/**
 * Sends a JSON text. With status 429 and 503 the client is told to come again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sendJson = (
  response: ServerResponse,
  status: number,
  json: string,
  headers?: Readonly<Record<string, string>>
): void => {
  if (response.writableEnded || response.destroyed) return
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(json)),
    ...(status === 429 || status === 503 ? retryAfter : undefined),
    ...headers
  })
  response.end(json)
}

/**
 * Says that a message was taken, which has no reply here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const accept = (response: ServerResponse): void => {
  response.writeHead(202)
  response.end()
}

/**
 * Refuses a request with a JSON-RPC error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const refuse = (
  response: ServerResponse,
  status: number,
  error: JsonRpcErrorObject,
  id: RequestId | null = null,
  headers?: Readonly<Record<string, string>>
): void => sendJson(response, status, JSON.stringify({ jsonrpc: "2.0", id, error }), headers)

/**
 * Refuses the HTTP method.
 *
 * @category constructors
 * @since 0.1.0
 */
export const notAllowed = (response: ServerResponse, allow: string): void =>
  refuse(response, 405, invalidRequest("Method not allowed"), null, { allow })

/**
 * What is read from the headers of a request before its body, and how it is refused.
 *
 * @since 0.1.0
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { Code, type JsonRpcErrorObject, type RequestId } from "../JsonRpc.ts"
import * as Responder from "./Responder.ts"
import type { HeaderOf } from "./StatelessRequest.ts"

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
 * Refuses a request with a JSON-RPC error. With status 503 the client is told to come again.
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
): void =>
  Responder.sendJson(
    response,
    status,
    JSON.stringify({ jsonrpc: "2.0", id, error }),
    status === 503 ? { ...retryAfter, ...headers } : headers
  )

/**
 * Refuses the HTTP method.
 *
 * @category constructors
 * @since 0.1.0
 */
export const notAllowed = (response: ServerResponse, allow: string): void =>
  refuse(response, 405, invalidRequest("Method not allowed"), null, { allow })

/**
 * Makes the error for a request that breaks the rules.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalidRequest = (message: string): JsonRpcErrorObject => ({ code: Code.invalidRequest, message })

/**
 * Makes the error for a header that differs from the body.
 *
 * @category constructors
 * @since 0.1.0
 */
export const headerMismatch = (reason: string): JsonRpcErrorObject => ({
  code: Code.headerMismatch,
  message: `Header mismatch: ${reason}`
})

/**
 * Makes the error for what there is no room for.
 *
 * @category constructors
 * @since 0.1.0
 */
export const overloaded = (message: string): JsonRpcErrorObject => ({
  code: Code.unavailable,
  message,
  data: { reason: "overloaded" }
})

/**
 * The error for what comes after the end was announced.
 *
 * @category constants
 * @since 0.1.0
 */
export const draining: JsonRpcErrorObject = {
  code: Code.unavailable,
  message: "The gateway is shutting down",
  data: { reason: "draining" }
}

/**
 * The error that says no more than that something here is wrong.
 *
 * @category constants
 * @since 0.1.0
 */
export const defect: JsonRpcErrorObject = { code: Code.internalError, message: "Internal error of the gateway" }

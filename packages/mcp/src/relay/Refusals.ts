/**
 * Errors with which the gateway itself refuses a message, whatever it came by.
 *
 * @since 0.1.0
 */
import { Code, type JsonRpcErrorObject, type RequestId } from "../JsonRpc.ts"

/**
 * Why something is refused, with the status that HTTP gives it.
 *
 * @category models
 * @since 0.2.0
 */
export interface Refusal {
  readonly error: JsonRpcErrorObject
  readonly status: number
  readonly id?: RequestId | null
}

/**
 * Makes the error for a request that breaks the rules.
 *
 * @category constructors
 * @since 0.1.0
 */
export const invalidRequest = (message: string): JsonRpcErrorObject => ({ code: Code.invalidRequest, message })

/**
 * Makes the error for a text that is no JSON.
 *
 * @category constructors
 * @since 0.1.0
 */
export const notJson = (reason: string): JsonRpcErrorObject => ({
  code: Code.parseError,
  message: `Parse error: ${reason}`
})

/**
 * Makes the error for a message of more than so many bytes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const tooLarge = (bytes: number): JsonRpcErrorObject =>
  invalidRequest(`The message is larger than ${bytes} bytes`)

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
  data: { reason: "overloaded", retryAfterMs: 1_000 }
})

/**
 * The error for a session that isn't known, is over, or is somebody else's.
 *
 * @category constants
 * @since 0.2.0
 */
export const noSession: JsonRpcErrorObject = { code: -32001, message: "Session not found" }

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

/**
 * JSON-RPC 2.0 messages, carried and not interpreted: unknown fields stay.
 *
 * @see https://www.jsonrpc.org/specification
 * @since 0.1.0
 */

/** Parameters or a result as they came over the wire. */
export type Fields = Readonly<Record<string, unknown>>

/** Whether a value is a JSON object. */
export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** What ties an answer to its request. */
export type RequestId = string | number

/** A message that wants an answer. */
export interface JsonRpcRequest {
  readonly jsonrpc: "2.0"
  readonly id: RequestId
  readonly method: string
  readonly params?: Fields | undefined
}

/** A message that wants none. */
export interface JsonRpcNotification {
  readonly jsonrpc: "2.0"
  readonly method: string
  readonly params?: Fields | undefined
}

/** Why a request failed. */
export interface JsonRpcErrorObject {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** What a request came to: the peer's result or the peer's error, as they were. */
export type Reply =
  | { readonly result: Fields }
  | { readonly error: JsonRpcErrorObject }

/** Codes of JSON-RPC, of MCP, and of the stateless era. */
export const Code = {
  parseError: -32700,
  invalidRequest: -32600,
  methodNotFound: -32601,
  invalidParams: -32602,
  internalError: -32603,
  /** Nothing routable. Ours: MCP wants the codes of others outside the range that JSON-RPC reserves. */
  unavailable: -31000,
  /** The call may have run and can't be repeated (ours). */
  interrupted: -31001,
  /** A handler in this process failed to answer (ours). */
  handlerFailed: -31002,
  headerMismatch: -32020,
  missingClientCapability: -32021,
  unsupportedProtocolVersion: -32022
} as const

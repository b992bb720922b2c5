/**
 * Tells what a JSON value is to JSON-RPC.
 *
 * @since 0.1.0
 */
import {
  Code,
  type Fields,
  isFields,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type Reply,
  type RequestId
} from "../JsonRpc.ts"

/**
 * What a value is.
 *
 * @category models
 * @since 0.1.0
 */
export type Message =
  | { readonly _tag: "Request"; readonly message: JsonRpcRequest }
  | { readonly _tag: "Notification"; readonly message: JsonRpcNotification }
  | { readonly _tag: "Response"; readonly id: RequestId; readonly reply: Reply }
  | { readonly _tag: "Invalid"; readonly reason: string; readonly id: string | number | null }

/** What a response says. One that says neither is an error of whoever sent it. */
const replyOf = ({ error, result }: Fields): Reply => {
  if (isFields(result)) return { result }
  if (isFields(error)) {
    const { code, data, message } = error
    if (typeof code === "number" && typeof message === "string") {
      return { error: { code, message, ...(data === undefined ? undefined : { data }) } }
    }
  }
  return { error: { code: Code.internalError, message: "The answer is neither a result nor an error" } }
}

/**
 * Tells it. An id is a string or an integer, and parameters are an object: MCP is narrower than JSON-RPC here.
 *
 * @category constructors
 * @since 0.1.0
 */
export const classify = (value: unknown): Message => {
  if (!isFields(value)) return { _tag: "Invalid", reason: "not a JSON-RPC message", id: null }
  const { id, jsonrpc, method, params } = value
  const known = typeof id === "string" || (typeof id === "number" && Number.isInteger(id))
  const echoed = known ? id : null
  if (jsonrpc !== "2.0") return { _tag: "Invalid", reason: "jsonrpc must be \"2.0\"", id: echoed }
  if (typeof method !== "string") {
    return known && (Object.hasOwn(value, "result") || Object.hasOwn(value, "error"))
      ? { _tag: "Response", id, reply: replyOf(value) }
      : { _tag: "Invalid", reason: "method must be a string", id: echoed }
  }
  if (params !== undefined && !isFields(params)) {
    return { _tag: "Invalid", reason: "params must be an object", id: echoed }
  }
  if (!Object.hasOwn(value, "id")) return { _tag: "Notification", message: { jsonrpc, method, params } }
  return known
    ? { _tag: "Request", message: { jsonrpc, id, method, params } }
    : { _tag: "Invalid", reason: "id must be a string or an integer", id: null }
}

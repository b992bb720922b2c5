/**
 * A transport that carries raw JSON-RPC to one server and back. What the messages mean is not its business.
 *
 * **Mental model**: a connection is opened once and lost once. It never reconnects: whoever holds it opens another.
 * Plain callbacks, since every call of a tool passes here.
 *
 * @since 0.1.0
 */
import {
  type Fields,
  isFields,
  type JsonRpcNotification,
  type JsonRpcRequest,
  type Reply,
  type RequestId
} from "../../JsonRpc.ts"

/**
 * Why a request got no reply.
 *
 * @category models
 * @since 0.1.0
 */
export interface Failure {
  readonly phase: "notSent" | "mayHaveRun" | "answered"
  readonly reason: string
  readonly status?: number | undefined
  /** ms */
  readonly retryAfter?: number | undefined
  /** The server no longer knows the session: the request has certainly not run. */
  readonly sessionLost?: boolean | undefined
  /** The server asks for credentials: HTTP 401, or 403 with a challenge. */
  readonly wantsCredentials?: boolean | undefined
  /** The reply is longer than is read. That is a matter of what was asked. */
  readonly tooLong?: boolean | undefined
  /** The connection as a whole is gone, not this request alone. */
  readonly connectionLost?: boolean | undefined
  /** The server hangs: waiting for it again is a waste of the caller's time. */
  readonly timedOut?: boolean | undefined
  /** A child process ended when it was asked for its era: it may live if it isn't asked. */
  readonly endedAtProbe?: boolean | undefined
  readonly cause?: unknown
}

/**
 * A message that the server sent of itself.
 *
 * @category models
 * @since 0.1.0
 */
export type Inbound = JsonRpcRequest | JsonRpcNotification

/**
 * What a sender of a request wants to hear. Exactly one of `onReply` and `onFailure` is called, once; none after a
 * cancellation. They must not throw.
 *
 * @category models
 * @since 0.1.0
 */
export interface Exchange {
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly onSent?: (() => void) | undefined
  /** A message on the response stream of this very request. Transports without such streams never call it. */
  readonly onMessage: (message: Inbound) => void
  readonly onReply: (reply: Reply) => void
  readonly onFailure: (failure: Failure) => void
}

/**
 * What the holder of a connection hears of it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listener {
  /** A message that came outside any request's own stream. Must not throw. */
  readonly onMessage: (message: Inbound) => void
  /** The connection is gone; called once at most, and not after `close`. Must not throw. */
  readonly onLost: (failure: Failure) => void
}

/**
 * The end of a stream of messages that the server sends of itself: `closed` may be opened again, after `retry` ms where
 * the server named a time; `absent` is not offered; `lost` means that the connection or the session is gone.
 *
 * @category models
 * @since 0.1.0
 */
export type StreamEnd =
  | { readonly _tag: "closed"; readonly retry: number | undefined }
  | { readonly _tag: "absent" }
  | { readonly _tag: "lost"; readonly failure: Failure }

/**
 * An open transport.
 *
 * @category models
 * @since 0.1.0
 */
export interface Connection {
  /** Sends a request. The returned function gives up on it and frees what it held; the server is told by the caller. */
  readonly send: (request: JsonRpcRequest, exchange: Exchange) => () => void
  /** Sends a message that has no reply: a notification or a response to the server. */
  readonly post: (
    message: JsonRpcNotification | Response,
    done?: (failure: Failure | undefined) => void
  ) => void
  /** Tells the transport what the handshake agreed on. */
  readonly negotiated: (protocolVersion: string) => void
  /**
   * Opens the stream for messages outside requests, where the transport has one; `onGap` when it is open and resumes
   * nothing. Returns how to stop it.
   */
  readonly listen?: ((onEnd: (end: StreamEnd) => void, onGap: () => void) => () => void) | undefined
  /** Whether the server began a session; absent where the connection itself is one. */
  readonly hasSession?: (() => boolean) | undefined
  /** Whether giving up on a request tells the server. */
  readonly cancelsByClosing: boolean
  /** Ends it: what is in flight is given up in silence, and what it held is free when the promise settles. Never rejects. */
  readonly close: () => Promise<void>
}

/**
 * A response to a request of the server.
 *
 * @category models
 * @since 0.1.0
 */
export type Response = { readonly jsonrpc: "2.0"; readonly id: RequestId } & Reply

/** The reply in a message with an `id`, if it is a well-formed one. */
export const replyOf = (message: Fields): Reply | undefined => {
  const { error, result } = message
  if (isFields(result)) return { result }
  if (isFields(error) && typeof error["code"] === "number") {
    const text = typeof error["message"] === "string" ? error["message"] : "no message"
    return { error: { ...error, code: error["code"], message: text } }
  }
  return undefined
}

/** The message as one that the server sent of itself, if it is one. */
export const inboundOf = (message: Fields): Inbound | undefined => {
  const { id, method, params } = message
  if (typeof method !== "string" || (params !== undefined && !isFields(params))) return undefined
  if (id === undefined) return { ...message, jsonrpc: "2.0", method, params }
  return typeof id === "string" || typeof id === "number"
    ? { ...message, jsonrpc: "2.0", id, method, params }
    : undefined
}

/** One line of at most 300 characters, none of which controls a terminal. */
export const oneLine = (text: string): string => {
  const line = text.replace(/[\s\p{Cc}]+/gu, " ").trim()
  return line.length > 300 ? `${line.slice(0, 299)}…` : line
}

/** The id of a reply that was too long to be kept, by both ends of its text, if it stands there. */
export const idOfLong = (head: string, tail: string): number | undefined => {
  const id = /^\s*\{\s*"jsonrpc"\s*:\s*"2\.0"\s*,\s*"id"\s*:\s*(\d+)\s*,/.exec(head)?.[1]
    ?? /"id"\s*:\s*(\d+)\s*\}\s*$/.exec(tail)?.[1]
  return id === undefined ? undefined : Number(id)
}

/**
 * A connection that never was: it tells so at once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const dead = (failure: Failure, listener: Listener): Connection => {
  queueMicrotask(() => listener.onLost(failure))
  return {
    send: (_, exchange) => {
      exchange.onFailure(failure)
      return () => {}
    },
    post: (_, done) => done?.(failure),
    negotiated: () => {},
    cancelsByClosing: false,
    close: () => Promise.resolve()
  }
}

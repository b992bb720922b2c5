/**
 * MCP over a WebSocket with the subprotocol `mcp`: one JSON-RPC message a frame, as the official SDK speaks it.
 *
 * **Details**: a message that is too long ends the connection, since the protocol has no way past it. A peer that doesn't
 * answer a ping is taken for gone.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6455
 * @since 0.1.0
 */
import type { SecureContext } from "node:tls"
import type { ClientOptions, WebSocket } from "ws"
import { type Connection, dead, type Failure, idOfLong, type Listener, oneLine } from "./Connection.ts"
import * as HttpExchange from "./HttpExchange.ts"
import * as NetworkErrors from "./NetworkErrors.ts"
import * as Replies from "./Replies.ts"

/**
 * Where a server is, and the bounds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The class; loaded where a record needs it. */
  readonly WebSocket: new(url: URL, protocols: Array<string>, options: ClientOptions) => WebSocket
  readonly url: URL
  readonly headers: Readonly<Record<string, string>>
  /** Differs from the usual where the record says so. */
  readonly tls?: { readonly secureContext: SecureContext; readonly servername?: string | undefined } | undefined
  /** ms */
  readonly connectTimeout: number
  /** ms between two pings; a peer that is silent for that long after one is gone. */
  readonly pingInterval: number
  /** Bytes of the longest message. */
  readonly maxMessageSize: number
  /** Epoch ms; for `Retry-After` dates. */
  readonly now: () => number
  /** Takes secrets out of what the server says. */
  readonly redact: (text: string) => string
  /** The server doesn't take the token that stands in the headers. */
  readonly onUnauthorized?: ((challenge: HttpExchange.ResponseHeaders) => void) | undefined
}

/** Messages that may wait for the connection to open. */
const MaxWaiting = 64
/** Bytes that may wait for a server that doesn't read. */
const MaxUnread = 64 * 1024 * 1024
/** ms that the farewell may take. */
const FarewellTime = 1_000

interface Waiting {
  readonly start: () => void
  readonly fail: (failure: Failure) => void
}

/** Times the longest message that one may be for its call alone to fail: beyond that the connection is given up. */
const Bearable = 4
/** Bytes of both ends of a message that is too long, in which its id is looked for. */
const EndLength = 128

/**
 * Opens a connection.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (options: Options, listener: Listener): Connection => {
  const replies = Replies.make(listener)
  let waiting: Array<Waiting> = []
  let gone: Failure | undefined
  let closing: Promise<void> | undefined

  const lose = (failure: Failure) => {
    if (gone !== undefined) return
    clearInterval(pinging)
    const phase = failure.phase === "answered" ? "answered" : "notSent"
    gone = { ...failure, phase: "notSent", connectionLost: true }
    const left = waiting
    waiting = []
    socket.terminate()
    if (closing !== undefined) return
    for (const { fail } of left) fail({ ...gone, phase })
    replies.lose({ ...gone, phase })
    listener.onLost(gone)
  }

  let socket: WebSocket
  try {
    socket = new options.WebSocket(options.url, ["mcp"], {
      headers: { ...options.headers },
      maxPayload: Bearable * options.maxMessageSize,
      handshakeTimeout: options.connectTimeout,
      followRedirects: false,
      perMessageDeflate: false,
      ...options.tls
    })
  } catch (cause) {
    // A header that HTTP can't hold.
    const why = cause instanceof Error ? cause.message : String(cause)
    return dead({ phase: "notSent", reason: oneLine(why), connectionLost: true, cause }, listener)
  }

  let heard = true
  const hear = () => {
    heard = true
  }
  const pinging = setInterval(() => {
    if (socket.readyState !== socket.OPEN) return
    if (!heard) return lose({ phase: "notSent", reason: "the server doesn't answer a ping" })
    heard = false
    socket.ping()
  }, options.pingInterval)

  socket.on("open", () => {
    const left = waiting
    waiting = []
    for (const { start } of left) start()
  })
  socket.on("pong", hear)
  socket.on("ping", hear)
  socket.on("message", (data: Buffer) => {
    heard = true
    if (gone !== undefined || closing !== undefined) return
    if (data.length > options.maxMessageSize) {
      const id = idOfLong(data.toString("utf8", 0, EndLength), data.toString("utf8", data.length - EndLength))
      if (id !== undefined) replies.tooLong(id, `the reply is longer than ${options.maxMessageSize} bytes`)
    } else replies.read(data.toString("utf8"))
  })
  socket.on("unexpected-response", (request, response) => {
    const status = response.statusCode ?? 0
    if (status === 401) options.onUnauthorized?.(response.headers)
    const read = HttpExchange.refusal(status, response.headers, undefined, options, {
      onReply: () => lose({ phase: "answered", status, reason: `HTTP ${status}` }),
      onFailure: lose
    })
    const stop = () => {
      read.onEnd()
      request.destroy()
    }
    response.on("data", (chunk: Buffer) => {
      if (!read.onData(chunk)) stop()
    })
    response.once("end", stop)
    response.once("error", stop)
  })
  const reasonOf = (error: Error): string =>
    NetworkErrors.codeOf(error) === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"
      ? `a message of the server is longer than ${Bearable * options.maxMessageSize} bytes`
      : error.message === "Server sent no subprotocol" || error.message === "Server sent an invalid subprotocol"
      ? "the server doesn't speak MCP: it didn't take the subprotocol mcp"
      : NetworkErrors.reason(error)
  socket.on("error", (error) => {
    const timedOut = error.message === "Opening handshake has timed out"
    lose({
      phase: "notSent",
      reason: timedOut ? "no connection in time" : reasonOf(error),
      timedOut: timedOut ? true : undefined,
      cause: error
    })
  })
  socket.on("close", (code, reason) => {
    const why = oneLine(options.redact(reason.toString("utf8")))
    lose({ phase: "notSent", reason: `closed by the server (${code})${why === "" ? "" : `: ${why}`}` })
  })

  const write = (message: object, onSent: () => void, fail: (failure: Failure) => void) => {
    if (gone !== undefined || closing !== undefined) {
      return fail(gone ?? { phase: "notSent", reason: "closed", connectionLost: true })
    }
    if (socket.readyState !== socket.OPEN) {
      return fail({ phase: "notSent", reason: "closed by the server", connectionLost: true })
    }
    if (socket.bufferedAmount > MaxUnread) {
      return fail({ phase: "notSent", reason: "the server doesn't read its input" })
    }
    socket.send(JSON.stringify(message))
    onSent()
  }

  /** Writes now, or once it is open. Answers how to give that up. */
  const transmit = (message: object, onSent: () => void, fail: (failure: Failure) => void): () => void => {
    if (gone !== undefined || closing !== undefined || socket.readyState !== socket.CONNECTING) {
      write(message, onSent, fail)
      return () => {}
    }
    if (waiting.length >= MaxWaiting) {
      fail({ phase: "notSent", reason: "not connected yet" })
      return () => {}
    }
    const one = { start: () => write(message, onSent, fail), fail }
    waiting.push(one)
    return () => {
      waiting = waiting.filter((other) => other !== one)
    }
  }

  return {
    send: (request, exchange) => {
      const expected = replies.expect(request.id, exchange, () => {})
      const stop = transmit(request, expected.sent, expected.fail)
      return () => {
        expected.land()
        stop()
      }
    },
    post: (message, done) => void transmit(message, () => done?.(undefined), (failure) => done?.(failure)),
    negotiated: () => {},
    cancelsByClosing: false,
    close: () =>
      closing ??= new Promise((resolve) => {
        clearInterval(pinging)
        waiting = []
        replies.clear()
        if (socket.readyState === socket.CLOSED) return resolve()
        const timer = setTimeout(() => socket.terminate(), FarewellTime)
        socket.once("close", () => {
          clearTimeout(timer)
          resolve()
        })
        if (socket.readyState === socket.OPEN) socket.close(1000)
        else socket.terminate()
      })
  }
}

/**
 * Streamable HTTP of both eras: a POST per message, answered with JSON or with a stream of events.
 *
 * **Details**: works on undici's dispatcher itself. It tells exactly when a request was handed to a socket, which is what
 * decides whether a call may have run, and costs less than a response as a stream.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
 * @since 0.1.0
 */
import type { Dispatcher } from "undici"
import type { JsonRpcRequest } from "../JsonRpc.ts"
import { type Connection, type Exchange, type Failure, type Inbound, inboundOf, isFields, type Listener, oneLine, replyOf, type StreamEnd } from "./Connection.ts"
import * as HeaderValue from "./HeaderValue.ts"
import * as ServerSentEvents from "./ServerSentEvents.ts"

/**
 * Where a server is, and the bounds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Of one origin; it outlives the connection. */
  readonly dispatcher: Dispatcher
  readonly url: URL
  /** The record's own headers. */
  readonly headers: Readonly<Record<string, string>>
  readonly era: "handshake" | "stateless"
  /** Bytes of the longest message. */
  readonly maxMessageSize: number
  /** Epoch ms; for `Retry-After` dates. */
  readonly now: () => number
}

type Headers = Record<string, string>

/** Bytes of an error page that are read. */
const MaxErrorBody = 16_384
/** Times that one reply's broken stream is taken up again in a row without an event in between. */
const MaxResumptions = 3
/** ms before a broken stream is taken up again where the server names no time. */
const ResumeDelay = 250
/** ms that a stream may stay open after its reply, before it is closed. */
const ReplyLinger = 1_000
/** ms that the farewell to a session may take. */
const FarewellTime = 1_000

const first = (value: string | ReadonlyArray<string> | undefined): string | undefined =>
  typeof value === "string" ? value : value?.[0]

const networkReason = (error: Error): string => {
  const code = "code" in error && typeof error.code === "string" ? error.code : undefined
  switch (code) {
    case "ECONNREFUSED":
      return "connection refused"
    case "ENOTFOUND":
      return "host not found"
    case "EAI_AGAIN":
      return "host not found (the name server doesn't answer)"
    case "ECONNRESET":
    case "EPIPE":
    case "UND_ERR_SOCKET":
      return "connection closed by the server"
    case "UND_ERR_CONNECT_TIMEOUT":
    case "ETIMEDOUT":
      return "no connection in time"
    default:
      return oneLine(code === undefined ? error.message : `${error.message} (${code})`)
  }
}

const retryAfterOf = (value: string | undefined, now: () => number): number | undefined => {
  if (value === undefined) return undefined
  if (/^\d+$/.test(value)) return Number(value) * 1_000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - now())
}

// An error body in one line: the JSON-RPC error's or the page's text.
const bodyReason = (body: string): string => {
  try {
    const parsed: unknown = JSON.parse(body)
    if (isFields(parsed)) {
      const error = parsed["error"]
      if (isFields(error) && typeof error["message"] === "string") return oneLine(error["message"])
      if (typeof error === "string") return oneLine(error)
    }
  } catch {
    // Not JSON: the page itself says it.
  }
  return body.trimStart().startsWith("<") ? "" : oneLine(body).slice(0, 160)
}

/** What came over one HTTP exchange. Exactly one of `onEnd` and `onError` is called, once, unless it was aborted. */
interface Reader {
  readonly onStart?: (() => void) | undefined
  /** Answers how to take the body. */
  readonly onHeaders: (status: number, headers: Readonly<Record<string, string | Array<string> | undefined>>) => Body
  readonly onError: (error: Error, sent: boolean) => void
}

interface Body {
  /** Answers `false` when it is enough. */
  readonly onData: (chunk: Buffer) => boolean
  readonly onEnd: () => void
}

const tooLong = new Error("message too long")

/**
 * Opens a connection: nothing is sent before the first message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (options: Options, listener: Listener): Connection => {
  const { dispatcher, url } = options
  const path = `${url.pathname}${url.search}`
  const handshake = options.era === "handshake"
  const base: Headers = {
    ...options.headers,
    "content-type": "application/json",
    accept: "application/json, text/event-stream"
  }
  let session: string | undefined
  let version: string | undefined
  let closed = false
  /** How to end what is in flight. */
  const open = new Set<() => void>()
  /** Streams that had their reply and that the server should end now; one timer for all of them. */
  const lingering = new Set<() => void>()
  let sweeping: NodeJS.Timeout | undefined
  const linger = (stop: () => void) => {
    lingering.add(stop)
    sweeping ??= setTimeout(() => {
      sweeping = undefined
      for (const stop of lingering) stop()
      lingering.clear()
    }, ReplyLinger)
  }

  const run = (method: "POST" | "GET" | "DELETE", headers: Headers, body: string | null, reader: Reader): () => void => {
    let controller: Dispatcher.DispatchController | undefined
    let over = false
    let sent = false
    let taking: Body | undefined

    const abort = () => {
      if (over) return
      over = true
      open.delete(abort)
      controller?.abort(new Error("given up"))
    }
    const fail = (error: Error) => {
      if (over) return
      over = true
      open.delete(abort)
      reader.onError(error, sent)
    }
    open.add(abort)

    try {
      dispatcher.dispatch({ path, origin: url.origin, method, headers, body }, {
        onRequestStart: (started) => {
          controller = started
          if (over) return started.abort(new Error("given up"))
          sent = true
          reader.onStart?.()
        },
        onResponseStart: (_, status, headers) => {
          if (over || status < 200) return
          taking = reader.onHeaders(status, headers)
        },
        onResponseData: (current, chunk) => {
          if (over || taking === undefined || taking.onData(chunk)) return
          fail(tooLong)
          current.abort(tooLong)
        },
        onResponseEnd: () => {
          if (over) return
          over = true
          open.delete(abort)
          taking?.onEnd()
        },
        onResponseError: (_, error) => fail(error)
      })
    } catch (cause) {
      // A header that HTTP can't hold.
      fail(cause instanceof Error ? cause : new Error(String(cause)))
    }
    return abort
  }

  const withSession = (headers: Headers): Headers => {
    if (version !== undefined) headers["mcp-protocol-version"] = version
    if (session !== undefined) headers["mcp-session-id"] = session
    return headers
  }

  const headersOf = (request: JsonRpcRequest, extra: Readonly<Record<string, string>> | undefined): Headers => {
    const headers: Headers = { ...base }
    if (extra !== undefined) { for (const [name, value] of Object.entries(extra)) headers[name] = HeaderValue.encode(value) }
    if (!handshake) {
      headers["mcp-method"] = request.method
      const name = HeaderValue.nameOf(request.method, request.params)
      if (name !== undefined) headers["mcp-name"] = name
    }
    return withSession(headers)
  }

  const networkFailure = (error: Error, sent: boolean): Failure =>
    error === tooLong
      ? { phase: "answered", reason: `the reply is longer than ${options.maxMessageSize} bytes` }
      : { phase: sent ? "mayHaveRun" : "notSent", reason: networkReason(error), connectionLost: true, cause: error }

  /** Reads an answer that isn't a success. */
  const refusal = (
    status: number,
    headers: Readonly<Record<string, string | Array<string> | undefined>>,
    usedSession: string | undefined,
    exchange: Pick<Exchange, "onFailure" | "onReply">
  ): Body => {
    const chunks: Array<Buffer> = []
    let size = 0
    return {
      onData: (chunk) => {
        // The rest of an error page is read and thrown away, so that the socket stays usable; a huge one isn't worth it.
        size += chunk.length
        if (size <= MaxErrorBody) chunks.push(chunk)
        return size <= MaxErrorBody * 16
      },
      onEnd: () => {
        const body = Buffer.concat(chunks).toString("utf8")
        const error = status < 500 && status !== 401 && status !== 403 && status !== 429 ? rpcError(body) : undefined
        const forgotten = usedSession !== undefined &&
          (status === 404 || (status === 400 && /session|not initialized/i.test(error?.error.message ?? body)))
        if (error !== undefined && !forgotten) return exchange.onReply(error)
        const why = bodyReason(body)
        exchange.onFailure({
          phase: forgotten ? "notSent" : "answered",
          reason: forgotten ? "the server forgot the session" : `HTTP ${status}${why === "" ? "" : `: ${why}`}`,
          status,
          retryAfter: retryAfterOf(first(headers["retry-after"]), options.now),
          sessionLost: forgotten ? true : undefined
        })
      }
    }
  }

  /** A stream of events that carries the reply to a request, taken up again where the server allows it. */
  const follow = (request: JsonRpcRequest, exchange: Exchange, usedSession: string | undefined) => {
    let lastId: string | undefined
    let delay = ResumeDelay
    let attempts = 0
    let over = false
    let stop: () => void = () => {}

    const settle = (act: () => void) => {
      if (over) return
      over = true
      open.delete(cancel)
      act()
    }
    const cancel = () => {
      over = true
      open.delete(cancel)
      stop()
    }
    open.add(cancel)

    const body = (): Body => {
      const parse = ServerSentEvents.make({
        limit: options.maxMessageSize,
        onId: (id) => {
          lastId = id
        },
        onRetry: (ms) => {
          delay = Math.min(ms, 60_000)
        },
        onData: (data) => {
          attempts = 0
          each(data, (message) => {
            if (over) return
            const reply = message["method"] === undefined ? replyOf(message) : undefined
            if (reply === undefined) {
              const inbound = inboundOf(message)
              if (inbound !== undefined) exchange.onMessage(inbound)
            } else if (message["id"] === request.id) {
              linger(stop)
              settle(() => exchange.onReply(reply))
            }
          })
        }
      })
      return {
        onData: (chunk) => parse(chunk),
        onEnd: () => {
          lingering.delete(stop)
          resume({ phase: "mayHaveRun", reason: "the stream ended without a reply" })
        }
      }
    }

    const resume = (failure: Failure) => {
      if (over) return
      if (!handshake || lastId === undefined || lastId === "" || attempts >= MaxResumptions) {
        return settle(() => exchange.onFailure(failure))
      }
      attempts++
      const timer = setTimeout(() => {
        const headers: Headers = withSession({ ...options.headers, accept: "text/event-stream", "last-event-id": lastId ?? "" })
        stop = run("GET", headers, null, {
          onHeaders: (status, answered) =>
            status === 200
              ? body()
              : refusal(status, answered, usedSession, {
                onReply: () => settle(() => exchange.onFailure(failure)),
                onFailure: () => settle(() => exchange.onFailure(failure))
              }),
          onError: () => resume(failure)
        })
      }, delay)
      stop = () => clearTimeout(timer)
    }
    return { body, cancel, resume, stopWith: (how: () => void) => (stop = how), isOver: () => over }
  }

  const send = (request: JsonRpcRequest, exchange: Exchange): () => void => {
    if (closed) {
      exchange.onFailure({ phase: "notSent", reason: "closed", connectionLost: true })
      return () => {}
    }
    const usedSession = session
    let stream: ReturnType<typeof follow> | undefined
    let cancelled = false
    const abort = run("POST", headersOf(request, exchange.headers), JSON.stringify(request), {
      onStart: exchange.onSent,
      onHeaders: (status, headers) => {
        if (status !== 200) return refusal(status, headers, usedSession, exchange)
        if (request.method === "initialize") session = first(headers["mcp-session-id"])
        if (isEventStream(headers)) {
          stream = follow(request, exchange, usedSession)
          stream.stopWith(() => abort())
          return stream.body()
        }
        return json(request, exchange, options.maxMessageSize)
      },
      onError: (error, sent) => {
        if (cancelled) return
        const failure = networkFailure(error, sent)
        if (stream === undefined || error === tooLong) {
          if (stream?.isOver() === true) return
          stream?.stopWith(() => {})
          stream?.cancel()
          exchange.onFailure(failure)
        } else stream.resume({ ...failure, connectionLost: undefined })
      }
    })
    return () => {
      cancelled = true
      if (stream === undefined) abort()
      else stream.cancel()
    }
  }

  const post: Connection["post"] = (message, done) => {
    if (closed) return done?.({ phase: "notSent", reason: "closed", connectionLost: true })
    const headers = withSession({ ...base })
    if (!handshake && "method" in message) headers["mcp-method"] = message.method
    run("POST", headers, JSON.stringify(message), {
      onHeaders: (status, answered) =>
        status >= 200 && status < 300
          ? { onData: () => true, onEnd: () => done?.(undefined) }
          : refusal(status, answered, session, {
            onReply: (reply) =>
              done?.({
                phase: "answered",
                status,
                reason: "error" in reply ? oneLine(reply.error.message) : `HTTP ${status}`
              }),
            onFailure: (failure) => done?.(failure)
          }),
      onError: (error, sent) => done?.(networkFailure(error, sent))
    })
  }

  let lastId: string | undefined
  const listen = (onEnd: (end: StreamEnd) => void): () => void => {
    const usedSession = session
    let retry: number | undefined
    const headers = withSession({ ...options.headers, accept: "text/event-stream" })
    if (lastId !== undefined && lastId !== "") headers["last-event-id"] = lastId
    return run("GET", headers, null, {
      onHeaders: (status, answered) => {
        if (status === 200 && isEventStream(answered)) {
          const parse = ServerSentEvents.make({
            limit: options.maxMessageSize,
            onId: (id) => {
              lastId = id
            },
            onRetry: (ms) => {
              retry = Math.min(ms, 60_000)
            },
            onData: (data) =>
              each(data, (message) => {
                const inbound = inboundOf(message)
                if (inbound !== undefined) listener.onMessage(inbound)
              })
          })
          return { onData: parse, onEnd: () => onEnd({ _tag: "closed", retry }) }
        }
        return refusal(status, answered, usedSession, {
          onReply: () => onEnd({ _tag: "absent" }),
          onFailure: (failure) =>
            onEnd(
              failure.sessionLost === true
                ? { _tag: "lost", failure }
                : status >= 500 || status === 429
                ? { _tag: "closed", retry: failure.retryAfter ?? 5_000 }
                : { _tag: "absent" }
            )
        })
      },
      onError: (error, sent) => onEnd({ _tag: "lost", failure: networkFailure(error, sent) })
    })
  }

  return {
    send,
    post,
    negotiated: (agreed) => {
      version = agreed
    },
    listen: handshake ? listen : undefined,
    cancelsByClosing: !handshake,
    close: () => {
      if (closed) return Promise.resolve()
      closed = true
      for (const end of open) end()
      clearTimeout(sweeping)
      if (session === undefined) return Promise.resolve()
      return new Promise((resolve) => {
        const headers = withSession({ ...options.headers })
        const abort = run("DELETE", headers, null, {
          onHeaders: () => ({ onData: () => true, onEnd: () => done() }),
          onError: () => done()
        })
        const timer = setTimeout(() => {
          abort()
          resolve()
        }, FarewellTime)
        const done = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  }
}

const isEventStream = (headers: Readonly<Record<string, string | Array<string> | undefined>>): boolean =>
  first(headers["content-type"])?.toLowerCase().startsWith("text/event-stream") === true

/** Calls `use` with each JSON object in a message; what isn't JSON is passed over. */
const each = (data: string, use: (message: Readonly<Record<string, unknown>>) => void): void => {
  let parsed: unknown
  try {
    parsed = JSON.parse(data)
  } catch {
    return
  }
  for (const message of Array.isArray(parsed) ? parsed : [parsed]) { if (isFields(message)) use(message) }
}

const rpcError = (body: string) => {
  try {
    const parsed: unknown = JSON.parse(body)
    const reply = isFields(parsed) ? replyOf(parsed) : undefined
    return reply !== undefined && "error" in reply ? reply : undefined
  } catch {
    return undefined
  }
}

/** The body of a reply as one JSON object. */
const json = (request: JsonRpcRequest, exchange: Exchange, limit: number): Body => {
  const chunks: Array<Buffer> = []
  let size = 0
  return {
    onData: (chunk) => {
      size += chunk.length
      chunks.push(chunk)
      return size <= limit
    },
    onEnd: () => {
      const [only] = chunks
      const text = (chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, size)).toString("utf8")
      let parsed: unknown
      try {
        parsed = JSON.parse(text)
      } catch {
        const what = size === 0 ? "an empty body" : "no JSON"
        return exchange.onFailure({ phase: "answered", reason: `answered with ${what}`, status: 200 })
      }
      // 2025-03-26 allows batches.
      for (const message of Array.isArray(parsed) ? parsed : [parsed]) {
        const reply = isFields(message) && message["method"] === undefined ? replyOf(message) : undefined
        // An error that came before the id could be read carries none.
        if (reply !== undefined && isFields(message)) {
          if (message["id"] === request.id || ("error" in reply && (message["id"] ?? null) === null)) {
            return exchange.onReply(reply)
          }
          continue
        }
        const inbound: Inbound | undefined = isFields(message) ? inboundOf(message) : undefined
        if (inbound !== undefined) exchange.onMessage(inbound)
      }
      exchange.onFailure({ phase: "answered", reason: "answered with something that is no reply to the request", status: 200 })
    }
  }
}

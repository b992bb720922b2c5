/**
 * One HTTP exchange of streamable HTTP, whatever it carries: sent, read, given up, and what went wrong told in one line.
 *
 * **Details**: works on undici's dispatcher itself. It tells exactly when a request was handed to a socket, which is what
 * decides whether a call may have run, and costs less than a response as a stream.
 *
 * @since 0.1.0
 */
import type { Dispatcher } from "undici"
import type { InFlight } from "../../internal/InFlight.ts"
import { isFields, type JsonRpcRequest } from "../../JsonRpc.ts"
import { type Exchange, type Failure, inboundOf, oneLine, replyOf } from "./Connection.ts"
import * as NetworkErrors from "./NetworkErrors.ts"

/** Headers to send. */
export type Headers = Record<string, string>

/**
 * What takes requests: undici's dispatcher, or one that authorises them first.
 *
 * @category models
 * @since 0.1.0
 */
export interface Sender {
  readonly dispatch: (
    options: {
      readonly path: string
      readonly origin: string
      readonly method: "POST" | "GET" | "DELETE"
      readonly headers: Headers
      readonly body: string | null
      /** It couldn't even be tried. */
      readonly onRejected: (error: Error) => void
    },
    handler: Dispatcher.DispatchHandler
  ) => boolean
}

/** Headers as they came. */
export type ResponseHeaders = Readonly<Record<string, string | Array<string> | undefined>>

/** Bytes of an error page that are read. */
const MaxErrorBody = 16_384
/** The first value of a header. */
export const first = (value: string | ReadonlyArray<string> | undefined): string | undefined =>
  typeof value === "string" ? value : value?.[0]

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

/**
 * Who reads the answer. Exactly one of the body's `onEnd` and `onError` is called, once, unless the exchange was given up.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reader {
  readonly onStart?: (() => void) | undefined
  /** Answers how to take the body. */
  readonly onHeaders: (status: number, headers: ResponseHeaders) => Body
  readonly onError: (error: Error, sent: boolean) => void
}

/**
 * How a body is taken.
 *
 * @category models
 * @since 0.1.0
 */
export interface Body {
  /** Answers `false` when it is enough. */
  readonly onData: (chunk: Buffer) => boolean
  readonly onEnd: () => void
}

/**
 * The request was not sent, or refused, for want of a token.
 *
 * @category errors
 * @since 0.1.0
 */
export class Unauthorized extends Error {
  readonly failure: Failure
  constructor(failure: Failure) {
    super(failure.reason)
    this.failure = failure
  }
}

/** A body, or a message in it, was longer than allowed. */
export const tooLong = new Error("message too long")

/**
 * Where requests go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  readonly dispatcher: Sender
  readonly origin: string
  readonly path: string
  /** How to give up what is under way. */
  readonly running: InFlight<() => void>
}

/**
 * Makes the target of an address. A `URL` puts its parts together whenever it is asked: make it once for many requests.
 *
 * @category constructors
 * @since 0.1.0
 */
export const target = (dispatcher: Sender, url: URL, running: InFlight<() => void>): Target => ({
  dispatcher,
  origin: url.origin,
  path: `${url.pathname}${url.search}`,
  running
})

/**
 * Sends a request. The result gives it up; what is under way stands in `running`.
 *
 * @category sending
 * @since 0.1.0
 */
export const run = (
  target: Target,
  method: "POST" | "GET" | "DELETE",
  headers: Headers,
  body: string | null,
  reader: Reader
): () => void => {
  let controller: Dispatcher.DispatchController | undefined
  let over = false
  let sent = false
  let taking: Body | undefined

  const abort = () => {
    if (over) return
    over = true
    land()
    controller?.abort(new Error("given up"))
  }
  const fail = (error: Error) => {
    if (over) return
    over = true
    land()
    reader.onError(error, sent)
  }
  const land = target.running.add(abort)

  try {
    target.dispatcher.dispatch({
      path: target.path,
      origin: target.origin,
      method,
      headers,
      body,
      onRejected: fail
    }, {
      onRequestStart: (started) => {
        controller = started
        if (over) return started.abort(new Error("given up"))
        // The second time for one that was refused for its token.
        if (sent) return
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
        land()
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

/**
 * What an error of the network, or a body that is too long, means for the request.
 *
 * @category errors
 * @since 0.1.0
 */
export const networkFailure = (error: Error, sent: boolean, limit: number): Failure =>
  error instanceof Unauthorized
    ? error.failure
    : error === tooLong
    ? { phase: "answered", reason: `the reply is longer than ${limit} bytes`, tooLong: true }
    : {
      phase: sent ? "mayHaveRun" : "notSent",
      reason: NetworkErrors.reason(error),
      // A header that HTTP can't hold says nothing of the server.
      connectionLost: NetworkErrors.codeOf(error) === "UND_ERR_INVALID_ARG" ? undefined : true,
      timedOut: NetworkErrors.codeOf(error) === "UND_ERR_CONNECT_TIMEOUT" ? true : undefined,
      cause: error
    }

/**
 * Reads an answer that isn't a success: a JSON-RPC error is a reply, where the status leaves that open.
 *
 * @category reading
 * @since 0.1.0
 */
export const refusal = (
  status: number,
  headers: ResponseHeaders,
  session: string | undefined,
  { now, redact }: { readonly now: () => number; readonly redact: (text: string) => string },
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
      // Some servers repeat what they were sent.
      const body = redact(Buffer.concat(chunks).toString("utf8"))
      const error = status < 500 && status !== 401 && status !== 403 && status !== 429 ? rpcError(body) : undefined
      const forgotten = session !== undefined &&
        (status === 404 || (status === 400 && /session|not initialized/i.test(error?.error.message ?? body)))
      if (error !== undefined && !forgotten) return exchange.onReply(error)
      const scope = status === 403 ? lackedScope(headers) : undefined
      const why = scope === undefined ? bodyReason(body) : `the token lacks the scope "${scope}"`
      exchange.onFailure({
        // 429 turns a request away before it is looked at (RFC 6585). A proxy's 502 to 504 may follow after it has run.
        phase: forgotten || status === 429 ? "notSent" : "answered",
        reason: forgotten ? "the server forgot the session" : `HTTP ${status}${why === "" ? "" : `: ${why}`}`,
        status,
        retryAfter: retryAfterOf(first(headers["retry-after"]), now),
        sessionLost: forgotten ? true : undefined,
        wantsCredentials: status === 401 || (status === 403 && headers["www-authenticate"] !== undefined)
          ? true
          : undefined
      })
    }
  }
}

/**
 * The scope that a server says a token lacks, with HTTP 403; `undefined` where it refuses for something else.
 *
 * @category reading
 * @since 0.2.0
 */
export const lackedScope = (headers: ResponseHeaders): string | undefined => {
  const challenge = first(headers["www-authenticate"])
  return challenge !== undefined && /\berror="?insufficient_scope\b/.test(challenge)
    ? /\bscope="([\x20-\x7e]{1,256}?)"/.exec(challenge)?.[1]
    : undefined
}

/** Whether the body is a stream of events. */
export const isEventStream = (headers: ResponseHeaders): boolean =>
  first(headers["content-type"])?.toLowerCase().startsWith("text/event-stream") === true

/** Calls `use` with each JSON object in a message; what isn't JSON is passed over. */
export const each = (data: string, use: (message: Readonly<Record<string, unknown>>) => void): void => {
  let parsed: unknown
  try {
    parsed = JSON.parse(data)
  } catch {
    return
  }
  for (const message of Array.isArray(parsed) ? parsed : [parsed]) if (isFields(message)) use(message)
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
export const json = (request: JsonRpcRequest, exchange: Exchange, limit: number): Body => {
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
        const inbound = isFields(message) ? inboundOf(message) : undefined
        if (inbound !== undefined) exchange.onMessage(inbound)
      }
      exchange.onFailure({
        phase: "answered",
        reason: "answered with something that is no reply to the request",
        status: 200
      })
    }
  }
}

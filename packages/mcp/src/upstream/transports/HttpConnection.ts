/**
 * Streamable HTTP of both eras: a POST per message, answered with JSON or with a stream of events.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/basic/transports#streamable-http
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http
 * @since 0.1.0
 */
import * as HeaderValue from "../../HeaderValue.ts"
import { InFlight } from "../../internal/InFlight.ts"
import type { JsonRpcRequest } from "../../JsonRpc.ts"
import * as Secrets from "../authorization/Secrets.ts"
import {
  type Connection,
  type Exchange,
  type Failure,
  inboundOf,
  type Listener,
  oneLine,
  replyOf,
  type StreamEnd
} from "./Connection.ts"
import * as HttpExchange from "./HttpExchange.ts"
import * as Lingering from "./Lingering.ts"
import * as ServerSentEvents from "./ServerSentEvents.ts"

/**
 * Where a server is, and the bounds.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** Of one origin; it outlives the connection. */
  readonly dispatcher: HttpExchange.Sender
  readonly url: URL
  /** The record's own headers. */
  readonly headers: Readonly<Record<string, string>>
  readonly era: "handshake" | "stateless"
  /** Bytes of the longest message. */
  readonly maxMessageSize: number
  /** Epoch ms; for `Retry-After` dates. */
  readonly now: () => number
  /** Takes secrets out of what the server says. */
  readonly redact: (text: string) => string
}

/** Times that one reply's broken stream is taken up again in a row without an event in between. */
const MaxResumptions = 3
/** ms before a broken stream is taken up again where the server names no time. */
const ResumeDelay = 250
/** ms that the farewell to a session may take. */
const FarewellTime = 1_000

/**
 * Opens a connection: nothing is sent before the first message.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (given: Options, listener: Listener): Connection => {
  let session: string | undefined
  // Nobody else is to know the session either.
  const options: Options = {
    ...given,
    redact: (text) => Secrets.hide(given.redact(text), [session])
  }
  const handshake = options.era === "handshake"
  const base: HttpExchange.Headers = {
    ...options.headers,
    "content-type": "application/json",
    accept: "application/json, text/event-stream"
  }
  let version: string | undefined
  let closed = false
  /** How to end what is in flight. */
  const running = new InFlight<() => void>()
  const target = HttpExchange.target(options.dispatcher, options.url, running)
  /** Streams that had their reply and that the server should end now. */
  const lingering = Lingering.make()

  const withSession = (headers: HttpExchange.Headers): HttpExchange.Headers => {
    if (version !== undefined) headers["mcp-protocol-version"] = version
    if (session !== undefined) headers["mcp-session-id"] = session
    return headers
  }

  const headersOf = (
    request: JsonRpcRequest,
    extra: Readonly<Record<string, string>> | undefined
  ): HttpExchange.Headers => {
    const headers: HttpExchange.Headers = { ...base, ...extra }
    if (!handshake) {
      headers["mcp-method"] = request.method
      const name = HeaderValue.nameOf(request.method, request.params)
      if (name !== undefined) headers["mcp-name"] = HeaderValue.encode(name)
    }
    return withSession(headers)
  }

  /** A stream of events that carries the reply to a request, taken up again where the server allows it. */
  const follow = (request: JsonRpcRequest, exchange: Exchange, usedSession: string | undefined) => {
    let lastId: string | undefined
    let delay = ResumeDelay
    let attempts = 0
    let over = false
    let stop: () => void = () => {}
    let ended: () => void = () => {}

    const settle = (act: () => void) => {
      if (over) return
      over = true
      land()
      act()
    }
    const cancel = () => {
      over = true
      land()
      stop()
    }
    const land = running.add(cancel)

    const body = (): HttpExchange.Body => {
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
          HttpExchange.each(data, (message) => {
            if (over) return
            const reply = message["method"] === undefined ? replyOf(message) : undefined
            if (reply === undefined) {
              const inbound = inboundOf(message)
              if (inbound !== undefined) exchange.onMessage(inbound)
            } else if (message["id"] === request.id) {
              ended = lingering.add(stop)
              settle(() => exchange.onReply(reply))
            }
          })
        }
      })
      return {
        onData: (chunk) => parse(chunk),
        onEnd: () => {
          ended()
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
        const headers: HttpExchange.Headers = withSession({
          ...options.headers,
          accept: "text/event-stream",
          "last-event-id": lastId ?? ""
        })
        stop = HttpExchange.run(target, "GET", headers, null, {
          onHeaders: (status, answered) =>
            status === 200
              ? body()
              : HttpExchange.refusal(status, answered, usedSession, options, {
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
    const abort = HttpExchange.run(target, "POST", headersOf(request, exchange.headers), JSON.stringify(request), {
      onStart: exchange.onSent,
      onHeaders: (status, headers) => {
        if (status !== 200) return HttpExchange.refusal(status, headers, usedSession, options, exchange)
        if (request.method === "initialize") session = HttpExchange.first(headers["mcp-session-id"])
        if (HttpExchange.isEventStream(headers)) {
          stream = follow(request, exchange, usedSession)
          stream.stopWith(() => abort())
          return stream.body()
        }
        return HttpExchange.json(request, exchange, options.maxMessageSize)
      },
      onError: (error, sent) => {
        if (cancelled) return
        const failure = HttpExchange.networkFailure(error, sent, options.maxMessageSize)
        if (stream === undefined || error === HttpExchange.tooLong) {
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
    HttpExchange.run(target, "POST", headers, JSON.stringify(message), {
      onHeaders: (status, answered) =>
        status >= 200 && status < 300
          ? { onData: () => true, onEnd: () => done?.(undefined) }
          : HttpExchange.refusal(status, answered, session, options, {
            onReply: (reply) =>
              done?.({
                phase: "answered",
                status,
                reason: "error" in reply ? oneLine(reply.error.message) : `HTTP ${status}`
              }),
            onFailure: (failure) => done?.(failure)
          }),
      onError: (error, sent) => done?.(HttpExchange.networkFailure(error, sent, options.maxMessageSize))
    })
  }

  let lastId: string | undefined
  const listen = (onEnd: (end: StreamEnd) => void, onGap: () => void): () => void => {
    const usedSession = session
    let retry: number | undefined
    const headers = withSession({ ...options.headers, accept: "text/event-stream" })
    if (lastId !== undefined && lastId !== "") headers["last-event-id"] = lastId
    const resumes = headers["last-event-id"] !== undefined
    return HttpExchange.run(target, "GET", headers, null, {
      onHeaders: (status, answered) => {
        if (status === 200 && HttpExchange.isEventStream(answered)) {
          if (!resumes) onGap()
          const parse = ServerSentEvents.make({
            limit: options.maxMessageSize,
            onId: (id) => {
              lastId = id
            },
            onRetry: (ms) => {
              retry = Math.min(ms, 60_000)
            },
            onData: (data) =>
              HttpExchange.each(data, (message) => {
                const inbound = inboundOf(message)
                if (inbound !== undefined) listener.onMessage(inbound)
              })
          })
          return { onData: parse, onEnd: () => onEnd({ _tag: "closed", retry }) }
        }
        return HttpExchange.refusal(status, answered, usedSession, options, {
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
      onError: (error, sent) =>
        onEnd({ _tag: "lost", failure: HttpExchange.networkFailure(error, sent, options.maxMessageSize) })
    })
  }

  return {
    send,
    post,
    negotiated: (agreed) => {
      version = agreed
    },
    listen: handshake ? listen : undefined,
    hasSession: () => session !== undefined,
    cancelsByClosing: !handshake,
    close: () => {
      if (closed) return Promise.resolve()
      closed = true
      for (const end of running.all()) end()
      lingering.clear()
      if (session === undefined) return Promise.resolve()
      return new Promise((resolve) => {
        const headers = withSession({ ...options.headers })
        const timer = setTimeout(() => {
          abort()
          resolve()
        }, FarewellTime)
        const done = () => {
          clearTimeout(timer)
          resolve()
        }
        const abort = HttpExchange.run(target, "DELETE", headers, null, {
          onHeaders: () => ({ onData: () => true, onEnd: done }),
          onError: done
        })
      })
    }
  }
}

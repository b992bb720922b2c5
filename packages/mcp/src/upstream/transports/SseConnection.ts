/**
 * HTTP+SSE of 2024-11-05: one stream of events from the server, and a POST for each message to it.
 *
 * **Details**: the stream is the session. Its first event says where to POST, which must be of the origin of the stream:
 * whoever can write into it must not have our headers sent elsewhere. A server that doesn't know the session any more
 * answers a POST with 404; the stream is given up then, and what was refused in this way has not run.
 *
 * @see https://modelcontextprotocol.io/specification/2024-11-05/basic/transports#http-with-sse
 * @since 0.1.0
 */
import { InFlight } from "../../internal/InFlight.ts"
import { type Connection, type Failure, idOfLong, type Listener, oneLine } from "./Connection.ts"
import * as HttpExchange from "./HttpExchange.ts"
import * as Lingering from "./Lingering.ts"
import * as Replies from "./Replies.ts"
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
  /** Of the stream. */
  readonly url: URL
  /** The record's own headers. */
  readonly headers: Readonly<Record<string, string>>
  /** Bytes of the longest message. */
  readonly maxMessageSize: number
  /** Epoch ms; for `Retry-After` dates. */
  readonly now: () => number
  /** Takes secrets out of what the server says. */
  readonly redact: (text: string) => string
}

/** Messages that may wait for the server to say where to send them. */
const MaxWaiting = 64
/** Bytes of the answer to a POST, which says nothing. */
const MaxAcknowledgement = 1024 * 1024

interface Waiting {
  readonly start: (endpoint: URL) => void
  readonly fail: (failure: Failure) => void
}

/** A message on its way to the server. */
interface Post {
  readonly onSent?: (() => void) | undefined
  /** Taken by the server, or why not. */
  readonly onDone: (failure: Failure | undefined) => void
}

/**
 * Opens the stream.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (options: Options, listener: Listener): Connection => {
  const { dispatcher, maxMessageSize, url } = options
  const running = new InFlight<() => void>()
  const lingering = Lingering.make()
  const replies = Replies.make(listener)
  let waiting: Array<Waiting> = []
  let endpoint: URL | undefined
  let version: string | undefined
  /** The server took a message: from here a 404 means that it forgot us. */
  let known = false
  let gone: Failure | undefined
  let closed = false

  const end = () => {
    for (const stop of running.all()) stop()
    lingering.clear()
  }

  const lose = (failure: Failure) => {
    if (gone !== undefined || closed) return
    const phase = failure.phase === "answered" ? "answered" : "notSent"
    gone = { ...failure, phase: "notSent", connectionLost: true }
    const left = waiting
    waiting = []
    end()
    for (const { fail } of left) fail({ ...gone, phase })
    replies.lose({ ...gone, phase })
    listener.onLost(gone)
  }

  const headers = (more: Record<string, string>): HttpExchange.Headers => {
    const all: HttpExchange.Headers = { ...options.headers, ...more }
    if (version !== undefined) all["mcp-protocol-version"] = version
    return all
  }

  /** Answers how to give it up. */
  const post = (message: object, { onDone, onSent }: Post): () => void => {
    if (gone !== undefined || closed) {
      onDone(gone ?? { phase: "notSent", reason: "closed", connectionLost: true })
      return () => {}
    }
    let stop: (() => void) | undefined
    let cancelled = false
    const start = (to: URL) => {
      if (cancelled) return
      stop = HttpExchange.run(
        HttpExchange.target(dispatcher, to, running),
        "POST",
        headers({ "content-type": "application/json" }),
        JSON.stringify(message),
        {
          onStart: onSent,
          onHeaders: (status, answered) => {
            if (status < 200 || status >= 300) {
              return HttpExchange.refusal(status, answered, known ? "stream" : undefined, options, {
                onReply: (reply) =>
                  onDone({
                    phase: "answered",
                    status,
                    reason: "error" in reply ? oneLine(reply.error.message) : `HTTP ${status}`
                  }),
                onFailure: onDone
              })
            }
            known = true
            let size = 0
            return {
              onData: (chunk) => (size += chunk.length) <= MaxAcknowledgement,
              onEnd: () => onDone(undefined)
            }
          },
          onError: (error, sent) => {
            const failure = HttpExchange.networkFailure(error, sent, maxMessageSize)
            // A server that takes no connection is gone. One that closes this one may still be there: the stream tells.
            onDone(sent ? { ...failure, phase: "mayHaveRun", connectionLost: undefined } : failure)
          }
        }
      )
    }
    if (endpoint !== undefined) start(endpoint)
    else if (waiting.length < MaxWaiting) waiting.push({ start, fail: onDone })
    else onDone({ phase: "notSent", reason: "the server doesn't say where to send messages" })
    return () => {
      cancelled = true
      stop?.()
    }
  }

  const named = (text: string) => {
    if (endpoint !== undefined) return
    const to = URL.parse(text.trim(), url.href)
    if (to === null || to.origin !== url.origin) {
      return lose({
        phase: "notSent",
        reason: oneLine(`the server wants messages sent to ${to?.origin ?? JSON.stringify(text)}, not to ${url.origin}`)
      })
    }
    endpoint = to
    const left = waiting
    waiting = []
    for (const { start } of left) start(to)
  }

  const tooLong = `the reply is longer than ${maxMessageSize} bytes`
  HttpExchange.run(
    HttpExchange.target(dispatcher, url, running),
    "GET",
    headers({ accept: "text/event-stream" }),
    null,
    {
      onHeaders: (status, answered) => {
        if (status !== 200) {
          return HttpExchange.refusal(status, answered, undefined, options, {
            onReply: (reply) =>
              lose({
                phase: "answered",
                status,
                reason: "error" in reply ? `HTTP ${status}: ${oneLine(reply.error.message)}` : `HTTP ${status}`
              }),
            onFailure: lose
          })
        }
        if (!HttpExchange.isEventStream(answered)) {
          lose({ phase: "answered", reason: "answered with something that is no stream of events", status })
          return { onData: () => false, onEnd: () => {} }
        }
        return {
          onData: ServerSentEvents.make({
            limit: maxMessageSize,
            onData: (data, type) => {
              if (gone !== undefined || closed) return
              if (type === "endpoint") named(data)
              else if (type === "" || type === "message") replies.read(data)
            },
            onTooLong: (head, tail) => {
              const id = idOfLong(head, tail)
              if (id !== undefined) replies.tooLong(id, tooLong)
            }
          }),
          onEnd: () => lose({ phase: "notSent", reason: "the server ended the stream" })
        }
      },
      onError: (error, sent) => lose(HttpExchange.networkFailure(error, sent, maxMessageSize))
    }
  )

  return {
    send: (request, exchange) => {
      let posted = false
      const expected = replies.expect(request.id, exchange, () => {
        // Its POST should be answered by now.
        if (!posted) taken = lingering.add(stop)
      })
      let taken: (() => void) | undefined
      let stop: () => void = () => {}
      stop = post(request, {
        onSent: expected.sent,
        onDone: (failure) => {
          posted = true
          taken?.()
          if (failure !== undefined) expected.fail(failure)
        }
      })
      return () => {
        if (expected.land() && endpoint === undefined) stop()
      }
    },
    post: (message, done) => void post(message, { onDone: (failure) => done?.(failure) }),
    negotiated: (agreed) => {
      version = agreed
    },
    cancelsByClosing: false,
    close: () => {
      closed = true
      waiting = []
      replies.clear()
      end()
      return Promise.resolve()
    }
  }
}

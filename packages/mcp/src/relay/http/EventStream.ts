/**
 * A reply by server-sent events: bounded, so that a client which doesn't read can't hold memory.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"
import type { RequestId } from "../../JsonRpc.ts"

/**
 * A stream of events, of which clients see one line of text each.
 *
 * @category models
 * @since 0.2.0
 */
export interface Events {
  /** Writes a line. `answers` is the request that it is the reply to. */
  readonly send: (line: string, answers?: RequestId | undefined) => void
  /** A comment, which keeps intermediaries from closing the stream. */
  readonly keepAlive: () => void
  readonly end: () => void
  /** Whether a client is there to read. */
  readonly isOpen: () => boolean
}

/**
 * What stands beside the line in an event.
 *
 * @category models
 * @since 0.2.0
 */
export interface EventFields {
  /** Default `message`. */
  readonly event?: string | undefined
  readonly id?: string | undefined
  /** Time after which a client that lost the stream is to come again, ms. */
  readonly retry?: number | undefined
  /** Whether its client came back for it: then it may lie unread beside what else may. Default no. */
  readonly missed?: boolean | undefined
}

/**
 * An open stream of events.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventStream extends Events {
  /** Writes one line as an event. A stream that already holds too much unread is cut instead. */
  readonly write: (line: string, fields: EventFields) => void
  /** Ends it at once: what is unread is dropped. */
  readonly cut: () => void
}

/**
 * Begins the reply. `response.on("close")` tells when the client is gone.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (
  response: ServerResponse,
  options: { readonly maxBuffered: number; readonly headers?: Readonly<Record<string, string>> | undefined }
): EventStream => {
  if (!response.destroyed && !response.headersSent) {
    response.writeHead(200, {
      "content-type": "text/event-stream",
      "cache-control": "no-cache, no-transform",
      "x-accel-buffering": "no",
      ...options.headers
    })
    response.flushHeaders()
  }
  const isOpen = (): boolean => !response.writableEnded && !response.destroyed
  let { maxBuffered } = options
  const write = (chunk: string, missed = false): void => {
    if (!isOpen()) return
    if (missed) maxBuffered += Buffer.byteLength(chunk)
    else if (response.writableLength > maxBuffered) {
      response.destroy()
      return
    }
    response.write(chunk)
  }
  return {
    send: (line) => write(`event: message\ndata: ${line}\n\n`),
    write: (line, { event, id, missed, retry }) => {
      const fields = `${id === undefined ? "" : `id: ${id}\n`}${retry === undefined ? "" : `retry: ${retry}\n`}`
      // One without text has no kind: it only tells its fields.
      write(line === "" ? `${fields}data:\n\n` : `event: ${event ?? "message"}\n${fields}data: ${line}\n\n`, missed)
    },
    keepAlive: () => write(": keep-alive\n\n"),
    end: () => {
      if (!response.writableEnded) response.end()
    },
    cut: () => void response.destroy(),
    isOpen
  }
}

/**
 * A reply by server-sent events: bounded, so that a client which doesn't read can't hold memory.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"

/**
 * An open stream of events.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventStream {
  /** Writes one line as an event, `message` by default. A stream that already holds too much unread is cut instead. */
  readonly send: (line: string, event?: string) => void
  /** A comment, which keeps intermediaries from closing the stream. */
  readonly keepAlive: () => void
  readonly end: () => void
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
  const write = (chunk: string): void => {
    if (response.writableEnded || response.destroyed) return
    if (response.writableLength > options.maxBuffered) {
      response.destroy()
      return
    }
    response.write(chunk)
  }
  return {
    send: (line, event = "message") => write(`event: ${event}\ndata: ${line}\n\n`),
    keepAlive: () => write(": keep-alive\n\n"),
    end: () => {
      if (!response.writableEnded) response.end()
    }
  }
}

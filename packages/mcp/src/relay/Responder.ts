/**
 * The reply to one POST: JSON, or a stream of events where something is to be said before the end.
 *
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"
import { Code, type JsonRpcNotification, type Reply, type RequestId } from "../JsonRpc.ts"
import * as EventStream from "./EventStream.ts"

/**
 * The reply to one POST.
 *
 * @category models
 * @since 0.1.0
 */
export interface Responder {
  /** Whether the client takes a stream of events. */
  readonly streams: boolean
  readonly notify: (notification: JsonRpcNotification) => void
  /** The reply to a request. The last one ends the response; `status` counts where nothing was written yet. */
  readonly reply: (id: RequestId, reply: Reply, status?: number) => void
  /** A request that was cancelled: it gets no reply. */
  readonly skip: () => void
  /** Called every keep-alive interval. A reply that is long in coming becomes a stream, so that nobody cuts it. */
  readonly keepAlive: () => void
}

/**
 * How it may be answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface ResponderOptions {
  readonly json: boolean
  readonly events: boolean
  /** Requests in the POST. */
  readonly expected: number
  readonly batch: boolean
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Bytes. */
  readonly maxBuffered: number
}

/**
 * Sends a JSON text.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sendJson = (
  response: ServerResponse,
  status: number,
  json: string,
  headers?: Readonly<Record<string, string>>
): void => {
  if (response.writableEnded || response.destroyed) return
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": String(Buffer.byteLength(json)),
    ...headers
  })
  response.end(json)
}

/**
 * Makes the reply to a POST.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (response: ServerResponse, options: ResponderOptions): Responder => {
  let stream: EventStream.EventStream | undefined
  let left = options.expected
  let waited = false
  const replies: Array<string> = []
  const streaming = () => {
    if (stream !== undefined) return stream
    stream = EventStream.open(response, options)
    for (const json of replies.splice(0)) stream.send(json)
    return stream
  }
  const encode = (id: RequestId, reply: Reply): string => {
    try {
      return JSON.stringify({ jsonrpc: "2.0", id, ...reply })
    } catch {
      // Deeper than the stack, or longer than a string can be.
      const error = { code: Code.internalError, message: "The result can't be written as JSON" }
      return JSON.stringify({ jsonrpc: "2.0", id, error })
    }
  }

  const finish = (status: number) => {
    if (left > 0) return
    if (stream === undefined && replies.length === 0) {
      // All were cancelled. A client that takes events gets an empty stream: it waits for no reply any more.
      if (options.events) streaming()
      else {
        response.writeHead(204)
        response.end()
        return
      }
    }
    if (stream !== undefined) return stream.end()
    sendJson(response, status, options.batch ? `[${replies.join(",")}]` : replies[0] ?? "", options.headers)
  }

  return {
    streams: options.events,
    notify: (notification) => {
      if (options.events && left > 0) streaming().send(JSON.stringify(notification))
    },
    reply: (id, reply, status = 200) => {
      left--
      const json = encode(id, reply)
      if (stream === undefined && !options.json) streaming()
      if (stream === undefined) replies.push(json)
      else stream.send(json)
      finish(status)
    },
    skip: () => {
      left--
      finish(200)
    },
    keepAlive: () => {
      if (stream !== undefined) stream.keepAlive()
      else if (waited && options.events) streaming().keepAlive()
      else waited = true
    }
  }
}

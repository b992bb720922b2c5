/**
 * The reply to one POST: JSON, or a stream of events where something is to be said before the end.
 *
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"
import * as Serving from "../telemetry/Serving.ts"
import * as EventStream from "./EventStream.ts"
import { sendJson } from "./HttpReplies.ts"
import * as Responder from "./Responder.ts"

/**
 * The reply to one POST. The last reply to its requests ends the response.
 *
 * @category models
 * @since 0.1.0
 */
export interface HttpResponder extends Responder.Responder {
  /** Called every keep-alive interval. A reply that is long in coming becomes a stream, so that nobody cuts it. */
  readonly keepAlive: () => void
}

/**
 * How it may be answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface HttpResponderOptions {
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
 * Makes the reply to a POST.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (response: ServerResponse, options: HttpResponderOptions): HttpResponder => {
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
    hop: Serving.hopOf(response.req),
    notify: (notification) => {
      if (options.events && left > 0) streaming().send(JSON.stringify(notification))
    },
    reply: (id, reply, status = 200) => {
      left--
      const json = Responder.encode(id, reply)
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

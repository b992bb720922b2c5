/**
 * The reply to one POST: JSON, or a stream of events where something is to be said before the end.
 *
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"
import type { JsonRpcNotification, JsonRpcRequest, RequestId } from "../../JsonRpc.ts"
import * as Serving from "../../telemetry/Serving.ts"
import * as Responder from "../Responder.ts"
import * as EventStream from "./EventStream.ts"
import { sendJson } from "./HttpReplies.ts"

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
  /** All is written. Plain; default: nobody is told. */
  readonly written?: (() => void) | undefined
  /** Makes of the connection a stream that outlives it. Default: none does. */
  readonly keep?: ((connection: EventStream.EventStream) => EventStream.Events) | undefined
}

/**
 * Makes the reply to a POST.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (response: ServerResponse, options: HttpResponderOptions): HttpResponder => {
  let stream: EventStream.Events | undefined
  let left = options.expected
  let waited = false
  const replies: Array<readonly [RequestId, string]> = []
  const streaming = () => {
    if (stream !== undefined) return stream
    const gone = response.destroyed
    const connection = EventStream.open(response, options)
    // A client that was told of no event can't come back for one.
    stream = gone || options.keep === undefined ? connection : options.keep(connection)
    for (const [id, json] of replies.splice(0)) stream.send(json, id)
    return stream
  }

  const finish = (status: number) => {
    if (left > 0) return
    if (stream === undefined && replies.length === 0) {
      // All were cancelled. A client that takes events gets an empty stream, for which it won't come back.
      if (options.events) return EventStream.open(response, options).end()
      response.writeHead(204)
      response.end()
      return
    }
    if (stream !== undefined) stream.end()
    else {
      const all = replies.splice(0).map(([, json]) => json)
      sendJson(response, status, options.batch ? `[${all.join(",")}]` : all[0] ?? "", options.headers)
    }
    options.written?.()
  }

  const say = (message: JsonRpcNotification | JsonRpcRequest): void => {
    if (options.events && left > 0) streaming().send(JSON.stringify(message))
  }

  return {
    streams: options.events,
    hop: Serving.hopOf(response.req),
    notify: say,
    request: say,
    isOpen: () => options.events && left > 0 && (stream?.isOpen() ?? !response.destroyed),
    keeps: () => left > 0 && options.keep !== undefined && stream !== undefined,
    reply: (id, reply, status = 200) => {
      left--
      const json = Responder.encode(id, reply)
      if (stream === undefined && !options.json) streaming()
      if (stream === undefined) replies.push([id, json])
      else stream.send(json, id)
      finish(status)
    },
    skip: () => {
      left--
      finish(200)
    },
    keepAlive: () => {
      // Nothing is left to say, however long its client takes to read it.
      if (left === 0) return
      if (stream !== undefined) stream.keepAlive()
      else if (waited && options.events) streaming().keepAlive()
      else waited = true
    }
  }
}

/**
 * The traffic as HTTP sees it: a request is answered or refused by a response.
 *
 * @since 0.1.0
 */
import type { ServerResponse } from "node:http"
import type { RequestId } from "../../JsonRpc.ts"
import type { Traffic } from "../Traffic.ts"
import * as EventStream from "./EventStream.ts"
import { type Accepted, refuse } from "./HttpReplies.ts"
import * as HttpResponder from "./HttpResponder.ts"
import * as Unread from "./Unread.ts"

/** Bytes of replies that clients leave unread, all together. */
const MaxUnread = 64 * 1_048_576

/**
 * The traffic over HTTP. All of it plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface HttpTraffic {
  /** Whether there is room for a further request; refuses it where there is none. */
  readonly admit: (response: ServerResponse, id: RequestId | null) => boolean
  /** Whether there is room for a further stream or subscription; refuses it where there is none. */
  readonly admitStream: (response: ServerResponse, id: RequestId | null) => boolean
  readonly responder: (
    response: ServerResponse,
    accepted: Accepted,
    options?: {
      /** Requests in a batch. */
      readonly batch?: number | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
      readonly keep?: HttpResponder.HttpResponderOptions["keep"]
    }
  ) => HttpResponder.HttpResponder
  /** Opens a stream that belongs to no request; `closed` is called when its client is gone. */
  readonly stream: (response: ServerResponse, closed: () => void) => EventStream.EventStream
}

/**
 * Makes it. `maxBuffered` is what a stream may hold unread before it is cut, bytes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (traffic: Traffic, maxBuffered: number): HttpTraffic => {
  const unread = Unread.make(MaxUnread)
  return {
    admit: (response, id) => {
      const refusal = traffic.refusal()
      if (refusal === undefined) return true
      refuse(response, 503, refusal, id)
      return false
    },
    admitStream: (response, id) => {
      const refusal = traffic.streamRefusal()
      if (refusal === undefined) return true
      refuse(response, 503, refusal, id)
      return false
    },
    responder: (response, accepted, { batch, headers, keep } = {}) => {
      const responder = HttpResponder.make(response, {
        ...accepted,
        expected: batch ?? 1,
        batch: batch !== undefined,
        headers,
        keep,
        maxBuffered,
        written: () => unread.add(response)
      })
      response.on("close", traffic.keep(responder))
      return responder
    },
    stream: (response, closed) => {
      const stream = EventStream.open(response, { maxBuffered })
      // A client learns only with the first bytes that the stream is open.
      stream.keepAlive()
      const remove = traffic.open(stream)
      response.on("close", () => {
        remove()
        closed()
      })
      return stream
    }
  }
}

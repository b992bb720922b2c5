/**
 * Matches what comes over one channel with the requests that went over it.
 *
 * @since 0.1.0
 */
import { InFlight } from "../../internal/InFlight.ts"
import { isFields, type RequestId } from "../../JsonRpc.ts"
import { type Exchange, type Failure, inboundOf, type Listener, replyOf } from "./Connection.ts"

/**
 * A request whose reply is awaited.
 *
 * @category models
 * @since 0.1.0
 */
export interface Expected {
  /** From here it may have run. */
  readonly sent: () => void
  readonly fail: (failure: Failure) => void
  /** Nobody waits any more; tells whether somebody did. */
  readonly land: () => boolean
}

/**
 * Requests that await a reply.
 *
 * @category models
 * @since 0.1.0
 */
export interface Replies {
  /** `onLand` is called once it is over, whatever the end. */
  readonly expect: (id: RequestId, exchange: Exchange, onLand: () => void) => Expected
  /** Takes the text of a message, or of a batch of 2025-03-26. Answers how many of them were passed over: no JSON-RPC. */
  readonly read: (text: string) => number
  /** The reply to this request came and is longer than is read. */
  readonly tooLong: (id: RequestId, reason: string) => void
  /** The channel is gone: all that went over it fail, as `mayHaveRun` where they were sent. */
  readonly lose: (failure: Failure) => void
  /** Forgets all in silence. */
  readonly clear: () => void
}

interface Pending {
  readonly id: RequestId
  readonly exchange: Exchange
  readonly land: () => boolean
  readonly lose: (failure: Failure) => void
}

/**
 * Makes an empty one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (listener: Listener): Replies => {
  const pending = new InFlight<Pending>()

  const landed = (id: unknown): Exchange | undefined => {
    const found = pending.find((one) => one.id === id)
    return found?.land() === true ? found.exchange : undefined
  }

  /** Whether it was JSON-RPC. */
  const receive = (message: unknown): boolean => {
    if (!isFields(message)) return false
    const id = message["id"]
    if (message["method"] === undefined && (typeof id === "number" || typeof id === "string")) {
      const exchange = landed(id)
      // A reply to nothing we asked, or that we gave up on.
      if (exchange === undefined) return true
      const reply = replyOf(message)
      if (reply === undefined) exchange.onFailure({ phase: "answered", reason: "the reply is not JSON-RPC" })
      else exchange.onReply(reply)
      return true
    }
    const inbound = inboundOf(message)
    if (inbound === undefined) return false
    listener.onMessage(inbound)
    return true
  }

  return {
    expect: (id, exchange, onLand) => {
      let sent = false
      const land = (): boolean => {
        if (!remove()) return false
        onLand()
        return true
      }
      const fail = (failure: Failure) => {
        if (land()) exchange.onFailure(failure)
      }
      const remove = pending.add({
        id,
        exchange,
        land,
        lose: (failure) => fail(sent ? { ...failure, phase: "mayHaveRun" } : failure)
      })
      return {
        sent: () => {
          sent = true
          exchange.onSent?.()
        },
        fail,
        land
      }
    },
    read: (text) => {
      let message: unknown
      try {
        message = JSON.parse(text)
      } catch {
        return 1
      }
      let passedOver = 0
      for (const one of Array.isArray(message) ? message : [message]) {
        if (!receive(one)) passedOver++
      }
      return passedOver
    },
    tooLong: (id, reason) => landed(id)?.onFailure({ phase: "answered", reason, tooLong: true }),
    lose: (failure) => {
      for (const one of pending.all()) one.lose(failure)
    },
    clear: () => pending.clear()
  }
}

/**
 * What is in flight on the endpoint, of both eras: requests, replies that want to be kept alive, streams.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { ServerResponse } from "node:http"
import { InFlight } from "../internal/InFlight.ts"
import type { JsonRpcRequest, Reply, RequestId } from "../JsonRpc.ts"
import * as EventStream from "./EventStream.ts"
import { type Accepted, defect, draining, overloaded, refuse } from "./HttpReplies.ts"
import * as Responder from "./Responder.ts"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface TrafficOptions {
  readonly runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  /** Something failed in a way that it can't. Plain. */
  readonly onDefect: (what: string, cause: Cause.Cause<unknown>) => void
  /** Unread bytes that a stream may hold before it is cut. */
  readonly maxBuffered: number
  readonly maxRequests: number
  readonly maxStreams: number
}

/**
 * The traffic. All of it plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Traffic {
  /** Whether there is room for a further request; refuses it where there is none. */
  readonly admit: (response: ServerResponse, id: RequestId | null) => boolean
  /** Whether there is room for a further stream or subscription; refuses it where there is none. */
  readonly admitStream: (response: ServerResponse, id: RequestId | null) => boolean
  /**
   * Runs a request; `done` gets its reply, or `undefined` where it was cancelled. A `stream` stays until its client goes:
   * nobody waits for its end.
   */
  readonly run: (
    what: { readonly method: string; readonly stream?: boolean },
    effect: Effect.Effect<Reply>,
    done: (reply: Reply | undefined) => void
  ) => Fiber.Fiber<Reply>
  /** Runs a single request and replies to it. */
  readonly answer: (
    message: JsonRpcRequest,
    effect: Effect.Effect<Reply>,
    responder: Responder.Responder,
    stream?: boolean
  ) => Fiber.Fiber<Reply>
  readonly responder: (
    response: ServerResponse,
    accepted: Accepted,
    options?: {
      /** Requests in a batch. */
      readonly batch?: number | undefined
      readonly headers?: Readonly<Record<string, string>> | undefined
    }
  ) => Responder.Responder
  /** Opens a stream that belongs to no request; `closed` is called when its client is gone. */
  readonly stream: (response: ServerResponse, closed: () => void) => EventStream.EventStream
  readonly keepAlive: () => void
  readonly streams: () => number
  /** From now on nothing is admitted. */
  readonly close: () => void
  readonly isClosing: () => boolean
  readonly isIdle: () => boolean
  /** Calls `wake` when the last request in flight ends. Gives what takes it back. */
  readonly onIdle: (wake: () => void) => () => void
  /** Ends the streams that belong to no request. */
  readonly endStreams: () => void
}

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: TrafficOptions): Traffic => {
  const waiting = new InFlight<{ readonly keepAlive: () => void }>()
  const open = new Set<EventStream.EventStream>()
  const whenIdle = new Set<() => void>()
  let active = 0
  let subscriptions = 0
  let closing = false

  const ended = (stream: boolean) => {
    if (stream) {
      subscriptions--
      return
    }
    active--
    if (active > 0) return
    for (const wake of Array.from(whenIdle)) wake()
  }

  const run: Traffic["run"] = ({ method, stream = false }, effect, done) => {
    if (stream) subscriptions++
    else active++
    const fiber = options.runFork(effect)
    fiber.addObserver((exit) => {
      ended(stream)
      if (Exit.isSuccess(exit)) return done(exit.value)
      if (Cause.hasInterruptsOnly(exit.cause)) return done(undefined)
      options.onDefect(method, exit.cause)
      done({ error: defect })
    })
    return fiber
  }

  return {
    admit: (response, id) => {
      if (closing) refuse(response, 503, draining, id)
      else if (active >= options.maxRequests) refuse(response, 503, overloaded("Too many requests in flight"), id)
      else return true
      return false
    },
    admitStream: (response, id) => {
      if (closing) refuse(response, 503, draining, id)
      else if (open.size + subscriptions >= options.maxStreams) {
        refuse(response, 503, overloaded("Too many streams"), id)
      } else return true
      return false
    },
    run,
    answer: (message, effect, responder, stream = false) =>
      run({ method: message.method, stream }, effect, (reply) => {
        if (reply === undefined) responder.skip()
        else responder.reply(message.id, reply)
      }),
    responder: (response, accepted, { batch, headers } = {}) => {
      const responder = Responder.make(response, {
        ...accepted,
        expected: batch ?? 1,
        batch: batch !== undefined,
        headers,
        maxBuffered: options.maxBuffered
      })
      response.on("close", waiting.add(responder))
      return responder
    },
    stream: (response, closed) => {
      const stream = EventStream.open(response, { maxBuffered: options.maxBuffered })
      // A client learns only with the first bytes that the stream is open.
      stream.keepAlive()
      open.add(stream)
      const remove = waiting.add(stream)
      response.on("close", () => {
        open.delete(stream)
        remove()
        closed()
      })
      return stream
    },
    keepAlive: () => {
      for (const each of waiting.all()) each.keepAlive()
    },
    streams: () => open.size + subscriptions,
    close: () => {
      closing = true
    },
    isClosing: () => closing,
    isIdle: () => active === 0,
    onIdle: (wake) => {
      whenIdle.add(wake)
      return () => void whenIdle.delete(wake)
    },
    endStreams: () => {
      for (const stream of Array.from(open)) stream.end()
    }
  }
}

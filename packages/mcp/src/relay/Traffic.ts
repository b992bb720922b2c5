/**
 * What is in flight on the endpoint, of both eras and all transports: requests, replies that want to be kept alive,
 * streams.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import { InFlight } from "../internal/InFlight.ts"
import type { JsonRpcErrorObject, JsonRpcRequest, Reply, RequestId } from "../JsonRpc.ts"
import { defect, draining, invalidRequest, overloaded } from "./Refusals.ts"
import type { Responder } from "./Responder.ts"

/**
 * Requests of one client that are in flight, and what cancels them.
 *
 * @category models
 * @since 0.1.0
 */
export type Requests = InFlight<{ readonly id: RequestId; readonly cancel: () => void }>

/**
 * Something that is told every keep-alive interval.
 *
 * @category models
 * @since 0.1.0
 */
export interface KeptAlive {
  readonly keepAlive: () => void
}

/**
 * An open stream that belongs to no request.
 *
 * @category models
 * @since 0.1.0
 */
export interface OpenStream extends KeptAlive {
  readonly end: () => void
}

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
  readonly maxRequests: number
  /** Of one client. */
  readonly maxRequestsPerClient: number
  readonly maxStreams: number
}

/**
 * The traffic. All of it plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Traffic {
  /** Why there is no room for a further request; `undefined` where there is. */
  readonly refusal: () => JsonRpcErrorObject | undefined
  /** Why there is no room for a further stream or subscription; `undefined` where there is. */
  readonly streamRefusal: () => JsonRpcErrorObject | undefined
  /**
   * Runs a request; `done` gets its reply, or `undefined` where it was cancelled. A `stream` stays until its client goes:
   * nobody waits for its end.
   */
  readonly run: (
    what: { readonly method: string; readonly stream?: boolean },
    effect: Effect.Effect<Reply>,
    done: (reply: Reply | undefined) => void
  ) => Fiber.Fiber<Reply>
  /** Runs a request and replies to it. */
  readonly answer: (
    message: JsonRpcRequest,
    effect: Effect.Effect<Reply>,
    responder: Responder,
    stream?: boolean
  ) => Fiber.Fiber<Reply>
  /** The same for a client that cancels by id: no two requests of it with one id, and not more than it may have. */
  readonly answerAmong: (
    requests: Requests,
    message: JsonRpcRequest,
    effect: Effect.Effect<Reply>,
    responder: Responder,
    stream?: boolean
  ) => void
  /** Keeps something alive until what this gives is called. */
  readonly keep: (kept: KeptAlive) => () => boolean
  /** Counts a stream that belongs to no request until what this gives is called. */
  readonly open: (stream: OpenStream) => () => void
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

const tooManyRequests = overloaded("Too many requests in flight")
const tooManyStreams = overloaded("Too many streams")

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: TrafficOptions): Traffic => {
  const waiting = new InFlight<KeptAlive>()
  const open = new Set<OpenStream>()
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
      // The reply comes first: whoever waits for the last one ends the streams then.
      try {
        if (Exit.isSuccess(exit)) return done(exit.value)
        if (Cause.hasInterruptsOnly(exit.cause)) return done(undefined)
        options.onDefect(method, exit.cause)
        done({ error: defect })
      } finally {
        ended(stream)
      }
    })
    return fiber
  }

  const answer: Traffic["answer"] = (message, effect, responder, stream = false) =>
    run({ method: message.method, stream }, effect, (reply) => {
      if (reply === undefined) responder.skip()
      else responder.reply(message.id, reply)
    })

  return {
    refusal: () => closing ? draining : active >= options.maxRequests ? tooManyRequests : undefined,
    streamRefusal: () =>
      closing ? draining : open.size + subscriptions >= options.maxStreams ? tooManyStreams : undefined,
    run,
    answer,
    answerAmong: (requests, message, effect, responder, stream) => {
      const { id } = message
      if (requests.find((each) => each.id === id) !== undefined) {
        return responder.reply(id, { error: invalidRequest(`A request with id ${JSON.stringify(id)} is in flight`) })
      }
      if (requests.size >= options.maxRequestsPerClient) {
        return responder.reply(id, { error: overloaded("Too many requests in flight in this session") }, 429)
      }
      const fiber = answer(message, effect, responder, stream)
      if (fiber.pollUnsafe() !== undefined) return
      fiber.addObserver(requests.add({ id, cancel: () => fiber.interruptUnsafe() }))
    },
    keep: (kept) => waiting.add(kept),
    open: (stream) => {
      open.add(stream)
      const remove = waiting.add(stream)
      return () => {
        open.delete(stream)
        remove()
      }
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

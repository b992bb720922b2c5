/**
 * Calls of clients of the stateless era that wait at a server of the handshake era, which asked the client something.
 *
 * **Mental model**: such a call runs in a fiber of its own. What its server asks becomes the result of the request that began
 * it, and the request that comes back with the answers goes on with it: it hears what the call has to say from then on, until
 * the call ends or its server asks more. One request at a time; whoever cancels it, or doesn't come back, ends the call.
 *
 * @since 0.2.0
 */
import type { Attempt } from "@portolan/core/Router"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { Code, type Fields, type Reply } from "../../JsonRpc.ts"
import * as Instruments from "../../telemetry/Instruments.ts"
import type { ServerRequest } from "../../upstream/Upstream.ts"
import { failure } from "../Method.ts"
import { draining, overloaded } from "../Refusals.ts"
import type { Client, Exchange } from "./Exchange.ts"
import * as Hearing from "./Hearing.ts"
import * as Inputs from "./Inputs.ts"
import type { State } from "./RequestState.ts"

/**
 * Settings. Read whenever they are needed, so that whoever holds them may change them.
 *
 * @category models
 * @since 0.2.0
 */
export interface ParkingOptions {
  /** What a client has to come back, ms. */
  readonly inputTimeout: number
  /** Calls that are parked. */
  readonly maxParked: number
  /** Those of one principal, or of one address where there are none. */
  readonly maxParkedPerClient: number
}

/**
 * Gives the result that asks the client.
 *
 * @category models
 * @since 0.2.0
 */
export type Asks = (requests: Inputs.InputRequired["requests"], state: State) => Reply

/**
 * The calls.
 *
 * @category models
 * @since 0.2.0
 */
export interface Parking {
  /** Runs a call until it ends or its server asks something. Interruption ends it. */
  readonly begin: (
    hearing: Hearing.Hearing,
    exchange: Exchange,
    asks: Asks,
    /** Runs it; gets what takes the questions of its server, which is plain. */
    run: (onRequest: (attempt: Attempt, request: ServerRequest) => void) => Effect.Effect<Reply>
  ) => Effect.Effect<Reply>
  /** Goes on with a call. Interruption ends it. */
  readonly goOn: (
    state: Extract<State, { _tag: "Parked" }>,
    exchange: Exchange,
    meta: Fields | undefined,
    inputResponses: unknown
  ) => Effect.Effect<Reply>
  /** How many wait. Plain. */
  readonly size: () => number
  /** Ends all of them; none is parked any more. Plain. */
  readonly close: () => void
}

interface Question extends Inputs.InputRequest {
  readonly reply: (reply: Reply) => void
  /** The call no longer waits for this. */
  readonly land: () => boolean
}

interface Parked {
  readonly hearing: Hearing.Hearing
  /** As its newest request says it: what the client can be asked is said anew with each. */
  client: Client
  readonly owner: string | undefined
  readonly asks: Asks
  /** As many as a server may have open for one request of ours. */
  readonly questions: Map<string, Question>
  /** None before its server asked something. */
  id: number | undefined
  asked: number
  round: number
  /** Answers the request that waits for it, if one does. */
  done: ((exit: Exit.Exit<Reply>) => void) | undefined
  /** Whether what is asked now is about to be told. */
  telling: boolean
  /** How it ended, while nobody was there to hear it. */
  exit: Exit.Exit<Reply> | undefined
  fiber: Fiber.Fiber<Reply> | undefined
  /** Ends it when nobody comes back. */
  timer: Fiber.Fiber<void> | undefined
}

/** Calls that wait. */
const parked: Instruments.Family = {
  name: "portolan_mcp_parked_calls",
  help: "Calls that wait for their clients to come back."
}

/** The answer to a question, if there is one by now: a client that can't be asked this any more gives none. */
const answerTo = (question: Question, response: Fields | undefined, client: Client): Reply | undefined => {
  if (response !== undefined) return { result: response }
  const reason = Inputs.unanswerable(client, question)
  return reason === undefined ? undefined : Inputs.refusal(reason)
}

const gone = failure(
  Code.invalidParams,
  "requestState is of a call that is over: it ended, nobody came back in time, or this answer was given before"
)
const elsewhere = failure(
  Code.unavailable,
  "requestState is of a call that waits at another replica of the gateway, or waited there before it was started anew"
)

/**
 * Makes it; with its scope all calls end.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: ParkingOptions): Effect.Effect<Parking, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Effect.scope
    const fork = Effect.runForkWith(yield* Effect.context())
    const gateway = randomUUID()
    const calls = new Map<number, Parked>()
    const counts = new Map<string, number>()
    let lastId = 0
    let closed = false
    const instruments = yield* Instruments.make
    instruments.gauge(parked, {}, () => calls.size)

    /** In the background, while the scope lives. */
    const start = (effect: Effect.Effect<void>): Fiber.Fiber<void> => Fiber.runIn(fork(effect), scope)

    /** Why there is no room for one more. */
    const park = (one: Parked): Reply | undefined => {
      if (one.id !== undefined) return undefined
      if (closed) return { error: draining }
      const count = one.owner === undefined ? 0 : counts.get(one.owner) ?? 0
      if (calls.size >= options.maxParked) return { error: overloaded("Too many calls wait for their clients") }
      if (one.owner !== undefined && count >= options.maxParkedPerClient) {
        return { error: overloaded("Too many calls wait for this client") }
      }
      one.id = ++lastId
      calls.set(one.id, one)
      if (one.owner !== undefined) counts.set(one.owner, count + 1)
      return undefined
    }

    const forget = (one: Parked): void => {
      one.timer?.interruptUnsafe()
      one.timer = undefined
      if (one.id === undefined || !calls.delete(one.id) || one.owner === undefined) return
      const left = (counts.get(one.owner) ?? 0) - 1
      if (left > 0) counts.set(one.owner, left)
      else counts.delete(one.owner)
    }

    const end = (one: Parked): void => {
      forget(one)
      // Nobody else will hear of it.
      if (one.exit !== undefined && Exit.isFailure(one.exit) && Cause.hasDies(one.exit.cause)) {
        start(Effect.logError("a call failed inside the gateway while its client was away", one.exit.cause))
      }
      one.hearing.exchange = undefined
      one.done = undefined
      one.fiber?.interruptUnsafe()
    }

    const settle = (one: Parked, exit: Exit.Exit<Reply>): void => {
      const { done } = one
      one.done = undefined
      one.hearing.exchange = undefined
      done?.(exit)
    }

    const ended = (one: Parked, exit: Exit.Exit<Reply>): void => {
      if (one.done === undefined) {
        // Whoever comes back in time hears it; one that was given up is forgotten already.
        one.exit = exit
        return
      }
      forget(one)
      settle(one, exit)
    }

    /** Tells the request that waits what is asked by now. */
    const tell = (one: Parked): void => {
      one.telling = false
      if (one.done === undefined || one.id === undefined || one.questions.size === 0) return
      one.round++
      one.timer = start(Effect.andThen(
        Effect.sleep(options.inputTimeout),
        Effect.sync(() => {
          one.timer = undefined
          end(one)
        })
      ))
      const requests = Array.from(one.questions, ([key, { method, params }]) => [key, { method, params }] as const)
      settle(one, Exit.succeed(one.asks(requests, { _tag: "Parked", gateway, call: one.id, round: one.round })))
    }

    const ask = (one: Parked, attempt: Attempt, request: ServerRequest): void => {
      const { reply, withdrawn } = request
      const asked = Inputs.ofHandshake(request)
      const reason = Inputs.unaskable(one.client, asked)
      if (reason !== undefined) return reply(Inputs.refusal(reason))
      if (!attempt.isHeard() || withdrawn.aborted) return reply(Inputs.refusal("no longer needed"))
      const crowded = park(one)
      if (crowded !== undefined) return reply(crowded)
      attempt.commit()
      const resume = attempt.pause()
      const key = `input-${++one.asked}`
      const land = (): boolean => {
        if (!one.questions.delete(key)) return false
        resume()
        return true
      }
      one.questions.set(key, { ...asked, reply, land })
      withdrawn.addEventListener("abort", land, { once: true })
      if (one.telling) return
      one.telling = true
      // What it asks at the same time is told together.
      start(Effect.andThen(Effect.yieldNow, Effect.sync(() => tell(one))))
    }

    /** Of whoever waits, and is interrupted, nothing stays: also where that comes before the waiting. */
    const wait = (one: Parked, restore: <A>(effect: Effect.Effect<A>) => Effect.Effect<A>): Effect.Effect<Reply> =>
      Effect.onInterrupt(
        restore(Effect.callback((resume) => {
          one.done = resume
          if (one.exit !== undefined) ended(one, one.exit)
          else if (!one.telling) tell(one)
        })),
        () => Effect.sync(() => end(one))
      )

    return {
      begin: (hearing, exchange, asks, run) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.suspend(() => {
            const { client } = exchange
            const one: Parked = {
              hearing,
              client,
              owner: client.principal === undefined ? exchange.address?.() : `principal ${client.principal}`,
              asks,
              questions: new Map(),
              id: undefined,
              asked: 0,
              round: 0,
              done: undefined,
              telling: false,
              exit: undefined,
              fiber: undefined,
              timer: undefined
            }
            const call = run((attempt, request) => ask(one, attempt, request))
            return Effect.flatMap(Effect.forkIn(call, scope, { startImmediately: true }), (fiber) => {
              one.fiber = fiber
              fiber.addObserver((exit) => ended(one, exit))
              return wait(one, restore)
            })
          })
        ),

      goOn: (state, exchange, meta, inputResponses) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.suspend(() => {
            if (state.gateway !== gateway) return Effect.succeed(elsewhere)
            const one = calls.get(state.call)
            // A state is worth one answer.
            if (one === undefined || one.round !== state.round || one.done !== undefined) return Effect.succeed(gone)
            one.timer?.interruptUnsafe()
            one.timer = undefined
            one.client = exchange.client
            one.hearing.exchange = exchange
            one.hearing.token = Hearing.tokenOf(meta)
            one.hearing.highest = -Infinity
            for (const [key, question] of Array.from(one.questions)) {
              const answer = answerTo(question, Inputs.responseTo(inputResponses, key), exchange.client)
              if (answer !== undefined && question.land()) question.reply(answer)
            }
            return wait(one, restore)
          })
        ),

      size: () => calls.size,

      close: () => {
        closed = true
        for (const one of Array.from(calls.values())) {
          settle(one, Exit.succeed({ error: draining }))
          end(one)
        }
      }
    }
  })

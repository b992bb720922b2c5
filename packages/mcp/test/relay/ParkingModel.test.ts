/** Parked calls under everything that clients and servers can do to them, in any order. */
import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import type { Attempt } from "@portolan/core/Router"
import { Effect, Exit, Fiber, Scope } from "effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import type { Reply } from "../../src/JsonRpc.ts"
import type { Exchange } from "../../src/relay/calls/Exchange.ts"
import * as Hearing from "../../src/relay/calls/Hearing.ts"
import * as Parking from "../../src/relay/calls/Parking.ts"
import type { State } from "../../src/relay/calls/RequestState.ts"
import type { ServerRequest } from "../../src/upstream/Upstream.ts"

const MaxParked = 5
const MaxParkedPerClient = 3
const inputTimeout = 1_000
const owners = ["ann", "bob"] as const

const index = fc.nat({ max: 4 })
const command = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant("begin" as const), owner: fc.constantFrom(...owners) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("ask" as const), call: index }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("return" as const),
      call: index,
      answers: fc.nat({ max: 3 }),
      stale: fc.boolean()
    })
  },
  fc.record({ do: fc.constantFrom("withdraw" as const, "finish" as const, "cancel" as const), call: index }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 400, 1_001) })
)

interface Question {
  readonly controller: AbortController
  replies: number
  refused: boolean
}

interface Call {
  readonly owner: string
  onRequest: ((attempt: Attempt, request: ServerRequest) => void) | undefined
  finish: (() => void) | undefined
  ended: boolean
  pauses: number
  readonly questions: Array<Question>
  /** What the client was given, newest last. */
  readonly states: Array<{ readonly state: Extract<State, { _tag: "Parked" }>; readonly keys: ReadonlyArray<string> }>
  readonly exchanges: Array<Fiber.Fiber<Reply>>
}

const exchangeOf = (principal: string): Exchange => ({
  client: {
    era: "stateless",
    protocolVersion: "2026-07-28",
    info: undefined,
    capabilities: { roots: {} },
    principal,
    caller: { principal, capabilities: { roots: {} }, session: undefined }
  },
  streams: true,
  notify: () => {},
  logLevel: undefined
})

const attemptOf = (call: Pick<Call, "ended" | "pauses">): Attempt => ({
  number: 1,
  key: Catalog.key("test", "a"),
  deadline: () => 0,
  isHeard: () => !call.ended,
  extend: () => {},
  commit: () => {},
  sent: () => {},
  pause: () => {
    call.pauses++
    return () => void call.pauses--
  }
})

/** A call whose server asks once; what its question is answered with, and how often the call was cancelled. */
const asking = Effect.fnUntraced(function*() {
  const parking = yield* Parking.make({ inputTimeout, maxParked: MaxParked, maxParkedPerClient: MaxParkedPerClient })
  const exchange = exchangeOf("ann")
  const states: Array<Extract<State, { _tag: "Parked" }>> = []
  const figures = { cancelled: 0 }
  const hearing = Hearing.make(exchange, undefined)
  const begin = (
    onRun: () => void,
    onReply: (reply: Reply) => void,
    attempt = attemptOf({ ended: false, pauses: 0 })
  ) =>
    parking.begin(
      hearing,
      exchange,
      (_, state): Reply => {
        if (state._tag === "Parked") states.push(state)
        return { result: {} }
      },
      (onRequest) =>
        Effect.callback<Reply>(() => {
          onRun()
          onRequest(attempt, {
            method: "roots/list",
            params: undefined,
            withdrawn: new AbortController().signal,
            reply: onReply
          })
          return Effect.sync(() => void figures.cancelled++)
        })
    )
  const goOn = Effect.suspend(() => parking.goOn(states.at(-1)!, exchange, undefined, { "input-1": { roots: [] } }))
  return { parking, begin, goOn, figures, hearing }
})

describe("a parked call", () => {
  for (const when of ["begins", "goes on"]) {
    it.effect(`is cancelled by who is interrupted in the moment in which it ${when}`, () =>
      Effect.gen(function*() {
        const { begin, figures, goOn, parking } = yield* asking()
        let now: (() => void) | undefined
        const run = <A>(effect: Effect.Effect<A>) =>
          Effect.forkChild(
            Effect.withFiber<A>((fiber) => {
              now = () => fiber.interruptUnsafe()
              return effect
            }),
            { startImmediately: true }
          )
        const first = yield* run(begin(() => when === "begins" && now?.(), () => now?.()))
        yield* TestClock.adjust(0)
        const last = when === "begins" ? first : yield* run(goOn)
        yield* TestClock.adjust(0)
        const exit = last.pollUnsafe()
        assert.isTrue(exit !== undefined && Exit.hasInterrupts(exit))
        assert.deepStrictEqual([figures.cancelled, parking.size()], [1, 0])
      }))
  }

  it.effect("is heard by nobody while its client is away", () =>
    Effect.gen(function*() {
      const { begin, goOn, hearing } = yield* asking()
      yield* begin(() => {}, () => {})
      assert.isUndefined(hearing.exchange)
      yield* Effect.forkChild(goOn, { startImmediately: true })
      assert.isDefined(hearing.exchange)
    }))

  it.effect("is none where all has ended, or where the call goes on without that attempt", () =>
    Effect.gen(function*() {
      const { begin, parking } = yield* asking()
      const replies: Array<Reply> = []
      const run = (ended: boolean) =>
        Effect.forkChild(begin(() => {}, (reply) => replies.push(reply), attemptOf({ ended, pauses: 0 })), {
          startImmediately: true
        })
      yield* run(true)
      parking.close()
      yield* run(false)
      yield* TestClock.adjust(0)
      const messages = replies.map((reply) => "error" in reply ? reply.error.message : reply)
      assert.deepStrictEqual([messages, parking.size()], [["no longer needed", "The gateway is shutting down"], 0])
    }))

  it.effect("whose client waits for it when all end is answered", () =>
    Effect.gen(function*() {
      const { begin, figures, goOn, parking } = yield* asking()
      yield* begin(() => {}, () => {})
      const going = yield* Effect.forkChild(goOn, { startImmediately: true })
      assert.isUndefined(going.pollUnsafe())
      parking.close()
      const reply = yield* Fiber.join(going)
      assert.include("error" in reply ? reply.error.message : "", "shutting down")
      assert.deepStrictEqual([figures.cancelled, parking.size()], [1, 0])
    }))
})

describe("parked calls", () => {
  it.effect(
    "end all, each request has one reply, each question one answer, and nothing stays",
    () =>
      Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(command, { minLength: 20, maxLength: 80, size: "max" }), (commands) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const scope = yield* Scope.make()
                const parking = yield* Scope.provide(
                  Parking.make({ inputTimeout, maxParked: MaxParked, maxParkedPerClient: MaxParkedPerClient }),
                  scope
                )
                const calls: Array<Call> = []
                const settle = TestClock.adjust(0)

                const begin = Effect.fnUntraced(function*(owner: string) {
                  const call: Call = {
                    owner,
                    onRequest: undefined,
                    finish: undefined,
                    ended: false,
                    pauses: 0,
                    questions: [],
                    states: [],
                    exchanges: []
                  }
                  calls.push(call)
                  const end = () => {
                    call.ended = true
                    for (const { controller } of call.questions) controller.abort()
                  }
                  const exchange = exchangeOf(owner)
                  const running = parking.begin(
                    Hearing.make(exchange, undefined),
                    exchange,
                    (requests, state): Reply => {
                      assert.isNotEmpty(requests)
                      if (state._tag === "Parked") {
                        call.states.push({
                          state,
                          keys: requests.map(([key]) =>
                            key
                          )
                        })
                      }
                      return { result: { resultType: "input_required" } }
                    },
                    (onRequest) =>
                      Effect.callback<Reply>((resume) => {
                        call.onRequest = onRequest
                        call.finish = () => {
                          end()
                          resume(Effect.succeed({ result: {} }))
                        }
                        return Effect.sync(end)
                      })
                  )
                  call.exchanges.push(yield* Effect.forkChild(running, { startImmediately: true }))
                })

                const ask = (call: Call) => {
                  if (call.ended) return
                  const question: Question = { controller: new AbortController(), replies: 0, refused: false }
                  call.questions.push(question)
                  call.onRequest?.(attemptOf(call), {
                    method: "roots/list",
                    params: undefined,
                    withdrawn: question.controller.signal,
                    reply: (reply) => {
                      question.replies++
                      if ("error" in reply) question.refused = true
                    }
                  })
                }

                const check = () => {
                  assert.isAtMost(parking.size(), MaxParked)
                  for (const call of calls) {
                    for (const { replies } of call.questions) assert.isAtMost(replies, 1)
                    const open = call.questions.filter(({ controller, replies }) =>
                      replies === 0 && !controller.signal.aborted
                    )
                    assert.strictEqual(
                      call.pauses,
                      call.ended ? 0 : open.length,
                      "the time stands still while it is asked"
                    )
                    const waiting = call.exchanges.filter((each) => each.pollUnsafe() === undefined).length
                    assert.isAtMost(waiting, 1, "one request at a time")
                    if (waiting === 1) assert.isFalse(call.ended || open.length > 0, "what there is to tell is told")
                  }
                }

                for (const command of commands) {
                  if (command.do === "begin") yield* begin(command.owner)
                  else if (command.do === "wait") yield* TestClock.adjust(command.ms)
                  else {
                    const call = calls[command.call]
                    if (call === undefined) continue
                    switch (command.do) {
                      case "ask":
                        ask(call)
                        break
                      case "finish":
                        if (!call.ended) call.finish?.()
                        break
                      case "withdraw":
                        call.questions.find(({ replies }) => replies === 0)?.controller.abort()
                        break
                      case "cancel": {
                        const waiting = call.exchanges.find((each) => each.pollUnsafe() === undefined)
                        if (waiting === undefined) break
                        yield* Fiber.interrupt(waiting)
                        yield* settle
                        assert.isTrue(call.ended, "who cancels the request cancels the call")
                        break
                      }
                      case "return": {
                        const given = call.states.at(command.stale ? 0 : -1)
                        if (given === undefined) break
                        const answers = Object.fromEntries(
                          given.keys.slice(0, command.answers).map((key) => [key, { roots: [] }])
                        )
                        const going = parking.goOn(given.state, exchangeOf(call.owner), undefined, answers)
                        const newest = given === call.states.at(-1)
                        const busy = call.exchanges.some((each) => each.pollUnsafe() === undefined)
                        const fiber = yield* Effect.forkChild(going, { startImmediately: true })
                        call.exchanges.push(fiber)
                        if (newest && !busy) break
                        const reply = yield* Fiber.join(fiber)
                        assert.isTrue("error" in reply && reply.error.code === -32602, "a state is worth one answer")
                        break
                      }
                    }
                  }
                  yield* settle
                  check()
                }

                // Whoever is away stays away, and what still runs ends.
                yield* TestClock.adjust(inputTimeout)
                for (const call of calls) if (!call.ended) call.finish?.()
                yield* settle
                yield* TestClock.adjust(inputTimeout)
                check()
                assert.strictEqual(parking.size(), 0)
                for (const call of calls) {
                  assert.isTrue(call.ended)
                  for (const exchange of call.exchanges) {
                    assert.isDefined(exchange.pollUnsafe(), "a request without a reply")
                  }
                }

                // All room is free again.
                calls.length = 0
                for (const owner of ["ann", "ann", "ann", "bob", "bob"]) {
                  yield* begin(owner)
                }
                for (const call of calls) ask(call)
                yield* settle
                assert.strictEqual(parking.size(), MaxParked)
                assert.isFalse(calls.some(({ questions }) => questions.some(({ refused }) => refused)))
                yield* Scope.close(scope, Exit.void)
                assert.isTrue(calls.every(({ ended }) => ended))
              }).pipe(Effect.scoped, Effect.provide(TestClock.layer()))
            )),
          { numRuns: 100 }
        )
      ),
    60_000
  )
})

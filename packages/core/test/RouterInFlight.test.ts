/** B8, X4, X6 and X7, with everything that a call can do or have done to it. */
import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const ids = ["a", "b", "c"]
const kinds = [
  "success",
  "failure",
  "sent",
  "pushback",
  "defect",
  "throw",
  "self-interrupt",
  "never",
  "stubborn"
] as const

const call = fc.record({
  kind: fc.constantFrom(...kinds),
  // What a second attempt does.
  next: fc.constantFrom(...kinds),
  strategy: fc.constantFrom(...Balancer.strategyNames),
  takes: fc.integer({ min: 0, max: 80 }),
  // ms until the next call.
  wait: fc.integer({ min: 0, max: 20 }),
  // ms after which the caller gives up.
  patience: fc.option(fc.integer({ min: 0, max: 150 }), { nil: undefined }),
  timeout: fc.integer({ min: 1, max: 300 }),
  attempts: fc.integer({ min: 1, max: 4 }),
  repeatable: fc.boolean(),
  readOnly: fc.boolean(),
  commits: fc.boolean(),
  // ms for which an attempt waits for its client.
  pause: fc.constantFrom(0, 0, 40),
  affinity: fc.option(fc.record({ instance: fc.constantFrom(...ids.map(key)), strict: fc.boolean() }), {
    nil: undefined
  }),
  caller: fc.constantFrom("one", "two"),
  // What befalls an instance then.
  event: fc.option(fc.constantFrom("remove", "put", "down", "up", "reconfigure"), { nil: undefined })
})

const options = fc.record({
  retryBudget: fc.record({ share: fc.constantFrom(0, 0.2, 1), reserve: fc.constantFrom(0, 10) }),
  limits: fc.record({
    perInstance: fc.constantFrom(1, 2, 1_024),
    perService: fc.constantFrom(2, undefined),
    queue: fc.constantFrom(0, 2, 1_000),
    wait: fc.constantFrom(0, 50, 5_000)
  }),
  hedging: fc.constantFrom(undefined, { percentile: 0.5, share: 1 })
})

/** What was done for one call. */
class Log {
  readonly attempts: Array<Router.Attempt> = []
  running = 0
  /** Most attempts at the same time, and how many may have run. */
  together = 0
  ran = 0
  /** Attempts that passed something on. */
  readonly passedOn = new Set<number>()
}

interface Script {
  readonly kind: typeof kinds[number]
  readonly next: typeof kinds[number]
  readonly takes: number
  readonly commits: boolean
  readonly pause: number
}

const attempt = (from: Script, log: Log) =>
(
  _: unknown,
  attempt: Router.Attempt
): Effect.Effect<string, Router.AttemptFailure<string>> => {
  assert.strictEqual(log.passedOn.size, 0, "an attempt began after something was passed on")
  log.attempts.push(attempt)
  log.together = Math.max(log.together, ++log.running)
  return Effect.ensuring(Effect.suspend(() => act(from, attempt, log)), Effect.sync(() => void log.running--))
}

const act = (
  from: Script,
  { commit, extend, isHeard, number, pause, sent }: Router.Attempt,
  log: Log
): Effect.Effect<string, Router.AttemptFailure<string>> => {
  const kind = number === 1 ? from.kind : from.next
  if (kind === "throw") throw new Error("thrown")
  const takes = from.takes === 0 ? Effect.void : Effect.sleep(from.takes)
  const wait = from.pause === 0 ? takes : Effect.gen(function*() {
    const resume = pause()
    yield* Effect.sleep(from.pause)
    // Who forgets to end it does no harm: it ends with the attempt.
    if (number === 1) resume()
    yield* takes
  })
  const fails = (retryAfter?: number, phase: Router.Phase = "notSent") =>
    Effect.fail({
      error: "boom",
      phase,
      blame: "instance" as const,
      reason: "refused",
      retryAfter
    })
  const runs = Effect.sync(() => {
    log.ran++
    sent()
  })
  const passesOn = Effect.sync(() => {
    extend()
    if (!from.commits || !isHeard()) return
    commit()
    log.passedOn.add(number)
  })
  switch (kind) {
    case "success":
      return Effect.as(Effect.andThen(runs, Effect.andThen(wait, passesOn)), "ok")
    case "failure":
      return Effect.andThen(wait, fails())
    case "sent":
      return Effect.andThen(runs, Effect.andThen(Effect.andThen(wait, passesOn), fails(undefined, "mayHaveRun")))
    case "pushback":
      return Effect.andThen(wait, fails(30))
    case "defect":
      return Effect.andThen(wait, Effect.die("defect"))
    case "self-interrupt":
      return Effect.andThen(wait, Effect.interrupt)
    case "never":
      return Effect.andThen(runs, Effect.never)
    case "stubborn":
      return Effect.andThen(
        runs,
        Effect.uninterruptible(Effect.as(Effect.andThen(Effect.sleep(from.takes + 200), passesOn), "ok"))
      )
  }
}

describe("in flight", () => {
  it.effect("B8, X4, X6, X7: under every strategy and whatever happens, all ends, in time, once, and runs no more often than it may", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(options, fc.array(call, { minLength: 1, maxLength: 25 }), (options, calls) =>
          Effect.runPromise(
            Effect.gen(function*() {
              const fleet = yield* Fleet
              const router = yield* Router.Router
              const balancer = yield* Balancer.Balancer
              const health = yield* Health.Health
              yield* fleet.put(...ids.map((id) => instance(id)))
              // So that hedges know their time.
              for (let count = 0; count < 25; count++) {
                yield* router.route(
                  { target: { service: "weather" }, repeatable: true, readOnly: true },
                  () => Effect.succeed("ok")
                )
              }
              yield* TestClock.adjust("1 second")
              const target: Router.Target = { service: "weather" }
              const fibers = []
              const logs = calls.map(() => new Log())
              // Who gives up waits for what doesn't let itself be interrupted; all others have their answer in time.
              const route = (
                paused: number,
                ...[request, attempt]: Parameters<typeof router.route<string, string, never>>
              ) => {
                const latest = balancer.now() + (request.maxTimeout ?? 0) + paused + 1
                return Effect.onExit(router.route(request, attempt), (exit) =>
                  Effect.sync(() => {
                    if (!Exit.hasInterrupts(exit)) assert.isAtMost(balancer.now(), latest)
                  }))
              }
              for (const [index, call] of calls.entries()) {
                const fiber = yield* Effect.forkChild(
                  route(call.pause === 0 ? 0 : (call.pause + call.takes) * call.attempts, {
                    target,
                    strategy: call.strategy,
                    repeatable: call.repeatable,
                    readOnly: call.readOnly,
                    timeout: call.timeout,
                    maxTimeout: call.timeout * 2,
                    attempts: call.attempts,
                    affinity: call.affinity,
                    caller: { principal: call.caller }
                  }, attempt(call, logs[index]!)),
                  { startImmediately: true }
                )
                if (call.patience !== undefined) {
                  yield* Effect.forkChild(Effect.andThen(Effect.sleep(call.patience), Fiber.interrupt(fiber)))
                }
                fibers.push(fiber)
                const id = ids[index % ids.length]!
                if (call.event === "remove") yield* fleet.remove(id)
                if (call.event === "put") yield* fleet.put(instance(id))
                if (call.event === "down") yield* health.override(key(id), "down", "test")
                if (call.event === "up") yield* health.override(key(id), undefined, "test")
                if (call.event === "reconfigure") yield* router.reconfigure({ limits: { perInstance: 2 } })
                yield* TestClock.adjust(call.wait)
              }
              yield* TestClock.adjust("8 seconds")
              for (const fiber of fibers) assert.isDefined(fiber.pollUnsafe(), "a call has not ended")
              for (const node of balancer.nodes()) assert.strictEqual(node.inFlight, 0)
              for (const { inFlight } of balancer.figures().values()) assert.strictEqual(inFlight, 0)
              const { total } = router.report()
              assert.strictEqual(total.queue.waiting, 0)
              assert.strictEqual(total.calls, 25 + calls.length)
              for (const [index, { attempts, passedOn, ran, running, together }] of logs.entries()) {
                const call = calls[index]!
                assert.strictEqual(running, 0)
                assert.isAtMost(attempts.length, call.attempts)
                assert.isAtMost(together, call.repeatable && call.readOnly && call.affinity === undefined ? 2 : 1)
                if (!call.repeatable) assert.isAtMost(ran, 1)
                assert.isAtMost(passedOn.size, 1)
                assert.isFalse(attempts.some(({ isHeard }) => isHeard()))
              }
              for (const [index, fiber] of fibers.entries()) {
                const exit = yield* Fiber.await(fiber)
                if (Exit.isFailure(exit) && Cause.hasDies(exit.cause)) {
                  const { kind, next } = calls[index]!
                  assert.isTrue([kind, next].some((kind) => kind === "defect" || kind === "throw"))
                }
              }
              // Nothing holds a place for a trial call any more.
              for (const id of ids) yield* health.override(key(id), undefined, "test")
              yield* fleet.put(...ids.map((id) => instance(id)))
              yield* router.reconfigure({})
              yield* TestClock.adjust("10 seconds")
              const { value } = yield* router.route(
                { target, repeatable: true },
                () => Effect.succeed("ok")
              )
              assert.strictEqual(value, "ok")
            }).pipe(
              Effect.provide(
                Router.layer(options).pipe(
                  Layer.provideMerge(Health.layer()),
                  Layer.provideMerge(Balancer.layer()),
                  Layer.provideMerge(layer)
                )
              ),
              Effect.provide(TestClock.layer())
            )
          )),
        { numRuns: 100 }
      )
    ))

  const endings: Readonly<Record<string, Effect.Effect<string, Router.AttemptFailure<string>>>> = {
    "the caller gives up": Effect.never,
    "the request is at fault": Effect.fail({
      error: "boom",
      phase: "answered",
      blame: "caller",
      reason: "no such city"
    }),
    "it breaks": Effect.die("defect"),
    "it gives up by itself": Effect.interrupt
  }
  for (const [what, ends] of Object.entries(endings)) {
    it.effect(`a trial call gives its place back where ${what}`, () =>
      Effect.gen(function*() {
        const fleet = yield* Fleet
        const router = yield* Router.Router
        const health = yield* Health.Health
        yield* fleet.put(instance("a"), instance("b"))
        for (let call = 0; call < 3; call++) {
          health.record(key("a"), { _tag: "failure", latency: 0, reason: "refused" })
        }
        yield* TestClock.adjust("1 minute")
        const request: Router.RouteRequest = { target: { service: "weather" }, repeatable: true }
        for (let call = 0; call < 10; call++) {
          const tried: Array<string> = []
          const fiber = yield* Effect.forkChild(
            router.route(request, ({ id }) => {
              tried.push(id)
              return ends
            }),
            { startImmediately: true }
          )
          yield* TestClock.adjust(10)
          yield* Fiber.interrupt(fiber)
          assert.deepStrictEqual(tried, ["a"])
        }
        assert.include(health.circuit(key("a")), { state: "half-open", passed: 0 })
      }).pipe(
        Effect.provide(
          Router.layer().pipe(
            Layer.provideMerge(Health.layer()),
            Layer.provideMerge(Balancer.layer()),
            Layer.provideMerge(layer)
          )
        )
      ))
  }
})

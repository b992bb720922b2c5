/** B8, with everything that a call can do or have done to it. */
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
const kinds = ["success", "failure", "pushback", "defect", "throw", "self-interrupt", "never", "stubborn"] as const

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

const attempt = (
  from: {
    readonly kind: typeof kinds[number]
    readonly next: typeof kinds[number]
    readonly takes: number
    readonly commits: boolean
  }
) =>
(
  _: unknown,
  { commit, extend, number, sent }: Router.Attempt
): Effect.Effect<string, Router.AttemptFailure<string>> => {
  const kind = number === 1 ? from.kind : from.next
  if (kind === "throw") throw new Error("thrown")
  const wait = from.takes === 0 ? Effect.void : Effect.sleep(from.takes)
  const fails = (retryAfter?: number) =>
    Effect.fail({
      error: "boom",
      phase: "notSent" as const,
      blame: "instance" as const,
      reason: "refused",
      retryAfter
    })
  const passesOn = Effect.sync(() => {
    sent()
    extend()
    if (from.commits) commit()
  })
  switch (kind) {
    case "success":
      return Effect.as(Effect.andThen(wait, passesOn), "ok")
    case "failure":
      return Effect.andThen(wait, fails())
    case "pushback":
      return Effect.andThen(wait, fails(30))
    case "defect":
      return Effect.andThen(wait, Effect.die("defect"))
    case "self-interrupt":
      return Effect.andThen(wait, Effect.interrupt)
    case "never":
      return Effect.never
    case "stubborn":
      return Effect.uninterruptible(Effect.as(Effect.sleep(from.takes + 200), "ok"))
  }
}

describe("in flight", () => {
  it.effect("B8: all that was begun has ended, whatever happens and under every strategy, and each call is counted once", () =>
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
              for (const [index, call] of calls.entries()) {
                const fiber = yield* Effect.forkChild(
                  router.route({
                    target,
                    strategy: call.strategy,
                    repeatable: call.repeatable,
                    readOnly: call.readOnly,
                    timeout: call.timeout,
                    maxTimeout: call.timeout * 2,
                    attempts: call.attempts,
                    affinity: call.affinity,
                    caller: { principal: call.caller }
                  }, attempt(call)),
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
})

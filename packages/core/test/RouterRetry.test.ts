/** The laws of retries: X2 to X6. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = (options?: Router.RouterOptions, health?: Health.HealthOptions) =>
  Router.layer(options).pipe(
    Layer.provideMerge(Health.layer(health)),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(layer)
  )

const request: Router.RouteRequest = { target: { service: "weather" }, name: "weather__get", repeatable: true }

const failure = (fields: Partial<Router.AttemptFailure<string>> = {}): Router.AttemptFailure<string> => ({
  error: "boom",
  phase: "notSent",
  blame: "instance",
  reason: "refused",
  ...fields
})

/** Runs a law in a world of its own, on virtual time. */
const world = <E>(
  body: Effect.Effect<void, E, Fleet | Router.Router | Health.Health | Balancer.Balancer>,
  options?: Router.RouterOptions
) => Effect.runPromise(body.pipe(Effect.provide(live(options)), Effect.provide(TestClock.layer())))

const begin = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const now = Effect.map(Balancer.Balancer, (balancer) => balancer.now())

const inFlight = (ids: ReadonlyArray<string>) =>
  Effect.map(Balancer.Balancer, (balancer) => ids.map((id) => balancer.node(key(id), instance(id)).inFlight))

const fleetOf = (count: number) =>
  Effect.gen(function*() {
    const fleet = yield* Fleet
    const ids = Array.from({ length: count }, (_, index) => `i${index}`)
    yield* fleet.put(...ids.map((id) => instance(id)))
    return ids
  })

describe("retry budget", () => {
  for (const strategy of Balancer.strategyNames) {
    it.effect(`X2: ${strategy}: 1,000 calls a second that all fail make at most 1.2 times the attempts, and the reserve`, () =>
      Effect.gen(function*() {
        const router = yield* Router.Router
        yield* fleetOf(12)
        const retries: Array<number> = []
        const stops = new Map<string, number>()
        // Long enough that the budget forgets.
        const seconds = strategy === "peak-ewma" ? 14 : 4
        for (let tick = 0; tick < seconds * 40; tick++) {
          for (let call = 0; call < 25; call++) {
            yield* begin(
              router.route({ ...request, strategy }, (_, { number }) =>
                Effect.flatMap(now, (at) => {
                  if (number > 1) retries.push(at)
                  return Effect.fail(failure({ phase: call % 2 === 0 ? "mayHaveRun" : "notSent" }))
                })).pipe(
                  Effect.catch((error) =>
                    Effect.sync(() => {
                      const stopped = error._tag === "CallFailed" ? error.stopped : error._tag
                      stops.set(stopped, (stops.get(stopped) ?? 0) + 1)
                    })
                  )
                )
            )
          }
          yield* TestClock.adjust(25)
        }
        for (let second = 0; second < seconds; second++) {
          const within = retries.filter((at) => Math.floor(at / 1_000) > second - 10 && at / 1_000 < second + 1).length
          assert.isAtMost(within, 0.2 * 1_000 * Math.min(second + 1, 10) + 100)
        }
        // It makes use of what it may do.
        assert.isAtLeast(retries.length, 0.2 * 1_000 * seconds)
        assert.isAtLeast(stops.get("the retry budget of weather is spent") ?? 0, 1_000 * seconds * 0.7)
      }).pipe(Effect.provide(live())))
  }

  it.effect("X2: one who calls rarely can still retry, however long ago the last call was", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* fleetOf(3)
      for (let call = 0; call < 20; call++) {
        yield* TestClock.adjust(call % 2 === 0 ? "1 minute" : "1 millis")
        const { routing } = yield* router.route(
          request,
          ({ id }, { number }) => number === 1 ? Effect.fail(failure()) : Effect.succeed(id)
        )
        assert.strictEqual(routing.failovers, 1)
      }
    }).pipe(Effect.provide(live())))

  it.effect("is one per service, and can be set while calls run", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(...["a", "b"].map((id) => instance(id, { service: "other" })))
      yield* fleetOf(2)
      const calls = (service: string) =>
        Effect.flip(router.route({ ...request, target: { service }, attempts: 2 }, () => Effect.fail(failure())))
      const stopped = (service: string) =>
        Effect.map(calls(service), (error) => error._tag === "CallFailed" ? error.stopped : error._tag)
      yield* router.reconfigure({ retryBudget: { share: 0, reserve: 0.1 } })
      assert.strictEqual(yield* stopped("weather"), "2 attempts made")
      assert.strictEqual(yield* stopped("weather"), "the retry budget of weather is spent")
      assert.strictEqual(yield* stopped("other"), "2 attempts made")
      yield* router.reconfigure({})
      assert.strictEqual(yield* stopped("weather"), "2 attempts made")
    }).pipe(Effect.provide(live())))
})

describe("back-off", () => {
  it.effect("the first retry elsewhere comes at once, the next ones after a random pause that grows", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* fleetOf(6)
      const pauses: Array<Array<number>> = [[], [], [], []]
      for (let call = 0; call < 60; call++) {
        const times: Array<number> = []
        const fiber = yield* begin(
          Effect.flip(router.route({ ...request, attempts: 5 }, () =>
            Effect.flatMap(now, (at) => {
              times.push(at)
              return Effect.fail(failure())
            })))
        )
        for (let step = 0; step < 200; step++) yield* TestClock.adjust(1)
        yield* TestClock.adjust("10 seconds")
        yield* Fiber.join(fiber)
        assert.lengthOf(times, 5)
        for (const [index, times_] of pauses.entries()) times_.push(times[index + 1]! - times[index]!)
      }
      const most = pauses.map((times) => Math.max(...times))
      const least = pauses.map((times) => Math.min(...times))
      assert.strictEqual(most[0], 0)
      for (const [index, longest] of [[1, 50], [2, 100], [3, 200]] as const) {
        assert.isAtMost(most[index]!, longest + 1)
        assert.isAtLeast(most[index]!, longest * 0.7)
        assert.isAtMost(least[index]!, longest * 0.3)
      }
    }).pipe(Effect.provide(live({ retryBudget: { reserve: 100 } }, { fall: 1_000 }))))

  it.effect("the same seed makes the same pauses", () =>
    Effect.gen(function*() {
      const times = (seed: string) =>
        Effect.gen(function*() {
          const router = yield* Router.Router
          yield* fleetOf(5)
          const seen: Array<number> = []
          const fiber = yield* begin(Effect.flip(router.route({ ...request, attempts: 5 }, () =>
            Effect.flatMap(now, (at) => {
              seen.push(at)
              return Effect.fail(failure())
            }))))
          for (let step = 0; step < 400; step++) yield* TestClock.adjust(1)
          yield* Fiber.join(fiber)
          return seen
        }).pipe(Effect.provide(live()), Effect.provide(TestClock.layer()), Random.withSeed(seed))
      assert.deepStrictEqual(yield* times("one"), yield* times("one"))
      assert.notDeepEqual(yield* times("one"), yield* times("two"))
    }))

  it.effect("a call outlives a restart of the only instance", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      const [id] = yield* fleetOf(1)
      for (const phase of ["notSent", "mayHaveRun"] as const) {
        const back = (yield* now) + 450
        const fiber = yield* begin(router.route(request, ({ id }) =>
          Effect.flatMap(now, (at) =>
            at < back ? Effect.fail(failure({ phase })) : Effect.succeed(id))))
        yield* TestClock.adjust("2 seconds")
        const { routing, value } = yield* Fiber.join(fiber)
        assert.strictEqual(value, id)
        assert.strictEqual(routing.attempts, 3)
      }
      // One that answers is there, and would answer the same.
      const error = yield* Effect.flip(router.route(request, () =>
        Effect.fail(failure({ phase: "answered" }))))
      assert.include(error, { _tag: "CallFailed", stopped: "no other instance" })
    }).pipe(Effect.provide(live())))

  it.effect("X5: goes to one that is ejected before it goes again to the only one that isn't, which just failed", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleetOf(2)
      // It is well again, and nobody knows it yet.
      for (let call = 0; call < 3; call++) {
        health.record(key("i0"), { _tag: "failure", latency: 0, reason: "connection refused" })
      }
      assert.strictEqual(health.circuit(key("i0"))?.state, "open")
      const attempt = ({ id }: ServiceInstance) => id === "i1" ? Effect.fail(failure()) : Effect.succeed(id)
      const { routing, value } = yield* router.route(request, attempt)
      assert.strictEqual(value, "i0")
      assert.deepInclude(routing, { attempts: 2, latency: 0, why: "ejected, but the others failed" })
      // One that is bound to an instance goes nowhere else.
      const affinity = { instance: key("i1"), strict: true }
      const bound = yield* begin(Effect.exit(router.route({ ...request, affinity }, attempt)))
      yield* TestClock.adjust("1 minute")
      const exit = yield* Fiber.join(bound)
      assert.isTrue(Exit.isFailure(exit))
    }).pipe(Effect.provide(live())))

  it.effect("what is bound by a getter is tried again where it is bound, however it is asked for", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* fleetOf(3)
      class Bound implements Router.RouteRequest {
        readonly target = request.target
        readonly repeatable = true
        get affinity() {
          return { instance: key("i1"), strict: true }
        }
      }
      const asked: Array<string> = []
      const fiber = yield* begin(router.route(new Bound(), ({ id }) => {
        asked.push(id)
        return asked.length < 3 ? Effect.fail(failure()) : Effect.succeed(id)
      }))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber)).value, "i1")
      assert.deepStrictEqual(asked, ["i1", "i1", "i1"])
    }).pipe(Effect.provide(live())))

  it.effect("an instance that comes while a call pauses gets it", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleetOf(1)
      const fiber = yield* begin(
        router.route(request, ({ id }) => id === "new" ? Effect.succeed(id) : Effect.fail(failure()))
      )
      yield* fleet.put(instance("new"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber)).value, "new")
    }).pipe(Effect.provide(live())))
})

describe("pushback", () => {
  for (const strategy of Balancer.strategyNames) {
    it.effect(`X3: ${strategy}: the retry goes elsewhere at once, and the instance is left alone as long as it asked`, () =>
      Effect.gen(function*() {
        const router = yield* Router.Router
        const health = yield* Health.Health
        yield* fleetOf(4)
        const asked: Array<string> = []
        const { routing, value } = yield* router.route({ ...request, strategy, attempts: 4 }, ({ id }) => {
          if (asked.length === 3) return Effect.succeed(id)
          asked.push(id)
          return Effect.fail(failure({ retryAfter: 2_000, reason: "429" }))
        })
        assert.strictEqual(new Set([...asked, value]).size, 4)
        assert.strictEqual(routing.latency, 0)
        // Until all are asked for time, as ours is the only one that is left.
        for (const id of asked.slice(0, 2)) assert.include(health.circuit(key(id)), { cause: "pushback" })
        for (let call = 0; call < 50; call++) {
          assert.notInclude(
            asked.slice(0, 2),
            (yield* router.route({ ...request, strategy }, ({ id }) => Effect.succeed(id))).value
          )
        }
      }).pipe(Effect.provide(live())))
  }

  it.effect("X3: where it is the only one the call waits as long as it asked, if that is not too long, else says so", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 1, max: 8_000 }),
          fc.integer({ min: 100, max: 10_000 }),
          fc.boolean(),
          (retryAfter, timeout, repeatable) =>
            world(Effect.gen(function*() {
              const router = yield* Router.Router
              yield* fleetOf(1)
              const times: Array<number> = []
              const fiber = yield* begin(
                Effect.exit(router.route({ ...request, timeout, repeatable }, ({ id }) =>
                  Effect.flatMap(now, (at) => {
                    times.push(at)
                    return times.length === 1 ? Effect.fail(failure({ retryAfter })) : Effect.succeed(id)
                  })))
              )
              const fits = retryAfter <= 5_000 && retryAfter + 25 < timeout
              const never = retryAfter > 5_000 || retryAfter >= timeout
              if (never) assert.isDefined(fiber.pollUnsafe())
              yield* TestClock.adjust("10 seconds")
              const exit = yield* Fiber.join(fiber)
              if (fits) {
                assert.isTrue(
                  Exit.isSuccess(exit),
                  String(Exit.isFailure(exit) && JSON.stringify(yield* Effect.flip(exit)))
                )
              }
              if (never) assert.isTrue(Exit.isFailure(exit))
              if (Exit.isSuccess(exit)) {
                assert.lengthOf(times, 2)
                assert.isAtLeast(times[1]! - times[0]!, retryAfter)
                assert.isAtMost(times[1]! - times[0]!, retryAfter + 26)
              } else {
                const error = yield* Effect.flip(exit)
                assert.strictEqual(error._tag, "CallFailed")
                if (error._tag === "CallFailed") assert.strictEqual(error.failure.retryAfter, retryAfter)
                assert.lengthOf(times, 1)
              }
            }))
        ),
        { numRuns: 60 }
      )
    ))

  it.effect("X3: those that it sent away together come back a few at a time, and all are answered", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* fleetOf(1)
      let running = 0
      const together: Array<number> = []
      const fibers = []
      for (let call = 0; call < 8; call++) {
        fibers.push(
          yield* begin(router.route(request, ({ id }, { number }) => {
            if (number > 1) together.push(++running)
            return Effect.sleep("50 millis").pipe(
              Effect.andThen(number === 1 ? Effect.fail(failure({ retryAfter: 500 })) : Effect.succeed(id)),
              Effect.tap(() => Effect.sync(() => void running--))
            )
          }))
        )
      }
      yield* TestClock.adjust("2 seconds")
      for (const fiber of fibers) assert.strictEqual((yield* Fiber.join(fiber)).value, "i0")
      assert.lengthOf(together, 8)
      // As many trial calls as may run at a time.
      assert.isAtMost(Math.max(...together.slice(0, 4)), 3)
    }).pipe(Effect.provide(live())))
})

const attempts = fc.array(
  fc.record({
    phase: fc.constantFrom<Router.Phase>("notSent", "mayHaveRun", "answered"),
    takes: fc.integer({ min: 0, max: 400 }),
    retryAfter: fc.option(fc.integer({ min: 0, max: 1_000 }), { nil: undefined }),
    good: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0),
    stubborn: fc.integer({ min: 0, max: 9 }).map((draw) => draw === 0)
  }),
  { minLength: 8, maxLength: 8 }
)

/** What an attempt does, by its number. */
const act = (
  script: ReadonlyArray<
    {
      readonly phase: Router.Phase
      readonly takes: number
      readonly retryAfter: number | undefined
      readonly good: boolean
      readonly stubborn: boolean
    }
  >,
  { id }: ServiceInstance,
  attempt: Router.Attempt
): Effect.Effect<string, Router.AttemptFailure<string>> => {
  const { good, phase, retryAfter, stubborn, takes } = script[(attempt.number - 1) % script.length]!
  if (phase !== "notSent") attempt.sent()
  const wait = takes === 0 ? Effect.void : Effect.sleep(takes)
  const acts = Effect.andThen(wait, good ? Effect.succeed(id) : Effect.fail(failure({ phase, retryAfter })))
  return stubborn ? Effect.uninterruptible(acts) : acts
}

describe("for every strategy", () => {
  const law = fc.record({
    strategy: fc.constantFrom(...Balancer.strategyNames),
    count: fc.integer({ min: 1, max: 4 }),
    attempts: fc.integer({ min: 1, max: 6 }),
    timeout: fc.integer({ min: 1, max: 1_500 }),
    repeatable: fc.boolean(),
    script: attempts
  })

  it.effect("X4, X5, X6, X9: within the deadline, elsewhere first, and never again what may have run and must not twice", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(law, ({ attempts, count, repeatable, script, strategy, timeout }) =>
          world(Effect.gen(function*() {
            const router = yield* Router.Router
            const ids = yield* fleetOf(count)
            const seen: Array<string> = []
            const phases: Array<Router.Phase> = []
            let ended = Infinity
            const fiber = yield* begin(
              Effect.exit(router.route({ ...request, strategy, attempts, timeout, repeatable }, (instance, attempt) => {
                seen.push(instance.id)
                phases.push(script[(attempt.number - 1) % script.length]!.phase)
                return act(script, instance, attempt)
              })).pipe(Effect.tap(() =>
                Effect.map(now, (at) => void (ended = at))
              ))
            )
            yield* TestClock.adjust("5 seconds")
            const exit = yield* Fiber.join(fiber)
            assert.isAtMost(ended, timeout)
            assert.isAtMost(seen.length, attempts)
            assert.strictEqual(new Set(seen.slice(0, count)).size, Math.min(seen.length, count))
            // Only the last one may have been something that must not be repeated.
            if (!repeatable) assert.isTrue(phases.slice(0, -1).every((phase) => phase === "notSent"))
            if (Exit.isSuccess(exit)) assert.strictEqual(exit.value.value, seen.at(-1))
            else {
              const error = yield* Effect.flip(exit)
              if (error._tag === "DeadlineExceeded") {
                assert.strictEqual(ended, timeout)
                if (phases.some((phase) => phase !== "notSent")) assert.strictEqual(error.phase, "mayHaveRun")
              }
            }
            yield* TestClock.adjust("5 seconds")
            assert.deepStrictEqual(yield* inFlight(ids), ids.map(() => 0))
          }))),
        { numRuns: 250 }
      )
    ))
})

/** The laws of hedges: X7. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = (options: Router.RouterOptions = { hedging: {} }, health?: Health.HealthOptions) =>
  Router.layer(options).pipe(
    Layer.provideMerge(Health.layer(health)),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(layer)
  )

const request: Router.RouteRequest = {
  target: { service: "weather" },
  name: "weather__get",
  repeatable: true,
  readOnly: true
}

const failure = (fields: Partial<Router.AttemptFailure<string>> = {}): Router.AttemptFailure<string> => ({
  error: "boom",
  phase: "mayHaveRun",
  blame: "instance",
  reason: "refused",
  ...fields
})

const ids = ["a", "b", "c"]
const start = Effect.flatMap(Fleet, (fleet) => fleet.put(...ids.map((id) => instance(id))))
const begin = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })
const inFlight = Effect.map(
  Balancer.Balancer,
  (balancer) => ids.map((id) => balancer.node(key(id), instance(id)).inFlight)
)

/** Calls that take 10 ms, until the router knows that they do, and that it has some hedges. */
const learn = (from: Router.RouteRequest = request, calls = 60) =>
  Effect.gen(function*() {
    const router = yield* Router.Router
    for (let call = 0; call < calls; call++) {
      yield* begin(router.route(from, ({ id }) => Effect.as(Effect.sleep("10 millis"), id)))
      yield* TestClock.adjust("20 millis")
    }
    yield* TestClock.adjust("1 second")
  })

describe("hedging", () => {
  it.effect("sends a second attempt elsewhere when the first takes longer than most, and takes the first answer", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      const health = yield* Health.Health
      const balancer = yield* Balancer.Balancer
      yield* start
      yield* learn()
      const seen: Array<string> = []
      let interrupted = 0
      const fiber = yield* begin(router.route(request, ({ id }, { number }) => {
        seen.push(id)
        return number === 1
          ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
          : Effect.as(Effect.sleep("5 millis"), id)
      }))
      yield* TestClock.adjust("9 millis")
      assert.lengthOf(seen, 1)
      yield* TestClock.adjust("11 millis")
      const { routing, value } = yield* Fiber.join(fiber)
      assert.lengthOf(new Set(seen), 2)
      assert.strictEqual(value, seen[1])
      assert.include(routing, { hedged: true, attempts: 2, failovers: 0, instance: seen[1]! })
      assert.isAtLeast(routing.latency, 15)
      assert.strictEqual(interrupted, 1)
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
      // The loser did nothing wrong, and was slower than it is known to be.
      const loser = balancer.node(key(seen[0]!), instance(seen[0]!))
      assert.strictEqual(loser.failures, 0)
      assert.isAtLeast(loser.latency, 14)
      assert.strictEqual(health.get(key(seen[0]!)).successRate, 1)
    }).pipe(Effect.provide(live())))

  const unhedged: ReadonlyArray<readonly [string, Partial<Router.RouteRequest>, Router.RouterOptions]> = [
    ["without hedging", {}, {}],
    ["one that changes something", { readOnly: false }, { hedging: {} }],
    ["one of which nothing is known", { readOnly: undefined }, { hedging: {} }],
    ["one that must not be repeated", { repeatable: false }, { hedging: {} }],
    ["one attempt", { attempts: 1 }, { hedging: {} }],
    ["one that is bound", { affinity: { instance: key("a"), strict: false } }, { hedging: {} }],
    ["one whose rule says so", {}, { hedging: {}, rules: [{ match: { service: "weather" }, hedging: false }] }]
  ]
  for (const [name, fields, options] of unhedged) {
    it.effect(`not for ${name}`, () =>
      Effect.gen(function*() {
        const router = yield* Router.Router
        yield* start
        // The others teach it what it can know.
        yield* learn()
        yield* learn({ ...request, ...fields })
        let attempts = 0
        const fiber = yield* begin(Effect.exit(router.route({ ...request, timeout: 500, ...fields }, () => {
          attempts++
          return Effect.never
        })))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.strictEqual(attempts, 1)
      }).pipe(Effect.provide(live(options))))
  }

  it.effect("where a rule says so, though it is off for all others", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      yield* learn()
      const fiber = yield* begin(
        router.route(request, ({ id }, { number }) => number === 1 ? Effect.never : Effect.succeed(id))
      )
      yield* TestClock.adjust("20 millis")
      assert.isTrue((yield* Fiber.join(fiber)).routing.hedged)
    }).pipe(Effect.provide(live({ rules: [{ match: { service: "weather" }, hedging: true }] }))))

  it.effect("not at the instance that it is for, and what isn't sent costs nothing", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      // So that there are three hedges.
      yield* learn()
      for (let call = 0; call < 5; call++) {
        let attempts = 0
        const fiber = yield* begin(Effect.exit(router.route({ ...request, timeout: 500 }, (_, { number }) => {
          attempts++
          // After a pause even the one that failed will do, but for another try and not beside it.
          return number === 1 ? Effect.fail(failure({ phase: "notSent" })) : Effect.never
        })))
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.strictEqual(attempts, 2)
      }
      yield* fleet.put(instance("b"))
      const fiber = yield* begin(
        router.route(request, ({ id }, { number }) => number === 1 ? Effect.never : Effect.succeed(id))
      )
      yield* TestClock.adjust("20 millis")
      assert.isTrue((yield* Fiber.join(fiber)).routing.hedged)
    }).pipe(Effect.provide(live({ hedging: {} }, { fall: 1_000 }))))

  it.effect("not sooner for callers that give up, or for attempts that fail", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      yield* learn()
      for (let call = 0; call < 300; call++) {
        const fiber = yield* begin(router.route(request, () => Effect.never))
        yield* TestClock.adjust(1)
        yield* Fiber.interrupt(fiber)
        yield* Effect.exit(router.route(request, () => Effect.fail(failure({ blame: "caller" }))))
      }
      yield* TestClock.adjust("1 second")
      let attempts = 0
      const fiber = yield* begin(router.route(request, ({ id }, { number }) => {
        attempts++
        return number === 1 ? Effect.never : Effect.succeed(id)
      }))
      yield* TestClock.adjust("9 millis")
      assert.strictEqual(attempts, 1)
      yield* TestClock.adjust("11 millis")
      assert.isTrue((yield* Fiber.join(fiber)).routing.hedged)
    }).pipe(Effect.provide(live())))

  it.effect("not where its service has no room, and that costs nothing", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      yield* learn()
      yield* router.reconfigure({ hedging: {}, limits: { perService: 1 } })
      let attempts = 0
      const fiber = yield* begin(router.route(request, ({ id }) => {
        attempts++
        return Effect.as(Effect.sleep("100 millis"), id)
      }))
      yield* TestClock.adjust("100 millis")
      assert.isFalse((yield* Fiber.join(fiber)).routing.hedged)
      assert.strictEqual(attempts, 1)
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
    }).pipe(Effect.provide(live())))

  it.effect("not before enough is known", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      yield* learn(request, 10)
      let attempts = 0
      const fiber = yield* begin(Effect.exit(router.route({ ...request, timeout: 1_000 }, () => {
        attempts++
        return Effect.never
      })))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.strictEqual(attempts, 1)
    }).pipe(Effect.provide(live({ hedging: { share: 1 } }))))

  it.effect("not after something was passed on; and who passes on first is the only one that goes on", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      yield* learn()
      let attempts = 0
      const committed = yield* begin(router.route(request, ({ id }, attempt) => {
        attempts++
        attempt.commit()
        return Effect.as(Effect.sleep("200 millis"), id)
      }))
      yield* TestClock.adjust("200 millis")
      assert.strictEqual((yield* Fiber.join(committed)).routing.attempts, 1)
      assert.strictEqual(attempts, 1)
      const fiber = yield* begin(router.route(request, ({ id }, attempt) =>
        attempt.number === 1
          ? Effect.as(Effect.sleep("40 millis"), id)
          : Effect.sleep("5 millis").pipe(
            Effect.andThen(Effect.sync(attempt.commit)),
            Effect.andThen(Effect.sleep("100 millis")),
            Effect.as(id)
          )))
      yield* TestClock.adjust("60 millis")
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("100 millis")
      assert.isTrue((yield* Fiber.join(fiber)).routing.hedged)
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
    }).pipe(Effect.provide(live({ hedging: { share: 1 } }))))

  // What is asked twice may be answered once: by a cache, say, that the second one fills for both.
  for (const next of ["never ends", "answers too", "fails"] as const) {
    it.effect(`ends with the first where it makes that answer while it begins, and then ${next}`, () =>
      Effect.gen(function*() {
        const router = yield* Router.Router
        yield* start
        yield* learn()
        const { calls } = router.report().total
        let answer = () => {}
        let interrupted = 0
        const fiber = yield* begin(router.route({ ...request, timeout: 1_000 }, ({ id }, { number }) =>
          number === 1
            ? Effect.callback<string>((resume) => {
              answer = () => resume(Effect.succeed(id))
            })
            : Effect.andThen(
              Effect.sync(() => answer()),
              next === "never ends"
                ? Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))
                : next === "fails"
                ? Effect.fail(failure())
                : Effect.succeed(id)
            )))
        yield* TestClock.adjust("20 millis")
        const { routing } = yield* Fiber.join(fiber)
        assert.include(routing, { hedged: false, attempts: 2 })
        assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
        assert.strictEqual(interrupted, next === "never ends" ? 1 : 0)
        assert.strictEqual(router.report().total.calls, calls + 1)
      }).pipe(Effect.provide(live())))
  }

  it.effect("is not begun in earnest where the first passes on while it begins", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      yield* learn()
      let commit = () => {}
      let passed = 0
      const fiber = yield* begin(router.route(request, ({ id }, attempt) => {
        if (attempt.number === 1) {
          commit = attempt.commit
          return Effect.as(Effect.sleep("100 millis"), id)
        }
        commit()
        return Effect.sync(() => void passed++).pipe(Effect.delay("5 millis"), Effect.as(id))
      }))
      yield* TestClock.adjust("200 millis")
      assert.isFalse((yield* Fiber.join(fiber)).routing.hedged)
      assert.strictEqual(passed, 0)
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
    }).pipe(Effect.provide(live())))

  it.effect("who was given up for another that passes on isn't blamed for what that doesn't bring to an end", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      const balancer = yield* Balancer.Balancer
      yield* start
      yield* learn()
      const seen: Array<string> = []
      const fiber = yield* begin(Effect.exit(router.route({ ...request, timeout: 500 }, ({ id }, attempt) => {
        seen.push(id)
        if (attempt.number === 1) return Effect.uninterruptible(Effect.as(Effect.sleep("2 seconds"), id))
        attempt.commit()
        return Effect.never
      })))
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "Failure")
      assert.lengthOf(seen, 2)
      assert.deepStrictEqual(seen.map((id) => balancer.node(key(id), instance(id)).failures), [0, 0])
      assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
    }).pipe(Effect.provide(live())))

  it.effect("X7: where one fails the other may still answer; where both do, the first error is kept", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          // Longer than the others took, or it is no hedge but a retry.
          fc.integer({ min: 14, max: 60 }),
          fc.integer({ min: 0, max: 60 }),
          fc.boolean(),
          fc.boolean(),
          fc.constantFrom<Router.Phase>("notSent", "mayHaveRun", "answered"),
          fc.constantFrom(...Balancer.strategyNames),
          (takes, hedgeTakes, good, hedgeGood, phase, strategy) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const router = yield* Router.Router
                yield* start
                yield* learn()
                const ended: Array<{ readonly error: string; readonly at: number }> = []
                const fiber = yield* begin(
                  Effect.result(router.route({ ...request, strategy, attempts: 2 }, (_, { number }) => {
                    const name = `attempt ${number}`
                    return Effect.sleep(number === 1 ? takes : hedgeTakes).pipe(
                      Effect.andThen(
                        (number === 1 ? good : hedgeGood)
                          ? Effect.succeed(name)
                          : Effect.fail(failure({ error: name, phase }))
                      ),
                      Effect.tapError(({ error }) =>
                        Effect.map(Balancer.Balancer, ({ now }) => void ended.push({ error, at: now() }))
                      )
                    )
                  }))
                )
                yield* TestClock.adjust("1 second")
                const result = yield* Fiber.join(fiber)
                if (good || hedgeGood) assert.strictEqual(result._tag, "Success")
                else if (result._tag === "Failure" && result.failure._tag === "CallFailed") {
                  assert.strictEqual(result.failure.failure.error, ended[0]!.error)
                  assert.lengthOf(result.failure.failed, 2)
                  assert.strictEqual(result.failure.stopped, "2 attempts made")
                } else assert.fail(`unexpected: ${result._tag}`)
                assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
              }).pipe(Effect.provide(live()), Effect.provide(TestClock.layer()))
            )
        ),
        { numRuns: 40 }
      )
    ))

  for (const [index, strategy] of Balancer.strategyNames.entries()) {
    const share = [0.05, 0.2][index % 2]!
    it.effect(`X7: ${strategy}: never adds more than ${share} of the calls, however slow all are, and cuts the tail where some are`, () =>
      Effect.gen(function*() {
        const router = yield* Router.Router
        yield* start
        const latencies: Array<number> = []
        let attempts = 0
        let calls = 0
        const hedges: Array<number> = []
        const load = (seconds: number, takes: (call: number) => number) =>
          Effect.gen(function*() {
            latencies.length = 0
            for (let tick = 0; tick < seconds * 50; tick++) {
              const call = calls++
              yield* begin(Effect.map(
                router.route({ ...request, strategy }, ({ id }, { number }) => {
                  attempts++
                  if (number > 1) hedges.push(call)
                  // The hedge is as fast as most.
                  return Effect.as(Effect.sleep(number > 1 ? 10 : takes(call)), id)
                }),
                ({ routing }) => void latencies.push(routing.latency)
              ))
              yield* TestClock.adjust(20)
            }
            yield* TestClock.adjust("2 seconds")
            return latencies.toSorted((left, right) => left - right)
          })
        yield* load(20, (call) => 10 + call % 5)
        const some = yield* load(30, (call) => call % 50 === 0 ? 1_000 : 10 + call % 5)
        assert.isAtMost(some[Math.floor(some.length * 0.99)]!, 60)
        // A sudden change: all are slower than was measured.
        yield* load(30, () => 500)
        assert.isAtMost(attempts - calls, share * calls)
        for (let from = 0; from < calls; from += 100) {
          // Of any 10 s, which are 500 calls.
          const within = hedges.filter((call) => call >= from && call < from + 450).length
          assert.isAtMost(within, share * 550)
        }
        assert.isAtLeast(hedges.length, 10)
        assert.deepStrictEqual(yield* inFlight, [0, 0, 0])
      }).pipe(Effect.provide(live({ hedging: { share } }))))
  }
})

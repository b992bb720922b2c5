/** Attempts that wait for their own client: `Attempt.pause`. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import { Fleet, instance, layer } from "./fixtures/Fleet.ts"

const live = (options: Router.RouterOptions = {}) =>
  Router.layer(options).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(layer)
  )

const ids = ["a", "b", "c"]
const start = Effect.flatMap(Fleet, (fleet) => fleet.put(...ids.map((id) => instance(id))))
const request: Router.RouteRequest = { target: { service: "weather" }, repeatable: false, timeout: 1_000 }
const begin = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

const refused: Router.AttemptFailure<string> = { error: "boom", phase: "notSent", blame: "instance", reason: "refused" }

/** Takes some time, waits for the client, and takes time again. */
const asks = (before: number, paused: number, after: number) => (_: unknown, { pause }: Router.Attempt) =>
  Effect.gen(function*() {
    yield* Effect.sleep(before)
    const resume = pause()
    yield* Effect.sleep(paused)
    resume()
    yield* Effect.sleep(after)
    return "ok"
  })

describe("a pause", () => {
  it.effect("stops the deadline, and is no latency", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      const balancer = yield* Balancer.Balancer
      yield* start
      const fiber = yield* begin(router.route(request, asks(300, 60_000, 600)))
      yield* TestClock.adjust("2 minutes")
      const { routing, value } = yield* Fiber.join(fiber)
      assert.strictEqual(value, "ok")
      assert.strictEqual(routing.latency, 900)
      const used = Array.from(balancer.nodes()).find(({ instance: { id } }) => id === routing.instance)
      assert.strictEqual(used?.latency, 900)
      assert.strictEqual(used?.inFlight, 0)
      assert.isBelow(router.report().total.latency?.p99 ?? Infinity, 1_000)
    }).pipe(Effect.provide(live())))

  it.effect("gives the rest of the time back, and no more", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const fiber = yield* begin(Effect.flip(router.route(request, asks(300, 60_000, 701))))
      yield* TestClock.adjust(60_999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.include(yield* Fiber.join(fiber), { _tag: "DeadlineExceeded", timeout: 1_000 })
    }).pipe(Effect.provide(live())))

  it.effect("says when the attempt is interrupted as if it ended now", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const deadlines: Array<number> = []
      yield* begin(router.route(request, (_, { deadline, pause }) =>
        Effect.gen(function*() {
          deadlines.push(deadline())
          const resume = pause()
          yield* Effect.sleep(5_000)
          deadlines.push(deadline())
          resume()
          deadlines.push(deadline())
        })))
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(deadlines, [1_000, 6_000, 6_000])
    }).pipe(Effect.provide(live())))

  it.effect("several at once count once, and end with the last", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const fiber = yield* begin(router.route(request, (_, { pause }) =>
        Effect.gen(function*() {
          const first = pause()
          yield* Effect.sleep(5_000)
          const second = pause()
          yield* Effect.sleep(5_000)
          first()
          first()
          yield* Effect.sleep(5_000)
          second()
          yield* Effect.sleep(999)
        })))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(fiber)).routing.latency, 999)
    }).pipe(Effect.provide(live())))

  it.effect("moves what progress may extend the deadline to", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const progresses = (times: number) =>
        Effect.flip(router.route({ ...request, maxTimeout: 2_000 }, (_, { extend, pause }) =>
          Effect.gen(function*() {
            const resume = pause()
            yield* Effect.sleep(30_000)
            // While it stands still, progress adds nothing that time would not.
            extend()
            yield* Effect.sleep(30_000)
            resume()
            for (let time = 0; time < times; time++) {
              yield* Effect.sleep(900)
              extend()
            }
            return yield* Effect.never
          })))
      for (const [times, timeout] of [[0, 1_000], [1, 1_900], [2, 2_000], [5, 2_000]] as const) {
        const fiber = yield* begin(progresses(times))
        yield* TestClock.adjust("2 minutes")
        assert.include(yield* Fiber.join(fiber), { _tag: "DeadlineExceeded", timeout })
      }
    }).pipe(Effect.provide(live())))

  it.effect("that begins late moves it by no more than it lasts", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const fiber = yield* begin(Effect.flip(
        router.route({ ...request, maxTimeout: 2_000 }, (_, { extend, pause }) =>
          Effect.gen(function*() {
            yield* Effect.sleep(900)
            extend()
            yield* Effect.sleep(600)
            const resume = pause()
            yield* Effect.sleep(30_000)
            extend()
            resume()
            return yield* Effect.never
          }))
      ))
      yield* TestClock.adjust(31_999)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.include(yield* Fiber.join(fiber), { _tag: "DeadlineExceeded", timeout: 2_000 })
    }).pipe(Effect.provide(live())))

  it.effect("of the one of two that is passed over ends; it begins none any more", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const readOnly: Router.RouteRequest = { ...request, repeatable: true, readOnly: true }
      for (let call = 0; call < 60; call++) {
        yield* begin(router.route(readOnly, () => Effect.sleep("10 millis")))
        yield* TestClock.adjust("20 millis")
      }
      const attempts: Array<Router.Attempt> = []
      const fiber = yield* begin(Effect.flip(router.route(readOnly, (_, attempt) => {
        attempts.push(attempt)
        // One that doesn't let itself be interrupted holds nothing up.
        return Effect.andThen(Effect.uninterruptible(Effect.sleep("20 seconds")), Effect.never)
      })))
      yield* TestClock.adjust("100 millis")
      const [one, other] = attempts
      assert.strictEqual(attempts.length, 2)
      one?.pause()
      yield* TestClock.adjust("10 seconds")
      assert.isUndefined(fiber.pollUnsafe())
      other?.commit()
      one?.pause()
      yield* TestClock.adjust(899)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.include(yield* Fiber.join(fiber), { _tag: "DeadlineExceeded", timeout: 1_000 })
      yield* TestClock.adjust("20 seconds")
    }).pipe(Effect.provide(live({ hedging: {} }))))

  it.effect("is nothing that a hedge is measured by", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const readOnly: Router.RouteRequest = { ...request, repeatable: true, readOnly: true }
      for (let call = 0; call < 60; call++) {
        yield* begin(router.route(readOnly, asks(0, 100, 10)))
        yield* TestClock.adjust("120 millis")
      }
      let tried = 0
      yield* begin(router.route(readOnly, () => {
        tried++
        return Effect.never
      }))
      yield* TestClock.adjust("50 millis")
      assert.strictEqual(tried, 2)
    }).pipe(Effect.provide(live({ hedging: {} }))))

  it.effect("ends with its attempt: what follows has its time", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const numbers: Array<number> = []
      let late: () => void = () => {}
      const fiber = yield* begin(Effect.flip(router.route(request, (_, { number, pause }) => {
        numbers.push(number)
        if (number > 1) return Effect.never
        late = pause()
        return Effect.andThen(Effect.sleep(20_000), Effect.fail(refused))
      })))
      yield* TestClock.adjust(20_500)
      assert.deepStrictEqual(numbers, [1, 2])
      late()
      yield* TestClock.adjust(499)
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.include(yield* Fiber.join(fiber), { _tag: "DeadlineExceeded", timeout: 1_000 })
    }).pipe(Effect.provide(live())))

  it.effect("from the very beginning of an attempt, nothing is hedged; after it, what is late is", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      const readOnly: Router.RouteRequest = { ...request, repeatable: true, readOnly: true }
      for (let call = 0; call < 60; call++) {
        yield* begin(router.route(readOnly, () => Effect.sleep("10 millis")))
        yield* TestClock.adjust("20 millis")
      }
      const tried: Array<number> = []
      let resume: () => void = () => {}
      const fiber = yield* begin(router.route(readOnly, (_, { number, pause }) => {
        tried.push(number)
        if (number > 1) return Effect.succeed(number)
        resume = pause()
        return Effect.never
      }))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(tried, [1])
      resume()
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(tried, [1, 2])
      const { routing, value } = yield* Fiber.join(fiber)
      assert.strictEqual(value, 2)
      assert.isBelow(routing.latency, 100)
    }).pipe(Effect.provide(live({ hedging: {} }))))

  it.effect("of an attempt that isn't heard any more does nothing", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      yield* start
      let kept: Router.Attempt | undefined
      yield* router.route(request, (_, attempt) => {
        kept = attempt
        return Effect.succeed("ok")
      })
      kept?.pause()()
      const fiber = yield* begin(router.route(request, asks(0, 10, 10)))
      yield* TestClock.adjust(20)
      assert.strictEqual((yield* Fiber.join(fiber)).routing.latency, 10)
    }).pipe(Effect.provide(live())))

  it.effect("a caller that gives up ends it", () =>
    Effect.gen(function*() {
      const router = yield* Router.Router
      const balancer = yield* Balancer.Balancer
      yield* start
      const fiber = yield* begin(router.route(request, asks(0, 60_000, 0)))
      yield* TestClock.adjust(30_000)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(Array.from(balancer.nodes(), ({ inFlight }) => inFlight), [0, 0, 0])
    }).pipe(Effect.provide(live())))
})

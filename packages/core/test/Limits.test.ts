import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
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

const limited = (limits: Router.LimitOptions) =>
  Router.layer({ limits, attempts: 1 }).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer({ strategy: "least-requests", slowStart: 0 })),
    Layer.provideMerge(layer)
  )

const weather: Router.RouteRequest = { target: { service: "weather" }, repeatable: true }

/** A call that runs so many ms; its fiber. */
const call = (ms: number, request: Router.RouteRequest = weather) =>
  Effect.gen(function*() {
    const router = yield* Router.Router
    return yield* Effect.forkChild(router.route(request, ({ id }) => Effect.as(Effect.sleep(ms), id)), {
      startImmediately: true
    })
  })

const inFlight = (service: string) =>
  Effect.map(Balancer.Balancer, (balancer) => balancer.figures().get(service)?.inFlight ?? 0)

const failureOf = <A, E>(fiber: Fiber.Fiber<A, E>) => Effect.flip(Fiber.join(fiber))

describe("limits of a router", () => {
  it.effect("hold per service, and a call that may go to several goes to one that has room", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(
        ...["a", "b"].map((id) => instance(id, { capabilities: ["forecast"] })),
        instance("c", { service: "met-office", capabilities: ["forecast"] })
      )
      const any: Router.RouteRequest = { target: { capabilities: ["forecast"] }, repeatable: true }
      for (let each = 0; each < 10; each++) yield* call(1_000, any)
      assert.deepStrictEqual([yield* inFlight("weather"), yield* inFlight("met-office")], [2, 2])
      const own = yield* call(1_000)
      yield* TestClock.adjust(1_000)
      // Who waited first goes first.
      assert.deepStrictEqual([yield* inFlight("weather"), yield* inFlight("met-office")], [2, 2])
      for (let second = 0; second < 3; second++) yield* TestClock.adjust(1_000)
      // The last two of the others may have gone to either service.
      assert.include([2_000, 3_000], (yield* Fiber.join(own)).routing.queued)
      assert.deepStrictEqual([yield* inFlight("weather"), yield* inFlight("met-office")], [0, 0])
    }).pipe(Effect.provide(limited({ perService: 2 }))))

  it.effect("hold for what is acquired, which goes to a service that has room", () =>
    Effect.scoped(Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(
        ...["a", "b", "c", "d"].map((id) => instance(id, { capabilities: ["forecast"] })),
        instance("e", { service: "met-office", capabilities: ["forecast"] })
      )
      const any: Router.RouteRequest = { target: { capabilities: ["forecast"] }, repeatable: true }
      for (let each = 0; each < 4; each++) yield* router.acquire(any)
      assert.deepStrictEqual([yield* inFlight("weather"), yield* inFlight("met-office")], [2, 2])
      assert.include(yield* Effect.flip(router.acquire(any)), { _tag: "NoInstance", kind: "overloaded" })
    })).pipe(Effect.provide(limited({ perService: 2 }))))

  it.effect("let who is interrupted leave at once", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"))
      yield* call(1_000)
      const leaving = yield* call(1)
      const full = yield* call(1)
      assert.include(yield* failureOf(full), { _tag: "NoInstance", kind: "overloaded" })
      yield* Fiber.interrupt(leaving)
      const next = yield* call(1)
      yield* TestClock.adjust(1_001)
      assert.strictEqual((yield* Fiber.join(next)).routing.queued, 1_000)
    }).pipe(Effect.provide(limited({ perInstance: 1, queue: 1 }))))

  it.effect("are those of the record where it sets some", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 3 } }), instance("b"))
      for (let each = 0; each < 8; each++) yield* call(1_000)
      const balancer = yield* Balancer.Balancer
      assert.deepStrictEqual(
        ["a", "b"].map((id) => balancer.node(key(id), instance(id)).inFlight),
        [3, 2]
      )
    }).pipe(Effect.provide(limited({ perInstance: 2 }))))

  it.effect("tell those who wait for what is gone that it is gone", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"), instance("b"))
      yield* call(10_000)
      yield* call(10_000)
      const waiting = yield* call(1)
      const bound = yield* call(1, { ...weather, affinity: { instance: key("a"), strict: true } })
      yield* fleet.remove("a")
      yield* TestClock.adjust(100)
      assert.include(yield* failureOf(bound), { _tag: "SessionLost", instance: "a" })
      assert.isUndefined(waiting.pollUnsafe())
      yield* fleet.remove("b")
      yield* TestClock.adjust(100)
      assert.include(yield* failureOf(waiting), { _tag: "NoInstance", kind: "unknown" })
    }).pipe(Effect.provide(limited({ perInstance: 1 }))))

  it.effect("let those who wait go to what came or recovered", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const health = yield* Health.Health
      yield* fleet.put(instance("a"), instance("b"))
      yield* health.override(key("b"), "down", "test")
      yield* call(10_000)
      const [first, second] = [yield* call(1), yield* call(1)]
      yield* fleet.put(instance("c"))
      yield* TestClock.adjust(150)
      assert.deepStrictEqual(
        [(yield* Fiber.join(first)).value, (yield* Fiber.join(second)).value],
        ["c", "c"]
      )
      yield* call(10_000)
      const third = yield* call(1)
      yield* health.override(key("b"), "up", "test")
      yield* TestClock.adjust(150)
      assert.strictEqual((yield* Fiber.join(third)).value, "b")
    }).pipe(Effect.provide(limited({ perInstance: 1 }))))

  it.effect("X4: the wait is part of the time that a call has", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"))
      yield* call(10_000)
      const short = yield* call(1, { ...weather, timeout: 300 })
      yield* TestClock.adjust(300)
      assert.include(yield* failureOf(short), { _tag: "NoInstance", kind: "overloaded" })
      assert.strictEqual(yield* inFlight("weather"), 1)
    }).pipe(Effect.provide(limited({ perInstance: 1 }))))

  it.effect("hold up nobody for one that is bound to what is full", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"), instance("b"))
      const toA: Router.RouteRequest = { ...weather, affinity: { instance: key("a"), strict: true } }
      yield* call(10_000, toA)
      const bound = yield* call(1, toA)
      const free = yield* call(1)
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Fiber.join(free)).value, "b")
      assert.isUndefined(bound.pollUnsafe())
    }).pipe(Effect.provide(limited({ perInstance: 1 }))))

  it.effect(
    "at half too much keep nine tenths of the capacity busy, fairly, with the wait under its bound",
    () =>
      Effect.gen(function*() {
        const fleet = yield* Fleet
        const router = yield* Router.Router
        yield* fleet.put(instance("a"), instance("b"))
        const done = new Map<string, number>()
        let longest = 0
        let hints = 0
        // Capacity 200 a second: 2 instances, 5 places each, 50 ms. About 320 are asked for: 60 by one caller.
        const fibers: Array<Fiber.Fiber<void>> = []
        for (let ms = 0; ms < 10_000; ms += 10) {
          const callers = ["many", "many", "many", ...(ms % 50 === 0 ? ["few", "few", "few"] : [])]
          for (const principal of ms % 50 === 0 ? callers : callers.slice(0, ms % 20 === 0 ? 2 : 3)) {
            const began = yield* Clock.currentTimeMillis
            fibers.push(
              yield* Effect.forkChild(
                router.route({ ...weather, caller: { principal } }, () => Effect.sleep(50)).pipe(
                  Effect.match({
                    onSuccess: ({ routing }) => {
                      done.set(principal, (done.get(principal) ?? 0) + 1)
                      longest = Math.max(longest, routing.queued)
                    },
                    onFailure: (error) => {
                      assert.include(error, { _tag: "NoInstance", kind: "overloaded" })
                      if (error._tag === "NoInstance" && error.retryAfter !== undefined) hints++
                    }
                  }),
                  Effect.andThen(Clock.currentTimeMillis),
                  Effect.map((at) => {
                    longest = Math.max(longest, at - began - 50)
                  })
                ),
                { startImmediately: true }
              )
            )
          }
          yield* TestClock.adjust(10)
        }
        yield* TestClock.adjust(2_000)
        for (const fiber of fibers) yield* Fiber.join(fiber)
        const all = (done.get("many") ?? 0) + (done.get("few") ?? 0)
        assert.isAbove(all, 0.9 * 2_000)
        // What asks for less than its half gets what it asks for.
        assert.isAbove(done.get("few") ?? 0, 0.95 * 600)
        assert.isAtMost(longest, 1_000)
        assert.isAbove(hints, 0)
        assert.strictEqual(yield* inFlight("weather"), 0)
      }).pipe(Effect.provide(limited({ perInstance: 5, queue: 500, wait: 1_000 }))),
    30_000
  )

  type Step =
    | { readonly _tag: "call"; readonly ms: number; readonly caller: number; readonly bound: number }
    | { readonly _tag: "interrupt"; readonly which: number }
    | { readonly _tag: "pass"; readonly ms: number }
    | { readonly _tag: "put" | "remove"; readonly id: string }
    | { readonly _tag: "limits"; readonly perInstance: number; readonly perService: number; readonly queue: number }

  const id = fc.constantFrom("a", "b", "c")
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        _tag: fc.constant("call" as const),
        ms: fc.constantFrom(0, 5, 50, 400),
        caller: fc.nat(2),
        bound: fc.nat(8)
      })
    },
    { weight: 2, arbitrary: fc.record({ _tag: fc.constant("interrupt" as const), which: fc.nat(50) }) },
    { weight: 3, arbitrary: fc.record({ _tag: fc.constant("pass" as const), ms: fc.constantFrom(1, 5, 60, 150) }) },
    { weight: 1, arbitrary: fc.record({ _tag: fc.constantFrom("put" as const, "remove" as const), id }) },
    {
      weight: 1,
      arbitrary: fc.record({
        _tag: fc.constant("limits" as const),
        perInstance: fc.constantFrom(1, 2, 100),
        perService: fc.constantFrom(1, 3, 100),
        queue: fc.constantFrom(0, 2, 100)
      })
    }
  )

  it(
    "B8: whatever happens each call ends, within its time, and nothing is held or waited for afterwards",
    () =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 40 }), (steps) =>
          Effect.runPromise(
            Effect.gen(function*() {
              const fleet = yield* Fleet
              const router = yield* Router.Router
              yield* fleet.put(instance("a"), instance("b"))
              const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
              for (const step of steps) {
                switch (step._tag) {
                  case "call": {
                    const bound = ["a", "b", "c"][step.bound]
                    fibers.push(
                      yield* call(step.ms, {
                        ...weather,
                        caller: { principal: String(step.caller) },
                        ...(bound === undefined ? {} : { affinity: { instance: key(bound), strict: step.ms > 5 } })
                      })
                    )
                    break
                  }
                  case "interrupt": {
                    const fiber = fibers[step.which % Math.max(fibers.length, 1)]
                    if (fiber !== undefined) yield* Fiber.interrupt(fiber)
                    break
                  }
                  case "pass":
                    yield* TestClock.adjust(step.ms)
                    break
                  case "put":
                    yield* fleet.put(instance(step.id))
                    break
                  case "remove":
                    yield* fleet.remove(step.id)
                    break
                  case "limits":
                    yield* router.reconfigure({ attempts: 1, limits: { ...step, wait: 500 } })
                    break
                }
              }
              yield* TestClock.adjust(1_000)
              for (const fiber of fibers) assert.isDefined(fiber.pollUnsafe())
              assert.strictEqual(yield* inFlight("weather"), 0)
              yield* router.reconfigure({ attempts: 1, limits: { perInstance: 1, perService: 1, queue: 0 } })
              yield* fleet.put(instance("a"))
              assert.isTrue(Exit.isSuccess(yield* Effect.exit(router.route(weather, ({ id }) => Effect.succeed(id)))))
            }).pipe(
              Effect.scoped,
              Effect.provide(Layer.provideMerge(limited({ perInstance: 1, queue: 5, wait: 500 }), TestClock.layer()))
            )
          )),
        { numRuns: 150 }
      ),
    30_000
  )
})

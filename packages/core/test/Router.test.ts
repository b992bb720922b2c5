import { assert, describe, it } from "@effect/vitest"
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = Router.layer().pipe(
  Layer.provideMerge(Health.layer()),
  Layer.provideMerge(Balancer.layer()),
  Layer.provideMerge(layer)
)

const target: Router.Target = { service: "weather" }
const request: Router.RouteRequest = { target, name: "weather__get", repeatable: true }

const failure = (fields: Partial<Router.AttemptFailure<string>> = {}): Router.AttemptFailure<string> => ({
  error: "boom",
  phase: "notSent",
  blame: "instance",
  reason: "refused",
  ...fields
})

const answer = ({ id }: ServiceInstance) => Effect.succeed(id)

/** Attempts that fail until `ids` holds the instance. */
const onlyAt = (...ids: ReadonlyArray<string>) => ({ id }: ServiceInstance) =>
  ids.includes(id) ? Effect.succeed(id) : Effect.fail(failure())

/** What comes of it within a minute. */
const settled = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
    yield* TestClock.adjust("1 minute")
    return yield* Fiber.join(fiber)
  })

const inFlight = (...ids: ReadonlyArray<string>) =>
  Effect.map(Balancer.Balancer, (balancer) => ids.map((id) => balancer.node(key(id), instance(id)).inFlight))

const mark = (id: string, status: "up" | "draining" | "down" | undefined) =>
  Effect.flatMap(Health.Health, (health) => health.override(key(id), status, "test"))

const fall = (id: string) =>
  Effect.map(Health.Health, (health) => {
    for (let call = 0; call < 3; call++) health.record(key(id), { _tag: "failure", latency: 1, reason: "refused" })
  })

const pickedOf = (calls: number, from: Router.RouteRequest = request) =>
  Effect.gen(function*() {
    const router = yield* Router.Router
    const ids = new Set<string>()
    for (let call = 0; call < calls; call++) ids.add((yield* router.route(from, answer)).value)
    return Array.from(ids).toSorted()
  })

describe("route", () => {
  it.effect("answers with the value and how it was come by", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"))
      const routed = yield* router.route(request, ({ id }) => Effect.as(Effect.sleep("25 millis"), id)).pipe(
        Effect.forkChild({ startImmediately: true }),
        Effect.tap(() => TestClock.adjust("25 millis")),
        Effect.flatMap(Fiber.join)
      )
      assert.include(["a", "b"], routed.value)
      assert.deepStrictEqual(routed.routing, {
        service: "weather",
        instance: routed.value,
        source: "test",
        strategy: "peak-ewma",
        latency: 25,
        attempts: 1,
        failed: [],
        failovers: 0,
        hedged: false,
        queued: 0,
        alternatives: 1,
        discoveryAge: 0,
        why: "peak-ewma of 2"
      })
    }).pipe(Effect.provide(live)))

  it.effect("says that nobody announces it, that nobody is routable, or that all are full", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const refused = Effect.flip(router.route(request, answer))
      const unknown = yield* refused
      assert.include(unknown, { _tag: "NoInstance", kind: "unknown", message: "weather__get: nobody announces it" })
      yield* fleet.put(
        instance("a", { status: "down" }),
        instance("b", { status: "draining" }),
        instance("c", { weight: 0 })
      )
      const unavailable = yield* refused
      assert.include(unavailable, {
        kind: "unavailable",
        reason: "no instance takes calls (1 down, 1 draining, 1 of weight 0)"
      })
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 1 } }))
      const holding = yield* Effect.forkChild(router.route(request, () => Effect.never), { startImmediately: true })
      assert.include(yield* settled(refused), { kind: "overloaded", reason: "no room within 5000 ms" })
      yield* Fiber.interrupt(holding)
      assert.strictEqual((yield* router.route(request, answer)).value, "a")
    }).pipe(Effect.provide(live)))

  it.effect("follows instances as they come and go", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(instance("a"))
      assert.deepStrictEqual(yield* pickedOf(10), ["a"])
      yield* fleet.put(instance("b"))
      assert.deepStrictEqual(yield* pickedOf(50), ["a", "b"])
      yield* fleet.remove("a")
      assert.deepStrictEqual(yield* pickedOf(10), ["b"])
    }).pipe(Effect.provide(live)))

  it.effect("matches capabilities, a query and `accepts`, across services", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(
        instance("a", { capabilities: ["weather.current"], tags: ["prod"] }),
        instance("b", { capabilities: ["weather.forecast", "weather.current"], service: "meteo", tags: ["prod"] }),
        instance("c", { capabilities: ["stock.quote"], service: "stock" })
      )
      const of = (target: Router.Target) => pickedOf(60, { ...request, target })
      assert.deepStrictEqual(yield* of({ capabilities: ["weather.*"] }), ["a", "b"])
      assert.deepStrictEqual(yield* of({ capabilities: ["weather.current", "*.forecast"] }), ["b"])
      assert.deepStrictEqual(yield* of({ query: { tags: ["prod"] } }), ["a", "b"])
      assert.deepStrictEqual(yield* of({ service: "stock" }), ["c"])
      let wanted = "a"
      let revision = 1
      const chosen: Router.Target = { accepts: ({ instance }) => instance.id === wanted, revision: () => revision }
      assert.deepStrictEqual(yield* of(chosen), ["a"])
      wanted = "c"
      revision++
      assert.deepStrictEqual(yield* of(chosen), ["c"])
    }).pipe(Effect.provide(live)))

  it.effect("follows what a query asks of health and score", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"))
      const scored: Router.RouteRequest = { ...request, target: { query: { score: { $gte: 0.5 } } } }
      yield* fall("a")
      assert.deepStrictEqual(yield* pickedOf(1, scored), ["b"])
      // The failures are out of the window.
      yield* TestClock.adjust("70 seconds")
      assert.deepStrictEqual(yield* pickedOf(50, scored), ["a", "b"])
      const wrong: Router.RouteRequest = { ...request, target: { query: { version: "one.two" } } }
      assert.include(yield* Effect.flip(router.route(wrong, answer)), { _tag: "NoInstance", kind: "unknown" })
    }).pipe(Effect.provide(live)))

  it.effect("shows an instance to its tenants only", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("everybody's"), instance("acme's", { tenants: ["acme"] }))
      assert.deepStrictEqual(yield* pickedOf(50, { ...request, caller: { tenant: "acme" } }), ["acme's", "everybody's"])
      assert.deepStrictEqual(yield* pickedOf(50, { ...request, caller: { tenant: "other" } }), ["everybody's"])
      assert.deepStrictEqual(yield* pickedOf(50), ["everybody's"])
      yield* fleet.remove("everybody's")
      assert.include(yield* Effect.flip(router.route(request, answer)), { kind: "unknown" })
    }).pipe(Effect.provide(live)))

  it.effect("counts two announcements of one endpoint once", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const endpoint = { transport: "streamable-http", url: "http://same.test/mcp" } as const
      yield* fleet.put(instance("a", { endpoint }), instance("b", { endpoint }), instance("c"))
      const picks = { same: 0, c: 0 }
      for (let call = 0; call < 400; call++) {
        const { value } = yield* router.route({ ...request, strategy: "round-robin" }, answer)
        picks[value === "c" ? "c" : "same"]++
      }
      assert.deepStrictEqual(picks, { same: 200, c: 200 })
      // The one in better health speaks for the endpoint.
      yield* mark("a", "down")
      assert.deepStrictEqual(yield* pickedOf(50), ["b", "c"])
      // And an attempt elsewhere isn't one at the same place.
      yield* fleet.remove("c")
      yield* mark("a", undefined)
      const answered = failure({ phase: "answered" })
      const failed = yield* Effect.flip(router.route(request, () => Effect.fail(answered)))
      assert.include(failed, { _tag: "CallFailed", stopped: "no other instance" })
    }).pipe(Effect.provide(live)))
})

describe("tiers", () => {
  it.effect("go from healthy over degraded and unknown to panic, never to draining and down", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleet.put(instance("healthy"), instance("degraded"), instance("unknown"), instance("sick"))
      yield* fleet.put(instance("draining", { status: "draining" }), instance("down", { status: "down" }))
      yield* mark("healthy", "up")
      for (let call = 0; call < 12; call++) {
        health.record(key("degraded"), { _tag: call % 3 === 0 ? "failure" : "success", latency: 1, reason: "500" })
      }
      assert.strictEqual(health.status(key("degraded")), "degraded")
      yield* fall("sick")
      assert.deepStrictEqual(yield* pickedOf(50), ["healthy"])
      yield* fleet.remove("healthy")
      assert.deepStrictEqual(yield* pickedOf(50), ["degraded", "unknown"])
      yield* fleet.remove("degraded", "unknown")
      const panicked = yield* router.route(request, answer)
      assert.strictEqual(panicked.value, "sick")
      assert.strictEqual(panicked.routing.why, "panic: none of 1 is healthy")
      yield* fleet.remove("sick")
      assert.include(yield* Effect.flip(router.route(request, answer)), { kind: "unavailable" })
    }).pipe(Effect.provide(live)))

  it.effect("are one where few are healthy, so that those aren't overrun by the calls of all", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const ids = Array.from({ length: 10 }, (_, index) => `n${index}`)
      yield* fleet.put(...ids.map((id) => instance(id)))
      for (const id of ids.slice(0, 5)) yield* mark(id, "up")
      assert.deepStrictEqual(yield* pickedOf(200), ids.slice(0, 5), "half of them healthy")
      yield* mark("n4", undefined)
      assert.deepStrictEqual(yield* pickedOf(200), ids, "less than half of them healthy")
    }).pipe(Effect.provide(live)))

  it.effect("prefer the lower priority, and spill over when it is full", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("first", { limits: { maxConcurrency: 1 } }), instance("second", { priority: 1 }))
      assert.deepStrictEqual(yield* pickedOf(50), ["first"])
      const holding = yield* Effect.forkChild(router.route(request, () => Effect.never), { startImmediately: true })
      assert.deepStrictEqual(yield* pickedOf(50), ["second"])
      yield* Fiber.interrupt(holding)
      assert.deepStrictEqual(yield* pickedOf(50), ["first"])
    }).pipe(Effect.provide(live)))
})

describe("fail-over", () => {
  const phases: ReadonlyArray<Router.Phase> = ["notSent", "mayHaveRun", "answered"]
  for (const phase of phases) {
    for (const repeatable of [true, false]) {
      for (const blame of ["instance", "caller"] as const) {
        for (const committed of [true, false]) {
          const again = blame === "instance" && !committed && (phase === "notSent" || repeatable)
          const title = [
            phase,
            repeatable ? "repeatable" : "not repeatable",
            `${blame}'s fault`,
            committed ? "committed" : ""
          ]
          it.effect(`${title.join(", ")}: ${again ? "tries another" : "stops"}`, () =>
            Effect.gen(function*() {
              const fleet = yield* Fleet
              const router = yield* Router.Router
              yield* fleet.put(instance("a"), instance("b"))
              const seen: Array<string> = []
              const exit = yield* Effect.exit(router.route({ ...request, repeatable }, ({ id }, attempt) => {
                seen.push(id)
                assert.strictEqual(attempt.number, seen.length)
                if (seen.length === 2) return Effect.succeed(id)
                if (committed) attempt.commit()
                return Effect.fail(failure({ phase, blame }))
              }))
              assert.strictEqual(new Set(seen).size, seen.length)
              if (again) {
                assert.isTrue(Exit.isSuccess(exit))
                assert.lengthOf(seen, 2)
                if (Exit.isSuccess(exit)) {
                  assert.strictEqual(exit.value.routing.attempts, 2)
                  assert.deepStrictEqual(exit.value.routing.failed, [{ instance: seen[0]!, phase, reason: "refused" }])
                }
              } else {
                assert.lengthOf(seen, 1)
                const error = yield* Effect.flip(exit)
                assert.strictEqual(error._tag, "CallFailed")
                if (error._tag === "CallFailed") {
                  assert.strictEqual(error.failure.error, "boom")
                  assert.strictEqual(
                    error.stopped,
                    blame === "caller"
                      ? "the request is at fault, not the instance"
                      : committed
                      ? "part of the answer has been passed on"
                      : "may have run and isn't repeatable"
                  )
                }
              }
              assert.deepStrictEqual(yield* inFlight("a", "b"), [0, 0])
            }).pipe(Effect.provide(live)))
        }
      }
    }
  }

  it.effect("goes to a different instance each time, until the attempts or the instances are used up", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const ids = Array.from({ length: 20 }, (_, index) => `i${index}`)
      yield* fleet.put(...ids.map((id) => instance(id)))
      const run = (attempts: number | undefined) =>
        Effect.gen(function*() {
          const seen: Array<string> = []
          const error = yield* Effect.flip(router.route({ ...request, attempts }, ({ id }) => {
            seen.push(id)
            return Effect.fail(failure({ phase: "answered" }))
          })).pipe(settled)
          assert.strictEqual(new Set(seen).size, seen.length)
          return [seen.length, error._tag === "CallFailed" ? error.stopped : error._tag]
        })
      assert.deepStrictEqual(yield* run(undefined), [3, "3 attempts made"])
      assert.deepStrictEqual(yield* run(1), [1, "1 attempt made"])
      assert.deepStrictEqual(yield* run(100), [20, "no other instance"])
    }).pipe(Effect.provide(live)))

  it.effect("leaves a tier that is used up for the next, but never for a sick one", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("healthy"), instance("unknown"), instance("sick"))
      yield* mark("healthy", "up")
      yield* fall("sick")
      assert.strictEqual((yield* router.route(request, onlyAt("unknown"))).value, "unknown")
      const error = yield* Effect.flip(router.route({ ...request, attempts: 2 }, onlyAt("sick")))
      assert.include(error, { _tag: "CallFailed", stopped: "2 attempts made" })
    }).pipe(Effect.provide(live)))

  it.effect("tells health and balancer what came of it", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleet.put(instance("a"))
      const fail = (blame: "instance" | "caller") =>
        Effect.exit(router.route(request, () => Effect.fail(failure({ blame, phase: "answered" }))))
      for (let call = 0; call < 5; call++) yield* fail("caller")
      assert.strictEqual(health.get(key("a")).successRate, undefined)
      for (let call = 0; call < 3; call++) yield* fail("instance")
      const { reason, ...known } = health.get(key("a"))
      assert.include(known, { status: "unhealthy", successRate: 0 })
      assert.match(reason, /^ejected for \d+ms: 3 calls in a row failed: refused$/)
      // In panic it is tried all the same; when its time is over, a few successes make it well.
      yield* router.route(request, answer)
      assert.strictEqual(health.status(key("a")), "unhealthy")
      yield* TestClock.adjust("1 second")
      for (let call = 0; call < 3; call++) yield* router.route(request, answer)
      assert.notStrictEqual(health.status(key("a")), "unhealthy")
    }).pipe(Effect.provide(live)))
})

describe("deadline", () => {
  it.effect("interrupts the attempt and tells truly whether it was sent", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleet.put(instance("a"))
      for (const sent of [false, true]) {
        let interrupted = false
        const fiber = yield* Effect.forkChild(
          Effect.flip(router.route({ ...request, timeout: 5_000 }, (_, attempt) => {
            if (sent) attempt.sent()
            return Effect.onInterrupt(Effect.never, () => Effect.sync(() => void (interrupted = true)))
          })),
          { startImmediately: true }
        )
        yield* TestClock.adjust("4999 millis")
        assert.isUndefined(fiber.pollUnsafe())
        yield* TestClock.adjust("1 millis")
        const error = yield* Fiber.join(fiber)
        assert.isTrue(interrupted)
        assert.include(error, { _tag: "DeadlineExceeded", phase: sent ? "mayHaveRun" : "notSent", timeout: 5_000 })
        assert.deepStrictEqual(yield* inFlight("a"), [0])
      }
      assert.strictEqual(health.get(key("a")).successRate, 0)
    }).pipe(Effect.provide(live)))

  it.effect("is one for all attempts", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(...Array.from({ length: 10 }, (_, index) => instance(`i${index}`)))
      let attempts = 0
      const fiber = yield* Effect.forkChild(
        Effect.flip(router.route({ ...request, timeout: 1_000, attempts: 10 }, () => {
          attempts++
          return Effect.flatMap(Effect.sleep("250 millis"), () => Effect.fail(failure()))
        })),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "DeadlineExceeded")
      assert.strictEqual(attempts, 4)
    }).pipe(Effect.provide(live)))

  it.effect("moves on with progress, up to its maximum", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      const handle = yield* Deferred.make<Router.Attempt>()
      const fiber = yield* Effect.forkChild(
        Effect.flip(router.route({ ...request, timeout: 1_000, maxTimeout: 2_500 }, (_, attempt) =>
          Effect.andThen(Deferred.succeed(handle, attempt), Effect.never))),
        { startImmediately: true }
      )
      const attempt = yield* Deferred.await(handle)
      const steps: Array<number> = [attempt.deadline()]
      for (let step = 0; step < 3; step++) {
        yield* TestClock.adjust("800 millis")
        attempt.extend()
        steps.push(attempt.deadline())
      }
      assert.deepStrictEqual(steps, [1_000, 1_800, 2_500, 2_500])
      assert.isUndefined(fiber.pollUnsafe())
      yield* TestClock.adjust("100 millis")
      assert.include(yield* Fiber.join(fiber), { _tag: "DeadlineExceeded", timeout: 2_500 })
    }).pipe(Effect.provide(live)))

  it.effect("holds even where the attempt doesn't let itself be interrupted, which stays in flight until it ends", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      const fiber = yield* Effect.forkChild(
        Effect.flip(
          router.route({ ...request, timeout: 1_000 }, () => Effect.uninterruptible(Effect.sleep("1 minute")))
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "DeadlineExceeded")
      assert.deepStrictEqual(yield* inFlight("a"), [1])
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* inFlight("a"), [0])
    }).pipe(Effect.provide(live)))

  it.effect("lets an answer through that comes at the last moment, and leaves no timer behind", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      const fiber = yield* Effect.forkChild(
        router.route({ ...request, timeout: 1_000 }, ({ id }) => Effect.as(Effect.sleep("999 millis"), id)),
        { startImmediately: true }
      )
      yield* TestClock.adjust("999 millis")
      assert.strictEqual((yield* Fiber.join(fiber)).value, "a")
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* inFlight("a"), [0])
    }).pipe(Effect.provide(live)))
})

describe("affinity", () => {
  const bound = (strict: boolean): Router.RouteRequest => ({ ...request, affinity: { instance: key("a"), strict } })

  it.effect("goes to its instance while that lives, even while it drains", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"), instance("c"))
      assert.deepStrictEqual(yield* pickedOf(20, bound(false)), ["a"])
      assert.deepStrictEqual(yield* pickedOf(20, bound(true)), ["a"])
      yield* mark("a", "draining")
      assert.deepStrictEqual(yield* pickedOf(20, bound(true)), ["a"])
      yield* mark("a", "down")
      assert.deepStrictEqual(yield* pickedOf(50, bound(false)), ["b", "c"])
      assert.include(yield* Effect.flip(router.route(bound(true), answer)), {
        _tag: "SessionLost",
        instance: "a",
        reason: "a, to which it is bound, is down"
      })
      yield* fleet.remove("a")
      assert.include(yield* Effect.flip(router.route(bound(true), answer)), {
        _tag: "SessionLost",
        instance: "a",
        reason: "a, to which it is bound, is gone"
      })
    }).pipe(Effect.provide(live)))

  it.effect("B16: waits for room at its instance, and goes nowhere else while that lives", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 1 } }), instance("b"))
      for (const strict of [false, true]) {
        const fibers = yield* Effect.forEach([1, 2, 3], () =>
          Effect.forkChild(
            router.route(bound(strict), ({ id }) => Effect.as(Effect.sleep("1 second"), id)),
            { startImmediately: true }
          ))
        yield* TestClock.adjust("3 seconds")
        const routed = yield* Effect.forEach(fibers, Fiber.join)
        assert.deepStrictEqual(routed.map(({ value }) => value), ["a", "a", "a"])
        assert.deepStrictEqual(routed.map(({ routing }) => Math.round(routing.queued / 1_000)), [0, 1, 2])
      }
    }).pipe(Effect.provide(live)))

  it.effect("B16: a session that is strict outlives an ejection of its instance, and waits where that asks for time", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleet.put(instance("a"), instance("b"))
      const refuse = (fields: Partial<Router.AttemptFailure<string>>) =>
        Effect.exit(router.route({ ...bound(true), attempts: 1 }, () => Effect.fail(failure(fields))))
      for (let call = 0; call < 3; call++) yield* refuse({})
      assert.include(health.circuit(key("a")), { state: "open", cause: "failures" })
      // Nobody else may take them, whether they may be repeated or not; the others keep away.
      for (const repeatable of [true, false]) {
        assert.include((yield* router.route({ ...bound(true), repeatable }, answer)).routing, {
          instance: "a",
          why: "bound to it, ejected or not"
        })
      }
      assert.deepStrictEqual(yield* pickedOf(5, bound(false)), ["b"])
      assert.deepStrictEqual(yield* pickedOf(1, bound(true)), ["a"])
      assert.isUndefined(health.circuit(key("a")))
      // It said itself when to come again.
      for (const repeatable of [true, false]) {
        yield* refuse({ retryAfter: 700 })
        const waiting = yield* Effect.forkChild(router.route({ ...bound(true), repeatable }, answer), {
          startImmediately: true
        })
        yield* TestClock.adjust("699 millis")
        assert.isUndefined(waiting.pollUnsafe())
        yield* TestClock.adjust("4 seconds")
        assert.strictEqual((yield* Fiber.join(waiting)).value, "a")
        yield* TestClock.adjust("1 minute")
        yield* pickedOf(5, bound(true))
        assert.isUndefined(health.circuit(key("a")))
      }
      yield* refuse({ retryAfter: 20_000 })
      assert.include(yield* Effect.flip(router.route(bound(true), answer)), {
        _tag: "NoInstance",
        kind: "overloaded",
        reason: "a, to which it is bound, asks to be left alone",
        retryAfter: 20_000
      })
      // What waits for it is told when it is gone.
      yield* TestClock.adjust("19 seconds")
      const waiting = yield* Effect.forkChild(Effect.flip(router.route(bound(true), answer)), {
        startImmediately: true
      })
      yield* fleet.remove("a")
      yield* TestClock.adjust("100 millis")
      assert.include(yield* Fiber.join(waiting), { _tag: "SessionLost", instance: "a" })
    }).pipe(Effect.provide(live)))

  it.effect("fails over unless it is strict", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("b"))
      assert.strictEqual((yield* router.route(bound(false), onlyAt("b"))).value, "b")
      const answered = failure({ phase: "answered" })
      const error = yield* Effect.flip(router.route(bound(true), () => Effect.fail(answered)))
      assert.include(error, { _tag: "CallFailed", stopped: "it is bound to this instance" })
    }).pipe(Effect.provide(live)))
})

describe("acquire", () => {
  it.effect("holds an instance for the life of the scope", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 1 } }))
      const scope = yield* Scope.make()
      const held = yield* Scope.provide(router.acquire(request), scope)
      assert.strictEqual(held.instance.id, "a")
      assert.strictEqual(held.key, key("a"))
      assert.deepStrictEqual(yield* inFlight("a"), [1])
      yield* Scope.close(scope, Exit.void)
      assert.deepStrictEqual(yield* inFlight("a"), [0])
    }).pipe(Effect.provide(live)))

  it.effect("counts against the cap", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a", { limits: { maxConcurrency: 2 } }))
      yield* Effect.scoped(Effect.gen(function*() {
        yield* router.acquire(request)
        yield* router.acquire(request)
        assert.include(yield* Effect.flip(router.acquire(request)), { _tag: "NoInstance", kind: "overloaded" })
        assert.include(yield* settled(Effect.flip(router.route(request, answer))), { kind: "overloaded" })
      }))
      assert.strictEqual((yield* router.route(request, answer)).value, "a")
    }).pipe(Effect.provide(live)))
})

describe("the queue", () => {
  const full = instance("full", { limits: { maxConcurrency: 1 } })

  it.effect("takes a call until there is room, and tells how long it waited", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(full)
      const held = yield* Effect.forkChild(
        router.route(request, ({ id }) => Effect.as(Effect.sleep("300 millis"), id)),
        { startImmediately: true }
      )
      const waiting = yield* Effect.forkChild(
        router.route(request, ({ id }) => Effect.as(Effect.sleep("100 millis"), id)),
        { startImmediately: true }
      )
      yield* TestClock.adjust("400 millis")
      assert.include((yield* Fiber.join(held)).routing, { queued: 0, latency: 300 })
      assert.include((yield* Fiber.join(waiting)).routing, { queued: 300, latency: 400, attempts: 1 })
      assert.deepStrictEqual(yield* inFlight("full"), [0])
    }).pipe(Effect.provide(live)))

  it.effect("takes a retry whose other instances are full, within its deadline", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("full", { limits: { maxConcurrency: 1 }, priority: 1 }))
      const hold = (time: number) =>
        Effect.forkChild(
          router.route(
            { ...request, affinity: { instance: key("full"), strict: true } },
            ({ id }) => Effect.as(Effect.sleep(time), id)
          ),
          { startImmediately: true }
        )
      yield* hold(200)
      const goes = yield* Effect.forkChild(router.route(request, onlyAt("full")), { startImmediately: true })
      yield* TestClock.adjust("200 millis")
      assert.include((yield* Fiber.join(goes)).routing, { instance: "full", attempts: 2, queued: 200 })
      yield* hold(2_000)
      const late = yield* Effect.forkChild(
        Effect.flip(router.route({ ...request, timeout: 500 }, onlyAt("full"))),
        { startImmediately: true }
      )
      yield* TestClock.adjust("500 millis")
      assert.include(yield* Fiber.join(late), { _tag: "DeadlineExceeded", phase: "notSent", timeout: 500 })
      assert.deepStrictEqual(yield* inFlight("a", "full"), [0, 1])
    }).pipe(Effect.provide(live)))

  it.effect("keeps no retry whose other instances are gone", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"), instance("full", { limits: { maxConcurrency: 1 }, priority: 1 }))
      const bound: Router.RouteRequest = { ...request, affinity: { instance: key("full"), strict: true } }
      yield* Effect.forkChild(router.route(bound, () => Effect.never), { startImmediately: true })
      const waiting = yield* Effect.forkChild(Effect.flip(router.route(request, onlyAt("full"))), {
        startImmediately: true
      })
      yield* TestClock.adjust("50 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* fleet.remove("full")
      yield* TestClock.adjust("100 millis")
      assert.include(yield* Fiber.join(waiting), { _tag: "CallFailed", stopped: "no other instance" })
    }).pipe(Effect.provide(live)))

  it.effect("takes a call whose only instance asked to be left alone for a moment, and no longer", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      const refuse = (retryAfter: number) =>
        Effect.flip(router.route({ ...request, attempts: 1 }, () => Effect.fail(failure({ retryAfter }))))
      yield* refuse(700)
      const waiting = yield* Effect.forkChild(router.route(request, answer), { startImmediately: true })
      yield* TestClock.adjust("699 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("200 millis")
      assert.strictEqual((yield* Fiber.join(waiting)).value, "a")
      yield* TestClock.adjust("1 minute")
      yield* refuse(20_000)
      assert.include(yield* Effect.flip(router.route(request, answer)), {
        _tag: "NoInstance",
        kind: "overloaded",
        retryAfter: 20_000
      })
    }).pipe(Effect.provide(live)))

  it.effect("lets an acquired instance go to who waits", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(full)
      const scope = yield* Scope.make()
      yield* Scope.provide(router.acquire(request), scope)
      const waiting = yield* Effect.forkChild(router.route(request, answer), { startImmediately: true })
      assert.include(yield* Effect.flip(Effect.scoped(router.acquire(request))), { kind: "overloaded" })
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(waiting)).value, "full")
    }).pipe(Effect.provide(live)))
})

describe("in flight", () => {
  const kinds = ["success", "failure", "defect", "throw", "interrupt", "self-interrupt", "deadline"] as const

  it.effect("returns to 0 however attempts end", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(
          fc.array(fc.record({ kind: fc.constantFrom(...kinds), delay: fc.integer({ min: 0, max: 50 }) }), {
            minLength: 1,
            maxLength: 12
          }),
          (calls) =>
            Effect.runPromise(
              Effect.gen(function*() {
                const fleet = yield* Fleet
                const router = yield* Router.Router
                const ids = ["a", "b", "c"]
                yield* fleet.put(...ids.map((id) => instance(id)))
                const fibers = []
                for (const { delay, kind } of calls) {
                  const wait = delay === 0 ? Effect.void : Effect.sleep(delay)
                  const fiber = yield* Effect.forkChild(
                    router.route(
                      { ...request, timeout: 1_000 },
                      (): Effect.Effect<string, Router.AttemptFailure<string>> => {
                        if (kind === "throw") throw new Error("thrown")
                        switch (kind) {
                          case "success":
                            return Effect.as(wait, "ok")
                          case "failure":
                            return Effect.andThen(wait, Effect.fail(failure()))
                          case "defect":
                            return Effect.andThen(wait, Effect.die("defect"))
                          case "self-interrupt":
                            return Effect.andThen(wait, Effect.interrupt)
                          default:
                            return Effect.never
                        }
                      }
                    ),
                    { startImmediately: true }
                  )
                  if (kind === "interrupt") {
                    yield* TestClock.adjust(delay)
                    yield* Fiber.interrupt(fiber)
                  }
                  fibers.push({ kind, fiber })
                }
                yield* TestClock.adjust("2 seconds")
                for (const { fiber, kind } of fibers) {
                  const exit = yield* Fiber.await(fiber)
                  assert.strictEqual(Exit.isSuccess(exit), kind === "success", kind)
                  if (Exit.isFailure(exit)) {
                    assert.strictEqual(Cause.hasDies(exit.cause), kind === "defect" || kind === "throw", kind)
                    assert.strictEqual(
                      Cause.hasInterrupts(exit.cause),
                      kind === "interrupt" || kind === "self-interrupt",
                      kind
                    )
                  }
                }
                assert.deepStrictEqual(yield* inFlight(...ids), [0, 0, 0])
              }).pipe(Effect.provide(live), Effect.provide(TestClock.layer()), Effect.scoped)
            )
        ),
        { numRuns: 60 }
      )
    ))

  it.effect("the caller's interruption reaches the attempt, and says nothing about the instance", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      const health = yield* Health.Health
      yield* fleet.put(instance("a"))
      let interrupted = 0
      for (let call = 0; call < 5; call++) {
        const fiber = yield* Effect.forkChild(
          router.route(request, () => Effect.onInterrupt(Effect.never, () => Effect.sync(() => void interrupted++))),
          { startImmediately: true }
        )
        yield* Fiber.interrupt(fiber)
      }
      assert.strictEqual(interrupted, 5)
      assert.include(health.get(key("a")), { status: "unknown", successRate: undefined })
    }).pipe(Effect.provide(live)))

  it.effect("a caller that is interrupted before the wait begins leaves nothing running", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(instance("a"))
      // The attempt interrupts its own caller while the caller is still on the stack.
      const started = yield* Deferred.make<Fiber.Fiber<unknown, unknown>>()
      let ended = false
      const fiber: Fiber.Fiber<unknown, unknown> = yield* Effect.forkChild(
        Effect.flatMap(Deferred.await(started), (self) =>
          router.route(request, () => {
            self.interruptUnsafe()
            return Effect.onExit(Effect.never, () => Effect.sync(() => void (ended = true)))
          }))
      )
      yield* Deferred.succeed(started, fiber)
      const exit = yield* Fiber.await(fiber)
      assert.isTrue(Exit.hasInterrupts(exit))
      assert.isTrue(ended)
      assert.deepStrictEqual(yield* inFlight("a"), [0])
    }).pipe(Effect.provide(live)))
})

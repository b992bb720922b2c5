import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import type { RoutingRule } from "../src/RoutingRule.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = (...rules: ReadonlyArray<RoutingRule>) =>
  Router.layer({ rules }).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer({ strategy: "random" })),
    Layer.provideMerge(layer)
  )

const target: Router.Target = { service: "weather", names: ["weather__get_forecast", "weather.get_forecast"] }
const answer = ({ id }: ServiceInstance) => Effect.succeed(id)

const picked = (calls = 30, request: Partial<Router.RouteRequest> = {}) =>
  Effect.gen(function*() {
    const router = yield* Router.Router
    const ids = new Set<string>()
    for (let call = 0; call < calls; call++) {
      ids.add((yield* router.route({ target, repeatable: true, ...request }, answer)).value)
    }
    return Array.from(ids).toSorted()
  })

const west = (id: string, fields: Parameters<typeof instance>[1] = {}) => instance(id, { region: "west", ...fields })
const east = (id: string, fields: Parameters<typeof instance>[1] = {}) => instance(id, { region: "east", ...fields })

describe("routing rules", () => {
  it.effect("prefer regions in their order, and take others where the first have nobody", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const health = yield* Health.Health
      yield* fleet.put(west("a"), west("b"), east("c"), instance("d"))
      assert.deepStrictEqual(yield* picked(), ["a", "b"])
      yield* health.override(key("a"), "down", "test")
      yield* health.override(key("b"), "down", "test")
      assert.deepStrictEqual(yield* picked(), ["c"])
      yield* health.override(key("c"), "draining", "test")
      assert.deepStrictEqual(yield* picked(), ["d"])
    }).pipe(Effect.provide(live({ match: { name: "weather.*" }, preferRegions: ["west", "east"] }))))

  it.effect("hold for what they match alone, and the first that matches holds", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(west("a"), east("b"))
      const why = (target: Router.Target) =>
        Effect.map(router.route({ target, repeatable: true }, answer), ({ routing }) => [routing.strategy, routing.why])
      assert.deepStrictEqual(yield* why(target), ["p2c", `rule "weather.get_*": p2c of 2`])
      assert.deepStrictEqual(yield* why({ service: "weather", names: ["weather.set"] }), [
        "round-robin",
        `rule "the rest": round-robin of 2`
      ])
      const group = { services: ["forecasts", "weather"], names: ["forecasts.set"] }
      assert.deepStrictEqual(yield* why(group), ["round-robin", `rule "the rest": round-robin of 2`])
      assert.deepStrictEqual(yield* why({}), ["random", "random of 2"])
    }).pipe(Effect.provide(live(
      { match: { capability: "weather.*" }, strategy: "least-requests" },
      { match: { name: "weather.get_*" }, strategy: "p2c" },
      { name: "the rest", match: { service: "weather" }, strategy: "round-robin" }
    ))))

  it.effect("match capabilities that a call asks for", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(
        west("a", { capabilities: ["weather.forecast"] }),
        east("b", { capabilities: ["weather.forecast"] })
      )
      assert.deepStrictEqual(yield* picked(30, { target: { capabilities: ["weather.forecast"] } }), ["b"])
    }).pipe(Effect.provide(live({ match: { capability: "weather.*" }, preferRegions: ["east"] }))))

  it.effect("leave out instances that don't meet what they require", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(west("a", { metadata: { gpu: true } }), west("b"))
      assert.deepStrictEqual(yield* picked(), ["a"])
      yield* fleet.remove("a")
      const router = yield* Router.Router
      const error = yield* Effect.flip(router.route({ target, repeatable: true }, answer))
      assert.strictEqual(error._tag, "NoInstance")
    }).pipe(Effect.provide(live({ match: {}, require: { "metadata.gpu": true } }))))

  it.effect("put instances of a low score behind, before they are unhealthy, and no call fails for it", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const health = yield* Health.Health
      yield* fleet.put(west("a"), east("b"))
      for (let call = 0; call < 20; call++) {
        health.record(key("a"), { _tag: call % 2 === 0 ? "failure" : "success", latency: 1, reason: "refused" })
        health.record(key("b"), { _tag: "success", latency: 1 })
      }
      assert.isBelow(health.get(key("a")).score, 0.8)
      assert.deepStrictEqual(yield* picked(), ["b"])
      yield* fleet.remove("b")
      assert.deepStrictEqual(yield* picked(), ["a"])
    }).pipe(Effect.provide(live({ match: { service: "weather" }, minHealthScore: 0.8, preferRegions: ["west"] }))))

  it.effect("set the time of a call and its attempts, and a request that says its own wins", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(west("a"), east("b"))
      const call = yield* router.route({ target, repeatable: true }, () => Effect.never).pipe(
        Effect.flip,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(call))._tag, "DeadlineExceeded")
      let attempts = 0
      const fail = () =>
        Effect.suspend(() => {
          attempts++
          return Effect.fail({ error: "boom", phase: "notSent", blame: "instance", reason: "refused" } as const)
        })
      yield* Effect.flip(router.route({ target, repeatable: true }, fail))
      assert.strictEqual(attempts, 1)
      yield* Effect.flip(router.route({ target, repeatable: true, attempts: 2 }, fail))
      assert.strictEqual(attempts, 3)
    }).pipe(Effect.provide(live({ match: {}, timeout: "2 seconds", attempts: 1 }))))

  it.effect("change while calls are made", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      const router = yield* Router.Router
      yield* fleet.put(west("a"), east("b"))
      assert.deepStrictEqual(yield* picked(), ["a"])
      yield* router.reconfigure({ rules: [{ match: {}, preferRegions: ["east"] }] })
      assert.deepStrictEqual(yield* picked(), ["b"])
      yield* router.reconfigure({})
      assert.deepStrictEqual(yield* picked(), ["a", "b"])
    }).pipe(Effect.provide(live({ match: {}, preferRegions: ["west"] }))))
})

describe("consistent-hash", () => {
  it.effect("keeps a caller at one instance, and a key before the caller", () =>
    Effect.gen(function*() {
      const fleet = yield* Fleet
      yield* fleet.put(west("a"), east("b"), instance("c"), instance("d"))
      const owners = new Set<string>()
      for (let caller = 0; caller < 20; caller++) {
        const ids = yield* picked(10, { strategy: "consistent-hash", caller: { principal: `caller ${caller}` } })
        assert.lengthOf(ids, 1)
        owners.add(ids[0]!)
        assert.deepStrictEqual(
          yield* picked(10, { strategy: "consistent-hash", hashKey: `caller ${caller}`, caller: { principal: "x" } }),
          ids
        )
      }
      assert.isAbove(owners.size, 2)
    }).pipe(Effect.provide(live())))
})

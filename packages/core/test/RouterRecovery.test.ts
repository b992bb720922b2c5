/** Whatever calls there are, they bring back an instance that is well again: nothing else may. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Balancer from "../src/Balancer.ts"
import * as Health from "../src/Health.ts"
import * as Router from "../src/Router.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import { Fleet, instance, key, layer } from "./fixtures/Fleet.ts"

const live = Router.layer().pipe(
  Layer.provideMerge(Health.layer({ ejection: { readmitOnCheck: false } })),
  Layer.provideMerge(Balancer.layer()),
  Layer.provideMerge(layer)
)

const plain: Router.RouteRequest = { target: { service: "weather" }, name: "weather__get", repeatable: false }

const traffic: Readonly<Record<string, Router.RouteRequest>> = {
  "calls that may be repeated": { ...plain, repeatable: true },
  "calls that may not be repeated": plain,
  "calls that are bound to it": { ...plain, affinity: { instance: key("a"), strict: false } },
  "calls that are bound to it and to nothing else": { ...plain, affinity: { instance: key("a"), strict: true } }
}

const causes: Readonly<Record<string, Partial<Router.AttemptFailure<string>>>> = {
  "fails": {},
  "asks for time": { retryAfter: 3_000 }
}

// ms from one call to the next.
const every = 100

describe("an instance that is well again", () => {
  for (const [what, request] of Object.entries(traffic)) {
    for (const [cause, fields] of Object.entries(causes)) {
      for (const count of [1, 2, 6]) {
        it.effect(`after it ${cause} is brought back by ${what}: one of ${count}`, () =>
          Effect.gen(function*() {
            const fleet = yield* Fleet
            const router = yield* Router.Router
            const health = yield* Health.Health
            const balancer = yield* Balancer.Balancer
            yield* health.addCheck(() => Effect.succeed({ _tag: "Pass" }))
            yield* fleet.put(...["a", "b", "c", "d", "e", "f"].slice(0, count).map((id) => instance(id)))
            yield* TestClock.adjust(1)
            let well = false
            let served = 0
            const attempt = ({ id }: ServiceInstance) =>
              Effect.suspend(() => {
                if (id !== "a") return Effect.succeed(id)
                if (well) return Effect.sync(() => (served++, id))
                return Effect.fail<Router.AttemptFailure<string>>({
                  error: "boom",
                  phase: "answered",
                  blame: "instance",
                  reason: "500",
                  ...fields
                })
              })
            const call = Effect.gen(function*() {
              yield* Effect.forkChild(Effect.exit(router.route(request, attempt)), { startImmediately: true })
              yield* TestClock.adjust(every)
            })
            for (let time = 0; time < 20_000 && health.circuit(key("a")) === undefined; time += every) yield* call
            const out = health.circuit(key("a"))!
            assert.isDefined(out)
            well = true
            // At the latest after as long again as it was out, with all of its trial calls.
            const latest = out.until + (out.until - out.since) + 5_000
            while (balancer.now() < latest && health.circuit(key("a")) !== undefined) yield* call
            assert.isUndefined(health.circuit(key("a")))
            if (cause === "asks for time") assert.isAtMost(balancer.now(), out.until + 2_000, "it said itself when")
            const before = served
            for (let time = 0; time < 15_000; time += every) yield* call
            assert.isAbove(served, before)
          }).pipe(Effect.provide(live)))
      }
    }
  }
})

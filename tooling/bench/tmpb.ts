import * as Balancer from "@portolan/core/Balancer"
import * as Health from "@portolan/core/Health"
import * as Router from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fleet from "./Fleet.ts"
const size = 100000
await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
  const fleet = yield* Fleet.make(size)
  const live = Router.layer().pipe(Layer.provideMerge(Health.layer()), Layer.provideMerge(Balancer.layer({ strategy: "round-robin" })), Layer.provideMerge(fleet.layer))
  yield* Effect.gen(function*() {
    const router = yield* Router.Router
    const health = yield* Health.Health
    yield* Effect.sleep(1500)
    const attempt = () => Effect.sync(() => 1)
    const request = { target: { service: "weather" }, repeatable: true }
    yield* router.route(request, attempt)
    for (let i = 0; i < 40; i++) {
      const a = performance.now()
      for (let k = 0; k < 100; k++) yield* health.override(Fleet.key((Math.floor(i / 2) * 100 + k) * 7919 % size), i % 2 === 0 ? "down" : undefined, "x")
      const b = performance.now()
      yield* router.route(request, attempt)
      if (i > 34) console.log((b - a).toFixed(2), (performance.now() - b).toFixed(2))
    }
  }).pipe(Effect.provide(live))
})))
process.exit(0)

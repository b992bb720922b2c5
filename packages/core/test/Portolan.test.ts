import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import * as Balancer from "../src/Balancer.ts"
import * as Discovery from "../src/Discovery.ts"
import * as Health from "../src/Health.ts"
import * as MemoryRegistry from "../src/MemoryRegistry.ts"
import * as Portolan from "../src/Portolan.ts"
import * as Router from "../src/Router.ts"
import { instance } from "./fixtures/Fleet.ts"

describe("Portolan.layer", () => {
  const Live = MemoryRegistry.layer({ instances: [instance("a"), instance("b"), instance("c", { status: "down" })] })
    .pipe(
      Layer.provideMerge(Portolan.layer({ balancing: { strategy: "round-robin" }, routing: { attempts: 2 } }))
    )

  it.effect("finds, checks and routes", () =>
    Effect.gen(function*() {
      const discovery = yield* Discovery.Discovery
      const health = yield* Health.Health
      const router = yield* Router.Router
      yield* discovery.ready
      yield* health.addCheck(({ id }) =>
        Effect.succeed(id === "a" ? { _tag: "Pass" } : { _tag: "Fail", reason: "refused", fatal: false })
      )
      yield* TestClock.adjust("1 second")
      const request: Router.RouteRequest = { target: { service: "weather" }, repeatable: true }
      for (let call = 0; call < 4; call++) {
        const { routing } = yield* router.route(request, () => Effect.void)
        assert.include(routing, { instance: "a", source: "memory", strategy: "round-robin", why: "the only one" })
      }
      assert.strictEqual((yield* Balancer.Balancer).strategy(), "round-robin")
    }).pipe(Effect.provide(Live)))
})

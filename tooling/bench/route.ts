/**
 * Routes a second with an attempt that does nothing, by number of instances, with everything on: circuits, retry budget,
 * limits, slow start, reports, and hedging of a read-only call. The goal: more than 300,000 a second at 100 instances, and
 * at least 240,000 at 10,000.
 */
import * as Balancer from "@portolan/core/Balancer"
import * as Health from "@portolan/core/Health"
import * as Router from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fleet from "./Fleet.ts"
import { show, summarize, table } from "./Measure.ts"

const sizes = [100, 1_000, 10_000]
const rounds = 11
const calls = 200_000

const request: Router.RouteRequest = {
  target: { service: "weather" },
  name: "weather",
  caller: { tenant: "acme", principal: "somebody" },
  repeatable: true,
  readOnly: true
}
const attempt = () => Effect.sync(() => 1)

// One fiber that routes again and again: what is measured is the router, not the start of fibers around it.
const round = (router: Router.Router["Service"]) =>
  Effect.gen(function*() {
    const started = performance.now()
    for (let call = 0; call < calls; call++) yield* router.route(request, attempt)
    return calls / (performance.now() - started) * 1_000
  })

const live = (count: number) =>
  Router.layer({ limits: { perService: 10_000 }, hedging: { percentile: 0.95 } }).pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(Layer.unwrap(Effect.map(Fleet.make(count), (fleet) => fleet.layer)))
  )

const measured = await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
  const routers: Array<
    { readonly size: number; readonly router: Router.Router["Service"]; readonly rates: Array<number> }
  > = []
  for (const size of sizes) {
    const router = yield* Effect.provide(Router.Router, yield* Layer.build(live(size)))
    routers.push({ size, router, rates: [] })
  }
  // Until health knows all of them.
  yield* Effect.sleep("500 millis")
  // The first round warms up. The sizes take turns, so that a slow moment of the machine touches all of them.
  for (let index = 0; index <= rounds; index++) {
    for (const { rates, router } of routers) {
      const rate = yield* round(router)
      if (index > 0) rates.push(rate)
    }
  }
  return routers
})))

const rates = measured.map(({ rates, size }) => ({ size, rate: summarize(rates) }))
const reference = rates[0]!.rate.median
table("Router.route with an attempt that does nothing (peak-ewma)", [
  ["instances", "routes/s", "ns/route", "of 100"],
  ...rates.map(({ rate, size }) => [
    size.toLocaleString("en"),
    show(rate),
    Math.round(1e9 / rate.median).toLocaleString("en"),
    `${Math.round(100 * rate.median / reference)} %`
  ])
])
process.exit(0)

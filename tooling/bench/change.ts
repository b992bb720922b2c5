/**
 * What a change costs a gateway with many instances of one service: microseconds from the change until the next call is
 * routed with it. `health flip`: an instance is marked down, or up again. `membership change`: an instance comes, goes or is
 * announced with another weight; health and router have heard of it. `100 flips`: what a flip costs where many happen
 * between two calls. `block`: the longest that the event loop was held by one change.
 */
import * as Balancer from "@portolan/core/Balancer"
import * as Health from "@portolan/core/Health"
import * as Router from "@portolan/core/Router"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Fleet from "./Fleet.ts"
import { show, summarize, table } from "./Measure.ts"

const sizes = [10_000, 100_000]
const strategies = ["peak-ewma", "round-robin", "weighted-round-robin", "weighted-random", "consistent-hash"] as const
const changes = 150
const warmups = 50

const attempt = () => Effect.sync(() => 1)

interface Figures {
  readonly first: number
  readonly flip: ReadonlyArray<number>
  readonly batch: ReadonlyArray<number>
  readonly change: ReadonlyArray<number>
}

const measure = (size: number, strategy: Balancer.StrategyName) =>
  Effect.gen(function*() {
    const fleet = yield* Fleet.make(size)
    const live = Router.layer().pipe(
      Layer.provideMerge(Health.layer()),
      Layer.provideMerge(Balancer.layer({ strategy })),
      Layer.provideMerge(fleet.layer)
    )
    return yield* Effect.gen(function*() {
      const router = yield* Router.Router
      const health = yield* Health.Health
      const request: Router.RouteRequest = {
        target: { service: "weather" },
        name: "weather",
        repeatable: true,
        hashKey: "caller"
      }
      // Until health knows all of them.
      yield* Effect.sleep("500 millis")
      const began = performance.now()
      yield* router.route(request, attempt)
      const first = (performance.now() - began) * 1_000
      const timed = (work: Effect.Effect<unknown>) =>
        Effect.gen(function*() {
          const began = performance.now()
          yield* work
          yield* router.route(request, attempt)
          return (performance.now() - began) * 1_000
        })
      const repeat = (times: number, work: (index: number) => Effect.Effect<unknown>, each = 1) =>
        Effect.gen(function*() {
          const taken: Array<number> = []
          for (let index = -warmups; index < times; index++) {
            const time = yield* timed(work(index + warmups))
            if (index >= 0) taken.push(time / each)
            // Others on the event loop have their turn, and the garbage its collector.
            yield* Effect.sleep(1)
          }
          return taken
        })
      const spread = (index: number) => Math.floor(index / 2) * 7_919 % size
      const flipOf = (index: number) =>
        health.override(Fleet.key(spread(index)), index % 2 === 0 ? "down" : undefined, "bench")
      const flip = yield* repeat(changes, flipOf)
      const batch = yield* repeat(changes / 10, (index) =>
        Effect.forEach(
          Array.from({ length: 100 }, (_, at) => at),
          (at) =>
            health.override(
              Fleet.key((Math.floor(index / 2) * 100 + at) * 7_919 % size),
              index % 2 === 0 ? "down" : undefined,
              "bench"
            ),
          { discard: true }
        ), 100)
      // Those who follow the catalog have done so after three turns.
      const heard = Effect.andThen(Effect.yieldNow, Effect.andThen(Effect.yieldNow, Effect.yieldNow))
      const weighed = (index: number): ServiceInstance => ({ ...Fleet.instance(spread(index)), weight: 2 })
      const change = yield* repeat(changes, (index) => {
        const work = index % 4 === 0
          ? fleet.put(Fleet.instance(size + index))
          : index % 4 === 1
          ? fleet.put(weighed(index))
          : index % 4 === 2
          ? fleet.remove(size + index - 2)
          : fleet.put(Fleet.instance(spread(index)))
        return Effect.andThen(work, heard)
      })
      const figures: Figures = { first, flip, batch, change }
      return figures
    }).pipe(Effect.provide(live), Effect.scoped)
  })

const percentile = (values: ReadonlyArray<number>, share: number) =>
  values.toSorted((a, b) => a - b)[Math.min(Math.floor(values.length * share), values.length - 1)] ?? Number.NaN
const cells = (values: ReadonlyArray<number>) => [
  show(summarize(values)),
  Math.round(percentile(values, 0.99)).toLocaleString("en")
]

for (const size of sizes) {
  const rows: Array<ReadonlyArray<string>> = []
  for (const strategy of strategies) {
    const { batch, change, first, flip } = await Effect.runPromise(measure(size, strategy))
    rows.push([
      strategy,
      Math.round(first).toLocaleString("en"),
      ...cells(flip),
      show(summarize(batch)),
      ...cells(change)
    ])
  }
  table(`µs from a change to the next route, ${size.toLocaleString("en")} instances: median (min … max), p99`, [
    ["strategy", "first route", "health flip", "p99", "of 100 flips", "membership change", "p99"],
    ...rows
  ])
}
process.exit(0)

/**
 * Heap per instance, after a collection: of discovery, health and balancer, and of the candidates of one target. The goal:
 * 2 KB. Each size runs in a process of its own: `--expose-gc` is given to it by this one.
 */
import * as Balancer from "@portolan/core/Balancer"
import * as Health from "@portolan/core/Health"
import * as Router from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawnSync } from "node:child_process"
import * as Fleet from "./Fleet.ts"
import { table } from "./Measure.ts"

const sizes = [10_000, 100_000]
const parts = ["catalog", "health", "balancer and one target", "after calls and a check of each", "together"]

const heap = Effect.gen(function*() {
  // What is under way is done, and what it held is free.
  yield* Effect.sleep("1 second")
  for (let times = 0; times < 4; times++) globalThis.gc?.()
  return process.memoryUsage().heapUsed
})

const pass = Effect.succeed<Health.CheckResult>({ _tag: "Pass" })

const measure = (size: number) =>
  Effect.scoped(Effect.gen(function*() {
    // What is loaded once and not per instance.
    yield* measureNothing
    const sizes = [yield* heap]
    const fleet = yield* Fleet.make(size)
    const discovery = yield* Layer.build(fleet.layer)
    sizes.push(yield* heap)
    const health = yield* Effect.provide(Health.make({ unhealthyInterval: "1 hour" }), discovery)
    sizes.push(yield* heap)
    const balancer = yield* Balancer.make()
    const router = yield* Effect.provide(
      Router.make(),
      Layer.mergeAll(Layer.succeed(Health.Health, health), Layer.succeed(Balancer.Balancer, balancer)).pipe(
        Layer.provideMerge(fleet.layer)
      )
    )
    const request: Router.RouteRequest = { target: { service: "weather" }, name: "weather", repeatable: true }
    yield* router.route(request, () => Effect.void)
    sizes.push(yield* heap)
    // Collecting garbage is a stall: what is recorded at once would count without latencies.
    yield* Effect.sleep("1 second")
    for (let times = 0; times < 3; times++) {
      for (const node of balancer.nodes()) {
        balancer.begin(node)
        balancer.end(node, 5, "success")
        health.record(node.key, { _tag: "success", latency: 5 })
      }
    }
    yield* health.addCheck(() => pass)
    let checked = 0
    while (checked < size) {
      yield* Effect.sleep("100 millis")
      while (checked < size && health.status(Fleet.key(checked)) === "healthy") checked++
    }
    yield* router.route(request, () => Effect.void)
    sizes.push(yield* heap)
    const each = sizes.map((after, index) => index === 0 ? 0 : (after - sizes[index - 1]!) / size).slice(1)
    return [...each, (sizes.at(-1)! - sizes[0]!) / size]
  }))

const measureNothing = Effect.scoped(Effect.gen(function*() {
  const fleet = yield* Fleet.make(10)
  const layer = Router.layer().pipe(
    Layer.provideMerge(Health.layer()),
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(fleet.layer)
  )
  const router = yield* Effect.provide(Router.Router, yield* Layer.build(layer))
  yield* router.route({ target: { service: "weather" }, repeatable: true }, () => Effect.void)
}))

const [wanted] = process.argv.slice(2)
if (wanted === undefined) {
  const columns = sizes.map((size): ReadonlyArray<number> => {
    const child = spawnSync(process.execPath, ["--expose-gc", import.meta.filename, String(size)], {
      stdio: ["ignore", "pipe", "inherit"],
      encoding: "utf8"
    })
    return JSON.parse(child.stdout)
  })
  table("bytes of heap per instance (goal: 2,048 together)", [
    ["", ...sizes.map((size) => `${size.toLocaleString("en")} instances`)],
    ...parts.map((part, index) => [
      part,
      ...columns.map((column) => Math.round(column[index] ?? Number.NaN).toLocaleString("en"))
    ])
  ])
} else {
  console.log(JSON.stringify(await Effect.runPromise(measure(Number(wanted)))))
  process.exit(0)
}

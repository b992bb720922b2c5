import { assert, describe, it } from "@effect/vitest"
import * as Balancer from "@portolan/core/Balancer"
import * as Catalog from "@portolan/core/Catalog"
import * as Series from "@portolan/gateway/rest/Series"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as TestClock from "effect/testing/TestClock"
import { endpoint, instance } from "./fleet.ts"

/** A gateway that counts what the test says. */
const counting = (options: Series.SeriesOptions = {}) => {
  const figures = { sessions: 0, streams: 0, callsInFlight: 0, calls: 100, failedCalls: 10, failovers: 7 }
  const layer = Series.layer({ memory: () => 1234, ...options }).pipe(
    Layer.provideMerge(Balancer.layer()),
    Layer.provideMerge(Layer.succeed(McpEndpoint, McpEndpoint.of({ ...endpoint, figures: () => figures })))
  )
  return { figures, layer }
}

const attempts = (service: string, latencies: ReadonlyArray<number>, failures = 0) =>
  Effect.gen(function*() {
    const balancer = yield* Balancer.Balancer
    const one = instance(`${service}-1`)
    const node = balancer.node(Catalog.key("memory", one.id), one)
    for (const [at, latency] of latencies.entries()) {
      balancer.begin(node)
      balancer.end(node, latency, at < failures ? "failure" : "success")
    }
    return node
  })

const all = { step: 10_000, window: 900_000 }

describe("Series", () => {
  it.effect("takes a point every ten seconds", () => {
    const { figures, layer } = counting()
    return Effect.gen(function*() {
      const series = yield* Series.Series
      yield* attempts("weather", Array.from({ length: 100 }, (_, at) => at < 90 ? 10 : 1000), 3)
      figures.calls += 90
      figures.failedCalls += 2
      figures.failovers += 3
      figures.callsInFlight = 4
      assert.deepEqual(series.report(all).times, [])
      yield* TestClock.adjust("10 seconds")
      figures.calls += 1
      const node = yield* attempts("weather", [])
      const balancer = yield* Balancer.Balancer
      balancer.begin(node)
      yield* TestClock.adjust("10 seconds")

      const { gateway, services, step, times } = series.report(all)
      assert.strictEqual(step, 10)
      assert.deepEqual(times, [10, 20])
      assert.deepEqual(gateway.calls, [90, 1])
      assert.deepEqual(gateway.failures, [2, 0])
      assert.deepEqual(gateway.failovers, [3, 0])
      assert.deepEqual(gateway.inFlight, [4, 4])
      assert.deepEqual(gateway.memory, [1234, 1234])
      const [weather] = services
      assert.deepInclude(weather, { service: "weather", calls: [100, 0], failures: [3, 0], inFlight: [0, 1] })
      // Within a tenth, and nothing where nothing was counted.
      assert.closeTo(weather?.p50[0] ?? 0, 10, 1)
      assert.closeTo(weather?.p95[0] ?? 0, 1000, 100)
      assert.isNull(weather?.p50[1])
      assert.deepEqual(gateway.p95, weather?.p95)
    }).pipe(Effect.provide(layer))
  })

  it.effect("keeps a quarter of an hour, and no service that is gone for longer", () => {
    const { layer } = counting()
    return Effect.gen(function*() {
      const series = yield* Series.Series
      const balancer = yield* Balancer.Balancer
      const node = yield* attempts("brief", [5])
      yield* TestClock.adjust("10 seconds")
      balancer.forget(node.key)
      yield* attempts("lasting", [5])
      yield* TestClock.adjust("14 minutes")
      assert.deepEqual(series.report(all).services.map(({ service }) => service), ["brief", "lasting"])
      yield* TestClock.adjust("10 minutes")
      const { gateway, services, times } = series.report(all)
      assert.strictEqual(times.length, 90)
      assert.strictEqual(times.at(-1), 10 + 24 * 60)
      assert.deepEqual(services.map(({ service }) => service), ["lasting"])
      for (const column of [gateway.calls, gateway.memory, services[0]?.calls, services[0]?.p95]) {
        assert.strictEqual(column?.length, 90)
      }
    }).pipe(Effect.provide(layer))
  })

  it.effect("sums up the services beyond its limit", () => {
    const { layer } = counting({ services: 2 })
    return Effect.gen(function*() {
      const series = yield* Series.Series
      for (const service of ["a", "b", "c", "d"]) yield* attempts(service, [1, 2], 1)
      yield* TestClock.adjust("10 seconds")
      const { others, services } = series.report(all)
      assert.deepEqual(services.map(({ service }) => service), ["a", "b"])
      assert.deepInclude(others, { calls: [4], failures: [2], inFlight: [0] })
      assert.deepEqual(series.report({ ...all, services: ["b"] }).services.map(({ service }) => service), ["b"])
    }).pipe(Effect.provide(layer))
  })

  it.effect("makes larger points of smaller ones", () => {
    const { figures, layer } = counting()
    return Effect.gen(function*() {
      const series = yield* Series.Series
      for (let point = 1; point <= 7; point++) {
        figures.calls += point
        yield* attempts("a", Array.from({ length: point }, () => 10))
        yield* TestClock.adjust("10 seconds")
      }
      const { gateway, services, step, times } = series.report({ step: 30_000, window: 900_000 })
      assert.strictEqual(step, 30)
      assert.deepEqual(times, [40, 70])
      assert.deepEqual(gateway.calls, [2 + 3 + 4, 5 + 6 + 7])
      assert.closeTo(services[0]?.p50[1] ?? 0, 10, 1)
      assert.deepEqual(series.report({ step: 10_000, window: 25_000 }).times, [50, 60, 70])
    }).pipe(Effect.provide(layer))
  })
})

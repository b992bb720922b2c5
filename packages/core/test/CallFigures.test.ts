import { assert, describe, it } from "@effect/vitest"
import * as Balancer from "@portolan/core/Balancer"
import * as CallFigures from "@portolan/core/CallFigures"
import * as Catalog from "@portolan/core/Catalog"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"

const instance = (id: string, service = "weather") =>
  ServiceInstance.make({ id, service, endpoint: { transport: "sse", url: "http://127.0.0.1:1/" } })

describe("CallFigures", () => {
  it("tells percentiles within a tenth", () => {
    fc.assert(fc.property(
      fc.array(fc.double({ min: 0.2, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 200 }),
      fc.constantFrom(0.01, 0.5, 0.95, 0.99, 1),
      (latencies, share) => {
        const figures = new CallFigures.CallFigures()
        for (const latency of latencies) figures.record(latency, false)
        const sorted = latencies.toSorted((a, b) => a - b)
        const exact = sorted[Math.max(0, Math.ceil(share * sorted.length - 1e-9) - 1)]!
        const told = CallFigures.percentile(figures.latencies, share)!
        assert.isTrue(told / exact < 1.1 && told / exact > 0.9, `${told} for ${exact}`)
      }
    ))
  })

  it("takes any latency, and tells nothing of nothing", () => {
    const figures = new CallFigures.CallFigures()
    assert.isUndefined(CallFigures.percentile(figures.latencies, 0.5))
    assert.isUndefined(CallFigures.percentile([], 0.5))
    for (const latency of [0, -1, Number.MIN_VALUE, 1e12, Infinity]) figures.record(latency, true)
    assert.deepEqual([figures.calls, figures.failures], [5, 5])
    assert.strictEqual(figures.latencies.reduce((sum, count) => sum + count), 5)
  })

  it.effect("are those of a service, as long as it has instances", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const node = (id: string, service?: string) => balancer.node(Catalog.key("memory", id), instance(id, service))
      const [a, b] = [node("a"), node("b")]
      for (const one of [a, b, b]) balancer.begin(one)
      balancer.end(a, 10, "success")
      balancer.end(b, 20, "failure")
      const weather = balancer.figures().get("weather")!
      assert.deepEqual([weather.calls, weather.failures, weather.inFlight], [2, 1, 1])
      assert.deepEqual([b.calls, b.failures, b.inFlight], [1, 1, 1])
      balancer.end(b, 30, "ignored")
      assert.deepEqual([weather.calls, weather.inFlight], [2, 0])
      balancer.forget(a.key)
      assert.deepEqual(Array.from(balancer.nodes()), [b])
      assert.strictEqual(balancer.figures().get("weather"), weather)
      // One that is announced for another service counts there from now on.
      balancer.begin(b)
      node("b", "maps")
      assert.isFalse(balancer.figures().has("weather"))
      const maps = balancer.figures().get("maps")!
      assert.strictEqual(maps.inFlight, 1)
      balancer.forget(b.key)
      assert.strictEqual(balancer.figures().size, 1)
      balancer.end(b, 1, "success")
      assert.deepEqual([maps.calls, maps.inFlight, balancer.figures().size], [1, 0, 0])
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Balancer from "../src/Balancer.ts"
import * as Traffic from "./fixtures/Traffic.ts"

describe("B13: slow start", () => {
  const window = 10_000

  for (const strategy of Balancer.strategyNames) {
    it.effect(`follows Envoy's curve, again after it was unhealthy: ${strategy}`, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(16)
        const { balancer, nodes, now, pass, picker } = traffic
        const list = nodes(10)
        const made = picker(strategy, list)
        for (let time = 0; time < 2; time++) {
          balancer.welcome(list[0]!, now())
          const began = now()
          for (
            const [part, expected] of [[0, 0.1], [0.05, 0.1], [0.25, 0.25], [0.5, 0.5], [0.75, 0.75], [1, 1]] as const
          ) {
            pass(began + part * window - now())
            // As many of its own in each part of the curve.
            const found = Traffic.share(Traffic.idle(traffic, made, 4_000 / expected), list[0]!)
            assert.closeTo(found * (9 + expected) / expected, 1, 0.2)
          }
          pass(60_000)
        }
      }))

    it.effect(`changes nothing where all are new: ${strategy}`, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(17)
        const list = traffic.nodes(8)
        const made = traffic.picker(strategy, list)
        for (const node of list) traffic.balancer.welcome(node, traffic.now())
        const counts = Traffic.idle(traffic, made, 20_000)
        for (const node of list) assert.closeTo(Traffic.share(counts, node), 1 / 8, 0.015)
      }))

    it.effect(`starves nobody, however light, new and often rebuilt: ${strategy}`, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(18)
        const { balancer, nodes, now, pass, picker, random } = traffic
        const list = nodes(5, (index) => ({ weight: index === 0 ? 1 : 20 }))
        const made = picker(strategy, list)
        balancer.welcome(list[0]!, now())
        // 100 a second, so that 1 in 81 is its share; 10 s of slow start and 20 s after it.
        const soon = new Map<Balancer.Node, number>()
        for (let pick = 0; pick < 3_000; pick++) {
          if (pick % 10 === 0) made.update(list)
          pass(10)
          const node = made.pick(now(), String(random()))!
          soon.set(node, (soon.get(node) ?? 0) + 1)
          balancer.begin(node)
          balancer.end(node, Traffic.exponential(20, random), "success", now())
        }
        assert.isAtLeast(soon.get(list[0]!) ?? 0, 1)
      }))
  }

  it.effect("is as long as is said, and none where 0 is", () =>
    Effect.gen(function*() {
      const traffic = yield* Traffic.make(19, { slowStart: "1 minute" })
      const { balancer, nodes, now, pass, picker } = traffic
      const list = nodes(2)
      const made = picker("random", list)
      balancer.welcome(list[0]!, now())
      pass(30_000)
      assert.closeTo(Traffic.share(Traffic.idle(traffic, made, 20_000), list[0]!), 1 / 3, 0.02)
      yield* balancer.reconfigure({ slowStart: "30 seconds" })
      assert.closeTo(Traffic.share(Traffic.idle(traffic, made, 20_000), list[0]!), 0.5, 0.02)
      yield* balancer.reconfigure({ slowStart: 0 })
      balancer.welcome(list[1]!, now())
      assert.isFalse(list[1]!.easing)
    }))

  it.effect("an outcome that says nothing of the instance changes nothing", () =>
    Effect.gen(function*() {
      const { balancer, nodes, now } = yield* Traffic.make(20)
      const [node] = nodes(1)
      const end = (outcome: Traffic.Outcome) => {
        balancer.begin(node!)
        balancer.end(node!, 10, outcome, now())
      }
      end("ignored")
      assert.isFalse(node!.easing)
      end("failure")
      const { failing } = node!
      assert.isTrue(node!.easing)
      for (let call = 0; call < 100; call++) end("ignored")
      assert.strictEqual(node!.failing, failing)
      for (let call = 0; call < 20; call++) end("success")
      assert.isFalse(node!.easing)
    }))
})

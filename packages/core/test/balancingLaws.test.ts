/** What balancing promises, for every strategy that can keep it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import { powerOfTwo } from "../src/balancing/PowerOfTwo.ts"
import * as Traffic from "./fixtures/Traffic.ts"

type Exempt = Partial<Record<Balancer.StrategyName, string>>

const draws = "one draw, nothing is compared"
const blind = "doesn't look at latencies"
const unweighted = "takes no notice of weights"
const memoryless = "a draw has no turn that a rebuild could take away"

/** Who needn't keep a law, and why. */
const exempt = {
  B1: {
    "round-robin": "asks nobody",
    "weighted-round-robin": "asks nobody",
    random: draws,
    "weighted-random": draws,
    "health-weighted": draws
  },
  B2: {
    "capability-match": blind,
    "round-robin": blind,
    "weighted-round-robin": blind,
    random: blind,
    "weighted-random": blind,
    "least-requests": blind,
    p2c: blind,
    "health-weighted": "sees them in the health scores alone, once a second",
    "lowest-cost": blind,
    "consistent-hash": blind
  },
  B3: {},
  B4: {},
  B5: {
    "round-robin": unweighted,
    random: unweighted,
    "peak-ewma": "keeps them under load alone, as latencies come first: a test of its own below"
  },
  B6: {
    "capability-match": memoryless,
    "round-robin": unweighted,
    random: unweighted,
    "weighted-random": memoryless,
    "least-requests": memoryless,
    p2c: memoryless,
    "peak-ewma": memoryless,
    "health-weighted": memoryless,
    "lowest-cost": memoryless,
    "consistent-hash": memoryless
  },
  B15: {}
} satisfies Record<string, Exempt>

const bound = (law: keyof typeof exempt): ReadonlyArray<Balancer.StrategyName> => {
  const out: Exempt = exempt[law]
  return Balancer.strategyNames.filter((strategy) => out[strategy] === undefined)
}

/** Calls of so many callers, so that a hash spreads them. */
const hashKey = (random: () => number): string => String(random())

describe("B1: two are drawn, and never the same one", () => {
  it.effect("whatever the weights, and where there are none or one", () =>
    Effect.gen(function*() {
      const { nodes, random } = yield* Traffic.make(1)
      fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 8 }), (weights) => {
        const list = nodes(weights.length, (index) => ({ weight: weights[index]! }))
        const drawn = new Set<Balancer.Node>()
        const picker = powerOfTwo(random, (first, second) => {
          if (first === second) assert.fail("the same one twice")
          drawn.add(first).add(second)
          return first
        })
        picker.update(list)
        const taking = list.filter(({ weight }) => weight > 0)
        const picked = new Set(Array.from({ length: 100 }, () => picker.pick()))
        for (const node of picked) {
          if (taking.length === 0) assert.isUndefined(node)
          else assert.include(taking, node)
        }
        if (taking.length > 1) assert.sameMembers(Array.from(drawn), taking)
      }))
    }))

  for (const strategy of bound("B1")) {
    it.effect(`so of two the worse is never picked: ${strategy}`, () =>
      Effect.gen(function*() {
        const { balancer, nodes, now, picker } = yield* Traffic.make(2)
        const [busy, free] = nodes(2)
        for (const node of [busy!, free!]) {
          balancer.begin(node)
          balancer.end(node, 10, "success", now())
        }
        balancer.begin(busy!)
        const made = picker(strategy, [busy!, free!])
        for (let pick = 0; pick < 1_000; pick++) assert.strictEqual(made.pick(now()), free)
      }))
  }
})

describe("B2: latencies decide", () => {
  for (const strategy of bound("B2")) {
    it.effect(`one of which nothing is known is tried once before it is heard of: ${strategy}`, () =>
      Effect.gen(function*() {
        const { balancer, nodes, now, pass, picker } = yield* Traffic.make(3)
        fc.assert(
          fc.property(fc.integer({ min: 2, max: 10 }), fc.integer({ min: 1, max: 100 }), (count, every) => {
            const list = nodes(count)
            for (const node of list.slice(1)) {
              balancer.begin(node)
              balancer.end(node, 10, "success", now())
            }
            const made = picker(strategy, list)
            for (let pick = 0; pick < 300; pick++) {
              const node = made.pick(now())!
              balancer.begin(node)
              pass(every)
              if (node !== list[0]) balancer.end(node, 10, "success", now())
            }
            assert.strictEqual(list[0]!.picks, 1)
            balancer.end(list[0]!, 10, "ignored", now())
          }),
          { numRuns: 20 }
        )
      }))

    it.effect(`one that takes twice as long has about half as much: ${strategy}`, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(4)
        fc.assert(
          fc.property(fc.integer({ min: 4, max: 12 }), fc.integer({ min: 2, max: 6 }), (count, busy) => {
            const list = nodes(count)
            const made = picker(strategy, list)
            // So many calls are under way at each.
            const rate = count * busy * 50
            const { counts } = run(made, {
              duration: 20_000,
              rate,
              latency: (node) => node === list[0] ? 40 : 20
            })
            const ratio = counts.get(list[0]!)! / ((counts.get(list[1]!)! + counts.get(list[2]!)!) / 2)
            assert.isAbove(ratio, 0.25)
            assert.isBelow(ratio, 0.7)
          }),
          { numRuns: 5 }
        )
      }))
  }
})

describe("B3: one that fails fast has less than its share", () => {
  for (const strategy of bound("B3")) {
    it.effect(strategy, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(5)
        fc.assert(
          fc.property(
            fc.integer({ min: 2, max: 12 }),
            fc.constantFrom(0.5, 0.75, 1),
            fc.constantFrom(5, 20, 100),
            (count, failing, each) => {
              const list = nodes(count)
              const made = picker(strategy, list)
              const load: Traffic.Load = {
                duration: 5_000,
                rate: each * count,
                latency: (node, random) => node === list[0] ? 1 : Traffic.exponential(30, random),
                outcome: (node, random) => node === list[0] && random() < failing ? "failure" : "success",
                hashKey
              }
              run(made, load)
              // 8,000 calls: of two that are asked, the failing one's share is 0.81 with a deviation of 0.02 at the most.
              const { counts } = run(made, { ...load, duration: 8_000_000 / (each * count) })
              assert.isBelow(Traffic.share(counts, list[0]!) * count, failing === 1 ? 0.4 : 0.95)
            }
          ),
          { numRuns: 12 }
        )
      }))
  }

  for (const strategy of bound("B3")) {
    it.effect(`and a twentieth of it at least, or nobody would hear that it is well again: ${strategy}`, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(22)
        const { balancer, nodes, now, picker } = traffic
        const list = nodes(10)
        const made = picker(strategy, list)
        for (let call = 0; call < 100; call++) {
          balancer.begin(list[0]!)
          balancer.end(list[0]!, 1, "failure", now())
        }
        // Else its latency would have a say.
        list[0]!.latency = 0
        const found = Traffic.share(Traffic.idle(traffic, made, 40_000), list[0]!)
        assert.closeTo(found * 9.05 / 0.05, 1, 0.3)
      }))
  }

  for (const strategy of ["lowest-cost", "capability-match"] as const) {
    it.effect(`though it is the first choice: ${strategy}`, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(6)
        const list = nodes(4, (index) => ({ cost: { perCall: index === 0 ? 0 : 1 } }))
        const made = picker(strategy, list, { score: () => 1, match: (node) => node === list[0] ? 1 : 0 })
        const outcome = (node: Balancer.Node) => node === list[0] ? "failure" : "success"
        const { counts } = run(made, { duration: 60_000, rate: 50, latency: () => 1, outcome })
        assert.isBelow(Traffic.share(counts, list[0]!), 0.2)
        assert.isAbove(Traffic.share(counts, list[0]!), 0.01)
      }))
  }

  for (const strategy of Balancer.strategyNames) {
    it.effect(`where all fail, all have theirs: ${strategy}`, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(7)
        for (const failing of [1, 0.3]) {
          const list = nodes(6)
          const made = picker(strategy, list)
          const outcome = (_: Balancer.Node, random: () => number) => random() < failing ? "failure" : "success"
          const { counts } = run(made, { duration: 60_000, rate: 200, outcome, hashKey })
          for (const node of list) assert.closeTo(Traffic.share(counts, node), 1 / 6, 0.04)
        }
      }))
  }
})

describe("B4: one that was bad has calls again", () => {
  for (const strategy of bound("B4")) {
    it.effect(strategy, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(8)
        fc.assert(
          fc.property(
            fc.integer({ min: 2, max: 10 }),
            fc.constantFrom(10, 50),
            fc.constantFrom("failing", "slow"),
            fc.integer({ min: 1, max: 60 }),
            (count, each, kind, seconds) => {
              const list = nodes(count)
              const made = picker(strategy, list)
              const load: Traffic.Load = { duration: 10_000, rate: each * count, hashKey }
              const bad: Traffic.Load = kind === "failing"
                ? { ...load, latency: () => 1, outcome: (node) => node === list[0] ? "failure" : "success" }
                : {
                  ...load,
                  latency: (node, random) => node === list[0] ? 1_000 : Traffic.exponential(20, random)
                }
              run(made, { ...bad, duration: seconds * 1_000 })
              assert.isAbove(Traffic.share(run(made, { ...load, duration: 20_000 }).counts, list[0]!), 0)
              run(made, { ...load, duration: 60_000 })
              // Over twelve times peak-ewma's tau: in 10 s even nodes that were never bad have less than half of their
              // part in 3 of 100 cases, as a peak is remembered for most of it; in 120 s none of 1,200 had.
              assert.isAbove(Traffic.share(run(made, { ...load, duration: 120_000 }).counts, list[0]!) * count, 0.5)
            }
          ),
          { numRuns: 6 }
        )
      }))
  }
})

describe("B5: weights are kept to one in a hundred calls", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 6 })

  for (const strategy of bound("B5")) {
    it.effect(`where one call is made at a time: ${strategy}`, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(9)
        fc.assert(
          fc.property(weights, (weights) => {
            const list = traffic.nodes(weights.length, (index) => ({ weight: weights[index]! }))
            const counts = Traffic.idle(traffic, traffic.picker(strategy, list), 100_000)
            const sum = weights.reduce((sum, weight) => sum + weight, 0)
            for (const node of list) assert.closeTo(Traffic.share(counts, node), node.weight / sum, 0.01)
          }),
          { numRuns: 2 }
        )
      }))

    if (strategy === "consistent-hash") continue
    it.effect(`where many are: ${strategy}`, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(10)
        fc.assert(
          fc.property(weights, (weights) => {
            const list = nodes(weights.length, (index) => ({ weight: weights[index]! }))
            const sum = weights.reduce((sum, weight) => sum + weight, 0)
            const { calls, counts } = run(picker(strategy, list), {
              duration: 10_000,
              rate: 10_000,
              // Four for each unit of weight under way.
              latency: () => 4 * sum / 10,
              hashKey
            })
            assert.closeTo(calls, 100_000, 2_000)
            for (const node of list) assert.closeTo(Traffic.share(counts, node), node.weight / sum, 0.01)
          }),
          { numRuns: 2 }
        )
      }))
  }

  // Latencies come first, or a key does as long as its node has room.
  for (const strategy of ["peak-ewma", "consistent-hash"] as const) {
    it.effect(`nearly, where many are: ${strategy}`, () =>
      Effect.gen(function*() {
        const { nodes, picker, run } = yield* Traffic.make(11)
        fc.assert(
          fc.property(weights, (weights) => {
            const list = nodes(weights.length, (index) => ({ weight: weights[index]! }))
            const sum = weights.reduce((sum, weight) => sum + weight, 0)
            const load: Traffic.Load = { duration: 10_000, rate: 5_000, latency: () => 4 * sum / 5, hashKey }
            const { counts } = run(picker(strategy, list), load)
            for (const node of list) assert.closeTo(Traffic.share(counts, node), node.weight / sum, 0.05)
          }),
          { numRuns: 2 }
        )
      }))
  }

  it.effect("smoothly, a call more or less in any sum of weights: weighted-round-robin", () =>
    Effect.gen(function*() {
      const { nodes, picker } = yield* Traffic.make(12)
      fc.assert(fc.property(weights, (weights) => {
        const list = nodes(weights.length, (index) => ({ weight: weights[index]! }))
        const made = picker("weighted-round-robin", list)
        const sum = weights.reduce((sum, weight) => sum + weight, 0)
        const picked = Array.from({ length: 4 * sum }, () => made.pick())
        for (let from = 0; from + sum <= picked.length; from++) {
          const window = picked.slice(from, from + sum)
          for (const node of list) {
            assert.isAtMost(Math.abs(window.filter((each) => each === node).length - node.weight), 1)
          }
        }
      }))
    }))
})

describe("B6: a list that is built anew every ten picks keeps weights of 1,000 to 1", () => {
  for (const strategy of bound("B6")) {
    it.effect(strategy, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(13)
        const list = traffic.nodes(3, (index) => ({ weight: [1_000, 1, 1][index]! }))
        const made = traffic.picker(strategy, list)
        const counts = new Map<Balancer.Node, number>()
        for (let pick = 0; pick < 1_002_000; pick++) {
          if (pick % 10 === 0) made.update(list)
          const node = made.pick()!
          counts.set(node, (counts.get(node) ?? 0) + 1)
        }
        for (const node of list) assert.closeTo(counts.get(node) ?? 0, node.weight * 1_000, node.weight * 50)
      }))
  }

  it.effect("and one where a light one comes and goes: weighted-round-robin", () =>
    Effect.gen(function*() {
      const traffic = yield* Traffic.make(23)
      const [heavy, light] = traffic.nodes(2, (index) => ({ weight: [1_000, 1][index]! }))
      const list = [heavy!, light!]
      const made = traffic.picker("weighted-round-robin", list)
      let picks = 0
      for (let pick = 0; pick < 200_000; pick++) {
        if (pick % 10 === 0) {
          list.pop()
          made.edited("removed", 1, light!)
          list.push(light!)
          made.edited("inserted", 1, light!)
        }
        if (made.pick() === light) picks++
      }
      assert.closeTo(picks, 200, 100)
    }))

  for (const strategy of ["round-robin", "least-requests"] as const) {
    it.effect(`and equal ones: ${strategy}`, () =>
      Effect.gen(function*() {
        const traffic = yield* Traffic.make(14)
        const list = traffic.nodes(50)
        const made = traffic.picker(strategy, list)
        const counts = new Map<Balancer.Node, number>()
        for (let pick = 0; pick < 500_000; pick++) {
          if (pick % 10 === 0) made.update(list)
          const node = made.pick()!
          counts.set(node, (counts.get(node) ?? 0) + 1)
        }
        for (const node of list) assert.closeTo(counts.get(node) ?? 0, 10_000, 500)
      }))
  }
})

describe("B7: what is counted survives a change of the list", () => {
  type Step =
    | { readonly do: "update"; readonly listed: ReadonlyArray<boolean> }
    | { readonly do: "begin" }
    | { readonly do: "end"; readonly which: number; readonly outcome: Traffic.Outcome }
  const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
    fc.oneof(
      fc.record({ do: fc.constant("update"), listed: fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }) }),
      { weight: 4, arbitrary: fc.record({ do: fc.constant("begin") }) },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant("end"),
          which: fc.nat(),
          outcome: fc.constantFrom("success", "failure", "ignored")
        })
      }
    ),
    { maxLength: 100 }
  )

  for (const strategy of Balancer.strategyNames) {
    it.effect(strategy, () =>
      Effect.gen(function*() {
        const { balancer, nodes, now, picker } = yield* Traffic.make(15)
        fc.assert(fc.property(steps, (steps) => {
          const all = nodes(6)
          const expected = new Map(all.map((node) => [node, { inFlight: 0, picks: 0, calls: 0, failures: 0 }]))
          const made = picker(strategy, all)
          const running: Array<Balancer.Node> = []
          for (const step of steps) {
            if (step.do === "update") {
              // As discovery does it: asked for anew, gone while it isn't listed.
              for (const [index, node] of all.entries()) if (step.listed[index] !== true) balancer.forget(node.key)
              const listed = all.filter((node, index) => step.listed[index] === true || node.inFlight > 0)
              made.update(listed.map((node) => balancer.node(node.key, node.instance)))
              for (const node of listed) {
                if (balancer.node(node.key, node.instance) !== node) {
                  // It had nothing under way and was forgotten.
                  all[all.indexOf(node)] = balancer.node(node.key, node.instance)
                  expected.set(balancer.node(node.key, node.instance), { inFlight: 0, picks: 0, calls: 0, failures: 0 })
                }
              }
            } else if (step.do === "begin") {
              const node = made.pick(now())
              if (node === undefined) continue
              balancer.begin(node)
              running.push(node)
              const figures = expected.get(node)!
              figures.inFlight++
              figures.picks++
            } else if (running.length > 0) {
              const [node] = running.splice(step.which % running.length, 1)
              balancer.end(node!, 5, step.outcome, now())
              const figures = expected.get(node!)!
              figures.inFlight--
              if (step.outcome !== "ignored") figures.calls++
              if (step.outcome === "failure") figures.failures++
            }
            for (const [node, figures] of expected) {
              const { calls, failures, inFlight, picks } = node
              assert.deepStrictEqual({ inFlight, picks, calls, failures }, figures)
            }
          }
          for (const node of running) balancer.end(node, 5, "ignored", now())
        }))
      }))
  }
})

describe("B15: fresh gateways don't march in step", () => {
  for (const strategy of bound("B15")) {
    it.effect(strategy, () =>
      Effect.gen(function*() {
        const first = new Set<number>()
        for (let seed = 1; seed <= 50; seed++) {
          const { nodes, now, picker } = yield* Traffic.make(seed)
          const list = nodes(10)
          first.add(list.indexOf(picker(strategy, list).pick(now())!))
        }
        assert.isAtLeast(first.size, 8)
      }))
  }
})

describe("one slow instance of ten", () => {
  it.effect("has little of the traffic and harms few calls: peak-ewma", () =>
    Effect.gen(function*() {
      const late = (latencies: ReadonlyArray<number>) =>
        latencies.toSorted((left, right) => left - right)[Math.floor(latencies.length * 0.95)]!
      const { nodes, picker, run } = yield* Traffic.make(21)
      fc.assert(
        fc.property(fc.constantFrom(50, 100, 500, 2_000), (rate) => {
          const list = nodes(10)
          const load: Traffic.Load = {
            duration: 30_000_000 / rate,
            rate,
            latency: (node, random) => Traffic.exponential(node === list[0] ? 200 : 20, random)
          }
          const { counts, latencies } = run(picker("peak-ewma", list), load)
          const without = run(picker("peak-ewma", nodes(9)), load)
          assert.isBelow(Traffic.share(counts, list[0]!), 0.015)
          assert.isBelow(late(latencies) / late(without.latencies), 1.1)
        }),
        { numRuns: 4 }
      )
    }))
})

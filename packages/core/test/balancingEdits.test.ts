import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import { instance, key } from "./fixtures/Fleet.ts"

type Step =
  | { readonly edit: "inserted"; readonly which: number; readonly weight: number; readonly cost: number }
  | { readonly edit: "removed"; readonly which: number }
  | { readonly edit: "weighed"; readonly which: number; readonly weight: number; readonly cost: number }
  | { readonly edit: "none"; readonly picks: number }

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.oneof(
    fc.record({
      edit: fc.constant("inserted" as const),
      which: fc.nat(30),
      weight: fc.constantFrom(1, 1, 2, 5),
      cost: fc.nat(2)
    }),
    fc.record({ edit: fc.constant("removed" as const), which: fc.nat(30) }),
    fc.record({
      edit: fc.constant("weighed" as const),
      which: fc.nat(30),
      weight: fc.constantFrom(1, 1, 2, 5),
      cost: fc.nat(2)
    }),
    fc.record({ edit: fc.constant("none" as const), picks: fc.nat(20) })
  ),
  { maxLength: 60 }
)

/** A sorted list that is edited in place, and a picker that is told of it. */
const edited = (balancer: Balancer.Balancer["Service"], strategy: Balancer.StrategyName, all: ReadonlyArray<Step>) => {
  const picker = balancer.picker(strategy)
  const nodes: Array<Balancer.Node> = []
  picker.update(nodes)
  const record = (which: number, weight: number, cost: number) => {
    const id = `n${which.toString().padStart(2, "0")}`
    return balancer.node(key(id), instance(id, { weight, cost: { perCall: cost } }))
  }
  for (const step of all) {
    if (step.edit === "none") {
      for (let pick = 0; pick < step.picks; pick++) picker.pick(0, "caller")
      continue
    }
    const known = nodes[step.which % nodes.length]
    if (step.edit === "inserted") {
      if (nodes.some((node) => node.key === key(`n${step.which.toString().padStart(2, "0")}`))) continue
      const node = record(step.which, step.weight, step.cost)
      const index = nodes.filter((other) => other.key < node.key).length
      nodes.splice(index, 0, node)
      picker.edited("inserted", index, node)
    } else if (known !== undefined) {
      const index = nodes.indexOf(known)
      if (step.edit === "removed") nodes.splice(index, 1)
      else record(Number(known.instance.id.slice(1)), step.weight, step.cost)
      picker.edited(step.edit, index, known)
    }
  }
  return { nodes, picker }
}

const counted = (picker: Balancer.Picker, picks: number, of = "") => {
  const counts = new Map<Balancer.Node, number>()
  for (let pick = 0; pick < picks; pick++) {
    const node = picker.pick(0, of === "" ? `caller ${pick}` : of)
    if (node !== undefined) counts.set(node, (counts.get(node) ?? 0) + 1)
  }
  return counts
}

/** Runs the property for a strategy with balancers of their own. */
const law = (
  strategy: Balancer.StrategyName,
  check: (made: ReturnType<typeof edited>, balancer: Balancer.Balancer["Service"]) => void
) =>
  Effect.gen(function*() {
    const run = yield* Effect.context<never>()
    fc.assert(
      fc.property(steps, (all) => {
        const balancer = Effect.runSyncWith(run)(Balancer.make())
        check(edited(balancer, strategy, all), balancer)
      }),
      { numRuns: 60 }
    )
  })

describe("a list that is edited in place", () => {
  for (const strategy of Balancer.strategyNames) {
    it.effect(`${strategy}: gives nobody who is gone, and finds everybody who is there`, () =>
      law(strategy, ({ nodes, picker }) => {
        const seen = new Set<Balancer.Node>()
        // One after the other is full, so that the next one has to be found.
        for (let pick = 0; pick < nodes.length; pick++) {
          const node = picker.pick(0, "caller", Array.from(seen))
          assert.isDefined(node)
          if (node !== undefined) seen.add(node)
        }
        assert.deepStrictEqual(Array.from(seen, ({ key }) => key).toSorted(), nodes.map(({ key }) => key))
        assert.isUndefined(picker.pick(0, "caller", Array.from(seen)))
      }))
  }

  it.effect("round-robin: everybody has a turn in a round", () =>
    law("round-robin", ({ nodes, picker }) => {
      const counts = counted(picker, nodes.length)
      for (const node of nodes) assert.strictEqual(counts.get(node), 1)
    }))

  it.effect("weighted-round-robin: everybody has the turns of its weight in rounds, one more or less", () =>
    law("weighted-round-robin", ({ nodes, picker }) => {
      const weights = nodes.reduce((sum, { weight }) => sum + weight, 0)
      const counts = counted(picker, 20 * weights)
      for (const node of nodes) assert.approximately(counts.get(node) ?? 0, 20 * node.weight, 1 + node.weight)
    }))

  for (const strategy of ["random", "weighted-random", "p2c", "health-weighted", "least-requests"] as const) {
    it.effect(`${strategy}: everybody gets its share`, () =>
      law(strategy, ({ nodes, picker }) => {
        const weighs = strategy !== "random"
        const weights = nodes.reduce((sum, { weight }) => sum + (weighs ? weight : 1), 0)
        const picks = 2_000
        const counts = counted(picker, picks)
        for (const node of nodes) {
          const expected = picks * (weighs ? node.weight : 1) / weights
          // Six standard deviations of a draw.
          assert.approximately(counts.get(node) ?? 0, expected, 1 + 6 * Math.sqrt(expected))
        }
      }))
  }

  it.effect("lowest-cost: the cheapest, whatever the costs were before", () =>
    law("lowest-cost", ({ nodes, picker }) => {
      const least = Math.min(...nodes.map(({ instance }) => instance.cost?.perCall ?? Infinity))
      for (const node of counted(picker, 20).keys()) assert.strictEqual(node.instance.cost?.perCall, least)
    }))

  it.effect("B9: consistent-hash: a key goes where it goes with a new list", () =>
    law("consistent-hash", ({ nodes, picker }, balancer) => {
      const fresh = balancer.picker("consistent-hash")
      fresh.update(nodes)
      for (let caller = 0; caller < 20; caller++) {
        assert.strictEqual(picker.pick(0, `caller ${caller}`), fresh.pick(0, `caller ${caller}`))
      }
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import * as Traffic from "./fixtures/Traffic.ts"

const most = 12

type Step =
  | { readonly do: "pick"; readonly key: string | undefined; readonly first: boolean; readonly rehearsed: number }
  | { readonly do: "end"; readonly which: number; readonly latency: number; readonly outcome: Traffic.Outcome }
  | { readonly do: "update"; readonly listed: ReadonlyArray<boolean> }
  | { readonly do: "edit"; readonly which: number; readonly weight: number }
  | { readonly do: "welcome"; readonly which: number }
  | { readonly do: "pass"; readonly millis: number }

const pick: fc.Arbitrary<Step> = fc.record({
  do: fc.constant("pick"),
  key: fc.option(fc.constantFrom("one", "two", "three"), { nil: undefined }),
  first: fc.boolean(),
  rehearsed: fc.integer({ min: 1, max: 6 })
})

const steps: fc.Arbitrary<ReadonlyArray<Step>> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: pick },
    {
      weight: 4,
      arbitrary: fc.record({
        do: fc.constant("end"),
        which: fc.nat(),
        latency: fc.integer({ min: 1, max: 4_000 }),
        outcome: fc.constantFrom("success", "success", "failure", "ignored")
      })
    },
    {
      weight: 1,
      arbitrary: fc.record({
        do: fc.constant("update"),
        listed: fc.array(fc.boolean(), { minLength: most, maxLength: most })
      })
    },
    {
      weight: 2,
      arbitrary: fc.record({ do: fc.constant("edit"), which: fc.nat(), weight: fc.integer({ min: 1, max: 9 }) })
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("welcome"), which: fc.nat() }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("pass"), millis: fc.integer({ min: 1, max: 5_000 }) }) }
  ),
  { minLength: 40, maxLength: 80 }
)

describe("a rehearsed pick", () => {
  for (const strategy of Balancer.strategyNames) {
    it.effect(`is the next real one and leaves no trace: ${strategy}`, () =>
      Effect.gen(function*() {
        const { balancer, nodes, now, pass } = yield* Traffic.make(7)
        let rehearsals = 0
        fc.assert(
          fc.property(steps, (steps) => {
            const all = nodes(most, (index) => ({
              weight: [0, 1, 1, 2, 5][index % 5]!,
              limits: { maxConcurrency: 1 + index % 4 }
            }))
            const picker = balancer.picker(strategy, {
              score: (node) => 0.5 + node.inFlight / 10,
              match: (node) => node.weight % 2
            })
            let list = all.filter(({ weight }) => weight > 0)
            picker.update(list)
            // In place: one that is listed goes or gets another weight, another one comes.
            const edit = (node: Balancer.Node, weight: number) => {
              const place = list.indexOf(node)
              if (place < 0) {
                if (node.weight === 0) return
                list.splice(weight % (list.length + 1), 0, node)
                picker.edited("inserted", list.indexOf(node), node)
              } else if (weight > 5) {
                list.splice(place, 1)
                picker.edited("removed", place, node)
              } else {
                node.weight = weight
                picker.edited("weighed", place, node)
              }
            }
            const running: Array<Balancer.Node> = []
            for (const step of steps) {
              if (step.do === "end") {
                const [node] = running.length === 0 ? [] : running.splice(step.which % running.length, 1)
                if (node !== undefined) balancer.end(node, step.latency, step.outcome, now())
              } else if (step.do === "update") {
                list = all.filter((node, index) => step.listed[index] === true && node.weight > 0)
                picker.update(list)
              } else if (step.do === "edit") edit(all[step.which % most]!, step.weight)
              else if (step.do === "welcome") balancer.welcome(all[step.which % most]!, now())
              else if (step.do === "pass") pass(step.millis)
              else {
                const except = step.first ? undefined : running.slice(-2)
                const before = all.map((node) => ({ ...node }))
                const restores = [balancer.save(), picker.save()]
                const rehearsed = picker.pick(now(), step.key, except)
                for (let times = 1; times < step.rehearsed; times++) picker.pick(now(), step.key)
                for (const restore of restores) restore()
                assert.deepStrictEqual(all.map((node) => ({ ...node })), before)
                const picked = picker.pick(now(), step.key, except)
                assert.strictEqual(picked, rehearsed)
                rehearsals++
                if (picked === undefined) continue
                assert.include(list, picked)
                if (except !== undefined) assert.notInclude(except, picked)
                balancer.begin(picked)
                running.push(picked)
              }
            }
            for (const node of running) balancer.end(node, 1, "ignored", now())
          }),
          { numRuns: 60 }
        )
        assert.isAtLeast(rehearsals, 1_000)
      }))
  }
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import { instance, key } from "./fixtures/Fleet.ts"

type Fields = Parameters<typeof instance>[1]

const node = (balancer: Balancer.Balancer["Service"], id: string, fields: Fields = {}) =>
  balancer.node(key(id), instance(id, fields))

const weights = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 })

describe("weighted-round-robin", () => {
  it.effect("gives a node whose weight grew its turn soon", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const slow = node(balancer, "slow", { weight: 0.0001 })
      const other = node(balancer, "other")
      const picker = balancer.picker("weighted-round-robin")
      picker.update([slow, other])
      picker.pick()
      picker.update([node(balancer, "slow", { weight: 1 }), other])
      const picked = Array.from({ length: 4 }, () => picker.pick())
      assert.include(picked, slow)
    }))
})

describe("health-weighted", () => {
  it.effect("prefers the healthier, asks again once a second, and serves where all scores are 0", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const good = node(balancer, "good")
      const bad = node(balancer, "bad")
      const scores = new Map([[good, 0.9], [bad, 0.1]])
      let asked = 0
      const picker = balancer.picker("health-weighted", {
        match: () => 0,
        score: (node) => {
          asked++
          return scores.get(node) ?? 0
        }
      })
      picker.update([good, bad])
      const share = () => Array.from({ length: 10_000 }, () => picker.pick()).filter((each) => each === bad).length
      assert.closeTo(share(), 1_000, 200)
      assert.strictEqual(asked, 2)
      scores.set(bad, 0.9)
      yield* TestClock.adjust("1 second")
      assert.closeTo(share(), 5_000, 400)
      assert.strictEqual(asked, 4)
      scores.clear()
      yield* TestClock.adjust("1 second")
      assert.closeTo(share(), 5_000, 400)
    }))
})

describe("lowest-cost", () => {
  it.effect("takes the cheapest that is free; who names no cost comes last", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const limits = { maxConcurrency: 1 }
      const nodes = [
        node(balancer, "unknown"),
        node(balancer, "dear", { cost: { perCall: 0.5 }, limits }),
        node(balancer, "cheap", { cost: { perCall: 0.1 }, limits }),
        node(balancer, "frugal", { cost: { perCall: 0.1 }, limits })
      ]
      const picker = balancer.picker("lowest-cost")
      picker.update(nodes)
      const order = Array.from({ length: 5 }, () => {
        const picked = picker.pick()!
        balancer.begin(picked)
        return picked.instance.id
      })
      assert.sameMembers(order.slice(0, 2), ["cheap", "frugal"])
      assert.deepStrictEqual(order.slice(2), ["dear", "unknown", "unknown"])
    }))
})

describe("capability-match", () => {
  it.effect("takes the closest match, then the next", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const [specialist, generalist] = [
        node(balancer, "specialist", { limits: { maxConcurrency: 1 } }),
        node(balancer, "generalist")
      ]
      const picker = balancer.picker("capability-match", {
        score: () => 1,
        match: (node) => node === specialist ? 1 : 0.25
      })
      picker.update([generalist, specialist])
      for (let pick = 0; pick < 10; pick++) assert.strictEqual(picker.pick(), specialist)
      balancer.begin(specialist)
      assert.strictEqual(picker.pick(), generalist)
    }))
})

describe("consistent-hash", () => {
  const keys = Array.from({ length: 2_000 }, (_, index) => `caller-${index}`)
  const owners = (balancer: Balancer.Balancer["Service"], nodes: ReadonlyArray<Balancer.Node>) => {
    const picker = balancer.picker("consistent-hash")
    picker.update(nodes)
    return new Map(keys.map((key) => [key, picker.pick(undefined, key)]))
  }

  it.effect("B9: moves the keys of a node that goes and no other, and back when it returns, in any order of the list", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      fc.assert(
        fc.property(weights, fc.nat(), fc.boolean(), (list, chosen, reversed) => {
          const nodes = list.map((weight, index) => node(balancer, `n${index}`, { weight }))
          const gone = nodes[chosen % nodes.length]!
          const before = owners(balancer, nodes)
          const rest = nodes.filter((each) => each !== gone)
          const during = owners(balancer, reversed ? rest.toReversed() : rest)
          for (const [key, owner] of before) {
            if (owner !== gone) assert.strictEqual(during.get(key), owner)
            else if (rest.length > 0) assert.notStrictEqual(during.get(key), gone)
          }
          assert.deepStrictEqual(owners(balancer, nodes.toReversed()), before)
        }),
        { numRuns: 20 }
      )
    }))

  it.effect("gives each node its share of the keys", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const nodes = [1, 1, 2].map((weight, index) => node(balancer, `n${index}`, { weight }))
      const counts = new Map<Balancer.Node | undefined, number>()
      for (const owner of owners(balancer, nodes).values()) counts.set(owner, (counts.get(owner) ?? 0) + 1)
      for (const each of nodes) assert.closeTo(counts.get(each) ?? 0, each.weight * 500, 100)
    }))

  it.effect("B10: never gives a node more than its bound, even where all calls have one key", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      fc.assert(fc.property(weights, fc.integer({ min: 1, max: 200 }), (list, calls) => {
        const nodes = list.map((weight, index) => node(balancer, `bound${index}`, { weight }))
        for (const each of nodes) each.inFlight = 0
        const total = nodes.reduce((sum, { weight }) => sum + weight, 0)
        const picker = balancer.picker("consistent-hash")
        picker.update(nodes)
        for (let call = 1; call <= calls; call++) {
          balancer.begin(picker.pick(undefined, "the one key")!)
          for (const each of nodes) {
            assert.isAtMost(each.inFlight, Math.max(1, Math.ceil(1.25 * call * each.weight / total)))
          }
        }
      }))
    }))

  it.effect("lets some of the keys go elsewhere while their node starts slowly, and each of them always or never", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const nodes = ["a", "b", "c", "d"].map((id) => node(balancer, id))
      const before = owners(balancer, nodes)
      const at = balancer.now()
      balancer.welcome(nodes[0]!, at - 5_000)
      const during = owners(balancer, nodes)
      for (let time = 0; time < 5; time++) assert.deepStrictEqual(owners(balancer, nodes), during)
      const owned = keys.filter((key) => before.get(key) === nodes[0])
      const kept = owned.filter((key) => during.get(key) === nodes[0])
      // Half of its share, of a mean of seven eighths.
      assert.closeTo(kept.length / owned.length, 4 / 7, 0.08)
      for (const key of keys) if (before.get(key) !== nodes[0]) assert.strictEqual(during.get(key), before.get(key))
    }))

  it.effect("spreads calls without a key", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const nodes = [node(balancer, "a"), node(balancer, "b")]
      const picker = balancer.picker("consistent-hash")
      picker.update(nodes)
      const picked = new Set(Array.from({ length: 50 }, () => picker.pick()))
      assert.strictEqual(picked.size, 2)
    }))
})

describe("reconfigure", () => {
  it.effect("changes the default strategy and keeps what is known of the nodes", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make({ strategy: "random" })
      const one = node(balancer, "a")
      balancer.begin(one)
      yield* balancer.reconfigure({ strategy: "lowest-cost" })
      assert.strictEqual(balancer.strategy(), "lowest-cost")
      assert.strictEqual(node(balancer, "a").inFlight, 1)
      yield* balancer.reconfigure({})
      assert.strictEqual(balancer.strategy(), "peak-ewma")
    }))
})

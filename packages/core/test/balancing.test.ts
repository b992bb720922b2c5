import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as Balancer from "../src/Balancer.ts"
import { xorshift } from "../src/internal/xorshift.ts"
import { instance, key } from "./fixtures/Fleet.ts"

const names = Balancer.strategyNames

const nodes = (balancer: Balancer.Balancer["Service"], count: number, fields: Parameters<typeof instance>[1] = {}) =>
  Array.from({ length: count }, (_, index) => balancer.node(key(`i${index}`), instance(`i${index}`, fields)))

const picker = (
  balancer: Balancer.Balancer["Service"],
  strategy: Balancer.StrategyName,
  list: ReadonlyArray<Balancer.Node>
) => {
  const made = balancer.picker(strategy)
  made.update(list)
  return made
}

/** How often each node is picked, when each call is over before the next begins and takes what `latency` says. */
const shares = (
  balancer: Balancer.Balancer["Service"],
  made: Balancer.Picker,
  picks: number,
  latency: (node: Balancer.Node) => number = () => 10,
  outcome: (node: Balancer.Node) => "success" | "failure" = () => "success"
): Map<string, number> => {
  const counts = new Map<string, number>()
  for (let pick = 0; pick < picks; pick++) {
    const node = made.pick()!
    counts.set(node.instance.id, (counts.get(node.instance.id) ?? 0) + 1)
    balancer.begin(node)
    balancer.end(node, latency(node), outcome(node))
  }
  return counts
}

describe("every strategy", () => {
  for (const strategy of names) {
    describe(strategy, () => {
      it.effect("picks nobody of none and the one of one", () =>
        Effect.gen(function*() {
          const balancer = yield* Balancer.make()
          const made = balancer.picker(strategy)
          assert.isUndefined(made.pick())
          const [only] = nodes(balancer, 1)
          made.update([only!])
          assert.strictEqual(made.pick(), only)
          made.update([])
          assert.isUndefined(made.pick())
        }))

      it.effect("picks among the list, never above a cap, and somebody while one is free", () =>
        Effect.gen(function*() {
          const balancer = yield* Balancer.make()
          fc.assert(fc.property(
            fc.array(fc.record({ cap: fc.integer({ min: 1, max: 3 }), inFlight: fc.integer({ min: 0, max: 3 }) }), {
              maxLength: 8
            }),
            (states) => {
              const list = states.map(({ cap, inFlight }, index) => {
                const node = balancer.node(
                  key(`n${index}`),
                  instance(`n${index}`, { limits: { maxConcurrency: cap } })
                )
                node.inFlight = Math.min(inFlight, cap)
                return node
              })
              const made = picker(balancer, strategy, list)
              const free = list.filter((node) => node.inFlight < node.maxConcurrency)
              for (let pick = 0; pick < 20; pick++) {
                const node = made.pick()
                if (free.length === 0) assert.isUndefined(node)
                else assert.include(free, node)
              }
            }
          ))
        }))

      it.effect("leaves out those that it is told to, and finds the one that is left", () =>
        Effect.gen(function*() {
          const balancer = yield* Balancer.make()
          fc.assert(fc.property(
            fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 30 }),
            fc.nat(),
            fc.option(fc.string(), { nil: undefined }),
            (weights, chosen, hashKey) => {
              const list = weights.map((weight, index) =>
                balancer.node(key(`n${index}`), instance(`n${index}`, { weight }))
              )
              const made = picker(balancer, strategy, list)
              const left = list[chosen % list.length]!
              assert.strictEqual(made.pick(undefined, hashKey, list.filter((node) => node !== left)), left)
              assert.isUndefined(made.pick(undefined, hashKey, list))
              assert.notStrictEqual(made.pick(undefined, hashKey, [left]), left)
            }
          ))
        }))

      it.effect("gives no traffic to a weight of 0", () =>
        Effect.gen(function*() {
          const balancer = yield* Balancer.make()
          const list = [...nodes(balancer, 3), balancer.node(key("zero"), instance("zero", { weight: 0 }))]
          const made = picker(balancer, strategy, list)
          assert.isUndefined(shares(balancer, made, 200).get("zero"))
          made.update(list.slice(3))
          assert.isUndefined(made.pick())
        }))

      it.effect("spreads evenly over equals", () =>
        Effect.gen(function*() {
          const balancer = yield* Balancer.make()
          const made = picker(balancer, strategy, nodes(balancer, 5))
          const counts = shares(balancer, made, 20_000)
          for (const count of counts.values()) assert.closeTo(count, 4_000, 400)
          assert.strictEqual(counts.size, 5)
        }))
    })
  }
})

describe("round-robin", () => {
  it.effect("goes on with the next node, not the next position, whatever comes and goes", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      fc.assert(fc.property(
        fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 7 }), { minLength: 1 }), { minLength: 1, maxLength: 10 }),
        fc.integer({ min: 0, max: 10 }),
        (lists, between) => {
          const all = nodes(balancer, 8)
          const made = balancer.picker("round-robin")
          let before: ReadonlyArray<Balancer.Node> = []
          let last: Balancer.Node | undefined
          for (const list of lists) {
            const now = list.toSorted((a, b) => a - b).map((index) => all[index]!)
            made.update(now)
            const picked = made.pick()!
            if (last !== undefined) {
              // The first of those that were to come next and are still there.
              const at = before.indexOf(last)
              const order = [...before.slice(at + 1), ...before.slice(0, at + 1)]
              const expected = order.find((node) => now.includes(node))
              if (expected !== undefined) assert.strictEqual(picked, expected)
            }
            last = picked
            for (let pick = 0; pick < between; pick++) last = made.pick()!
            before = now
          }
        }
      ))
    }))
})

describe("least-requests", () => {
  it.effect("picks the fewest in flight, relative to the weight", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      fc.assert(fc.property(
        fc.array(fc.record({ weight: fc.integer({ min: 1, max: 3 }), inFlight: fc.integer({ min: 0, max: 9 }) }), {
          minLength: 1,
          maxLength: 40
        }),
        (states) => {
          const list = states.map(({ inFlight, weight }, index) => {
            const node = balancer.node(key(`n${index}`), instance(`n${index}`, { weight }))
            node.inFlight = inFlight
            return node
          })
          const equal = states.every(({ weight }) => weight === states[0]!.weight)
          const picked = picker(balancer, "least-requests", list).pick()!
          // Of different weights, nobody else would be less busy even with the call.
          for (const other of list) {
            if (equal) assert.isAtLeast(other.inFlight, picked.inFlight)
            else if (other !== picked) {
              assert.isAtLeast((other.inFlight + 1) / other.weight, picked.inFlight / picked.weight)
            }
          }
        }
      ))
    }))
})

describe("p2c", () => {
  it.effect("gives a weight its share under load", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const light = balancer.node(key("light"), instance("light", { weight: 1 }))
      const heavy = balancer.node(key("heavy"), instance("heavy", { weight: 3 }))
      const made = picker(balancer, "p2c", [light, heavy])
      for (let pick = 0; pick < 400; pick++) balancer.begin(made.pick()!)
      assert.closeTo(heavy.inFlight, 300, 5)
    }))
})

describe("peak-ewma", () => {
  it.effect("B3: gives little to one that fails fast, though nobody ejects it", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const list = nodes(balancer, 4)
      const made = picker(balancer, "peak-ewma", list)
      for (let second = 0; second < 60; second++) {
        shares(
          balancer,
          made,
          100,
          (node) => node === list[0] ? 1 : 50,
          (node) => node === list[0] ? "failure" : "success"
        )
        yield* TestClock.adjust("1 second")
      }
      // 6,000 calls, of which a fair share is 1,500.
      assert.isBelow(list[0]!.picks, 300)
      assert.isAtLeast(list[0]!.picks, 10)
    }))

  it.effect("B4: tries a node that was bad again within 3 s, and comes back to it", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const list = nodes(balancer, 3)
      const made = picker(balancer, "peak-ewma", list)
      for (const node of list) {
        balancer.begin(node)
        balancer.end(node, node === list[0] ? 5_000 : 10, "success")
      }
      assert.isUndefined(shares(balancer, made, 300).get("i0"))
      yield* TestClock.adjust("3100 millis")
      const soon = shares(balancer, made, 1_000).get("i0") ?? 0
      assert.isAtLeast(soon, 1)
      for (let second = 0; second < 90; second++) {
        shares(balancer, made, 100)
        yield* TestClock.adjust("1 second")
      }
      assert.closeTo(shares(balancer, made, 3_000).get("i0") ?? 0, 1_000, 200)
    }))

  it.effect("knows who is slow where every thousandth call fails, and forgives a failure soon", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const list = nodes(balancer, 10)
      const made = picker(balancer, "peak-ewma", list)
      const latency = (node: Balancer.Node) => node === list[0] ? 200 : 20
      let calls = 0
      for (let second = 0; second < 60; second++) {
        shares(balancer, made, 500, latency, () => ++calls % 1_000 === 0 ? "failure" : "success")
        yield* TestClock.adjust("1 second")
      }
      assert.isBelow(list[0]!.picks, 0.015 * 30_000)
      const before = list[1]!.picks
      balancer.begin(list[1]!)
      balancer.end(list[1]!, 1, "failure")
      for (let second = 0; second < 10; second++) {
        shares(balancer, made, 500, latency)
        yield* TestClock.adjust("1 second")
      }
      assert.isAbove(list[1]!.picks - before, 0.5 * 5_000 / 9)
    }))

  it.effect("doesn't force the worse of two again and again where calls are rare", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const [slow, fast] = nodes(balancer, 2)
      const made = picker(balancer, "peak-ewma", [slow!, fast!])
      for (let call = 0; call < 100; call++) {
        shares(balancer, made, 1, (node) => node === slow ? 60_000 : 10)
        yield* TestClock.adjust("5 seconds")
      }
      assert.isBelow(slow!.picks, 25)
    }))

  it.effect("hears nothing good of an attempt that failed or was given up", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const [node] = nodes(balancer, 1)
      balancer.begin(node!)
      balancer.end(node!, 100, "success")
      for (const outcome of ["ignored", "failure"] as const) {
        const { latency } = node!
        yield* TestClock.adjust("10 seconds")
        balancer.begin(node!)
        balancer.end(node!, 1, outcome)
        assert.closeTo(node!.latency, latency / Math.E, 1e-9, "it fades as if there had been none")
        balancer.begin(node!)
        balancer.end(node!, 900, outcome)
        assert.strictEqual(node!.latency, 900)
      }
    }))
})

describe("a recovered node", () => {
  /** Two that are well known, of which the first was out with a call under way. */
  const recovered = Effect.gen(function*() {
    const balancer = yield* Balancer.make()
    const [back, other] = nodes(balancer, 2)
    const made = picker(balancer, "peak-ewma", [back!, other!])
    for (const node of [back!, other!]) {
      balancer.begin(node)
      balancer.end(node, 20, "success")
    }
    balancer.begin(back!)
    yield* TestClock.adjust("30 seconds")
    balancer.welcome(back!, balancer.now())
    return { balancer, back: back!, other: other!, made }
  })

  it.effect("isn't judged by calls that began before: not by how long they took, nor by how they ended", () =>
    Effect.gen(function*() {
      for (const outcome of ["success", "failure", "ignored"] as const) {
        const { back, balancer } = yield* recovered
        yield* TestClock.adjust("1 second")
        balancer.end(back, 31_000, outcome)
        assert.include(back, { latency: 0, failing: 0 })
        assert.strictEqual(back.calls, outcome === "ignored" ? 1 : 2, "they count all the same")
        balancer.begin(back)
        balancer.end(back, 25, "success")
        assert.strictEqual(back.latency, 25)
      }
    }))

  it.effect("B2: is tried once before it is heard of, however fast it was", () =>
    Effect.gen(function*() {
      const { back, balancer, made, other } = yield* recovered
      balancer.end(back, 30_000, "success")
      const before = back.picks
      for (let pick = 0; pick < 1_000; pick++) {
        const node = made.pick()!
        balancer.begin(node)
        if (node === other) balancer.end(node, 20, "success")
      }
      assert.strictEqual(back.picks, before + 1)
    }))
})

describe("nodes", () => {
  it.effect("with another endpoint are new ones: nothing is known of them, and they start slowly", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const [node] = nodes(balancer, 1)
      node!.routable = true
      balancer.begin(node!)
      balancer.begin(node!)
      balancer.end(node!, 5_000, "failure")
      const endpoint = { transport: "streamable-http", url: "http://elsewhere.test/mcp" } as const
      assert.strictEqual(balancer.node(node!.key, instance("i0", { version: "2.0.0" })), node)
      assert.include(node, { latency: 5_000, routable: true })
      assert.strictEqual(balancer.node(node!.key, instance("i0", { endpoint })), node)
      assert.include(node, { latency: 0, failing: 0, routable: false, inFlight: 1, calls: 1 })
    }))

  it.effect("are forgotten once they are gone and idle, and not before", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const [node] = nodes(balancer, 1)
      balancer.begin(node!)
      balancer.forget(node!.key)
      assert.strictEqual(balancer.node(node!.key, node!.instance), node, "still in flight")
      balancer.forget(node!.key)
      balancer.end(node!, 1, "success")
      assert.notStrictEqual(balancer.node(node!.key, node!.instance), node, "forgotten with its last attempt")
      const [other] = nodes(balancer, 1)
      balancer.forget(other!.key)
      assert.notStrictEqual(balancer.node(other!.key, other!.instance), other)
    }))
})

describe("limit", () => {
  it.effect("holds for all that set none themselves, those that are there and those that come", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const node = (id: string, own?: number) =>
        balancer.node(key(id), instance(id, own === undefined ? {} : { limits: { maxConcurrency: own } }))
      const [plain, own] = [node("plain"), node("own", 7)]
      assert.deepStrictEqual([plain.maxConcurrency, own.maxConcurrency], [1_024, 7])
      balancer.limit(3)
      assert.deepStrictEqual([plain.maxConcurrency, own.maxConcurrency, node("late").maxConcurrency], [3, 7, 3])
      const made = picker(balancer, "round-robin", [plain])
      for (let call = 0; call < 3; call++) balancer.begin(made.pick()!)
      assert.isUndefined(made.pick())
    }))
})

describe("a success of which nobody knows how long it took", () => {
  it.effect("counts as a success and says nothing about the latency", () =>
    Effect.gen(function*() {
      const balancer = yield* Balancer.make()
      const [node] = nodes(balancer, 1)
      const end = (latency: number | undefined, outcome: "success" | "failure") => {
        balancer.begin(node!)
        balancer.end(node!, latency, outcome)
      }
      end(undefined, "success")
      assert.strictEqual(node!.latency, 0)
      end(50, "success")
      yield* TestClock.adjust("10 seconds")
      end(undefined, "success")
      assert.closeTo(node!.latency, 50 / Math.E, 0.001)
      assert.deepStrictEqual([node!.calls, node!.failures, node!.inFlight], [3, 0, 0])
      assert.deepStrictEqual([node!.total.calls, node!.total.latencies.reduce((sum, count) => sum + count)], [3, 1])
      end(undefined, "failure")
      assert.isTrue(node!.easing)
      for (let call = 0; call < 20; call++) end(undefined, "success")
      assert.isFalse(node!.easing)
    }))
})

describe("randomness", () => {
  it("is uniform and repeats with its seed", () => {
    const [one, same] = [xorshift(7), xorshift(7)]
    const buckets = Array.from({ length: 10 }, () => 0)
    for (let draw = 0; draw < 100_000; draw++) {
      const value = one()
      if (value !== same() || value < 0 || value >= 1) assert.fail(`draw ${draw}: ${value}`)
      buckets[Math.floor(value * 10)]!++
    }
    for (const count of buckets) assert.closeTo(count, 10_000, 400)
    assert.notStrictEqual(xorshift(0)(), 0)
  })
})

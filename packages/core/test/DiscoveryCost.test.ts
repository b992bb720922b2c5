import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as TestClock from "effect/testing/TestClock"
import { Source } from "../src/internal/discovery/source.ts"
import * as Registry from "../src/Registry.ts"
import { adding, instance, live, put, scripted } from "./fixtures/scripted.ts"

const many = () =>
  Array.from({ length: 10_000 }, (_, index) =>
    instance(`i${index}`, {
      service: `s${index % 100}`,
      capabilities: ["weather.current", `c${index % 50}`],
      tags: ["prod"],
      metadata: { rank: index }
    }))

describe("10,000 instances", () => {
  it("a snapshot that changes nothing costs less than 100 ms, in slices of less than 20 ms", () => {
    const source = new Source(scripted().registry, { grace: 60_000, damping: 0, gathering: 0 }, 0)
    let touched = new Set<string>()
    const take = () => {
      const snapshot = Registry.snapshot(many())
      source.begin()
      let longest = 0
      const begun = performance.now()
      const work = source.take(snapshot, 0)
      for (let last = begun, done = false; !done;) {
        done = work.next().done === true
        longest = Math.max(longest, performance.now() - last)
        last = performance.now()
      }
      source.settle(touched)
      const total = performance.now() - begun
      return { total, longest, changes: touched.size }
    }
    assert.strictEqual(take().changes, 10_000)
    touched = new Set()
    const rounds = Array.from({ length: 8 }, take)
    assert.isTrue(rounds.every(({ changes }) => changes === 0))
    // The best of some rounds: a busy machine is not our cost.
    assert.isBelow(Math.min(...rounds.map(({ total }) => total)), 100)
    assert.isBelow(Math.min(...rounds.map(({ longest }) => longest)), 20)
  })

  it.effect("a change of one touches its service alone", () =>
    Effect.gen(function*() {
      const script = scripted()
      script.first = Effect.succeed([Registry.snapshot(many())])
      const discovery = yield* adding(script)
      yield* discovery.ready
      const before = discovery.catalog()
      assert.strictEqual(HashMap.size(before.entries), 10_000)
      yield* script.emit(Registry.delta([put(instance("i7", { service: "s7", weight: 9 }))]))
      yield* TestClock.adjust("100 millis")
      const after = discovery.catalog()
      const touched = Array.from(after.services).filter(([name, service]) =>
        service !== HashMap.getUnsafe(before.services, name)
      )
      assert.deepStrictEqual(touched.map(([name]) => name), ["s7"])
      for (const [key, entry] of after.entries) {
        if (entry.instance.id !== "i7") assert.strictEqual(entry, HashMap.getUnsafe(before.entries, key))
      }
    }).pipe(Effect.provide(live())))
})

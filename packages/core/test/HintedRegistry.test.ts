import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as TestClock from "effect/testing/TestClock"
import * as Discovery from "../src/Discovery.ts"
import * as Registries from "../src/Registries.ts"
import { Backend, follow, pass } from "./fixtures/hinted.ts"
import { count, live } from "./fixtures/scripted.ts"

describe("HintedRegistry", () => {
  it.effect("begins with everything, page by page, and says what can't be read", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c", "d"]) backend.set(id)
      backend.set("e", "wrong")
      backend.set("f", "heavy")
      const registry = backend.registry()
      const session = yield* follow(registry)
      assert.deepStrictEqual(session.take(), [
        "Snapshot a b c d",
        "Reject e expected a text",
        "Reject f \"heavy\" is no weight"
      ])
      assert.strictEqual(backend.asked.pages, 2)
      assert.strictEqual((yield* registry.list).instances.length, 4)
      assert.strictEqual(backend.open, 1)
    }))

  it.effect("a hint is read, and what reads as before is no news", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      backend.set("a")
      const session = yield* follow(backend.registry())
      session.take()
      backend.put("a", "2")
      backend.put("b")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(session.take(), ["Put a 2", "Put b 1"])
      const { decoded } = backend.asked
      backend.put("a", "2")
      backend.hint("nobody")
      yield* TestClock.adjust(0)
      backend.put("b", "wrong")
      yield* TestClock.adjust(0)
      backend.put("b", "wrong")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(session.take(), ["Reject b expected a text"])
      assert.strictEqual(backend.asked.decoded, decoded)
      backend.put("b", "3")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(session.take(), ["Put b 3"])
    }))

  it.effect("hints that come while something is read are one reading", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const session = yield* follow(backend.registry())
      backend.latency = "20 millis"
      backend.put("a")
      yield* TestClock.adjust("1 millis")
      for (let n = 2; n < 100; n++) backend.put("a", String(n))
      backend.put("b")
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(backend.asked.reads, [["a"], ["a", "b"]])
      assert.deepStrictEqual(session.take(), ["Snapshot", "Put a 1", "Put a 99", "Put b 1"])
    }))

  it.effect("a record is read when its time is over: gone it has expired, renewed it is no news", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c"]) backend.set(id, "1", 5_000)
      const session = yield* follow(backend.registry({ every: "1 hour" }))
      yield* pass(backend, 4_000)
      backend.deregister("c")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(session.take(), ["Snapshot a b c", "Removed c deregistered"])
      backend.asked.reads.length = 0
      // A heartbeat, of which nobody is told.
      backend.set("b", "1", 5_000)
      assert.deepStrictEqual(backend.asked.reads, [])
      yield* pass(backend, 1_200)
      assert.deepStrictEqual(backend.asked.reads, [["a", "b"]])
      assert.deepStrictEqual(session.take(), ["Removed a expired"])
      yield* pass(backend, 3_500)
      assert.deepStrictEqual(session.take(), [])
      yield* pass(backend, 500)
      assert.deepStrictEqual(session.take(), ["Removed b expired"])
    }))

  it.effect("what no message told is found by the next reading of everything", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c", "d", "e"]) backend.set(id)
      const session = yield* follow(backend.registry({ every: "10 seconds" }))
      session.take()
      backend.set("a", "2")
      backend.delete("b")
      backend.set("f")
      yield* pass(backend, 8_900)
      assert.deepStrictEqual(session.take(), [])
      yield* pass(backend, 2_200)
      assert.deepStrictEqual(session.take().sort(), ["Put a 2", "Put f 1", "Removed b expired"])
    }))

  it.effect("R9 what a page misses is gone only if reading it finds nothing; what it names twice is there once", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c", "d"]) backend.set(id)
      const session = yield* follow(backend.registry({ every: "1 second" }))
      backend.moving.add("b")
      backend.moving.add("c")
      backend.delete("c")
      yield* pass(backend, 1_200)
      assert.deepStrictEqual(session.take(), ["Snapshot a b c d", "Removed c expired"])
      assert.deepStrictEqual(backend.asked.reads, [["b", "c"]])
    }))

  it.effect("R9 what is written anew between two pages of the beginning is there once, as it is now", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      backend.pageSize = 1
      backend.latency = "10 millis"
      for (const id of ["a", "b"]) backend.set(id)
      const session = yield* follow(backend.registry())
      yield* TestClock.adjust("5 millis")
      // On the second page now, and `b` on the first, which was read.
      backend.delete("a")
      backend.set("a", "2")
      yield* TestClock.adjust("50 millis")
      assert.deepStrictEqual(session.take(), ["Snapshot a"])
      assert.strictEqual(session.view.get("a"), "2")
    }))

  it.effect("R9 a new session asks for what the last one knew and no page names", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c"]) backend.set(id)
      const registry = backend.registry()
      yield* (yield* follow(registry)).end
      backend.moving.add("b")
      backend.delete("c")
      const session = yield* follow(registry)
      assert.deepStrictEqual(session.take(), ["Snapshot a b"])
      assert.deepStrictEqual((yield* registry.list).instances.map(({ id }) => id), ["a", "b"])
    }))

  it.effect("a removal is proven by whoever told of it, if the record is gone", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c"]) backend.set(id)
      const session = yield* follow(backend.registry())
      session.take()
      backend.deregister("a")
      // The key's own message comes after ours.
      backend.hint("a")
      backend.hint("b", true)
      backend.delete("c")
      backend.hint("c")
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(session.take(), ["Removed a deregistered", "Removed c expired"])
      // It may be held since it was missed.
      backend.hint("c", true)
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(session.take(), ["Removed c deregistered"])
    }))

  it.effect("a removal that is told between a question and its answer is proven", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      backend.set("a")
      const session = yield* follow(backend.registry())
      session.take()
      backend.latency = "10 millis"
      backend.delete("a")
      backend.hint("a")
      yield* TestClock.adjust("1 millis")
      backend.hint("a", true)
      yield* TestClock.adjust("9 millis")
      assert.deepStrictEqual(session.take(), ["Removed a deregistered"])
    }))

  it.effect("a removal that is told when the time is over anyway is proven", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      backend.set("a", "1", 5_000)
      const session = yield* follow(backend.registry({ every: "1 hour" }))
      yield* pass(backend, 4_900)
      backend.latency = "400 millis"
      backend.hint("b")
      yield* pass(backend, 50)
      // The question after this one is about both.
      backend.deregister("a")
      yield* pass(backend, 2_000)
      assert.deepStrictEqual(session.take(), ["Snapshot a", "Removed a deregistered"])
    }))

  it.effect("more hints than it keeps are a reading of everything", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      backend.pageSize = 50_000
      const session = yield* follow(backend.registry({ every: "1 hour" }))
      session.take()
      const { pages } = backend.asked
      backend.latency = "10 millis"
      backend.hint("first")
      yield* TestClock.adjust("1 millis")
      for (let n = 0; n < 10_001; n++) backend.put(`i${n}`)
      for (let waited = 0; session.view.size < 10_001 && waited < 1_000; waited += 10) yield* pass(backend, 10)
      assert.strictEqual(session.view.size, 10_001)
      assert.strictEqual(backend.asked.pages, pages + 1)
      assert.isBelow(backend.asked.reads.flat().length, 100)
    }))

  it.effect("too many hints while everything is read are another reading of everything", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (let n = 0; n < 10; n++) backend.set(`i${n}`)
      const session = yield* follow(backend.registry({ every: "1 hour" }))
      const flood = () => {
        for (let n = 0; n < 10_001; n++) backend.hint(`nobody${n}`)
      }
      backend.latency = "10 millis"
      const { pages } = backend.asked
      flood()
      for (let waited = 0; backend.asked.pages < pages + 2 && waited < 1_000; waited += 10) yield* pass(backend, 10)
      // On a page that was read already.
      backend.put("i0", "2")
      flood()
      yield* pass(backend, 200)
      assert.strictEqual(session.view.get("i0"), "2")
      assert.strictEqual(backend.asked.pages - pages, 8)
    }))

  it.effect("a hint doesn't wait until everything is read", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (let n = 0; n < 30; n++) backend.set(`i${n}`)
      const session = yield* follow(backend.registry({ every: "1 second" }))
      session.take()
      backend.latency = "10 millis"
      // Ten pages of 10 ms: one is under way.
      yield* pass(backend, 1_150)
      const { pages } = backend.asked
      backend.put("new")
      yield* pass(backend, 50)
      assert.include(session.take(), "Put new 1")
      assert.isBelow(backend.asked.pages - pages, 5)
    }))

  it.effect("a quiet session asks once a second, and reads everything at its interval", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (const id of ["a", "b", "c", "d"]) backend.set(id)
      const session = yield* follow(backend.registry({ every: "10 seconds" }))
      const before = { ...backend.asked }
      yield* pass(backend, 60_000)
      assert.deepStrictEqual(session.take(), ["Snapshot a b c d"])
      assert.approximately(backend.asked.pings - before.pings, 60, 1)
      // Two pages each, nine to eleven seconds apart.
      assert.approximately((backend.asked.pages - before.pages) / 2, 6, 1)
      assert.strictEqual(backend.asked.decoded, before.decoded)
      assert.deepStrictEqual(backend.asked.reads, [])
    }))

  it.effect("many short leases that end one after the other are at most ten readings a second", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (let n = 0; n < 200; n++) backend.set(`i${n}`, "1", 1_000 + 5 * n)
      const session = yield* follow(backend.registry({ every: "1 hour" }))
      yield* pass(backend, 3_000)
      assert.strictEqual(session.view.size, 0)
      assert.isAtMost(backend.asked.reads.length, 11)
    }))

  it.effect("a session ends when its connection is lost or nobody answers, and leaves nothing open", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      const registry = backend.registry()
      const lost = yield* follow(registry)
      backend.lose("the connection is reset")
      assert.include(String(Exit.isFailure(yield* lost.exit) && (yield* lost.exit)), "the connection is reset")
      const silent = yield* follow(registry)
      backend.breaks("no answer")
      yield* TestClock.adjust("1 second")
      assert.include(String(yield* silent.exit), "no answer")
      const ended = yield* follow(registry)
      yield* ended.end
      assert.strictEqual(backend.open, 0)
    }))

  it.effect("H5 what is wiped under a session is held; what is deregistered goes at once", () =>
    Effect.gen(function*() {
      const backend = new Backend()
      for (let n = 0; n < 8; n++) backend.set(`i${n}`)
      const discovery = yield* Discovery.Discovery
      yield* Effect.flatMap(Registries.Registries, (registries) => registries.add(backend.registry()))
      yield* TestClock.adjust("1 second")
      const kept = Array.from(backend.cells)
      backend.cells.clear()
      yield* TestClock.adjust("12 seconds")
      assert.strictEqual(count(discovery), 8)
      assert.include(discovery.catalog().sources.get("hinted"), { state: "connected", held: 8 })
      for (const [id, cell] of kept) backend.cells.set(id, cell)
      yield* TestClock.adjust("12 seconds")
      assert.include(discovery.catalog().sources.get("hinted"), { held: 0 })
      for (const [id] of kept) backend.deregister(id)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(count(discovery), 0)
    }).pipe(Effect.provide(live())))
})

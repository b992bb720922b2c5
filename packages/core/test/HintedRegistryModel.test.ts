import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { Backend, follow, pass } from "./fixtures/hinted.ts"

const id = fc.constantFrom("a", "b", "c", "d", "e", "f")
const step = fc.record({
  act: fc.constantFrom("put", "renew", "deregister", "delete", "move", "settle", "hint", "lie", "lose"),
  id,
  text: fc.constantFrom("1", "2", "3"),
  ttl: fc.constantFrom(700, 2_500, Infinity),
  /** How late the message of it comes; none: it is lost. */
  late: fc.constantFrom(0, 0, 30, 400, undefined),
  twice: fc.boolean(),
  wait: fc.constantFrom(0, 0, 10, 100, 1_200)
})

type Step = typeof step extends fc.Arbitrary<infer A> ? A : never

const program = Effect.fnUntraced(function*(steps: ReadonlyArray<Step>, pageSize: number, latency: number) {
  const backend = new Backend()
  backend.pageSize = pageSize
  const registry = backend.registry({ every: "2 seconds" })
  let session = yield* follow(registry)
  backend.latency = latency
  // Ids that somebody deregistered or said so of, and those that were there since they were last absent.
  const told = new Set<string>()
  const steady = new Set<string>()
  const check = () => {
    for (const line of session.take()) {
      const [what, id = "", how] = line.split(" ")
      if (what !== "Removed") continue
      assert.isFalse(steady.has(id), `${id} was there all the time`)
      if (how === "deregistered") assert.isTrue(told.has(id), `nobody deregistered ${id}`)
    }
  }
  for (const { act, id, late, text, ttl, twice, wait } of steps) {
    const message = (deregistered?: boolean) =>
      late === undefined ? Effect.void : Effect.forkChild(
        Effect.andThen(
          Effect.sleep(late),
          Effect.sync(() => {
            backend.hint(id, deregistered)
            if (twice) backend.hint(id, deregistered)
          })
        )
      )
    switch (act) {
      case "put":
      case "renew":
        if (ttl !== Infinity) steady.delete(id)
        backend.set(id, act === "put" ? text : backend.cells.get(id)?.text, ttl)
        yield* message()
        break
      case "deregister":
        told.add(id)
        steady.delete(id)
        backend.delete(id)
        yield* message(true)
        break
      case "delete":
        steady.delete(id)
        backend.delete(id)
        yield* message()
        break
      case "move":
        backend.moving.add(id)
        break
      case "settle":
        backend.moving.clear()
        break
      case "hint":
        yield* message()
        break
      case "lie":
        told.add(id)
        yield* message(true)
        break
      case "lose":
        backend.lose("reset")
        yield* pass(backend, 1)
        check()
        session = yield* follow(registry)
    }
    yield* pass(backend, wait)
    // What was removed or ran out may still be told of; what lives without end may not.
    check()
    yield* pass(backend, 500)
    check()
    for (const [id, { ends }] of backend.cells) {
      if (ends === Infinity && session.view.has(id)) steady.add(id)
      else steady.delete(id)
    }
  }
  backend.moving.clear()
  yield* pass(backend, 6_000)
  check()
  assert.deepStrictEqual(
    Array.from(session.view).sort(),
    Array.from(backend.truth()).sort()
  )
  yield* session.end
  assert.strictEqual(backend.open, 0)
})

describe("HintedRegistry, model", () => {
  it("whatever messages are lost, late or doubled: in the end it shows what is there, and nobody is gone who is there", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.integer({ min: 1, max: 4 }),
        fc.constantFrom(0, 5, 60),
        (steps, pageSize, latency) =>
          program(steps, pageSize, latency).pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.runPromise)
      ),
      { numRuns: 100 }
    ))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as WatchLines from "../src/internal/watchLines.ts"

const asked = { verb: "watch", resource: "services", namespace: "mcp" }

const line = (type: string, object: unknown) => `${JSON.stringify({ type, object })}\n`

const reader = () => {
  const read = WatchLines.reader(asked)
  return (text: string | Uint8Array) => read(typeof text === "string" ? new TextEncoder().encode(text) : text)
}

const failure = (text: string) => Effect.map(Effect.flip(reader()(text)), ({ anew, reason }) => [anew, reason])

describe("the lines of a watch", () => {
  it.effect("K9 however the bytes are cut, the events are the same", () =>
    Effect.promise(() =>
      fc.assert(fc.asyncProperty(
        fc.array(fc.string({ unit: "grapheme" }), { maxLength: 5 }),
        fc.array(fc.nat(200), { maxLength: 10 }),
        async (names, cuts) => {
          const objects = names.map((name, n) => ({ metadata: { name, resourceVersion: String(n) } }))
          const bytes = new TextEncoder().encode(objects.map((object) => line("ADDED", object)).join("\n"))
          const places = [0, ...cuts.filter((cut) => cut < bytes.length).toSorted((a, b) => a - b), bytes.length]
          const read = reader()
          const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
          const events = await Effect.runPromise(Effect.forEach(chunks, read))
          assert.deepStrictEqual(events.flat().map(({ object }) => object), objects)
        }
      ))
    ))

  it.effect("an error ends it: what can't be gone on from is read anew, what passes by isn't", () =>
    Effect.gen(function*() {
      const error = (code: number, message: string) => line("ERROR", { kind: "Status", code, message })
      assert.deepStrictEqual(yield* failure(error(410, "too old")), [
        true,
        `can't watch services in namespace "mcp": too old (HTTP 410)`
      ])
      for (const code of [429, 500, 503]) assert.strictEqual((yield* failure(error(code, "busy")))[0], false)
      assert.strictEqual((yield* failure(error(400, "?")))[0], true)
      assert.strictEqual((yield* failure(line("ERROR", "?")))[0], false)
    }))

  it.effect("what is no event is told as that, and one without end isn't waited for", () =>
    Effect.gen(function*() {
      const reason = "what came back for watch services can't be read; is this an API server of Kubernetes?"
      const wrong = [
        "<html>\n",
        line("RENAMED", {}),
        line("ADDED", {}),
        line("ADDED", null),
        `"${"x".repeat(9_000_000)}`
      ]
      for (const text of wrong) assert.deepStrictEqual(yield* failure(text), [true, reason])
    }))
})

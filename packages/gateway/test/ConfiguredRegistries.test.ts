import { assert, describe, it } from "@effect/vitest"
import { Discovery } from "@portolan/core/Discovery"
import * as Portolan from "@portolan/core/Portolan"
import { Registries } from "@portolan/core/Registries"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import { sameRegistry } from "../src/configuration/ConfigurationChanges.ts"
import * as ConfiguredRegistries from "../src/configuration/ConfiguredRegistries.ts"
import { counting, documents, parsed } from "./configurations.ts"

/** The registries of the first document, and how others are applied. */
const configured = (first: object) => {
  const { adapters, counts } = counting()
  const read = (document: object) => parsed(document, { adapters })
  const context = Layer.build(
    ConfiguredRegistries.layer(read(first)).pipe(Layer.provideMerge(Portolan.layer()))
  )
  return Effect.gen(function*() {
    const services = yield* context
    return yield* Effect.gen(function*() {
      const registries = yield* Registries
      const { apply } = yield* ConfiguredRegistries.ConfiguredRegistries
      return {
        counts,
        read,
        members: () => registries.members().map(({ registry }) => registry),
        names: () => registries.members().map(({ registry }) => registry.name),
        discovery: yield* Discovery,
        apply: (document: object) =>
          Effect.gen(function*() {
            const fiber = yield* Effect.forkChild(apply(read(document)), { startImmediately: true })
            yield* TestClock.adjust("4 seconds")
            return yield* Fiber.join(fiber)
          })
      }
    }).pipe(Effect.provideContext(services))
  })
}

const counted = (name: string, more: object = {}) => ({ type: "counted", name, ...more })
const server = (url: string) => ({ url })

describe("configured registries", () => {
  it("are those of the last configuration, and what stays the same isn't touched", () =>
    fc.assert(
      fc.asyncProperty(fc.array(documents, { minLength: 2, maxLength: 6 }), (all) =>
        Effect.gen(function*() {
          const [first = {}, ...rest] = all
          const { apply, counts, discovery, members, names, read } = yield* configured(first)
          let before = read(first)
          for (const document of rest) {
            const after = read(document)
            const known = new Map(members().map((registry) => [registry.name, registry]))
            const opened = new Map(counts.opened)
            assert.deepStrictEqual(yield* apply(document), [])
            const wanted = after.registries.map(({ name }) => name)
            assert.deepStrictEqual(names(), after.servers.length > 0 ? ["static", ...wanted] : wanted)
            for (const entry of after.registries) {
              const old = before.registries.find(({ name }) => name === entry.name)
              const same = old !== undefined && sameRegistry(old, entry)
              const member = members().find(({ name }) => name === entry.name)
              assert.strictEqual(member === known.get(entry.name), same, entry.name)
              assert.strictEqual((counts.opened.get(entry.name) ?? 0) - (opened.get(entry.name) ?? 0), same ? 0 : 1)
            }
            for (const [name, times] of counts.opened) {
              assert.strictEqual(times - (counts.closed.get(name) ?? 0), wanted.includes(name) ? 1 : 0, name)
            }
            const served = Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance)
            assert.sameDeepMembers(served, [...after.servers])
            before = after
          }
        }).pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.runPromise)),
      { numRuns: 60 }
    ))

  it.effect("servers are changed one by one, in one publication", () =>
    Effect.gen(function*() {
      const { apply, discovery } = yield* configured({
        mcpServers: { a: server("http://a.test"), b: server("http://b.test"), c: server("http://c.test") }
      })
      yield* TestClock.adjust("1 second")
      const updates: Array<ReadonlyArray<string>> = []
      yield* Effect.forkScoped(
        Stream.runForEach(
          Stream.drop(discovery.updates, 1),
          ({ changes }) =>
            Effect.sync(() => updates.push(changes.map(({ _tag, entry }) => `${_tag} ${entry.instance.id}`)))
        ),
        { startImmediately: true }
      )
      yield* TestClock.adjust(0)
      yield* apply({
        mcpServers: { a: server("http://a.test"), b: server("http://other.test"), d: server("http://d.test") }
      })
      assert.deepStrictEqual(updates, [["Updated b", "Added d", "Removed c"]])
    }))

  it.effect("one that can't be opened is named with its place; the one of its name and all others go on", () =>
    Effect.gen(function*() {
      const { apply, counts, members, names } = yield* configured({ registries: [counted("a"), counted("b")] })
      const [a, b] = members()
      const mistakes = yield* apply({
        registries: [counted("new", { broken: true }), counted("c"), counted("a", { broken: true }), counted("b")]
      })
      assert.deepStrictEqual(mistakes.map(({ line, path }) => [path, line]), [["registries[0]", 3], [
        "registries[2]",
        12
      ]])
      assert.include(mistakes[0]?.message, "it is broken")
      assert.deepStrictEqual(names(), ["c", "a", "b"])
      assert.strictEqual(members()[1], a)
      assert.strictEqual(members()[2], b)
      // The next reading tries again.
      assert.deepStrictEqual(
        yield* apply({ registries: [counted("new"), counted("c"), counted("a"), counted("b")] }),
        []
      )
      assert.deepStrictEqual(names(), ["new", "c", "a", "b"])
      assert.strictEqual(members()[2], a)
      assert.deepStrictEqual(Array.from(counts.closed), [])
    }))
})

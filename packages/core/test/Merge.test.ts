import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Catalog from "../src/Catalog.ts"
import * as Registries from "../src/Registries.ts"
import * as Registry from "../src/Registry.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import { adding, error, following, ids, instance, live, put, removed, scripted } from "./fixtures/scripted.ts"

const { delta, snapshot } = Registry

const at = (host: string, more?: Parameters<typeof instance>[1]) =>
  instance("x", { endpoint: { transport: "streamable-http", url: `http://${host}/mcp` }, ...more })

const view = (catalog: Catalog.Catalog) =>
  Array.from(
    HashMap.values(catalog.entries),
    ({ alsoIn, instance, source }) => `${source}/${instance.id} ${instance.version} [${alsoIn.join(" ")}]`
  ).sort()

describe("merge", () => {
  const table: ReadonlyArray<
    readonly [what: string, ReadonlyArray<ReadonlyArray<ServiceInstance>>, ReadonlyArray<string>]
  > = [
    ["nothing", [[], [], []], []],
    ["different ids", [[instance("x")], [instance("y")], []], ["a/x 0.0.0 []", "b/y 0.0.0 []"]],
    ["one id, one endpoint", [[at("h")], [at("h")], []], ["a/x 0.0.0 [b]"]],
    ["one id, one endpoint, thrice", [[at("h")], [at("h")], [at("h")]], ["a/x 0.0.0 [b c]"]],
    ["the earlier registry wins", [[at("h", { version: "1.0.0" })], [at("h", { version: "2.0.0" })], []], [
      "a/x 1.0.0 [b]"
    ]],
    ["one id, two endpoints", [[at("h")], [at("i")], []], ["a/x 0.0.0 []", "b/x 0.0.0 []"]],
    ["one id, two endpoints, one of them twice", [[at("h")], [at("i")], [at("h")]], ["a/x 0.0.0 [c]", "b/x 0.0.0 []"]],
    ["the last two agree", [[at("h")], [at("i")], [at("i")]], ["a/x 0.0.0 []", "b/x 0.0.0 [c]"]],
    ["not in the first", [[], [at("h")], [at("h")]], ["b/x 0.0.0 [c]"]],
    [
      "another transport is another endpoint",
      [[at("h")], [instance("x", { endpoint: { transport: "sse", url: "http://h/mcp" } })], []],
      ["a/x 0.0.0 []", "b/x 0.0.0 []"]
    ]
  ]
  for (const [what, sources, expected] of table) {
    it.effect(what, () =>
      Effect.gen(function*() {
        const scripts = ["a", "b", "c"].map((name) => scripted({ name }))
        scripts.forEach((script, index) => script.first = Effect.succeed([snapshot(sources[index] ?? [])]))
        const discovery = yield* adding(...scripts)
        assert.deepStrictEqual(view(discovery.catalog()), expected)
      }).pipe(Effect.provide(live())))
  }

  it.effect("when the winner goes the next takes over, in the same batch and first", () =>
    Effect.gen(function*() {
      const [a, b] = [scripted({ name: "a" }), scripted({ name: "b" })]
      a.first = b.first = Effect.succeed([snapshot([at("h")])])
      const discovery = yield* adding(a, b)
      const follower = yield* following(discovery)
      yield* a.emit(delta([removed("x")]))
      assert.strictEqual(follower.updates.length, 1)
      assert.deepStrictEqual(follower.take(), ["Added b/x", "Removed a/x"])
      yield* TestClock.adjust("100 millis")
      yield* a.emit(delta([put(at("h"))]))
      assert.strictEqual(follower.updates.length, 1)
      assert.deepStrictEqual(follower.take(), ["Added a/x", "Removed b/x"])
      yield* TestClock.adjust("100 millis")
      yield* b.emit(delta([removed("x")]))
      assert.deepStrictEqual(follower.take(), ["Updated a/x"])
    }).pipe(Effect.provide(live())))

  it.effect("a lost source goes on winning with its last known state", () =>
    Effect.gen(function*() {
      const [a, b] = [scripted({ name: "a" }), scripted({ name: "b" })]
      a.first = b.first = Effect.succeed([snapshot([at("h")])])
      const discovery = yield* adding(a, b)
      a.first = Effect.fail(error("down"))
      yield* a.fail("gone")
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(view(discovery.catalog()), ["a/x 0.0.0 [b]"])
    }).pipe(Effect.provide(live())))

  it.effect("a registry added later with a lower precedence wins, and gives way when it is removed", () =>
    Effect.gen(function*() {
      const [a, b] = [scripted({ name: "a" }), scripted({ name: "b" })]
      a.first = b.first = Effect.succeed([snapshot([at("h")])])
      const discovery = yield* adding(a)
      const registries = yield* Registries.Registries
      const scope = yield* Scope.make()
      yield* Scope.provide(registries.add(b.registry, { precedence: -1 }), scope)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(view(discovery.catalog()), ["b/x 0.0.0 [a]"])
      const follower = yield* following(discovery)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(follower.take(), ["Added a/x", "Removed b/x"])
    }).pipe(Effect.provide(live())))
})

describe("Registries", () => {
  it.effect("orders by precedence, and by arrival where it is the same", () =>
    Effect.gen(function*() {
      const registries = yield* Registries.Registries
      const add = (name: string, precedence?: number) => registries.add(scripted({ name }).registry, { precedence })
      yield* add("a")
      yield* add("b")
      yield* add("c", 0)
      yield* add("d", -5)
      yield* add("e")
      assert.deepStrictEqual(registries.members().map(({ registry }) => registry.name), ["d", "a", "c", "b", "e"])
    }).pipe(Effect.provide(live())))

  it.effect("refuses names that are taken or can't be; a name is free again when its scope closes", () =>
    Effect.gen(function*() {
      const registries = yield* Registries.Registries
      const { registry } = scripted({ name: "a" })
      yield* Effect.scoped(registries.add(registry))
      yield* registries.add(registry)
      for (const name of ["a", "", "x\u0000y"]) {
        const result = yield* Effect.result(registries.add({ ...registry, name }))
        assert.isTrue(Result.isFailure(result), name)
      }
      assert.lengthOf(registries.members(), 1)
    }).pipe(Effect.provide(live())))

  it.effect("layerOf holds a registry for the life of its layer", () =>
    Effect.gen(function*() {
      const registries = yield* Registries.Registries
      const layer = Registries.layerOf(Effect.succeed(scripted({ name: "a" }).registry))
      yield* Effect.sync(() => assert.lengthOf(registries.members(), 1)).pipe(Effect.provide(layer))
      assert.lengthOf(registries.members(), 0)
    }).pipe(Effect.provide(live())))
})

describe("identity", () => {
  it.effect("an entry keeps its first sight through changes of its record", () =>
    Effect.gen(function*() {
      const a = scripted({ name: "a" })
      a.first = Effect.succeed([snapshot([at("h")])])
      const discovery = yield* adding(a)
      const first = Option.getOrThrow(HashMap.get(discovery.catalog().entries, Catalog.key("a", "x")))
      yield* TestClock.adjust("10 seconds")
      yield* a.emit(delta([put(at("elsewhere"))]))
      yield* TestClock.adjust("1 second")
      const second = Option.getOrThrow(HashMap.get(discovery.catalog().entries, Catalog.key("a", "x")))
      assert.strictEqual(second.firstSeen, first.firstSeen)
      assert.isAbove(second.changedAt, first.changedAt)
      assert.deepStrictEqual(ids(discovery.catalog()), ["a/x"])
    }).pipe(Effect.provide(live())))
})

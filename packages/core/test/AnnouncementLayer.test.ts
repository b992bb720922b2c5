import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import * as Announcement from "../src/Announcement.ts"
import * as MemoryRegistry from "../src/MemoryRegistry.ts"
import * as Registries from "../src/Registries.ts"
import { instance } from "./fixtures/scripted.ts"

const Live = MemoryRegistry.layer({ name: "house" }).pipe(Layer.provideMerge(Registries.layer))

const ids = Effect.flatMap(Registries.named("house"), ({ list }) => list).pipe(
  Effect.map(({ instances }) => instances.map(({ id, status }) => `${id} ${status}`))
)

describe("Announcement.layer", () => {
  it.effect("announces in a registry that the program has, for as long as it lives", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const Announced = Announcement.layer(Registries.named("house"), Effect.succeed(instance("a")))
      yield* Layer.buildWithScope(Announced, scope)
      assert.deepStrictEqual(yield* ids, ["a up"])
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void), { startImmediately: true })
      yield* TestClock.adjust(0)
      assert.deepStrictEqual(yield* ids, ["a draining"])
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
      assert.deepStrictEqual(yield* ids, [])
    }).pipe(Effect.provide(Live)))

  it.effect("tells which registries there are where the name is wrong", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Layer.build(Announcement.layer(Registries.named("hose"), instance("a"))))
      assert.strictEqual(error.message, `hose: open: there is no registry of this name; there is "house"`)
    }).pipe(Effect.provide(Live)))
})

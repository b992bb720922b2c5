import { assert, describe, it } from "@effect/vitest"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as ScriptedRegistry from "@portolan/testkit/ScriptedRegistry"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"

const weather = ServiceInstance.make({
  id: "weather-1",
  service: "weather",
  endpoint: { transport: "streamable-http", url: "http://127.0.0.1:1/mcp" }
})

describe("ScriptedRegistry", () => {
  it.effect("plays one script per session, and stays open when a script is over", () =>
    Effect.gen(function*() {
      const scripted = yield* ScriptedRegistry.make({
        name: "flaky",
        sessions: [
          [
            ScriptedRegistry.emit(Registry.snapshot([])),
            ScriptedRegistry.wait("1 minute"),
            ScriptedRegistry.emit(Registry.alive),
            ScriptedRegistry.fail
          ],
          [ScriptedRegistry.emit(Registry.snapshot([weather])), ScriptedRegistry.end]
        ]
      })
      const seen: Array<string> = []
      const watch = Stream.runForEach(scripted.registry.watch, (event) => Effect.sync(() => seen.push(event._tag)))

      const first = yield* Effect.forkChild(Effect.flip(watch), { startImmediately: true })
      assert.deepStrictEqual(seen, ["Snapshot"])
      assert.deepStrictEqual(scripted.counters(), { opened: 1, open: 1, lists: 0 })
      yield* TestClock.adjust("1 minute")
      const error = yield* Fiber.join(first)
      assert.strictEqual(error.message, "flaky: watch: the script says so")
      assert.deepStrictEqual(seen, ["Snapshot", "Alive"])

      yield* watch
      assert.deepStrictEqual(seen, ["Snapshot", "Alive", "Snapshot"])
      assert.deepStrictEqual(scripted.counters(), { opened: 2, open: 0, lists: 0 })

      const third = yield* Effect.forkChild(watch)
      yield* scripted.opened(3)
      yield* scripted.emit(Registry.delta([{ _tag: "Put", instance: weather }]))
      yield* scripted.end
      yield* Fiber.join(third)
      assert.deepStrictEqual(seen.slice(3), ["Snapshot", "Delta"])
      yield* scripted.open(0)
    }))

  it.effect("answers lists, and fails them when told to", () =>
    Effect.gen(function*() {
      const scripted = yield* ScriptedRegistry.make({ list: Effect.succeed(Registry.snapshot([weather])) })
      assert.deepStrictEqual((yield* scripted.registry.list).instances, [weather])
      yield* scripted.setList(
        Effect.fail(new Registry.RegistryError({ registry: "scripted", operation: "list", reason: "away" }))
      )
      assert.strictEqual((yield* Effect.flip(scripted.registry.list)).reason, "away")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(scripted.registry.watch))).reason, "away")
      assert.strictEqual(scripted.counters().lists, 2)
    }))

  it.effect("closes a session that is interrupted", () =>
    Effect.gen(function*() {
      const scripted = yield* ScriptedRegistry.make()
      const fiber = yield* Effect.forkChild(Stream.runDrain(scripted.registry.watch))
      yield* scripted.open(1)
      yield* Fiber.interrupt(fiber)
      assert.deepStrictEqual(scripted.counters(), { opened: 1, open: 0, lists: 0 })
    }))
})

import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Metric } from "effect"
import * as Instruments from "../../src/telemetry/Instruments.ts"
import * as Operations from "../../src/telemetry/Operations.ts"

const family = { name: "op.duration", help: "Durations.", unit: "s" }
const tcp = { protocolVersion: "2026-07-28", transport: "tcp" } as const

const made = Effect.gen(function*() {
  const registry: Metric.MetricRegistry = new Map()
  const clock = { at: 0 }
  const operations = yield* Effect.map(
    Effect.provideService(Instruments.make, Metric.MetricRegistry, registry),
    (instruments) => Operations.make(instruments, family, () => clock.at)
  )
  const counts = () =>
    Array.from(registry.values(), ({ attributes, hooks }) => {
      const { unit: _, ...labels } = attributes ?? {}
      return [labels, hooks.get(Context.empty())] as const
    })
  return { operations, clock, registry, counts }
})

describe("operations", () => {
  it.effect("are seconds in the conventions' buckets", () =>
    Effect.gen(function*() {
      const { clock, counts, operations } = yield* made
      const record = operations.of(tcp)
      clock.at = 100
      record("tools/call", "a", 85, undefined)
      record("tools/call", "a", 100 - 400_000, undefined)
      const [[labels, state] = []] = counts()
      assert.deepStrictEqual(labels, {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "a",
        "gen_ai.operation.name": "execute_tool",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "tcp"
      })
      assert.include(JSON.stringify(state), "\"buckets\":[[0.01,0],[0.02,1],")
      assert.include(JSON.stringify(state), "[300,1]],\"count\":2")
    }))

  it.effect("know a name less used for a new one, when all are in use", () =>
    Effect.gen(function*() {
      const { clock, counts, operations } = yield* made
      const record = operations.of(tcp)
      const names = () => new Set(counts().map(([labels]) => labels["gen_ai.tool.name"]))
      for (let index = 0; index < 200; index++) record("tools/call", `tool ${index}`, 0, undefined)
      record("tools/call", "late", 0, undefined)
      assert.isTrue(names().has("_OTHER"))
      assert.isFalse(names().has("late"))

      clock.at = 120_000
      for (let index = 1; index < 200; index++) record("tools/call", `tool ${index}`, 0, undefined)
      record("tools/call", "late", 0, undefined)
      assert.isTrue(names().has("late"))
      assert.isFalse(names().has("tool 0"))
      assert.strictEqual(names().size, 201)
    }))

  it.effect("of a service go with it; peers that look the same share a recorder", () =>
    Effect.gen(function*() {
      const { operations, registry } = yield* made
      const record = operations.of({ ...tcp, service: "weather" })
      assert.strictEqual(operations.of({ ...tcp, service: "weather" }), record)
      record("tools/call", "a", 0, { type: "-32603", code: "-32603" })
      operations.of({ ...tcp, service: "maps" })("ping", undefined, 0, undefined)
      assert.strictEqual(registry.size, 2)
      operations.forget("weather")
      assert.strictEqual(registry.size, 1)
    }))

  it.effect("have errors of few types", () =>
    Effect.gen(function*() {
      const { counts, operations } = yield* made
      const record = operations.of({ protocolVersion: "1999-01-01", transport: "pipe" })
      for (let code = 0; code < 500; code++) {
        record("tools/call", "a", 0, Operations.errorOf(Exit.succeed({ error: { code, message: "" } }), String))
        record(`method ${code}`, undefined, 0, undefined)
      }
      assert.strictEqual(counts().length, 2)
      assert.isTrue(counts().every(([labels]) => labels["mcp.protocol.version"] === "_OTHER"))
      const type = (exit: Parameters<typeof Operations.errorOf>[0]) => Operations.errorOf(exit, () => "x")?.type
      assert.strictEqual(type(Exit.succeed({ result: { isError: true } })), "tool_error")
      assert.strictEqual(type(Exit.succeed({ result: {} })), undefined)
      assert.strictEqual(type(Exit.succeed({ error: { code: -32602, message: "" } })), "-32602")
      assert.strictEqual(type(Exit.fail("no")), "x")
      assert.strictEqual(type(Exit.interrupt(1)), "cancelled")
      assert.strictEqual(type(Exit.die("no")), "_OTHER")
    }))
})

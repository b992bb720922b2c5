import { assert, describe, it } from "@effect/vitest"
import * as Portolan from "@portolan/core/Portolan"
import { Effect, Layer, Ref, Schema } from "effect"
import * as InProcess from "../src/InProcess.ts"
import * as ToolClient from "../src/ToolClient.ts"
import * as WorkflowStep from "../src/WorkflowStep.ts"

const Live = ToolClient.layerWith({ catalog: { aliases: { "clothes.advice": ["advise"] } } }).pipe(
  Layer.provideMerge(Portolan.layer())
)

const servers = Effect.gen(function*() {
  const calls = yield* Ref.make(0)
  yield* InProcess.make({
    service: "weather",
    version: "1.4.0",
    capabilities: ["weather.forecast"],
    tools: [
      { name: "get_forecast", handler: ({ city }) => Effect.succeed({ city, degrees: 21 }) },
      { name: "get_alerts", handler: () => Effect.succeed([]) }
    ]
  })
  yield* InProcess.make({
    service: "stylist",
    tools: [{
      name: "advise",
      annotations: { readOnlyHint: true },
      handler: ({ degrees }) => Effect.as(Ref.update(calls, (n) => n + 1), Number(degrees) > 20 ? "a shirt" : "a coat")
    }]
  })
  return calls
})

const forecast = WorkflowStep.make({
  capability: "weather.forecast",
  tool: "get_forecast",
  args: (city: string) => ({ city }),
  schema: Schema.Struct({ city: Schema.String, degrees: Schema.Finite })
})

const advise = WorkflowStep.make({
  capability: "clothes.advice",
  args: (degrees: number) => ({ degrees }),
  retries: 1,
  timeout: "5 seconds"
})

describe("WorkflowStep", () => {
  it.live("discovers by capability, calls, and tells the server that was used", () =>
    Effect.gen(function*() {
      yield* servers
      const first = yield* forecast("Lisbon")
      assert.deepStrictEqual(first.value, { city: "Lisbon", degrees: 21 })
      assert.deepStrictEqual(first.server, {
        service: "weather",
        instance: "weather",
        version: "1.4.0",
        source: "in-process:weather"
      })
      assert.deepInclude(first.routing, { attempts: 1, failovers: 0 })
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("steps compose", () =>
    Effect.gen(function*() {
      const calls = yield* servers
      const workflow = (city: string) => Effect.flatMap(forecast(city), ({ value }) => advise(value.degrees))
      const results = yield* Effect.forEach(["Lisbon", "Porto"], workflow, { concurrency: 2 })
      assert.deepStrictEqual(results.map(({ server, value }) => [value, server.service]), [
        ["a shirt", "stylist"],
        ["a shirt", "stylist"]
      ])
      assert.strictEqual(yield* Ref.get(calls), 2)
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("fails with typed errors", () =>
    Effect.gen(function*() {
      yield* servers
      const missing = WorkflowStep.make({ capability: "clothes.ironing", args: (input: object) => ({ ...input }) })
      assert.strictEqual((yield* Effect.flip(missing({})))._tag, "NoTool")
      const elsewhere = WorkflowStep.make({ capability: "weather.radar", tool: "get_forecast", args: () => ({}) })
      const error = yield* Effect.flip(elsewhere(undefined))
      assert.strictEqual(
        error.message,
        "get_forecast: weather offers this tool, but no instance with capability weather.radar"
      )
      const odd = WorkflowStep.make({
        capability: "weather.forecast",
        tool: "get_forecast",
        args: (city: string) => ({ city }),
        schema: Schema.Struct({ degrees: Schema.String })
      })
      assert.strictEqual((yield* Effect.flip(odd("Faro")))._tag, "UnexpectedValue")
    }).pipe(Effect.provide(Live)), 20_000)
})

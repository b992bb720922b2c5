/**
 * Calls a tool by its name: whichever server of the fleet offers it, on its best replica.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Portolan from "@portolan/core/Portolan"
import * as FileRegistry from "@portolan/file/FileRegistry"
import * as ToolClient from "@portolan/mcp/ToolClient"
import { Console, Effect, Layer } from "effect"

const Live = ToolClient.layer.pipe(
  Layer.provideMerge(FileRegistry.layer({ path: "./services.json" })),
  Layer.provideMerge(Portolan.layer({ balancing: { strategy: "peak-ewma" } }))
)

const program = Effect.gen(function*() {
  const tools = yield* ToolClient.ToolClient
  const forecast = yield* tools.callTool("get_forecast", { city: "Lisbon" }, { capabilities: ["weather.forecast"] })
  yield* Console.log(forecast.value)
  yield* Console.log(`answered by ${forecast.routing.instance} after ${forecast.routing.failovers} fail-overs`)
})

program.pipe(Effect.provide(Live), NodeRuntime.runMain)

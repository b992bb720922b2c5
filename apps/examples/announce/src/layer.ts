/**
 * Announces the server with a layer. Ctrl-C interrupts the program, and the record is removed first.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Announcement from "@portolan/core/Announcement"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as FileRegistry from "@portolan/file/FileRegistry"
import { Console, Effect, Layer } from "effect"
import { listen } from "./weather.ts"

const weather = Effect.gen(function*() {
  const { url } = yield* Effect.acquireRelease(
    Effect.promise(listen),
    ({ server }) => Effect.sync(() => void server.close())
  )
  yield* Console.log(`announced as weather-1: ${url}`)
  return ServiceInstance.make({
    id: "weather-1",
    service: "weather",
    version: "1.4.0",
    endpoint: { transport: "streamable-http", url },
    capabilities: ["weather.forecast"]
  })
})

const Announced = Announcement.layer(FileRegistry.make({ path: "./services.json" }), weather)

Layer.launch(Announced).pipe(NodeRuntime.runMain)

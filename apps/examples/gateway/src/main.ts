/**
 * A gateway in front of the servers of a file, with a tool of its own.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as Portolan from "@portolan/core/Portolan"
import * as FileRegistry from "@portolan/file/FileRegistry"
import * as Gateway from "@portolan/gateway/Gateway"
import * as InProcess from "@portolan/mcp/InProcess"
import { Console, Effect, Layer } from "effect"

const port = Number(process.env["PORT"] ?? 7420)

const Main = Layer.effectDiscard(Console.log(`serving http://127.0.0.1:${port}/mcp`)).pipe(
  Layer.provideMerge(Gateway.layer({ port })),
  Layer.provideMerge(
    InProcess.tools({ service: "house", tools: [{ name: "motd", handler: () => Effect.succeed("hello") }] })
  ),
  Layer.provideMerge(FileRegistry.layer({ path: "./services.json" })),
  Layer.provideMerge(Portolan.layer())
)

Layer.launch(Main).pipe(NodeRuntime.runMain)

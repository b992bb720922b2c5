/**
 * The gateway with the suite's server behind it, and three others beside that.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"
import { gateway, record, registry } from "../fleet.ts"
import { served } from "../mcpServer.ts"
import type { Running } from "../process.ts"

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url))

/** Which eras the server speaks. */
export type Eras = "both" | "handshake"

/** Starts the server that the suite asks, until the scope closes; gives its URL. */
export const server = (eras: Eras): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly url: string; readonly stop: () => void }>((resume) => {
        const child = spawn(process.execPath, [path("server.ts"), eras], { stdio: ["ignore", "pipe", "ignore"] })
        const stop = () => void child.kill("SIGKILL")
        child.stdout.setEncoding("utf8").once("data", (text: string) =>
          resume(Effect.succeed({ url: text.trim(), stop })))
        child.once("exit", () =>
          resume(Effect.die(new Error("The server of the suite ended"))))
      }),
      ({ stop }) => Effect.sync(stop)
    ),
    ({ url }) => url
  )

/** One that speaks the handshake era, one with tools on many pages, one on standard input. */
const decoys = Effect.gen(function*() {
  const lighthouse = yield* served({
    tools: ["lamp_on", "lamp_off"].map((name) => ({ name, description: "Moves the lamp" }))
  })
  const buoys = yield* served({
    tools: Array.from({ length: 40 }, (_, number) => ({ name: `buoy_${number}`, description: "Asks a buoy" })),
    pageSize: 7
  })
  return [
    record("lighthouse", lighthouse.url),
    record("buoys", buoys.url),
    {
      id: "depth",
      service: "depth",
      endpoint: { transport: "stdio", command: process.execPath, args: [path("../server.mjs")] }
    }
  ]
})

/** Runs the gateway in front of a server of these eras and of the decoys, until the scope closes. */
export const fleet = (eras: Eras): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.gen(function*() {
    const others = yield* decoys
    const url = yield* server(eras)
    const running = yield* gateway(
      { gateway: { naming: "none" }, registries: [{ type: "file", path: "services.json" }] },
      {
        "services.json": registry(
          ...others,
          record("conformance", url),
          ...(eras === "handshake" ? [] : [record("tasks", new URL("/tasks", url).href)])
        )
      }
    )
    return running
  })

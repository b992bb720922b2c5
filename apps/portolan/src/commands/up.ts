import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { wrong } from "../Failure.ts"
import { configFlag, root } from "./root.ts"

export const up = Command.make(
  "up",
  {
    config: configFlag,
    host: Flag.String("host").pipe(Flag.withDescription("Address to listen on"), Flag.optional),
    port: Flag.Int("port").pipe(
      Flag.withAlias("p"),
      Flag.withDescription("Port to listen on; 0 takes a free one"),
      Flag.optional
    ),
    stdio: Flag.Boolean("stdio").pipe(
      Flag.withDescription("Serve the client that started it on stdin and stdout; listens only with --host or --port"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*({ config, host, port, stdio }) {
    const { json } = yield* root
    if (Option.isSome(port) && (port.value < 0 || port.value > 65_535)) {
      return yield* wrong(`--port: expected a number from 0 to 65535, got ${port.value}`)
    }
    const module = yield* Effect.promise(() => import("../up.ts"))
    yield* module.up({
      config: Option.getOrUndefined(config),
      host: Option.getOrUndefined(host),
      port: Option.getOrUndefined(port),
      stdio,
      json
    })
  })
).pipe(
  Command.withDescription("Serve in the foreground until Ctrl-C"),
  Command.withExamples([
    { command: "portolan up", description: "./portolan.yaml, or the demo where there is none" },
    { command: "portolan up --config fleet.yaml --port 8080" },
    { command: "portolan up --stdio", description: "what a client starts that knows no URLs" }
  ])
)

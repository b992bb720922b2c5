import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { failed, misconfigured, wrong } from "../Failure.ts"
import { plain, progressLine } from "../terminal.ts"
import { durationFlag } from "./duration.ts"
import { configFile, configFlag, configuring, print, root } from "./root.ts"

export const login = Command.make(
  "login",
  {
    server: Argument.String("server").pipe(Argument.withDescription("Name of the server in the configuration file")),
    config: configFlag,
    port: Flag.Int("port").pipe(
      Flag.withDescription("Port on this machine that the browser comes back to; a free one by default"),
      Flag.optional
    ),
    timeout: durationFlag("timeout", "Longest wait for you; 5m by default")
  },
  Effect.fnUntraced(function*({ config, port, server, timeout }) {
    const { json } = yield* root
    const { adapters, Configuration } = yield* configuring
    const Authorization = yield* Effect.promise(() => import("@portolan/mcp/upstream/Authorization"))
    const { hint } = yield* Effect.promise(() => import("@portolan/core/NearestName"))
    const file = yield* configFile(config)
    const { servers } = yield* Effect.mapError(Configuration.load(file, { adapters }), misconfigured)
    const found = servers.find(({ id }) => id === server)
    if (found === undefined) {
      return yield* wrong(`${file} has no server "${server}"${hint(server, servers.map(({ id }) => id))}`)
    }
    const { endpoint } = found
    const { transport } = endpoint
    const remote = transport === "streamable-http" || transport === "sse" || transport === "websocket"
      ? endpoint
      : undefined
    const auth = remote?.auth
    if (remote === undefined || auth?.type !== "authorization-code") {
      return yield* wrong(`${server} needs no login: its \`auth\` in ${file} isn't of type authorization-code`)
    }
    const done = yield* Effect.scoped(Effect.gen(function*() {
      const line = yield* progressLine()
      line.say(`asking ${server} who authorises`)
      return yield* Authorization.login({
        url: remote.url,
        auth,
        tls: remote.tls,
        onRedirect: ({ href }) =>
          Effect.gen(function*() {
            line.clear()
            yield* print(
              json ? JSON.stringify({ open: href }) : `Open this address in a browser and agree:\n\n  ${href}\n`
            )
            line.say("waiting for the browser")
          }),
        redirectPort: Option.getOrUndefined(port),
        timeout: Option.getOrUndefined(Option.map(timeout, ({ duration }) => duration))
      })
    })).pipe(Effect.mapError((error) => failed(`${server}: ${error.message}`)))
    const until = done.renewable
      ? "it is renewed without you"
      : done.expiresAt === undefined
      ? "it has no end that the server named"
      : `it ends ${new Date(done.expiresAt).toISOString()}`
    yield* print(
      json
        ? JSON.stringify({ authorised: { server, ...done } })
        : plain(`${server}: authorised; the token is in ${done.file}, and ${until}`)
    )
  })
).pipe(
  Command.withDescription("Agree in a browser that the gateway may use a server of the configuration"),
  Command.withExamples([{ command: "portolan login github" }])
)

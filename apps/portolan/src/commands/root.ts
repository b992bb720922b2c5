/**
 * What all commands have: the flags that go anywhere, and how they print.
 */
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Redacted from "effect/Redacted"
import * as Path from "node:path"
import { defaultFile, defaultUrl } from "../defaults.ts"
import { type Failure, wrong } from "../Failure.ts"

export const root = Command.make("portolan").pipe(
  Command.withSharedFlags({
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("Print JSON, errors too: {\"error\": {\"message\", \"status\"}}"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    )
  }),
  Command.withDescription("One MCP endpoint in front of every announced server")
)

const addressFlag = (name: string) =>
  Flag.String(name).pipe(
    Flag.withDescription(`Address of the gateway; PORTOLAN_URL or ${defaultUrl} by default`),
    Flag.withFallbackConfig(Config.String("PORTOLAN_URL")),
    Flag.withDefault(defaultUrl)
  )

const token = Flag.Redacted("token").pipe(
  Flag.withDescription("Token of the gateway, which writes may need; better in PORTOLAN_TOKEN"),
  Flag.withFallbackConfig(Config.Redacted("PORTOLAN_TOKEN")),
  Flag.optional
)

/** The gateway that is asked. */
export const gatewayFlags = { url: addressFlag("url"), token }

/** The same where `--url` is the address of an instance. */
export const otherGatewayFlags = { url: addressFlag("gateway"), token }

// A flag for paths makes them absolute; in messages they stay as short as they were written.
const shortened = (path: string): string => {
  const relative = Path.relative(process.cwd(), path)
  return relative === "" || relative.startsWith("..") ? path : relative
}

export const configFlag = Flag.Path("config").pipe(
  Flag.map(shortened),
  Flag.withAlias("c"),
  Flag.withDescription("Configuration file; ./portolan.yaml or ./portolan.json by default"),
  Flag.optional
)

/** The configuration file that is meant. */
export const configFile = (flag: Option.Option<string>): Effect.Effect<string, Failure> => {
  const file = Option.getOrUndefined(flag) ?? defaultFile()
  return file === undefined
    ? Effect.fail(wrong("no portolan.yaml here: name the file with --config"))
    : Effect.succeed(file)
}

export const print = (text: string): Effect.Effect<void> => Effect.sync(() => console.log(text))
export const printJson = (value: unknown): Effect.Effect<void> => print(JSON.stringify(value, null, 2))

/** The gateway that is asked, and the modules that the commands share which ask it. */
export const asking = Effect.fnUntraced(function*({ token, url }: {
  readonly url: string
  readonly token: Option.Option<Redacted.Redacted>
}) {
  const { json } = yield* root
  const client = yield* Effect.promise(() => import("../client.ts"))
  return { json, gateway: { url, token: Option.getOrUndefined(token) }, client }
})

/** The configuration and the adapters, loaded only where a command needs them. */
export const configuring = Effect.gen(function*() {
  const { adapters } = yield* Effect.promise(() => import("../adapters.ts"))
  const Configuration = yield* Effect.promise(() => import("@portolan/gateway/configuration/Configuration"))
  return { adapters, Configuration }
})

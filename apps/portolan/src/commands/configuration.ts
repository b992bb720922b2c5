import type * as ConfigurationChanges from "@portolan/gateway/configuration/ConfigurationChanges"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { ended, misconfigured } from "../Failure.ts"
import { table } from "../table.ts"
import { plain } from "../terminal.ts"
import { configFile, configFlag, configuring, print, printJson, root } from "./root.ts"

export const validate = Command.make(
  "validate",
  { config: configFlag },
  Effect.fnUntraced(function*({ config }) {
    const { json } = yield* root
    const { adapters, Configuration } = yield* configuring
    const file = yield* configFile(config)
    const result = yield* Effect.result(Configuration.load(file, { adapters }))
    if (Result.isFailure(result)) {
      if (!json) return yield* misconfigured(result.failure)
      yield* printJson({ file, valid: false, mistakes: result.failure.mistakes })
      return yield* ended(2)
    }
    const { registries, servers } = result.success
    yield* json
      ? printJson({ file, valid: true, mistakes: [] })
      : print(`${file}: no mistakes; registries: ${registries.length}, servers: ${servers.length}`)
  })
).pipe(Command.withDescription("Check a configuration file"))

const schema = Command.make(
  "schema",
  {},
  Effect.fnUntraced(function*() {
    const { adapters, Configuration } = yield* configuring
    yield* printJson(Configuration.jsonSchema(adapters))
  })
).pipe(
  Command.withDescription("Print the JSON Schema of the configuration file, for editors"),
  Command.withExamples([{ command: "portolan config schema > portolan.schema.json" }])
)

const valueText = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value)

const show = Command.make(
  "show",
  { config: configFlag },
  Effect.fnUntraced(function*({ config }) {
    const { json } = yield* root
    const { adapters, Configuration } = yield* configuring
    const Changes = yield* Effect.promise(() => import("@portolan/gateway/configuration/ConfigurationChanges"))
    const file = yield* configFile(config)
    const read = yield* Effect.mapError(Configuration.load(file, { adapters }), misconfigured)
    const settings = Changes.effective(read)
    const registries = read.registries.map(({ name, type }) => ({ name, type }))
    const servers = read.servers.map(({ id }) => id)
    if (json) return yield* printJson({ file, settings, registries, servers })
    yield* print(table<ConfigurationChanges.Setting>([
      { title: "SETTING", text: ({ path }) => path },
      { title: "VALUE", text: ({ value }) => valueText(value), gives: true },
      { title: "FROM", text: ({ origin }) => origin, style: ({ origin }) => origin === "default" ? "dim" : undefined }
    ], settings))
    const named = registries.map(({ name, type }) => name === type ? name : `${name} (${type})`)
    for (const [what, names] of [["registries", named], ["servers", servers]] as const) {
      yield* print(plain(`${what}: ${names.length === 0 ? "none" : names.join(", ")}`))
    }
  })
).pipe(Command.withDescription("Print the settings in effect and where each comes from, without secrets"))

export const configuration = Command.make("config").pipe(
  Command.withSubcommands([show, schema]),
  Command.withDescription("About the configuration file")
)

import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { ended, misconfigured } from "../Failure.ts"
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

export const configuration = Command.make("config").pipe(
  Command.withSubcommands([schema]),
  Command.withDescription("About the configuration file")
)

/**
 * The adapters that the configuration knows, by their `type`. An adapter's code is loaded when a registry of its type is
 * opened, and never otherwise.
 */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Configuration from "@portolan/gateway/Configuration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Path from "node:path"

const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

/** What every adapter takes beside its own options; the adapter's own defaults hold where nothing is said. */
const common = ({ name, trust }: Configuration.OpenContext) => ({
  ...(name === undefined ? {} : { name }),
  ...(trust === undefined ? {} : { trust })
})

const file = Configuration.adapter({
  type: "file",
  options: Schema.Struct({
    path: Schema.NonEmptyString.annotate({ description: "JSON or YAML file, relative to the configuration file" })
  }),
  open: ({ path }, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/file/FileRegistry")),
      (FileRegistry) => FileRegistry.make({ ...common(context), path: Path.resolve(context.directory, path) })
    )
})

const memory = Configuration.adapter({
  type: "memory",
  options: Schema.Struct({}),
  open: (_, context) => MemoryRegistry.make(common(context))
})

export const adapters: ReadonlyArray<Configuration.Adapter> = [file, memory]

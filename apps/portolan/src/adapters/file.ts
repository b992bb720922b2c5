import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Path from "node:path"
import { common } from "./fields.ts"

export const file = Configuration.adapter({
  type: "file",
  options: Schema.Struct({
    path: Schema.NonEmptyString.annotate({ description: "JSON or YAML file, relative to the configuration file" })
  }),
  name: ({ path }) => path,
  open: ({ path }, context) =>
    Effect.flatMap(
      Effect.promise(() => import("@portolan/file/FileRegistry")),
      (FileRegistry) => FileRegistry.make({ ...common(context), path: Path.resolve(context.directory, path) })
    )
})

import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Schema from "effect/Schema"
import { common } from "./fields.ts"

export const memory = Configuration.adapter({
  type: "memory",
  // A struct without keys would take any.
  options: Schema.Record(Schema.String, Schema.Unknown).pipe(
    Schema.check(
      Schema.makeFilter((options) => Object.keys(options).map((key) => ({ path: [key], issue: "unknown key" })))
    )
  ),
  open: (_, context) => MemoryRegistry.make(common(context))
})

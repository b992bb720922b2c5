/**
 * Keys that the records of a registry are sealed with, as the configuration file has them: what `RecordFormat.sealed`
 * takes.
 *
 * @since 0.2.0
 */
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { defaulted } from "../internal/fields.ts"
import { secret } from "./Secret.ts"

const isKey = (text: string): boolean =>
  /^[A-Za-z0-9+/]+=*$/.test(text) && Buffer.from(text, "base64").byteLength === 32

const Key = secret("32 bytes in base64, such as `openssl rand -base64 32` makes").pipe(
  Schema.check(
    Schema.makeFilter((key) =>
      isKey(Redacted.value(key)) ? undefined : "expected 32 bytes in base64, such as `openssl rand -base64 32` makes"
    )
  )
)

/**
 * Schema of the keys.
 *
 * @category schemas
 * @since 0.2.0
 */
export const EncryptionEntry = Schema.Struct({
  keys: Schema.NonEmptyArray(Schema.Struct({
    id: Schema.NonEmptyString.annotate({ description: "Stands beside each record, in the clear: 2026-11" }),
    key: Key
  })).annotate({ description: "The first one writes; all of them read" }),
  required: defaulted(Schema.Boolean, true, "Whether records that aren't encrypted are rejected")
}).annotate({ description: "Seals the records, so that whoever has no key can neither read nor write them" }).pipe(
  Schema.check(Schema.makeFilter(({ keys }) => {
    const twice = keys.findIndex(({ id }, index) => keys.findIndex((other) => other.id === id) < index)
    return twice === -1 ? undefined : { path: ["keys", twice, "id"], issue: "another key has this id" }
  }))
)
export type EncryptionEntry = typeof EncryptionEntry.Type

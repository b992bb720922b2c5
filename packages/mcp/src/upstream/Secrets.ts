/**
 * Turns the secret references of a record into redacted values, at the moment of use.
 *
 * @since 0.1.0
 */
import type { SecretReference } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Schema from "effect/Schema"
import { readFile } from "node:fs/promises"

/**
 * Error raised when a reference leads nowhere. It tells the reference, never a value.
 *
 * @category errors
 * @since 0.1.0
 */
export class SecretError extends Schema.TaggedError<SecretError>()("SecretError", {
  /** One line. */
  reason: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * Resolves one value. A plain text is taken as it is. `where` names the field in the error, such as `env.API_KEY`.
 *
 * @category resolving
 * @since 0.1.0
 */
export const resolve = (
  value: string | SecretReference,
  where: string
): Effect.Effect<Redacted.Redacted<string>, SecretError> => {
  if (typeof value === "string") return Effect.succeed(Redacted.make(value))
  if ("env" in value) {
    return Effect.suspend(() => {
      const found = process.env[value.env]
      return found === undefined
        ? Effect.fail(new SecretError({ reason: `${where}: the environment variable ${value.env} is not set` }))
        : Effect.succeed(Redacted.make(found))
    })
  }
  return Effect.tryPromise({
    try: () => readFile(value.file, "utf8"),
    catch: (cause) => new SecretError({ reason: `${where}: the file ${value.file} can't be read`, cause })
  }).pipe(Effect.map((text) => Redacted.make(text.replace(/\r?\n$/, ""))))
}

/**
 * Resolves all values of a record; `where` names the record in errors.
 *
 * @category resolving
 * @since 0.1.0
 */
export const resolveAll = (
  values: Readonly<Record<string, string | SecretReference>> | undefined,
  where: string
): Effect.Effect<ReadonlyMap<string, Redacted.Redacted<string>>, SecretError> =>
  Effect.map(
    Effect.forEach(
      Object.entries(values ?? {}),
      ([name, value]) => Effect.map(resolve(value, `${where}.${name}`), (secret) => [name, secret] as const)
    ),
    (entries) => new Map(entries)
  )

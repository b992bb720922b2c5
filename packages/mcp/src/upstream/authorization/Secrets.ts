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

/** What is shorter is no secret, and hiding it would hide too much. */
const Shortest = 4
/** The same for a part of a header or an address, most of which is no secret. */
const ShortestPart = 8

/**
 * Takes secrets out of a text, which others may have repeated.
 *
 * @category hiding
 * @since 0.1.0
 */
export const hide = (text: string, secrets: ReadonlyArray<string | undefined>): string =>
  secrets.reduce<string>(
    (text, secret) => secret === undefined || secret.length < Shortest ? text : text.replaceAll(secret, "<redacted>"),
    text
  )

/**
 * What may be secret of what is sent with each request: the words of the headers, and what an address carries beside the
 * place.
 *
 * @category hiding
 * @since 0.1.0
 */
export const sentWith = (url: URL, headers: Readonly<Record<string, string>>): ReadonlyArray<string> =>
  [url.password, ...url.searchParams.values(), ...Object.values(headers).flatMap((value) => value.split(/\s+/))]
    .filter((part) => part.length >= ShortestPart)
    .toSorted((one, other) => other.length - one.length)

/**
 * Secrets in the configuration file: written out, or the environment variable or file that holds them.
 *
 * **Mental model**: what is referred to is read with the file, so a variable that isn't set is a mistake with its line
 * and column, like any other; and a file that changes is read again, so a new token takes effect like any other change.
 *
 * @since 0.2.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import * as SchemaIssue from "effect/SchemaIssue"

/**
 * Service that finds what references lead to.
 *
 * @category services
 * @since 0.2.0
 */
export class References extends Context.Service<References, {
  readonly variable: (name: string) => string | undefined
  /** Text of a file, or why it can't be read, without its path. Relative paths start at the configuration file. */
  readonly file: (path: string) => Result.Result<string, string>
}>()("@portolan/gateway/configuration/Secret/References") {}

/**
 * Schema of a secret as it is written down: a text, `{ env: NAME }` or `{ file: PATH }`.
 *
 * @category schemas
 * @since 0.2.0
 */
export const Reference = Schema.Union([
  Schema.NonEmptyString,
  Schema.Struct({ env: Schema.NonEmptyString }),
  Schema.Struct({ file: Schema.NonEmptyString })
]).annotate({ expected: "a text, {env: …} or {file: …}" })
export type Reference = typeof Reference.Type

/** What a reference leads to. */
const resolve = (reference: Reference, references: References["Service"]): Result.Result<string, string> => {
  if (typeof reference === "string") return Result.succeed(reference)
  if ("file" in reference) {
    const read = Result.mapError(references.file(reference.file), (why) => `can't read ${reference.file}: ${why}`)
    return Result.flatMap(read, (text) => {
      const found = text.replace(/\r?\n$/, "")
      return found === "" ? Result.fail(`${reference.file} is empty`) : Result.succeed(found)
    })
  }
  const found = references.variable(reference.env)
  return found === undefined || found === ""
    ? Result.fail(`the environment variable ${reference.env} is not set`)
    : Result.succeed(found)
}

const resolved = (description: string, means: (written: Reference) => Reference) =>
  Reference.annotate({ description }).pipe(
    Schema.decodeTo(Schema.Redacted(Schema.String), {
      decode: SchemaGetter.transformEffect((written: Reference) =>
        Effect.flatMap(References, (references) =>
          Effect.fromResult(resolve(means(written), references)).pipe(
            Effect.mapBoth({
              onSuccess: (found) => Redacted.make(found),
              onFailure: (message) => new SchemaIssue.InvalidValue({ message })
            })
          ))
      ),
      encode: SchemaGetter.forbiddenEncoding
    })
  )

/**
 * Schema of a secret. The description goes into the JSON Schema.
 *
 * @category schemas
 * @since 0.2.0
 */
export const secret = (description: string) => resolved(description, (written) => written)

/**
 * Schema of a text in PEM: a secret, of which a plain text is the path of a file.
 *
 * @category schemas
 * @since 0.2.0
 */
export const pem = (description: string) =>
  resolved(description, (written) => typeof written === "string" ? { file: written } : written)

/**
 * The secret itself, where there is one.
 *
 * @category accessors
 * @since 0.2.0
 */
export const reveal = (secret: Redacted.Redacted | undefined): string | undefined =>
  secret === undefined ? undefined : Redacted.value(secret)

/**
 * What the keys of the configuration file are made of.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"

interface Notes {
  readonly description: string
  readonly default?: string
}

// The same words for a text that is wrong and for what is no text at all.
const told = (expected: string) => ({ expected, message: `expected ${expected}` })

// The notes stand on the string itself: those of a check don't reach the JSON Schema.
export const text = (expected: string, holds: (text: string) => boolean, notes?: Notes) =>
  Schema.String.annotate({ ...told(expected), ...notes }).pipe(
    Schema.check(
      Schema.makeFilter((value: string) => holds(value) ? undefined : `expected ${expected}`, told(expected))
    )
  )

export const pattern = (expected: string, regExp: RegExp, notes?: Notes) =>
  Schema.String.annotate({ ...told(expected), ...notes }).pipe(Schema.check(Schema.isPattern(regExp, told(expected))))

export const duration = (notes: Notes) =>
  pattern("a duration such as 250ms, 30s or 5m", /^\d+(\.\d+)?(ms|s|m|h|d)$/, notes)

const size = (notes: Notes) => pattern("a size such as 512kb or 4mb", /^\d+([kK]|[mM])?[bB]$/, notes)

const units = { b: 1, kb: 1024, mb: 1024 * 1024 } as const

/** Bytes of a size that the schema accepted. */
export const bytesOf = (size: string): number => {
  const [, amount = "0", unit = "b"] = /^(\d+)(b|kb|mb)$/i.exec(size) ?? []
  return Number(amount) * (unit.toLowerCase() === "mb" ? units.mb : unit.toLowerCase() === "kb" ? units.kb : units.b)
}

export const count = (minimum: number, maximum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum })))

export const number = (minimum: number, maximum: number) => {
  const notes = told(`a number from ${minimum} to ${maximum}`)
  return Schema.Finite.annotate(notes).pipe(Schema.check(Schema.isBetween({ minimum, maximum }, notes)))
}

export const optional = <S extends Schema.Top>(schema: S, description: string) =>
  Schema.optionalKey(schema.annotate({ description }))

/** A key that has a value where the file says nothing. */
export const defaulted = <S extends Schema.Top & { readonly Rebuild: Schema.Top }>(
  schema: S,
  value: NoInfer<S["Encoded"] & S["Rebuild"]["Encoded"]>,
  description: string
) =>
  Schema.withDecodingDefaultKey<S["Rebuild"]>(Effect.succeed(value))(schema.annotate({ description, default: value }))

/** A size with a default. */
export const bytes = (byDefault: string, description: string) =>
  size({ description, default: byDefault }).pipe(Schema.withDecodingDefaultKey(Effect.succeed(byDefault)))

/** A duration with a default. */
export const time = (byDefault: string, description: string) =>
  duration({ description, default: byDefault }).pipe(Schema.withDecodingDefaultKey(Effect.succeed(byDefault)))

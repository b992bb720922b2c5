/**
 * Values that a document leaves to whoever reads it: variables of an address, headers, arguments, environment variables.
 *
 * **Mental model**: a document says the value itself, or a default, or asks for it. What it asks for comes from the
 * settings by its name, unless it is a secret: nobody is handed a secret because he named it.
 */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"

/** A text of this length at most. */
export const text = (length: number) => Schema.String.pipe(Schema.check(Schema.isMaxLength(length)))

/** So many at most. */
export const list = <S extends Schema.Top>(item: S, most: number) =>
  Schema.Array(item).pipe(Schema.check(Schema.isMaxLength(most)))

const input = {
  /** With variables in braces; not to be changed by anybody. */
  value: Schema.optionalKey(text(4096)),
  default: Schema.optionalKey(text(4096)),
  isRequired: Schema.optionalKey(Schema.Boolean),
  isSecret: Schema.optionalKey(Schema.Boolean),
  choices: Schema.optionalKey(list(text(4096), 256))
}

const Input = Schema.Struct(input)
type Input = typeof Input.Type

export const Variables = Schema.Record(text(128), Input)
export type Variables = typeof Variables.Type

/** An input whose value may hold variables. */
export const withVariables = { ...input, variables: Schema.optionalKey(Variables) }

export const NamedInput = Schema.Struct({ name: text(256), ...withVariables })
export type NamedInput = typeof NamedInput.Type

/** Values of the settings, by the names of variables. */
export type Given = Readonly<Record<string, string>>

/**
 * Puts values in place of the variables of a text; the failure names the first that has none. Braces around what is no
 * name stay, as in JSON. What is put into a secret is one, unless the variable says that it isn't.
 */
export const fill = (
  template: string,
  variables: Variables = {},
  given: Given = {},
  isSecret = false
): Result.Result<string, string> => {
  let wrong: string | undefined
  const filled = template.replace(/\{([A-Za-z_][\w.-]*)\}/g, (braces, name: string) => {
    const told = Object.hasOwn(variables, name) ? variables[name] : undefined
    const found = valueOf(name, { isSecret, ...told }, given)
    if (Result.isFailure(found)) wrong ??= `${braces}: ${found.failure}`
    return Result.getOrElse(found, () => "")
  })
  return wrong === undefined ? Result.succeed(filled) : Result.fail(wrong)
}

/** The value of an input; none where it has none and needs none. The failure tells what it needs. */
export const resolve = (
  { name, variables, ...input }: NamedInput,
  given: Given = {}
): Result.Result<string | undefined, string> => {
  const isSaid = input.default !== undefined || (input.isSecret !== true && Object.hasOwn(given, name))
  const value = input.value !== undefined
    ? fill(input.value, variables, given, input.isSecret)
    : isSaid || input.isRequired === true
    ? valueOf(name, input, given)
    : Result.succeed(undefined)
  return Result.mapError(value, (reason) => `${name}: ${reason}`)
}

const valueOf = (name: string, input: Input = {}, given: Given): Result.Result<string, string> => {
  if (input.value !== undefined) return Result.succeed(input.value)
  const value = input.isSecret !== true && Object.hasOwn(given, name) ? given[name] : input.default
  if (value === undefined) {
    return Result.fail(
      input.isSecret === true
        ? "it is a secret; announce the server with it in a local file"
        : `it has no value; set \`variables.${name}\``
    )
  }
  return input.choices === undefined || input.choices.length === 0 || input.choices.includes(value)
    ? Result.succeed(value)
    : Result.fail(`expected one of ${input.choices.slice(0, 8).join(", ")}`)
}

/**
 * What a value must be, in words: `integer, 1–14, default 3`.
 */
import { type Field, labelOf } from "./fields.ts"
import { isObject, type Schema } from "./schema.ts"

const number = (schema: Schema, name: string): number | undefined => {
  const value: unknown = schema[name]
  return typeof value === "number" ? value : undefined
}

const between = (least: number | undefined, most: number | undefined, unit = ""): string | undefined =>
  least !== undefined && most !== undefined
    ? least === most ? `${least}${unit}` : `${least}–${most}${unit}`
    : least !== undefined
    ? `≥ ${least}${unit}`
    : most !== undefined
    ? `≤ ${most}${unit}`
    : undefined

/** Longest default, pattern or list of values that is told. */
const longest = 60

const short = (text: string): string => text.length <= longest ? text : `${text.slice(0, longest - 1)}…`

const typeOf = ({ kind, schema }: Field): string | undefined => {
  const type: unknown = schema["type"]
  switch (kind) {
    case "choice":
      return undefined
    case "alternatives":
      return "one of"
    case "list": {
      const item: unknown = isObject(schema["items"]) ? schema["items"]["type"] : undefined
      return typeof item === "string" ? `list of ${item}` : "list"
    }
    case "json":
      return typeof type === "string" ? `${type}, as JSON` : "JSON"
    default:
      return typeof schema["format"] === "string" ? schema["format"] : typeof type === "string" ? type : kind
  }
}

const above = (schema: Schema): ReadonlyArray<string | undefined> => {
  const [over, under] = [number(schema, "exclusiveMinimum"), number(schema, "exclusiveMaximum")]
  const step = number(schema, "multipleOf")
  return [
    between(number(schema, "minimum"), number(schema, "maximum")),
    over === undefined ? undefined : `> ${over}`,
    under === undefined ? undefined : `< ${under}`,
    step === undefined ? undefined : `a multiple of ${step}`
  ]
}

/** Short enough to stand beside the name of the field. */
export const constraints = (field: Field, required: boolean): string => {
  const { kind, nullable, schema } = field
  const value: unknown = schema["default"]
  return [
    required ? "required" : undefined,
    typeOf(field),
    ...kind === "number" ? above(schema) : [],
    kind === "text" ? between(number(schema, "minLength"), number(schema, "maxLength"), " characters") : undefined,
    kind === "text" && typeof schema["pattern"] === "string" ? `matches ${short(schema["pattern"])}` : undefined,
    kind === "list" ? between(number(schema, "minItems"), number(schema, "maxItems"), " items") : undefined,
    schema["uniqueItems"] === true ? "no item twice" : undefined,
    value === undefined || value === null ? undefined : `default ${short(labelOf(value))}`,
    nullable && required ? "may be null" : undefined,
    schema["deprecated"] === true ? "deprecated" : undefined
  ].filter((part) => part !== undefined).join(", ")
}

/** What may stand in an empty field as an example. */
export const exampleOf = ({ schema }: Field): string => {
  const examples: unknown = schema["examples"]
  const first: unknown = Array.isArray(examples) ? examples[0] : undefined
  return first === undefined ? "" : short(labelOf(first))
}

/**
 * What doesn't fit a schema, told by the place where it stands: for people, before the call. The server has the last word.
 */
import { Unparsed } from "./draft.ts"
import { labelOf } from "./fields.ts"
import { isObject, propertiesOf, type Schema, schemaOf, schemasOf, target, textsOf } from "./schema.ts"

export interface Mistake {
  /** JSON pointer: `/places/0/name`; empty for the whole. */
  readonly path: string
  readonly message: string
}

/** Steps of one check, and how deep they go: schemas may refer to themselves. */
const mostSteps = 20_000
const deepest = 200

export const pathTo = (path: string, name: string | number): string =>
  `${path}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`

const typeOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : typeof value === "object" ? "object" : typeof value

const isOfType = (value: unknown, type: string): boolean =>
  type === "integer" ? Number.isInteger(value) : typeOf(value) === type

const articles: Readonly<Record<string, string>> = {
  array: "a list",
  boolean: "true or false",
  integer: "a whole number",
  null: "null",
  number: "a number",
  object: "an object",
  string: "a text"
}

export const isSame = (one: unknown, other: unknown): boolean =>
  one === other ||
  (typeof one === "object" && typeof other === "object" && JSON.stringify(one) === JSON.stringify(other))

// Whoever writes the schema could have the page search for ever: patterns that might are left to the server.
const isQuick = (pattern: string): boolean =>
  pattern.length <= 500 && !/\)[*+{?]/.test(pattern) && (pattern.match(/[*+]|\{\d+,/g)?.length ?? 0) <= 3

const matches = (text: string, pattern: string): boolean => {
  if (!isQuick(pattern) || text.length > 200) return true
  try {
    return new RegExp(pattern, "u").test(text)
  } catch {
    return true
  }
}

type Say = (message: string) => void

const checkText = (schema: Schema, text: string, say: Say): void => {
  const { maxLength, minLength, pattern } = schema
  const length = Array.from(text).length
  if (typeof minLength === "number" && length < minLength) say(`At least ${minLength} characters, there are ${length}`)
  if (typeof maxLength === "number" && length > maxLength) say(`At most ${maxLength} characters, there are ${length}`)
  if (typeof pattern === "string" && !matches(text, pattern)) say(`Must match ${pattern}`)
}

const checkNumber = (schema: Schema, value: number, say: Say): void => {
  const { exclusiveMaximum, exclusiveMinimum, maximum, minimum, multipleOf } = schema
  if (typeof minimum === "number" && value < minimum) say(`At least ${minimum}`)
  if (typeof maximum === "number" && value > maximum) say(`At most ${maximum}`)
  if (typeof exclusiveMinimum === "number" && value <= exclusiveMinimum) say(`More than ${exclusiveMinimum}`)
  if (typeof exclusiveMaximum === "number" && value >= exclusiveMaximum) say(`Less than ${exclusiveMaximum}`)
  if (typeof multipleOf === "number" && multipleOf > 0) {
    const times = value / multipleOf
    if (Math.abs(times - Math.round(times)) > 1e-9 * Math.max(1, Math.abs(times))) say(`A multiple of ${multipleOf}`)
  }
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    say("Has more digits than a browser can send as they are")
  }
}

/** `root` is what references within the schema are of. */
export const check = (
  schema: unknown,
  value: unknown,
  root: Schema = schemaOf(schema)
): ReadonlyArray<Mistake> => {
  let left = mostSteps

  const visit = (schema: Schema, value: unknown, path: string, depth = 0): ReadonlyArray<Mistake> => {
    if (left-- <= 0 || depth > deepest) return []
    if (value instanceof Unparsed) return [{ path, message: value.reason }]
    const mistakes: Array<Mistake> = []
    const say: Say = (message) => void mistakes.push({ path, message })

    const referred = typeof schema["$ref"] === "string" ? target(root, schema["$ref"]) : undefined
    if (referred !== undefined) mistakes.push(...visit(referred, value, path, depth + 1))
    for (const part of schemasOf(schema["allOf"])) mistakes.push(...visit(part, value, path, depth + 1))
    for (const name of ["anyOf", "oneOf"] as const) {
      const tried = schemasOf(schema[name]).map((one) => visit(one, value, path, depth + 1))
      const fitting = tried.filter((found) => found.length === 0).length
      if (tried.length > 0 && fitting === 0) {
        // Of the one that was most likely meant.
        mistakes.push(...tried.reduce((best, found) => found.length < best.length ? found : best))
      }
      if (name === "oneOf" && fitting > 1) say(`Fits ${fitting} of the alternatives, and may fit only one`)
    }

    if (isObject(schema["not"]) && visit(schema["not"], value, path, depth + 1).length === 0) say("Not allowed")

    const type: unknown = schema["type"]
    const types = typeof type === "string" ? [type] : textsOf(type)
    const nullable = value === null && schema["nullable"] === true
    if (types.length > 0 && !nullable && !types.some((type) => isOfType(value, type))) {
      say(`Must be ${types.map((type) => articles[type] ?? type).join(" or ")}`)
      return mistakes
    }
    const values: unknown = schema["enum"]
    if (Array.isArray(values) && !values.some((each) => isSame(each, value))) {
      say(`Must be one of ${values.slice(0, 8).map(labelOf).join(", ")}${values.length > 8 ? ", …" : ""}`)
    }
    if (Object.hasOwn(schema, "const") && !isSame(schema["const"], value)) say(`Must be ${labelOf(schema["const"])}`)

    if (typeof value === "string") checkText(schema, value, say)
    else if (typeof value === "number") checkNumber(schema, value, say)
    else if (Array.isArray(value)) {
      const { items, maxItems, minItems, prefixItems, uniqueItems } = schema
      if (typeof minItems === "number" && value.length < minItems) {
        say(`At least ${minItems} items, there are ${value.length}`)
      }
      if (typeof maxItems === "number" && value.length > maxItems) {
        say(`At most ${maxItems} items, there are ${value.length}`)
      }
      if (uniqueItems === true && new Set(value.map((item) => JSON.stringify(item))).size < value.length) {
        say("No item twice")
      }
      const first = schemasOf(prefixItems)
      for (const [at, item] of value.entries()) {
        const own = first[at] ?? (items === undefined ? undefined : schemaOf(items))
        mistakes.push(...visit(own ?? {}, item, pathTo(path, at), depth + 1))
      }
    } else if (isObject(value)) {
      const properties = new Map(propertiesOf(schema))
      for (const name of textsOf(schema["required"])) {
        if (!Object.hasOwn(value, name)) mistakes.push({ path: pathTo(path, name), message: "Required" })
      }
      const more: unknown = schema["additionalProperties"]
      const others = more === undefined || schema["patternProperties"] !== undefined ? {} : schemaOf(more)
      for (const [name, inner] of Object.entries(value)) {
        const own = properties.get(name)
        if (own === undefined && more === false && schema["patternProperties"] === undefined) {
          mistakes.push({ path: pathTo(path, name), message: "The tool doesn't know this" })
        } else mistakes.push(...visit(own ?? others, inner, pathTo(path, name), depth + 1))
      }
    }
    return mistakes
  }

  return distinct(visit(schemaOf(schema), value, ""))
}

/** The alternative that a value is most likely of. */
export const fittest = (alternatives: ReadonlyArray<Schema>, value: unknown, root: Schema): number => {
  const mistakes = alternatives.map((schema) => check(schema, value, root).length)
  return Math.max(0, mistakes.indexOf(Math.min(...mistakes)))
}

const distinct = (mistakes: ReadonlyArray<Mistake>): ReadonlyArray<Mistake> =>
  Array.from(new Map(mistakes.map((mistake) => [JSON.stringify(mistake), mistake])).values())

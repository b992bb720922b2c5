/**
 * What doesn't fit a schema, told by the place where it stands: for people, before the call. The server has the last word.
 *
 * **Details**: of some values nobody here can say whether they fit. That is no mistake, and no fit either: of an
 * alternative that mustn't fit it isn't said that it does.
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

const articles: ReadonlyMap<string, string> = new Map([
  ["array", "a list"],
  ["boolean", "true or false"],
  ["integer", "a whole number"],
  ["null", "null"],
  ["number", "a number"],
  ["object", "an object"],
  ["string", "a text"]
])

/** The same text for the same value, in whichever order its names are. */
const canonical = (value: unknown): string =>
  JSON.stringify(
    value,
    (_, inner: unknown) =>
      isObject(inner) ? Object.fromEntries(Object.keys(inner).sort().map((name) => [name, inner[name]])) : inner
  )

export const isSame = (one: unknown, other: unknown): boolean =>
  one === other ||
  (typeof one === "object" && typeof other === "object" && one !== null && other !== null &&
    canonical(one) === canonical(other))

/** What isn't looked at here. */
const unchecked =
  /^(\$dynamicRef|\$recursiveRef|additionalItems|contains|depend|format|if|m..Prop|patternProp|propertyN|unevaluated)/

const isWhole = (schema: Schema): boolean =>
  !Object.keys(schema).some((name) => unchecked.test(name)) && !Array.isArray(schema["items"]) &&
  schema["exclusiveMinimum"] !== true && schema["exclusiveMaximum"] !== true

// Whoever writes the schema could have the page search for ever: patterns that might are left to the server.
const isQuick = (pattern: string): boolean =>
  pattern.length <= 500 && !/\)[*+{?]/.test(pattern) && (pattern.match(/[*+]|\{\d+,/g)?.length ?? 0) <= 3

const matches = (text: string, pattern: string): boolean | undefined => {
  if (!isQuick(pattern) || text.length > 200) return undefined
  try {
    return new RegExp(pattern, "u").test(text)
  } catch {
    return undefined
  }
}

type Say = (message: string) => void

const checkText = (schema: Schema, text: string, say: Say): void => {
  const { maxLength, minLength } = schema
  const length = Array.from(text).length
  if (typeof minLength === "number" && length < minLength) say(`At least ${minLength} characters, there are ${length}`)
  if (typeof maxLength === "number" && length > maxLength) say(`At most ${maxLength} characters, there are ${length}`)
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
}

/** Without mistakes it fits, if all of it was looked at. */
interface Checked {
  readonly mistakes: ReadonlyArray<Mistake>
  readonly whole: boolean
}

const fits = ({ mistakes, whole }: Checked): boolean => whole && mistakes.length === 0
const mayFit = ({ mistakes }: Checked): boolean => mistakes.length === 0

/** What is written and can't be sent as it is. */
export const unsendable = (value: unknown, path = ""): ReadonlyArray<Mistake> =>
  value instanceof Unparsed
    ? [{ path, message: value.reason }]
    : typeof value === "object" && value !== null
    ? Object.entries(value).flatMap(([name, inner]) => unsendable(inner, pathTo(path, name)))
    : []

/** `root` is what references within the schema are of. */
export const check = (
  schema: unknown,
  value: unknown,
  root: Schema = schemaOf(schema)
): ReadonlyArray<Mistake> => {
  let left = mostSteps

  const visit = (schema: Schema, value: unknown, path: string, depth = 0): Checked => {
    if (left-- <= 0 || depth > deepest || value instanceof Unparsed) return { mistakes: [], whole: false }
    const mistakes: Array<Mistake> = []
    const say: Say = (message) => void mistakes.push({ path, message })
    let whole = isWhole(schema)
    const add = (found: Checked): void => {
      mistakes.push(...found.mistakes)
      whole &&= found.whole
    }
    const tryOut = (schema: Schema): Checked => visit(schema, value, path, depth + 1)

    const { $ref } = schema
    const referred = typeof $ref === "string" ? target(root, $ref) : undefined
    if (referred !== undefined) add(tryOut(referred))
    else if ($ref !== undefined) whole = false
    for (const part of schemasOf(schema["allOf"])) add(tryOut(part))
    for (const name of ["anyOf", "oneOf"] as const) {
      const tried = schemasOf(schema[name]).map(tryOut)
      if (tried.length === 0) continue
      const fitting = tried.filter(fits).length
      const fittingPerhaps = tried.filter(mayFit).length
      // Of the one that was most likely meant.
      if (fittingPerhaps === 0) add(tried.reduce((a, b) => b.mistakes.length < a.mistakes.length ? b : a))
      else if (name === "anyOf") whole &&= fitting > 0
      else if (fitting > 1) say(`Fits ${fitting} of the alternatives, and may fit only one`)
      else whole &&= fittingPerhaps === fitting
    }

    if (schema["not"] !== undefined) {
      const found = tryOut(schemaOf(schema["not"]))
      if (fits(found)) say("Not allowed")
      else whole &&= !mayFit(found)
    }

    const type: unknown = schema["type"]
    const types = typeof type === "string" ? [type] : textsOf(type)
    if ((value === null && schema["nullable"] === true) || !types.every((type) => articles.has(type))) whole = false
    else if (types.length > 0 && !types.some((type) => isOfType(value, type))) {
      say(`Must be ${types.map((type) => articles.get(type)).join(" or ")}`)
      return { mistakes, whole }
    }
    const values: unknown = schema["enum"]
    if (Array.isArray(values) && !values.some((each) => isSame(each, value))) {
      say(`Must be one of ${values.slice(0, 8).map(labelOf).join(", ")}${values.length > 8 ? ", …" : ""}`)
    }
    if (Object.hasOwn(schema, "const") && !isSame(schema["const"], value)) say(`Must be ${labelOf(schema["const"])}`)

    if (typeof value === "string") {
      checkText(schema, value, say)
      const { pattern } = schema
      const matched = typeof pattern === "string" ? matches(value, pattern) : true
      if (matched === false) say(`Must match ${pattern}`)
      whole &&= matched !== undefined
    } else if (typeof value === "number") checkNumber(schema, value, say)
    else if (Array.isArray(value)) {
      const { items, maxItems, minItems, prefixItems, uniqueItems } = schema
      if (typeof minItems === "number" && value.length < minItems) {
        say(`At least ${minItems} items, there are ${value.length}`)
      }
      if (typeof maxItems === "number" && value.length > maxItems) {
        say(`At most ${maxItems} items, there are ${value.length}`)
      }
      const there = value.filter((item) => !(item instanceof Unparsed))
      if (uniqueItems === true && new Set(there.map(canonical)).size < there.length) say("No item twice")
      const first = schemasOf(prefixItems)
      for (const [at, item] of value.entries()) {
        const own = first[at] ?? (items === undefined ? undefined : schemaOf(items))
        add(visit(own ?? {}, item, pathTo(path, at), depth + 1))
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
        } else add(visit(own ?? others, inner, pathTo(path, name), depth + 1))
      }
    }
    return { mistakes, whole }
  }

  return distinct(visit(schemaOf(schema), value, "").mistakes)
}

/** The alternative that a value is most likely of. */
export const fittest = (alternatives: ReadonlyArray<Schema>, value: unknown, root: Schema): number => {
  const mistakes = alternatives.map((schema) => check(schema, value, root).length)
  return Math.max(0, mistakes.indexOf(Math.min(...mistakes)))
}

const distinct = (mistakes: ReadonlyArray<Mistake>): ReadonlyArray<Mistake> =>
  Array.from(new Map(mistakes.map((mistake) => [JSON.stringify(mistake), mistake])).values())

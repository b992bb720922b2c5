/**
 * JSON Schemas of tools: what they refer to, and what they come to when all of their parts are put together.
 *
 * **Details**: whoever announces a tool writes its schema, so nothing here trusts it to be well-formed, small, or free of
 * circles.
 */
export type Schema = Readonly<Record<string, unknown>>

export const isObject = (value: unknown): value is Schema =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** What isn't a schema says nothing, as `true` does. */
export const schemaOf = (value: unknown): Schema => isObject(value) ? value : value === false ? { not: {} } : {}

export const schemasOf = (value: unknown): ReadonlyArray<Schema> => Array.isArray(value) ? value.map(schemaOf) : []

export const textsOf = (value: unknown): ReadonlyArray<string> =>
  Array.isArray(value) ? value.filter((item) => typeof item === "string") : []

export const propertiesOf = (schema: Schema): ReadonlyArray<readonly [name: string, schema: Schema]> =>
  isObject(schema["properties"])
    ? Object.entries(schema["properties"]).map(([name, property]) => [name, schemaOf(property)] as const)
    : []

/** What `#/$defs/Place` stands for. Other documents aren't read. */
export const target = (root: Schema, ref: string): Schema | undefined => {
  if (ref !== "#" && !ref.startsWith("#/")) return undefined
  let found: unknown = root
  for (const part of ref.split("/").slice(1)) {
    const name = decoded(part).replaceAll("~1", "/").replaceAll("~0", "~")
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined
    found = Reflect.get(found, name)
  }
  return isObject(found) ? found : undefined
}

const decoded = (part: string): string => {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

const all = (one: unknown, other: unknown): Schema => ({ allOf: [one, other] })

/** Both at once; what only one can say, such as a title, the other one says. */
export const merged = (one: Schema, other: Schema): Schema => {
  const properties = [one, other].flatMap(propertiesOf)
  const required = new Set([one, other].flatMap((schema) => textsOf(schema["required"])))
  const both = new Map<string, Schema>()
  for (const [name, schema] of properties) {
    const before = both.get(name)
    both.set(name, before === undefined ? schema : all(before, schema))
  }
  return {
    ...one,
    ...other,
    ...properties.length > 0 ? { properties: Object.fromEntries(both) } : {},
    ...required.size > 0 ? { required: Array.from(required) } : {}
  }
}

/** Parts of one schema that are put together; those of a circle have no end. */
const mostParts = 200

/** A schema in place of its `$ref` and its `allOf`. */
export const flat = (schema: Schema, root: Schema, parts: { left: number } = { left: mostParts }): Schema => {
  const { $ref, allOf, ...own } = schema
  const referred = typeof $ref === "string" ? target(root, $ref) : undefined
  const others = [...referred === undefined ? [] : [referred], ...schemasOf(allOf)]
  return others
    .map((other) => parts.left-- > 0 ? flat(other, root, parts) : {})
    .concat(own)
    .reduce(merged)
}

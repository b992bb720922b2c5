/**
 * Schemas as fields of a form. What a form can't ask for is a text of JSON, so that everything can be called.
 */
import { gap } from "./draft.ts"
import { flat, isObject, merged, propertiesOf, type Schema, schemaOf, schemasOf, textsOf } from "./schema.ts"

interface Option {
  readonly label: string
  readonly value: unknown
}

interface Property {
  readonly name: string
  readonly schema: Schema
  readonly required: boolean
}

export interface Alternative {
  readonly title: string
  readonly schema: Schema
}

type Kind =
  | { readonly kind: "text"; readonly type: "text" | "date" | "password"; readonly long: boolean }
  | { readonly kind: "number" }
  | { readonly kind: "choice"; readonly options: ReadonlyArray<Option> }
  | { readonly kind: "object"; readonly properties: ReadonlyArray<Property> }
  | { readonly kind: "list"; readonly item: Schema }
  | { readonly kind: "alternatives"; readonly alternatives: ReadonlyArray<Alternative> }
  | { readonly kind: "json" }

export type Field = Kind & {
  readonly title: string | undefined
  readonly description: string | undefined
  /** Whether it may be `null`. */
  readonly nullable: boolean
  /** As it is without its references, and without `null`. */
  readonly schema: Schema
}

const text = (value: unknown): string | undefined => typeof value === "string" && value !== "" ? value : undefined

export const labelOf = (value: unknown): string => typeof value === "string" ? value : JSON.stringify(value)

const optionsOf = (values: ReadonlyArray<unknown>): ReadonlyArray<Option> =>
  values.map((value) => ({ label: labelOf(value), value }))

const isNull = (schema: Schema): boolean =>
  schema["type"] === "null" || (Object.hasOwn(schema, "const") && schema["const"] === null)

/** Alternatives under either name; a schema with both has those of `oneOf`. */
const alternativesOf = (schema: Schema): ReadonlyArray<Schema> =>
  schemasOf(Array.isArray(schema["oneOf"]) ? schema["oneOf"] : schema["anyOf"])

const without = (schema: Schema): Schema =>
  Object.fromEntries(Object.entries(schema).filter(([name]) => name !== "anyOf" && name !== "oneOf"))

/** `null` apart from what else is allowed: many generators write each optional value as `anyOf: [it, null]`. */
const nullApart = (given: Schema, root: Schema): { readonly schema: Schema; readonly nullable: boolean } => {
  const type: unknown = given["type"]
  const types = textsOf(type)
  const rest = types.filter((name) => name !== "null")
  const named = types.length > 0 ? { ...given, type: rest.length === 1 ? rest[0] : rest } : given
  const nullable = given["nullable"] === true || rest.length < types.length
  const alternatives = alternativesOf(named).map((schema) => flat(schema, root))
  const others = alternatives.filter((schema) => !isNull(schema))
  if (others.length === alternatives.length) return { schema: named, nullable }
  const [only, ...more] = others
  const schema = only !== undefined && more.length === 0
    // What is said of the whole is for people; what is said inside, for the value.
    ? { ...merged(without(named), only), ...titlesOf(without(named)) }
    : { ...without(named), anyOf: others }
  return { schema, nullable: true }
}

const titlesOf = ({ default: value, description, title }: Schema): Schema => ({
  ...title === undefined ? {} : { title },
  ...description === undefined ? {} : { description },
  ...value === undefined ? {} : { default: value }
})

const nameOf = (ref: unknown): string | undefined =>
  typeof ref === "string" ? text(ref.slice(ref.lastIndexOf("/") + 1)) : undefined

/** What tells an alternative from the others: its title, the constant it has, what it needs, or its type. */
const titleOf = (own: Schema, schema: Schema, at: number): string => {
  const constants = propertiesOf(schema).flatMap(([name, property]) =>
    Object.hasOwn(property, "const") ? [`${name} ${labelOf(property["const"])}`] : []
  )
  const needs = textsOf(own["required"])
  return text(own["title"]) ?? text(schema["title"]) ?? nameOf(own["$ref"]) ?? constants[0] ??
    (needs.length > 0 ? `with ${needs.join(", ")}` : undefined) ?? text(own["type"]) ?? `Alternative ${at + 1}`
}

/** An alternative may have itself as its only alternative. */
const deepestAlternative = 8

const kindOf = (schema: Schema, root: Schema, depth = 0): Kind => {
  if (depth > deepestAlternative) return { kind: "json" }
  if (Object.hasOwn(schema, "const")) return { kind: "choice", options: optionsOf([schema["const"]]) }
  const values: unknown = schema["enum"]
  if (Array.isArray(values)) return { kind: "choice", options: optionsOf(values) }

  const own = alternativesOf(schema)
  if (own.length > 0) {
    const base = without(schema)
    const flattened = own.map((one) => flat(one, root))
    if (flattened.every((one) => Object.hasOwn(one, "const"))) {
      return {
        kind: "choice",
        options: flattened.map((one) => ({ label: text(one["title"]) ?? labelOf(one["const"]), value: one["const"] }))
      }
    }
    const [only, ...more] = flattened
    if (only !== undefined && more.length === 0) {
      return kindOf(flat(merged(base, only), root), root, depth + 1)
    }
    return {
      kind: "alternatives",
      alternatives: flattened.map((one, at) => ({
        title: titleOf(own[at] ?? one, one, at),
        schema: { ...merged(base, one), title: undefined, description: one["description"] }
      }))
    }
  }

  const type: unknown = schema["type"]
  if (Array.isArray(type)) {
    return type.length === 0 ? { kind: "json" } : {
      kind: "alternatives",
      alternatives: textsOf(type).map((name) => ({ title: name, schema: { ...schema, type: name } }))
    }
  }
  const properties = propertiesOf(schema)
  switch (type ?? (properties.length > 0 ? "object" : Object.hasOwn(schema, "items") ? "array" : undefined)) {
    case "string":
      return {
        kind: "text",
        type: schema["format"] === "date" ? "date" : isSecret(schema) ? "password" : "text",
        long: typeof schema["maxLength"] === "number" && schema["maxLength"] > 200 ||
          typeof schema["contentMediaType"] === "string"
      }
    case "number":
    case "integer":
      return { kind: "number" }
    case "boolean":
      return { kind: "choice", options: optionsOf([true, false]) }
    case "object": {
      const required = textsOf(schema["required"])
      return properties.length === 0 ? { kind: "json" } : {
        kind: "object",
        properties: properties.map(([name, property]) => ({
          name,
          schema: property,
          required: required.includes(name)
        }))
      }
    }
    case "array":
      return isObject(schema["items"]) && schema["prefixItems"] === undefined
        ? { kind: "list", item: schema["items"] }
        : { kind: "json" }
    default:
      return { kind: "json" }
  }
}

const isSecret = (schema: Schema): boolean => schema["format"] === "password" || schema["writeOnly"] === true

export const fieldOf = (given: Schema, root: Schema): Field => {
  const { nullable, schema } = nullApart(flat(given, root), root)
  return {
    ...kindOf(schema, root),
    title: text(schema["title"]),
    description: text(schema["description"]),
    nullable,
    schema
  }
}

/** How deep what is required is filled in: a schema may require itself. */
const deepest = 8

/** What stands in a field before anybody writes into it: its default; else, where there must be something, what is certain. */
export const initial = (given: Schema, root: Schema, required: boolean, depth = 0): unknown => {
  const field = fieldOf(given, root)
  const value: unknown = field.schema["default"]
  // Left out is what `null` as a default stands for.
  if (value !== undefined && value !== null) return value
  if (!required || depth > deepest) return undefined
  const inner = (schema: Schema, needed: boolean) => initial(schema, root, needed, depth + 1)
  switch (field.kind) {
    case "choice":
      return field.options.length === 1 ? field.options[0]?.value : undefined
    case "object":
      return Object.fromEntries(
        field.properties.flatMap(({ name, required, schema }) => {
          const value = inner(schema, required)
          return value === undefined ? [] : [[name, value] as const]
        })
      )
    case "list": {
      const least: unknown = field.schema["minItems"]
      const length = typeof least === "number" ? Math.min(Math.max(0, least), 20) : 0
      return Array.from({ length }, () => blank(field.item, root, depth + 1))
    }
    case "alternatives":
      return inner(schemaOf(field.alternatives[0]?.schema), true)
    default:
      return undefined
  }
}

/** A new item of a list. */
export const blank = (given: Schema, root: Schema, depth = 0): unknown => initial(given, root, true, depth) ?? gap

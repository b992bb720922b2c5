/**
 * How a value of Kubernetes is built: in which order its fields are told, what it drops, and which lists are merged by
 * key. The API server has this from its OpenAPI schema.
 *
 * @since 0.2.0
 */
import { isList, isObject, type Json, type JsonObject } from "./Json.ts"

/**
 * - `value`: anything, replaced as a whole
 * - `map`: texts by free names, told in the order of their names
 * - `struct`: these fields in this order; others are dropped, as the API server drops what it doesn't know
 * - `list`: items of one shape, told apart by these fields; without any, replaced as a whole
 *
 * @category models
 * @since 0.2.0
 */
export type Shape =
  | { readonly type: "value" }
  | { readonly type: "map" }
  | { readonly type: "struct"; readonly fields: Readonly<Record<string, Shape>> }
  | { readonly type: "list"; readonly of: Shape; readonly keys: ReadonlyArray<string> }

/**
 * @category constructors
 * @since 0.2.0
 */
export const value: Shape = { type: "value" }

/**
 * @category constructors
 * @since 0.2.0
 */
export const map: Shape = { type: "map" }

/**
 * Fields in their order; those that are only named, with spaces between, are values.
 *
 * @category constructors
 * @since 0.2.0
 */
export const struct = (...fields: ReadonlyArray<string | Readonly<Record<string, Shape>>>): Shape => ({
  type: "struct",
  fields: Object.assign(
    {},
    ...fields.map((field) =>
      typeof field === "string" ? Object.fromEntries(field.split(" ").map((name) => [name, value])) : field
    )
  )
})

/**
 * A list whose items are told apart by `keys`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const list = (of: Shape, keys: ReadonlyArray<string> = []): Shape => ({ type: "list", of, keys })

const byName = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => a < b ? -1 : a > b ? 1 : 0

/**
 * The value in the order of its shape, without what Kubernetes doesn't tell: unknown fields, nulls, empty maps.
 *
 * @category combinators
 * @since 0.2.0
 */
export const ordered = (of: Shape, it: Json): Json => {
  if (of.type === "list" && isList(it)) return it.map((item) => ordered(of.of, item))
  if (!isObject(it)) return it
  if (of.type === "map") return Object.fromEntries(Object.entries(it).filter(([, text]) => text !== null).sort(byName))
  return of.type === "struct" ? structured(of.fields, it) : it
}

const structured = (fields: Readonly<Record<string, Shape>>, it: JsonObject): JsonObject => {
  const told: Array<readonly [string, Json]> = []
  for (const [name, shape] of Object.entries(fields)) {
    const field = Object.hasOwn(it, name) ? it[name] : undefined
    if (field === undefined || field === null && !isRequired(shape)) continue
    const inner = ordered(shape, field)
    if (shape.type === "map" && isObject(inner) && Object.keys(inner).length === 0) continue
    if (shape.type === "value" && isList(inner) && inner.length === 0) continue
    told.push([name, inner])
  }
  return Object.fromEntries(told)
}

// A list that is replaced as a whole is told even where there is none: `"endpoints":null`.
const isRequired = (shape: Shape) => shape.type === "list" && shape.keys.length === 0

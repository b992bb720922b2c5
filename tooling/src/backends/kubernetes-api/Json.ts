/**
 * JSON as it comes from a parser.
 *
 * @since 0.2.0
 */

/**
 * Any value.
 *
 * @category models
 * @since 0.2.0
 */
export type Json = null | boolean | number | string | ReadonlyArray<Json> | JsonObject

/**
 * A value with names.
 *
 * @category models
 * @since 0.2.0
 */
export interface JsonObject {
  readonly [name: string]: Json | undefined
}

/**
 * Whether it is a list.
 *
 * @category guards
 * @since 0.2.0
 */
export const isList = (value: Json | undefined): value is ReadonlyArray<Json> => Array.isArray(value)

/**
 * Whether it has names.
 *
 * @category guards
 * @since 0.2.0
 */
export const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * The value itself where it has names; else one without.
 *
 * @category accessors
 * @since 0.2.0
 */
export const objectOf = (value: Json | undefined): JsonObject => isObject(value) ? value : {}

/**
 * The value itself where it is a list; else an empty one.
 *
 * @category accessors
 * @since 0.2.0
 */
export const listOf = (value: Json | undefined): ReadonlyArray<Json> => isList(value) ? value : []

/**
 * The value itself where it is a text; else an empty one.
 *
 * @category accessors
 * @since 0.2.0
 */
export const textOf = (value: Json | undefined): string => typeof value === "string" ? value : ""

/**
 * What lies at a path of names.
 *
 * @category accessors
 * @since 0.2.0
 */
export const at = (value: Json | undefined, ...path: ReadonlyArray<string>): Json | undefined => {
  let found = value
  for (const name of path) found = isObject(found) && Object.hasOwn(found, name) ? found[name] : undefined
  return found
}

/**
 * Whether both say the same, whatever the order of their names.
 *
 * @category comparisons
 * @since 0.2.0
 */
export const same = (a: Json | undefined, b: Json | undefined): boolean => {
  if (a === b) return true
  if (isList(a)) return isList(b) && a.length === b.length && a.every((item, index) => same(item, b[index]))
  if (!isObject(a) || !isObject(b)) return false
  const names = new Set([...Object.keys(a), ...Object.keys(b)])
  return Array.from(names).every((name) => same(a[name], b[name]))
}

/**
 * Patches: merge (RFC 7386), strategic merge (lists with keys are merged item by item) and JSON (RFC 6902).
 *
 * @since 0.2.0
 */
import { at, isList, isObject, type Json, type JsonObject, listOf, same, textOf } from "./Json.ts"
import type { Shape } from "./Shape.ts"

/**
 * A merge patch; with a shape a strategic one.
 *
 * @category combinators
 * @since 0.2.0
 */
export const merged = (target: Json | undefined, patch: Json, shape?: Shape): Json | undefined => {
  if (isList(patch)) return shape?.type === "list" && shape.keys.length > 0 ? items(target, patch, shape) : patch
  if (!isObject(patch)) return patch === null ? undefined : patch
  if (shape !== undefined && patch["$patch"] === "delete") return undefined
  const base = isObject(target) && patch["$patch"] !== "replace" ? target : {}
  const result = new Map(Object.entries(base))
  for (const [name, change] of Object.entries(patch)) {
    // Directives: the order of lists isn't kept here.
    if (shape !== undefined && name.startsWith("$") || change === undefined) continue
    const inner = shape?.type === "struct" ? shape.fields[name] ?? { type: "value" } : shape
    const value = merged(result.get(name), change, inner)
    if (value === undefined) result.delete(name)
    else result.set(name, value)
  }
  return Object.fromEntries(result)
}

// Patches find items by the first key alone: a port of a Service by its number, whatever the protocol.
const items = (
  target: Json | undefined,
  patches: ReadonlyArray<Json>,
  shape: Extract<Shape, { type: "list" }>
): ReadonlyArray<Json> => {
  const [key = ""] = shape.keys
  const result = patches.some((patch) => at(patch, "$patch") === "replace") ? [] : Array.from(listOf(target))
  for (const patch of patches) {
    if (at(patch, "$patch") === "replace") continue
    const index = result.findIndex((item) => same(at(item, key), at(patch, key)))
    const value = merged(result[index], patch, shape.of)
    if (value === undefined) result.splice(index, index < 0 ? 0 : 1)
    else if (index < 0) result.push(value)
    else result[index] = value
  }
  return result
}

/**
 * A JSON patch; `undefined` where one of its operations can't be done.
 *
 * @category combinators
 * @since 0.2.0
 */
export const jsonPatched = (target: JsonObject, operations: Json): JsonObject | undefined => {
  let result: Json | undefined = target
  for (const operation of listOf(operations)) {
    result = operated(result, operation)
    if (result === undefined) return undefined
  }
  return isList(operations) && isObject(result) ? result : undefined
}

const pathOf = (pointer: Json | undefined): ReadonlyArray<string> =>
  textOf(pointer).split("/").slice(1).map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))

const operated = (target: Json, operation: Json): Json | undefined => {
  const path = pathOf(at(operation, "path"))
  const from = pathOf(at(operation, "from"))
  const value = at(operation, "value")
  switch (at(operation, "op")) {
    case "add":
      return value === undefined ? undefined : changed(target, path, value, "add")
    case "replace":
      return value === undefined || found(target, path) === undefined
        ? undefined
        : changed(target, path, value, "replace")
    case "remove":
      return found(target, path) === undefined ? undefined : changed(target, path, undefined, "replace")
    case "test":
      return same(found(target, path), value) ? target : undefined
    case "copy":
    case "move": {
      const moved = found(target, from)
      const rest = at(operation, "op") === "copy" ? target : changed(target, from, undefined, "replace")
      return moved === undefined || rest === undefined ? undefined : changed(rest, path, moved, "add")
    }
    default:
      return undefined
  }
}

const found = (target: Json | undefined, path: ReadonlyArray<string>): Json | undefined =>
  path.reduce<Json | undefined>((inner, part) => isList(inner) ? inner[Number(part)] : at(inner, part), target)

/** The target with another value at the path, or without one; `undefined` where the path leads nowhere. */
const changed = (
  target: Json | undefined,
  [first, ...rest]: ReadonlyArray<string>,
  value: Json | undefined,
  how: "add" | "replace"
): Json | undefined => {
  if (first === undefined) return value
  if (isList(target)) {
    const index = first === "-" ? target.length : Number(first)
    if (!Number.isInteger(index) || index < 0 || index > target.length) return undefined
    const inner = rest.length === 0 ? value : changed(target[index], rest, value, how)
    if (rest.length > 0 && inner === undefined) return undefined
    return target.toSpliced(index, how === "add" && rest.length === 0 ? 0 : 1, ...(inner === undefined ? [] : [inner]))
  }
  if (!isObject(target)) return undefined
  const inner = rest.length === 0 ? value : changed(target[first], rest, value, how)
  if (rest.length > 0 && inner === undefined) return undefined
  const { [first]: _, ...others } = target
  return inner === undefined ? others : { ...target, [first]: inner }
}

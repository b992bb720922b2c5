/**
 * Who set which field, as `metadata.managedFields` tells it for updates.
 *
 * **Mental model**: an object is the set of its leaves, each with a path of elements such as `f:spec`, `f:ports`,
 * `k:{"port":80}`. Whoever changes a leaf owns it from then on; a map or a list with keys is a leaf too, written `.`.
 *
 * @since 0.2.0
 */
import { at, isList, isObject, type Json, type JsonObject, listOf, objectOf, textOf } from "./Json.ts"
import { apiVersionOf, type Resource } from "./Resource.ts"
import type { Shape } from "./Shape.ts"

type Leaves = Map<string, string>

/** Between elements of a path: sorts before all that they hold. */
const separator = "\u0000"

const walk = (leaves: Leaves, path: ReadonlyArray<string>, shape: Shape, it: Json) => {
  const leaf = (elements: ReadonlyArray<string>, content: Json | undefined) =>
    leaves.set(elements.join(separator), JSON.stringify(content ?? null))
  if (shape.type === "struct" && isObject(it)) {
    const fields = Object.entries(it)
    if (fields.length === 0) leaf(path, it)
    for (const [name, field] of fields) {
      const of = shape.fields[name]
      if (of !== undefined && field !== undefined) walk(leaves, [...path, `f:${name}`], of, field)
    }
  } else if (shape.type === "map" && isObject(it)) {
    leaf([...path, "."], "")
    for (const [name, text] of Object.entries(it)) leaf([...path, `f:${name}`], text)
  } else if (shape.type === "list" && shape.keys.length > 0 && isList(it)) {
    leaf([...path, "."], "")
    for (const item of it) {
      const keys = shape.keys.toSorted().map((key) => [key, at(item, key)] as const)
      const element = [...path, `k:${JSON.stringify(Object.fromEntries(keys))}`]
      leaf([...element, "."], "")
      if (shape.of.type === "struct") walk(leaves, element, shape.of, item)
    }
  } else leaf(path, it)
}

const serverSide = ["name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"]

const leavesOf = (resource: Resource, object: JsonObject | undefined): Leaves => {
  const leaves: Leaves = new Map()
  if (object === undefined) return leaves
  const { apiVersion: _, kind: __, status: ___, ...contents } = object
  const metadata = Object.entries(objectOf(contents["metadata"])).filter(([name]) => !serverSide.includes(name))
  const written = metadata.length === 0 ? {} : { metadata: Object.fromEntries(metadata) }
  walk(leaves, [], resource.shape, { ...contents, metadata: undefined, ...written })
  return leaves
}

const pathsOf = (tree: Json | undefined, path: ReadonlyArray<string> = []): Array<string> =>
  Object.entries(objectOf(tree)).flatMap(([element, inner]) =>
    element === "." || Object.keys(objectOf(inner)).length === 0
      ? [[...path, element].join(separator)]
      : pathsOf(inner, [...path, element])
  )

interface Tree {
  [element: string]: Tree
}

const treeOf = (paths: ReadonlyArray<string>): JsonObject => {
  const tree: Tree = {}
  for (const path of paths.toSorted()) {
    let branch = tree
    for (const element of path.split(separator)) branch = branch[element] ??= {}
  }
  return tree
}

/**
 * The entries after a write: what was changed belongs to its writer, what is gone to nobody.
 *
 * @category combinators
 * @since 0.2.0
 */
export const written = (
  resource: Resource,
  manager: string,
  time: string,
  before: JsonObject | undefined,
  after: JsonObject
): ReadonlyArray<Json> => {
  const old = leavesOf(resource, before)
  const leaves = leavesOf(resource, after)
  const changed = new Set(Array.from(leaves.keys()).filter((path) => old.get(path) !== leaves.get(path)))
  const entries = listOf(at(before, "metadata", "managedFields")).map((entry) => ({
    manager: textOf(at(entry, "manager")),
    time: textOf(at(entry, "time")),
    paths: pathsOf(at(entry, "fieldsV1")).filter((path) => leaves.has(path))
  }))
  const own = entries.find((entry) => entry.manager === manager)?.paths ?? []
  const others = entries.filter((entry) => entry.manager !== manager)
    .map((entry) => ({ ...entry, paths: entry.paths.filter((path) => !changed.has(path)) }))
  const mine = changed.size === 0
    ? entries.filter((entry) => entry.manager === manager)
    : [{ manager, time, paths: Array.from(new Set([...own, ...changed])) }]
  return [...others, ...mine].filter((entry) => entry.paths.length > 0).map((entry) => ({
    manager: entry.manager,
    operation: "Update",
    apiVersion: apiVersionOf(resource),
    time: entry.time,
    fieldsType: "FieldsV1",
    fieldsV1: treeOf(entry.paths)
  }))
}

/**
 * Whether a tool of the stateless era says rightly which of its arguments stand in headers, too: `x-mcp-header`. A client
 * must not offer a tool that says it wrongly.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/server/tools#x-mcp-header
 * @since 0.2.0
 */
import { type Fields, isFields } from "../JsonRpc.ts"

const annotation = "x-mcp-header"

/** Schemas nested deeper than this aren't looked at. */
const MaxDepth = 64

/** A header's name, as HTTP has it. */
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** Keywords that hold values, not schemas. */
const values = new Set(["const", "default", "enum", "examples", annotation])

/** Keywords that hold schemas by name. */
const named = new Set(["$defs", "definitions", "dependentSchemas", "patternProperties"])

/**
 * What is wrong with the headers that a tool names, in one line; `undefined` where nothing is.
 *
 * @category guards
 * @since 0.2.0
 */
export const fault = (definition: Fields): string | undefined => {
  const seen = new Set<string>()

  const annotated = (schema: Fields, path: ReadonlyArray<string>, reachable: boolean): string | undefined => {
    const header = schema[annotation]
    const at = path.length === 0 ? "" : ` of ${path.join(".")}`
    if (typeof header !== "string" || !token.test(header)) return `${annotation}${at} is no name of a header`
    if (!reachable || path.length === 0) return `${annotation} ${header} belongs to no argument`
    const type = schema["type"]
    if (type !== "string" && type !== "integer" && type !== "boolean") {
      return `${annotation}${at} stands at what is no string, integer or boolean`
    }
    const name = header.toLowerCase()
    if (seen.has(name)) return `${annotation} ${header} stands at two arguments`
    seen.add(name)
    return undefined
  }

  const visit = (
    schema: unknown,
    path: ReadonlyArray<string>,
    reachable: boolean,
    depth: number
  ): string | undefined => {
    if (depth > MaxDepth) return undefined
    const inner = (value: unknown, name?: string) =>
      visit(value, name === undefined ? path : [...path, name], name !== undefined && reachable, depth + 1)
    if (Array.isArray(schema)) return first(schema, (each) => inner(each))
    if (!isFields(schema)) return undefined
    const wrong = Object.hasOwn(schema, annotation) ? annotated(schema, path, reachable) : undefined
    if (wrong !== undefined) return wrong
    return first(Object.entries(schema), ([keyword, value]) => {
      if (values.has(keyword)) return undefined
      if (keyword === "properties" && isFields(value)) {
        return first(Object.entries(value), ([name, property]) => inner(property, name))
      }
      return named.has(keyword) && isFields(value) ? first(Object.values(value), (each) => inner(each)) : inner(value)
    })
  }

  return visit(definition["inputSchema"], [], true, 0)
}

/** The first that is found in any of them. */
const first = <A>(all: ReadonlyArray<A>, find: (each: A) => string | undefined): string | undefined => {
  for (const each of all) {
    const found = find(each)
    if (found !== undefined) return found
  }
  return undefined
}

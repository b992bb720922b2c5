/**
 * `Mcp-Param-*`: arguments of a tool that the stateless era repeats in HTTP headers.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/streamable-http#request-metadata
 * @since 0.1.0
 */
import * as HeaderValue from "../../HeaderValue.ts"
import { type Fields, isFields } from "../../JsonRpc.ts"

/**
 * A parameter of a tool that is repeated in a header.
 *
 * @category models
 * @since 0.1.0
 */
export interface Declaration {
  /** Keys that lead to the value in the arguments. */
  readonly path: ReadonlyArray<string>
  /** Lower-case name of the header. */
  readonly header: string
}

const declared = new WeakMap<Fields, ReadonlyArray<Declaration>>()
const none: ReadonlyArray<Declaration> = []

/** A tool nested deeper than this declares nothing there. */
const maxDepth = 16
/** Declarations of one tool that are looked at. */
const mostDeclarations = 64

/**
 * Gives what the input schema of a tool declares with `x-mcp-header`. Remembered per definition.
 *
 * @category accessors
 * @since 0.1.0
 */
export const declarations = (definition: Fields): ReadonlyArray<Declaration> => {
  const known = declared.get(definition)
  if (known !== undefined) return known
  const found: Array<Declaration> = []
  const visit = (schema: unknown, path: ReadonlyArray<string>): void => {
    const properties = isFields(schema) ? schema["properties"] : undefined
    if (!isFields(properties) || path.length >= maxDepth) return
    for (const [name, property] of Object.entries(properties)) {
      if (found.length >= mostDeclarations) return
      if (!isFields(property)) continue
      const header = property["x-mcp-header"]
      const inner = [...path, name]
      if (typeof header === "string" && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(header)) {
        found.push({ path: inner, header: `mcp-param-${header.toLowerCase()}` })
      }
      visit(property, inner)
    }
  }
  visit(definition["inputSchema"], [])
  const result = found.length === 0 ? none : found
  declared.set(definition, result)
  return result
}

const valueAt = (root: unknown, path: ReadonlyArray<string>): unknown => {
  let value = root
  for (const name of path) {
    if (!isFields(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}

const text = (value: unknown): string | undefined =>
  typeof value === "string"
    ? value
    : typeof value === "boolean" || (typeof value === "number" && Number.isFinite(value))
    ? String(value)
    : undefined

const decimal = /^-?\d+(\.\d+)?$/

/**
 * Makes the headers that a call of a tool carries upstream; `undefined` where the tool declares none.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (definition: Fields, args: unknown): Record<string, string> | undefined => {
  let headers: Record<string, string> | undefined
  for (const { header, path } of declarations(definition)) {
    const value = text(valueAt(args, path))
    if (value === undefined) continue
    headers ??= {}
    headers[header] = HeaderValue.encode(value)
  }
  return headers
}

/**
 * Compares the headers of a call with its arguments; gives the first difference in one line.
 *
 * @category guards
 * @since 0.1.0
 */
export const mismatch = (
  definition: Fields,
  args: unknown,
  header: (name: string) => string | undefined
): string | undefined => {
  for (const declaration of declarations(definition)) {
    const value = valueAt(args, declaration.path)
    const expected = text(value)
    const given = header(declaration.header)
    const at = declaration.path.join(".")
    if (expected === undefined) {
      if (given !== undefined && (value === undefined || value === null)) {
        return `${declaration.header} is given, but the arguments have no ${at}`
      }
      continue
    }
    if (given === undefined) return `${declaration.header} is missing; the arguments have ${at}`
    const decoded = HeaderValue.decode(given)
    if (decoded === undefined) return `${declaration.header} is not valid Base64`
    const same = decoded === expected ||
      (typeof value === "number" && decimal.test(decoded) && Number(decoded) === value)
    if (!same) return `${declaration.header} differs from ${at} in the arguments`
  }
  return undefined
}

/**
 * A YAML or JSON document as a plain value, with the place of each of its parts.
 */
import { isAlias, isMap, isPair, isScalar, isSeq, parseDocument } from "yaml"

export type Path = ReadonlyArray<string | number>

interface Position {
  readonly line: number
  readonly column: number
}

/** A mistake in a document. `path` is empty where the document as a whole is meant. */
export interface Finding extends Position {
  readonly path: Path
  readonly message: string
}

/** What `${…}` stands for: its text, or why it has none. */
export type Lookup = (expression: string) => { readonly value: string } | { readonly problem: string }

export interface PositionedDocument {
  readonly value: unknown
  readonly findings: ReadonlyArray<Finding>
  /** Place of the value at the path, or of the nearest part around it. */
  readonly valueAt: (path: Path) => Position
  /** Place of the key at the path. */
  readonly keyAt: (path: Path) => Position
  /**
   * Text that came out of `${…}` at this path, read as a number or a boolean where it looks like one. Variables hold
   * text; only the schema knows what it stands for.
   */
  readonly reread: (path: Path) => number | boolean | undefined
}

// More parts than any configuration has; aliases could multiply without end.
const maximumParts = 100_000
const maximumDepth = 100

const identify = (path: Path): string => JSON.stringify(path)

const substitution = /\$\$\{|\$\{([^}]*)\}/g

/** Reads a document. Never throws, whatever the text. */
export const read = (text: string, lookup: Lookup): PositionedDocument => {
  const source = text.replace(/^\uFEFF/, "")
  const document = parseDocument(source, {
    prettyErrors: false,
    uniqueKeys: true,
    logLevel: "silent"
  })
  const findings: Array<Finding> = []
  const values = new Map<string, number>()
  const keys = new Map<string, number>()
  const substituted = new Map<string, string>()
  let parts = 0

  // Not the reader's own counter, which overlooks line breaks inside what it can't read.
  const starts = [0]
  for (let at = source.indexOf("\n"); at !== -1; at = source.indexOf("\n", at + 1)) starts.push(at + 1)
  const position = (offset: number): Position => {
    let first = 0
    let last = starts.length - 1
    while (first < last) {
      const middle = Math.ceil((first + last) / 2)
      if (starts[middle]! <= offset) first = middle
      else last = middle - 1
    }
    return { line: first + 1, column: offset - starts[first]! + 1 }
  }
  const report = (path: Path, offset: number, message: string) => {
    findings.push({ path, ...position(offset), message })
  }

  // What comes after text that can't be read is mostly its consequence, and told as such helps nobody.
  const unreadable = document.errors.findIndex(({ code }) => code !== "DUPLICATE_KEY")
  for (const error of document.errors.slice(0, unreadable === -1 ? undefined : unreadable + 1)) {
    const message = (error.message.split("\n")[0] ?? "not readable").replace(/\.?$/, "")
    const at = position(error.pos[0])
    const line = source.split("\n")[at.line - 1] ?? ""
    const note = /\{.*\$\{/.test(line) ? "; inside { } write ${…} in quotes" : ""
    findings.push({ path: [], ...at, message: `${message.charAt(0).toLowerCase()}${message.slice(1)}${note}` })
  }

  const substitute = (source: string, path: Path, offset: number): string => {
    let changed = false
    const result = source.replace(substitution, (whole, expression: string | undefined) => {
      if (expression === undefined) return "${"
      const found = lookup(expression)
      if ("problem" in found) {
        report(path, offset, found.problem)
        return whole
      }
      changed = true
      return found.value
    })
    if (changed) substituted.set(identify(path), result)
    return result
  }

  const walk = (node: unknown, path: Path, around: number): unknown => {
    if (++parts > maximumParts || path.length > maximumDepth) {
      if (parts <= maximumParts + 1) report(path, around, "too large: aliases or nesting without end")
      parts = maximumParts + 2
      return undefined
    }
    const target: unknown = isAlias(node) ? node.resolve(document) : node
    const range = isAlias(node) || isScalar(node) || isMap(node) || isSeq(node) ? node.range : undefined
    const offset = range?.[0] ?? around
    values.set(identify(path), offset)
    // Without its name: it may be a password that begins with an asterisk.
    if (target === undefined) report(path, offset, "an alias of nothing; write text that begins with * in quotes")
    if (isMap(target)) {
      const object: Record<string, unknown> = {}
      for (const pair of target.items) {
        if (!isPair(pair) || !isScalar(pair.key)) {
          report(path, offset, "expected keys to be plain text")
          continue
        }
        const key = String(pair.key.value)
        const inner = [...path, key]
        const keyOffset = pair.key.range?.[0] ?? offset
        keys.set(identify(inner), keyOffset)
        const value = walk(pair.value, inner, keyOffset)
        // A key without a value counts as not given.
        if (value === null || value === undefined) continue
        Object.defineProperty(object, key, { value, enumerable: true, configurable: true, writable: true })
      }
      return object
    }
    if (isSeq(target)) return target.items.map((item, index) => walk(item, [...path, index], offset))
    if (!isScalar(target)) return undefined
    return typeof target.value === "string" ? substitute(target.value, path, offset) : target.value
  }

  const value = document.errors.length === 0 ? walk(document.contents, [], 0) ?? {} : {}

  const nearestOffset = (path: Path): number => {
    for (let length = path.length; length >= 0; length--) {
      const offset = values.get(identify(path.slice(0, length)))
      if (offset !== undefined) return offset
    }
    return 0
  }

  return {
    value,
    findings,
    valueAt: (path) => position(nearestOffset(path)),
    keyAt: (path) => position(keys.get(identify(path)) ?? nearestOffset(path)),
    reread: (path) => {
      const found = substituted.get(identify(path))
      if (found === undefined) return undefined
      if (found === "true" || found === "false") return found === "true"
      return /^-?\d+(\.\d+)?$/.test(found) ? Number(found) : undefined
    }
  }
}

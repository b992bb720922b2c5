/**
 * Queries as pairs of key and text: URL parameters, and what a person types.
 */
import * as Result from "effect/Result"
import type { Query } from "../../Query.ts"

type Pair = readonly [key: string, value: string]

// Keys whose values are text whatever they look like, so that `version=1` needs no quotes.
const texts = new Set([
  ..."kind id service name version tags anyTags capabilities anyCapabilities tools anyTools health status".split(" "),
  ..."source region zone tenant endpoint.transport endpoint.url search".split(" ")
])

const singular: ReadonlyMap<string, string> = new Map([
  ["tag", "tags"],
  ["anyTag", "anyTags"],
  ["capability", "capabilities"],
  ["anyCapability", "anyCapabilities"],
  ["tool", "tools"],
  ["anyTool", "anyTools"]
])

const number = /^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/
const typed = (value: string) => number.test(value) || value === "true" || value === "false" || value === "null"
const isJson = (value: string) => /^[[{"]/.test(value)

// `$exists` is never text, `$regex` always is.
const isText = (key: string, operator: string | undefined) =>
  operator === "$regex" || operator !== "$exists" && texts.has(key)

/** Reads pairs as the data of a query, unchecked. */
export const fromPairs = (
  pairs: ReadonlyArray<Pair>
): Result.Result<unknown, { readonly path: string; readonly reason: string }> => {
  const values = new Map<string, Array<unknown>>()
  const operators = new Map<string, Map<string, Array<unknown>>>()
  const negated: Array<unknown> = []
  for (const [written, text] of pairs) {
    const [, name = "", operator] = /^([^]*?)(?:\[(\$\w+|!)\])?$/.exec(written) ?? []
    const key = singular.get(name) ?? name
    let value: unknown = text
    if (isJson(text) && operator !== "$regex" || typed(text) && !isText(key, operator)) {
      try {
        value = JSON.parse(text)
      } catch {
        return Result.fail({ path: written, reason: "expected JSON after [, { or \"" })
      }
    }
    if (operator === "!") negated.push({ $not: record([[key, value]]) })
    else if (operator === undefined) append(values, key, value)
    else {
      const own = operators.get(key) ?? new Map<string, Array<unknown>>()
      operators.set(key, own)
      append(own, operator, value)
    }
  }
  const entries = new Map<string, unknown>()
  for (const [key, list] of values) entries.set(key, list.length === 1 ? list[0] : key === "$and" ? list.flat() : list)
  for (const [key, own] of operators) {
    if (entries.has(key)) return Result.fail({ path: key, reason: "expected a value or operators, not both" })
    // A list operator may be written once for each of its elements.
    const conditions = Array.from(own, ([operator, list]): readonly [string, unknown] => {
      if (operator !== "$in" && operator !== "$nin") return [operator, list.length === 1 ? list[0] : list]
      return [operator, list.length === 1 && Array.isArray(list[0]) ? list[0] : list]
    })
    entries.set(key, record(conditions))
  }
  if (negated.length > 0) {
    const and = entries.get("$and")
    entries.set("$and", Array.isArray(and) ? [...and, ...negated] : negated)
  }
  return Result.succeed(record(entries))
}

const append = (into: Map<string, Array<unknown>>, key: string, value: unknown) => {
  const list = into.get(key)
  if (list === undefined) into.set(key, [value])
  else list.push(value)
}

// Defines keys instead of assigning them, so that `__proto__` is a key like any other.
const record = (entries: Iterable<readonly [string, unknown]>): Record<string, unknown> => Object.fromEntries(entries)

const suffixed = /\[(\$\w+|!)\]$/

// Text of one value, none where a pair could not say it.
const write = (key: string, value: unknown, operator?: string): string | undefined => {
  const text = isText(key, operator)
  if (typeof value === "string") {
    return operator === "$regex" || !isJson(value) && (text || !typed(value))
      ? value
      : JSON.stringify(value)
  }
  return text && (typeof value !== "object" || value === null) ? undefined : JSON.stringify(value)
}

const pairsOf = (key: string, value: unknown): ReadonlyArray<readonly [string, string | undefined]> => {
  if (Array.isArray(value)) {
    // One element needs brackets to stay a list, and so do records.
    const apart = value.length > 1 && value.map((item) => typeof item === "object" ? undefined : write(key, item))
    return apart && !apart.includes(undefined) ? apart.map((item) => [key, item]) : [[key, JSON.stringify(value)]]
  }
  const entries = key === "metadata" || key === "$not" || typeof value !== "object" || value === null
    ? []
    : Object.entries(value)
  return entries.length === 0
    ? [[key, write(key, value)]]
    : entries.flatMap(([operator, operand]) =>
      operand === undefined ? [] : [[`${key}[${operator}]`, write(key, operand, operator)]]
    )
}

/** Writes a query as pairs. */
export const toPairs = (query: Query): Array<[string, string]> => {
  const pairs: Array<[string, string]> = []
  // Conditions that pairs can't say go into `$and`, as JSON.
  const others: Array<unknown> = []
  for (const [key, value] of Object.entries(query)) {
    if (value === undefined || key === "$and") continue
    const own = pairsOf(key, value).flatMap(([name, text]): Array<[string, string]> =>
      text === undefined ? [] : [[name, text]]
    )
    if (suffixed.test(key) || own.length < pairsOf(key, value).length) others.push(record([[key, value]]))
    else pairs.push(...own)
  }
  if (query.$and !== undefined || others.length > 0) {
    pairs.push(["$and", JSON.stringify([...query.$and ?? [], ...others])])
  }
  return pairs
}

const token = /(?:[^\s"]|"(?:\\[^]|[^"\\])*"?)+/g
const comparison = /^([\w$][^=!<>~"\s]*?)(!=|>=|<=|=|>|<|~)([^]*)$/
const suffix: Readonly<Record<string, string>> = {
  "=": "",
  "!=": "[!]",
  ">=": "[$gte]",
  "<=": "[$lte]",
  ">": "[$gt]",
  "<": "[$lt]",
  "~": "[$regex]"
}

/** Reads what a person types as pairs. */
export const pairsOfText = (text: string): ReadonlyArray<Pair> => {
  const pairs: Array<Pair> = []
  const words: Array<string> = []
  for (const [part] of text.matchAll(token)) {
    const match = comparison.exec(part)
    if (match === null) words.push(part.replace(/^"([^]*)"$/, "$1"))
    else pairs.push([`${match[1]}${suffix[match[2] ?? ""] ?? ""}`, match[3] ?? ""])
  }
  if (words.length > 0) pairs.push(["search", words.join(" ")])
  return pairs
}

/**
 * Configurations with a text of our choice wherever the schema of the configuration takes a text: found by walking its JSON
 * Schema, so that a new field is among them.
 */
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { adapters } from "../src/adapters.ts"

export type Path = ReadonlyArray<string | number>

/** As mistakes name it. */
export const shown = (path: Path): string =>
  path.map((key, index) => typeof key === "number" ? `[${key}]` : index === 0 ? key : `.${key}`).join("")

const schema: unknown = Configuration.jsonSchema(adapters)

const at = (value: unknown, key: string | number): unknown =>
  Predicate.isObjectKeyword(value) ? Reflect.get(value, key) : undefined

const list = (value: unknown): ReadonlyArray<unknown> => Array.isArray(value) ? value : []

/** What is made of the places that take a text; `undefined` leaves one out. */
type Text = (path: Path) => string | undefined

/** A value of a schema with a text wherever it takes one. Where it takes one of several, the one of this number is taken. */
const fill = (schema: unknown, path: Path, text: Text, choice: number, left: ReadonlySet<string>): unknown => {
  if (left.has(shown(path))) return undefined
  const inner = (schema: unknown, key: string | number) => fill(schema, [...path, key], text, choice, left)
  const several = list(at(schema, "anyOf") ?? at(schema, "oneOf"))
  if (several.length > 0) {
    const ways = several.slice(Math.min(choice, several.length - 1))
    return ways.map((way) => fill(way, path, text, choice, left)).find((value) => value !== undefined)
  }
  const constant = at(schema, "const")
  if (constant !== undefined) return constant
  const [first] = list(at(schema, "enum"))
  if (first !== undefined) return first
  const items = at(schema, "items")
  if (at(schema, "type") === "array") {
    const item = inner(items, 0)
    return item === undefined ? undefined : [item]
  }
  if (at(schema, "type") === "object") {
    const more = at(schema, "additionalProperties")
    const entries = Object.entries(Object(at(schema, "properties"))).map(([key, of]) => [key, inner(of, key)] as const)
    if (Predicate.isObjectKeyword(more)) entries.push(["a", inner(more, "a")])
    const found = entries.filter(([, value]) => value !== undefined)
    return found.length === 0 ? undefined : Object.fromEntries(found)
  }
  return at(schema, "type") === "string" || Object.keys(Object(schema)).length === 0 ? text(path) : undefined
}

/** A part of the file that can be right without the others. */
export interface Part {
  readonly name: string
  /** First keys of the file. */
  readonly keys: ReadonlyArray<string>
  /** Which of several is taken where the schema takes one of several. */
  readonly choice: number
  /** The kind of registry, among `registries`. */
  readonly type?: string | undefined
  /** Paths that don't go with the others. */
  readonly without?: ReadonlyArray<string> | undefined
}

const registries = adapters.map(({ type }, index) => ({ type, index }))

const partsOf = (at: string, ...without: ReadonlyArray<ReadonlyArray<string>>) =>
  without.map((names) => names.map((name) => `${at}.${name}`))

const ways: Readonly<Record<string, ReadonlyArray<ReadonlyArray<string>>>> = {
  redis: partsOf(
    "registries[0]",
    ["sentinels", "master", "cluster"],
    ["url", "cluster"],
    ["url", "sentinels", "master"]
  ),
  documents: partsOf(
    "registries[0]",
    ["catalog", "serverCard", "agentCard"],
    ["mcpRegistry", "serverCard", "agentCard", "search"],
    ["mcpRegistry", "catalog", "agentCard", "search"],
    ["mcpRegistry", "catalog", "serverCard", "search"]
  )
}

const stdio = ["type", "url", "headers", "tls", "auth"]
const http = ["type", "command", "args", "env", "envFile", "cwd"]

/** Of all that a file may hold. */
export const parts: ReadonlyArray<Part> = [
  ...["gateway", "webhooks", "telemetry", "catalog", "routing", "health", "balancing", "upstreams", "calls"]
    .map((key) => ({ name: key, keys: [key], choice: 0 })),
  ...["mcpServers", "servers"].flatMap((key) => [
    { name: `${key}, stdio`, keys: [key], choice: 0, without: stdio.map((name) => `${key}.a.${name}`) },
    ...[0, 1, 2].map((choice) => ({
      name: `${key}, http ${choice}`,
      keys: [key],
      choice,
      without: [...http, ...choice === 0 ? ["headers"] : []].map((name) => `${key}.a.${name}`)
    })),
    {
      name: `${key}, headers`,
      keys: [key],
      choice: 0,
      without: [...http, "auth"].map((name) => `${key}.a.${name}`)
    }
  ]),
  ...registries.flatMap(({ type }) =>
    (ways[type] ?? [[]]).flatMap((without, way) =>
      [0, 1, 2].map((choice) => ({ name: `${type} ${way} ${choice}`, keys: ["registries"], type, choice, without }))
    )
  )
]

/** The part with these texts, those of `left` left out, and the places that took a text. */
const documentOf = ({ choice, keys, type, without = [] }: Part, text: Text, left: ReadonlySet<string>) => {
  const places: Array<Path> = []
  const kept = new Set([...without, ...left])
  const properties = at(schema, "properties")
  const place: Text = (path) => {
    places.push(path)
    return text(path)
  }
  const document = Object.fromEntries(keys.map((key) => {
    const own = at(properties, key)
    if (type === undefined) return [key, fill(own, [key], place, choice, kept)]
    const index = registries.findIndex((registry) => registry.type === type)
    return [key, [fill(list(at(at(own, "items"), "oneOf"))[index], [key, 0], place, choice, kept)]]
  }))
  return { document, places }
}

/** How a text with a marker in it may look, until one is taken. */
const forms = (marker: string): ReadonlyArray<string> => [
  marker,
  `https://someone:${marker}@127.0.0.1:1/mcp?key=${marker}`,
  `https://127.0.0.1:1/mcp?key=${marker}`,
  `${marker}:7000`,
  `redis://${marker}:7000`,
  `/${marker}`,
  // What holds no text of anybody's.
  "10.0.0.0/24",
  "5s",
  "3000"
]

const most = forms("").length

/** The part as the gateway takes it: with a marker of its own at each place that can hold one. */
export const right = (
  part: Part,
  markerOf: (path: Path) => string,
  readFile: Configuration.ParseOptions["readFile"] = () => Result.succeed("x")
) => {
  const tries = new Map<string, number>()
  const left = new Set<string>()
  let last: unknown
  for (let round = 0; round < 100; round++) {
    const { document, places } = documentOf(part, (path) => forms(markerOf(path))[tries.get(shown(path)) ?? 0], left)
    const parsed = Configuration.parse(JSON.stringify(document), { adapters, env: {}, readFile })
    if (Result.isSuccess(parsed)) {
      return { document, places: places.filter((path) => (tries.get(shown(path)) ?? 0) < most) }
    }
    last = parsed.failure.mistakes
    for (const { path } of parsed.failure.mistakes) {
      const tried = tries.get(path) ?? 0
      if (tried < most && places.some((place) => shown(place) === path)) tries.set(path, tried + 1)
      // What must be there and can't be is left out with what it is in.
      else left.add(left.has(path) ? path.replace(/(\.[^.[]+|\[\d+\])$/, "") : path)
    }
  }
  throw new Error(`${part.name}: nothing right found, ${JSON.stringify(last)}`)
}

/** A copy with this text at the path. */
export const withText = (document: unknown, path: Path, text: string): unknown => {
  const [key, ...rest] = path
  if (key === undefined) return text
  const inner = withText(at(document, key), rest, text)
  if (typeof key === "number") return list(document).length === 0 ? [inner] : list(document).with(key, inner)
  return { ...Object(document), [key]: inner }
}
/** Every place of the part that takes a text, those among them that don't go with others. */
export const placesOf = (part: Part): ReadonlyArray<Path> => documentOf(part, () => "", new Set()).places

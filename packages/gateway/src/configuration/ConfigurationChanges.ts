/**
 * What differs between two configurations, in words that a person reads in a log.
 *
 * **Details**: registries and servers are told apart by their names, everything else by its path. What only looks
 * different (order of keys, comments, a default that is written out) is no change.
 *
 * @since 0.1.0
 */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Equal from "effect/Equal"
import * as Predicate from "effect/Predicate"
import { setting } from "../internal/redact.ts"
import type { Configuration, ConfiguredRegistry, Origin } from "./Configuration.ts"

/**
 * A difference. `Order`: the registries that stay have another order now.
 *
 * @category models
 * @since 0.1.0
 */
export type Change =
  | {
    readonly _tag: "Entry"
    readonly section: "registries" | "mcpServers" | "servers"
    readonly name: string
    readonly how: "added" | "changed" | "removed"
  }
  | { readonly _tag: "Order"; readonly names: ReadonlyArray<string> }
  | { readonly _tag: "Setting"; readonly path: string; readonly value: unknown }

/**
 * A value in effect. Secrets are hidden.
 *
 * @category models
 * @since 0.1.0
 */
export interface Setting {
  /** `gateway.port`. */
  readonly path: string
  readonly value: unknown
  readonly origin: Origin
}

/**
 * Whether two entries open the same registry.
 *
 * @category comparing
 * @since 0.1.0
 */
export const sameRegistry = (left: ConfiguredRegistry, right: ConfiguredRegistry): boolean =>
  left.type === right.type && left.trust === right.trust && Equal.equals(left.allow, right.allow) &&
  Equal.equals(left.options, right.options)

const lists = new Set(["$schema", "registries", "mcpServers", "servers"])

type Path = ReadonlyArray<string>

/** Leaves of the document that are no lists of their own: texts, numbers, and arrays as a whole. */
const leaves = (value: unknown, path: Path, out: Array<readonly [Path, unknown]>): typeof out => {
  if (!Predicate.isObject(value) || Array.isArray(value)) {
    if (value !== undefined) out.push([path, value])
    return out
  }
  for (const [key, inner] of Object.entries(value)) {
    if (path.length > 0 || !lists.has(key)) leaves(inner, [...path, key], out)
  }
  return out
}

const leavesOf = ({ document }: Configuration) => leaves(document, [], [])

/** Differences of what has a name, in the order of `after`, then what is gone. */
const entries = <A>(
  before: ReadonlyMap<string, A>,
  after: ReadonlyMap<string, A>,
  same: (left: A, right: A) => boolean,
  sectionOf: (name: string) => "registries" | "mcpServers" | "servers"
): ReadonlyArray<Change> => {
  const changes: Array<Change> = []
  for (const [name, value] of after) {
    const known = before.get(name)
    if (known !== undefined && same(known, value)) continue
    changes.push({ _tag: "Entry", section: sectionOf(name), name, how: known === undefined ? "added" : "changed" })
  }
  for (const name of before.keys()) {
    if (!after.has(name)) changes.push({ _tag: "Entry", section: sectionOf(name), name, how: "removed" })
  }
  return changes
}

const byName = (registries: ReadonlyArray<ConfiguredRegistry>) =>
  new Map(registries.map((registry) => [registry.name, registry]))

const byId = (servers: ReadonlyArray<ServiceInstance>) => new Map(servers.map((server) => [server.id, server]))

/**
 * What leads from the one configuration to the other.
 *
 * @category comparing
 * @since 0.1.0
 */
export const diff = (before: Configuration, after: Configuration): ReadonlyArray<Change> => {
  const changes = [
    ...entries(byName(before.registries), byName(after.registries), sameRegistry, () => "registries")
  ]
  const staying = ({ registries }: Configuration, other: Configuration) =>
    registries.map(({ name }) => name).filter((name) => other.registries.some((registry) => registry.name === name))
  if (!Equal.equals(staying(before, after), staying(after, before))) {
    changes.push({ _tag: "Order", names: after.registries.map(({ name }) => name) })
  }
  const writtenIn = (name: string) =>
    [after, before].some(({ document }) => Object.hasOwn(document.mcpServers, name)) ? "mcpServers" : "servers"
  changes.push(...entries(byId(before.servers), byId(after.servers), Equal.equals, writtenIn))

  const old = new Map(leavesOf(before).map(([path, value]) => [path.join("."), value]))
  const fresh = new Map(leavesOf(after).map(([path, value]) => [path.join("."), value]))
  for (const [path, value] of fresh) {
    if (!Equal.equals(old.get(path), value)) changes.push({ _tag: "Setting", path, value })
  }
  for (const path of old.keys()) if (!fresh.has(path)) changes.push({ _tag: "Setting", path, value: undefined })
  return changes
}

/**
 * Paths of the settings that differ and that are taken at the start alone: those that begin with one of these keys.
 *
 * @category comparing
 * @since 0.2.0
 */
export const pending = (
  before: Configuration,
  after: Configuration,
  atStart: ReadonlyArray<string>
): ReadonlyArray<string> =>
  diff(before, after).flatMap((change) =>
    change._tag === "Setting" && atStart.includes(change.path.split(".")[0] ?? "") ? [change.path] : []
  )

const longest = 60

const valueInWords = (path: string, value: unknown): string => {
  if (value === undefined) return "default"
  const visible = setting(path.split("."), value)
  const text = typeof visible === "string"
    ? visible
    : Array.isArray(visible) && !visible.some(Predicate.isObject)
    ? `[${visible.join(", ")}]`
    : JSON.stringify(visible)
  return !Equal.equals(visible, value) || text.length > longest ? "changed" : text
}

const signs = { added: "+", changed: "~", removed: "-" } as const

/**
 * The changes in a line: `registries +consul, mcpServers ~memory, balancing.strategy peak-ewma`.
 *
 * @category converting
 * @since 0.1.0
 */
export const describe = (changes: ReadonlyArray<Change>): string => {
  if (changes.length === 0) return "nothing changed"
  const sections = new Map<string, Array<string>>()
  const settings: Array<string> = []
  const section = (name: string): Array<string> => {
    const known = sections.get(name) ?? []
    sections.set(name, known)
    return known
  }
  for (const change of changes) {
    if (change._tag === "Entry") section(change.section).push(`${signs[change.how]}${change.name}`)
    else if (change._tag === "Order") section("registries").push(`in the order ${change.names.join(" ")}`)
    else settings.push(`${change.path} ${valueInWords(change.path, change.value)}`)
  }
  return [...Array.from(sections, ([name, words]) => `${name} ${words.join(" ")}`), ...settings].join(", ")
}

/**
 * The settings in effect, with where each comes from. Registries and servers aren't among them: they have lists of their
 * own.
 *
 * @category converting
 * @since 0.1.0
 */
export const effective = (configuration: Configuration): ReadonlyArray<Setting> =>
  leavesOf(configuration).map(([path, value]) => ({
    path: path.join("."),
    value: setting(path, value),
    origin: configuration.source.originOf(path)
  }))

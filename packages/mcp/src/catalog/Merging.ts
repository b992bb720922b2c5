/**
 * Merges what replicas list into what their service offers.
 *
 * **Mental model**: the instances of a service are grouped in lines by major version (by minor below 1.0), and only the
 * highest line is offered. Within it the list is the union; a definition comes from the highest version that has it; an
 * offer names the instances that list it. A group joins services of other names, each by its own highest line. What a call
 * may do at any of them must be true of all: an offer is as safe to repeat as the least safe of those who list it.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import { type Registry, toolRefusal } from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type { Fields } from "../JsonRpc.ts"
import type { OfferKind } from "./Offer.ts"

/**
 * What one server lists, by kind and name.
 *
 * @category models
 * @since 0.1.0
 */
export type Lists = ReadonlyMap<OfferKind, ReadonlyMap<string, Fields>>

/**
 * An instance, the place of its registry, and what it lists, once it has been asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface ListedInstance {
  readonly key: InstanceKey
  readonly instance: ServiceInstance
  readonly precedence: number
  readonly lists: Lists
  /** Tools that it lists besides and that must not be offered, and why. Default: none. */
  readonly refused?: ReadonlyMap<string, string> | undefined
}

/**
 * The same instance with those of its tools alone that its registry may offer, and why the others are refused.
 *
 * @category combinators
 * @since 0.2.0
 */
export const allowed = (listed: ListedInstance, registry: Pick<Registry, "allow" | "name">): ListedInstance => {
  const tools = listed.lists.get("tools")
  const allow = registry.allow?.tools
  if (allow === undefined || tools === undefined) return listed
  let bounded = boundedByLists.get(listed.lists)
  if (bounded?.allow !== allow || bounded.registry !== registry.name) {
    const refused = new Map<string, string>()
    const offered = new Map<string, Fields>()
    for (const [name, definition] of tools) {
      const reason = toolRefusal(registry, name)
      if (reason === undefined) offered.set(name, definition)
      else refused.set(name, reason)
    }
    bounded = { allow, registry: registry.name, refused, lists: new Map([...listed.lists, ["tools", offered]]) }
    boundedByLists.set(listed.lists, bounded)
  }
  return { ...listed, refused: new Map([...listed.refused ?? [], ...bounded.refused]), lists: bounded.lists }
}

/** What a registry leaves of lists: the same object as long as both are the same. */
interface Bounded {
  readonly allow: object
  readonly registry: string
  readonly lists: Lists
  readonly refused: ReadonlyMap<string, string>
}

const boundedByLists = new WeakMap<Lists, Bounded>()

/**
 * One thing that a service offers, and who offers it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Merged {
  /** The service, or the group that it is in. */
  readonly service: string
  /** The services of those who list it: in a group one or more. */
  readonly services: ReadonlyArray<string>
  readonly name: string
  /** The best precedence among the instances that list it. */
  readonly precedence: number
  readonly definition: Fields
  /** Whether all who list it say that running it twice does no harm. */
  readonly repeatable: boolean
  /** Whether all who list it say that it changes nothing. */
  readonly readOnly: boolean
  readonly keys: ReadonlySet<InstanceKey>
}

/**
 * Services that are one to clients: name of the group to names of its members. Of two members with one tool, the first
 * defines it. A service is in the first group that names it.
 *
 * @category models
 * @since 0.1.0
 */
export type Groups = Readonly<Record<string, ReadonlyArray<string>>>

/** The numbers of a version, and 0 for a pre-release, which comes before its release. */
type Version = readonly [major: number, minor: number, patch: number, release: number]

/** What isn't a number counts as 0. */
const parse = (version: string): Version => {
  const match = /^[v=]?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-)?/.exec(version.trim())
  return [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0), Number(match?.[3] ?? 0), match?.[4] === undefined ? 1 : 0]
}

const compare = (left: Version, right: Version): number => {
  for (let i = 0; i < left.length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/**
 * Order of two versions: negative where the first is lower.
 *
 * @category versions
 * @since 0.1.0
 */
export const compareVersions = (a: string, b: string): number => compare(parse(a), parse(b))

/** Whether two versions are of one line. */
const sameLine = ([major, minor]: Version, [otherMajor, otherMinor]: Version): boolean =>
  major === otherMajor && (major > 0 || minor === otherMinor)

/**
 * Those instances of a service that count: of its highest line, the highest version first.
 *
 * @category models
 * @since 0.2.0
 */
export interface Line {
  readonly service: string
  readonly members: ReadonlyArray<ListedInstance>
  /** All that were asked, as they came. */
  readonly replicas: ReadonlyArray<ListedInstance>
}

const isSame = (a: ListedInstance, b: ListedInstance | undefined): boolean =>
  a.key === b?.key && a.lists === b.lists && a.precedence === b.precedence && a.instance.version === b.instance.version

/**
 * The lines that are merged, of each service one. A line counts once one of its servers has been asked, so that a new line
 * whose servers still start takes no tool away. A line is that of before where none of its servers differs: what changes is
 * few of many.
 *
 * @category merging
 * @since 0.2.0
 */
export const lines = (
  instances: ReadonlyArray<ListedInstance>,
  before: ReadonlyArray<Line> = []
): ReadonlyArray<Line> => {
  const known = new Map(before.map((line) => [line.service, line]))
  // Replicas are many, their versions few.
  const versions = new Map<string, Version>()
  const versionOf = ({ instance: { version } }: ListedInstance): Version => {
    const parsed = versions.get(version) ?? parse(version)
    versions.set(version, parsed)
    return parsed
  }
  return Array.from(Map.groupBy(instances, ({ instance }) => instance.service), ([service, replicas]): Line => {
    const line = known.get(service)
    if (
      line?.replicas.length === replicas.length && line.replicas.every((replica, at) => isSame(replica, replicas[at]))
    ) return line
    const highest = replicas.map(versionOf).reduce((a, b) => compare(a, b) < 0 ? b : a)
    const members = replicas.filter((replica) => sameLine(versionOf(replica), highest))
    members.sort((a, b) =>
      compare(versionOf(b), versionOf(a)) ||
      a.precedence - b.precedence ||
      (a.instance.id < b.instance.id ? -1 : 1)
    )
    return { service, members, replicas }
  })
}

/**
 * Merges one kind of what the lines offer.
 *
 * @category merging
 * @since 0.1.0
 */
export const merge = (lines: ReadonlyArray<Line>, kind: OfferKind, groups: Groups = {}): ReadonlyArray<Merged> =>
  join(lines.flatMap((line) => mergedOf(line, kind)), groups)

/** One item for what the members of a group offer under one name. */
const join = (merged: ReadonlyArray<Merged>, groups: Groups): ReadonlyArray<Merged> => {
  const members = new Map<string, { readonly group: string; readonly place: number }>()
  for (const [group, services] of Object.entries(groups)) {
    for (const service of services) {
      if (!members.has(service)) members.set(service, { group, place: members.size })
    }
  }
  if (members.size === 0) return merged
  const joined = new Map<string, Merged>()
  const place = ({ service }: Merged) => members.get(service)?.place ?? -1
  for (const item of merged.toSorted((a, b) => place(a) - place(b))) {
    // A service that has the name of a group is in it.
    const service = members.get(item.service)?.group ?? item.service
    const id = `${service}\u0000${item.name}`
    const first = joined.get(id)
    joined.set(
      id,
      first === undefined ? { ...item, service } : {
        ...first,
        services: [...first.services, ...item.services],
        precedence: Math.min(first.precedence, item.precedence),
        repeatable: first.repeatable && item.repeatable,
        readOnly: first.readOnly && item.readOnly,
        keys: first.keys.union(item.keys)
      }
    )
  }
  return Array.from(joined.values())
}

/** What a definition promises of its calls: a tool by its hints; the others have no effects. */
const promisesOf = (kind: OfferKind, { annotations }: Fields) => {
  if (kind !== "tools") return { repeatable: true, readOnly: true }
  const says = (hint: string): boolean => Object.hasOwn(Object(annotations), hint) && Object(annotations)[hint] === true
  const readOnly = says("readOnlyHint")
  return { readOnly, repeatable: readOnly || says("idempotentHint") }
}

interface Gathered {
  readonly definition: Fields
  repeatable: boolean
  readOnly: boolean
  precedence: number
  readonly keys: Set<InstanceKey>
}

const mergedByLine = new WeakMap<Line, Map<OfferKind, ReadonlyArray<Merged>>>()

const mergedOf = (line: Line, kind: OfferKind): ReadonlyArray<Merged> => {
  let kinds = mergedByLine.get(line)
  if (kinds === undefined) mergedByLine.set(line, kinds = new Map())
  let offers = kinds.get(kind)
  if (offers === undefined) kinds.set(kind, offers = mergeLine(line, kind))
  return offers
}

const mergeLine = ({ members, service }: Line, kind: OfferKind): ReadonlyArray<Merged> => {
  const offers = new Map<string, Gathered>()
  for (const { key, lists, precedence } of members) {
    for (const [name, definition] of lists.get(kind) ?? []) {
      const offer = offers.get(name)
      const promises = promisesOf(kind, definition)
      if (offer === undefined) {
        offers.set(name, { definition, ...promises, precedence, keys: new Set([key]) })
      } else {
        offer.repeatable &&= promises.repeatable
        offer.readOnly &&= promises.readOnly
        offer.keys.add(key)
        offer.precedence = Math.min(offer.precedence, precedence)
      }
    }
  }
  return Array.from(offers, ([name, offer]) => ({ service, services: [service], name, ...offer }))
}

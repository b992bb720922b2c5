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
  if (registry.allow?.tools === undefined || tools === undefined) return listed
  const refused = new Map(listed.refused)
  const offered = new Map<string, Fields>()
  for (const [name, definition] of tools) {
    const reason = toolRefusal(registry, name)
    if (reason === undefined) offered.set(name, definition)
    else refused.set(name, reason)
  }
  return { ...listed, refused, lists: new Map([...listed.lists, ["tools", offered]]) }
}

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

/** The numbers of a version; what isn't a number counts as 0. A pre-release comes before its release. */
const parse = (version: string): readonly [number, number, number, number] => {
  const match = /^[v=]?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-)?/.exec(version.trim())
  return [Number(match?.[1] ?? 0), Number(match?.[2] ?? 0), Number(match?.[3] ?? 0), match?.[4] === undefined ? 1 : 0]
}

/**
 * Order of two versions: negative where the first is lower.
 *
 * @category versions
 * @since 0.1.0
 */
export const compareVersions = (a: string, b: string): number => {
  const left = parse(a)
  const right = parse(b)
  for (let i = 0; i < left.length; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Whether two versions are of one line. */
const sameLine = (a: string, b: string): boolean => {
  const [major, minor] = parse(a)
  const [otherMajor, otherMinor] = parse(b)
  return major === otherMajor && (major > 0 || minor === otherMinor)
}

/**
 * Merges one kind. A line counts once one of its servers has been asked, so that a new line whose servers still start
 * takes no tool away.
 *
 * @category merging
 * @since 0.1.0
 */
export const merge = (
  instances: ReadonlyArray<ListedInstance>,
  kind: OfferKind,
  groups: Groups = {}
): ReadonlyArray<Merged> => join(mergeServices(instances, kind), groups)

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

const mergeServices = (instances: ReadonlyArray<ListedInstance>, kind: OfferKind): ReadonlyArray<Merged> => {
  const services = new Map<string, Array<ListedInstance>>()
  for (const listed of instances) {
    const members = services.get(listed.instance.service)
    if (members === undefined) services.set(listed.instance.service, [listed])
    else members.push(listed)
  }
  const merged: Array<Merged> = []
  for (const [service, members] of services) {
    members.sort((a, b) =>
      compareVersions(b.instance.version, a.instance.version) ||
      a.precedence - b.precedence ||
      (a.instance.id < b.instance.id ? -1 : 1)
    )
    const highest = members[0]?.instance.version ?? ""
    const offers = new Map<string, Gathered>()
    for (const { instance, key, lists, precedence } of members) {
      if (!sameLine(highest, instance.version)) break
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
    for (const [name, offer] of offers) merged.push({ service, services: [service], name, ...offer })
  }
  return merged
}

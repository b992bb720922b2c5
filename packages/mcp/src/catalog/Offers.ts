/**
 * The table of all offers: made anew from what the servers list, and compared with what was there, so that a list is the
 * same array as long as clients would see no difference.
 *
 * @since 0.1.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { CatalogEntry, InstanceKey } from "@portolan/core/Catalog"
import { type Registry, toolRefusal } from "@portolan/core/Registry"
import type { Target } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Listing from "./Listing.ts"
import * as Merging from "./Merging.ts"
import * as Naming from "./Naming.ts"
import { type HiddenOffer, type ListKind, listKinds, type Offer, type OfferKind, offerKinds } from "./Offer.ts"
import * as TaskSupport from "./TaskSupport.ts"
import * as UriTemplate from "./UriTemplate.ts"

/** The field of a definition that holds its name. */
const nameField: Readonly<Record<OfferKind, string>> = {
  tools: "name",
  resources: "uri",
  resourceTemplates: "uriTemplate",
  prompts: "name"
}

/** An offer's lasting part: the router caches by its target. */
interface Standing {
  keys: ReadonlySet<InstanceKey>
  revision: number
  readonly target: Target
}

const sameKeys = (a: ReadonlySet<InstanceKey>, b: ReadonlySet<InstanceKey>): boolean =>
  a === b || a.size === b.size && a.isSubsetOf(b)

/**
 * The table. Plain and synchronous: one writer rebuilds it, everybody reads it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offers {
  readonly list: (kind: OfferKind) => ReadonlyArray<Offer>
  readonly find: (kind: OfferKind, publicName: string) => Offer | undefined
  readonly revision: (kind: ListKind) => number
  readonly hidden: () => ReadonlyArray<HiddenOffer>
  /**
   * By the name that servers give it, also where another has its public name. For those who wait for the result of a call: a
   * tool that runs as a task only is none of them.
   */
  readonly named: (kind: OfferKind, name: string) => ReadonlyArray<Offer>
  /** Grows with each `rebuild`. */
  readonly version: () => number
  /** Makes the offers anew from what the servers list. */
  readonly rebuild: (listed: ReadonlyArray<Merging.ListedInstance>) => void
  /** Names offers otherwise, from the next `rebuild` on. The names before the last such change are still found. */
  readonly rename: (naming: Naming.NamingOptions) => void
  /** Joins services in groups, from the next `rebuild` on. */
  readonly group: (groups: Merging.Groups) => void
}

const none: ReadonlyArray<Offer> = []

/**
 * Gives the registry of a name, which bounds what its servers may offer. None: nobody knows it, and nothing of its servers
 * is offered.
 *
 * @category models
 * @since 0.2.0
 */
export type RegistryOf = (source: string) => Pick<Registry, "allow" | "name"> | undefined

/**
 * Makes an empty table.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (initial: Naming.NamingOptions, registryOf: RegistryOf): Offers => {
  let naming = initial
  let renamed = false
  let groups: Merging.Groups = {}
  let version = 0
  const standings = new Map<string, Standing>()
  const lists = new Map<OfferKind, ReadonlyArray<Offer>>()
  const tables = new Map<OfferKind, ReadonlyMap<string, Offer>>()
  const revisions = new Map<ListKind, number>()
  let latest: ReadonlyArray<Merging.ListedInstance> = []
  let lines: ReadonlyArray<Merging.Line> = []
  let byId: ReadonlyMap<string, ReadonlyArray<Merging.ListedInstance>> | undefined
  let former: ReadonlyMap<OfferKind, ReadonlyMap<string, Offer>> = new Map()
  const byName = new Map<OfferKind, ReadonlyMap<string, ReadonlyArray<Offer>>>()
  let hidden: ReadonlyArray<HiddenOffer> = []
  let templates: ReadonlyArray<{ readonly matches: (uri: string) => boolean; readonly offer: Offer }> = []

  const idOf = (kind: OfferKind, item: { readonly service: string; readonly name: string }): string =>
    `${kind}\u0000${item.service}\u0000${item.name}`

  /** Whether a registry lets its servers offer this. */
  const mayOffer = (source: string, kind: OfferKind, name: string): boolean => {
    const registry = registryOf(source)
    return registry !== undefined && (kind !== "tools" || toolRefusal(registry, name) === undefined)
  }

  /** Whether one of the keys is the same instance, announced by another registry: which one speaks for it changes at once. */
  const isMoved = ({ instance }: CatalogEntry, keys: ReadonlySet<InstanceKey>): boolean => {
    byId ??= Map.groupBy(latest, (listed) => listed.instance.id)
    const known = byId.get(instance.id)?.filter(({ key }) => keys.has(key)) ?? []
    return known.some((listed) =>
      ServiceInstance.endpointKey(listed.instance) === ServiceInstance.endpointKey(instance)
    )
  }

  const standing = (kind: OfferKind, item: Merging.Merged): Standing => {
    const id = idOf(kind, item)
    const existing = standings.get(id)
    const services = Array.from(new Set([item.service, ...item.services]))
    if (existing !== undefined && ServiceInstance.equals(existing.target.services, services)) {
      if (!sameKeys(existing.keys, item.keys)) {
        existing.keys = item.keys
        existing.revision++
      }
      return existing
    }
    const made: Standing = {
      keys: item.keys,
      revision: 0,
      target: {
        // What several services offer is looked for among all.
        service: item.services.length === 1 ? item.services[0] : undefined,
        services,
        accepts: (entry) =>
          made.keys.has(entry.key) || (isMoved(entry, made.keys) && mayOffer(entry.source, kind, item.name)),
        revision: () => made.revision,
        // Of a tool, the separator of public names may be configured: rules are written with a dot.
        names: [...services.map((service) => `${service}.${item.name}`), item.name]
      }
    }
    standings.set(id, made)
    return made
  }

  /** The offer under its public name: the one that was there where it says the same. */
  const offer = (kind: OfferKind, item: Merging.Merged, publicName: string): Offer => {
    const lasting = standing(kind, item)
    const before = byName.get(kind)?.get(item.name)?.find((offer) => offer.target === lasting.target)
    const { readOnly, repeatable } = item
    const definition = { ...item.definition, [nameField[kind]]: publicName }
    if (
      before?.publicName === publicName && before.readOnly === readOnly && before.repeatable === repeatable &&
      ServiceInstance.equals(before.definition, definition)
    ) return before
    return {
      publicName,
      name: item.name,
      service: item.service,
      definition,
      target: lasting.target,
      repeatable,
      readOnly,
      instances: () => Array.from(lasting.keys),
      has: (key) => lasting.keys.has(key)
    }
  }

  /** Replaces the list of a kind; answers whether clients see a difference. Who offers a thing is none. */
  const replace = (kind: OfferKind, list: ReadonlyArray<Offer>): boolean => {
    const current = lists.get(kind) ?? []
    if (list.length === current.length && list.every((offer, index) => offer === current[index])) return false
    lists.set(kind, list)
    tables.set(kind, new Map(list.map((offer) => [offer.publicName, offer])))
    if (kind === "resourceTemplates") {
      templates = list.flatMap((offer) => {
        const matches = UriTemplate.compile(offer.publicName)
        return matches === undefined ? [] : [{ matches, offer }]
      })
    }
    return list.length !== current.length ||
      list.some((offer, index) => !ServiceInstance.equals(offer.definition, current[index]?.definition))
  }

  const rebuild = (all: ReadonlyArray<Merging.ListedInstance>): void => {
    const listed = all.flatMap((instance) => {
      const registry = registryOf(Catalog.sourceOf(instance.key))
      return registry === undefined ? [] : [Merging.allowed(instance, registry)]
    })
    latest = listed
    byId = undefined
    if (renamed) former = new Map(tables)
    renamed = false
    const changed = new Set<OfferKind>()
    const left: Array<HiddenOffer> = []
    const used = new Set<string>()
    const refusals = new Set<string>()
    for (const { instance: { service }, refused } of listed) {
      for (const [name, reason] of refused ?? []) {
        const id = `${idOf("tools", { service, name })}\u0000${reason}`
        if (!refusals.has(id)) left.push({ kind: "tools", publicName: name, service, reason })
        refusals.add(id)
      }
    }
    lines = Merging.lines(listed, lines)
    for (const kind of offerKinds) {
      const merged = Merging.merge(lines, kind, groups)
      const named = kind === "tools" || kind === "prompts" ? Naming.assign(merged, naming) : Naming.unchanged(merged)
      const list: Array<Offer> = []
      const names = new Map<string, Array<Offer>>()
      for (const { item, publicName, winner } of named) {
        if (winner !== undefined) {
          left.push({ kind, publicName, service: item.service, reason: `${winner.service} has the name` })
        }
        used.add(idOf(kind, item))
        const made = offer(kind, item, publicName)
        const known = names.get(item.name)
        if (known === undefined) names.set(item.name, [made])
        else known.push(made)
        if (winner === undefined) list.push(made)
      }
      byName.set(kind, names)
      if (replace(kind, list)) changed.add(kind)
    }
    for (const id of standings.keys()) {
      if (!used.has(id)) standings.delete(id)
    }
    hidden = left
    version++
    for (const kind of listKinds) {
      if (Listing.kinds[kind].some((part) => changed.has(part))) revisions.set(kind, (revisions.get(kind) ?? 0) + 1)
    }
  }

  /** What had the name before the names were made otherwise, for who read the lists just before, if it is still there. */
  const formerly = (kind: OfferKind, publicName: string): Offer | undefined => {
    const offer = former.get(kind)?.get(publicName)
    if (offer === undefined) return undefined
    if (standings.get(idOf(kind, offer))?.target === offer.target) return offer
    // Its service came into a group, or out of one.
    const keys = new Set(offer.instances())
    return byName.get(kind)?.get(offer.name)?.find((other) => other.instances().some((key) => keys.has(key)))
  }

  return {
    list: (kind) => lists.get(kind) ?? [],
    find: (kind, publicName) =>
      tables.get(kind)?.get(publicName) ??
        formerly(kind, publicName) ??
        (kind === "resources" ? templates.find(({ matches }) => matches(publicName))?.offer : undefined),
    revision: (kind) => revisions.get(kind) ?? 0,
    hidden: () => hidden,
    named: (kind, name) => {
      const all = byName.get(kind)?.get(name) ?? none
      const isTask = ({ definition }: Offer) => TaskSupport.of(definition) === "required"
      return kind === "tools" && all.some(isTask) ? all.filter((offer) => !isTask(offer)) : all
    },
    version: () => version,
    rebuild,
    rename: (next) => {
      naming = next
      renamed = true
    },
    group: (next) => {
      groups = next
    }
  }
}

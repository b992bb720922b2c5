/**
 * The table of all offers: made anew from what the servers list, and compared with what was there, so that a list is the
 * same array as long as clients would see no difference.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Target } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import type { Fields } from "../JsonRpc.ts"
import * as Listing from "./Listing.ts"
import * as Merging from "./Merging.ts"
import * as Naming from "./Naming.ts"
import { type HiddenOffer, type ListKind, listKinds, type Offer, type OfferKind, offerKinds } from "./Offer.ts"
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

const isRepeatable = (kind: OfferKind, definition: Fields): boolean => {
  if (kind !== "tools") return true
  const annotations = definition["annotations"]
  if (typeof annotations !== "object" || annotations === null) return false
  return ("readOnlyHint" in annotations && annotations.readOnlyHint === true) ||
    ("idempotentHint" in annotations && annotations.idempotentHint === true)
}

/** A tool that can be called as a task only (2025-11-25, `execution.taskSupport`): no client could call it through us. */
const needsTask = (definition: Fields): boolean => {
  const execution = definition["execution"]
  return typeof execution === "object" && execution !== null && "taskSupport" in execution &&
    execution.taskSupport === "required"
}

const sameKeys = (a: ReadonlySet<InstanceKey>, b: ReadonlySet<InstanceKey>): boolean =>
  a.size === b.size && a.isSubsetOf(b)

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
  /** Makes the offers anew from what the servers list. */
  readonly rebuild: (listed: ReadonlyArray<Merging.ListedInstance>) => void
}

/**
 * Makes an empty table.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (naming: Naming.NamingOptions): Offers => {
  const standings = new Map<string, Standing>()
  const lists = new Map<OfferKind, ReadonlyArray<Offer>>()
  const tables = new Map<OfferKind, ReadonlyMap<string, Offer>>()
  const revisions = new Map<ListKind, number>()
  let hidden: ReadonlyArray<HiddenOffer> = []
  let templates: ReadonlyArray<{ readonly matches: (uri: string) => boolean; readonly offer: Offer }> = []

  const idOf = (kind: OfferKind, item: Merging.Merged): string => `${kind}\u0000${item.service}\u0000${item.name}`

  const standing = (kind: OfferKind, item: Merging.Merged): Standing => {
    const id = idOf(kind, item)
    const existing = standings.get(id)
    if (existing !== undefined) {
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
        service: item.service,
        accepts: (entry) => made.keys.has(entry.key),
        revision: () => made.revision,
        // Of a tool, the separator of public names may be configured: rules are written with a dot.
        names: [`${item.service}.${item.name}`, item.name]
      }
    }
    standings.set(id, made)
    return made
  }

  /** The offer under its public name: the one that was there where it says the same. */
  const offer = (kind: OfferKind, item: Merging.Merged, publicName: string): Offer => {
    const lasting = standing(kind, item)
    const before = tables.get(kind)?.get(publicName)
    const definition = { ...item.definition, [nameField[kind]]: publicName }
    if (before?.target === lasting.target && ServiceInstance.equals(before.definition, definition)) return before
    return {
      publicName,
      name: item.name,
      service: item.service,
      definition,
      target: lasting.target,
      repeatable: isRepeatable(kind, definition),
      instances: () => Array.from(lasting.keys)
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

  const rebuild = (listed: ReadonlyArray<Merging.ListedInstance>): void => {
    const changed = new Set<OfferKind>()
    const left: Array<HiddenOffer> = []
    const used = new Set<string>()
    for (const kind of offerKinds) {
      const merged = Merging.merge(listed, kind)
      const named = kind === "tools" || kind === "prompts" ? Naming.assign(merged, naming) : Naming.unchanged(merged)
      const list: Array<Offer> = []
      for (const { item, publicName, winner } of named) {
        const reason = winner !== undefined
          ? `${winner.service} has the name`
          : needsTask(item.definition)
          ? "it runs as a task only"
          : undefined
        if (reason !== undefined) {
          left.push({ kind, publicName, service: item.service, reason })
          continue
        }
        used.add(idOf(kind, item))
        list.push(offer(kind, item, publicName))
      }
      if (replace(kind, list)) changed.add(kind)
    }
    for (const id of standings.keys()) {
      if (!used.has(id)) standings.delete(id)
    }
    hidden = left
    for (const kind of listKinds) {
      if (Listing.kinds[kind].some((part) => changed.has(part))) revisions.set(kind, (revisions.get(kind) ?? 0) + 1)
    }
  }

  return {
    list: (kind) => lists.get(kind) ?? [],
    find: (kind, publicName) =>
      tables.get(kind)?.get(publicName) ??
        (kind === "resources" ? templates.find(({ matches }) => matches(publicName))?.offer : undefined),
    revision: (kind) => revisions.get(kind) ?? 0,
    hidden: () => hidden,
    rebuild
  }
}

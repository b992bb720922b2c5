/**
 * Where offers come from: the instances that have them, taken together.
 *
 * @since 0.2.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { HealthStatus } from "@portolan/core/Health"
import type { QuerySubject } from "@portolan/core/Query"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Merging from "../../catalog/Merging.ts"

/**
 * What is told of an offer beside its definition.
 *
 * @category models
 * @since 0.2.0
 */
export interface Origin {
  /** Whether calls may go to one of the instances. */
  readonly available: boolean
  /** When one of them was announced last, ISO 8601: now, while its registry is connected and has it. */
  readonly lastSeen: string
  /** The registry that announces the first of them. */
  readonly source: string
  /** All that one of them has, in their order. */
  readonly tags: ReadonlyArray<string>
  /** When the record of one of them changed last, ISO 8601. */
  readonly lastUpdate: string
  /** The highest. */
  readonly version: string
  /** How many there are. */
  readonly instances: number
}

const routable: ReadonlySet<HealthStatus> = new Set(["healthy", "degraded", "unknown"])

const iso = (time: number): string => new Date(time).toISOString()

/** When its registry had it last, epoch ms. What a connected one says holds now. */
const seen = ({ sources }: Catalog.Catalog, entry: Catalog.CatalogEntry, now: number): number => {
  const { firstSeen, missingSince } = entry
  const source = sources.get(entry.source)
  const heard = source?.state === "connected" ? now : Math.max(firstSeen, source?.lastHeard ?? firstSeen)
  return Math.min(missingSince ?? Infinity, heard)
}

/**
 * Makes the function that tells the origin of an offer by the instances that have it; `undefined` where none of them
 * matches. Each instance is looked at once.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  catalog: Catalog.Catalog,
  statusOf: (key: Catalog.InstanceKey) => HealthStatus,
  matches: (subject: QuerySubject) => boolean,
  now: number
): (keys: ReadonlyArray<Catalog.InstanceKey>) => Origin | undefined => {
  const looked = new Map<Catalog.InstanceKey, (Catalog.CatalogEntry & { readonly available: boolean }) | undefined>()
  const look = (key: Catalog.InstanceKey) => {
    const entry = Option.getOrUndefined(HashMap.get(catalog.entries, key))
    if (entry === undefined) return undefined
    const health = statusOf(key)
    const stale = Option.isSome(Catalog.staleSince(catalog, entry))
    return matches({ entry, health, stale }) ? { ...entry, available: routable.has(health) } : undefined
  }
  const places = new Map(Array.from(catalog.sources.keys(), (name, index) => [name, index]))
  const place = (source: string) => places.get(source) ?? places.size
  return (keys) => {
    const entries = keys.flatMap((key) => {
      if (!looked.has(key)) looked.set(key, look(key))
      return looked.get(key) ?? []
    })
    const [first] = entries
    if (first === undefined) return undefined
    const tags = new Set<string>()
    let { changedAt, source } = first
    let { version } = first.instance
    let available = false
    let lastSeen = 0
    for (const entry of entries) {
      available ||= entry.available
      lastSeen = Math.max(lastSeen, seen(catalog, entry, now))
      changedAt = Math.max(changedAt, entry.changedAt)
      if (place(entry.source) < place(source)) source = entry.source
      if (Merging.compareVersions(entry.instance.version, version) > 0) version = entry.instance.version
      for (const tag of entry.instance.tags) tags.add(tag)
    }
    return {
      available,
      lastSeen: iso(lastSeen),
      source,
      tags: Array.from(tags).sort(),
      lastUpdate: iso(changedAt),
      version,
      instances: entries.length
    }
  }
}

/**
 * The merged view of all registries: an immutable value.
 *
 * @since 0.1.0
 */
import * as Brand from "effect/Brand"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as ChangeLog from "./internal/changeLog.ts"
import type { Rejected } from "./Registry.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Identity of an entry: its registry and its id there.
 *
 * @category models
 * @since 0.1.0
 */
export type InstanceKey = Brand.Branded<string, "InstanceKey">

/**
 * One instance in the catalog, with its origin.
 *
 * @category models
 * @since 0.1.0
 */
export interface CatalogEntry {
  readonly key: InstanceKey
  readonly instance: ServiceInstance
  /** The registry that announces it and comes first in precedence. */
  readonly source: string
  /** Later registries that announce the same id with the same endpoint. */
  readonly alsoIn: ReadonlyArray<string>
  /** Epoch ms of its first announcement here. */
  readonly firstSeen: number
  /** Epoch ms of the last change of its record. */
  readonly changedAt: number
  /** Epoch ms since when its source no longer has it, while the removal is held back (self-preservation, damping). */
  readonly missingSince: number | undefined
}

/**
 * State of a registry's session.
 *
 * - `connecting`: no snapshot yet.
 * - `connected`: what the catalog shows is what the registry says.
 * - `stale`: the registry was lost; the catalog shows its last known state.
 *
 * @category models
 * @since 0.1.0
 */
export interface SourceState {
  readonly name: string
  readonly type: string
  readonly state: "connecting" | "connected" | "stale"
  /** Epoch ms since when the state holds. */
  readonly since: number
  /** Epoch ms when the registry was last heard; none before its first snapshot. */
  readonly lastHeard: number | undefined
  readonly instances: number
  readonly rejected: ReadonlyArray<Rejected>
  /** Sessions that were lost and begun again. */
  readonly reconnects: number
  /** Removals held back by self-preservation. */
  readonly held: number
  /** One line; what went wrong last, while it does. */
  readonly lastError: string | undefined
}

/**
 * The entries of one service. The revision grows with each change among them, and never goes back, not even when the
 * service went and came again.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceEntries {
  readonly service: string
  readonly revision: number
  readonly entries: HashMap.HashMap<InstanceKey, CatalogEntry>
  /** The keys of its last changes: see `changedSince`. */
  readonly recent: ChangeLog.ChangeLog<InstanceKey>
}

/**
 * The catalog: entries by key, indexed by service, capability and tag.
 *
 * **Details**: a change makes a new catalog that shares structure with the old one, at a cost that depends on the change
 * and not on the size. Health is not in it: it changes far more often.
 *
 * @category models
 * @since 0.1.0
 */
export interface Catalog {
  /** Grows with every published change. */
  readonly revision: number
  readonly entries: HashMap.HashMap<InstanceKey, CatalogEntry>
  readonly services: HashMap.HashMap<string, ServiceEntries>
  readonly capabilities: HashMap.HashMap<string, HashMap.HashMap<InstanceKey, CatalogEntry>>
  readonly tags: HashMap.HashMap<string, HashMap.HashMap<InstanceKey, CatalogEntry>>
  readonly sources: ReadonlyMap<string, SourceState>
  /** The keys of the last changes: see `changedSince`. */
  readonly recent?: ChangeLog.ChangeLog<InstanceKey> | undefined
}

/**
 * One difference between two catalogs.
 *
 * @category models
 * @since 0.1.0
 */
export type CatalogChange =
  | { readonly _tag: "Added"; readonly entry: CatalogEntry }
  | { readonly _tag: "Updated"; readonly entry: CatalogEntry; readonly previous: CatalogEntry }
  | { readonly _tag: "Removed"; readonly entry: CatalogEntry }

/**
 * What a subscriber of the catalog gets: the catalog, and what changed since the value it got before. `changes` is
 * empty in its first value, and where only the state of a source changed.
 *
 * @category models
 * @since 0.1.0
 */
export interface CatalogUpdate {
  readonly catalog: Catalog
  readonly changes: ReadonlyArray<CatalogChange>
}

const branded = Brand.nominal<InstanceKey>()

/**
 * Makes the key of an instance. No registry name and no id holds a NUL (`Registries` and `Discovery` refuse them), so no
 * two pairs share a key.
 *
 * **Details**: joined, as a text that is put together by a template keeps its parts.
 *
 * @category identity
 * @since 0.1.0
 */
export const key = (registry: string, id: string): InstanceKey => branded([registry, id].join("\u0000"))

/**
 * The registry that a key names.
 *
 * @category identity
 * @since 0.1.0
 */
export const sourceOf = (key: InstanceKey): string => key.slice(0, key.indexOf("\u0000"))

/**
 * Since when the entry's source is stale (epoch ms), if it is.
 *
 * @category getters
 * @since 0.1.0
 */
export const staleSince = (catalog: Catalog, entry: CatalogEntry): Option.Option<number> => {
  const source = catalog.sources.get(entry.source)
  return source?.state === "stale" ? Option.some(source.since) : Option.none()
}

/**
 * The catalog of nothing, revision 0.
 *
 * @category constructors
 * @since 0.1.0
 */
export const empty: Catalog = {
  revision: 0,
  entries: HashMap.empty(),
  services: HashMap.empty(),
  capabilities: HashMap.empty(),
  tags: HashMap.empty(),
  sources: new Map()
}

/**
 * The keys of what was added, changed or removed after a revision, some of them perhaps several times; nothing where that
 * is too long ago to be known. So who follows a catalog of any size pays for what changed.
 *
 * @category getters
 * @since 0.1.0
 */
export const changedSince = (
  { recent }: Catalog | ServiceEntries,
  revision: number
): ReadonlyArray<InstanceKey> | undefined => recent === undefined ? undefined : ChangeLog.after(recent, revision)

/**
 * Applies a batch of changes, as one revision. Costs in proportion to the batch, not to the catalog, and leaves every
 * service that isn't in the batch the same object.
 *
 * **Details**: a service's revision is that of the catalog in which it last changed, so it can't go back even when the
 * service went and came again, and nothing needs to be remembered of services that are gone.
 *
 * @category combinators
 * @since 0.1.0
 */
export const apply = (
  self: Catalog,
  changes: ReadonlyArray<CatalogChange>,
  sources: ReadonlyMap<string, SourceState> = self.sources
): Catalog => {
  const revision = self.revision + 1
  if (changes.length === 0) return { ...self, revision, sources }
  const entries = HashMap.beginMutation(self.entries)
  const services = new Index()
  const capabilities = new Index()
  const tags = new Index()
  for (const change of changes) {
    const { instance, key } = change.entry
    if (change._tag !== "Added") {
      const previous = change._tag === "Updated" ? change.previous.instance : instance
      HashMap.remove(entries, key)
      services.remove(previous.service, key)
      for (const capability of previous.capabilities) capabilities.remove(capability, key)
      for (const tag of previous.tags) tags.remove(tag, key)
    }
    if (change._tag !== "Removed") {
      HashMap.set(entries, key, change.entry)
      services.set(instance.service, key, change.entry)
      for (const capability of instance.capabilities) capabilities.set(capability, key, change.entry)
      for (const tag of instance.tags) tags.set(tag, key, change.entry)
    }
  }
  return {
    revision,
    entries: HashMap.endMutation(entries),
    services: services.commit(
      self.services,
      (service) => service.entries,
      (service, entries, keys, known) => ({
        service,
        revision,
        entries,
        recent: ChangeLog.add(known?.recent ?? ChangeLog.begin(self.revision), revision, keys)
      })
    ),
    capabilities: capabilities.commit(self.capabilities, identity, second),
    tags: tags.commit(self.tags, identity, second),
    sources,
    recent: ChangeLog.add(
      self.recent ?? ChangeLog.begin(self.revision),
      revision,
      changes.map(({ entry: { key } }) => key)
    )
  }
}

type Entries = HashMap.HashMap<InstanceKey, CatalogEntry>
const identity = (entries: Entries): Entries => entries
const second = (_: string, entries: Entries): Entries => entries

/** The changes of one index, by name and then by key; `undefined` removes. */
class Index {
  private readonly changes = new Map<string, Map<InstanceKey, CatalogEntry | undefined>>()

  set(name: string, key: InstanceKey, entry: CatalogEntry | undefined): void {
    const known = this.changes.get(name)
    if (known === undefined) this.changes.set(name, new Map([[key, entry]]))
    else known.set(key, entry)
  }

  remove(name: string, key: InstanceKey): void {
    this.set(name, key, undefined)
  }

  commit<A>(
    self: HashMap.HashMap<string, A>,
    get: (value: A) => Entries,
    make: (name: string, entries: Entries, changed: ReadonlyArray<InstanceKey>, known: A | undefined) => A
  ): HashMap.HashMap<string, A> {
    const next = HashMap.beginMutation(self)
    for (const [name, changes] of this.changes) {
      const known = HashMap.get(self, name)
      const entries = HashMap.beginMutation<InstanceKey, CatalogEntry>(
        Option.isSome(known) ? get(known.value) : HashMap.empty()
      )
      for (const [key, entry] of changes) {
        if (entry === undefined) HashMap.remove(entries, key)
        else HashMap.set(entries, key, entry)
      }
      if (HashMap.isEmpty(entries)) HashMap.remove(next, name)
      else {
        const changed = Array.from(changes.keys())
        HashMap.set(next, name, make(name, HashMap.endMutation(entries), changed, Option.getOrUndefined(known)))
      }
    }
    return HashMap.endMutation(next)
  }
}

/**
 * What differs between two catalogs of one `Discovery`: additions and updates first, then removals, so that who applies
 * them in order never sees less than both hold. Services that are the same object in both cost nothing.
 *
 * @category combinators
 * @since 0.1.0
 */
export const diff = (before: Catalog, after: Catalog): ReadonlyArray<CatalogChange> => {
  const changes: Array<CatalogChange> = []
  const removed: Array<CatalogChange> = []
  for (const [name, { entries }] of after.services) {
    const known = HashMap.get(before.services, name)
    if (Option.isSome(known) && known.value.entries === entries) continue
    for (const [key, entry] of entries) {
      const previous = HashMap.get(before.entries, key)
      if (Option.isNone(previous)) changes.push({ _tag: "Added", entry })
      else if (previous.value !== entry) changes.push({ _tag: "Updated", entry, previous: previous.value })
    }
  }
  for (const [name, { entries }] of before.services) {
    const known = HashMap.get(after.services, name)
    if (Option.isSome(known) && known.value.entries === entries) continue
    for (const [key, entry] of entries) {
      if (!HashMap.has(after.entries, key)) removed.push({ _tag: "Removed", entry })
    }
  }
  return changes.concat(removed)
}

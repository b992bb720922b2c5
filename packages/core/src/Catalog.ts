/**
 * The merged view of all registries: an immutable value.
 *
 * @since 0.1.0
 */
import type * as HashMap from "effect/HashMap"
import type * as Option from "effect/Option"
import type { Rejected } from "./Registry.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Identity of an entry: its registry and its id there.
 *
 * @category models
 * @since 0.1.0
 */
export type InstanceKey = string & { readonly InstanceKey: unique symbol }

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

/**
 * Makes the key of an instance. No registry name and no id holds a NUL, so no two pairs share a key.
 *
 * @category identity
 * @since 0.1.0
 */
export const key = (registry: string, id: string): InstanceKey => `${registry}\u0000${id}` as InstanceKey

/** Since when the entry's source is stale (epoch ms), if it is. */
export declare const staleSince: (catalog: Catalog, entry: CatalogEntry) => Option.Option<number>

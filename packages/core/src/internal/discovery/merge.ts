/**
 * One view of many sources.
 *
 * **Mental model**: the same id with the same endpoint in two registries is one entry, of the registry that comes first;
 * the same id with another endpoint is another entry. An id is merged anew when one of its records changed, and nothing
 * else is looked at.
 *
 * @since 0.1.0
 */
import * as Catalog from "../../Catalog.ts"
import * as ServiceInstance from "../../ServiceInstance.ts"
import type { Source, SourceRecord } from "./source.ts"

/** Where most entries are announced but once: one list for all of them. */
const nowhere: ReadonlyArray<string> = []

/** Ids merged in one go, before others on the event loop have their turn. */
const slice = 1_000

export class Merge {
  /** Ids to merge anew. */
  touched = new Set<string>()
  /** In order of precedence. */
  private sources: ReadonlyArray<Source> = []
  private readonly entries = new Map<string, ReadonlyArray<Catalog.CatalogEntry>>()

  /** Takes the sources in their order. Those that are new or at another place have all their ids merged anew. */
  setSources(sources: ReadonlyArray<Source>): void {
    const before = this.sources
    this.sources = sources
    if (before.every((source, index) => sources[index] === source)) return
    for (const source of before) for (const id of source.records.keys()) this.touched.add(id)
    for (const source of sources) for (const id of source.records.keys()) this.touched.add(id)
  }

  /** What changed since the last time: additions and updates, then removals. To be run to its end. */
  *changes(): Generator<void, ReadonlyArray<Catalog.CatalogChange>> {
    const touched = this.touched
    this.touched = new Set()
    let count = 0
    const changes: Array<Catalog.CatalogChange> = []
    const removals: Array<Catalog.CatalogChange> = []
    for (const id of touched) {
      if (++count % slice === 0) yield
      const before = this.entries.get(id) ?? []
      const after = this.merge(id, before)
      for (const entry of after) {
        const previous = before.find(({ key }) => key === entry.key)
        if (previous === undefined) changes.push({ _tag: "Added", entry })
        else if (previous !== entry) changes.push({ _tag: "Updated", entry, previous })
      }
      for (const entry of before) {
        if (!after.some(({ key }) => key === entry.key)) removals.push({ _tag: "Removed", entry })
      }
      if (after.length === 0) this.entries.delete(id)
      else this.entries.set(id, after)
    }
    return changes.concat(removals)
  }

  private merge(id: string, before: ReadonlyArray<Catalog.CatalogEntry>): ReadonlyArray<Catalog.CatalogEntry> {
    const found: Array<{ readonly source: string; readonly record: SourceRecord; alsoIn: ReadonlyArray<string> }> = []
    for (const source of this.sources) {
      const record = source.records.get(id)
      if (record === undefined) continue
      const same = found.length === 0 ?
        undefined :
        found.find((other) =>
          ServiceInstance.endpointKey(other.record.instance) === ServiceInstance.endpointKey(record.instance)
        )
      if (same === undefined) found.push({ source: source.registry.name, record, alsoIn: nowhere })
      else same.alsoIn = [...same.alsoIn, source.registry.name]
    }
    return found.map(({ alsoIn, record, source }) => {
      const key = Catalog.key(source, id)
      const entry: Catalog.CatalogEntry = { key, source, alsoIn, ...record }
      const previous = before.find((entry) => entry.key === key)
      return previous !== undefined && isSame(previous, entry) ? previous : entry
    })
  }
}

/** Records are never changed, so the same object is the same record. */
const isSame = (self: Catalog.CatalogEntry, that: Catalog.CatalogEntry): boolean =>
  self.instance === that.instance && self.firstSeen === that.firstSeen && self.changedAt === that.changedAt &&
  self.missingSince === that.missingSince && ServiceInstance.equals(self.alsoIn, that.alsoIn)

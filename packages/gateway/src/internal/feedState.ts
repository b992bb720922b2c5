/**
 * What the watchers of events have been told, and what is to be told next. Plain and synchronous.
 */
import * as Catalog from "@portolan/core/Catalog"
import type { HealthStatus } from "@portolan/core/Health"
import type { UpstreamState } from "@portolan/mcp/upstream/Upstream"
import type { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as HashMap from "effect/HashMap"
import type { CatalogChanges, FigureChanges, HealthChanges, Snapshot, SourceChanges, Topic } from "../rest/Events.ts"
import type { HealthView, InstanceView, SourceView } from "../rest/Representations.ts"
import type { Views } from "../rest/Views.ts"
import { FigureTable, type Sources } from "./figureTable.ts"

export interface FeedSources extends Sources {
  readonly upstreams: Upstreams["Service"]
  readonly views: Views["Service"]
}

export type Told =
  | readonly ["catalog", Omit<CatalogChanges, "at">]
  | readonly ["health", Omit<HealthChanges, "at">]
  | readonly ["sources", Omit<SourceChanges, "at">]
  | readonly ["figures", Omit<FigureChanges, "at">]

interface Known {
  entry: Catalog.CatalogEntry
  status: HealthStatus
  changedAt: number
  reason: string
  /** `""` while it is closed. */
  circuit: string
  upstream: UpstreamState | undefined
}

export class FeedState {
  readonly #sources: FeedSources
  readonly #figures: FigureTable
  readonly #known = new Map<Catalog.InstanceKey, Known>()
  // Revisions of health that were looked at, for another status and for another time of its change.
  readonly #glanced = new Map<string, number>()
  readonly #looked = new Map<string, number>()
  // Those that may change without a revision: health had not seen them yet when they were told, or their circuit isn't closed.
  readonly #unsettled = new Set<Catalog.InstanceKey>()
  readonly #registries = new Map<string, string>()
  // The revision of the upstreams that were looked at.
  #connections = -1
  #catalog: Catalog.Catalog = Catalog.empty

  constructor(sources: FeedSources, now: number) {
    this.#sources = sources
    this.#figures = new FigureTable(sources, now)
    this.update(now, true)
  }

  /**
   * What changed since the last time. Connections and figures, which are asked one by one, only where `all` is wanted.
   */
  update(now: number, all: boolean): ReadonlyArray<Told> {
    const told: Array<Told> = []
    // Sources first: entries of a source that is gone go after it, and none is there before its source.
    const sources = this.#sourceChanges()
    if (sources !== undefined) told.push(["sources", sources])
    const catalog: Array<CatalogChanges["changes"][number]> = []
    const health: Array<HealthChanges["changes"][number]> = []
    const removed: Array<NonNullable<HealthChanges["removed"]>[number]> = []
    this.#entryChanges(catalog, health, removed)
    this.#statusChanges(health, all)
    if (all) this.#upstreamChanges(catalog)
    if (catalog.length > 0) told.push(["catalog", { changes: catalog }])
    if (health.length + removed.length > 0) {
      told.push(["health", { changes: health, ...removed.length === 0 ? {} : { removed } }])
    }
    const figures = all ? this.#figures.update(now) : undefined
    if (figures !== undefined) told.push(["figures", figures])
    return told
  }

  /** Everything, as the watchers have been told it. */
  snapshot(topics: ReadonlySet<Topic>): Omit<Snapshot, "at" | "revision"> {
    const { views } = this.#sources
    const entries = topics.has("catalog") || topics.has("health") ? views.entries() : []
    const catalog = topics.has("catalog") ? entries.map(views.instance) : undefined
    return {
      ...catalog === undefined ? {} : { catalog },
      ...topics.has("health")
        ? {
          health: entries.map((entry, at) => ({
            ...identity(entry),
            health: healthOf(catalog?.[at]?.health ?? views.health(entry))
          }))
        }
        : {},
      ...topics.has("figures") ? { figures: { totals: this.#figures.totals, rows: this.#figures.rows() } } : {},
      ...topics.has("sources") ? { sources: views.sources() } : {}
    }
  }

  #health(entry: Catalog.CatalogEntry): HealthView {
    return healthOf(this.#sources.views.health(entry))
  }

  #instance(entry: Catalog.CatalogEntry): InstanceView {
    return this.#sources.views.instance(entry)
  }

  #entryChanges(
    catalog: Array<CatalogChanges["changes"][number]>,
    health: Array<HealthChanges["changes"][number]>,
    removed: Array<NonNullable<HealthChanges["removed"]>[number]>
  ): void {
    const before = this.#catalog
    const after = this.#sources.discovery.catalog()
    if (before === after) return
    this.#catalog = after
    for (const { _tag, entry } of Catalog.diff(before, after)) {
      if (_tag === "Removed") {
        this.#known.delete(entry.key)
        this.#unsettled.delete(entry.key)
        catalog.push({ type: "removed", ...identity(entry) })
        removed.push(identity(entry))
        continue
      }
      const known = this.#known.get(entry.key)
      const { changedAt, reason, status } = this.#sources.health.get(entry.key)
      const circuit = this.#circuit(entry.key)
      this.#settle(entry.key, changedAt, circuit)
      this.#known.set(entry.key, { entry, status, changedAt, reason, circuit, upstream: this.#upstream(entry.key) })
      catalog.push({ type: known === undefined ? "added" : "updated", instance: this.#instance(entry) })
      if (known === undefined || known.status !== status || known.changedAt !== changedAt) {
        health.push({ ...identity(entry), previous: known?.status ?? "unknown", health: this.#health(entry) })
      }
    }
    for (const revisions of [this.#glanced, this.#looked]) {
      for (const service of Array.from(revisions.keys())) {
        if (!HashMap.has(after.services, service)) revisions.delete(service)
      }
    }
  }

  // A service whose revision stands still is not looked at. A status that came back to what it was has another time.
  #statusChanges(health: Array<HealthChanges["changes"][number]>, all: boolean): void {
    const revisions = all ? this.#looked : this.#glanced
    for (const [service, { entries }] of this.#catalog.services) {
      const before = revisions.get(service)
      const revision = this.#sources.health.revision(service)
      if (before === revision) continue
      revisions.set(service, revision)
      const changed = before === undefined ? undefined : this.#sources.health.changedSince(service, before)
      for (const key of changed ?? HashMap.keys(entries)) this.#statusChange(key, health, all)
    }
    for (const key of Array.from(this.#unsettled)) this.#statusChange(key, health, all)
  }

  #statusChange(key: Catalog.InstanceKey, health: Array<HealthChanges["changes"][number]>, all: boolean): void {
    const known = this.#known.get(key)
    if (known === undefined) return
    const circuit = this.#circuit(key)
    if (!all && known.circuit === circuit && known.status === this.#sources.health.status(key)) return
    const { changedAt, reason, status } = this.#sources.health.get(key)
    if (
      known.status === status && known.changedAt === changedAt && known.reason === reason && known.circuit === circuit
    ) return
    this.#settle(key, changedAt, circuit)
    health.push({ ...identity(known.entry), previous: known.status, health: this.#health(known.entry) })
    known.status = status
    known.changedAt = changedAt
    known.reason = reason
    known.circuit = circuit
  }

  #settle(key: Catalog.InstanceKey, changedAt: number, circuit: string): void {
    if (changedAt === 0 || circuit !== "") this.#unsettled.add(key)
    else this.#unsettled.delete(key)
  }

  #circuit(key: Catalog.InstanceKey): string {
    const circuit = this.#sources.health.circuit(key)
    return circuit === undefined ? "" : `${circuit.state} ${circuit.until}`
  }

  #upstreamChanges(catalog: Array<CatalogChanges["changes"][number]>): void {
    const { upstreams } = this.#sources
    const since = this.#connections
    this.#connections = upstreams.revision()
    if (this.#connections === since) return
    for (const key of new Set(upstreams.changedSince(since) ?? this.#known.keys())) {
      const known = this.#known.get(key)
      const before = known?.upstream
      const upstream = this.#upstream(key)
      if (known === undefined || before === upstream) continue
      known.upstream = upstream
      if (!isSame(before, upstream)) catalog.push({ type: "updated", instance: this.#instance(known.entry) })
    }
  }

  #upstream(key: Catalog.InstanceKey): UpstreamState | undefined {
    return this.#sources.upstreams.get(key)?.state()
  }

  #sourceChanges(): Omit<SourceChanges, "at"> | undefined {
    const changed: Array<SourceView> = []
    const gone = new Set(this.#registries.keys())
    for (const view of this.#sources.views.sources()) {
      gone.delete(view.name)
      const { lastHeard: _, ...rest } = view
      const text = JSON.stringify(rest)
      if (this.#registries.get(view.name) === text) continue
      this.#registries.set(view.name, text)
      changed.push(view)
    }
    for (const name of gone) this.#registries.delete(name)
    return changed.length + gone.size === 0 ? undefined : { changed, removed: Array.from(gone) }
  }
}

const healthOf = ({ changedAt, circuit, mark, reason, score, status }: HealthView): HealthView => ({
  status,
  score,
  reason,
  changedAt,
  ...circuit === undefined ? {} : { circuit },
  ...mark === undefined ? {} : { mark }
})

/** Whether the same is told of both. */
const isSame = (one: UpstreamState | undefined, other: UpstreamState | undefined): boolean =>
  one?._tag === other?._tag && one?.since === other?.since && one?.lastError === other?.lastError

const identity = ({ instance: { id, service }, source }: Catalog.CatalogEntry) => ({ id, service, source })

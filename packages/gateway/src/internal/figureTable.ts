/**
 * The rows of figures, and which of them changed since they were last asked for. Plain and synchronous.
 */
import type { Balancer, Node } from "@portolan/core/Balancer"
import * as CallFigures from "@portolan/core/CallFigures"
import type * as Catalog from "@portolan/core/Catalog"
import type { Discovery } from "@portolan/core/Discovery"
import type { Health } from "@portolan/core/Health"
import type { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import * as HashMap from "effect/HashMap"
import type { FigureChanges, FigureRow, InstanceFigures, ServiceFigures, Totals } from "../rest/Events.ts"

export interface Sources {
  readonly balancer: Balancer["Service"]
  readonly discovery: Discovery["Service"]
  readonly health: Health["Service"]
  readonly endpoint: McpEndpoint["Service"]
}

/** Time in which what was counted loses half of its say in the percentiles, ms. */
const halfLife = 5_000
/** How much all that came before the first look counts for, in calls. */
const firstWeight = 50

/** The latest latencies: counts that fade. They fade only when something is added, so that rows at rest rest. */
class Recent {
  readonly of: CallFigures.CallFigures
  readonly #seen: Uint32Array
  readonly #weights: Float64Array
  #at: number

  constructor(of: CallFigures.CallFigures, now: number) {
    this.of = of
    this.#seen = Uint32Array.from(of.latencies)
    const share = Math.min(1, firstWeight / Math.max(of.calls, 1))
    this.#weights = Float64Array.from(of.latencies, (count) => count * share)
    this.#at = now
  }

  update(now: number): void {
    const kept = 0.5 ** ((now - this.#at) / halfLife)
    this.#at = now
    const { latencies } = this.of
    for (let bucket = 0; bucket < latencies.length; bucket++) {
      this.#weights[bucket] = this.#weights[bucket]! * kept + latencies[bucket]! - this.#seen[bucket]!
      this.#seen[bucket] = latencies[bucket]!
    }
  }

  percentiles() {
    return percentiles(this.#weights)
  }

  addTo(sum: Float64Array, now: number): void {
    const kept = 0.5 ** ((now - this.#at) / halfLife)
    for (let bucket = 0; bucket < sum.length; bucket++) sum[bucket]! += this.#weights[bucket]! * kept
  }
}

const rounded = (ms: number): number => Math.round(ms * 100) / 100

/** Percentiles of counts, where there are any. */
export const percentiles = (counts: ArrayLike<number>): { readonly p50?: number; readonly p95?: number } => {
  const p50 = CallFigures.percentile(counts, 0.5)
  const p95 = CallFigures.percentile(counts, 0.95)
  return p50 === undefined || p95 === undefined ? {} : { p50: rounded(p50), p95: rounded(p95) }
}

export class FigureTable {
  readonly #sources: Sources
  readonly #instances = new Map<Node, InstanceFigures>()
  readonly #services = new Map<string, { row: ServiceFigures; readonly recent: Recent }>()
  #totals: Totals
  // Those that the instances were last looked up in.
  #entries: Catalog.Catalog["entries"] | undefined

  constructor(sources: Sources, now: number) {
    this.#sources = sources
    this.#totals = this.#sum(now)
    this.update(now)
  }

  get totals(): Totals {
    return this.#totals
  }

  /** All rows, as they were last told. */
  rows(): ReadonlyArray<FigureRow> {
    return [...this.#instances.values(), ...Array.from(this.#services.values(), ({ row }) => row)]
  }

  /** What changed since the last time; nothing where nothing did. */
  update(now: number): Omit<FigureChanges, "at"> | undefined {
    const { balancer, discovery } = this.#sources
    const { entries } = discovery.catalog()
    const rows: Array<FigureRow> = []
    const removed: Array<NonNullable<FigureChanges["removed"]>[number]> = []
    const same = entries === this.#entries
    this.#entries = entries
    const before = this.#instances.size
    let kept = 0
    for (const node of balancer.nodes()) {
      const row = this.#instances.get(node)
      if ((row === undefined || !same) && !HashMap.has(entries, node.key)) continue
      if (row !== undefined) kept++
      if (
        row !== undefined && row.calls === node.calls && row.failures === node.failures &&
        row.inFlight === node.inFlight && row.service === node.instance.service
      ) continue
      const next = this.#instance(node)
      this.#instances.set(node, next)
      rows.push(next)
    }
    // They seldom go: which of them did is looked for only then.
    if (kept < before) {
      const there = new Set(balancer.nodes())
      for (const [node, row] of Array.from(this.#instances)) {
        if (there.has(node) && HashMap.has(entries, node.key)) continue
        this.#instances.delete(node)
        // Its id may be announced again, by a node of its own.
        if (rows.some((other) => isSame(other, row))) continue
        removed.push({ type: "instance", id: row.id, service: row.service, source: row.source })
      }
    }
    const figures = balancer.figures()
    for (const [service, total] of figures) {
      const known = this.#services.get(service)
      const recent = known?.recent.of === total ? known.recent : new Recent(total, now)
      const row = known?.row
      if (
        known !== undefined && recent === known.recent && row !== undefined && row.calls === total.calls &&
        row.failures === total.failures && row.inFlight === total.inFlight
      ) continue
      if (row !== undefined && row.calls !== total.calls) recent.update(now)
      const { calls, failures, inFlight } = total
      const next: ServiceFigures = { type: "service", service, calls, failures, inFlight, ...recent.percentiles() }
      this.#services.set(service, { row: next, recent })
      rows.push(next)
    }
    for (const service of Array.from(this.#services.keys())) {
      if (figures.has(service)) continue
      this.#services.delete(service)
      removed.push({ type: "service", service })
    }
    const totals = this.#sum(now)
    const moved = Object.entries(totals).some(([name, value]) =>
      name !== "p50" && name !== "p95" && Reflect.get(this.#totals, name) !== value
    )
    if (!moved && rows.length === 0 && removed.length === 0) return undefined
    this.#totals = totals
    return { totals, rows, ...removed.length === 0 ? {} : { removed } }
  }

  #instance(node: Node): InstanceFigures {
    const { latency, score, successRate } = this.#sources.health.get(node.key)
    return {
      type: "instance",
      id: node.instance.id,
      service: node.instance.service,
      source: node.source,
      calls: node.calls,
      failures: node.failures,
      inFlight: node.inFlight,
      ...latency === undefined ? {} : { latency: rounded(latency) },
      ...successRate === undefined ? {} : { successRate },
      score
    }
  }

  #sum(now: number): Totals {
    const { calls, callsInFlight, failedCalls, failovers, sessions, streams } = this.#sources.endpoint.figures()
    let attempts = 0
    let failedAttempts = 0
    for (const total of this.#sources.balancer.figures().values()) {
      attempts += total.calls
      failedAttempts += total.failures
    }
    let sum: Float64Array | undefined
    for (const { recent } of this.#services.values()) {
      recent.addTo(sum ??= new Float64Array(recent.of.latencies.length), now)
    }
    return {
      calls,
      failures: failedCalls,
      inFlight: callsInFlight,
      attempts,
      failedAttempts,
      failovers,
      ...percentiles(sum ?? []),
      sessions,
      streams
    }
  }
}

const isSame = (row: FigureRow, other: InstanceFigures): boolean =>
  row.type === "instance" && row.id === other.id && row.source === other.source

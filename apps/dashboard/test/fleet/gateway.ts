/**
 * A gateway of its own: it knows a few instances, changes them, and tells of it as the real one does.
 */
import type { Event, InstanceFigures, InstanceView, ServiceFigures, SourceView } from "../../src/api/types.ts"

type Data<Name extends Event["event"]> = Extract<Event, { readonly event: Name }>["data"]
type Told = Exclude<Event["event"], "snapshot" | "beat" | "resync">
export type Status = InstanceView["health"]["status"]

export const begun = Date.parse("2026-11-21T03:00:00Z")

export class Gateway {
  readonly instances = new Map<string, InstanceView>()
  readonly sources = new Map<string, SourceView>()
  readonly calls = new Map<string, { calls: number; failures: number }>()
  /** Of the services, those of instances that are gone too. */
  readonly services = new Map<string, { calls: number; failures: number }>()
  failovers = 0
  now = begun
  number = 0
  run: string

  constructor(run = "run") {
    this.run = run
  }

  get at(): string {
    return new Date(this.now).toISOString()
  }

  announce(id: string, service: string, source: string, fields: Record<string, unknown> = {}): Event {
    const before = this.instances.get(`${source} ${id}`)
    const instance: InstanceView = {
      id,
      service,
      source,
      alsoIn: [],
      kind: "mcp-server",
      version: "1.0.0",
      endpoint: { transport: "streamable-http", url: `http://${id}.test/mcp` },
      tags: [],
      weight: 1,
      health: before?.health ?? { status: "unknown", score: 1, reason: "not checked yet", changedAt: this.at },
      stale: this.sources.get(source)?.state === "stale",
      ...fields
    }
    this.instances.set(`${source} ${id}`, instance)
    return this.#event("catalog", {
      at: this.at,
      changes: [{ type: before === undefined ? "added" : "updated", instance }]
    })
  }

  remove(key: string): Event | undefined {
    const instance = this.instances.get(key)
    if (instance === undefined) return undefined
    this.instances.delete(key)
    this.calls.delete(key)
    const { id, service, source } = instance
    return this.#event("catalog", { at: this.at, changes: [{ type: "removed", id, service, source }] })
  }

  health(key: string, status: Status, reason: string, circuit?: "open" | "half-open"): Event | undefined {
    const instance = this.instances.get(key)
    if (instance === undefined) return undefined
    const { id, service, source } = instance
    const previous = instance.health.status
    const health = {
      status,
      score: status === "healthy" ? 1 : 0,
      reason,
      changedAt: this.at,
      ...circuit === undefined ? {} : { circuit: { state: circuit, until: new Date(this.now + 10_000).toISOString() } }
    }
    this.instances.set(key, { ...instance, health })
    return this.#event("health", { at: this.at, changes: [{ id, service, source, previous, health }] })
  }

  /** So many more calls of an instance. */
  call(key: string, calls: number, failures = 0): Event | undefined {
    return this.instances.has(key) ? this.figures([key], calls, failures) : undefined
  }

  /** So many more calls of each of these instances. */
  figures(keys: ReadonlyArray<string>, calls: number, failures: number): Event {
    const rows = new Map<string, Data<"figures">["rows"][number]>()
    for (const key of keys) {
      const instance = this.instances.get(key)
      if (instance === undefined) continue
      for (const [counts, name] of [[this.calls, key], [this.services, instance.service]] as const) {
        const count = counts.get(name) ?? { calls: 0, failures: 0 }
        counts.set(name, { calls: count.calls + calls, failures: count.failures + failures })
      }
      for (const row of [this.#instanceFigures(key, instance), this.#serviceFigures(instance.service)]) {
        rows.set(row.type === "service" ? row.service : key, row)
      }
    }
    return this.#event("figures", { at: this.at, totals: this.#totals(), rows: Array.from(rows.values()) })
  }

  source(name: string, state: SourceView["state"]): Event {
    const source = { name, type: "file", state, since: this.at, instances: 1, rejected: [], reconnects: 0, held: 0 }
    this.sources.set(name, source)
    for (const [key, instance] of this.instances) {
      if (instance.source === name) this.instances.set(key, { ...instance, stale: state === "stale" })
    }
    return this.#event("sources", { at: this.at, changed: [source], removed: [] })
  }

  snapshot(): Event {
    const revision = `${this.run}.${this.number}`
    return {
      event: "snapshot",
      id: revision,
      data: {
        at: this.at,
        revision,
        catalog: Array.from(this.instances.values()),
        figures: { totals: this.#totals(), rows: this.#figures() },
        sources: Array.from(this.sources.values())
      }
    }
  }

  beat(): Event {
    const revision = `${this.run}.${this.number}`
    return { event: "beat", id: revision, data: { at: this.at, revision } }
  }

  #event<Name extends Told>(event: Name, data: Data<Name>): Event {
    const id = `${this.run}.${++this.number}`
    const told = { event, id, data }
    // Which of them it is, the compiler can't tell by a name that isn't known here.
    return Object.assign(this.beat(), told)
  }

  #totals(): Data<"figures">["totals"] {
    const counts = Array.from(this.services.values())
    const calls = counts.reduce((sum, count) => sum + count.calls, 0)
    const failures = counts.reduce((sum, count) => sum + count.failures, 0)
    return {
      calls,
      failures,
      inFlight: 0,
      attempts: calls,
      failedAttempts: failures,
      failovers: this.failovers,
      sessions: 0,
      streams: 0
    }
  }

  #figures(): Data<"figures">["rows"] {
    return [
      ...Array.from(this.instances).flatMap(([key, instance]) =>
        this.calls.has(key) ? [this.#instanceFigures(key, instance)] : []
      ),
      ...Array.from(this.services.keys(), (service) => this.#serviceFigures(service))
    ]
  }

  #instanceFigures(key: string, { id, service, source }: InstanceView): InstanceFigures {
    const { calls, failures } = this.calls.get(key) ?? { calls: 0, failures: 0 }
    return { type: "instance", id, service, source, calls, failures, inFlight: 0, score: 1 }
  }

  #serviceFigures(service: string): ServiceFigures {
    const { calls, failures } = this.services.get(service) ?? { calls: 0, failures: 0 }
    return { type: "service", service, calls, failures, inFlight: 0, p50: 10, p95: 20 }
  }
}

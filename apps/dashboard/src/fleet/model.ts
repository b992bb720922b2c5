/**
 * What the gateway's events come to: the rows that pages show, and which of them differ from what was told before.
 *
 * **Mental model**: events change what is known, by the rules of the API. `take` answers a frame of what differs since the
 * last one; `whole` answers everything.
 *
 * **Details**: an event that is late or comes twice is told from others by the number in its id, and left aside. Where one
 * is missing, `apply` says so, and a snapshot sets everything right.
 */
import type { Change, Event, ReportView, SeriesReport, StatusView } from "../api/types.ts"
import { Catalog } from "./catalog.ts"
import { changeRow } from "./changeRow.ts"
import { Counter } from "./counter.ts"
import { isSame } from "./difference.ts"
import {
  type CallerRow,
  type ChangeRow,
  type Frame,
  type ServiceRow,
  states as stateNames,
  type Totals
} from "./rows.ts"
import { byRegion, needsAttention, noStates } from "./serviceRow.ts"

/** What is taken from a report. */
type Reported = Pick<ReportView, "at" | "callers" | "sources">

type Figures = Extract<Event, { readonly event: "figures" }>["data"]["totals"]

const mostChanges = 200
/** In one part of a whole frame. */
const mostInstances = 500

/** `<run>.<number>`: the number rises by one with each event. */
const positionOf = (id: string | undefined) => {
  const [, run, number] = /^(\w+)\.(\d+)$/.exec(id ?? "") ?? []
  return run === undefined ? undefined : { run, number: Number(number) }
}

export class Model {
  readonly #catalog = new Catalog()
  #calls = new Counter()
  #failovers = new Counter()
  readonly #callers = new Map<string, Counter>()
  #known = false
  #position: { readonly run: string; readonly number: number } | undefined
  #figures: Figures | undefined
  #changes: ReadonlyArray<ChangeRow> = []

  /** What was told, and what is to be told beside the catalog. */
  #told: { readonly totals: Totals; readonly regions: ReadonlyArray<string> } | undefined
  #callerRows: { readonly rows: ReadonlyArray<CallerRow>; told: boolean } = { rows: [], told: true }
  #status: { readonly view: StatusView; told: boolean } | undefined
  #newChanges = 0
  #counted = false

  /** Something is to be told that people wait for, not only figures. */
  get urgent(): boolean {
    return this.#catalog.urgent || this.#newChanges > 0 || this.#status?.told === false
  }

  /** Which run of the gateway it knows. */
  get run(): string | undefined {
    return this.#position?.run
  }

  get stirred(): boolean {
    return this.urgent || this.#catalog.stirred || this.#counted || !this.#callerRows.told
  }

  /** Answers whether it could be applied; where not, events are missing. */
  apply({ data, event, id }: Event, now: number): boolean {
    const position = positionOf(id)
    const known = this.#position
    if (event === "snapshot") {
      const anew = position?.run !== known?.run
      if (anew) this.#begin()
      this.#known = true
      this.#position = position
      this.#catalog.snapshot(data, now, anew)
      if (data.figures !== undefined) this.#count(data.figures.totals, now, true)
      return true
    }
    if (event === "beat" || event === "resync") return true
    if (known !== undefined && position !== undefined) {
      if (position.run !== known.run) return false
      if (position.number <= known.number) return true
      if (position.number > known.number + 1) return false
    }
    this.#position = position
    if (event === "catalog") this.#catalog.changes(data)
    if (event === "health") this.#catalog.health(data)
    if (event === "sources") this.#catalog.sources(data)
    if (event === "figures") {
      this.#catalog.figures(data, now, false)
      this.#count(data.totals, now, false)
    }
    return true
  }

  /** Takes from a report who calls, and when sources were last heard. */
  report({ at, callers: { rest, top }, sources }: Reported): void {
    const now = Date.parse(at)
    const all = [...top, ...rest === undefined ? [] : [{ ...rest, caller: "" }]]
    for (const caller of this.#callers.keys()) {
      if (!all.some((other) => other.caller === caller)) this.#callers.delete(caller)
    }
    const rows = all.map(({ caller, calls, failures: { failed, shed, unavailable } }) => {
      const counter = this.#callers.get(caller) ?? new Counter()
      this.#callers.set(caller, counter)
      const failures = failed + shed + unavailable
      counter.add(now, calls, failures, true)
      return { caller, rate: counter.rate(now), failed: counter.failed(now), calls, failures }
    })
    if (!isSame(rows, this.#callerRows.rows)) this.#callerRows = { rows, told: false }
    for (const { age, source } of sources) {
      if (age !== undefined) this.#catalog.heard(source, now - Math.round(age))
    }
  }

  /** Takes what was counted before the first snapshot of a run of the gateway. */
  seed(series: SeriesReport): void {
    const { gateway, step, times } = series
    this.#catalog.seed(series)
    const ends = times.map((time) => time * 1000)
    this.#calls.seed(step * 1000, ends, gateway.calls, gateway.failures)
    this.#failovers.seed(step * 1000, ends, gateway.failovers, [])
    this.#counted = true
  }

  status(view: StatusView): void {
    this.#status = { view, told: false }
  }

  /** Whether nothing is missing between these changes and those that are known. */
  adjoins(changes: ReadonlyArray<Change>): boolean {
    const newest = this.#changes[0]?.id
    return newest !== undefined && changes.some(({ id }) => id <= newest)
  }

  /** Takes changes, the newest first. */
  changes(changes: ReadonlyArray<Change>): void {
    const newest = this.#changes[0]?.id ?? ""
    const rows = changes.filter(({ id }) => id > newest).map(changeRow)
    this.#newChanges = Math.min(mostChanges, this.#newChanges + rows.length)
    this.#changes = [...rows, ...this.#changes].slice(0, mostChanges)
  }

  /** Looks at what time alone changes. */
  tick(now: number): void {
    this.#catalog.tick(now)
    if (this.#calls.moves(now)) this.#counted = true
  }

  /** What differs since the last time. */
  take(now: number, skew: number): Frame {
    const catalog = this.#catalog.take(now)
    const services = this.#catalog.services()
    const told = { totals: this.#sum(services, now), regions: regionsOf(services) }
    const before = this.#told
    this.#told = told
    const frame = {
      whole: false,
      at: now,
      skew,
      ...catalog,
      ...isSame(told.totals, before?.totals) ? {} : { totals: told.totals },
      ...isSame(told.regions, before?.regions) ? {} : { regions: told.regions },
      ...this.#callerRows.told ? {} : { callers: this.#callerRows.rows },
      ...this.#status === undefined || this.#status.told ? {} : { status: this.#status.view },
      ...this.#newChanges === 0 ? {} : { changes: this.#changes.slice(0, this.#newChanges) }
    }
    this.#callerRows.told = true
    if (this.#status !== undefined) this.#status.told = true
    this.#newChanges = 0
    this.#counted = false
    return frame
  }

  /** Everything that was taken, in parts: what sums it up comes before the instances. Nothing before the first snapshot. */
  whole(now: number, skew: number): ReadonlyArray<Frame> {
    if (!this.#known) return []
    const { instances, ...rest } = this.#catalog.whole()
    const parts = Math.ceil(instances.length / mostInstances)
    const first: Frame = {
      whole: true,
      more: parts > 0,
      at: now,
      skew,
      ...rest,
      ...this.#told,
      callers: this.#callerRows.rows,
      changes: this.#changes,
      ...this.#status === undefined ? {} : { status: this.#status.view }
    }
    return [
      first,
      ...Array.from({ length: parts }, (_, part): Frame => ({
        whole: false,
        more: part + 1 < parts,
        at: now,
        skew,
        instances: { rows: instances.slice(part * mostInstances, (part + 1) * mostInstances) }
      }))
    ]
  }

  /** Another process counts from nothing. */
  #begin(): void {
    this.#calls = new Counter()
    this.#failovers = new Counter()
    this.#callers.clear()
  }

  #count(figures: Figures, now: number, even: boolean): void {
    this.#figures = figures
    this.#counted = true
    this.#calls.add(now, figures.calls, figures.failures, even)
    this.#failovers.add(now, figures.failovers, 0, even)
  }

  #sum(services: ReadonlyArray<ServiceRow>, now: number): Totals {
    const states = noStates()
    let [instances, routable] = [0, 0]
    for (const service of services) {
      instances += service.instances
      routable += service.routable
      for (const state of stateNames) states[state] += service.states[state]
    }
    return {
      rate: this.#calls.rate(now),
      failed: this.#calls.failed(now),
      inFlight: this.#figures?.inFlight ?? 0,
      calls: this.#figures?.calls ?? 0,
      failures: this.#figures?.failures ?? 0,
      p50: this.#figures?.p50,
      p95: this.#figures?.p95,
      failovers: this.#failovers.rate(now),
      sessions: this.#figures?.sessions ?? 0,
      streams: this.#figures?.streams ?? 0,
      instances,
      routable,
      services: services.length,
      attention: services.filter(needsAttention).length,
      states
    }
  }
}

const regionsOf = (services: ReadonlyArray<ServiceRow>): ReadonlyArray<string> =>
  Array.from(new Set(services.flatMap(({ cells }) => cells.map(({ region }) => region)))).sort(byRegion)

/**
 * A service as the pages show it: what its instances come to, in numbers and in two lines.
 */
import type { ServiceFigures } from "../api/types.ts"
import { counted, share } from "../parts/format.ts"
import type { Counter } from "./counter.ts"
import { areFailing } from "./failing.ts"
import { type Cell, type ChangeRow, type InstanceRow, type ServiceRow, type State, states } from "./rows.ts"

/** Instances of a cell that are told one by one. */
const mostExceptions = 64

/** States that ask for somebody, in instances and in services. */
export const isTrouble = (state: ChangeRow["to"]): boolean =>
  state === "down" || state === "unhealthy" || state === "ejected" || state === "degraded"

/** Whether somebody should look after a service. */
export const needsAttention = ({ state }: { readonly state: State }): boolean => isTrouble(state)

export const noStates = (): Record<State, number> => ({
  down: 0,
  unhealthy: 0,
  ejected: 0,
  degraded: 0,
  draining: 0,
  stale: 0,
  unknown: 0,
  healthy: 0
})

const severity = new Map(states.map((state, index) => [state, index]))
const bySeverity = (a: State, b: State): number => (severity.get(a) ?? 0) - (severity.get(b) ?? 0)
export const byText = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

/** Regions by name, that of no region last. */
export const byRegion = (a: string, b: string): number => a === "" ? 1 : b === "" ? -1 : byText(a, b)

const versions = new Intl.Collator("en", { numeric: true })

const distinct = (texts: Iterable<string>): ReadonlyArray<string> => Array.from(new Set(texts)).sort(byText)

/** What of a service doesn't follow from calls. */
export interface Standing {
  readonly members: ReadonlyArray<InstanceRow>
  /** Those that ask for somebody. */
  readonly causes: ReadonlyArray<InstanceRow>
  readonly row: Pick<
    ServiceRow,
    "name" | "kind" | "versions" | "instances" | "routable" | "states" | "cells" | "sources" | "tags"
  >
}

/** That of a service with at least one instance. */
export const standingOf = (name: string, members: ReadonlyArray<InstanceRow>): Standing => {
  const counts = noStates()
  for (const { state } of members) counts[state]++
  return {
    members,
    causes: members.filter(({ state }) => isTrouble(state)),
    row: {
      name,
      kind: members[0]?.kind ?? "",
      versions: Array.from(new Set(members.map(({ version }) => version))).sort((a, b) => versions.compare(b, a)),
      instances: members.length,
      routable: members.filter(({ routable }) => routable).length,
      states: counts,
      cells: cellsOf(members),
      sources: distinct(members.map(({ source }) => source)),
      tags: distinct(members.flatMap(({ tags }) => tags))
    }
  }
}

export const serviceRow = (
  { causes, members, row }: Standing,
  figures: ServiceFigures | undefined,
  counter: Counter,
  now: number
): ServiceRow => {
  const failed = counter.failed(now)
  const failing = areFailing(failed, counter.failuresOfMinute(now))
  const state = stateOf(row, failing)
  return {
    ...row,
    state,
    reason: reasonOf(state, members, causes, row.states, failing ? failed : undefined),
    // Said once.
    consequence: consequenceOf(state, members, row.routable, failing && causes.length > 0 ? failed : undefined, now),
    since: sinceOf(state, members, causes),
    p50: figures?.p50,
    p95: figures?.p95,
    rate: counter.rate(now),
    failed,
    inFlight: figures?.inFlight ?? 0,
    calls: figures?.calls ?? 0,
    failures: figures?.failures ?? 0
  }
}

const stateOf = ({ instances: all, routable, states: counts }: Standing["row"], failing: boolean): State => {
  if (routable === 0) return "down"
  const out = counts.unhealthy + counts.ejected + counts.down
  if (failing || out * 2 >= all) return "unhealthy"
  if (out + counts.degraded > 0) return "degraded"
  if (counts.stale === all) return "stale"
  return counts.unknown === all ? "unknown" : "healthy"
}

const cellsOf = (instances: ReadonlyArray<InstanceRow>): ReadonlyArray<Cell> => {
  const byName = new Map<string, Array<InstanceRow>>()
  for (const instance of instances) {
    const cell = byName.get(instance.region)
    if (cell === undefined) byName.set(instance.region, [instance])
    else cell.push(instance)
  }
  return Array.from(byName).sort(([a], [b]) => byRegion(a, b)).map(([region, members]) => {
    const exceptions = members.filter(({ state }) => state !== "healthy")
      .sort((a, b) => bySeverity(a.state, b.state) || byText(a.key, b.key))
    return {
      region,
      total: members.length,
      healthy: members.length - exceptions.length,
      exceptions: exceptions.slice(0, mostExceptions).map(({ id, key, state }) => ({ key, id, state }))
    }
  })
}

/** `2 unhealthy, 1 degraded` */
const listed = (counts: Readonly<Record<State, number>>, wanted: (state: State) => boolean): string =>
  states.filter((state) => wanted(state) && counts[state] > 0).map((state) => `${counts[state]} ${state}`).join(", ")

/** The reason that most of the worst give, and where all of them are. */
const causeOf = (causes: ReadonlyArray<InstanceRow>): { readonly where: string; readonly why: string } => {
  const [worst] = causes.map(({ state }) => state).sort(bySeverity)
  const reasons = new Map<string, number>()
  for (const { reason, state } of causes) {
    // How long one is ejected for differs from one to the next, and is told beside it.
    const plain = reason.replace(/^ejected for [^:]+: /, "")
    if (state === worst) reasons.set(plain, (reasons.get(plain) ?? 0) + 1)
  }
  const [why = ""] = Array.from(reasons).sort(([a, many], [b, more]) => more - many || byText(a, b))[0] ?? []
  const regions = new Set(causes.map(({ region }) => region))
  const [region = ""] = regions
  return { where: regions.size === 1 && region !== "" ? ` in ${region}` : "", why: why === "" ? "" : `: ${why}` }
}

const reasonOf = (
  state: State,
  instances: ReadonlyArray<InstanceRow>,
  causes: ReadonlyArray<InstanceRow>,
  counts: Readonly<Record<State, number>>,
  failed: number | undefined
): string => {
  if (state === "healthy") return ""
  const all = instances.length
  if (state === "down" || state === "stale" || state === "unknown") {
    const [first] = instances
    const same = first !== undefined && counts[first.state] === all ? first.state : undefined
    const { why } = causeOf(state === "down" && causes.length > 0 ? causes : instances)
    const subject = all === 1 ? "its only instance is" : all === 2 ? "both instances are" : `all ${all} instances are`
    return `${same === undefined ? `nothing takes calls: ${listed(counts, () => true)}` : `${subject} ${same}`}${why}`
  }
  if (causes.length === 0) return `${share(failed)} of calls fail`
  const { where, why } = causeOf(causes)
  const kinds = new Set(causes.map((cause) => cause.state))
  const [kind = state] = kinds
  return `${kinds.size === 1 ? `${causes.length} of ${all} ${kind}` : listed(counts, isTrouble)}${where}${why}`
}

const consequenceOf = (
  state: State,
  instances: ReadonlyArray<InstanceRow>,
  routable: number,
  failed: number | undefined,
  now: number
): string => {
  if (!isTrouble(state)) return ""
  const untils = instances.flatMap(({ state, until }) => state === "ejected" && until !== undefined ? [until] : [])
  const wait = Math.ceil((Math.min(...untils) - now) / 1000)
  const back = untils.length === 0 ? "" : wait > 0 ? `, back in ${spanOf(wait)}` : ", on trial now"
  if (state === "down") return `calls are answered as unavailable${back}`
  const others = routable < instances.length
    ? `calls go to ${counted(routable, "other")}`
    : routable === 1
    ? "it still takes calls"
    : `all ${counted(routable, "instance")} take calls`
  return `${failed === undefined ? "" : `${share(failed)} of calls fail, `}${others}${back}`
}

const spanOf = (seconds: number): string =>
  seconds < 100 ? `${seconds} s` : seconds < 5_940 ? `${Math.ceil(seconds / 60)} m` : `${Math.ceil(seconds / 3600)} h`

const sinceOf = (
  state: State,
  instances: ReadonlyArray<InstanceRow>,
  causes: ReadonlyArray<InstanceRow>
): number | undefined => {
  if (state === "healthy") return undefined
  // Down since the last one went; in trouble since the first one was.
  if (state === "down") return instances.reduce((last, { since }) => Math.max(last, since), 0)
  const troubled = causes.length > 0 ? causes : isTrouble(state) ? [] : instances
  return troubled.length === 0 ? undefined : troubled.reduce((first, { since }) => Math.min(first, since), Infinity)
}

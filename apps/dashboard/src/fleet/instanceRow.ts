/**
 * An instance as the pages show it, made of what the gateway's events say of it.
 */
import type { HealthView, InstanceFigures, InstanceView } from "../api/types.ts"
import type { Counter } from "./counter.ts"
import type { Figures, InstanceRow, SourceRow, State } from "./rows.ts"

/** By what an instance is known. */
export interface Identity {
  readonly id: string
  readonly source: string
}

export const keyOf = ({ id, source }: Identity): string => `${source}\u0000${id}`

type Standing = Omit<InstanceRow, keyof Figures | "score" | "latency">

/** What events say of an instance; those of catalog and figures come apart. */
export interface Known {
  view: InstanceView | undefined
  health: HealthView | undefined
  figures: InstanceFigures | undefined
  counter: Counter
  /** What of its row doesn't follow from calls; none: to be made anew. */
  standing: Standing | undefined
  /** As it was last told. */
  row: InstanceRow | undefined
}

export interface Announced extends Known {
  view: InstanceView
}

export const isAnnounced = (known: Known): known is Announced => known.view !== undefined

/** What is known of a source takes away from "healthy" only: that one fails its checks is known all the same. */
const stateOf = (health: HealthView, stale: boolean): State => {
  const { circuit, status } = health
  if (status === "draining" || status === "down") return status
  if (circuit !== undefined) return "ejected"
  return stale && (status === "healthy" || status === "unknown") ? "stale" : status
}

const isRoutable = ({ status }: HealthView): boolean =>
  status === "healthy" || status === "degraded" || status === "unknown"

const text = (value: unknown): string => typeof value === "string" ? value : ""
const texts = (value: unknown): ReadonlyArray<string> => Array.isArray(value) ? value.map(text) : []
const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined

const addressOf = (endpoint: unknown): string => {
  const command = text(field(endpoint, "command"))
  if (command !== "") return [command, ...texts(field(endpoint, "args"))].join(" ")
  const address = text(field(endpoint, "url")) || text(field(endpoint, "card"))
  return address === "" ? "in the gateway's process" : address
}

/** A record without a version has this one; then what the server says of itself tells more. */
const unversioned = "0.0.0"

const versionOf = ({ upstream, version }: InstanceView): string => {
  const announced = text(version)
  return announced === unversioned ? text(upstream?.server?.["version"]) || announced : announced
}

/** `source`: that which announces it. */
const standingOf = ({ health: latest, view }: Announced, source: SourceRow | undefined): Standing => {
  const health = latest ?? view.health
  const stale = source === undefined ? view.stale : source.state === "stale"
  const state = stateOf(health, stale)
  return {
    key: keyOf(view),
    id: view.id,
    service: view.service,
    source: view.source,
    alsoIn: view.alsoIn,
    kind: text(view["kind"]),
    version: versionOf(view),
    region: text(view["region"]),
    zone: text(view["zone"]),
    address: addressOf(view["endpoint"]),
    transport: text(field(view["endpoint"], "transport")),
    tags: texts(view["tags"]),
    weight: typeof view["weight"] === "number" ? view["weight"] : 1,
    state,
    routable: isRoutable(health),
    reason: state === "stale" && source !== undefined ? lostReason(source) : health.reason,
    since: state === "stale" && source !== undefined ? source.since : Date.parse(health.changedAt),
    until: health.circuit === undefined ? undefined : Date.parse(health.circuit.until),
    stale,
    error: view.upstream?.error,
    mark: health.mark
  }
}

/** The row of one that is announced. */
export const instanceRow = (known: Announced, source: SourceRow | undefined, now: number): InstanceRow => {
  const { counter, figures, health, view } = known
  return {
    ...known.standing ??= standingOf(known, source),
    score: figures?.score ?? (health ?? view.health).score,
    latency: figures?.latency,
    rate: counter.rate(now),
    failed: counter.failed(now),
    inFlight: figures?.inFlight ?? 0,
    calls: figures?.calls ?? 0,
    failures: figures?.failures ?? 0
  }
}

const lostReason = ({ error, name }: SourceRow): string =>
  `source ${name} is lost${error === undefined ? "" : `: ${error}`}`

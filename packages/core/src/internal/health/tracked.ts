import type { InstanceKey } from "../../Catalog.ts"
import type { HealthChange, HealthStatus, StateRecord } from "../../Health.ts"
import type { ServiceInstance } from "../../ServiceInstance.ts"
import type { Ejection, InstanceCircuit } from "./circuit.ts"
import type { CheckLog } from "./history.ts"
import type { SlidingWindow } from "./slidingWindow.ts"

/**
 * Settings of health; durations in ms.
 *
 * @internal
 */
export interface Settings {
  readonly interval: number
  readonly unhealthyInterval: number
  readonly idleInterval: number
  readonly jitter: number
  readonly rise: number
  readonly fall: number
  readonly ejection: Ejection
  readonly weights: { readonly success: number; readonly latency: number }
}

/**
 * What the rules of health have around them.
 *
 * @internal
 */
export interface Environment {
  /** As they are now. */
  settings: Settings
  /** Monotonic ms: what due times and windows are measured by. */
  readonly now: () => number
  /** Epoch ms: what people are told. */
  readonly wall: () => number
  readonly random: () => number
  /** Whether our own event loop stood still for a good part of the time between. */
  readonly stalled: (since: number, at: number) => boolean
  readonly publish: (change: HealthChange) => void
  /** Something may be due earlier than was thought. */
  readonly wake: () => void
}

/**
 * What the instances of a service have in common.
 *
 * @internal
 */
export interface Service {
  readonly members: Set<Tracked>
  /** Outcomes of calls and checks recorded in it: what is derived from them is made again only when this has grown. */
  outcomes: number
  /** `outcomes` when the success rates were last compared. */
  swept: number
  /** Monotonic ms of the last call. */
  calledAt: number
  /** Members that calls took out. */
  ejected: number
  /** Lowest median latency, with `outcomes` and the time when it was looked for. */
  fastest: number | undefined
  fastestOf: number
  fastestAt: number
}

/**
 * All that is known of the health of one instance.
 *
 * @internal
 */
export interface Tracked {
  readonly key: InstanceKey
  readonly service: Service
  instance: ServiceInstance
  status: HealthStatus
  reason: string
  changedAt: number
  /** What the checks say, after rise and fall; nothing where none spoke. */
  verdict: { readonly status: "healthy" | "degraded" | "unhealthy"; readonly reason: string } | undefined
  checksPassed: number
  checksFailed: number
  /** Checks in a row that had nothing to say. */
  checksSkipped: number
  /** Checks in a row that failed while our own loop stood still. */
  checksDoubted: number
  /** Calls in a row that failed, and the time of the first. */
  callsFailed: number
  failingSince: number
  /** Calls since the success rates were last compared. */
  passed: number
  failed: number
  /** Monotonic whole ms: what began earlier says nothing of it as it is now. */
  since: number
  /** Made when it is opened for the first time. */
  circuit: InstanceCircuit | undefined
  checks: CheckLog | undefined
  states: ReadonlyArray<StateRecord>
  window: SlidingWindow | undefined
  /** Monotonic whole ms, as is all that is kept of each instance: a fraction takes a place of its own. */
  due: number
  place: number
  checking: boolean
  gone: boolean
}

/**
 * Before all times, in whole ms.
 *
 * @internal
 */
export const never = -(2 ** 30)

// The same for all of which nothing is known.
const none: ReadonlyArray<StateRecord> = []

/** @internal */
export const makeService = (now: number): Service => ({
  members: new Set(),
  outcomes: 0,
  swept: 0,
  calledAt: now,
  ejected: 0,
  fastest: undefined,
  fastestOf: -1,
  fastestAt: -Infinity
})

/**
 * One of which nothing is known yet but the status that its key had before.
 *
 * @internal
 */
export const makeTracked = (
  key: InstanceKey,
  instance: ServiceInstance,
  service: Service,
  status: HealthStatus,
  since: number,
  wall: number
): Tracked => ({
  // First what a call's success touches, so that it lies together.
  callsFailed: 0,
  failingSince: 0,
  passed: 0,
  failed: 0,
  since,
  circuit: undefined,
  status,
  service,
  window: undefined,
  key,
  instance,
  reason: "not checked yet",
  changedAt: wall,
  verdict: undefined,
  checksPassed: 0,
  checksFailed: 0,
  checksSkipped: 0,
  checksDoubted: 0,
  checks: undefined,
  states: none,
  due: 0,
  place: -1,
  checking: false,
  gone: false
})

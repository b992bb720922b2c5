/**
 * Which instance a request would go to now, and why the others are not the one.
 *
 * **Mental model**: an explanation is a rehearsal. It picks with everything that the next call picks with (rules, health,
 * loads, the strategy and its randomness) and puts all of it back. So it names the instance that the next call of this kind
 * goes to, unless something changes in between, and asking changes nothing.
 *
 * @since 0.1.0
 */
import type { StrategyName } from "./Balancer.ts"
import type { InstanceKey } from "./Catalog.ts"
import type { Circuit, HealthStatus } from "./Health.ts"

/**
 * An instance with what it is judged by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Candidate {
  readonly key: InstanceKey
  readonly instance: string
  readonly service: string
  readonly source: string
  readonly version: string
  readonly region: string | undefined
  readonly status: HealthStatus
  readonly score: number
  /** Peak EWMA of its latency, ms; none before its first answer. */
  readonly latency: number | undefined
  readonly inFlight: number
  readonly weight: number
  readonly circuit: Circuit["state"]
  /** Whether its registry is lost, so that this is its last known state. */
  readonly stale: boolean
  /** One line: why it is picked, or why it isn't considered. Of one that the strategy passed over mostly empty. */
  readonly reason: string
}

/**
 * What would become of a request.
 *
 * @category models
 * @since 0.1.0
 */
export interface Explanation {
  readonly requested: string
  /** The routing rule that holds, its place among the rules (1 is the first) and what it says. */
  readonly rule: { readonly number: number; readonly name: string; readonly text: string } | undefined
  readonly strategy: StrategyName
  readonly picked: Candidate | undefined
  /** Those that the strategy chose from, without the one that is picked. */
  readonly considered: ReadonlyArray<Candidate>
  readonly leftOut: ReadonlyArray<Candidate>
  /** How many more there are that aren't listed. */
  readonly more: { readonly considered: number; readonly leftOut: number }
  /** Why nothing is picked. */
  readonly failure: {
    readonly kind: "unknown" | "unavailable" | "overloaded" | "lost"
    readonly reason: string
    /** Whether the call would wait for room before it fails. */
    readonly waits: boolean
    /** When it is worth coming again, ms. */
    readonly retryAfter: number | undefined
  } | undefined
}

/**
 * What an explanation is to tell.
 *
 * @category models
 * @since 0.1.0
 */
export interface ExplainOptions {
  /** Most instances of each list. Default 100. */
  readonly most?: number | undefined
}

/**
 * The status of each instance, from three inputs: what its registry reports, active checks, and the outcomes of real
 * calls. A manual override wins over all of them.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { InstanceKey } from "./Catalog.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Status of an instance. Routable are `healthy`, then `degraded` and `unknown`; `unhealthy` only in panic mode; never
 * `draining` or `down`.
 *
 * @category models
 * @since 0.1.0
 */
export type HealthStatus = "healthy" | "degraded" | "unhealthy" | "draining" | "down" | "unknown"

/**
 * Health of one instance, as a value.
 *
 * @category models
 * @since 0.1.0
 */
export interface InstanceHealth {
  readonly key: InstanceKey
  readonly status: HealthStatus
  /** 0 to 1; see `Health.score`. */
  readonly score: number
  /** One line; why the status is what it is. */
  readonly reason: string
  /** Epoch ms of the last change of the status. */
  readonly changedAt: number
  /** Epoch ms of the last check that ended. */
  readonly checkedAt: number | undefined
  /** Median latency in ms of the checks and calls of the last 60 s. */
  readonly latency: number | undefined
  /** Share of checks and calls of the last 60 s that succeeded; none where there were none. */
  readonly successRate: number | undefined
}

/**
 * Result of one active check. `fatal` makes the instance unhealthy at once, whatever the fall threshold (Envoy does so
 * for an unexpected status).
 *
 * @category models
 * @since 0.1.0
 */
export type CheckResult =
  | { readonly _tag: "Pass" }
  | { readonly _tag: "Degraded"; readonly reason: string }
  | { readonly _tag: "Fail"; readonly reason: string; readonly fatal: boolean }
  /** The check has nothing to say about this instance. */
  | { readonly _tag: "Skip" }

/**
 * An active check: a function from an instance to a result. It is given a time-out and is interrupted by it.
 *
 * @category models
 * @since 0.1.0
 */
export type HealthCheck = (instance: ServiceInstance, key: InstanceKey) => Effect.Effect<CheckResult>

/**
 * Outcome of one attempt: `success`, `failure` of the instance, or `ignored` (the caller's mistake or cancellation).
 *
 * @category models
 * @since 0.1.0
 */
export interface Outcome {
  readonly _tag: "success" | "failure" | "ignored"
  /** ms */
  readonly latency: number
  /** One line, for a failure. */
  readonly reason?: string | undefined
}

/**
 * A change of the status of an instance.
 *
 * @category models
 * @since 0.1.0
 */
export interface HealthChange {
  readonly previous: HealthStatus
  readonly health: InstanceHealth
}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface HealthOptions {
  /** Time between two checks of an instance. Default 30 s; each instance may set its own. */
  readonly interval?: Duration.Input | undefined
  /** Time between two checks of an unhealthy instance. Default 1 s. */
  readonly unhealthyInterval?: Duration.Input | undefined
  /** Longest a check may take. Default 10 s. */
  readonly timeout?: Duration.Input | undefined
  /** Share of the interval by which each check is moved at random. Default 0.2. */
  readonly jitter?: number | undefined
  /** Successful checks in a row until an unhealthy instance is healthy. Default 1. A first success is enough at once. */
  readonly rise?: number | undefined
  /** Failed checks or calls in a row until a healthy instance is unhealthy. Default 3. */
  readonly fall?: number | undefined
  /** Checks under way at the same time. Default 32. */
  readonly concurrency?: number | undefined
  /** Weights of the score's two terms. Default 0.7 and 0.3. */
  readonly weights?: { readonly success: number; readonly latency: number } | undefined
}

/**
 * Service that keeps the health of every instance of the catalog.
 *
 * @category services
 * @since 0.1.0
 */
export class Health extends Context.Service<Health, {
  /** Health of an instance now; `unknown` for one it has not seen. Plain data. */
  readonly get: (key: InstanceKey) => InstanceHealth
  /** Status only: what the router asks on its hot path. Plain, allocates nothing. */
  readonly status: (key: InstanceKey) => HealthStatus
  /** Grows with each change of any status of a service's instances. Plain: what caches are checked against. */
  readonly revision: (service: string) => number
  /** Records the outcome of an attempt. Plain, costs nanoseconds. */
  readonly record: (key: InstanceKey, outcome: Outcome) => void
  /** Marks an instance by hand until it is cleared; `undefined` clears. */
  readonly override: (
    key: InstanceKey,
    status: "up" | "draining" | "down" | undefined,
    reason: string
  ) => Effect.Effect<void>
  /** Adds an active check for the life of the scope. The worst result counts. */
  readonly addCheck: (check: HealthCheck) => Effect.Effect<void, never, Scope.Scope>
  /** Checks an instance now and answers its health. */
  readonly check: (key: InstanceKey) => Effect.Effect<InstanceHealth>
  /** Changes of status as they come; a slow reader loses the oldest. */
  readonly changes: Stream.Stream<HealthChange>
}>()("@portolan/core/Health") {}

/**
 * The status of each instance, from three inputs: what its registry reports, active checks, and the outcomes of real
 * calls. A manual override wins over all of them.
 *
 * @since 0.1.0
 */
import type * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { CatalogEntry, CatalogUpdate, InstanceKey } from "./Catalog.ts"
import { Discovery } from "./Discovery.ts"
import { type CheckLimits, CheckRunner } from "./internal/health/checkRunner.ts"
import * as circuits from "./internal/health/circuit.ts"
import { HealthTable } from "./internal/health/healthTable.ts"
import { heartbeat, Stalls } from "./internal/health/stalls.ts"
import type { Settings } from "./internal/health/tracked.ts"
import { monotonic } from "./internal/monotonic.ts"
import { xorshift } from "./internal/xorshift.ts"
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
  /**
   * 0 to 1. 0 for `unhealthy` and `down`, else 0.7 × success rate + 0.3 × (lowest median latency of the service ÷ own),
   * each term 1 where nothing is known; the weights are options.
   */
  readonly score: number
  /** One line; why the status is what it is. */
  readonly reason: string
  /** Epoch ms of the last change of the status. */
  readonly changedAt: number
  /** Epoch ms of the last check that ended. */
  readonly checkedAt: number | undefined
  /** Median latency in ms of the checks and calls that succeeded in the last 60 s, and since checks last brought it back. */
  readonly latency: number | undefined
  /** Share of checks and calls of the same time that succeeded; none where there were none. */
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
  /** ms from the beginning of the attempt until now. */
  readonly latency: number
  /** One line, for a failure. */
  readonly reason?: string | undefined
  /** How long the server asked to be left alone, ms. */
  readonly retryAfter?: number | undefined
  /** It was a trial call: `admit` took a place for it, which this gives back. */
  readonly trial?: boolean | undefined
}

/**
 * The circuit breaker of an instance: `open` while it is ejected, then `half-open`, when it takes a few trial calls at a
 * time until enough of them succeed. An instance without one is `closed`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Circuit {
  readonly state: "closed" | "open" | "half-open"
  /** One line; why it was opened. */
  readonly reason: string
  /** What opened it: calls in a row failed, its success rate fell behind its peers, or the server asked to be left alone. */
  readonly cause: "failures" | "success-rate" | "pushback"
  /** `Balancer.now()` at its last change of state. */
  readonly since: number
  /** `Balancer.now()` from which trial calls are taken. */
  readonly until: number
  /** How often it was opened in a row: what its time grows with. */
  readonly times: number
  /** Trial calls that succeeded in a row, and how many close it. */
  readonly passed: number
  readonly trials: number
}

/**
 * One line about a circuit at a moment of `Balancer.now()`: `ejected 20s ago: 5 calls in a row failed: refused, back in 10s`.
 * `admits`: whether it takes trial calls once it is due, see `Health.admits`. One whose checks fail takes none.
 *
 * @category combinators
 * @since 0.1.0
 */
export const describeCircuit = (circuit: Circuit, now: number, admits = true): string =>
  circuits.describeCircuit(circuit, now, admits)

/**
 * One active check of an instance that ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface CheckRecord {
  /** Epoch ms. */
  readonly at: number
  readonly result: "pass" | "degraded" | "fail"
  /** ms */
  readonly latency: number
  /** One line; empty for one that passed. */
  readonly reason: string
}

/**
 * A change of the status of an instance, or of its circuit.
 *
 * @category models
 * @since 0.1.0
 */
export interface StateRecord {
  /** Epoch ms. */
  readonly at: number
  readonly status: HealthStatus
  readonly circuit: Circuit["state"]
  readonly reason: string
}

/**
 * What happened to an instance, oldest first: the last 60 of each.
 *
 * @category models
 * @since 0.1.0
 */
export interface HealthHistory {
  readonly checks: ReadonlyArray<CheckRecord>
  readonly states: ReadonlyArray<StateRecord>
}

/**
 * When calls take an instance out of traffic, and for how long (after Envoy's outlier detection and gRPC A50).
 *
 * @category models
 * @since 0.1.0
 */
export interface EjectionOptions {
  /** Failed calls in a row that open the circuit. Default: `fall`. */
  readonly consecutiveFailures?: number | undefined
  /** Time of the first ejection, doubled each time it happens again. Default 1 s. */
  readonly baseTime?: Duration.Input | undefined
  /** Longest ejection. Default 5 min. */
  readonly maxTime?: Duration.Input | undefined
  /** Largest share of a service's instances that calls may eject; one always may be. Default 0.5. */
  readonly maxShare?: number | undefined
  /** Time between two looks at the success rates. Default 10 s. */
  readonly interval?: Duration.Input | undefined
  /** Instances of a service with enough calls, below which success rates aren't compared. Default 5. */
  readonly minInstances?: number | undefined
  /** Calls within an interval that are enough. Default 100. */
  readonly minRequests?: number | undefined
  /** Standard deviations below the mean success rate at which an instance is ejected. Default 1.9. */
  readonly deviations?: number | undefined
  /** Trial calls that a half-open circuit admits at a time, and successes that close it. Default 3. */
  readonly trials?: number | undefined
  /** Whether a check that passes closes the circuit. Default yes. */
  readonly readmitOnCheck?: boolean | undefined
}

/**
 * A change of the status of an instance, of its circuit, or of its mark: one that calls eject once more stays `unhealthy`.
 *
 * @category models
 * @since 0.1.0
 */
export interface HealthChange {
  readonly previous: HealthStatus
  readonly health: InstanceHealth
  readonly circuit: Circuit["state"]
}

/**
 * A mark that somebody made by hand: it wins over checks, calls and what the announcer says.
 *
 * @category models
 * @since 0.2.0
 */
export interface HealthMark {
  readonly as: "up" | "draining" | "down"
  readonly reason: string
  /** Epoch ms. */
  readonly at: number
}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface HealthOptions {
  /** Time between two checks of an instance. Default 30 s; each instance may set its own. A minute at most while degraded. */
  readonly interval?: Duration.Input | undefined
  /** Time between two checks of an unhealthy instance. Default 1 s. */
  readonly unhealthyInterval?: Duration.Input | undefined
  /**
   * Time between two checks of the instances of a service that got no call for as long (Envoy's `no_traffic_interval`), so
   * that services nobody uses aren't kept busy. Default none: they are checked like the others.
   */
  readonly idleInterval?: Duration.Input | undefined
  /** Longest a check may take. Default 10 s. */
  readonly timeout?: Duration.Input | undefined
  /**
   * Share of the interval by which each check is moved at random, and largest share of its time by which an ejection is
   * shortened. Default 0.2.
   */
  readonly jitter?: number | undefined
  /** Successful checks in a row until an unhealthy instance is healthy. Default 1. A first success is enough at once. */
  readonly rise?: number | undefined
  /** Failed checks or calls in a row until a healthy instance is unhealthy. Default 3. */
  readonly fall?: number | undefined
  /** When calls take an instance out of traffic. */
  readonly ejection?: EjectionOptions | undefined
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
  /**
   * The instances of a service whose status or circuit changed after a revision, some perhaps several times; nothing where
   * that is too long ago to be known. Plain.
   */
  readonly changedSince: (service: string, revision: number) => ReadonlyArray<InstanceKey> | undefined
  /** Records the outcome of an attempt. Plain, costs nanoseconds. */
  readonly record: (key: InstanceKey, outcome: Outcome) => void
  /** Marks an instance by hand until it is cleared; `undefined` clears. */
  readonly override: (
    key: InstanceKey,
    status: HealthMark["as"] | undefined,
    reason: string
  ) => Effect.Effect<void>
  /** The mark of an instance, if somebody made one; it stays while the instance is away. Plain. */
  readonly mark: (key: InstanceKey) => HealthMark | undefined
  /** The circuit of an instance; nothing where it is closed. Plain. */
  readonly circuit: (key: InstanceKey) => Circuit | undefined
  /**
   * Takes a place for a trial call of an instance whose circuit is half-open, or open and due (`at` is `Balancer.now()`):
   * `false` where there is none. The outcome must be recorded as `trial`. Plain.
   */
  readonly admit: (key: InstanceKey, at: number) => boolean
  /** Whether `admit` would answer `true`. Takes nothing, changes nothing. Plain. */
  readonly admits: (key: InstanceKey, at: number) => boolean
  /** The last checks and changes of an instance. Plain. */
  readonly history: (key: InstanceKey) => HealthHistory
  /** How often calls opened the circuit of an instance. Plain. */
  readonly ejections: (key: InstanceKey) => number
  /**
   * Whether our own event loop stood still for a good part of the time between (`Balancer.now()`): what failed or took
   * long then says nothing of who was asked. Outcomes recorded here are judged so without being asked. Plain.
   */
  readonly stalled: (since: number, at: number) => boolean
  /** Adds an active check for the life of the scope. The worst result counts. */
  readonly addCheck: (check: HealthCheck) => Effect.Effect<void, never, Scope.Scope>
  /** Checks an instance now and answers its health. */
  readonly check: (key: InstanceKey) => Effect.Effect<InstanceHealth>
  /** Changes of status, circuits and marks as they come; a slow reader loses the oldest. */
  readonly changes: Stream.Stream<HealthChange>
  /** Takes other settings from now on; what an option doesn't say is its default. What is known of instances stays. */
  readonly reconfigure: (options: HealthOptions) => Effect.Effect<void>
}>()("@portolan/core/Health") {}

const ejectionOf = (options: EjectionOptions, fall: number): circuits.Ejection => {
  const baseTime = Math.max(Duration.toMillis(options.baseTime ?? "1 second"), 1)
  return {
    consecutiveFailures: options.consecutiveFailures ?? fall,
    baseTime,
    maxTime: Math.max(Duration.toMillis(options.maxTime ?? "5 minutes"), baseTime),
    maxShare: options.maxShare ?? 0.5,
    interval: Math.max(Duration.toMillis(options.interval ?? "10 seconds"), 1),
    minInstances: options.minInstances ?? 5,
    minRequests: options.minRequests ?? 100,
    deviations: options.deviations ?? 1.9,
    trials: Math.max(options.trials ?? 3, 1),
    readmitOnCheck: options.readmitOnCheck ?? true
  }
}

const limitsOf = ({ concurrency, timeout }: HealthOptions): CheckLimits => ({
  concurrency: concurrency ?? 32,
  timeout: Duration.fromInputUnsafe(timeout ?? "10 seconds")
})

const settingsOf = (options: HealthOptions): Settings => ({
  interval: Math.max(Duration.toMillis(options.interval ?? "30 seconds"), 1),
  unhealthyInterval: Math.max(Duration.toMillis(options.unhealthyInterval ?? "1 second"), 1),
  idleInterval: options.idleInterval === undefined ? Infinity : Math.max(Duration.toMillis(options.idleInterval), 1),
  jitter: options.jitter ?? 0.2,
  rise: options.rise ?? 1,
  fall: options.fall ?? 3,
  ejection: ejectionOf(options.ejection ?? {}, options.fall ?? 3),
  weights: options.weights ?? { success: 0.7, latency: 0.3 }
})

// A reader of `changes` that is slower than this many changes loses the oldest.
const changesKept = 1024

/**
 * Makes the health of the instances that `Discovery` publishes, and checks them for the life of the scope.
 *
 * **Details**: one fiber waits for the check that is due first; at most `concurrency` others run checks. Nothing runs per
 * instance, so ten thousand of them cost ten thousand small objects and one timer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: HealthOptions = {}): Effect.Effect<Health["Service"], never, Discovery | Scope.Scope> =>
  Effect.gen(function*() {
    const discovery = yield* Discovery
    const clock = yield* Clock.Clock
    const scope = yield* Effect.scope
    const random = xorshift(yield* Random.nextInt)
    const now = monotonic(clock)
    const stalls = new Stalls(now())
    const readers = new Set<Queue.Queue<HealthChange, Cause.Done>>()
    const wakes = yield* Queue.dropping<void>(1)
    const wake = () => void Queue.offerUnsafe(wakes, undefined)

    const table = new HealthTable({
      settings: settingsOf(options),
      now,
      wall: () => clock.currentTimeMillisUnsafe(),
      random,
      publish: (change) => {
        for (const reader of readers) Queue.offerUnsafe(reader, change)
      },
      stalled: (since, at) => stalls.spoiled(since, at),
      wake
    })

    const runner = new CheckRunner(table, limitsOf(options), wakes, now, scope)

    const forget = (key: InstanceKey) => {
      const tracked = table.find(key)
      table.remove(key)
      runner.release(tracked)
    }

    const put = ({ instance, key }: CatalogEntry) => {
      const before = table.find(key)
      table.put(key, instance)
      if (table.find(key) !== before) runner.release(before)
    }

    const replace = ({ catalog }: CatalogUpdate) => {
      for (const { key } of Array.from(table.all())) if (!HashMap.has(catalog.entries, key)) forget(key)
      for (const entry of HashMap.values(catalog.entries)) put(entry)
    }

    const apply = ({ changes }: CatalogUpdate) => {
      for (const change of changes) {
        if (change._tag === "Removed") forget(change.entry.key)
        else put(change.entry)
      }
    }

    let first = true
    yield* Stream.runForEach(discovery.updates, (update) =>
      Effect.sync(() => {
        if (first) replace(update)
        else apply(update)
        first = false
      })).pipe(Effect.forkIn(scope, { startImmediately: true }))
    yield* Effect.forkIn(runner.run, scope)
    yield* Effect.sleep(heartbeat).pipe(
      Effect.andThen(Effect.sync(() => {
        stalls.beat(now())
        table.sweep()
      })),
      Effect.forever,
      Effect.forkIn(scope, { startImmediately: true })
    )

    return Health.of({
      get: (key) => table.get(key),
      status: (key) => table.status(key),
      revision: (service) => table.revision(service),
      changedSince: (service, revision) => table.changedSince(service, revision),
      record: (key, outcome) => table.record(key, outcome),
      circuit: (key) => table.circuit(key),
      admit: (key, at) => table.admit(key, at),
      admits: (key, at) => table.admits(key, at),
      history: (key) => table.history(key),
      ejections: (key) => table.ejections(key),
      stalled: (since, at) => stalls.spoiled(since, at),
      override: (key, status, reason) => Effect.sync(() => table.override(key, status, reason)),
      mark: (key) => table.mark(key),
      addCheck: (check) => runner.add(check),
      check: (key) =>
        Effect.suspend(() => {
          const tracked = table.find(key)
          return Effect.map(tracked === undefined ? Effect.void : runner.check(tracked), () => table.get(key))
        }),
      changes: Stream.callback<HealthChange>((queue) =>
        Effect.acquireRelease(
          Effect.sync(() => readers.add(queue)),
          () => Effect.sync(() => readers.delete(queue))
        ), { bufferSize: changesKept, strategy: "sliding" }),
      reconfigure: (options) =>
        Effect.sync(() => {
          runner.limits = limitsOf(options)
          table.reconfigure(settingsOf(options))
          wake()
        })
    })
  })

/**
 * Layer that provides the health of what `Discovery` publishes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: HealthOptions): Layer.Layer<Health, never, Discovery> =>
  Layer.effect(Health, make(options))

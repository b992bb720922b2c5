/**
 * What became of the calls that were routed (R5): how many, how they ended, how long they took, and what was done for them.
 *
 * **Mental model**: everything is counted since the router began, in memory of a fixed size. Names that anybody can make up
 * (callers, tools) get figures of their own only while they are among the frequent ones; the others are counted
 * together, in `rest`. So sums are exact, whoever calls.
 *
 * @since 0.1.0
 */
import type { StrategyName } from "./Balancer.ts"
import type { InstanceKey, SourceState } from "./Catalog.ts"
import type { Circuit, HealthStatus } from "./Health.ts"

/**
 * How long something took, ms. Percentiles are off by a tenth at most.
 *
 * @category models
 * @since 0.1.0
 */
export interface Latencies {
  readonly average: number
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

/**
 * How calls ended.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallCounts {
  /** Calls that ended: the sum of all that follow. */
  readonly calls: number
  readonly successes: number
  readonly failures: {
    /** An instance failed them or didn't answer in time, and no other one answered. */
    readonly failed: number
    /** The request was at fault. */
    readonly refused: number
    /** No instance could take them. */
    readonly unavailable: number
    /** There was too much to do. */
    readonly shed: number
  }
  /** The caller gave up. */
  readonly interrupted: number
  /** Of those that an instance answered or failed, all attempts and waits together; none where there were none. */
  readonly latency: Latencies | undefined
}

/**
 * What was done for the calls of a service, or of all.
 *
 * @category models
 * @since 0.1.0
 */
export interface Efforts {
  readonly retries: {
    readonly made: number
    /** The budget had none left. */
    readonly denied: number
    /** Retries that the budget has left now; none where nothing was called lately. */
    readonly balance: number | undefined
  }
  readonly hedges: {
    readonly sent: number
    /** The budget had none left. */
    readonly denied: number
    /** Their answer came first. */
    readonly won: number
  }
  readonly queue: {
    /** Calls that had to wait. */
    readonly queued: number
    /** Those of them that waited in vain, or found the queue full. */
    readonly shed: number
    /** Epoch ms at which the last one was shed. */
    readonly shedAt: number | undefined
    /** Calls that wait now. */
    readonly waiting: number
    readonly wait: Latencies | undefined
  }
  /** How often calls took an instance out of traffic, of the instances that are announced now. */
  readonly ejections: number
  /** Instances that calls keep out of traffic now. */
  readonly ejected: number
  /** Attempts under way, and instances held. */
  readonly inFlight: number
}

/**
 * The calls of a service: those that an instance of it was tried for last, and those that were for it but that no
 * instance took.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceCounts extends CallCounts, Efforts {
  readonly service: string
}

/**
 * The attempts at an instance.
 *
 * @category models
 * @since 0.1.0
 */
export interface InstanceCounts {
  readonly key: InstanceKey
  readonly instance: string
  readonly service: string
  readonly source: string
  readonly status: HealthStatus
  readonly circuit: Circuit["state"]
  /** Attempts begun. */
  readonly picks: number
  /** Attempts that ended in a success or in a failure of the instance, and those of them that failed. */
  readonly attempts: number
  readonly failures: number
  readonly inFlight: number
  /** How often calls took it out of traffic. */
  readonly ejections: number
  /** Of these attempts; none where it isn't among the busy ones. */
  readonly latency: Latencies | undefined
}

/**
 * The calls of a tool, or of what else a request is called.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolCounts extends CallCounts {
  readonly tool: string
  /** The service of its last call. */
  readonly service: string | undefined
}

/**
 * The calls of one who calls.
 *
 * @category models
 * @since 0.1.0
 */
export interface CallerCounts extends CallCounts {
  /** `principal:…`, where there is none `tenant:…`, else `anonymous`. */
  readonly caller: string
}

/**
 * Those with the most calls, most first, and all others together; no rest where there are no others.
 *
 * @category models
 * @since 0.1.0
 */
export interface Ranking<A, Rest = CallCounts> {
  readonly top: ReadonlyArray<A>
  readonly rest: Rest | undefined
}

/**
 * The report.
 *
 * @category models
 * @since 0.1.0
 */
export interface RoutingReport {
  /** Epoch ms from which calls are counted, and that of this report. */
  readonly since: number
  readonly at: number
  readonly total: CallCounts & Efforts
  /** How instances were picked, one count for each attempt. Not known by service, so empty where the report is of one. */
  readonly decisions: {
    readonly strategies: ReadonlyArray<{ readonly strategy: StrategyName; readonly picks: number }>
    /** By routing rule; picks that no rule held for are in none. */
    readonly rules: ReadonlyArray<{ readonly rule: string; readonly picks: number }>
  }
  /** The rest has the calls that were for no service that is known, too. */
  readonly services: Ranking<ServiceCounts, CallCounts & Efforts>
  /** Of those that are announced now; what others did is in the figures of their services alone. */
  readonly instances: Ranking<
    InstanceCounts,
    Omit<InstanceCounts, "key" | "instance" | "service" | "source" | "status" | "circuit" | "latency"> & {
      /** How many instances. */
      readonly instances: number
    }
  >
  readonly tools: Ranking<ToolCounts>
  /** Not known by service, so empty where the report is of one. */
  readonly callers: Ranking<CallerCounts>
  readonly sources: ReadonlyArray<{
    readonly source: string
    readonly type: string
    readonly state: SourceState["state"]
    /** ms since it was heard of last. */
    readonly age: number | undefined
  }>
}

/**
 * What a report is to tell.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReportOptions {
  /** Only of this service. */
  readonly service?: string | undefined
  /** Most items of each ranking. Default 20. */
  readonly top?: number | undefined
}

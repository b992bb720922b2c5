/**
 * Routes a request to the best instance, and to another one where the first fails and that is safe. Knows no protocol.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { CatalogEntry, InstanceKey } from "./Catalog.ts"
import type { StrategyName } from "./Balancer.ts"
import type { Query } from "./Query.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Who asks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Caller {
  readonly tenant?: string | undefined
  readonly principal?: string | undefined
}

/**
 * What to route to. All that is given must hold.
 *
 * **Gotchas**: the router caches candidates per target *object* and revision; keep one target per tool and reuse it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Target {
  readonly service?: string | undefined
  /** Capability patterns that the instance must offer, `*` allowed. */
  readonly capabilities?: ReadonlyArray<string> | undefined
  readonly query?: Query | undefined
  /** Only these instances: the ones that list the tool. Plain and synchronous. */
  readonly accepts?: ((entry: CatalogEntry) => boolean) | undefined
  /** Grows when `accepts` would answer otherwise. */
  readonly revision?: (() => number) | undefined
}

/**
 * A request to route.
 *
 * @category models
 * @since 0.1.0
 */
export interface RouteRequest {
  readonly target: Target
  /** Name in reports and errors: `weather__get_forecast`. */
  readonly name?: string | undefined
  readonly caller?: Caller | undefined
  /** The same key goes to the same instance while that lives; `strict`: or fails. */
  readonly affinity?: { readonly instance: InstanceKey; readonly strict: boolean } | undefined
  /** Whether it may be run again after it may have run. */
  readonly repeatable: boolean
  /** Whole time for all attempts, ms. Default 60,000. */
  readonly timeout?: number | undefined
  /** Longest the deadline may be extended to by progress, ms from the start. Default 600,000. */
  readonly maxTimeout?: number | undefined
  /** Attempts at most. Default 3. */
  readonly attempts?: number | undefined
  readonly strategy?: StrategyName | undefined
}

/**
 * How far an attempt came, which only the protocol knows: certainly not sent, perhaps run, or answered by the server.
 *
 * @category models
 * @since 0.1.0
 */
export type Phase = "notSent" | "mayHaveRun" | "answered"

/**
 * A failed attempt. `blame` says whose failure it is: the instance's (transport, time-out, 5xx, overload, internal
 * error) or the caller's (invalid parameters), which is never tried elsewhere.
 *
 * @category models
 * @since 0.1.0
 */
export interface AttemptFailure<E> {
  readonly error: E
  readonly phase: Phase
  readonly blame: "instance" | "caller"
  /** One line. */
  readonly reason: string
  /** When the server said so, ms. */
  readonly retryAfter?: number | undefined
}

/**
 * The attempt under way.
 *
 * @category models
 * @since 0.1.0
 */
export interface Attempt {
  /** 1 for the first. */
  readonly number: number
  readonly key: InstanceKey
  /** Epoch ms at which it is interrupted. */
  readonly deadline: () => number
  /** Progress flows: the deadline moves on by the request's time-out, up to its `maxTimeout`. Plain. */
  readonly extend: () => void
  /** Called before the first byte goes downstream: no retry, no hedge after it. Plain. */
  readonly commit: () => void
  /** Called when the request has been handed to the transport: from here it may have run. Plain. */
  readonly sent: () => void
}

/**
 * A failed attempt, for the record.
 *
 * @category models
 * @since 0.1.0
 */
export interface FailedAttempt {
  readonly instance: string
  readonly phase: Phase
  readonly reason: string
}

/**
 * What was used, what failed first, and why (R4).
 *
 * @category models
 * @since 0.1.0
 */
export interface Routing {
  readonly service: string
  readonly instance: string
  readonly source: string
  readonly strategy: StrategyName
  /** ms, all attempts together. */
  readonly latency: number
  readonly attempts: number
  readonly failed: ReadonlyArray<FailedAttempt>
  /** Other routable instances at the time of the pick. */
  readonly alternatives: number
  /** Age in ms of what the instance's registry said. */
  readonly discoveryAge: number
  /** One line: `peak-ewma of 3`, `the only one`, `panic: none of 3 is healthy`. */
  readonly why: string
}

/**
 * A value and how it was come by.
 *
 * @category models
 * @since 0.1.0
 */
export interface Routed<A> {
  readonly value: A
  readonly routing: Routing
}

/**
 * Error raised when nothing can be picked: nobody announces it (`unknown`), nobody that does is routable
 * (`unavailable`), or all are at their cap (`overloaded`).
 *
 * @category errors
 * @since 0.1.0
 */
export class NoInstance extends Schema.TaggedError<NoInstance>()("NoInstance", {
  name: Schema.String,
  kind: Schema.Literals(["unknown", "unavailable", "overloaded"]),
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.name}: ${this.reason}`
  }
}

/**
 * Error raised when the last attempt that was allowed failed. `error` is the protocol's own.
 *
 * @category errors
 * @since 0.1.0
 */
export class CallFailed<E> {
  readonly _tag = "CallFailed"
  readonly name: string
  readonly failure: AttemptFailure<E>
  readonly failed: ReadonlyArray<FailedAttempt>
  /** Why it was not tried again. */
  readonly stopped: string
  constructor(name: string, failure: AttemptFailure<E>, failed: ReadonlyArray<FailedAttempt>, stopped: string) {
    this.name = name
    this.failure = failure
    this.failed = failed
    this.stopped = stopped
  }
}

/**
 * Error raised when the deadline passed. `phase` tells whether the call may have run.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>()("DeadlineExceeded", {
  name: Schema.String,
  /** ms */
  timeout: Schema.Finite,
  phase: Schema.Literals(["notSent", "mayHaveRun", "answered"]),
  instance: Schema.String
}) {
  override get message(): string {
    return `${this.name}: no answer from ${this.instance} within ${this.timeout} ms`
  }
}

export type RouteError<E> = NoInstance | DeadlineExceeded | CallFailed<E>

/**
 * Service that routes.
 *
 * @category services
 * @since 0.1.0
 */
export class Router extends Context.Service<Router, {
  readonly route: <A, E, R>(
    request: RouteRequest,
    attempt: (instance: ServiceInstance, attempt: Attempt) => Effect.Effect<A, AttemptFailure<E>, R>
  ) => Effect.Effect<Routed<A>, RouteError<E>, R>
  /** Holds an instance for longer than a call (sessions, subscriptions, parked calls); counted as in flight. */
  readonly acquire: (
    request: RouteRequest
  ) => Effect.Effect<{ readonly key: InstanceKey; readonly instance: ServiceInstance }, NoInstance, Scope.Scope>
}>()("@portolan/core/Router") {}


/**
 * Routes a request to the best instance, and to another one where the first fails and that is safe. Knows no protocol.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Balancer, type StrategyName } from "./Balancer.ts"
import type { CatalogEntry, InstanceKey } from "./Catalog.ts"
import { Discovery } from "./Discovery.ts"
import type { ExplainOptions, Explanation } from "./Explanation.ts"
import { Health } from "./Health.ts"
import { Admission } from "./internal/routing/admission.ts"
import { Call } from "./internal/routing/call.ts"
import { CallReport } from "./internal/routing/callReport.ts"
import { Candidates } from "./internal/routing/candidates.ts"
import { atLimit } from "./internal/routing/choice.ts"
import { explain } from "./internal/routing/explain.ts"
import { nameOf, noInstance, pick } from "./internal/routing/pick.ts"
import { type CallFailed, type DeadlineExceeded, NoInstance, type SessionLost } from "./internal/routing/routeError.ts"
import type { Routes } from "./internal/routing/routes.ts"
import { routingReport } from "./internal/routing/routingReport.ts"
import { AllServiceCalls } from "./internal/routing/serviceCalls.ts"
import { settingsOf } from "./internal/routing/settings.ts"
import { Timers } from "./internal/routing/timers.ts"
import { xorshift } from "./internal/xorshift.ts"
import type { Query } from "./Query.ts"
import type { ReportOptions, RoutingReport } from "./RoutingReport.ts"
import type * as RoutingRule from "./RoutingRule.ts"
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
  /** What routing rules are matched with beside `service`: a group of services, and those that are in it. */
  readonly services?: ReadonlyArray<string> | undefined
  /** What routing rules are matched with, beside the service and the capabilities: `weather.get_forecast`. */
  readonly names?: ReadonlyArray<string> | undefined
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
  /** The same key goes to the same instance while that lives; `strict`: or fails. Read before each attempt. */
  readonly affinity?: { readonly instance: InstanceKey; readonly strict: boolean } | undefined
  /** Whether it may be run again after it may have run. */
  readonly repeatable: boolean
  /** Whether it changes nothing, so that it may run twice at the same time: only such calls are hedged. Default no. */
  readonly readOnly?: boolean | undefined
  /** Whole time for all attempts, ms. Default 60,000. */
  readonly timeout?: number | undefined
  /** Longest the deadline may be extended to by progress, ms from the start. Default 600,000. */
  readonly maxTimeout?: number | undefined
  /** Attempts at most, hedges among them. Default 3. */
  readonly attempts?: number | undefined
  readonly strategy?: StrategyName | undefined
  /** What `consistent-hash` hashes: calls with the same key go to the same instance while that has room. Default: the caller. */
  readonly hashKey?: string | undefined
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
  /**
   * Whether the call still waits for this attempt: what it has to say is of use. No more once it has ended, or the call is
   * settled without it. Of an attempt and its hedge both are heard until one of them commits. Plain.
   */
  readonly isHeard: () => boolean
  /** Progress flows: the deadline moves on by the request's time-out, up to its `maxTimeout`. Plain. */
  readonly extend: () => void
  /**
   * The attempt waits for its own client, as when the server asks it something: until what this gives is called, the
   * deadline stands still, and the time doesn't count as the instance's latency. Nothing is retried or hedged meanwhile.
   * Several pauses at once end with the last. Plain.
   */
  readonly pause: () => () => void
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
  /** Attempts after the first, hedges apart. */
  readonly failovers: number
  /** Whether the answer is that of a hedge. */
  readonly hedged: boolean
  /** ms in the queue. */
  readonly queued: number
  readonly failed: ReadonlyArray<FailedAttempt>
  /** Other routable instances at the time of the pick. */
  readonly alternatives: number
  /** Age in ms of what the instance's registry said. */
  readonly discoveryAge: number
  /** One line: `peak-ewma of 3`, `the only one`, `rule "weather.*": p2c of 2`, `panic: none of 3 is healthy`. */
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

export { CallFailed, DeadlineExceeded, NoInstance, SessionLost } from "./internal/routing/routeError.ts"

/**
 * How a routed call can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type RouteError<E> = NoInstance | SessionLost | DeadlineExceeded | CallFailed<E>

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
  /**
   * Holds an instance for longer than a call (sessions, subscriptions, parked calls); counted as in flight. Doesn't wait
   * where there is no room.
   */
  readonly acquire: (
    request: RouteRequest
  ) => Effect.Effect<
    { readonly key: InstanceKey; readonly instance: ServiceInstance },
    NoInstance | SessionLost,
    Scope.Scope
  >
  /** What became of the calls that were routed. Plain; costs a look at every instance. */
  readonly report: (options?: ReportOptions) => RoutingReport
  /**
   * Where the request would go now, and why: a rehearsal with the real pick, which changes nothing. Plain; costs a look at
   * every instance of the target.
   */
  readonly explain: (request: RouteRequest, options?: ExplainOptions) => Explanation
  /** Replaces all settings, for calls that begin from now on. */
  readonly reconfigure: (options: RouterOptions) => Effect.Effect<void>
}>()("@portolan/core/Router") {}

/**
 * A token bucket per service (Finagle's `RetryBudget`): each call puts in `share`, each retry takes out 1,
 * and what was put in is worth nothing after 10 s. So failing servers get at most `1 + share` times the calls, plus
 * `reserve` a second.
 *
 * @category models
 * @since 0.1.0
 */
export interface RetryBudgetOptions {
  /** Retries per call. Default 0.2. */
  readonly share?: number | undefined
  /** Retries a second that are always allowed, so that a service with few calls can retry. Default 10. */
  readonly reserve?: number | undefined
}

/**
 * Exponential back-off with full jitter: before the nth retry of a call a pause that is uniform between 0 and
 * `first × 2ⁿ⁻¹`, at most `longest`. The first retry to another instance comes at once: the pause is for those that
 * failed, not for those that didn't.
 *
 * Where all that are left have failed, one of them may be starting again: the first retry comes within `first`, the next
 * ones each after half of `longest` to all of it. One that answered is there, so it isn't asked twice.
 *
 * @category models
 * @since 0.1.0
 */
export interface BackoffOptions {
  /** Default 25 ms. */
  readonly first?: Duration.Input | undefined
  /** Default 1 s. */
  readonly longest?: Duration.Input | undefined
}

/**
 * What is too much. A call that finds no room waits in the queue of its service, where callers take turns; one that finds
 * the queue full, or waited too long, fails with `NoInstance` of kind `overloaded`, which says when to come again.
 *
 * @category models
 * @since 0.1.0
 */
export interface LimitOptions {
  /** Attempts at one instance at the same time, where its record sets none. Default 1,024. */
  readonly perInstance?: number | undefined
  /** Attempts at all instances of one service at the same time. Default none. */
  readonly perService?: number | undefined
  /** Calls that wait, per service. Default 1,000. */
  readonly queue?: number | undefined
  /** Longest wait. Default 5 s. */
  readonly wait?: Duration.Input | undefined
}

/**
 * Hedging (Dean and Barroso, "The Tail at Scale"; Finagle's `BackupRequestFilter`): a read-only call that takes longer than
 * most did gets a second attempt at another instance; the first good answer counts, the other attempt is interrupted.
 *
 * @category models
 * @since 0.1.0
 */
export interface HedgingOptions {
  /** Share of the recent calls of its service that took no longer than the call waits. Default 0.95. */
  readonly percentile?: number | undefined
  /** Hedges per call at most: the load that they add. Default 0.05. */
  readonly share?: number | undefined
}

/**
 * Settings, with their defaults: they hold where a request says nothing.
 *
 * @category models
 * @since 0.1.0
 */
export interface RouterOptions {
  /** Whole time for all attempts. Default 60 s. */
  readonly timeout?: Duration.Input | undefined
  /** Longest that progress may extend it to. Default 10 min. */
  readonly maxTimeout?: Duration.Input | undefined
  /** Attempts at most. Default 3. */
  readonly attempts?: number | undefined
  /** How many retries all calls of a service may make together. */
  readonly retryBudget?: RetryBudgetOptions | undefined
  /** The pause before a retry. */
  readonly backoff?: BackoffOptions | undefined
  /** How many calls may run and wait. */
  readonly limits?: LimitOptions | undefined
  /** Second attempts for read-only calls that take long. Default none. */
  readonly hedging?: HedgingOptions | undefined
  /**
   * Share of a service's instances that must be routable; where fewer are, the unhealthy ones get calls too. And the share
   * that must be healthy; where fewer are, the degraded and unknown ones are as welcome as they. Default 0.5.
   */
  readonly panicThreshold?: number | undefined
  /** The first rule that matches a target holds for it. Default none. */
  readonly rules?: ReadonlyArray<RoutingRule.RoutingRule> | undefined
}

/**
 * Makes a router over the catalog, its health and the balancer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: RouterOptions = {}
): Effect.Effect<Router["Service"], never, Discovery | Health | Balancer | Scope.Scope> =>
  Effect.gen(function*() {
    const clock = yield* Clock.Clock
    const scope = yield* Effect.scope
    const balancer = yield* Balancer
    const runFork = Effect.runForkWith(yield* Effect.context())
    const fork = (effect: Effect.Effect<void>) => Fiber.runIn(runFork(effect), scope)
    const { now } = balancer
    const settings = settingsOf(options)
    const routes: Routes = {
      discovery: yield* Discovery,
      health: yield* Health,
      balancer,
      clock,
      scope,
      random: xorshift(yield* Random.nextInt),
      fork,
      timers: new Timers(now, fork),
      admission: new Admission(settings.limits, {
        now,
        inFlight: (service) => balancer.figures().get(service)?.inFlight ?? 0,
        fork
      }),
      services: new AllServiceCalls(),
      report: new CallReport(() => clock.currentTimeMillisUnsafe()),
      settings
    }
    const { discovery } = routes
    balancer.limit(settings.limits.perInstance)

    // As long as their target, and no longer.
    const cache = new WeakMap<Target, Candidates>()
    const candidates = (target: Target): Candidates => {
      let found = cache.get(target)
      if (found === undefined) cache.set(target, found = new Candidates(target, routes))
      return found
    }

    yield* Stream.runForEach(discovery.updates, ({ changes }) =>
      Effect.sync(() => {
        for (const { _tag, entry: { key } } of changes) {
          // It may have come back since, and its node with it.
          if (_tag === "Removed" && !HashMap.has(discovery.catalog().entries, key)) balancer.forget(key)
        }
      })).pipe(Effect.forkScoped)

    return Router.of({
      route: <A, E, R>(
        request: RouteRequest,
        attempt: (instance: ServiceInstance, attempt: Attempt) => Effect.Effect<A, AttemptFailure<E>, R>
      ) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.contextWith((context: Context.Context<R>) =>
            new Call(routes, candidates(request.target), request, attempt, context, restore).run()
          )
        ),
      acquire: (request) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const known = candidates(request.target)
            const view = known.view(request)
            if (routes.admission.mustWait(known.services)) {
              const retryAfter = routes.admission.retryAfter(known.services)
              const reason = "as many calls as may are under way, or wait"
              return Effect.fail(new NoInstance({ requested: nameOf(request), kind: "overloaded", reason, retryAfter }))
            }
            const except = atLimit(view, known.services, routes.admission)
            const picked = pick(view, request, routes, except, balancer.now(), false)
            if (picked === undefined) return Effect.fail(noInstance(known, view, request, routes))
            balancer.begin(picked.node)
            return Effect.succeed(picked.node)
          }),
          // How long it was held says nothing about how fast it is.
          (node) =>
            Effect.sync(() => {
              balancer.end(node, 0, "ignored")
              routes.admission.released(node.instance.service)
            })
        ).pipe(Effect.map((node) => ({ key: node.key, instance: node.instance }))),
      report: (options) => routingReport(routes, options),
      explain: (request, options) => explain(candidates(request.target), request, routes, options),
      reconfigure: (options) =>
        Effect.sync(() => {
          routes.settings = settingsOf(options)
          balancer.limit(routes.settings.limits.perInstance)
          routes.admission.reconfigure(routes.settings.limits)
        })
    })
  })

/**
 * Layer that provides the router.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: RouterOptions): Layer.Layer<Router, never, Discovery | Health | Balancer> =>
  Layer.effect(Router, make(options))

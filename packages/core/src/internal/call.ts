import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import type { Balancer, Node, StrategyName } from "../Balancer.ts"
import type { Discovery } from "../Discovery.ts"
import type { Health } from "../Health.ts"
import type { Attempt, AttemptFailure, FailedAttempt, Phase, Routed, RouteError, RouteRequest } from "../Router.ts"
import type { CompiledRule } from "../RoutingRule.ts"
import type { ServiceInstance } from "../ServiceInstance.ts"
import type { Candidates } from "./candidates.ts"
import type { Deadlines } from "./deadlines.ts"
import { nameOf, noInstance, pick } from "./pick.ts"
import { CallFailed, DeadlineExceeded } from "./routeError.ts"

/** @internal */
export interface Routes {
  readonly discovery: Discovery["Service"]
  readonly health: Health["Service"]
  readonly balancer: Balancer["Service"]
  readonly clock: Clock.Clock
  /** Where attempts end that outlive their deadline. */
  readonly scope: Scope.Scope
  readonly deadlines: Deadlines
  settings: Settings
}

/**
 * Settings of the router, ready for use.
 *
 * @internal
 */
export interface Settings {
  /** ms */
  readonly timeout: number
  /** ms */
  readonly maxTimeout: number
  readonly attempts: number
  readonly rules: ReadonlyArray<CompiledRule>
}

/**
 * One routed call: its attempts, its deadline and its end.
 *
 * **Details**: an attempt runs in a fiber of its own that starts at once. One that ends without waiting is settled on the
 * spot; only one that waits gets a timer, and is interrupted with its caller.
 *
 * @internal
 */
export class Call<A, E, R> {
  readonly #routes: Routes
  readonly #candidates: Candidates
  readonly #request: RouteRequest
  readonly #attempt: (instance: ServiceInstance, attempt: Attempt) => Effect.Effect<A, AttemptFailure<E>, R>
  readonly #fork: <X, Y>(effect: Effect.Effect<X, Y, R>) => Fiber.Fiber<X, Y>
  readonly #restore: <X, Y, Z>(effect: Effect.Effect<X, Y, Z>) => Effect.Effect<X, Y, Z>
  readonly #started: number
  readonly #settings: Settings
  readonly #rule: CompiledRule | undefined
  readonly #timeout: number
  #deadline: number
  #committed = false
  readonly #tried: Array<Node> = []
  readonly #failed: Array<FailedAttempt> = []
  #failure: AttemptFailure<E> | undefined
  // Of the attempt under way.
  #sent = false
  #expired = false
  #began: number
  #why = ""
  #strategy: StrategyName
  #alternatives = 0

  constructor(
    routes: Routes,
    candidates: Candidates,
    request: RouteRequest,
    attempt: (instance: ServiceInstance, attempt: Attempt) => Effect.Effect<A, AttemptFailure<E>, R>,
    context: Context.Context<R>,
    restore: <X, Y, Z>(effect: Effect.Effect<X, Y, Z>) => Effect.Effect<X, Y, Z>
  ) {
    this.#routes = routes
    this.#candidates = candidates
    this.#request = request
    this.#attempt = attempt
    this.#fork = Effect.runForkWith(context)
    this.#restore = restore
    this.#began = this.#started = routes.balancer.now()
    this.#settings = routes.settings
    this.#rule = candidates.rule()
    this.#timeout = request.timeout ?? this.#rule?.timeout ?? this.#settings.timeout
    this.#deadline = this.#started + this.#timeout
    this.#strategy = routes.balancer.strategy()
  }

  /** Makes attempts until one settles the call or one has to be waited for. Not to be interrupted. */
  run(): Effect.Effect<Routed<A>, RouteError<E>> {
    const { balancer, health } = this.#routes
    for (;;) {
      const view = this.#candidates.view(this.#request)
      const picked = pick(view, this.#request, health, this.#tried, this.#began)
      if (picked === undefined) {
        return this.#failure === undefined
          ? Effect.fail(noInstance(this.#candidates, view, this.#request, health))
          : this.#stop(this.#request.affinity?.strict === true ? "it is bound to this instance" : "no other instance")
      }
      const node = picked.node
      this.#why = picked.why
      this.#strategy = view.strategy
      this.#alternatives = Math.max(view.routable - 1, 0)
      this.#sent = false
      this.#tried.push(node)
      balancer.begin(node)
      const fiber = this.#fork(Effect.suspend(() => this.#attempt(node.instance, this.#handle(node))))
      const exit = fiber.pollUnsafe()
      if (exit === undefined) return this.#wait(node, fiber)
      const end = this.#settle(node, exit)
      if (end !== undefined) return end
    }
  }

  #handle(node: Node): Attempt {
    const { balancer: { now }, clock } = this.#routes
    return {
      number: this.#tried.length,
      key: node.key,
      deadline: () => clock.currentTimeMillisUnsafe() + this.#deadline - now(),
      extend: () => {
        const latest = this.#started + Math.max(this.#request.maxTimeout ?? this.#settings.maxTimeout, this.#timeout)
        this.#deadline = Math.max(this.#deadline, Math.min(now() + this.#timeout, latest))
      },
      commit: () => {
        this.#committed = true
      },
      sent: () => {
        this.#sent = true
      }
    }
  }

  #wait(node: Node, fiber: Fiber.Fiber<A, AttemptFailure<E>>): Effect.Effect<Routed<A>, RouteError<E>> {
    const waiting = Effect.callback<Exit.Exit<A, AttemptFailure<E>> | undefined>((resume) => {
      const { deadlines, scope } = this.#routes
      const expiry = {
        place: 0,
        deadline: () => this.#deadline,
        expire: () => {
          this.#expired = true
          fiber.interruptUnsafe()
          if (fiber.pollUnsafe() !== undefined) return
          // It doesn't let itself be interrupted just now. The caller's deadline holds all the same.
          Fiber.runIn(fiber, scope)
          resume(Effect.undefined)
        }
      }
      deadlines.add(expiry)
      fiber.addObserver((exit) => {
        deadlines.remove(expiry)
        resume(Effect.succeed(exit))
      })
    })
    return Effect.matchCauseEffect(this.#restore(waiting), {
      // Only the caller's interruption gets here.
      onFailure: (cause) =>
        Effect.flatMap(Fiber.interrupt(fiber), () => {
          this.#routes.balancer.end(node, this.#latency(), "ignored")
          return Effect.failCause(cause)
        }),
      onSuccess: (exit) => {
        if (exit === undefined) {
          const late = this.#latency()
          // It is in flight until it really ends.
          fiber.addObserver(() => this.#routes.balancer.end(node, this.#latency(), "failure"))
          this.#routes.health.record(node.key, { _tag: "failure", latency: late, reason: "no answer in time" })
          return this.#exceeded(node)
        }
        return this.#settle(node, exit) ?? this.run()
      }
    })
  }

  // The call's end, or nothing where it goes on with another attempt.
  #settle(node: Node, exit: Exit.Exit<A, AttemptFailure<E>>): Effect.Effect<Routed<A>, RouteError<E>> | undefined {
    const { balancer, health } = this.#routes
    const ended = balancer.now()
    const latency = ended - this.#began
    if (Exit.isSuccess(exit)) {
      balancer.end(node, latency, "success", ended)
      health.record(node.key, { _tag: "success", latency })
      return Exit.succeed(this.#routed(node, exit.value, ended))
    }
    if (this.#expired) {
      balancer.end(node, latency, "failure", ended)
      health.record(node.key, { _tag: "failure", latency, reason: "no answer in time" })
      return this.#exceeded(node)
    }
    const error = Cause.hasDies(exit.cause) ? Result.fail(undefined) : Cause.findError(exit.cause)
    if (Result.isFailure(error)) {
      // A defect of ours, or an attempt that gave up by itself: no news of the instance.
      balancer.end(node, latency, "ignored", ended)
      return Effect.failCause(withoutErrors(exit.cause))
    }
    const failure = error.success
    const outcome = failure.blame === "instance" ? "failure" : "ignored"
    balancer.end(node, latency, outcome, ended)
    health.record(node.key, { _tag: outcome, latency, reason: failure.reason })
    this.#failure = failure
    this.#failed.push({ instance: node.instance.id, phase: failure.phase, reason: failure.reason })
    this.#began = ended
    const most = this.#request.attempts ?? this.#rule?.attempts ?? this.#settings.attempts
    if (failure.blame === "caller") return this.#stop("the request is at fault, not the instance")
    if (this.#committed) return this.#stop("part of the answer has been passed on")
    if (failure.phase !== "notSent" && !this.#request.repeatable) return this.#stop("may have run and isn't repeatable")
    if (this.#tried.length >= most) return this.#stop(most === 1 ? "1 attempt made" : `${most} attempts made`)
    if (ended >= this.#deadline) return this.#stop("the deadline passed")
    return undefined
  }

  #latency(): number {
    return this.#routes.balancer.now() - this.#began
  }

  #stop(stopped: string): Effect.Effect<never, RouteError<E>> {
    return Effect.fail(new CallFailed(nameOf(this.#request), this.#failure!, this.#failed, stopped))
  }

  #exceeded(node: Node): Effect.Effect<never, DeadlineExceeded> {
    const phase: Phase = this.#sent ? "mayHaveRun" : "notSent"
    const timeout = Math.round(this.#deadline - this.#started)
    return Effect.fail(
      new DeadlineExceeded({ requested: nameOf(this.#request), timeout, phase, instance: node.instance.id })
    )
  }

  #routed(node: Node, value: A, ended: number): Routed<A> {
    const { clock, discovery } = this.#routes
    const lastHeard = discovery.catalog().sources.get(node.source)?.lastHeard
    return {
      value,
      routing: {
        service: node.instance.service,
        instance: node.instance.id,
        source: node.source,
        strategy: this.#strategy,
        latency: ended - this.#started,
        attempts: this.#tried.length,
        failovers: this.#tried.length - 1,
        hedged: false,
        queued: 0,
        failed: this.#failed,
        alternatives: this.#alternatives,
        discoveryAge: lastHeard === undefined ? 0 : Math.max(clock.currentTimeMillisUnsafe() - lastHeard, 0),
        why: this.#why
      }
    }
  }
}

const withoutErrors = <E>(cause: Cause.Cause<E>): Cause.Cause<never> =>
  Cause.fromReasons(cause.reasons.filter((reason) => !Cause.isFailReason(reason)))

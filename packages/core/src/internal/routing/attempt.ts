import * as Cause from "effect/Cause"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Node } from "../../Balancer.ts"
import type { AttemptFailure, FailedAttempt, Routing } from "../../Router.ts"
import type { Pauses } from "./pauses.ts"
import type { Pick } from "./pick.ts"
import type { Routes } from "./routes.ts"
import type { View } from "./view.ts"

/**
 * An attempt of a call, from its pick to its end.
 *
 * @internal
 */
export class Running<A, E> {
  readonly node: Node
  /** 1 for the first of the call. */
  readonly number: number
  /** Whether it was sent beside another one that takes long. */
  readonly hedge: boolean
  readonly why: string
  readonly strategy: View["strategy"]
  readonly alternatives: number
  readonly #trial: boolean
  /** By `Balancer.now()`. */
  readonly began: number
  /** Whether it runs, or ran: what was given its place when it left the queue begins a moment later. */
  started = false
  /** It has been handed to the transport. */
  sent = false
  /** Whatever comes of it, the call goes on without it, and this is what it counts as. */
  dropped: "failure" | "ignored" | undefined
  /** None before it waits for something. */
  fiber: Fiber.Fiber<A, AttemptFailure<E>> | undefined
  /** None before it waits for its own client. */
  pauses: Pauses | undefined
  #told = false

  constructor(routes: Routes, view: View, picked: Pick, number: number, hedge: boolean, at: number) {
    this.node = picked.node
    this.number = number
    this.hedge = hedge
    this.why = picked.why
    this.strategy = view.strategy
    this.alternatives = view.routable > 1 ? view.routable - 1 : 0
    this.#trial = picked.trial
    this.began = at
    routes.balancer.begin(picked.node)
  }

  /** Whether the call still waits for it. */
  get isHeard(): boolean {
    return this.dropped === undefined && !this.#told
  }

  /** The time that the instance had, ms. */
  #latency(at: number): number {
    return at - this.began - (this.pauses?.total(at) ?? 0)
  }

  /** Health hears of it, once. */
  tell(
    routes: Routes,
    outcome: "success" | "failure" | "ignored",
    at: number,
    reason?: string,
    retryAfter?: number
  ): void {
    if (this.#told) return
    this.#told = true
    const latency = this.#latency(at)
    routes.health.record(this.node.key, { _tag: outcome, latency, reason, retryAfter, trial: this.#trial })
  }

  /** It has ended: what it held is free again. */
  end(
    routes: Routes,
    outcome: "success" | "failure" | "ignored",
    at: number,
    reason?: string,
    retryAfter?: number
  ): void {
    const latency = this.#latency(at)
    // What took so long, or seemed to fail, may have been our own event loop.
    if (routes.health.stalled(this.began, at)) {
      routes.balancer.end(this.node, undefined, outcome === "success" ? outcome : "ignored", at)
    } else routes.balancer.end(this.node, latency, outcome, at)
    this.tell(routes, outcome, at, reason, retryAfter)
    if (outcome !== "ignored") routes.report.answered(this.node, latency)
    routes.admission.released(this.node.instance.service)
  }

  /** How the answer of this one was come by; `latency` and `queued` in ms, of the call. */
  routing(
    { clock, discovery }: Routes,
    latency: number,
    attempts: number,
    hedges: number,
    queued: number,
    failed: ReadonlyArray<FailedAttempt>
  ): Routing {
    const { instance, source } = this.node
    const lastHeard = discovery.catalog().sources.get(source)?.lastHeard
    return {
      service: instance.service,
      instance: instance.id,
      source,
      strategy: this.strategy,
      latency,
      attempts,
      failovers: attempts - 1 - hedges,
      hedged: this.hedge,
      queued,
      failed,
      alternatives: this.alternatives,
      discoveryAge: lastHeard === undefined ? 0 : Math.max(clock.currentTimeMillisUnsafe() - lastHeard, 0),
      why: this.why
    }
  }
}

/**
 * The failure that an attempt ended with, or why there is none: a defect of ours, or it gave up by itself.
 *
 * @internal
 */
export const failureOf = <E>(
  exit: Exit.Failure<unknown, AttemptFailure<E>>
): Result.Result<AttemptFailure<E>, Cause.Cause<never>> => {
  const error = Cause.hasDies(exit.cause) ? Result.fail(undefined) : Cause.findError(exit.cause)
  return Result.isSuccess(error) ? Result.succeed(error.success) : Result.fail(withoutErrors(exit.cause))
}

const withoutErrors = <E>(cause: Cause.Cause<E>): Cause.Cause<never> =>
  Cause.fromReasons(cause.reasons.filter((reason) => !Cause.isFailReason(reason)))

/**
 * What is counted of calls on their way through the router.
 *
 * @since 0.1.0
 */
import type { FailedAttempt, Phase, RouteError, Routing } from "@portolan/core/Router"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Instruments from "./Instruments.ts"

/**
 * The figures. All of it plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface RoutingFigures {
  calls: number
  failed: number
  /** Attempts that followed a failed one. */
  failovers: number
  inFlight: number
  /** A call was answered by an instance. */
  readonly routed: (routing: Routing) => void
  /** A call could not be answered by any. Counts it as failed. */
  readonly notRouted: (error: RouteError<unknown>) => void
}

/** Picks of instances. */
export const picks: Instruments.Family = {
  name: "portolan_picks_total",
  help: "Instances picked for calls that were answered, by strategy."
}

/** Attempts on another instance. */
export const failovers: Instruments.Family = {
  name: "portolan_failovers_total",
  help: "Calls passed on to another instance, by how far the failed attempt had come."
}

/** Calls that no instance answered. */
export const unanswered: Instruments.Family = {
  name: "portolan_unanswered_calls_total",
  help: "Calls that no instance answered with a result, by reason."
}

const reasons = ["unknown", "unavailable", "overloaded", "deadline", "failed"] as const
const phases: ReadonlyArray<readonly [Phase, string]> = [
  ["notSent", "not_sent"],
  ["mayHaveRun", "may_have_run"],
  ["answered", "answered"]
]

/**
 * Makes them.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<RoutingFigures, never, Scope.Scope> = Effect.gen(function*() {
  const instruments = yield* Instruments.make
  const byReason = { unknown: 0, unavailable: 0, overloaded: 0, deadline: 0, failed: 0 }
  const byPhase: Record<Phase, number> = { notSent: 0, mayHaveRun: 0, answered: 0 }
  const byStrategy = new Map<string, { picks: number }>()

  for (const reason of reasons) instruments.counter(unanswered, { reason }, () => byReason[reason])
  for (const [phase, reason] of phases) instruments.counter(failovers, { reason }, () => byPhase[phase])

  const count = (failed: ReadonlyArray<FailedAttempt>, followed: number) => {
    for (let index = 0; index < followed; index++) {
      const attempt = failed[index]
      if (attempt === undefined) continue
      byPhase[attempt.phase]++
      figures.failovers++
    }
  }

  const figures: RoutingFigures = {
    calls: 0,
    failed: 0,
    failovers: 0,
    inFlight: 0,
    routed: ({ attempts, failed, strategy }) => {
      let found = byStrategy.get(strategy)
      if (found === undefined) {
        const made = { picks: 0 }
        byStrategy.set(strategy, found = made)
        instruments.counter(picks, { strategy }, () => made.picks)
      }
      found.picks += attempts
      count(failed, failed.length)
    },
    notRouted: (error) => {
      figures.failed++
      switch (error._tag) {
        case "NoInstance":
          byReason[error.kind]++
          return
        case "SessionLost":
          byReason.unavailable++
          return
        case "DeadlineExceeded":
          byReason.deadline++
          return
        case "CallFailed":
          byReason.failed++
          // Nothing came after the last one.
          count(error.failed, error.failed.length - 1)
      }
    }
  }
  return figures
})

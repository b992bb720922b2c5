import * as Duration from "effect/Duration"
import { defaultPerInstance } from "../../Balancer.ts"
import type { RouterOptions } from "../../Router.ts"
import { compile, type CompiledRule } from "../../RoutingRule.ts"
import type { LimitSettings } from "./admission.ts"

/**
 * Settings of the router, ready for use. Durations in ms.
 *
 * @internal
 */
export interface Settings {
  readonly timeout: number
  readonly maxTimeout: number
  readonly attempts: number
  readonly retryBudget: { readonly share: number; readonly reserve: number }
  readonly backoff: { readonly first: number; readonly longest: number }
  readonly limits: LimitSettings & { readonly perInstance: number }
  /** `on`: where no rule says otherwise. */
  readonly hedging: { readonly on: boolean; readonly percentile: number; readonly share: number }
  readonly panicThreshold: number
  readonly rules: ReadonlyArray<CompiledRule>
}

/**
 * What is given, and the defaults of the rest.
 *
 * @internal
 */
export const settingsOf = (options: RouterOptions): Settings => {
  const { backoff, hedging, limits, retryBudget } = options
  return {
    timeout: Duration.toMillis(options.timeout ?? "60 seconds"),
    maxTimeout: Duration.toMillis(options.maxTimeout ?? "10 minutes"),
    attempts: options.attempts ?? 3,
    retryBudget: { share: retryBudget?.share ?? 0.2, reserve: retryBudget?.reserve ?? 10 },
    backoff: {
      first: Duration.toMillis(backoff?.first ?? "25 millis"),
      longest: Duration.toMillis(backoff?.longest ?? "1 second")
    },
    limits: {
      perInstance: limits?.perInstance ?? defaultPerInstance,
      perService: limits?.perService ?? Infinity,
      queue: limits?.queue ?? 1_000,
      wait: Duration.toMillis(limits?.wait ?? "5 seconds")
    },
    hedging: { on: hedging !== undefined, percentile: hedging?.percentile ?? 0.95, share: hedging?.share ?? 0.05 },
    panicThreshold: options.panicThreshold ?? 0.5,
    rules: (options.rules ?? []).map(compile)
  }
}

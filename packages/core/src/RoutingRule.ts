/**
 * A rule for the calls that it matches: where they go first, who must not get them, how long they may take.
 *
 * **Mental model**: rules stand in a list, and the first one that matches a target holds for it, alone. What a rule
 * prefers it prefers among instances that are equally healthy; it never makes a call fail that would find an instance.
 * Only `require` does: an instance that doesn't meet it never gets such a call.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import type { StrategyName } from "./Balancer.ts"
import { pattern } from "./internal/query/queryPredicates.ts"
import * as Query from "./Query.ts"
import type { Target } from "./Router.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * A rule.
 *
 * @category models
 * @since 0.1.0
 */
export interface RoutingRule {
  /** What it is called in reports. Default: its patterns. */
  readonly name?: string | undefined
  /** Patterns, `*` for any text; all that are given must match. None: every call. */
  readonly match: {
    /** Compared with each of `Target.names`; those of a tool are `service.tool` and its own name. */
    readonly name?: string | undefined
    /** Compared with `Target.service` and each of `Target.services`. */
    readonly service?: string | undefined
    /** Compared with each capability that the call asks for. */
    readonly capability?: string | undefined
  }
  /** Instances of the first region come first, then those of the second, then the rest. */
  readonly preferRegions?: ReadonlyArray<string> | undefined
  /** Instances with a lower health score (0 to 1) come after all others that are as healthy. */
  readonly minHealthScore?: number | undefined
  /** Instances that don't meet it get none of these calls. */
  readonly require?: Query.Query | undefined
  /** Whole time of a call. */
  readonly timeout?: Duration.Input | undefined
  /** Attempts at most. */
  readonly attempts?: number | undefined
  /** Whether read-only calls get a second attempt where the first takes long. Default: as the router is set. */
  readonly hedging?: boolean | undefined
  readonly strategy?: StrategyName | undefined
}

/**
 * A rule, ready for use. Plain and synchronous.
 *
 * @category models
 * @since 0.1.0
 */
export interface CompiledRule {
  readonly name: string
  /** What it says beside what it matches: `prefer us-west-2, min score 0.8`; empty where that is nothing. */
  readonly text: string
  readonly regions: ReadonlyArray<string>
  readonly minimum: number | undefined
  readonly matches: (target: Target) => boolean
  /** Lower is preferred. */
  readonly rank: (instance: ServiceInstance, score: number) => number
  readonly required: ((subject: Query.QuerySubject) => boolean) | undefined
  /** Whether the answer changes with time: it looks at scores. */
  readonly timed: boolean
  /** ms */
  readonly timeout: number | undefined
  readonly attempts: number | undefined
  readonly hedging: boolean | undefined
  readonly strategy: StrategyName | undefined
}

/**
 * Makes a rule ready for use. A `require` that is no query is met by nobody; check it with `Query.compile` before.
 *
 * @category constructors
 * @since 0.1.0
 */
export const compile = (rule: RoutingRule): CompiledRule => {
  const { capability, name, service } = rule.match
  const is = (text: string | undefined) => text === undefined ? undefined : pattern(text)
  const [isName, isService, isCapability] = [is(name), is(service), is(capability)]
  const regions = rule.preferRegions ?? []
  const minimum = rule.minHealthScore
  const required = rule.require === undefined ? undefined : Query.compile(rule.require)
  return {
    name: rule.name ?? ([name, service, capability].filter((text) => text !== undefined).join(" ") || "*"),
    text: textOf(rule),
    regions,
    minimum,
    matches: (target) =>
      (isName === undefined || (target.names ?? []).some(isName)) &&
      (isService === undefined || (target.service !== undefined && isService(target.service)) ||
        (target.services ?? []).some(isService)) &&
      (isCapability === undefined || (target.capabilities ?? []).some(isCapability)),
    rank: (instance, score) => {
      const at = instance.region === undefined ? -1 : regions.indexOf(instance.region)
      const region = at === -1 ? regions.length : at
      return minimum !== undefined && score < minimum ? regions.length + 1 + region : region
    },
    required: required === undefined ? undefined : Result.isSuccess(required) ? required.success : () => false,
    timed: minimum !== undefined || rule.require !== undefined,
    timeout: rule.timeout === undefined ? undefined : Duration.toMillis(rule.timeout),
    attempts: rule.attempts,
    hedging: rule.hedging,
    strategy: rule.strategy
  }
}

const textOf = (
  { attempts, hedging, minHealthScore, preferRegions = [], require, strategy, timeout }: RoutingRule
): string =>
  [
    ...preferRegions.length === 0 ? [] : [`prefer ${preferRegions.join(", then ")}`],
    ...minHealthScore === undefined ? [] : [`min score ${minHealthScore}`],
    ...require === undefined ? [] : [`require ${JSON.stringify(require)}`],
    ...strategy === undefined ? [] : [strategy],
    ...timeout === undefined ? [] : [`timeout ${Duration.format(Duration.fromInputUnsafe(timeout))}`],
    ...attempts === undefined ? [] : [attempts === 1 ? "1 attempt" : `${attempts} attempts`],
    ...hedging === undefined ? [] : [hedging ? "hedged" : "not hedged"]
  ].join(", ")

import type { Node, StrategyName } from "../../Balancer.ts"
import { bucketOf } from "../../CallFigures.ts"
import type { RouteRequest } from "../../Router.ts"
import type { CompiledRule } from "../../RoutingRule.ts"
import { nameOf } from "./pick.ts"
import { type CallOutcome, InstanceTally, ServiceTally, Tally, ToolTally, TopTallies } from "./tallies.ts"

// Rules come and go with the configuration; more names than this are counted under no name.
const rulesKept = 256

interface Picks {
  picks: number
}

/**
 * Counts what became of calls. Plain; each costs nanoseconds.
 *
 * @internal
 */
export class CallReport {
  /** Epoch ms */
  readonly since: number
  readonly services: TopTallies<ServiceTally> = new TopTallies(() => new ServiceTally())
  readonly instances: TopTallies<InstanceTally> = new TopTallies(() => new InstanceTally())
  readonly tools: TopTallies<ToolTally> = new TopTallies(() => new ToolTally())
  readonly principals: TopTallies<Tally> = new TopTallies(() => new Tally())
  readonly tenants: TopTallies<Tally> = new TopTallies(() => new Tally())
  readonly anonymous: Tally = new Tally()
  readonly strategies: Map<StrategyName, Picks> = new Map()
  readonly rules: Map<string, Picks> = new Map()

  readonly #now: () => number

  /** `now`: epoch ms. */
  constructor(now: () => number) {
    this.#now = now
    this.since = now()
  }

  /** A call ended. `service`: of the last instance that was tried, else of one that might have been, if any. */
  ended(request: RouteRequest, service: string | undefined, outcome: CallOutcome, latency: number): void {
    const bucket = bucketOf(latency)
    const served = service === undefined ? this.services.rest : this.services.of(service)
    served.record(outcome, latency, bucket)
    const tool = this.tools.of(nameOf(request))
    if (service !== undefined) tool.service = service
    tool.record(outcome, latency, bucket)
    this.#callerOf(request).record(outcome, latency, bucket)
  }

  #callerOf({ caller }: RouteRequest): Tally {
    if (caller?.principal !== undefined) return this.principals.of(caller.principal)
    return caller?.tenant === undefined ? this.anonymous : this.tenants.of(caller.tenant)
  }

  /** An attempt begins at the instance that a strategy picked; `rule`: the one that held. */
  picked(strategy: StrategyName, rule: CompiledRule | undefined): void {
    let made = this.strategies.get(strategy)
    if (made === undefined) this.strategies.set(strategy, made = { picks: 0 })
    made.picks++
    if (rule === undefined) return
    let ruled = this.rules.get(rule.name)
    if (ruled === undefined) {
      if (this.rules.size >= rulesKept) return
      this.rules.set(rule.name, ruled = { picks: 0 })
    }
    ruled.picks++
  }

  /** An attempt was answered by the instance. */
  answered(node: Node, latency: number): void {
    this.instances.of(node.key).record(latency)
  }

  /** A retry was made, or the budget had none left. */
  retried(service: string, allowed: boolean): void {
    const tally = this.services.of(service)
    if (allowed) tally.retries++
    else tally.retriesDenied++
  }

  /** A hedge was sent, or the budget had none left. */
  hedged(service: string, allowed: boolean): void {
    const tally = this.services.of(service)
    if (allowed) tally.hedges++
    else tally.hedgesDenied++
  }

  /** The answer of a hedge was used. */
  hedgeWon(service: string): void {
    this.services.of(service).hedgesWon++
  }

  /** A call left the queue after so many ms, to run or shed. */
  queued(service: string, waited: number, shed: boolean): void {
    const tally = this.services.of(service)
    tally.queued++
    if (shed) {
      tally.shed++
      tally.shedAt = this.#now()
    }
    tally.waits.record(waited, bucketOf(waited))
  }
}

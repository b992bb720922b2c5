import type { CallFigures } from "../../CallFigures.ts"
import { Budget } from "./budget.ts"
import { Hedging } from "./hedging.ts"

/**
 * What the calls of one service share.
 *
 * @internal
 */
export class ServiceCalls {
  readonly retries: Budget = new Budget()
  #hedging: Hedging | undefined

  /** Made with the first call that may be hedged. */
  get hedging(): Hedging {
    return this.#hedging ??= new Hedging()
  }
}

/**
 * What the calls of each service share, as long as the balancer has counters for the service.
 *
 * @internal
 */
export class AllServiceCalls {
  readonly #known = new WeakMap<CallFigures, ServiceCalls>()
  // Mostly the same service again.
  #last: CallFigures | undefined
  #lastCalls: ServiceCalls | undefined

  of(figures: CallFigures): ServiceCalls {
    if (figures === this.#last && this.#lastCalls !== undefined) return this.#lastCalls
    let calls = this.#known.get(figures)
    if (calls === undefined) this.#known.set(figures, calls = new ServiceCalls())
    this.#last = figures
    return this.#lastCalls = calls
  }
}

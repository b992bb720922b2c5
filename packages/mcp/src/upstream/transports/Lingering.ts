/**
 * What should end by itself now, and is ended after a while where it doesn't: one timer for all of it.
 *
 * @since 0.1.0
 */
import { InFlight } from "../../internal/InFlight.ts"

/** ms */
const Time = 1_000

/**
 * Exchanges that had their reply.
 *
 * @category models
 * @since 0.1.0
 */
export interface Lingering {
  /** `stop` ends it. The result takes it out: it ended by itself. */
  readonly add: (stop: () => void) => () => void
  /** Ends all of it. */
  readonly clear: () => void
}

/**
 * Makes an empty one.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (): Lingering => {
  const all = new InFlight<() => void>()
  let sweeping: NodeJS.Timeout | undefined
  const clear = () => {
    clearTimeout(sweeping)
    sweeping = undefined
    for (const stop of all.all()) stop()
    all.clear()
  }
  return {
    add: (stop) => {
      sweeping ??= setTimeout(clear, Time)
      return all.add(stop)
    },
    clear
  }
}

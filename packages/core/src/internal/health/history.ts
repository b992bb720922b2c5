import type { CheckRecord, StateRecord } from "../../Health.ts"

// Of checks and of changes.
const kept = 60

// A check is one number: ms since the one before, times this, plus the tenths of a ms that it took; the result is the
// fraction. There always is one, so that the numbers lie in an array of doubles, eight bytes each.
const latencies = 2 ** 20
const gaps = 2 ** 31
const units = 10
const fractions = { pass: 0.25, degraded: 0.5, fail: 0.75 } as const

/**
 * The last checks of an instance. There are as many of these as instances, so it is a number a check, and a text where
 * there is something to say.
 *
 * @internal
 */
export class CheckLog {
  #checks: Array<number> = []
  #oldest = 0
  /** Epoch ms of the last one; 0 where there was none. */
  last = 0
  // Of those that didn't pass, by place.
  #reasons: Map<number, string> | undefined

  add(at: number, result: CheckRecord["result"], latency: number, reason: string): void {
    // Of a clock that was set back, no time went by.
    const gap = this.#checks.length === 0 ? 0 : Math.min(Math.max(Math.round(at - this.last), 0), gaps - 1)
    const took = Math.min(Math.max(Math.round(latency * units), 0), latencies - 1)
    const check = gap * latencies + took + fractions[result]
    let place = this.#checks.length
    // Copied, as an array that grows by itself takes room for many more than it is given.
    if (place < kept) this.#checks = this.#checks.concat([check])
    else {
      place = this.#oldest
      this.#checks[place] = check
      this.#oldest = (place + 1) % kept
    }
    this.last = at
    if (reason !== "") (this.#reasons ??= new Map()).set(place, reason)
    else this.#reasons?.delete(place)
  }

  /** Oldest first. */
  records(): ReadonlyArray<CheckRecord> {
    const count = this.#checks.length
    const found: Array<CheckRecord> = []
    let at = this.last
    for (let back = 1; back <= count; back++) {
      const place = (this.#oldest + count - back) % count
      const check = this.#checks[place]!
      const fraction = check % 1
      found.push({
        at,
        result: fraction === fractions.pass ? "pass" : fraction === fractions.fail ? "fail" : "degraded",
        latency: Math.floor(check % latencies) / units,
        reason: this.#reasons?.get(place) ?? ""
      })
      at -= Math.floor(check / latencies)
    }
    return found.toReversed()
  }
}

/**
 * The last changes of an instance, with one more.
 *
 * @internal
 */
export const withState = (states: ReadonlyArray<StateRecord>, state: StateRecord): ReadonlyArray<StateRecord> =>
  states.slice(1 - kept).concat(state)

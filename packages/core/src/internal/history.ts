import type { CheckRecord, StateRecord } from "../Health.ts"

// Of checks and of changes.
const kept = 60

const results = ["pass", "degraded", "fail"] as const

// Longest time that fits, ms.
const longest = 2 ** 32 - 1

// Latencies are kept in units of so many a ms, two bits beside them for the result.
const units = 100
const slowest = 2 ** 30 - 1

/**
 * The last checks of an instance. There are as many of these as instances, so it is two words a check: the time since the
 * one before, and the latency with the result. Room is made as it is needed.
 *
 * @internal
 */
export class CheckLog {
  #words = new Uint32Array(4)
  #count = 0
  #oldest = 0
  #last = 0
  // Of those that didn't pass, by place.
  #reasons: Map<number, string> | undefined

  add(at: number, result: CheckRecord["result"], latency: number, reason: string): void {
    // Of a clock that was set back, no time went by.
    const gap = this.#count === 0 ? 0 : Math.min(Math.max(at - this.#last, 0), longest)
    let place = this.#count
    if (place < kept) this.#count++
    else {
      place = this.#oldest
      this.#oldest = (place + 1) % kept
    }
    if (2 * place === this.#words.length) {
      const words = new Uint32Array(2 * Math.min(4 * place, kept))
      words.set(this.#words)
      this.#words = words
    }
    this.#words[2 * place] = gap
    this.#words[2 * place + 1] = 4 * Math.min(Math.max(Math.round(latency * units), 0), slowest) +
      results.indexOf(result)
    this.#last = at
    if (reason !== "") (this.#reasons ??= new Map()).set(place, reason)
    else this.#reasons?.delete(place)
  }

  /** Oldest first. */
  records(): ReadonlyArray<CheckRecord> {
    const found: Array<CheckRecord> = []
    let at = this.#last
    for (let back = 1; back <= this.#count; back++) {
      const place = (this.#oldest + this.#count - back) % this.#count
      const word = this.#words[2 * place + 1]!
      found.push({
        at,
        result: results[word & 3]!,
        latency: Math.floor(word / 4) / units,
        reason: this.#reasons?.get(place) ?? ""
      })
      at -= this.#words[2 * place]!
    }
    return found.reverse()
  }
}

/**
 * The last changes of an instance, with one more.
 *
 * @internal
 */
export const withState = (states: ReadonlyArray<StateRecord>, state: StateRecord): ReadonlyArray<StateRecord> => [
  ...states.slice(1 - kept),
  state
]

import { bucketOf, buckets, percentile } from "../../CallFigures.ts"
import { Budget } from "./budget.ts"

// How long a latency counts, ms: between one and two of these.
const memory = 10_000
// Time between two looks at the latencies, ms.
const refreshes = 1_000
// Latencies below which nothing is measured yet.
const enough = 20
// Shortest delay, ms (Finagle): whoever answers sooner isn't worth a second attempt.
const shortest = 1
// From the middle of a bucket to its upper end.
const upper = 2 ** (1 / 8)

/**
 * When a read-only call of one service gets a second attempt, and how many may (Finagle's `BackupRequestFilter`).
 *
 * @internal
 */
export class Hedging {
  /** What there is for hedges: the share of the calls that may get one, and no reserve. */
  readonly budget: Budget = new Budget()
  #recent = new Uint32Array(buckets)
  #before = new Uint32Array(buckets)
  #began = 0
  #delay: number | undefined
  #measured = -Infinity

  /**
   * A first attempt was answered after `latency` ms, or wasn't until its hedge was: then it took at least so long, which is
   * longer than the delay, and that is all that matters here.
   */
  record(latency: number, at: number): void {
    this.#forget(at)
    this.#recent[bucketOf(latency)]!++
  }

  /** How long a call waits for its first attempt, ms; nothing where too little is known. */
  delay(share: number, at: number): number | undefined {
    if (at - this.#measured >= refreshes) {
      this.#measured = at
      this.#forget(at)
      const counts = this.#recent.map((count, bucket) => count + this.#before[bucket]!)
      const known = counts.reduce((sum, count) => sum + count, 0)
      const measured = known < enough ? undefined : percentile(counts, share)
      this.#delay = measured === undefined ? undefined : Math.max(measured * upper, shortest)
    }
    return this.#delay
  }

  #forget(at: number): void {
    const age = at - this.#began
    if (age < memory) return
    this.#before = age < 2 * memory ? this.#recent : new Uint32Array(buckets)
    this.#recent = new Uint32Array(buckets)
    this.#began = at
  }
}

/**
 * Counters of the attempts at the instances of one service: how many, how many failed, how long they took.
 *
 * **Details**: latencies are counted in buckets that grow by a fifth, so a percentile is off by a tenth at most, and a
 * record costs a logarithm and three increments. Nothing is ever reset: who wants rates keeps what it read before.
 *
 * @since 0.1.0
 */

/** Buckets for each doubling, of which there are 20: from 1/8 ms to 131 s. */
const perOctave = 4
const lowest = -3
const size = 20 * perOctave

/**
 * Counters of one service. Mutable; only the balancer writes to them.
 *
 * @category models
 * @since 0.1.0
 */
export class CallFigures {
  /** Attempts that ended in a success or in a failure of the instance. */
  calls = 0
  /** Those of them that failed. */
  failures = 0
  /** Attempts under way, and instances held. */
  inFlight = 0
  /** How many of the attempts took how long. */
  readonly latencies: Uint32Array = new Uint32Array(size)

  /** An attempt ended after `latency` ms, where that is known. */
  record(latency: number | undefined, failed: boolean): void {
    this.calls++
    if (failed) this.failures++
    if (latency !== undefined) this.latencies[bucketOf(latency)]!++
  }
}

/**
 * Buckets of latencies, and so the length of counts of them.
 *
 * @category constants
 * @since 0.1.0
 */
export const buckets: number = size

/**
 * The bucket in which a latency in ms is counted.
 *
 * @category getters
 * @since 0.1.0
 */
export const bucketOf = (latency: number): number => {
  const bucket = latency > 0 ? Math.floor((Math.log2(latency) - lowest) * perOctave) : 0
  return bucket < 0 ? 0 : bucket < size ? bucket : size - 1
}

/**
 * The latency in ms that a share of the counted attempts didn't exceed; none where nothing was counted.
 *
 * **Details**: takes any counts of the same buckets: those of several services added up, or what came since last time.
 *
 * @category getters
 * @since 0.1.0
 */
export const percentile = (counts: ArrayLike<number>, share: number): number | undefined => {
  let total = 0
  for (let bucket = 0; bucket < counts.length; bucket++) total += counts[bucket]!
  if (total <= 0) return undefined
  let left = total * share
  for (let bucket = 0; bucket < counts.length; bucket++) {
    left -= counts[bucket]!
    // In the middle of its bucket. Sums of fractions may end a little above nothing.
    if (left <= 1e-9 * total) return 2 ** ((bucket + 0.5) / perOctave + lowest)
  }
  return undefined
}

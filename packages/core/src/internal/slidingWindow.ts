const slots = 12
const span = 5_000
const kept = 8
// Failures are counted in units of this, beside the successes: one number a slot.
const failure = 2 ** 26

/**
 * Successes, failures and latencies of the last 60 s, in twelve slots of 5 s: a fixed size, whatever the traffic. The
 * counts are exact. Of the latencies of successes each slot keeps up to eight, every one as likely as the other, so the
 * median is exact while they are few and that of an even sample when they are many. Failures have no say in it: failing
 * at once isn't being fast.
 *
 * **Details**: the present slot is counted in fields, and the arrays are touched when it is over or a latency is kept. A
 * busy instance costs a few writes to one object per call, which is what counts when there are thousands. An idle one,
 * which is checked now and then, has room for one latency a slot.
 *
 * @internal
 */
export class SlidingWindow {
  #slot = -1
  #passedNow = 0
  #failedNow = 0
  #timedNow = 0
  // Of the slots before the present one.
  #passed = 0
  #failed = 0
  #stale = false
  #median: number | undefined
  // By slot. Plain arrays of numbers: small typed ones take more memory than what is in them.
  readonly #counts: Array<number> = Array.from({ length: slots }, () => 0)
  // So many a slot; NaN where there is none.
  #width = 1
  #latencies: Array<number> = Array.from({ length: slots }, () => NaN)

  /** One without a latency is counted, and that is all. */
  success(latency: number | undefined, now: number, random: () => number): void {
    const slot = this.#advance(now)
    this.#passedNow++
    if (latency === undefined) return
    const nth = this.#timedNow++
    const place = nth < kept ? nth : Math.floor(random() * (nth + 1))
    if (place >= kept) return
    if (place >= this.#width) this.#widen()
    this.#stale = true
    this.#latencies[slot * this.#width + place] = latency
  }

  failure(now: number): void {
    this.#advance(now)
    this.#failedNow++
  }

  samples(now: number): number {
    this.#advance(now)
    return this.#passed + this.#passedNow + this.#failed + this.#failedNow
  }

  /** Share of successes; none where there was nothing. */
  successRate(now: number): number | undefined {
    const samples = this.samples(now)
    return samples === 0 ? undefined : (this.#passed + this.#passedNow) / samples
  }

  /** Median latency of the successes in ms; none where there was none. */
  median(now: number): number | undefined {
    this.#advance(now)
    if (this.#stale) {
      const all = this.#latencies.filter((latency) => latency >= 0).sort((left, right) => left - right)
      const middle = all.length >> 1
      this.#median = all.length % 2 === 1
        ? all[middle]
        : all.length === 0
        ? undefined
        : (all[middle - 1]! + all[middle]!) / 2
      this.#stale = false
    }
    return this.#median
  }

  #widen(): void {
    const narrow = this.#latencies
    const width = this.#width
    this.#latencies = Array.from(
      { length: slots * kept },
      (_, place) => place % kept < width ? narrow[Math.floor(place / kept) * width + place % kept]! : NaN
    )
    this.#width = kept
  }

  // Empties the slots whose time has gone by, and answers the place of the present one.
  #advance(now: number): number {
    const slot = Math.floor(now / span)
    if (slot > this.#slot) {
      if (this.#slot >= 0) {
        this.#counts[this.#slot % slots] = this.#passedNow + this.#failedNow * failure
        this.#passed += this.#passedNow
        this.#failed += this.#failedNow
      }
      this.#passedNow = this.#failedNow = this.#timedNow = 0
      for (let step = Math.max(this.#slot + 1, slot - slots + 1); step <= slot; step++) {
        const place = step % slots
        const passed = this.#counts[place]! % failure
        if (passed > 0) this.#stale = true
        this.#passed -= passed
        this.#failed -= Math.floor(this.#counts[place]! / failure)
        this.#counts[place] = 0
        this.#latencies.fill(NaN, place * this.#width, (place + 1) * this.#width)
      }
      this.#slot = slot
    }
    return this.#slot % slots
  }
}

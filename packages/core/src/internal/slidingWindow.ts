const slots = 12
const span = 5_000
const kept = 8

/**
 * Successes, failures and latencies of the last 60 s, in twelve slots of 5 s: a fixed size, whatever the traffic. The
 * counts are exact. Of the latencies of successes each slot keeps up to eight, every one as likely as the other, so the
 * median is exact while they are few and that of an even sample when they are many. Failures have no say in it: failing
 * at once isn't being fast.
 *
 * **Details**: the present slot is counted in fields, and the arrays are touched when it is over or a latency is kept. A
 * busy instance costs a few writes to one object per call, which is what counts when there are thousands.
 *
 * @internal
 */
export class SlidingWindow {
  #slot = -1
  #passedNow = 0
  #failedNow = 0
  // Of the slots before the present one.
  #passed = 0
  #failed = 0
  #stale = false
  #median: number | undefined
  readonly #passedIn: Array<number> = Array.from({ length: slots }, () => 0)
  readonly #failedIn: Array<number> = Array.from({ length: slots }, () => 0)
  readonly #latencies = new Float64Array(slots * kept)

  success(latency: number, now: number, random: () => number): void {
    const slot = this.#advance(now)
    const nth = this.#passedNow++
    const place = nth < kept ? nth : Math.floor(random() * (nth + 1))
    if (place >= kept) return
    this.#stale = true
    this.#latencies[slot * kept + place] = latency
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
      const present = this.#slot % slots
      const all: Array<number> = []
      for (let slot = 0; slot < slots; slot++) {
        const count = Math.min(slot === present ? this.#passedNow : this.#passedIn[slot]!, kept)
        for (let nth = 0; nth < count; nth++) all.push(this.#latencies[slot * kept + nth]!)
      }
      all.sort((left, right) => left - right)
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

  // Empties the slots whose time has gone by, and answers the place of the present one.
  #advance(now: number): number {
    const slot = Math.floor(now / span)
    if (slot > this.#slot) {
      if (this.#slot >= 0) {
        const before = this.#slot % slots
        this.#passed += this.#passedIn[before] = this.#passedNow
        this.#failed += this.#failedIn[before] = this.#failedNow
      }
      this.#passedNow = this.#failedNow = 0
      for (let step = Math.max(this.#slot + 1, slot - slots + 1); step <= slot; step++) {
        const place = step % slots
        if (this.#passedIn[place]! > 0) this.#stale = true
        this.#passed -= this.#passedIn[place]!
        this.#failed -= this.#failedIn[place]!
        this.#passedIn[place] = this.#failedIn[place] = 0
      }
      this.#slot = slot
    }
    return this.#slot % slots
  }
}

const slots = 12
const span = 5_000
const kept = 8
// Failures are counted in units of this, beside the successes: one number a slot. No instance has so many in a minute.
const failure = 2 ** 26
// The head of a slot is its number in units of this, and how many latencies follow.
const room = 16
const nothing: Array<number> = []

/**
 * Successes, failures and latencies of the last 60 s, in twelve slots of 5 s: no more than that, whatever the traffic. The
 * counts are exact. Of the latencies of successes each slot keeps up to eight, every one as likely as the other, so the
 * median is exact while they are few and that of an even sample when they are many. Failures have no say in it: failing
 * at once isn't being fast.
 *
 * **Details**: the present slot is counted in fields, and the log is touched when it is over or a latency is kept. A busy
 * instance costs a few writes to one object per call, which is what counts when there are thousands. An idle one, which
 * is checked now and then, takes room for what it has: a slot without anything takes none.
 *
 * @internal
 */
export class SlidingWindow {
  // The present slot; its latencies are the last ones of the log.
  #slot = -1
  #passed = 0
  #failed = 0
  #timed = 0
  // `null` where it has to be found anew.
  #median: number | null | undefined
  // Slots before the present one that had something, oldest first: head, counts, latencies. A plain array of numbers, as
  // small typed ones take more memory than what is in them; copied as it grows, for it would take room for many more.
  #log = nothing

  /** One without a latency is counted, and that is all. */
  success(latency: number | undefined, now: number, random: () => number): void {
    this.#advance(now)
    this.#passed++
    if (latency === undefined) return
    const nth = this.#timed++
    if (nth < kept) this.#log = this.#log.concat([latency])
    else {
      const place = Math.floor(random() * (nth + 1))
      if (place >= kept) return
      this.#log[this.#log.length - kept + place] = latency
    }
    this.#median = null
  }

  failure(now: number): void {
    this.#advance(now)
    this.#failed++
  }

  samples(now: number): number {
    this.#advance(now)
    const before = this.#before()
    return before % failure + this.#passed + Math.floor(before / failure) + this.#failed
  }

  /** Share of successes; none where there was nothing. */
  successRate(now: number): number | undefined {
    const samples = this.samples(now)
    return samples === 0 ? undefined : (this.#before() % failure + this.#passed) / samples
  }

  /** Median latency of the successes in ms; none where there was none. */
  median(now: number): number | undefined {
    this.#advance(now)
    if (this.#median === null) {
      const all = this.#latencies().sort((left, right) => left - right)
      const middle = all.length >> 1
      this.#median = all.length % 2 === 1
        ? all[middle]
        : all.length === 0
        ? undefined
        : (all[middle - 1]! + all[middle]!) / 2
    }
    return this.#median
  }

  // Where the latencies of the present slot begin.
  get #end(): number {
    return this.#log.length - Math.min(this.#timed, kept)
  }

  // Counts of the slots before the present one.
  #before(): number {
    let counts = 0
    for (let at = 0; at < this.#end; at += 2 + this.#log[at]! % room) counts += this.#log[at + 1]!
    return counts
  }

  #latencies(): Array<number> {
    const latencies = this.#log.slice(this.#end)
    for (let at = 0; at < this.#end;) {
      const next = at + 2 + this.#log[at]! % room
      for (at += 2; at < next; at++) latencies.push(this.#log[at]!)
    }
    return latencies
  }

  // Drops the slots whose time has gone by, and begins the present one.
  #advance(now: number): void {
    const slot = Math.floor(now / span)
    if (slot > this.#slot) this.#begin(slot)
  }

  #begin(slot: number): void {
    const end = this.#end
    const oldest = slot - slots + 1
    let from = 0
    while (from < end && Math.floor(this.#log[from]! / room) < oldest) from += 2 + this.#log[from]! % room
    const counts = this.#passed + this.#failed * failure
    if (this.#slot < oldest && counts > 0) {
      this.#log = nothing
      this.#median = undefined
    } else if (from > 0 || counts > 0) {
      const head = this.#slot * room + this.#log.length - end
      this.#log = this.#log.slice(from, end).concat(counts > 0 ? [head, counts] : nothing, this.#log.slice(end))
      if (from > 0) this.#median = null
    }
    this.#passed = this.#failed = this.#timed = 0
    this.#slot = slot
  }
}

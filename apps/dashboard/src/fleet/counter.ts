/**
 * What is counted since the gateway began, as what happened a moment ago: the gateway sends counts, and whoever looks wants
 * calls a second.
 *
 * **Details**: a count is remembered every 2 s while it moves, for a minute. Between two of them it is taken to have risen
 * evenly, so that a steady stream of calls reads as one number.
 */

/** ms. */
const rateTime = 10_000
const shareTime = 60_000
const step = 2_000
/** Less than this is too short to speak of a rate. */
const shortest = 400

interface Sample {
  readonly at: number
  readonly calls: number
  readonly failures: number
}

/** Counts, with nothing where nothing was counted. */
type Column = ReadonlyArray<number | null>

export class Counter {
  calls = 0
  failures = 0
  #begun = Infinity
  /** Oldest first; all but the first are younger than a minute. */
  readonly #samples: Array<Sample> = []
  #seen = -Infinity

  /** `even`: nothing was heard of it since the last time, so that what came since came evenly. */
  add(at: number, calls: number, failures: number, even = false): void {
    if (this.#samples.length === 0 || calls < this.calls || failures < this.failures || at < this.#seen) {
      // The first count, or that of another process.
      this.#samples.length = 0
      this.#begun = at
    } else if (!even && at - this.#seen > step) {
      // Counts that don't move aren't told: it stood still until now.
      this.#samples.push({ at: at - step / 4, calls: this.calls, failures: this.failures })
    }
    this.calls = calls
    this.failures = failures
    this.#seen = at
    if (at - (this.#samples.at(-1)?.at ?? -Infinity) >= step) this.#keep({ at, calls, failures })
  }

  /** Takes what was counted before the first `add`, in times of one length; `ends` are theirs, in ms, the oldest first. */
  seed(length: number, ends: ReadonlyArray<number>, calls: Column, failures: Column): void {
    const [first] = this.#samples
    const end = ends.at(-1)
    if (first === undefined || end === undefined || this.#begun !== first.at) return
    // What came since the last of them wasn't told: as many as in it.
    const since = Math.max(0, first.at - end) / length
    let sample = first
    const take = (at: number, index: number, part: number) => {
      sample = {
        at,
        calls: sample.calls - part * (calls[index] ?? 0),
        failures: sample.failures - part * (failures[index] ?? 0)
      }
      this.#samples.unshift(sample)
    }
    if (since > 0) take(end, ends.length - 1, since)
    for (const [index, at] of Array.from(ends.entries()).toReversed()) take(at - length, index, 1)
    this.#begun = sample.at
  }

  /** A second, over the last 10 s, or since it is known. */
  rate(now: number): number {
    const time = Math.min(rateTime, now - this.#begun)
    if (!(time >= shortest)) return 0
    return rounded((this.calls - this.#then(now - time).calls) / (time / 1000), 100)
  }

  /** Share of the calls of the last minute that failed; nothing where there were none. */
  failed(now: number): number | undefined {
    const then = this.#then(now - shareTime)
    const calls = this.calls - then.calls
    return calls < 0.5 ? undefined : rounded(Math.min(1, (this.failures - then.failures) / calls), 10_000)
  }

  failuresOfMinute(now: number): number {
    return this.failures - this.#then(now - shareTime).failures
  }

  /** Whether what is said of it changes by time alone. */
  moves(now: number): boolean {
    return now - this.#seen < shareTime + step
  }

  #keep(sample: Sample): void {
    this.#samples.push(sample)
    const old = this.#samples.findIndex(({ at }) => at >= sample.at - shareTime)
    this.#samples.splice(0, Math.max(0, old - 1))
  }

  /** What was counted at a moment. */
  #then(at: number): Omit<Sample, "at"> {
    let before: Sample | undefined
    let after: Sample = { at: this.#seen, calls: this.calls, failures: this.failures }
    for (const sample of this.#samples) {
      if (sample.at > at) {
        after = sample
        break
      }
      before = sample
    }
    if (before === undefined || at >= after.at) return after
    const part = (at - before.at) / (after.at - before.at)
    return {
      calls: before.calls + part * (after.calls - before.calls),
      failures: before.failures + part * (after.failures - before.failures)
    }
  }
}

const rounded = (value: number, parts: number): number => Math.round(value * parts) / parts

import { bucketOf, buckets, percentile } from "../../CallFigures.ts"
import type { CallCounts, Latencies } from "../../RoutingReport.ts"

/**
 * How a call ended: `success`, `failure` of an instance, at fault itself (`caller`), without an instance that takes it, shed
 * for there was too much to do, or given up by its caller.
 *
 * @internal
 */
export type CallOutcome = "success" | "failure" | "caller" | "unavailable" | "shed" | "interrupted"

/**
 * Latencies, in a sketch of fixed size.
 *
 * @internal
 */
export class Sketch {
  #count = 0
  #sum = 0
  readonly #counts = new Uint32Array(buckets)

  record(latency: number, bucket: number): void {
    this.#count++
    this.#sum += latency
    this.#counts[bucket]!++
  }

  add(other: Sketch): void {
    this.#count += other.#count
    this.#sum += other.#sum
    for (let bucket = 0; bucket < buckets; bucket++) this.#counts[bucket]! += other.#counts[bucket]!
  }

  latencies(): Latencies | undefined {
    if (this.#count === 0) return undefined
    const share = (part: number): number => percentile(this.#counts, part) ?? 0
    return { average: this.#sum / this.#count, p50: share(0.5), p95: share(0.95), p99: share(0.99) }
  }
}

/**
 * What can be added up, and be compared by how much was counted.
 *
 * @internal
 */
export interface Countable<Self> {
  readonly calls: number
  readonly add: (other: Self) => void
}

/**
 * Counters of calls by how they ended. Plain; each costs nanoseconds.
 *
 * @internal
 */
export class Tally implements Countable<Tally> {
  calls = 0
  #successes = 0
  #failed = 0
  #refused = 0
  #unavailable = 0
  #shed = 0
  #interrupted = 0
  readonly #sketch = new Sketch()

  /** `bucket`: that of the latency, by `CallFigures.bucketOf`. */
  record(outcome: CallOutcome, latency: number, bucket: number): void {
    this.calls++
    switch (outcome) {
      case "success":
        this.#successes++
        this.#sketch.record(latency, bucket)
        return
      case "failure":
        this.#failed++
        this.#sketch.record(latency, bucket)
        return
      case "caller":
        this.#refused++
        this.#sketch.record(latency, bucket)
        return
      case "unavailable":
        this.#unavailable++
        return
      case "shed":
        this.#shed++
        return
      case "interrupted":
        this.#interrupted++
    }
  }

  add(other: Tally): void {
    this.calls += other.calls
    this.#successes += other.#successes
    this.#failed += other.#failed
    this.#refused += other.#refused
    this.#unavailable += other.#unavailable
    this.#shed += other.#shed
    this.#interrupted += other.#interrupted
    this.#sketch.add(other.#sketch)
  }

  counts(): CallCounts {
    return {
      calls: this.calls,
      successes: this.#successes,
      failures: {
        failed: this.#failed,
        refused: this.#refused,
        unavailable: this.#unavailable,
        shed: this.#shed
      },
      interrupted: this.#interrupted,
      latency: this.#sketch.latencies()
    }
  }
}

/**
 * What was counted of the calls of a tool.
 *
 * @internal
 */
export class ToolTally extends Tally {
  service: string | undefined
}

/**
 * What was counted of a service: its calls, and what was done for them.
 *
 * @internal
 */
export class ServiceTally extends Tally implements Countable<ServiceTally> {
  retries = 0
  retriesDenied = 0
  hedges = 0
  hedgesDenied = 0
  hedgesWon = 0
  queued = 0
  shed = 0
  /** Epoch ms of the last one. */
  shedAt = -Infinity
  readonly waits: Sketch = new Sketch()

  override add(other: ServiceTally): void {
    super.add(other)
    this.retries += other.retries
    this.retriesDenied += other.retriesDenied
    this.hedges += other.hedges
    this.hedgesDenied += other.hedgesDenied
    this.hedgesWon += other.hedgesWon
    this.queued += other.queued
    this.shed += other.shed
    this.shedAt = Math.max(this.shedAt, other.shedAt)
    this.waits.add(other.waits)
  }
}

/**
 * What was counted of an instance: the latencies of the attempts that it answered.
 *
 * @internal
 */
export class InstanceTally implements Countable<InstanceTally> {
  calls = 0
  readonly sketch: Sketch = new Sketch()

  record(latency: number): void {
    this.calls++
    this.sketch.record(latency, bucketOf(latency))
  }

  add(other: InstanceTally): void {
    this.calls += other.calls
    this.sketch.add(other.sketch)
  }
}

interface Named<A> {
  readonly tally: A
  /** Calls that a name needed to get here. */
  readonly entry: number
}

// Names that have a tally of their own.
const named = 256

/**
 * Tallies of the most frequent names, and one of all the others: what anybody can make up names for takes no more memory
 * than this.
 *
 * **Details**: a name that has no tally is counted in `rest`. Each time as many of those came as the least frequent
 * name counts, the one that came takes its place (as in Space-Saving by Metwally et al., but not with every call that has
 * no tally, so that a stream of new names costs as little as any other; cf. randomised admission, Ben Basat et al. 2017). So
 * a frequent name soon has a tally, and keeps it. What the replaced name counted goes to `rest`: sums stay exact.
 *
 * @internal
 */
export class TopTallies<A extends Countable<A>> {
  readonly #make: () => A
  readonly #named = new Map<string, Named<A>>()
  readonly rest: A
  #floor = 0
  #missed = 0
  // Mostly the same name again.
  #last: string | undefined
  #lastTally: A

  constructor(make: () => A) {
    this.#make = make
    this.rest = this.#lastTally = make()
  }

  /** Where a name is counted. */
  of(name: string): A {
    if (name === this.#last) return this.#lastTally
    let known = this.#named.get(name)
    if (known === undefined) {
      if (this.#named.size >= named) {
        if (this.#missed++ < this.#floor) return this.rest
        this.#replace()
      }
      this.#named.set(name, known = { tally: this.#make(), entry: this.#floor })
    }
    this.#last = name
    return this.#lastTally = known.tally
  }

  #replace(): void {
    let least: string | undefined
    let count = Infinity
    for (const [name, { entry, tally }] of this.#named) {
      if (entry + tally.calls >= count) continue
      least = name
      count = entry + tally.calls
    }
    this.#missed = 0
    this.#floor = count
    if (least === undefined) return
    this.rest.add(this.#named.get(least)!.tally)
    this.#named.delete(least)
    this.#last = undefined
  }

  /** What a name counted, where it has a tally. */
  find(name: string): A | undefined {
    return this.#named.get(name)?.tally
  }

  /** Those that have a tally of their own. */
  names(): Iterable<string> {
    return this.#named.keys()
  }

  /** Everything that has a tally of its own. */
  *entries(): Iterable<readonly [name: string, tally: A]> {
    for (const [name, { tally }] of this.#named) yield [name, tally]
  }
}

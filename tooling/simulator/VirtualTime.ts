/**
 * Time that passes only when nothing is left to do: a heap of events, and the clock and the scheduler of Effect over it. A
 * minute of a fleet takes a second, and the same seed gives the same run to the last bit.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Random from "effect/Random"
import type * as Scheduler from "effect/Scheduler"

interface Event {
  readonly at: number
  /** Events of the same moment come in the order in which they were set. */
  readonly order: number
  run: (() => void) | undefined
}

/** Some day; nothing depends on which. */
const epoch = 1_767_225_600_000

export class VirtualTime {
  #now = 0
  #order = 0
  readonly #heap: Array<Event> = []
  #tasks: Array<() => void> = []

  /** ms since the beginning. */
  readonly now = (): number => this.#now

  /** Runs something at a moment; what it answers takes that back. */
  readonly at = (moment: number, run: () => void): () => void => {
    const event: Event = { at: Math.max(moment, this.#now), order: this.#order++, run }
    this.#push(event)
    return () => {
      event.run = undefined
    }
  }

  readonly after = (millis: number, run: () => void): () => void => this.at(this.#now + millis, run)

  readonly scheduler: Scheduler.Scheduler = {
    executionMode: "async",
    // Nobody else waits for the thread.
    shouldYield: () => false,
    makeDispatcher: () => ({
      scheduleTask: (task) => void this.#tasks.push(task),
      flush: () => this.settle()
    })
  }

  readonly clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => epoch + Math.floor(this.#now),
    currentTimeMillis: Effect.sync(() => epoch + Math.floor(this.#now)),
    currentTimeNanosUnsafe: () => BigInt(epoch) * 1_000_000n + this.#nanos(),
    currentTimeNanos: Effect.sync(() => BigInt(epoch) * 1_000_000n + this.#nanos()),
    monotonicTimeNanosUnsafe: () => this.#nanos(),
    monotonicTimeNanos: Effect.sync(() => this.#nanos()),
    sleep: (duration) => {
      const millis = Duration.toMillis(duration)
      if (millis <= 0) return Effect.yieldNow
      if (millis === Infinity) return Effect.never
      return Effect.callback<void>((resume) => Effect.sync(this.after(millis, () => resume(Effect.void))))
    }
  }

  /** Lets time pass until a moment, or until `done`. */
  run(until: number, done: () => boolean = () => false): void {
    this.settle()
    while (!done()) {
      const event = this.#heap[0]
      if (event === undefined || event.at > until) break
      this.#pop()
      if (event.run === undefined) continue
      this.#now = event.at
      event.run()
      this.settle()
    }
    if (!done()) this.#now = Math.max(this.#now, until)
  }

  /** Lets fibers run until all of them wait. */
  settle(): void {
    // Tasks of a task are heard after those that were there before it.
    while (this.#tasks.length > 0) {
      const tasks = this.#tasks
      this.#tasks = []
      for (const task of tasks) task()
    }
  }

  #nanos(): bigint {
    return BigInt(Math.round(this.#now * 1e6))
  }

  #push(event: Event): void {
    const heap = this.#heap
    let index = heap.push(event) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]!
      if (!before(event, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()!
    if (heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child++
      if (!before(heap[child]!, last)) break
      heap[index] = heap[child]!
      index = child
    }
    heap[index] = last
  }
}

const before = (left: Event, right: Event): boolean =>
  left.at < right.at || (left.at === right.at && left.order < right.order)

/** Uniform in [0, 1), from a seed (mulberry32). Each purpose has its own, so that one more draw here changes nothing there. */
export const uniform = (seed: string): () => number => {
  let state = 0x811c9dc5
  for (let index = 0; index < seed.length; index++) state = Math.imul(state ^ seed.charCodeAt(index), 0x01000193)
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000
  }
}

/** The randomness of Effect from a seed. */
export const random = (seed: string): (typeof Random.Random)["Service"] => {
  const next = uniform(seed)
  return { nextDoubleUnsafe: next, nextIntUnsafe: () => Math.floor(next() * 0x1_0000_0000) }
}

/** Exponential with mean 1: the pause between two calls of many independent callers. */
export const exponential = (next: () => number): number => -Math.log(1 - next())

/** Log-normal with median 1 (Box and Muller). */
export const logNormal = (next: () => number, sigma: number): number =>
  Math.exp(sigma * Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()))

import type { Waiter } from "./admission.ts"

/**
 * A call in the queues of the services that it can go to.
 *
 * @internal
 */
export interface Waiting {
  readonly waiter: Waiter
  readonly caller: string
  readonly kind: unknown
  readonly queues: ReadonlyArray<ServiceQueue>
  /** The one whose bound it counts for. */
  readonly home: ServiceQueue
  /** Monotonic ms. */
  readonly since: number
}

interface Line {
  /** Who came first is first. */
  readonly waiting: Set<Waiting>
  /** Those of them whose home the queue is. */
  length: number
}

// What drained counts for so many ms, by and large.
const memory = 5_000
const shortestRetry = 100

/**
 * Longest time after which a call is told to come again, ms.
 *
 * @internal
 */
export const longestRetry = 30_000

/**
 * The same where nothing is measured.
 *
 * @internal
 */
export const usualRetry = 1_000

/**
 * The calls that wait for one service: a line for each caller, which take turns, and how fast they get on.
 *
 * @internal
 */
export class ServiceQueue {
  readonly service: string
  /** Calls whose home it is, which alone count for its bound. */
  length = 0
  // In the order of their turns.
  readonly #lines = new Map<string, Line>()
  readonly #began: number
  // Those that went on, each worth less the longer ago, and when that was reckoned last.
  #drained = 0
  #drainedAt: number

  constructor(service: string, now: number) {
    this.service = service
    this.#began = now
    this.#drainedAt = now
  }

  get isEmpty(): boolean {
    return this.#lines.size === 0
  }

  add(waiting: Waiting): void {
    let line = this.#lines.get(waiting.caller)
    if (line === undefined) this.#lines.set(waiting.caller, line = { waiting: new Set(), length: 0 })
    line.waiting.add(waiting)
    if (waiting.home !== this) return
    line.length++
    this.length++
  }

  remove(waiting: Waiting): void {
    const line = this.#lines.get(waiting.caller)
    if (line === undefined || !line.waiting.delete(waiting)) return
    if (line.waiting.size === 0) this.#lines.delete(waiting.caller)
    if (waiting.home !== this) return
    line.length--
    this.length--
  }

  /** Everybody, callers in the order of their turns, and for each who came first. */
  *inTurn(): Iterable<Waiting> {
    for (const { waiting } of this.#lines.values()) yield* waiting
  }

  /** One went on, and has been removed: its caller had its turn. */
  went({ caller }: Waiting, now: number): void {
    this.#reckon(now)
    this.#drained++
    const line = this.#lines.get(caller)
    if (line !== undefined && this.#lines.delete(caller)) this.#lines.set(caller, line)
  }

  /** Calls of a caller that count for its bound. */
  lengthOf(caller: string): number {
    return this.#lines.get(caller)?.length ?? 0
  }

  /** Calls of the caller that has most of them. */
  longest(): number {
    return this.#longest()?.length ?? 0
  }

  /** The newest of them. */
  newest(): Waiting | undefined {
    let newest: Waiting | undefined
    for (const waiting of this.#longest()?.waiting ?? []) if (waiting.home === this) newest = waiting
    return newest
  }

  #longest(): Line | undefined {
    let longest: Line | undefined
    for (const line of this.#lines.values()) if (line.length > (longest?.length ?? 0)) longest = line
    return longest
  }

  /** When a further call would have its turn, as fast as they get on, ms. */
  retryAfter(now: number): number {
    this.#reckon(now)
    const age = now - this.#began
    if (this.#drained === 0 || age <= 0) return Math.max(usualRetry, Math.min(age, longestRetry))
    // What drained since it began, not since ever.
    const perMs = this.#drained / (memory * (1 - Math.exp(-age / memory)))
    return Math.round(Math.min(Math.max((this.length + 1) / perMs, shortestRetry), longestRetry))
  }

  #reckon(now: number): void {
    this.#drained *= Math.exp((this.#drainedAt - now) / memory)
    this.#drainedAt = now
  }
}

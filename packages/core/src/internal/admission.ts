import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/**
 * How many calls of a service may run and wait. Plain.
 *
 * @internal
 */
export interface LimitSettings {
  readonly perService: number
  readonly queue: number
  /** ms */
  readonly wait: number
}

/**
 * A call that waits for room.
 *
 * @internal
 */
export interface Waiter {
  /** Whose it is: different callers take turns, so that one with many calls doesn't hold up one with few. */
  readonly caller: string
  /** The services whose instances it can go to. */
  readonly services: ReadonlyArray<string>
  /** Waiters of one kind can all go where one of them can: one try stands for all. Default: a kind of its own. */
  readonly kind?: unknown
  /**
   * Tries to go on; whether it did, or needn't wait for another reason. It has left the queue then. Called by `enqueue`
   * too, before that answers. It takes its place at an instance before it answers, and starts nothing.
   */
  readonly go: () => boolean
  /** It waited too long, or gave way to others. It has left the queue. `retryAfter`: when it is worth coming again, ms. */
  readonly shed: (reason: string, retryAfter: number) => void
}

/**
 * What the queues need of the outside.
 *
 * @internal
 */
export interface Surroundings {
  /** Monotonic ms. */
  readonly now: () => number
  /** Attempts under way at the instances of a service. */
  readonly inFlight: (service: string) => number
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

interface Waiting {
  readonly waiter: Waiter
  readonly kind: unknown
  readonly queues: ReadonlyArray<ServiceQueue>
  /** The one whose bound it counts for. */
  readonly home: ServiceQueue
  readonly since: number
}

interface Line {
  /** Who came first is first. */
  readonly waiting: Set<Waiting>
  /** Those of them whose home the queue is. */
  length: number
}

interface ServiceQueue {
  readonly service: string
  /** By caller, in the order of their turns. */
  readonly lines: Map<string, Line>
  /** Those of all lines whose home it is, which alone count for its bound. */
  length: number
  readonly began: number
  /** Those that went on, each worth less the longer ago, and when that was reckoned last. */
  drained: number
  drainedAt: number
}

// What drained counts for so many ms, by and large.
const memory = 5_000
const shortestRetry = 100
const longestRetry = 30_000
const usualRetry = 1_000
// Room that nobody announces (an instance that came, recovered or is to be tried again) is found within so many ms.
const lookEvery = 100
const none: ReadonlyArray<string> = []

/**
 * The queues of calls that found no room. Costs a look at one number where nobody waits and no service has a limit.
 *
 * **Mental model**: a service that calls wait for has a queue, in which callers take turns; a call that can go to several
 * services stands in the queue of each, and counts for the shortest. Room that comes goes to the first whose candidates
 * have any: one who waits for a full instance holds up nobody who doesn't. Nobody waits who could go, so who comes and can
 * go overtakes nobody. A queue is dropped with its last call.
 *
 * @internal
 */
export class Admission {
  readonly #surroundings: Surroundings
  #settings: LimitSettings
  readonly #queues = new Map<string, ServiceQueue>()
  // Everybody, who came first first: all may wait equally long, so that is the order in which they have waited enough.
  readonly #all = new Set<Waiting>()
  readonly #kinds = new Map<unknown, number>()
  // Whether `mustWait` has to look closer.
  #concerned = false
  // While callers go, what they release is kept for the end of the round.
  #granting = false
  readonly #released = new Set<string>()
  #timer: Fiber.Fiber<void> | undefined
  #late = false

  constructor(settings: LimitSettings, surroundings: Surroundings) {
    this.#surroundings = surroundings
    this.#settings = settings
    this.#reckon()
  }

  /** Whether calls to these services have to queue: each is at its limit, or others wait for it already. */
  mustWait(services: ReadonlyArray<string>): boolean {
    if (!this.#concerned || services.length === 0) return false
    for (const service of services) {
      if (!this.#queues.has(service) && !this.isFull(service)) return false
    }
    return true
  }

  /** Why a call that has to wait would find no room in the queue, and when it is worth coming again (ms). */
  refusal(
    services: ReadonlyArray<string>,
    caller: string
  ): { readonly reason: string; readonly retryAfter: number } | undefined {
    let home = services[0] === undefined ? undefined : this.#queues.get(services[0])
    for (const service of services) {
      const queue = this.#queues.get(service)
      if ((queue?.length ?? 0) < (home?.length ?? 0)) home = queue
    }
    const reason = this.#refusal(home, caller)
    if (reason === undefined) return undefined
    return { reason, retryAfter: home === undefined ? usualRetry : this.#retryAfter(home) }
  }

  /** Whether `enqueue` lets a call of this kind wait without a look at its candidates. */
  holds(kind: unknown, services: ReadonlyArray<string>): boolean {
    return this.#kinds.has(kind) || services.every((service) => this.isFull(service))
  }

  /** Whether a service is at its limit. */
  isFull(service: string): boolean {
    return this.#settings.perService !== Infinity &&
      this.#surroundings.inFlight(service) >= this.#settings.perService
  }

  /** Those of several services that are at their limit: a call that may go to the others must keep away from them. */
  full(services: ReadonlyArray<string>): ReadonlyArray<string> {
    return services.length < 2 || this.#settings.perService === Infinity
      ? none
      : services.filter((service) => this.isFull(service))
  }

  /** When it is worth coming again to one of these services, ms. */
  retryAfter(services: ReadonlyArray<string>): number {
    let soonest = longestRetry
    for (const service of services) {
      const queue = this.#queues.get(service)
      soonest = Math.min(soonest, queue === undefined ? usualRetry : this.#retryAfter(queue))
    }
    return soonest
  }

  /** Calls that wait for a service; one that can go to several counts for one of them. */
  waiting(service: string): number {
    return this.#queues.get(service)?.length ?? 0
  }

  /** Waits; answers how to leave the queue, or why there is no room in it and when it is worth coming again (ms). */
  enqueue(waiter: Waiter): (() => void) | { readonly reason: string; readonly retryAfter: number } {
    const kind = waiter.kind ?? waiter
    // Where others of its kind wait, it can't go either. Where others wait, they can't go: it overtakes nobody.
    if (!this.#kinds.has(kind) && waiter.services.some((service) => !this.isFull(service)) && this.#goes(waiter)) {
      this.#hear()
      return () => {}
    }
    const queues = waiter.services.map((service) => this.#queue(service))
    const home = queues.reduce((best, queue) => queue.length < best.length ? queue : best)
    const refusal = this.#makeRoom(home, waiter.caller)
    if (refusal !== undefined) {
      for (const queue of queues) this.#dropIfEmpty(queue)
      return { reason: refusal, retryAfter: this.#retryAfter(home) }
    }
    const waiting: Waiting = { waiter, kind, queues, home, since: this.#surroundings.now() }
    this.#all.add(waiting)
    this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1)
    home.length++
    for (const queue of queues) {
      // It may have been dropped while room was made.
      this.#queues.set(queue.service, queue)
      let line = queue.lines.get(waiter.caller)
      if (line === undefined) queue.lines.set(waiter.caller, line = { waiting: new Set(), length: 0 })
      line.waiting.add(waiting)
      if (queue === home) line.length++
    }
    this.#reckon()
    this.#wake()
    return () => void this.#remove(waiting)
  }

  /** An attempt at an instance of the service ended, or there is more room for another reason. */
  released(service: string): void {
    if (this.#all.size === 0 || !this.#queues.has(service)) return
    this.#released.add(service)
    this.#hear()
  }

  /** Takes other limits from now on; who waits is judged by them. */
  reconfigure(settings: LimitSettings): void {
    this.#settings = settings
    this.#reckon()
    this.#look()
    for (const queue of this.#queues.values()) {
      while (queue.length > settings.queue) {
        const line = longestOf(queue)
        if (line === undefined) break
        this.#shed(newestOf(line, queue), `only ${settings.queue} calls may wait`)
      }
    }
  }

  #reckon(): void {
    this.#concerned = this.#all.size > 0 || this.#settings.perService !== Infinity
  }

  #queue(service: string): ServiceQueue {
    let queue = this.#queues.get(service)
    if (queue === undefined) {
      const now = this.#surroundings.now()
      queue = { service, lines: new Map(), length: 0, began: now, drained: 0, drainedAt: now }
      this.#queues.set(service, queue)
    }
    return queue
  }

  #dropIfEmpty(queue: ServiceQueue): void {
    if (queue.lines.size === 0 && this.#queues.get(queue.service) === queue) this.#queues.delete(queue.service)
  }

  // Who has most calls waiting makes room for who has fewer, with the newest of them.
  #makeRoom(home: ServiceQueue, caller: string): string | undefined {
    const refusal = this.#refusal(home, caller)
    if (refusal !== undefined || home.length < this.#settings.queue) return refusal
    const longest = longestOf(home)
    if (longest !== undefined) {
      this.#shed(newestOf(longest, home), "gave its place in the queue to a caller with fewer calls waiting")
    }
    return undefined
  }

  #refusal(home: ServiceQueue | undefined, caller: string): string | undefined {
    const { queue: most } = this.#settings
    if (most === 0) return "no call may wait"
    if (home === undefined || home.length < most) return undefined
    const own = home.lines.get(caller)?.length ?? 0
    const longest = longestOf(home)
    if (longest !== undefined && longest.length > own + 1) return undefined
    return most === 1 ? "a call waits already, and only one may" : `${most} calls wait already, as many as may`
  }

  #shed(waiting: Waiting | undefined, reason: string): void {
    if (waiting === undefined) return
    const retryAfter = this.#retryAfter(waiting.home)
    if (this.#remove(waiting)) waiting.waiter.shed(reason, retryAfter)
  }

  #remove(waiting: Waiting): boolean {
    if (!this.#all.delete(waiting)) return false
    const kinds = this.#kinds.get(waiting.kind)! - 1
    if (kinds === 0) this.#kinds.delete(waiting.kind)
    else this.#kinds.set(waiting.kind, kinds)
    waiting.home.length--
    for (const queue of waiting.queues) {
      const line = queue.lines.get(waiting.waiter.caller)!
      line.waiting.delete(waiting)
      if (queue === waiting.home) line.length--
      if (line.waiting.size === 0) queue.lines.delete(waiting.waiter.caller)
      this.#dropIfEmpty(queue)
    }
    if (this.#all.size === 0) {
      this.#timer?.interruptUnsafe()
      this.#timer = undefined
      this.#reckon()
    }
    return true
  }

  // What was released goes to who waits, also what is released meanwhile.
  #hear(): void {
    if (this.#granting) return
    for (const service of this.#released) {
      this.#released.delete(service)
      const queue = this.#queues.get(service)
      if (queue !== undefined) this.#grant(queue, new Set())
    }
  }

  // Lets the first go who can; whether there was one. `failed` are the kinds that can't.
  #grant(queue: ServiceQueue, failed: Set<unknown>): boolean {
    if (this.isFull(queue.service)) return false
    for (const [caller, line] of queue.lines) {
      for (const waiting of line.waiting) {
        if (failed.has(waiting.kind)) continue
        if (!this.#goes(waiting.waiter)) {
          failed.add(waiting.kind)
          // Of no other kind waits anybody: with a long queue of one kind, looking on would cost more than the call.
          if (failed.size === this.#kinds.size) return false
          continue
        }
        this.#remove(waiting)
        drain(queue, this.#surroundings.now(), 1)
        // It had its turn.
        if (line.waiting.size > 0 && queue.lines.delete(caller)) queue.lines.set(caller, line)
        return true
      }
    }
    return false
  }

  #goes(waiter: Waiter): boolean {
    this.#granting = true
    try {
      return waiter.go()
    } finally {
      this.#granting = false
    }
  }

  #retryAfter(queue: ServiceQueue): number {
    const now = this.#surroundings.now()
    drain(queue, now, 0)
    const age = now - queue.began
    if (queue.drained === 0 || age <= 0) return Math.max(usualRetry, Math.min(age, longestRetry))
    // What drained since it began, not since ever.
    const perMs = queue.drained / (memory * (1 - Math.exp(-age / memory)))
    return Math.round(Math.min(Math.max((queue.length + 1) / perMs, shortestRetry), longestRetry))
  }

  #wake(): void {
    if (this.#timer !== undefined) return
    const now = this.#surroundings.now()
    let left = lookEvery
    for (const oldest of this.#all) {
      left = Math.min(left, oldest.since + this.#settings.wait - now)
      break
    }
    // Whole milliseconds, as timers cut the rest off.
    const at = Math.max(Math.ceil(left), 0)
    const due = now + at
    const look = Effect.sync(() => {
      this.#timer = undefined
      // Where our own event loop lagged, what came in meanwhile is heard first.
      this.#late = !this.#late && this.#surroundings.now() - due > lookEvery
      if (!this.#late) this.#look()
      if (this.#all.size > 0) this.#wake()
    })
    this.#timer = this.#surroundings.fork(Effect.andThen(Effect.sleep(at), look))
  }

  #look(): void {
    for (const queue of this.#queues.values()) {
      const failed = new Set<unknown>()
      while (this.#grant(queue, failed));
    }
    const { wait } = this.#settings
    const now = this.#surroundings.now()
    for (const waiting of this.#all) {
      if (waiting.since + wait > now) break
      this.#shed(waiting, `no room within ${wait} ms`)
    }
    this.#hear()
  }
}

// The line of the caller that has most calls waiting.
const longestOf = (queue: ServiceQueue): Line | undefined => {
  let longest: Line | undefined
  for (const line of queue.lines.values()) {
    if (line.length > (longest?.length ?? 0)) longest = line
  }
  return longest
}

const newestOf = (line: Line, home: ServiceQueue): Waiting | undefined => {
  let newest: Waiting | undefined
  for (const waiting of line.waiting) if (waiting.home === home) newest = waiting
  return newest
}

const drain = (queue: ServiceQueue, now: number, went: number): void => {
  queue.drained = queue.drained * Math.exp((queue.drainedAt - now) / memory) + went
  queue.drainedAt = now
}

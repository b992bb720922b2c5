import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { longestRetry, ServiceQueue, usualRetry, type Waiting } from "./serviceQueue.ts"

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
    const home = shortest(services.map((service) => this.#queues.get(service)))
    const reason = this.#refusal(home, caller)
    return reason === undefined ? undefined : { reason, retryAfter: this.#retryAfter(home) }
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
      soonest = Math.min(soonest, this.#retryAfter(this.#queues.get(service)))
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
    const home = shortest(queues)
    if (home === undefined) return { reason: "there is nothing to wait for", retryAfter: usualRetry }
    const refusal = this.#makeRoom(home, waiter.caller)
    if (refusal !== undefined) {
      for (const queue of queues) this.#dropIfEmpty(queue)
      return { reason: refusal, retryAfter: this.#retryAfter(home) }
    }
    const { caller } = waiter
    const waiting: Waiting = { waiter, caller, kind, queues, home, since: this.#surroundings.now() }
    this.#all.add(waiting)
    this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1)
    for (const queue of queues) {
      // It may have been dropped while room was made.
      this.#queues.set(queue.service, queue)
      queue.add(waiting)
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
        const newest = queue.newest()
        if (newest === undefined) break
        this.#shed(newest, `only ${settings.queue} calls may wait`)
      }
    }
  }

  #reckon(): void {
    this.#concerned = this.#all.size > 0 || this.#settings.perService !== Infinity
  }

  #queue(service: string): ServiceQueue {
    let queue = this.#queues.get(service)
    if (queue === undefined) {
      this.#queues.set(service, queue = new ServiceQueue(service, this.#surroundings.now()))
    }
    return queue
  }

  #dropIfEmpty(queue: ServiceQueue): void {
    if (queue.isEmpty && this.#queues.get(queue.service) === queue) this.#queues.delete(queue.service)
  }

  // Who has most calls waiting makes room for who has fewer, with the newest of them.
  #makeRoom(home: ServiceQueue, caller: string): string | undefined {
    const refusal = this.#refusal(home, caller)
    if (refusal !== undefined || home.length < this.#settings.queue) return refusal
    const newest = home.newest()
    if (newest !== undefined) this.#shed(newest, "gave its place in the queue to a caller with fewer calls waiting")
    return undefined
  }

  #refusal(home: ServiceQueue | undefined, caller: string): string | undefined {
    const { queue: most } = this.#settings
    if (most === 0) return "no call may wait"
    if (home === undefined || home.length < most) return undefined
    if (home.longest() > home.lengthOf(caller) + 1) return undefined
    return most === 1 ? "a call waits already, and only one may" : `${most} calls wait already, as many as may`
  }

  #shed(waiting: Waiting, reason: string): void {
    const retryAfter = this.#retryAfter(waiting.home)
    if (this.#remove(waiting)) waiting.waiter.shed(reason, retryAfter)
  }

  #remove(waiting: Waiting): boolean {
    if (!this.#all.delete(waiting)) return false
    const kinds = this.#kinds.get(waiting.kind)! - 1
    if (kinds === 0) this.#kinds.delete(waiting.kind)
    else this.#kinds.set(waiting.kind, kinds)
    for (const queue of waiting.queues) {
      queue.remove(waiting)
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
    for (const waiting of queue.inTurn()) {
      if (failed.has(waiting.kind)) continue
      if (this.#goes(waiting.waiter)) {
        this.#remove(waiting)
        queue.went(waiting, this.#surroundings.now())
        return true
      }
      failed.add(waiting.kind)
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

  #retryAfter(queue: ServiceQueue | undefined): number {
    return queue === undefined ? usualRetry : queue.retryAfter(this.#surroundings.now())
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

// A service without a queue has the shortest.
const shortest = <Q extends ServiceQueue | undefined>(queues: ReadonlyArray<Q>): Q | undefined => {
  let best = queues[0]
  for (const queue of queues) if ((queue?.length ?? 0) < (best?.length ?? 0)) best = queue
  return best
}

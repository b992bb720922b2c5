import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import { type Due, DueHeap } from "../dueHeap.ts"

/**
 * Something that is to happen at a time of its own.
 *
 * @internal
 */
export interface Timer extends Due {
  /** Its time has come. It stands nowhere any more; it may be set again. */
  readonly fire: (now: number) => void
}

// A timer of the event loop that comes so much later, ms, was held up by us and not by the time.
const late = 10

// From so late on, ms, we stood still, and what we held up gets back as much of its time, at most so much: a call that
// could not even be sent is not given up in the very moment in which it is.
const stall = 250
const grace = 1_000

/**
 * The timers of what is in flight, with one timer of the event loop for all of them: one each would cost more than the
 * routing, and hardly any is ever needed.
 *
 * **Details**: setting and removing cost a logarithm. One that is removed doesn't move the common timer, which then wakes
 * for nothing and looks who is next.
 *
 * @internal
 */
export class Timers {
  readonly #now: () => number
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly #timers = new DueHeap<Timer>()
  #waking: Fiber.Fiber<void> | undefined
  #wakesAt = Infinity
  // The earliest that a timer may be set to: while we look, later than what we look at.
  #earliest = -Infinity

  constructor(now: () => number, fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.#now = now
    this.#fork = fork
  }

  /** Sets a timer, or moves it to another time. */
  set(timer: Timer, at: number): void {
    const due = Math.max(at, this.#earliest)
    this.#timers.set(timer, due)
    if (due < this.#wakesAt) this.#wakeAt(due)
  }

  remove(timer: Timer): void {
    this.#timers.remove(timer)
  }

  #wakeAt(at: number): void {
    this.#waking?.interruptUnsafe()
    this.#wakesAt = at
    // Timers know whole milliseconds; one that is cut short would be set again and again.
    const left = Math.max(Math.ceil(at - this.#now()), 0)
    this.#waking = this.#fork(Effect.flatMap(Effect.sleep(left), () => this.#awake(at)))
  }

  #awake(at: number): Effect.Effect<void> {
    const look = Effect.sync(() => this.#look())
    const lag = this.#now() - at
    if (lag < late) return look
    if (lag >= stall) return Effect.andThen(Effect.sleep(Math.min(lag, grace)), look)
    // What came in while our own event loop stood still is heard before anything is too late: one turn for what the
    // system has, one for what comes of it.
    return Effect.yieldNow.pipe(Effect.andThen(Effect.yieldNow), Effect.andThen(look))
  }

  #look(): void {
    const now = this.#now()
    this.#waking = undefined
    this.#wakesAt = -Infinity
    this.#earliest = now + 1
    try {
      for (let first = this.#timers.first(); first !== undefined && first.due <= now; first = this.#timers.first()) {
        this.#timers.remove(first)
        first.fire(now)
      }
    } finally {
      this.#wakesAt = Infinity
      this.#earliest = -Infinity
      const next = this.#timers.first()
      if (next !== undefined) this.#wakeAt(next.due)
    }
  }
}

import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"

/**
 * Something that is to end by itself before its deadline.
 *
 * @internal
 */
export interface Waiting {
  /** By the clock of the deadlines; it may only grow. */
  readonly deadline: () => number
  /** Called once it has passed, unless removed before. */
  readonly expire: () => void
  /** Where it stands. Of `Deadlines` alone. */
  place: number
}

/**
 * The deadlines of what is in flight, with one timer for all of them: one each would cost more than the routing, and hardly
 * any is ever needed.
 *
 * @internal
 */
export class Deadlines {
  readonly #now: () => number
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly #waiting: Array<Waiting> = []
  #timer: Fiber.Fiber<void> | undefined
  #wakesAt = Infinity

  constructor(now: () => number, fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>) {
    this.#now = now
    this.#fork = fork
  }

  add(waiting: Waiting): void {
    waiting.place = this.#waiting.length
    this.#waiting.push(waiting)
    const at = waiting.deadline()
    if (at < this.#wakesAt) this.#wakeAt(at)
  }

  remove(waiting: Waiting): void {
    if (this.#waiting[waiting.place] !== waiting) return
    const last = this.#waiting.pop()
    if (last === undefined || last === waiting) return
    this.#waiting[waiting.place] = last
    last.place = waiting.place
  }

  #wakeAt(at: number): void {
    this.#timer?.interruptUnsafe()
    this.#wakesAt = at
    // Timers know whole milliseconds; one that is cut short would be set again and again.
    const left = Math.max(Math.ceil(at - this.#now()), 0)
    this.#timer = this.#fork(Effect.andThen(Effect.sleep(left), Effect.sync(() => this.#look())))
  }

  #look(): void {
    this.#timer = undefined
    this.#wakesAt = Infinity
    const now = this.#now()
    const due: Array<Waiting> = []
    let next = Infinity
    for (const waiting of this.#waiting) {
      const at = waiting.deadline()
      if (at <= now) due.push(waiting)
      else if (at < next) next = at
    }
    if (next < Infinity) this.#wakeAt(next)
    for (const waiting of due) {
      this.remove(waiting)
      waiting.expire()
    }
  }
}

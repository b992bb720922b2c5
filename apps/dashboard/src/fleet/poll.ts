/**
 * Something that is asked for again and again: every so often, sooner where it is wanted, and never twice at a time.
 *
 * **Details**: what goes wrong is left to the next time; whether the gateway is there, its stream tells.
 */
export interface PollOptions {
  /** Time between two askings, ms. */
  readonly every: number
  /** Shortest time between two, ms. */
  readonly apart: number
}

export class Poll {
  readonly #ask: () => Promise<void>
  readonly #options: PollOptions
  #timer: ReturnType<typeof setTimeout> | undefined
  #running = false
  #asking = false
  #asked = -Infinity
  #wanted = true

  constructor(ask: () => Promise<void>, options: PollOptions) {
    this.#ask = ask
    this.#options = options
  }

  set running(running: boolean) {
    if (running === this.#running) return
    this.#running = running
    this.#plan()
  }

  /** Something changed: it is asked for as soon as it may be, at the latest when it runs again. */
  want(): void {
    this.#wanted = true
    this.#plan()
  }

  #plan(): void {
    clearTimeout(this.#timer)
    if (!this.#running || this.#asking) return
    const next = this.#asked + (this.#wanted ? this.#options.apart : this.#options.every)
    this.#timer = setTimeout(() => void this.#now(), Math.max(0, Math.min(next - Date.now(), this.#options.every)))
  }

  async #now(): Promise<void> {
    this.#asking = true
    this.#wanted = false
    this.#asked = Date.now()
    try {
      await this.#ask()
    } catch {
      // See above.
    }
    this.#asking = false
    this.#plan()
  }
}

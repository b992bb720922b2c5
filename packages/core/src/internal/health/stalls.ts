/**
 * Time between two heartbeats, ms. A stall of three quarters of a second is found for certain; a shorter one breaks no
 * connection, and is short beside the time that anybody is given to answer.
 *
 * @internal
 */
export const heartbeat = 500

// How late a heartbeat is that tells of a stall, ms. A major garbage collection or a large document takes less.
const late = 250

// What a stall did to our connections shows in what begins just after it: as long as it was, and at most so long, ms.
const aftermath = 1_000

// A stall is a reason to doubt only what it took a good part of: a pause of 300 ms is none not to believe that a server
// was silent for a minute.
const doubtful = 1 / 20

const kept = 16

/**
 * When our own event loop stood still: a server that seemed not to answer then may well have answered.
 *
 * **Details**: a heartbeat that comes late was held up, and so was everything else. Inspired by the local awareness of
 * memberlist's Lifeguard.
 *
 * @internal
 */
export class Stalls {
  #beatAt: number
  // The end of the last one, as nearly everything began after it.
  #over = -Infinity
  // From, to; a ring.
  readonly #spans = new Float64Array(2 * kept).fill(-Infinity)
  #next = 0

  constructor(now: number) {
    this.#beatAt = now
  }

  /** To be called once every `heartbeat`. */
  beat(now: number): void {
    const lag = now - this.#beatAt - heartbeat
    if (lag > late) {
      this.#over = now + Math.min(lag, aftermath)
      this.#spans[this.#next] = this.#beatAt
      this.#spans[this.#next + 1] = this.#over
      this.#next = (this.#next + 2) % this.#spans.length
    }
    this.#beatAt = now
  }

  /** Whether so much of the time between was lost that nothing that happened then can be held against anybody. */
  spoiled(since: number, at: number): boolean {
    const overdue = at - this.#beatAt > heartbeat + late
    if (!overdue && since > this.#over) return false
    const enough = (at - since) * doubtful
    let lost = overdue ? at - Math.max(since, this.#beatAt) : -1
    for (let place = 0; place < this.#spans.length; place += 2) {
      const from = Math.max(this.#spans[place]!, since)
      const to = Math.min(this.#spans[place + 1]!, at)
      if (from <= to) lost = Math.max(lost, 0) + to - from
    }
    return lost >= enough
  }
}

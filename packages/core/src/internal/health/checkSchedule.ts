import { DueHeap } from "../dueHeap.ts"
import { durationMillis } from "../durationText.ts"
import { isOut } from "./circuit.ts"
import type { Environment, Service, Tracked } from "./tracked.ts"

// How soon an instance is asked again of which no check had anything to say yet, as who checks it may not know it so
// early; doubled each time up to its interval.
const skipRetry = 100
// No record may make us check more often than this.
const intervalShortest = 100
// Others may have all the calls of one that is degraded: then nothing but a look tells that it no longer is. As long as
// calls have a say.
const degradedLongest = 60_000

/**
 * When each instance is checked next.
 *
 * @internal
 */
export class CheckSchedule {
  readonly queue = new DueHeap<Tracked>()
  readonly #environment: Environment

  constructor(environment: Environment) {
    this.#environment = environment
  }

  /** Puts the next check where it belongs: an interval from now, moved at random. */
  set(tracked: Tracked): void {
    if (tracked.gone || tracked.checking) return
    const { now, random, settings: { jitter }, wake } = this.#environment
    const at = now()
    this.queue.set(tracked, Math.ceil(at + this.#pause(tracked, at, 1 + jitter * (2 * random() - 1))))
    wake()
  }

  /** Brings the next check forward to now. */
  soon(tracked: Tracked): void {
    if (tracked.gone || tracked.checking) return
    this.queue.set(tracked, Math.floor(this.#environment.now()))
    this.#environment.wake()
  }

  /** Brings checks forward that are further away than they should be by now. */
  catchUp(all: Iterable<Tracked>): void {
    const now = this.#environment.now()
    for (const tracked of all) {
      if (tracked.place >= 0 && tracked.due > now + this.#pause(tracked, now, 1)) this.set(tracked)
    }
  }

  /** A call came. Where there were none for long, checks come as often again as they should. */
  called(service: Service, now: number): void {
    const idle = now - service.calledAt > this.#environment.settings.idleInterval
    service.calledAt = now
    if (idle) this.catchUp(service.members)
  }

  // Time until its next check; `spread` moves what needn't be exact.
  #pause(tracked: Tracked, now: number, spread: number): number {
    const { ejection: { readmitOnCheck }, idleInterval, unhealthyInterval } = this.#environment.settings
    if (now - tracked.service.calledAt > idleInterval) return idleInterval * spread
    const interval = this.#interval(tracked)
    if (tracked.checksDoubted > 0) return Math.min(unhealthyInterval, interval) * spread
    if (tracked.verdict === undefined) return interval * spread
    if (tracked.verdict.status === "unhealthy") return unhealthyInterval * spread
    const circuit = tracked.circuit
    if (!isOut(circuit) || !readmitOnCheck) return interval * spread
    // Until then one that passes changes nothing; then it is the way back.
    return circuit.until > now ? Math.min(interval * spread, circuit.until - now) : unhealthyInterval * spread
  }

  #interval(tracked: Tracked): number {
    const own = tracked.instance.health?.interval
    const { interval } = this.#environment.settings
    const agreed = own === undefined ? interval : Math.max(durationMillis(own), intervalShortest)
    const longest = tracked.status === "degraded" ? Math.min(agreed, degradedLongest) : agreed
    const skipped = tracked.checksSkipped
    return skipped === 0 ? longest : Math.min(longest, skipRetry * 2 ** Math.min(skipped - 1, 30))
  }
}

import * as Duration from "effect/Duration"
import type { Circuit } from "../../Health.ts"

/**
 * When circuits are opened and closed; durations in ms.
 *
 * @internal
 */
export interface Ejection {
  readonly consecutiveFailures: number
  readonly baseTime: number
  readonly maxTime: number
  readonly maxShare: number
  readonly interval: number
  readonly minInstances: number
  readonly minRequests: number
  readonly deviations: number
  readonly trials: number
  readonly readmitOnCheck: boolean
}

// Whatever a server asks for, it is tried again after 5 min, as linkerd does.
const pushbackLongest = 300_000

// Calls that fail together all say when to come again, each a little later: one is as good as the other, ms.
const pushbackStep = 1_000

/**
 * Differences of times with fractions are exact to less than this, ms.
 *
 * @internal
 */
export const exact = 0.001

/**
 * The circuit breaker of one instance. It knows the order of its states and how its time grows; who opens and closes it
 * has the reasons.
 *
 * @internal
 */
export class InstanceCircuit implements Circuit {
  state: Circuit["state"] = "closed"
  reason = ""
  cause: Circuit["cause"] = "failures"
  since = -Infinity
  until = -Infinity
  times = 0
  passed = 0
  trials = 0
  /** Trial calls under way. */
  running = 0
  /** How often it was opened since it exists. */
  openings = 0

  /** Whether it is open or half-open because calls went wrong: what counts for the largest share that may be. */
  get ejected(): boolean {
    return this.state !== "closed" && this.cause !== "pushback"
  }

  /** Whether an attempt that began then knows of its present state. */
  concerns(began: number): boolean {
    return began >= this.since - exact
  }

  /** It went well until then: each interval that it was closed takes one time back, as Envoy does. */
  forgive(until: number, interval: number): void {
    if (this.state !== "closed") return
    this.times = Math.max(this.times - Math.max(Math.floor((until - this.since) / interval), 0), 0)
  }

  /**
   * Opens it, each time in a row for twice as long. `spread` is the share of the time that it really lasts, so that those
   * ejected together come back one by one.
   */
  eject(cause: "failures" | "success-rate", reason: string, at: number, ejection: Ejection, spread: number): void {
    // Where its time doesn't grow any more, neither does what has to be forgiven. Twice isn't once, though.
    const most = Math.ceil(Math.log2(ejection.maxTime / ejection.baseTime)) + 2
    this.times = Math.min(this.times + 1, most)
    const time = Math.min(ejection.baseTime * 2 ** (this.times - 1), ejection.maxTime) * spread
    this.#open(cause, reason, at, Math.max(time, 1), ejection.trials)
  }

  /** The server asked to be left alone for so many ms. Answers whether that changes anything. */
  leave(reason: string, at: number, time: number, trials: number): boolean {
    const until = at + Math.min(time, pushbackLongest)
    if (this.state === "open") {
      if (until < this.until + pushbackStep) return false
      this.cause = "pushback"
      this.reason = reason
      this.until = until
      return true
    }
    this.#open("pushback", reason, at, until - at, trials)
    return true
  }

  admits(at: number, trials: number): boolean {
    return this.state === "open" ? at >= this.until : this.state === "half-open" && this.running < trials
  }

  /** Takes a place for a trial call: `true` where there was one. The first one makes it half-open. */
  admit(at: number, trials: number): boolean {
    if (!this.admits(at, trials)) return false
    if (this.state === "open") {
      this.state = "half-open"
      this.since = at
      this.running = this.passed = 0
    }
    this.trials = trials
    this.running++
    return true
  }

  /** A trial call has ended. */
  release(): void {
    if (this.running > 0) this.running--
  }

  close(at: number): void {
    this.state = "closed"
    this.since = at
    this.running = this.passed = 0
  }

  #open(cause: Circuit["cause"], reason: string, at: number, time: number, trials: number): void {
    this.state = "open"
    this.cause = cause
    this.reason = reason
    this.since = at
    this.until = at + time
    this.trials = trials
    this.running = this.passed = 0
    this.openings++
  }
}

/**
 * Whether it isn't closed.
 *
 * @internal
 */
export const isOut = (circuit: InstanceCircuit | undefined): circuit is InstanceCircuit =>
  circuit !== undefined && circuit.state !== "closed"

const text = (ms: number): string =>
  Duration.format(Duration.millis(ms < 1_000 ? Math.max(Math.ceil(ms), 0) : Math.ceil(ms / 1_000) * 1_000))

/**
 * Why an instance is out, in words that stay true as long as its circuit doesn't change.
 *
 * @internal
 */
export const circuitReason = (circuit: Circuit): string =>
  circuit.state === "half-open"
    ? `half-open: ${circuit.passed} of ${circuit.trials} trial calls passed; ${circuit.reason}`
    : circuit.cause === "pushback"
    ? `asked to be left alone for ${text(circuit.until - circuit.since)}: ${circuit.reason}`
    : `ejected for ${text(circuit.until - circuit.since)}: ${circuit.reason}`

/**
 * What brings one back whose time has passed; `admits`: whether it takes trial calls then, as its checks don't fail.
 *
 * @internal
 */
export const wayBack = (admits: boolean): string => admits ? "the next call tries it" : "back when a check passes"

/**
 * The same at a moment: how long ago, and when it is back.
 *
 * @internal
 */
export const describeCircuit = (circuit: Circuit, now: number, admits: boolean): string => {
  if (circuit.state === "closed") return "closed"
  if (circuit.state === "half-open") return circuitReason(circuit)
  const what = circuit.cause === "pushback" ? "asked to be left alone" : "ejected"
  const back = now < circuit.until ? `back in ${text(circuit.until - now)}` : wayBack(admits)
  return `${what} ${text(now - circuit.since)} ago: ${circuit.reason}, ${back}`
}

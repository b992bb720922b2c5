import type { Outcome } from "../../Health.ts"
import type { CheckSchedule } from "./checkSchedule.ts"
import { exact, InstanceCircuit, isOut } from "./circuit.ts"
import { outliers } from "./outliers.ts"
import { SlidingWindow } from "./slidingWindow.ts"
import type { Environment, Service, Tracked } from "./tracked.ts"

/**
 * What becomes of a change.
 *
 * @internal
 */
export interface Following {
  /** Derives the status anew; `turned`: its circuit was opened or closed, which is a change whatever the status is. */
  readonly derive: (tracked: Tracked, turned: boolean) => void
  /** Notes that its circuit is half-open, which changes nothing for others. */
  readonly note: (tracked: Tracked) => void
}

const percent = (share: number): string => `${Math.floor(share * 1_000) / 10} %`

const isPushback = ({ retryAfter }: Outcome): boolean => retryAfter !== undefined && retryAfter > 0

const isFirst = ({ cause, times }: InstanceCircuit): boolean => times === 1 && cause === "failures"

/**
 * What the outcomes of calls do to the circuits of instances (after Envoy's outlier detection and gRPC A50).
 *
 * @internal
 */
export class Circuits {
  readonly #environment: Environment
  readonly #schedule: CheckSchedule
  readonly #following: Following
  #swept: number

  constructor(environment: Environment, schedule: CheckSchedule, following: Following) {
    this.#environment = environment
    this.#schedule = schedule
    this.#following = following
    this.#swept = environment.now()
  }

  /** The outcome of a call. */
  record(tracked: Tracked, outcome: Outcome): void {
    const environment = this.#environment
    const now = environment.now()
    const began = now - outcome.latency
    const { circuit } = tracked
    if (isOut(circuit)) {
      this.#recordOut(tracked, circuit, outcome, began, now)
      return
    }
    if (outcome._tag === "ignored" || began < tracked.since - exact) return
    this.#schedule.called(tracked.service, now)
    if (outcome._tag === "success") {
      this.#succeeded(tracked, outcome, began, now)
      tracked.passed++
      tracked.callsFailed = 0
      if (tracked.status === "degraded") this.#following.derive(tracked, false)
      return
    }
    if (isPushback(outcome)) {
      this.#leave(tracked, outcome, now)
      return
    }
    if (environment.stalled(began, now)) return
    this.#failed(tracked, now)
    tracked.failed++
    const { ejection } = environment.settings
    if (tracked.callsFailed === 0) tracked.failingSince = Math.ceil(now)
    if (++tracked.callsFailed >= ejection.consecutiveFailures) {
      const calls = tracked.callsFailed === 1 ? "a call" : `${tracked.callsFailed} calls in a row`
      if (this.#eject(tracked, "failures", `${calls} failed: ${outcome.reason ?? "no reason given"}`, now)) return
      // What calls may not say a check may.
      if (tracked.callsFailed === ejection.consecutiveFailures) this.#askCheck(tracked)
    }
    this.#following.derive(tracked, false)
  }

  /** Whether there is a place for a trial call. Where checks say that it is unhealthy, a call needn't find it out. */
  admits({ circuit, status, verdict }: Tracked, at: number): boolean {
    return isOut(circuit) && status === "unhealthy" && verdict?.status !== "unhealthy" &&
      circuit.admits(at, this.#environment.settings.ejection.trials)
  }

  /** Takes a place for a trial call. */
  admit(tracked: Tracked, at: number): boolean {
    const { circuit } = tracked
    if (!isOut(circuit) || !this.admits(tracked, at)) return false
    const opened = circuit.state === "open"
    circuit.admit(at, this.#environment.settings.ejection.trials)
    if (opened) {
      tracked.since = Math.ceil(circuit.since)
      this.#following.note(tracked)
    }
    return true
  }

  /** A check that began then passed, and often enough. `true` where that closed its circuit. */
  passed(tracked: Tracked, began: number, now: number): boolean {
    const { circuit } = tracked
    if (!isOut(circuit) || !circuit.concerns(began)) return false
    if (!this.#environment.settings.ejection.readmitOnCheck) return false
    // One that passes while calls keep failing mustn't make it flap: it is believed early only the first time, and never
    // where it is its peers that the instance is measured by.
    if (now < circuit.until && !isFirst(circuit)) return false
    this.#close(tracked, circuit, now)
    return true
  }

  /** It is gone, and makes room for others. */
  forget({ circuit, service }: Tracked): void {
    if (isOut(circuit) && circuit.ejected) service.ejected--
  }

  /** Ejects those whose success rate fell behind, if it is time to look. To be called often. */
  sweep(services: Iterable<Service>): void {
    const { now, settings: { ejection } } = this.#environment
    const at = now()
    if (at - this.#swept < ejection.interval) return
    this.#swept = at
    for (const service of services) {
      if (service.outcomes === service.swept) continue
      service.swept = service.outcomes
      for (const { mean, of, rate } of outliers(service.members, ejection)) {
        const own = `${of.passed} of ${of.passed + of.failed} calls succeeded (${percent(rate)})`
        this.#eject(of, "success-rate", `${own}, of the calls to all instances ${percent(mean)}`, at)
      }
      for (const member of service.members) member.passed = member.failed = 0
    }
  }

  // The outcome of a call to one that is out: a trial call, one in panic, or one that began before.
  #recordOut(tracked: Tracked, circuit: InstanceCircuit, outcome: Outcome, began: number, now: number): void {
    const concerned = circuit.concerns(began)
    if (concerned && outcome.trial === true) circuit.release()
    if (outcome._tag === "ignored") return
    if (outcome._tag === "failure" && isPushback(outcome)) {
      this.#leave(tracked, outcome, now)
      return
    }
    // That it answers is nothing new of one that asked to be left alone.
    if (!concerned || (circuit.state === "open" && circuit.cause === "pushback")) return
    this.#schedule.called(tracked.service, now)
    if (outcome._tag === "success") {
      this.#succeeded(tracked, outcome, began, now)
      if (++circuit.passed >= this.#environment.settings.ejection.trials) this.#close(tracked, circuit, now)
      else this.#following.derive(tracked, false)
      return
    }
    if (this.#environment.stalled(began, now)) return
    this.#failed(tracked, now)
    circuit.passed = 0
    if (circuit.state === "open") return
    const reason = `a trial call failed: ${outcome.reason ?? "no reason given"}`
    if (!this.#eject(tracked, "failures", reason, now)) this.#close(tracked, circuit, now)
  }

  #succeeded(tracked: Tracked, { latency }: Outcome, began: number, now: number): void {
    const window = tracked.window ??= new SlidingWindow()
    const { random, stalled } = this.#environment
    window.success(stalled(began, now) ? undefined : latency, now, random)
    tracked.service.outcomes++
  }

  #failed(tracked: Tracked, now: number): void {
    const window = tracked.window ??= new SlidingWindow()
    window.failure(now)
    tracked.service.outcomes++
  }

  // Opens its circuit, unless too many of its service are out already. `false` where that is so.
  #eject(tracked: Tracked, cause: "failures" | "success-rate", reason: string, now: number): boolean {
    const { random, settings: { ejection, jitter } } = this.#environment
    const { ejected, members } = tracked.service
    const circuit = tracked.circuit ??= new InstanceCircuit()
    const before = circuit.ejected
    if (!before && ejected >= Math.max(Math.floor(ejection.maxShare * members.size), 1)) return false
    circuit.forgive(cause === "failures" ? tracked.failingSince : now, ejection.interval)
    circuit.eject(cause, reason, now, ejection, 1 - jitter * random())
    this.#turned(tracked, circuit, before)
    return true
  }

  // Opens its circuit for as long as it asked for, or leaves it open for longer.
  #leave(tracked: Tracked, { reason, retryAfter }: Outcome, now: number): void {
    const circuit = tracked.circuit ??= new InstanceCircuit()
    const before = circuit.ejected
    this.#failed(tracked, now)
    const { trials } = this.#environment.settings.ejection
    if (circuit.leave(reason ?? "overloaded", now, retryAfter ?? 0, trials)) this.#turned(tracked, circuit, before)
  }

  #close(tracked: Tracked, circuit: InstanceCircuit, now: number): void {
    const before = circuit.ejected
    circuit.close(now)
    this.#turned(tracked, circuit, before)
  }

  // What follows from a circuit that was opened or closed.
  #turned(tracked: Tracked, circuit: InstanceCircuit, before: boolean): void {
    if (circuit.ejected !== before) tracked.service.ejected += before ? -1 : 1
    tracked.since = Math.ceil(circuit.since)
    tracked.callsFailed = tracked.passed = tracked.failed = 0
    const opened = circuit.state === "open"
    if (opened) tracked.checksPassed = 0
    this.#following.derive(tracked, true)
    if (opened && isFirst(circuit)) this.#askCheck(tracked)
    else this.#schedule.catchUp([tracked])
  }

  #askCheck(tracked: Tracked): void {
    if (tracked.verdict !== undefined) this.#schedule.soon(tracked)
  }
}

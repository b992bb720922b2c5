import type { InstanceKey } from "../Catalog.ts"
import type {
  CheckResult,
  HealthChange,
  HealthHistory,
  HealthStatus,
  InstanceHealth,
  Outcome,
  StateRecord
} from "../Health.ts"
import * as ServiceInstance from "../ServiceInstance.ts"
import * as ChangeLog from "./changeLog.ts"
import { circuitReason, type Ejection, exact, InstanceCircuit } from "./circuit.ts"
import { DueHeap } from "./dueHeap.ts"
import { durationMillis } from "./durationText.ts"
import { CheckLog, withState } from "./history.ts"
import { outliers } from "./outliers.ts"
import { SlidingWindow } from "./slidingWindow.ts"

// Calls and checks it takes before their success rate has a say in the status, and the rate below which it is degraded.
const rateSamples = 10
const rateDegraded = 0.8
// How soon an instance is asked again of which no check had anything to say yet, as who checks it may not know it so
// early; doubled each time up to its interval.
const skipRetry = 100
// No record may make us check more often than this.
const intervalShortest = 100
// Failed checks in a row that may be put down to our own stalls: one whose loop never runs freely has to believe them.
const doubts = 3

const passed = { status: "healthy", reason: "check passed" } as const
const words = { Degraded: "degraded", Fail: "fail" } as const

const percent = (share: number): string => `${Math.floor(share * 1_000) / 10} %`

const isPushback = ({ retryAfter }: Outcome): boolean => retryAfter !== undefined && retryAfter > 0

// With another endpoint it is another instance.
const isSame = (left: ServiceInstance.ServiceInstance, right: ServiceInstance.ServiceInstance): boolean =>
  left.service === right.service && ServiceInstance.endpointKey(left) === ServiceInstance.endpointKey(right)

const isFirst = ({ cause, times }: InstanceCircuit): boolean => times === 1 && cause === "failures"

/** @internal */
export interface Settings {
  readonly interval: number
  readonly unhealthyInterval: number
  readonly idleInterval: number
  readonly jitter: number
  readonly rise: number
  readonly fall: number
  readonly ejection: Ejection
  readonly weights: { readonly success: number; readonly latency: number }
}

/** @internal */
export interface Environment {
  /** Monotonic ms: what due times and windows are measured by. */
  readonly now: () => number
  /** Epoch ms: what people are told. */
  readonly wall: () => number
  readonly random: () => number
  /** Whether our own event loop stood still for a good part of the time between. */
  readonly stalled: (since: number, at: number) => boolean
  readonly publish: (change: HealthChange) => void
  /** Something may be due earlier than was thought. */
  readonly wake: () => void
}

interface Service {
  readonly members: Set<Tracked>
  /** Outcomes of calls and checks recorded in it: what the cached `fastest`, and the next sweep, are checked against. */
  outcomes: number
  swept: number
  /** Monotonic ms of the last call. */
  calledAt: number
  /** Members that calls took out. */
  ejected: number
  fastest: number | undefined
  fastestOf: number
  fastestAt: number
}

/**
 * All that is known of the health of one instance.
 *
 * @internal
 */
export interface Tracked {
  readonly key: InstanceKey
  readonly service: Service
  instance: ServiceInstance.ServiceInstance
  status: HealthStatus
  reason: string
  changedAt: number
  checkedAt: number | undefined
  /** What the checks say, after rise and fall; nothing where none spoke. */
  verdict: { readonly status: "healthy" | "degraded" | "unhealthy"; readonly reason: string } | undefined
  checksPassed: number
  checksFailed: number
  /** Checks in a row that had nothing to say. */
  checksSkipped: number
  /** Checks in a row that failed while our own loop stood still. */
  checksDoubted: number
  callsFailed: number
  /** Calls since the last sweep. */
  passed: number
  failed: number
  /** Monotonic ms: what began earlier says nothing of it as it is now. */
  since: number
  /** Made when it is opened for the first time. */
  circuit: InstanceCircuit | undefined
  checks: CheckLog | undefined
  states: ReadonlyArray<StateRecord>
  window: SlidingWindow | undefined
  due: number
  place: number
  checking: boolean
  gone: boolean
}

/**
 * The status of every instance and the rules by which it changes. Plain and synchronous; it doesn't run checks, it is
 * told their results.
 *
 * @internal
 */
export class HealthTable {
  readonly queue = new DueHeap<Tracked>()
  #settings: Settings
  readonly #environment: Environment
  readonly #tracked = new Map<InstanceKey, Tracked>()
  readonly #services = new Map<string, Service>()
  #swept: number
  // When an instance was last removed: what is told of one that comes back began later.
  #removedAt = -Infinity
  // One counter for all services, so that a service that comes back never repeats a revision.
  #revision = 0
  readonly #changes = new Map<string, ChangeLog.ChangeLog<InstanceKey>>()
  // Kept while the instance is away: a mark holds until it is cleared.
  readonly #marks = new Map<InstanceKey, { readonly status: "up" | "draining" | "down"; readonly reason: string }>()

  constructor(settings: Settings, environment: Environment) {
    this.#settings = settings
    this.#environment = environment
    this.#swept = environment.now()
  }

  /** Takes other settings. What is known stays; checks that are further away than the new interval come sooner. */
  reconfigure(settings: Settings): void {
    this.#settings = settings
    const now = this.#environment.now()
    for (const tracked of this.#tracked.values()) {
      if (tracked.place >= 0 && tracked.due > now + this.#pause(tracked, now, 1)) this.schedule(tracked)
    }
  }

  find(key: InstanceKey): Tracked | undefined {
    return this.#tracked.get(key)
  }

  status(key: InstanceKey): HealthStatus {
    const tracked = this.#tracked.get(key)
    return tracked === undefined ? "unknown" : tracked.status
  }

  revision(service: string): number {
    const changes = this.#changes.get(service)
    return changes === undefined ? 0 : ChangeLog.revision(changes)
  }

  /** The instances of a service that changed after a revision; nothing where that is too long ago. */
  changedSince(service: string, revision: number): ReadonlyArray<InstanceKey> | undefined {
    const changes = this.#changes.get(service)
    return changes === undefined ? undefined : ChangeLog.after(changes, revision)
  }

  get(key: InstanceKey): InstanceHealth {
    const tracked = this.#tracked.get(key)
    return tracked === undefined
      ? {
        key,
        status: "unknown",
        score: 1,
        reason: "not seen yet",
        changedAt: 0,
        checkedAt: undefined,
        latency: undefined,
        successRate: undefined
      }
      : this.#health(tracked)
  }

  /** An instance was announced, or its record changed. */
  put(key: InstanceKey, instance: ServiceInstance.ServiceInstance): void {
    const known = this.#tracked.get(key)
    if (known !== undefined && isSame(known.instance, instance)) {
      const interval = known.instance.health?.interval
      known.instance = instance
      this.#derive(known)
      if (interval !== instance.health?.interval) this.schedule(known)
      return
    }
    if (known !== undefined) this.remove(key)
    let service = this.#services.get(instance.service)
    if (service === undefined) {
      service = {
        members: new Set(),
        outcomes: 0,
        swept: 0,
        calledAt: this.#environment.now(),
        ejected: 0,
        fastest: undefined,
        fastestOf: -1,
        fastestAt: -1
      }
      this.#services.set(instance.service, service)
    }
    // First what a call's success touches, so that it lies together.
    const tracked: Tracked = {
      callsFailed: 0,
      passed: 0,
      failed: 0,
      since: this.#removedAt,
      circuit: undefined,
      status: known?.status ?? "unknown",
      service,
      window: undefined,
      key,
      instance,
      reason: "not checked yet",
      changedAt: this.#environment.wall(),
      checkedAt: undefined,
      verdict: undefined,
      checksPassed: 0,
      checksFailed: 0,
      checksSkipped: 0,
      checksDoubted: 0,
      checks: undefined,
      states: [],
      due: 0,
      place: -1,
      checking: false,
      gone: false
    }
    service.members.add(tracked)
    this.#tracked.set(key, tracked)
    this.#derive(tracked)
    // Who knew one of the same key knew another one.
    this.#changed(tracked)
    this.soon(tracked)
  }

  remove(key: InstanceKey): void {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    tracked.gone = true
    this.#removedAt = this.#environment.now()
    if (tracked.circuit?.ejected === true) tracked.service.ejected--
    this.queue.remove(tracked)
    this.#tracked.delete(key)
    tracked.service.members.delete(tracked)
    if (tracked.service.members.size === 0) {
      this.#services.delete(tracked.instance.service)
      this.#changes.delete(tracked.instance.service)
    }
  }

  keys(): Iterable<InstanceKey> {
    return this.#tracked.keys()
  }

  mark(key: InstanceKey, status: "up" | "draining" | "down" | undefined, reason: string): void {
    if (status === undefined) this.#marks.delete(key)
    else this.#marks.set(key, { status, reason })
    const tracked = this.#tracked.get(key)
    if (tracked !== undefined) this.#derive(tracked)
  }

  /** The outcome of a call. */
  record(key: InstanceKey, outcome: Outcome): void {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    const now = this.#environment.now()
    const began = now - outcome.latency
    const circuit = tracked.circuit
    if (circuit !== undefined && circuit.state !== "closed") {
      this.#recordOut(tracked, circuit, outcome, began, now)
      return
    }
    if (outcome._tag === "ignored" || began < tracked.since - exact) return
    const { service } = tracked
    if (now - service.calledAt > this.#settings.idleInterval) this.#awake(service, now)
    service.calledAt = now
    if (outcome._tag === "success") {
      this.#succeeded(tracked, outcome, began, now)
      tracked.passed++
      tracked.callsFailed = 0
      if (tracked.status === "degraded") this.#derive(tracked)
      return
    }
    if (isPushback(outcome)) {
      this.#leave(tracked, outcome, now)
      return
    }
    if (this.#environment.stalled(began, now)) return
    this.#failed(tracked, now)
    tracked.failed++
    if (++tracked.callsFailed >= this.#settings.ejection.consecutiveFailures) {
      const calls = tracked.callsFailed === 1 ? "a call" : `${tracked.callsFailed} calls in a row`
      if (this.#eject(tracked, "failures", `${calls} failed: ${outcome.reason ?? "no reason given"}`, now)) return
    }
    this.#derive(tracked)
  }

  /** The circuit of an instance, unless it is closed. */
  circuit(key: InstanceKey): InstanceCircuit | undefined {
    const circuit = this.#tracked.get(key)?.circuit
    return circuit === undefined || circuit.state === "closed" ? undefined : circuit
  }

  /** Whether there is a place for a trial call. Where checks say that it is unhealthy, a call needn't find it out. */
  admits(key: InstanceKey, at: number): boolean {
    const tracked = this.#tracked.get(key)
    return tracked?.circuit !== undefined && tracked.status === "unhealthy" &&
      tracked.verdict?.status !== "unhealthy" &&
      tracked.circuit.admits(at, this.#settings.ejection.trials)
  }

  /** Takes a place for a trial call. */
  admit(key: InstanceKey, at: number): boolean {
    if (!this.admits(key, at)) return false
    const tracked = this.#tracked.get(key)!
    const circuit = tracked.circuit!
    const opened = circuit.state === "open"
    circuit.admit(at, this.#settings.ejection.trials)
    if (opened) {
      tracked.since = circuit.since
      tracked.reason = this.#judge(tracked)[1]
      this.#note(tracked)
    }
    return true
  }

  ejections(key: InstanceKey): number {
    return this.#tracked.get(key)?.circuit?.openings ?? 0
  }

  history(key: InstanceKey): HealthHistory {
    const tracked = this.#tracked.get(key)
    return { checks: tracked?.checks?.records() ?? [], states: tracked?.states ?? [] }
  }

  /** Ejects those whose success rate fell behind, if it is time to look. To be called often. */
  sweep(now: number): void {
    const { ejection } = this.#settings
    if (now - this.#swept < ejection.interval) return
    this.#swept = now
    for (const service of this.#services.values()) {
      if (service.outcomes === service.swept) continue
      service.swept = service.outcomes
      for (const { mean, of: { failed, passed }, of, rate } of outliers(service.members, ejection)) {
        const share = `${passed} of ${passed + failed} calls succeeded (${percent(rate)})`
        this.#eject(of, "success-rate", `${share}, of the calls to all instances ${percent(mean)}`, now)
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
    tracked.service.calledAt = now
    if (outcome._tag === "success") {
      this.#succeeded(tracked, outcome, began, now)
      if (++circuit.passed >= this.#settings.ejection.trials) this.#close(tracked, circuit, now)
      else this.#derive(tracked)
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
    window.success(this.#environment.stalled(began, now) ? undefined : latency, now, this.#environment.random)
    tracked.service.outcomes++
  }

  #failed(tracked: Tracked, now: number): void {
    const window = tracked.window ??= new SlidingWindow()
    window.failure(now)
    tracked.service.outcomes++
  }

  /** The worst result of the checks of an instance, and how long they took in ms. */
  checked(tracked: Tracked, result: CheckResult, latency: number): void {
    const now = this.#environment.now()
    if (result._tag === "Skip") {
      tracked.verdict = undefined
      tracked.checksPassed = tracked.checksFailed = tracked.checksDoubted = 0
      tracked.checksSkipped++
      this.#derive(tracked)
      return
    }
    const stalled = this.#environment.stalled(now - latency, now)
    if (stalled && result._tag !== "Pass" && tracked.checksDoubted < doubts) {
      tracked.checksDoubted++
      return
    }
    tracked.checksDoubted = 0
    tracked.checkedAt = this.#environment.wall()
    tracked.checksSkipped = 0
    const [word, reason] = result._tag === "Pass" ? ["pass", ""] as const : [words[result._tag], result.reason] as const
    const log = tracked.checks ??= new CheckLog()
    log.add(tracked.checkedAt, word, latency, reason)
    const window = tracked.window ??= new SlidingWindow()
    tracked.service.outcomes++
    if (result._tag === "Fail") {
      window.failure(now)
      tracked.checksPassed = 0
      tracked.checksFailed++
      // One that was never seen healthy has no standing to lose.
      if (result.fatal || tracked.verdict === undefined || tracked.checksFailed >= this.#settings.fall) {
        tracked.verdict = { status: "unhealthy", reason: `check failed: ${result.reason}` }
      }
      this.#derive(tracked)
      return
    }
    window.success(stalled ? undefined : latency, now, this.#environment.random)
    tracked.checksFailed = 0
    tracked.checksPassed++
    const risen = tracked.checksPassed >= this.#settings.rise
    if (risen || tracked.verdict?.status !== "unhealthy") {
      tracked.verdict = result._tag === "Degraded" ? { status: "degraded", reason: result.reason } : passed
    }
    const circuit = tracked.circuit
    if (risen && circuit !== undefined && this.#readmits(circuit, now - latency, now)) {
      this.#close(tracked, circuit, now)
    } else this.#derive(tracked)
  }

  /** Puts the next check where it belongs: an interval from now, moved at random. */
  schedule(tracked: Tracked): void {
    if (tracked.gone || tracked.checking) return
    const { jitter } = this.#settings
    const now = this.#environment.now()
    const spread = 1 + jitter * (2 * this.#environment.random() - 1)
    this.queue.set(tracked, now + this.#pause(tracked, now, spread))
    this.#environment.wake()
  }

  /** Brings the next check forward to now. */
  soon(tracked: Tracked): void {
    if (tracked.gone || tracked.checking) return
    this.queue.set(tracked, this.#environment.now())
    this.#environment.wake()
  }

  // Time until its next check; `spread` moves what needn't be exact.
  #pause(tracked: Tracked, now: number, spread: number): number {
    const { idleInterval, unhealthyInterval } = this.#settings
    if (now - tracked.service.calledAt > idleInterval) return idleInterval * spread
    const interval = this.#interval(tracked)
    if (tracked.checksDoubted > 0) return Math.min(unhealthyInterval, interval) * spread
    if (tracked.verdict === undefined) return interval * spread
    if (tracked.verdict.status === "unhealthy") return unhealthyInterval * spread
    const circuit = tracked.circuit
    if (circuit === undefined || !circuit.ejected || !this.#settings.ejection.readmitOnCheck) return interval * spread
    // Until then one that passes changes nothing; then it is the way back.
    return circuit.until > now ? Math.min(interval * spread, circuit.until - now) : unhealthyInterval * spread
  }

  #interval(tracked: Tracked): number {
    const own = tracked.instance.health?.interval
    const interval = own === undefined ? this.#settings.interval : Math.max(durationMillis(own), intervalShortest)
    const skipped = tracked.checksSkipped
    return skipped === 0 ? interval : Math.min(interval, skipRetry * 2 ** Math.min(skipped - 1, 30))
  }

  // A service that got no calls gets one: its checks come as often again as they should.
  #awake(service: Service, now: number): void {
    service.calledAt = now
    for (const member of service.members) {
      if (member.place >= 0 && member.due > now + this.#pause(member, now, 1)) this.schedule(member)
    }
  }

  // Opens its circuit, unless too many of its service are out already. `false` where that is so.
  #eject(tracked: Tracked, cause: "failures" | "success-rate", reason: string, now: number): boolean {
    const { ejection, jitter } = this.#settings
    const { members, ejected } = tracked.service
    const circuit = tracked.circuit ??= new InstanceCircuit()
    const before = circuit.ejected
    if (!before && ejected >= Math.max(Math.floor(ejection.maxShare * members.size), 1)) return false
    circuit.eject(cause, reason, now, ejection, 1 - jitter * this.#environment.random())
    this.#turned(tracked, circuit, before)
    return true
  }

  // Opens its circuit for as long as it asked for, or leaves it open for longer.
  #leave(tracked: Tracked, { reason, retryAfter }: Outcome, now: number): void {
    const circuit = tracked.circuit ??= new InstanceCircuit()
    const before = circuit.ejected
    this.#failed(tracked, now)
    if (circuit.leave(reason ?? "overloaded", now, retryAfter ?? 0, this.#settings.ejection.trials)) {
      this.#turned(tracked, circuit, before)
    }
  }

  #close(tracked: Tracked, circuit: InstanceCircuit, now: number): void {
    const before = circuit.ejected
    circuit.close(now)
    this.#turned(tracked, circuit, before)
  }

  // Whether a check that passed closes it. One that passes while calls keep failing mustn't make it flap: it is believed
  // early only the first time, and never where it is the calls of others that it is measured by.
  #readmits(circuit: InstanceCircuit, began: number, now: number): boolean {
    return circuit.ejected && this.#settings.ejection.readmitOnCheck && circuit.concerns(began) &&
      (now >= circuit.until || isFirst(circuit))
  }

  // What follows from a circuit that was opened or closed.
  #turned(tracked: Tracked, circuit: InstanceCircuit, before: boolean): void {
    if (circuit.ejected !== before) tracked.service.ejected += before ? -1 : 1
    tracked.since = circuit.since
    tracked.callsFailed = tracked.passed = tracked.failed = 0
    if (circuit.state === "open") tracked.checksPassed = 0
    this.#derive(tracked, true)
    if (tracked.verdict !== undefined && circuit.state === "open" && isFirst(circuit)) this.soon(tracked)
    else this.schedule(tracked)
  }

  // `turned`: its circuit changed, which is a change whatever the status says.
  #derive(tracked: Tracked, turned = false): void {
    const [status, reason] = this.#judge(tracked)
    tracked.reason = reason
    const previous = tracked.status
    if (status === previous && !turned) return
    tracked.status = status
    this.#changed(tracked)
    this.#note(tracked)
    if (status === previous) return
    tracked.changedAt = this.#environment.wall()
    this.#environment.publish({ previous, health: this.#health(tracked) })
  }

  #changed({ instance: { service }, key }: Tracked): void {
    const changes = this.#changes.get(service) ?? ChangeLog.begin(this.#revision)
    this.#changes.set(service, ChangeLog.add(changes, ++this.#revision, [key]))
  }

  #note(tracked: Tracked): void {
    const { circuit, reason, status } = tracked
    tracked.states = withState(tracked.states, {
      at: this.#environment.wall(),
      status,
      circuit: circuit === undefined ? "closed" : circuit.state,
      reason
    })
  }

  #judge(tracked: Tracked): readonly [HealthStatus, string] {
    const mark = this.#marks.get(tracked.key)
    if (mark !== undefined) {
      return [mark.status === "up" ? "healthy" : mark.status, `marked ${mark.status}: ${mark.reason}`]
    }
    const announced = tracked.instance.status
    if (announced !== "up") return [announced, `announced as ${announced}`]
    const circuit = tracked.circuit
    if (circuit !== undefined && circuit.state !== "closed") return ["unhealthy", circuitReason(circuit)]
    const verdict = tracked.verdict
    if (verdict?.status === "unhealthy") return ["unhealthy", verdict.reason]
    if (verdict?.status === "degraded") return ["degraded", verdict.reason]
    if (tracked.window !== undefined) {
      const now = this.#environment.now()
      const samples = tracked.window.samples(now)
      const rate = tracked.window.successRate(now)
      if (samples >= rateSamples && rate !== undefined && rate < rateDegraded) {
        const failed = Math.round(samples * (1 - rate))
        return ["degraded", `${failed} of ${samples} calls and checks failed within 60 s`]
      }
    }
    if (verdict !== undefined) return ["healthy", verdict.reason]
    return ["unknown", tracked.checkedAt === undefined ? "not checked yet" : "no check speaks about it"]
  }

  #health(tracked: Tracked): InstanceHealth {
    const now = this.#environment.now()
    const latency = tracked.window?.median(now)
    const successRate = tracked.window?.successRate(now)
    return {
      key: tracked.key,
      status: tracked.status,
      score: this.#score(tracked, successRate, latency, now),
      reason: tracked.reason,
      changedAt: tracked.changedAt,
      checkedAt: tracked.checkedAt,
      latency,
      successRate
    }
  }

  #score(tracked: Tracked, successRate: number | undefined, latency: number | undefined, now: number): number {
    if (tracked.status === "unhealthy" || tracked.status === "down") return 0
    const fastest = this.#fastest(tracked.service, now)
    const speed = latency === undefined || fastest === undefined || latency <= fastest ? 1 : fastest / latency
    return this.#settings.weights.success * (successRate ?? 1) + this.#settings.weights.latency * speed
  }

  // Asked for once per instance when a long list is shown, so it is kept until something was recorded or time went by.
  #fastest(service: Service, now: number): number | undefined {
    if (service.fastestOf !== service.outcomes || now - service.fastestAt >= 1_000) {
      service.fastest = undefined
      for (const member of service.members) {
        const median = member.window?.median(now)
        if (median !== undefined && (service.fastest === undefined || median < service.fastest)) {
          service.fastest = median
        }
      }
      service.fastestOf = service.outcomes
      service.fastestAt = now
    }
    return service.fastest
  }
}

import type { InstanceKey } from "../../Catalog.ts"
import type {
  CheckResult,
  Circuit,
  HealthHistory,
  HealthMark,
  HealthStatus,
  InstanceHealth,
  Outcome
} from "../../Health.ts"
import * as ServiceInstance from "../../ServiceInstance.ts"
import * as ChangeLog from "../changeLog.ts"
import { CheckSchedule } from "./checkSchedule.ts"
import { circuitReason, isOut } from "./circuit.ts"
import { Circuits } from "./circuits.ts"
import { fastestOf, healthOf } from "./healthScore.ts"
import { CheckLog, withState } from "./history.ts"
import { SlidingWindow } from "./slidingWindow.ts"
import {
  type Environment,
  makeService,
  makeTracked,
  never,
  type Service,
  type Settings,
  type Tracked
} from "./tracked.ts"

// Calls and checks it takes before their success rate has a say in the status, and the rate below which it is degraded.
const rateSamples = 10
const rateDegraded = 0.8
// Failed checks in a row that may be put down to our own stalls: one whose loop never runs freely has to believe them.
const doubts = 3

const passed = { status: "healthy", reason: "check passed" } as const
const words = { Degraded: "degraded", Fail: "fail" } as const

const circuitState = ({ circuit }: Tracked): Circuit["state"] => circuit === undefined ? "closed" : circuit.state

// With another endpoint it is another instance.
const isSame = (left: ServiceInstance.ServiceInstance, right: ServiceInstance.ServiceInstance): boolean =>
  left.service === right.service && ServiceInstance.endpointKey(left) === ServiceInstance.endpointKey(right)

/**
 * The status of every instance and the rules by which it changes. Plain and synchronous; it doesn't run checks, it is
 * told their results.
 *
 * @internal
 */
export class HealthTable {
  readonly schedule: CheckSchedule
  readonly #environment: Environment
  readonly #circuits: Circuits
  readonly #tracked = new Map<InstanceKey, Tracked>()
  readonly #services = new Map<string, Service>()
  // When an instance was last removed: what is told of one that comes back began later.
  #removedAt = never
  // One counter for all services, so that a service that comes back never repeats a revision.
  #revision = 0
  readonly #changes = new Map<string, ChangeLog.ChangeLog<InstanceKey>>()
  // Kept while the instance is away: a mark holds until it is cleared.
  readonly #marks = new Map<InstanceKey, HealthMark>()

  constructor(environment: Environment) {
    this.#environment = environment
    this.schedule = new CheckSchedule(environment)
    this.#circuits = new Circuits(environment, this.schedule, {
      derive: (tracked, turned) => this.#derive(tracked, turned),
      note: (tracked) => {
        tracked.reason = this.#judge(tracked)[1]
        this.#note(tracked)
        this.#publish(tracked, tracked.status)
      }
    })
  }

  /** Takes other settings. What is known stays; checks that are further away than the new interval come sooner. */
  reconfigure(settings: Settings): void {
    this.#environment.settings = settings
    this.schedule.catchUp(this.#tracked.values())
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
    if (tracked === undefined) {
      return {
        key,
        status: "unknown",
        score: 1,
        reason: "not seen yet",
        changedAt: 0,
        checkedAt: undefined,
        latency: undefined,
        successRate: undefined
      }
    }
    const now = this.#environment.now()
    return healthOf(tracked, this.#environment.settings.weights, fastestOf(tracked.service, now), now)
  }

  /** An instance was announced, or its record changed. */
  put(key: InstanceKey, instance: ServiceInstance.ServiceInstance): void {
    const known = this.#tracked.get(key)
    if (known !== undefined && isSame(known.instance, instance)) {
      const interval = known.instance.health?.interval
      known.instance = instance
      this.#derive(known)
      if (interval !== instance.health?.interval) this.schedule.catchUp([known])
      return
    }
    if (known !== undefined) this.remove(key)
    let service = this.#services.get(instance.service)
    if (service === undefined) {
      service = makeService(this.#environment.now())
      this.#services.set(instance.service, service)
    }
    const status = known?.status ?? "unknown"
    const tracked = makeTracked(key, instance, service, status, this.#removedAt, this.#environment.wall())
    service.members.add(tracked)
    this.#tracked.set(key, tracked)
    this.#derive(tracked)
    // Who knew one of the same key knew another one.
    this.#changed(tracked)
    this.schedule.soon(tracked)
  }

  remove(key: InstanceKey): void {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    tracked.gone = true
    this.#removedAt = Math.ceil(this.#environment.now())
    this.#circuits.forget(tracked)
    this.schedule.queue.remove(tracked)
    this.#tracked.delete(key)
    tracked.service.members.delete(tracked)
    if (tracked.service.members.size === 0) {
      this.#services.delete(tracked.instance.service)
      this.#changes.delete(tracked.instance.service)
    }
  }

  all(): Iterable<Tracked> {
    return this.#tracked.values()
  }

  mark(key: InstanceKey): HealthMark | undefined {
    return this.#marks.get(key)
  }

  override(key: InstanceKey, as: HealthMark["as"] | undefined, reason: string): void {
    if (as === undefined && !this.#marks.delete(key)) return
    if (as !== undefined) this.#marks.set(key, { as, reason, at: this.#environment.wall() })
    const tracked = this.#tracked.get(key)
    if (tracked !== undefined) this.#derive(tracked, true)
  }

  /** The outcome of a call. */
  record(key: InstanceKey, outcome: Outcome): void {
    const tracked = this.#tracked.get(key)
    if (tracked !== undefined) this.#circuits.record(tracked, outcome)
  }

  /** The circuit of an instance, unless it is closed. */
  circuit(key: InstanceKey): Circuit | undefined {
    const circuit = this.#tracked.get(key)?.circuit
    return isOut(circuit) ? circuit : undefined
  }

  /** Whether an instance that is out takes a trial call. */
  admits(key: InstanceKey, at: number): boolean {
    const tracked = this.#tracked.get(key)
    return tracked !== undefined && this.#circuits.admits(tracked, at)
  }

  /** Takes a place for one. */
  admit(key: InstanceKey, at: number): boolean {
    const tracked = this.#tracked.get(key)
    return tracked !== undefined && this.#circuits.admit(tracked, at)
  }

  /** How often its circuit was opened. */
  ejections(key: InstanceKey): number {
    return this.#tracked.get(key)?.circuit?.openings ?? 0
  }

  history(key: InstanceKey): HealthHistory {
    const tracked = this.#tracked.get(key)
    return { checks: tracked?.checks?.records() ?? [], states: tracked?.states ?? [] }
  }

  /** Compares success rates, if it is time to. To be called often. */
  sweep(): void {
    this.#circuits.sweep(this.#services.values())
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
    tracked.checksSkipped = 0
    const [word, reason] = result._tag === "Pass" ? ["pass", ""] as const : [words[result._tag], result.reason] as const
    const log = tracked.checks ??= new CheckLog()
    log.add(this.#environment.wall(), word, latency, reason)
    tracked.service.outcomes++
    if (result._tag === "Fail") {
      const window = tracked.window ??= new SlidingWindow()
      window.failure(now)
      tracked.checksPassed = 0
      tracked.checksFailed++
      // One that was never seen healthy has no standing to lose.
      if (result.fatal || tracked.verdict === undefined || tracked.checksFailed >= this.#environment.settings.fall) {
        tracked.verdict = { status: "unhealthy", reason: `check failed: ${result.reason}` }
      }
      this.#derive(tracked)
      return
    }
    tracked.checksFailed = 0
    tracked.checksPassed++
    const risen = tracked.checksPassed >= this.#environment.settings.rise
    const out = tracked.verdict?.status === "unhealthy"
    // That it was checked in vain while it was out, and more often than else, says nothing of it as it is now.
    if (risen && out) tracked.window = undefined
    const window = tracked.window ??= new SlidingWindow()
    window.success(stalled ? undefined : latency, now, this.#environment.random)
    if (risen || !out) {
      tracked.verdict = result._tag === "Degraded" ? { status: "degraded", reason: result.reason } : passed
    }
    if (!risen || !this.#circuits.passed(tracked, now - latency, now)) this.#derive(tracked)
  }

  // `turned`: its circuit or its mark changed, which is a change whatever the status says.
  #derive(tracked: Tracked, turned = false): void {
    const [status, reason] = this.#judge(tracked)
    tracked.reason = reason
    const previous = tracked.status
    if (status === previous && !turned) return
    tracked.status = status
    this.#changed(tracked)
    this.#note(tracked)
    if (status !== previous) {
      if (status === "degraded") this.schedule.catchUp([tracked])
      tracked.changedAt = this.#environment.wall()
    }
    this.#publish(tracked, previous)
  }

  #publish(tracked: Tracked, previous: HealthStatus): void {
    const { now, publish, settings } = this.#environment
    publish({
      previous,
      // The fastest as it was last found: looking for it would make a change cost as much as there are instances.
      health: healthOf(tracked, settings.weights, tracked.service.fastest, now()),
      circuit: circuitState(tracked)
    })
  }

  #changed({ instance: { service }, key }: Tracked): void {
    const changes = this.#changes.get(service) ?? ChangeLog.begin(this.#revision)
    this.#changes.set(service, ChangeLog.add(changes, ++this.#revision, [key]))
  }

  #note(tracked: Tracked): void {
    const { reason, status } = tracked
    tracked.states = withState(tracked.states, {
      at: this.#environment.wall(),
      status,
      circuit: circuitState(tracked),
      reason
    })
  }

  #judge(tracked: Tracked): readonly [HealthStatus, string] {
    const mark = this.#marks.get(tracked.key)
    if (mark !== undefined) {
      return [mark.as === "up" ? "healthy" : mark.as, `marked ${mark.as}: ${mark.reason}`]
    }
    const announced = tracked.instance.status
    if (announced !== "up") return [announced, `announced as ${announced}`]
    if (isOut(tracked.circuit)) return ["unhealthy", circuitReason(tracked.circuit)]
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
    return ["unknown", tracked.checks === undefined ? "not checked yet" : "no check speaks about it"]
  }
}

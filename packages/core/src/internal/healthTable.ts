import type { InstanceKey } from "../Catalog.ts"
import type { CheckResult, HealthChange, HealthStatus, InstanceHealth, Outcome } from "../Health.ts"
import * as ServiceInstance from "../ServiceInstance.ts"
import { DueHeap } from "./dueHeap.ts"
import { durationMillis } from "./durationText.ts"
import { SlidingWindow } from "./slidingWindow.ts"

// Calls and checks it takes before their success rate has a say in the status, and the rate below which it is degraded.
const rateSamples = 10
const rateDegraded = 0.8
// How long an instance rests that failed calls took out: 1 s, doubled each time it happens again within a minute.
const restFirst = 1_000
const restLongest = 10_000
const restMemory = 60_000
// How soon an instance is asked again of which no check had anything to say yet, as who checks it may not know it so
// early; doubled each time up to its interval.
const skipRetry = 100
// No record may make us check more often than this.
const intervalShortest = 100

/** @internal */
export interface Settings {
  readonly interval: number
  readonly unhealthyInterval: number
  readonly jitter: number
  readonly rise: number
  readonly fall: number
  readonly weights: { readonly success: number; readonly latency: number }
}

/** @internal */
export interface Environment {
  /** Monotonic ms: what due times and windows are measured by. */
  readonly now: () => number
  /** Epoch ms: what people are told. */
  readonly wall: () => number
  readonly random: () => number
  readonly publish: (change: HealthChange) => void
  /** Something may be due earlier than was thought. */
  readonly wake: () => void
}

interface Service {
  readonly members: Set<Tracked>
  /** Successes recorded in it, which is what the cached `fastest` is checked against. */
  successes: number
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
  endpoint: string
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
  callsFailed: number
  /** Taken out by failed calls. */
  rest:
    | { readonly since: number; readonly until: number; readonly strikes: number; readonly reason: string }
    | undefined
  lastRest: { readonly at: number; readonly strikes: number } | undefined
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
  // One counter for all services, so that a service that comes back never repeats a revision.
  #revision = 0
  readonly #revisions = new Map<string, number>()
  // Kept while the instance is away: a mark holds until it is cleared.
  readonly #marks = new Map<InstanceKey, { readonly status: "up" | "draining" | "down"; readonly reason: string }>()

  constructor(settings: Settings, environment: Environment) {
    this.#settings = settings
    this.#environment = environment
  }

  /** Takes other settings. What is known stays; checks that are further away than the new interval come sooner. */
  reconfigure(settings: Settings): void {
    this.#settings = settings
    const now = this.#environment.now()
    for (const tracked of this.#tracked.values()) {
      if (tracked.place >= 0 && tracked.due > now + this.#pause(tracked)) this.schedule(tracked)
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
    return this.#revisions.get(service) ?? 0
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

  /** An instance was announced, or its record changed. With another endpoint it is another instance. */
  put(key: InstanceKey, instance: ServiceInstance.ServiceInstance): void {
    const known = this.#tracked.get(key)
    const endpoint = ServiceInstance.endpointKey(instance)
    if (known !== undefined && known.endpoint === endpoint && known.instance.service === instance.service) {
      const interval = known.instance.health?.interval
      known.instance = instance
      this.#derive(known)
      if (interval !== instance.health?.interval) this.schedule(known)
      return
    }
    if (known !== undefined) this.remove(key)
    let service = this.#services.get(instance.service)
    if (service === undefined) {
      service = { members: new Set(), successes: 0, fastest: undefined, fastestOf: -1, fastestAt: -1 }
      this.#services.set(instance.service, service)
    }
    // First what a call's success touches, so that it lies together.
    const tracked: Tracked = {
      callsFailed: 0,
      rest: undefined,
      status: known?.status ?? "unknown",
      service,
      window: undefined,
      key,
      instance,
      endpoint,
      reason: "not checked yet",
      changedAt: this.#environment.wall(),
      checkedAt: undefined,
      verdict: undefined,
      checksPassed: 0,
      checksFailed: 0,
      checksSkipped: 0,
      lastRest: undefined,
      due: 0,
      place: -1,
      checking: false,
      gone: false
    }
    service.members.add(tracked)
    this.#tracked.set(key, tracked)
    this.#derive(tracked)
    this.soon(tracked)
  }

  remove(key: InstanceKey): void {
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    tracked.gone = true
    this.queue.remove(tracked)
    this.#tracked.delete(key)
    tracked.service.members.delete(tracked)
    if (tracked.service.members.size === 0) {
      this.#services.delete(tracked.instance.service)
      this.#revisions.delete(tracked.instance.service)
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
    if (outcome._tag === "ignored") return
    const tracked = this.#tracked.get(key)
    if (tracked === undefined) return
    const now = this.#environment.now()
    const window = tracked.window ??= new SlidingWindow()
    if (outcome._tag === "success") {
      window.success(outcome.latency, now, this.#environment.random)
      tracked.service.successes++
      tracked.callsFailed = 0
      if (tracked.rest !== undefined) {
        tracked.rest = undefined
        this.#derive(tracked)
        this.schedule(tracked)
      } else if (tracked.status === "degraded") this.#derive(tracked)
      return
    }
    window.failure(now)
    if (++tracked.callsFailed >= this.#settings.fall && tracked.rest === undefined) {
      this.#takeOut(tracked, now, outcome.reason ?? "failed")
    }
    this.#derive(tracked)
  }

  /** The worst result of the checks of an instance, and how long they took in ms. */
  checked(tracked: Tracked, result: CheckResult, latency: number): void {
    const now = this.#environment.now()
    if (result._tag === "Skip") {
      // Nobody will say when it is well again, so after its rest it is tried again.
      tracked.verdict = undefined
      tracked.checksPassed = tracked.checksFailed = 0
      tracked.checksSkipped++
      if (tracked.rest !== undefined && now >= tracked.rest.until) {
        tracked.rest = undefined
        tracked.callsFailed = 0
      }
    } else {
      tracked.checkedAt = this.#environment.wall()
      tracked.checksSkipped = 0
      const window = tracked.window ??= new SlidingWindow()
      if (result._tag === "Fail") {
        window.failure(now)
        tracked.checksPassed = 0
        tracked.checksFailed++
        // One that was never seen healthy has no standing to lose.
        if (result.fatal || tracked.verdict === undefined || tracked.checksFailed >= this.#settings.fall) {
          tracked.verdict = { status: "unhealthy", reason: `check failed: ${result.reason}` }
        }
      } else {
        window.success(latency, now, this.#environment.random)
        tracked.service.successes++
        tracked.checksFailed = 0
        tracked.checksPassed++
        const risen = tracked.checksPassed >= this.#settings.rise
        if (risen || tracked.verdict?.status !== "unhealthy") {
          tracked.verdict = result._tag === "Degraded"
            ? { status: "degraded", reason: result.reason }
            : { status: "healthy", reason: "check passed" }
        }
        if (risen && tracked.rest !== undefined) {
          tracked.rest = undefined
          tracked.callsFailed = 0
        }
      }
    }
    this.#derive(tracked)
  }

  /** Puts the next check where it belongs: an interval from now, moved at random. */
  schedule(tracked: Tracked): void {
    if (tracked.gone || tracked.checking) return
    const { jitter } = this.#settings
    const now = this.#environment.now()
    const spread = 1 + jitter * (2 * this.#environment.random() - 1)
    const rest = tracked.rest
    const due = rest !== undefined && tracked.verdict === undefined
      ? Math.max(rest.until, now + 1)
      : now + this.#pause(tracked) * spread
    this.queue.set(tracked, due)
    this.#environment.wake()
  }

  /** Brings the next check forward to now. */
  soon(tracked: Tracked): void {
    if (tracked.gone || tracked.checking) return
    this.queue.set(tracked, this.#environment.now())
    this.#environment.wake()
  }

  /** Time from one check of it to the next. */
  #pause(tracked: Tracked): number {
    return tracked.rest !== undefined || tracked.verdict?.status === "unhealthy"
      ? this.#settings.unhealthyInterval
      : this.#interval(tracked)
  }

  #interval(tracked: Tracked): number {
    const own = tracked.instance.health?.interval
    const interval = own === undefined ? this.#settings.interval : Math.max(durationMillis(own), intervalShortest)
    const skipped = tracked.checksSkipped
    return skipped === 0 ? interval : Math.min(interval, skipRetry * 2 ** Math.min(skipped - 1, 30))
  }

  #takeOut(tracked: Tracked, now: number, reason: string): void {
    const before = tracked.lastRest
    const strikes = before !== undefined && now - before.at < restMemory ? before.strikes + 1 : 0
    const until = now + Math.min(restFirst * 2 ** strikes, restLongest)
    tracked.rest = { since: now, until, strikes, reason: `${tracked.callsFailed} calls in a row failed: ${reason}` }
    tracked.lastRest = { at: now, strikes }
    tracked.checksPassed = 0
    if (tracked.gone || tracked.checking) return
    // The first time a check is asked at once. A check that passes while calls fail isn't to make it flap.
    const due = tracked.verdict !== undefined && strikes === 0 ? now : until
    this.queue.set(tracked, tracked.place < 0 ? due : Math.min(due, tracked.due))
    this.#environment.wake()
  }

  #derive(tracked: Tracked): void {
    const [status, reason] = this.#judge(tracked)
    tracked.reason = reason
    if (status === tracked.status) return
    const previous = tracked.status
    tracked.status = status
    tracked.changedAt = this.#environment.wall()
    this.#revisions.set(tracked.instance.service, ++this.#revision)
    this.#environment.publish({ previous, health: this.#health(tracked) })
  }

  #judge(tracked: Tracked): readonly [HealthStatus, string] {
    const mark = this.#marks.get(tracked.key)
    if (mark !== undefined) {
      return [mark.status === "up" ? "healthy" : mark.status, `marked ${mark.status}: ${mark.reason}`]
    }
    const announced = tracked.instance.status
    if (announced !== "up") return [announced, `announced as ${announced}`]
    if (tracked.rest !== undefined) return ["unhealthy", tracked.rest.reason]
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
    if (service.fastestOf !== service.successes || now - service.fastestAt >= 1_000) {
      service.fastest = undefined
      for (const member of service.members) {
        const median = member.window?.median(now)
        if (median !== undefined && (service.fastest === undefined || median < service.fastest)) {
          service.fastest = median
        }
      }
      service.fastestOf = service.successes
      service.fastestAt = now
    }
    return service.fastest
  }
}

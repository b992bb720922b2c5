import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import type { CheckResult, HealthCheck } from "../../Health.ts"
import type { HealthTable } from "./healthTable.ts"
import type { Tracked } from "./tracked.ts"

/** @internal */
export interface CheckLimits {
  /** Checks under way at the same time. */
  readonly concurrency: number
  /** Longest that one may take. */
  readonly timeout: Duration.Duration
}

const skip: CheckResult = { _tag: "Skip" }
const severity = { Skip: 0, Pass: 1, Degraded: 2, Fail: 3 } as const

const worse = (left: CheckResult, right: CheckResult): CheckResult =>
  severity[right._tag] > severity[left._tag] ||
    (left._tag === "Fail" && right._tag === "Fail" && right.fatal && !left.fatal)
    ? right
    : left

/**
 * Runs the checks that are due, and tells the table what came of them.
 *
 * @internal
 */
export class CheckRunner {
  limits: CheckLimits
  readonly #table: HealthTable
  readonly #wakes: Queue.Queue<void>
  readonly #now: () => number
  readonly #scope: Scope.Scope
  readonly #checks = new Set<HealthCheck>()
  readonly #running = new Map<Tracked, Fiber.Fiber<void>>()
  readonly #waiting = new Map<Tracked, Deferred.Deferred<void>>()

  constructor(
    table: HealthTable,
    limits: CheckLimits,
    /** Heard in its own turn: who records an outcome doesn't run checks. */
    wakes: Queue.Queue<void>,
    now: () => number,
    scope: Scope.Scope
  ) {
    this.#table = table
    this.limits = limits
    this.#wakes = wakes
    this.#now = now
    this.#scope = scope
  }

  add(check: HealthCheck): Effect.Effect<void, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        // Wrapped, so that the same function added twice is two checks, each with its own life.
        const own: HealthCheck = (instance, key) => check(instance, key)
        this.#checks.add(own)
        for (const tracked of this.#table.all()) this.#table.schedule.soon(tracked)
        return own
      }),
      (own) => Effect.sync(() => this.#checks.delete(own))
    ).pipe(Effect.asVoid)
  }

  /** Checks it now. One that is under way is waited for, so that an instance is never checked twice at once. */
  check(tracked: Tracked): Effect.Effect<void> {
    return Effect.suspend(() => {
      let waiter = this.#waiting.get(tracked)
      if (waiter === undefined) {
        waiter = Deferred.makeUnsafe<void>()
        this.#waiting.set(tracked, waiter)
      }
      this.#table.schedule.soon(tracked)
      return Deferred.await(waiter)
    })
  }

  /** Ends what is under way for an instance that is gone. */
  release(tracked: Tracked | undefined): void {
    if (tracked === undefined) return
    this.#running.get(tracked)?.interruptUnsafe()
    this.#answer(tracked)
  }

  readonly run: Effect.Effect<never> = Effect.gen({ self: this }, function*() {
    const { queue } = this.#table.schedule
    while (true) {
      let wait = Infinity
      while (this.#running.size < this.limits.concurrency) {
        const tracked = queue.first()
        if (tracked === undefined) break
        wait = tracked.due - this.#now()
        if (wait > 0) break
        wait = Infinity
        queue.remove(tracked)
        tracked.checking = true
        if (this.#checks.size === 0) {
          this.#table.checked(tracked, skip, 0)
          this.#settle(tracked)
        } else {
          const fiber = yield* Effect.forkIn(this.#visit(tracked), this.#scope, { startImmediately: true })
          // Unless it has ended already.
          if (tracked.checking) this.#running.set(tracked, fiber)
        }
      }
      const woken = Queue.take(this.#wakes)
      // Whole milliseconds, as timers cut the rest off.
      yield* wait === Infinity ? woken : Effect.raceFirst(Effect.sleep(Math.ceil(wait)), woken)
    }
  })

  #visit(tracked: Tracked): Effect.Effect<void> {
    return Effect.suspend(() => {
      const began = this.#now()
      return Effect.forEach(this.#checks, (check) => this.#ask(check, tracked), { concurrency: "unbounded" }).pipe(
        Effect.flatMap((results) =>
          Effect.sync(() => {
            if (!tracked.gone) this.#table.checked(tracked, results.reduce(worse, skip), this.#now() - began)
          })
        ),
        Effect.ensuring(Effect.sync(() => this.#settle(tracked)))
      )
    })
  }

  // A check that breaks is a failed check: it ends neither the others nor us.
  #ask(check: HealthCheck, tracked: Tracked): Effect.Effect<CheckResult> {
    const { timeout } = this.limits
    const failed = (reason: string) => Effect.succeed<CheckResult>({ _tag: "Fail", reason, fatal: false })
    return Effect.suspend(() => check(tracked.instance, tracked.key)).pipe(
      Effect.timeoutOrElse({
        duration: timeout,
        orElse: () => failed(`no answer within ${Duration.format(timeout)}`)
      }),
      Effect.catchDefect((defect) => failed(`the check broke: ${String(defect)}`))
    )
  }

  #settle(tracked: Tracked): void {
    this.#running.delete(tracked)
    tracked.checking = false
    this.#table.schedule.set(tracked)
    this.#answer(tracked)
    Queue.offerUnsafe(this.#wakes, undefined)
  }

  #answer(tracked: Tracked): void {
    const waiter = this.#waiting.get(tracked)
    this.#waiting.delete(tracked)
    if (waiter !== undefined) Deferred.doneUnsafe(waiter, Exit.void)
  }
}

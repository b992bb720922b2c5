import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Result from "effect/Result"
import type { Attempt, AttemptFailure, FailedAttempt, Routed, RouteError, RouteRequest } from "../../Router.ts"
import type { CompiledRule } from "../../RoutingRule.ts"
import type { ServiceInstance } from "../../ServiceInstance.ts"
import type { Waiter } from "./admission.ts"
import { failureOf, Running } from "./attempt.ts"
import type { Candidates } from "./candidates.ts"
import { Choice } from "./choice.ts"
import { Pauses } from "./pauses.ts"
import { nameOf, noInstance, type Pick } from "./pick.ts"
import { elsewhere, here, unrepeatable } from "./retry.ts"
import { CallFailed, DeadlineExceeded, NoInstance } from "./routeError.ts"
import type { Routes } from "./routes.ts"
import type { ServiceCalls } from "./serviceCalls.ts"
import type { Settings } from "./settings.ts"
import type { CallOutcome } from "./tallies.ts"
import type { Timer } from "./timers.ts"
import type { View } from "./view.ts"

/**
 * One routed call: its attempts, its waits, its deadline and its end.
 *
 * **Mental model**: a call that hasn't ended does one of these: it runs one attempt, or two where one is the hedge of the
 * other; it pauses before the next; it stands in the queue. Whatever comes then (an attempt's exit, its timer, room) moves
 * it on, until `#finish`. What ends later is dropped, and only counted.
 *
 * **Details**: an attempt runs in a fiber of its own that starts at once. One that ends without waiting is settled on the
 * spot: such a call sets no timer and never suspends its caller. All that waits has the one timer of its call.
 *
 * @internal
 */
export class Call<A, E, R> implements Timer, Waiter {
  // For `Timers`.
  due = 0
  place = -1
  readonly #routes: Routes
  readonly #candidates: Candidates
  readonly #choice: Choice
  readonly #request: RouteRequest
  readonly #attempt: (instance: ServiceInstance, attempt: Attempt) => Effect.Effect<A, AttemptFailure<E>, R>
  readonly #fork: <X, Y>(effect: Effect.Effect<X, Y, R>) => Fiber.Fiber<X, Y>
  readonly #restore: <X, Y, Z>(effect: Effect.Effect<X, Y, Z>) => Effect.Effect<X, Y, Z>
  readonly #started: number
  readonly #settings: Settings
  readonly #rule: CompiledRule | undefined
  readonly #timeout: number
  readonly #most: number
  readonly #hedgeable: boolean
  #deadline: number
  #committed = false
  #expired = false
  #attempts = 0
  readonly #failed: Array<FailedAttempt> = []
  #failure: AttemptFailure<E> | undefined
  // That something may have been run.
  #mayHaveRun = false
  #running: ReadonlyArray<Running<A, E>> = none
  // What the calls of its service share, since its first attempt.
  #service: ServiceCalls | undefined
  // When the pause is over, or the hedge is due.
  #wakesAt = Infinity
  #hedges = 0
  // Whether of an attempt and its hedge one failed.
  #halved = false
  // When its first attempt began.
  #began = 0
  // What is in the queue leaves it like this.
  #leave: (() => void) | undefined
  #enqueued = 0
  #queued = 0
  // None before an attempt waits for the client.
  #pauses: Pauses | undefined
  #end: Effect.Effect<Routed<A>, RouteError<E>> | undefined
  #resume: ((end: Effect.Effect<Routed<A>, RouteError<E>>) => void) | undefined

  constructor(
    routes: Routes,
    candidates: Candidates,
    request: RouteRequest,
    attempt: (instance: ServiceInstance, attempt: Attempt) => Effect.Effect<A, AttemptFailure<E>, R>,
    context: Context.Context<R>,
    restore: <X, Y, Z>(effect: Effect.Effect<X, Y, Z>) => Effect.Effect<X, Y, Z>
  ) {
    this.#routes = routes
    this.#candidates = candidates
    this.#choice = new Choice(routes, candidates, request)
    this.#request = request
    this.#attempt = attempt
    this.#fork = Effect.runForkWith(context)
    this.#restore = restore
    this.#started = routes.balancer.now()
    this.#settings = routes.settings
    this.#rule = candidates.rule()
    this.#timeout = request.timeout ?? this.#rule?.timeout ?? this.#settings.timeout
    this.#most = request.attempts ?? this.#rule?.attempts ?? this.#settings.attempts
    this.#hedgeable = request.readOnly === true && request.repeatable && request.affinity === undefined &&
      this.#most > 1 && (this.#rule?.hedging ?? this.#settings.hedging.on)
    this.#deadline = this.#started + this.#timeout
  }

  /** Makes attempts until one settles the call, else waits for what does. Not to be interrupted. */
  run(): Effect.Effect<Routed<A>, RouteError<E>> {
    this.#next(this.#started)
    if (this.#end !== undefined) return this.#end
    const waiting = Effect.callback<Routed<A>, RouteError<E>>((resume) => {
      if (this.#end === undefined) this.#resume = resume
      else resume(this.#end)
    })
    return Effect.onInterrupt(this.#restore(waiting), () => this.#abandon())
  }

  // The caller gave up, unless the call ended just then: nothing of it is left running.
  #abandon(): Effect.Effect<void> {
    this.#resume = undefined
    const running = this.#running
    if (this.#end === undefined) this.#finish("interrupted", Effect.interrupt, this.#routes.balancer.now())
    return Effect.forEach(running, ({ fiber }) => fiber === undefined ? Effect.void : Fiber.await(fiber), {
      discard: true
    })
  }

  // Makes attempts as long as they end without waiting and another one is to follow at once.
  #next(at: number): void {
    let now = at
    for (;;) {
      const view = this.#choice.view()
      if (this.#routes.admission.mustWait(this.services)) return this.#enqueue(view, now)
      const picked = this.#choice.next(view, now)
      if (picked === undefined) return this.#nobody(view, now)
      if (!this.#start(this.#begin(view, picked, now, false))) return
      now = this.#routes.balancer.now()
    }
  }

  #begin(view: View, picked: Pick, at: number, hedge: boolean): Running<A, E> {
    const { report, services } = this.#routes
    const running = new Running<A, E>(this.#routes, view, picked, ++this.#attempts, hedge, at)
    this.#running = this.#running.length === 0 ? [running] : [...this.#running, running]
    this.#choice.took(picked.node)
    report.picked(view.strategy, this.#rule)
    if (this.#service === undefined) {
      this.#began = at
      this.#service = services.of(picked.node.total)
      this.#service.retries.deposit(this.#settings.retryBudget.share, at)
      if (this.#hedgeable) this.#service.hedging.budget.deposit(this.#settings.hedging.share, at)
    }
    return running
  }

  // Runs an attempt; whether it ended and another is to follow at once.
  #start(running: Running<A, E>): boolean {
    running.started = true
    const fiber = this.#fork(Effect.suspend(() => this.#attempt(running.node.instance, this.#handle(running))))
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return this.#ended(running, exit)
    running.fiber = fiber
    fiber.addObserver((exit) => {
      if (this.#ended(running, exit)) this.#next(this.#routes.balancer.now())
    })
    // What it did first made the other one answer, or pass on.
    if (running.dropped !== undefined) {
      this.#drop(running, running.dropped)
      return false
    }
    const delay = this.#hedgeable && this.#hedges === 0 && !running.hedge
      ? this.#service?.hedging.delay(this.#settings.hedging.percentile, running.began)
      : undefined
    this.#waitUntil(delay === undefined ? Infinity : running.began + delay)
    return false
  }

  #handle(running: Running<A, E>): Attempt {
    const { balancer: { now }, clock } = this.#routes
    return {
      number: running.number,
      key: running.node.key,
      deadline: () => {
        const at = now()
        return clock.currentTimeMillisUnsafe() + this.#deadline + (this.#pauses?.current(at) ?? 0) - at
      },
      isHeard: () => running.isHeard,
      extend: () => {
        if (!running.isHeard) return
        const at = now()
        const standing = this.#pauses?.current(at) ?? 0
        const most = Math.max(this.#request.maxTimeout ?? this.#settings.maxTimeout, this.#timeout)
        const latest = this.#started + most + this.#paused(at) - standing
        this.#deadline = Math.max(this.#deadline, Math.min(at - standing + this.#timeout, latest))
      },
      pause: () => this.#pause(running),
      commit: () => {
        if (!running.isHeard) return
        this.#committed = true
        // Only one may pass on.
        for (const other of this.#running) if (other !== running) this.#drop(other, "ignored")
      },
      sent: () => {
        running.sent = true
      }
    }
  }

  // Its time stands still until the result is called, or the attempt is over.
  #pause(running: Running<A, E>): () => void {
    if (!running.isHeard || this.#end !== undefined) return () => {}
    const at = this.#routes.balancer.now()
    this.#pauses ??= new Pauses()
    this.#pauses.begin(at)
    running.pauses ??= new Pauses()
    running.pauses.begin(at)
    if (this.place >= 0) this.#routes.timers.remove(this)
    let over = false
    return () => {
      if (over || running.pauses?.isOpen !== true) return
      over = true
      const at = this.#routes.balancer.now()
      running.pauses.end(at, 1)
      this.#goOn(at, 1)
    }
  }

  // With an attempt its pauses are over.
  #unpause({ pauses }: Running<A, E>): void {
    if (pauses?.isOpen !== true) return
    const at = this.#routes.balancer.now()
    this.#goOn(at, pauses.endAll(at))
  }

  // So many pauses are over: with the last one the time goes on.
  #goOn(at: number, pauses: number): void {
    const lasted = this.#pauses?.end(at, pauses)
    if (lasted === undefined) return
    this.#deadline += lasted
    if (this.#end === undefined) this.#waitUntil(this.#wakesAt + lasted)
  }

  // Time for which it waited for its client, ms.
  #paused(at: number): number {
    return this.#pauses?.total(at) ?? 0
  }

  // An attempt has ended; whether another is to follow at once.
  #ended(running: Running<A, E>, exit: Exit.Exit<A, AttemptFailure<E>>): boolean {
    this.#unpause(running)
    this.#running = this.#running.length < 2 ? none : this.#running.filter((other) => other !== running)
    if (running.dropped === undefined && !(this.#expired && Exit.isFailure(exit))) return this.#settle(running, exit)
    const at = this.#routes.balancer.now()
    if (running.dropped !== undefined) running.end(this.#routes, running.dropped, at)
    else running.end(this.#routes, blame(running), at, noAnswer)
    return false
  }

  // Ends the call, or answers whether it is tried again at once, or sets when.
  #settle(running: Running<A, E>, exit: Exit.Exit<A, AttemptFailure<E>>): boolean {
    const at = this.#routes.balancer.now()
    if (Exit.isSuccess(exit)) {
      running.end(this.#routes, "success", at)
      if (running.hedge) this.#routes.report.hedgeWon(running.node.instance.service)
      const latency = at - this.#started - this.#paused(at)
      const routing = running.routing(this.#routes, latency, this.#attempts, this.#hedges, this.#queued, this.#failed)
      this.#finish("success", Exit.succeed({ value: exit.value, routing }), at)
      return false
    }
    const found = failureOf(exit)
    if (Result.isFailure(found)) {
      // No news of the instance.
      running.end(this.#routes, "ignored", at)
      this.#finish("failure", Effect.failCause(found.failure), at)
      return false
    }
    const failure = found.success
    const outcome = failure.blame === "instance" ? "failure" : "ignored"
    running.end(this.#routes, outcome, at, failure.reason, failure.retryAfter)
    this.#failed.push({ instance: running.node.instance.id, phase: failure.phase, reason: failure.reason })
    if (failure.phase !== "notSent") this.#mayHaveRun = true
    // Of an attempt and its hedge the first failure counts, unless the request is at fault.
    if (!this.#halved || failure.blame === "caller") this.#failure = failure
    this.#halved = this.#running.length > 0
    return this.#again(failure, at)
  }

  #again(failure: AttemptFailure<E>, at: number): boolean {
    const final = unrepeatable(failure, this.#request, this.#committed)
    if (final !== undefined) return this.#stop(final, at)
    // The other one may still answer.
    if (this.#halved) return false
    if (this.#attempts >= this.#most) {
      return this.#stop(this.#most === 1 ? "1 attempt made" : `${this.#most} attempts made`, at)
    }
    if (at >= this.#deadline) return this.#stop("the deadline passed", at)
    const { random, report } = this.#routes
    const { backoff, limits, retryBudget } = this.#settings
    const pause = this.#choice.hasOther(this.#choice.view())
      ? elsewhere(failure, this.#attempts, backoff, random)
      : here(failure, this.#attempts, backoff, limits.wait, random)
    if (pause === undefined) return this.#stop(this.#alone(), at)
    if (typeof pause === "string") return this.#stop(pause, at)
    if (at + pause >= this.#deadline) return this.#stop("no time is left for another attempt", at)
    const service = this.#choice.first!.instance.service
    const allowed = this.#service!.retries.withdraw(retryBudget.reserve, at)
    report.retried(service, allowed)
    if (!allowed) return this.#stop(`the retry budget of ${service} is spent`, at)
    if (pause === 0) return true
    // After a pause any will do.
    this.#choice.again = true
    this.#waitUntil(at + pause)
    return false
  }

  #alone(): string {
    return this.#request.affinity?.strict === true ? "it is bound to this instance" : "no other instance"
  }

  // Nobody takes it now.
  #nobody(view: View, at: number): void {
    if (this.#choice.isFull(view)) return this.#enqueue(view, at)
    if (this.#failure !== undefined) return void this.#stop(this.#alone(), at)
    const error = noInstance(this.#candidates, view, this.#request, this.#routes)
    if (error._tag !== "NoInstance" || error.kind !== "overloaded") {
      return this.#finish("unavailable", Effect.fail(error), at)
    }
    // All asked to be left alone. That isn't waited for where it takes too long.
    const wait = error.retryAfter ?? 0
    if (wait <= this.#settings.limits.wait && at + wait < this.#deadline) return this.#enqueue(view, at)
    this.#finish("shed", Effect.fail(error), at)
  }

  #enqueue(view: View, at: number): void {
    this.#kind = this.#attempts === 0 && this.#request.affinity === undefined ? view : this
    this.#enqueued = at
    const entered = this.#routes.admission.enqueue(this)
    if (typeof entered !== "function") return this.shed(entered.reason, entered.retryAfter)
    if (this.#end !== undefined) return
    const granted = this.#running[0]
    if (granted === undefined) {
      this.#leave = entered
      return this.#waitUntil(Infinity)
    }
    // There was room after all.
    if (this.#start(granted)) this.#next(this.#routes.balancer.now())
  }

  // What follows is for the queue.
  #kind: unknown

  /** Calls without attempts and bonds that see the same instances can go where one of them can. */
  get kind(): unknown {
    return this.#kind
  }

  get caller(): string {
    const caller = this.#request.caller
    return caller?.principal ?? caller?.tenant ?? ""
  }

  get services(): ReadonlyArray<string> {
    return this.#choice.services
  }

  go(): boolean {
    if (this.#end !== undefined) return true
    const at = this.#routes.balancer.now()
    const view = this.#choice.view()
    const picked = this.#choice.next(view, at)
    if (picked === undefined) {
      if (this.#choice.isFull(view) || this.#choice.isLeftAlone(view)) return false
      this.#left(false, at)
      this.#nobody(view, at)
      return true
    }
    const running = this.#begin(view, picked, at, false)
    if (this.#leave === undefined) return true
    this.#left(false, at)
    const start = Effect.sync(() => {
      if (running.dropped !== undefined) return
      if (this.#start(running)) this.#next(this.#routes.balancer.now())
    })
    this.#routes.fork(Effect.andThen(Effect.yieldNow, start))
    return true
  }

  shed(reason: string, retryAfter: number): void {
    const at = this.#routes.balancer.now()
    this.#left(true, at)
    if (this.#failure !== undefined) return void this.#stop(reason, at)
    const requested = nameOf(this.#request)
    this.#finish("shed", Effect.fail(new NoInstance({ requested, kind: "overloaded", reason, retryAfter })), at)
  }

  #left(shed: boolean, at: number): void {
    this.#leave?.()
    this.#leave = undefined
    const waited = at - this.#enqueued
    this.#queued += waited
    const [service] = this.services
    if (service !== undefined) this.#routes.report.queued(service, waited, shed)
  }

  // Until it is woken by something else, or the deadline.
  #waitUntil(at: number): void {
    this.#wakesAt = at
    if (this.#pauses?.isOpen === true) return
    const due = Math.min(at, this.#deadline)
    if (this.place < 0 || due < this.due) this.#routes.timers.set(this, due)
  }

  /** Of its timer. */
  fire(now: number): void {
    if (this.#end !== undefined) return
    if (now >= this.#deadline) return this.#expire(now)
    if (now >= this.#wakesAt) {
      this.#wakesAt = Infinity
      if (this.#running.length === 0) this.#next(now)
      else this.#hedge(now)
    }
    if (this.#end === undefined && this.place < 0) this.#waitUntil(this.#wakesAt)
  }

  // It takes longer than most: a second attempt elsewhere, if there is one.
  #hedge(at: number): void {
    if (this.#committed || this.#attempts >= this.#most || this.#service === undefined) return
    const { admission, report } = this.#routes
    if (admission.mustWait(this.services)) return
    const { budget } = this.#service.hedging
    const service = this.#choice.first!.instance.service
    if (!budget.withdraw(0, at)) return report.hedged(service, false)
    const view = this.#choice.view()
    const picked = this.#choice.beside(view, at)
    if (picked === undefined) return budget.refund(at)
    report.hedged(service, true)
    this.#hedges++
    if (this.#start(this.#begin(view, picked, at, true))) this.#next(at)
  }

  #expire(now: number): void {
    this.#expired = true
    for (const running of this.#running) {
      if (running.sent) this.#mayHaveRun = true
      running.fiber?.interruptUnsafe()
    }
    // It answered at the last moment.
    if (this.#end !== undefined) return
    // Those that don't let themselves be interrupted just now. The caller's deadline holds all the same.
    for (const running of this.#running) {
      if (!running.started || running.dropped !== undefined) continue
      running.tell(this.#routes, blame(running), now, noAnswer)
      running.dropped = blame(running)
    }
    const timeout = Math.round(this.#deadline - this.#started - this.#paused(now))
    const node = this.#choice.last
    // Only the queue keeps a call that was never tried.
    if (node === undefined) {
      return this.shed(`no room within ${timeout} ms`, this.#routes.admission.retryAfter(this.services))
    }
    const requested = nameOf(this.#request)
    const phase = this.#mayHaveRun ? "mayHaveRun" : "notSent"
    const error = new DeadlineExceeded({ requested, timeout, phase, instance: node.instance.id })
    this.#finish("failure", Effect.fail(error), now)
  }

  #stop(stopped: string, at: number): false {
    const failure = this.#failure!
    const error = new CallFailed(nameOf(this.#request), failure, this.#failed, stopped)
    this.#finish(failure.blame === "caller" ? "caller" : "failure", Effect.fail(error), at)
    return false
  }

  #finish(outcome: CallOutcome, end: Effect.Effect<Routed<A>, RouteError<E>>, at: number): void {
    this.#end = end
    if (this.place >= 0) this.#routes.timers.remove(this)
    if (this.#leave !== undefined) this.#left(outcome === "shed", at)
    const service = this.#choice.last?.instance.service ?? this.services[0]
    const paused = this.#paused(at)
    this.#routes.report.ended(this.#request, service, outcome, at - this.#started - paused)
    // How long the first attempt took, or would have taken at least. One that failed, or was given up, says nothing.
    if (this.#hedgeable && this.#failed.length === 0 && outcome !== "interrupted") {
      this.#service?.hedging.record(at - this.#began - paused, at)
    }
    const losers = this.#running
    this.#running = none
    for (const loser of losers) this.#drop(loser, "ignored")
    this.#resume?.(end)
  }

  #drop(running: Running<A, E>, outcome: "failure" | "ignored"): void {
    running.dropped ??= outcome
    this.#unpause(running)
    if (!running.started) return running.end(this.#routes, outcome, this.#routes.balancer.now())
    const { fiber } = running
    // It has none while it begins: then this comes again.
    if (fiber === undefined) return
    fiber.interruptUnsafe()
    if (fiber.pollUnsafe() === undefined) Fiber.runIn(fiber, this.#routes.scope)
  }
}

const none: ReadonlyArray<never> = []
const noAnswer = "no answer in time"

// A hedge that is late had less time than it needs to be blamed.
const blame = ({ hedge }: { readonly hedge: boolean }): "failure" | "ignored" => hedge ? "ignored" : "failure"

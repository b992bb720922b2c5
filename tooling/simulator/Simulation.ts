import * as Balancer from "@portolan/core/Balancer"
import * as Discovery from "@portolan/core/Discovery"
import * as Health from "@portolan/core/Health"
import * as Router from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Scheduler from "effect/Scheduler"
import * as Scope from "effect/Scope"
import * as Catalog from "./Catalog.ts"
import { Server } from "./Server.ts"
import { exponential, logNormal, random, uniform, VirtualTime } from "./VirtualTime.ts"

/** What the servers of all scenarios are like, unless a scenario says otherwise. */
export const usual = {
  servers: 10,
  /** Calls that a server runs at a time. */
  slots: 4,
  /** Median time of a call, ms, and the sigma of its logarithm: one in a hundred takes three times the median. */
  median: 20,
  sigma: 0.5,
  /** Calls a second. */
  rate: 500,
  /** Callers, each of which is as likely to make the next call. */
  callers: 200,
  /** Share of the calls that may be repeated; the others say nothing of themselves. */
  repeatable: 0.5,
  /** ms until the gateway hears what a registry was told. */
  discovery: 100,
  /** ms that a call may take. */
  timeout: 10_000
}

/** Calls a second that one of the usual servers can do. */
export const capacity = usual.slots / (usual.median * Math.exp(usual.sigma ** 2 / 2)) * 1_000

/** What a scenario may do to its fleet. */
export interface World {
  readonly time: VirtualTime
  readonly servers: ReadonlyMap<string, Server>
  readonly health: Health.Health["Service"]
  readonly balancer: Balancer.Balancer["Service"]
  /** Starts a server and announces it. */
  readonly join: (id: string) => Server
  /** Tells the registry of a server; the gateway hears it a little later. */
  readonly announce: (id: string, status?: "up" | "draining") => void
  readonly withdraw: (id: string) => void
  /** Marks an instance as an operator does. */
  readonly mark: (id: string, status: "up" | "draining") => void
}

export interface Scenario {
  readonly name: string
  readonly title: string
  /** What happens, in a paragraph of Markdown. */
  readonly about: string
  /** ms in which calls come. */
  readonly duration: number
  /** Calls a second; or so many callers, each of which makes its next call when the one before has ended. */
  readonly load?: { readonly rate: number } | { readonly closed: number } | undefined
  readonly servers?: number | undefined
  /** Share of calls that may be repeated. */
  readonly repeatable?: number | undefined
  /** Instances whose share of the attempts is told, and what they are called. */
  readonly special?: { readonly ids: ReadonlyArray<string>; readonly called: string } | undefined
  /** ms from which on the share is told. */
  readonly shareFrom?: number | undefined
  /** Whether the time in the queue is told. */
  readonly queues?: boolean | undefined
  /** What its chart shows over time. */
  readonly series: Series
  /** Seconds at which something happens. */
  readonly marks?: ReadonlyArray<number> | undefined
  readonly routing?: Router.RouterOptions | undefined
  readonly health?: Health.HealthOptions | undefined
  readonly play?: ((world: World) => void) | undefined
}

/** What a chart can show over time: the share of the special instances, or so many a second. */
export type Series = "share" | "failed" | "retries" | "succeeded"

/** What happened in one second. */
interface Second {
  calls: number
  succeeded: number
  failed: number
  attempts: number
  retries: number
  /** Attempts at the special instances. */
  special: number
}

/** What became of the calls of a scenario with one strategy. */
export interface Outcome {
  readonly strategy: Balancer.StrategyName
  readonly calls: number
  readonly succeeded: number
  /** Calls that failed, by why. */
  readonly failures: ReadonlyMap<string, number>
  /** ms of the calls that succeeded, in order. */
  readonly latencies: Float64Array
  /** ms in the queue of the calls that were let through or shed, in order. */
  readonly waits: Float64Array
  readonly attempts: number
  /** Attempts after the first of their call, hedges among them. */
  readonly retries: number
  /** Calls that ran more than once though they may not be repeated. */
  readonly repeated: number
  readonly seconds: ReadonlyArray<Readonly<Second>>
  /** Share of the attempts at the special instances. */
  readonly share: number
  /** Calls a second that succeeded. */
  readonly goodput: number
}

const instance = (id: string, status: "up" | "draining" = "up") =>
  ServiceInstance.make({
    id,
    service: "weather",
    endpoint: { transport: "streamable-http", url: `http://${id}.test/mcp` },
    status
  })

export const idOf = (index: number): string => `server-${index}`

/** Plays a scenario with a strategy. */
export const play = (scenario: Scenario, strategy: Balancer.StrategyName, seed: string): Outcome => {
  const time = new VirtualTime()
  const references = Context.make(Clock.Clock, time.clock).pipe(
    Context.add(Scheduler.Scheduler, time.scheduler),
    Context.add(Random.Random, random(`${seed} core`))
  )
  const runNow = <A>(effect: Effect.Effect<A>): A => {
    const fiber = Effect.runForkWith(references)(effect)
    time.settle()
    const exit = fiber.pollUnsafe()
    if (exit === undefined) throw new Error("it waits for something that isn't there")
    if (Exit.isFailure(exit)) throw new Error("it failed", { cause: exit.cause })
    return exit.value
  }
  const scope = Scope.makeUnsafe()
  const announcements = runNow(Catalog.make)
  const services = runNow(Layer.buildWithScope(
    Router.layer({ timeout: usual.timeout, ...scenario.routing }).pipe(
      Layer.provideMerge(Health.layer(scenario.health)),
      Layer.provideMerge(Balancer.layer({ strategy })),
      Layer.provideMerge(Layer.succeed(Discovery.Discovery, announcements.discovery))
    ),
    scope
  ))
  const router = Context.get(services, Router.Router)
  const health = Context.get(services, Health.Health)
  const balancer = Context.get(services, Balancer.Balancer)
  const fork = Effect.runForkWith(references)

  const servers = new Map<string, Server>()
  const announce = (id: string, status?: "up" | "draining") =>
    void time.after(usual.discovery, () => announcements.announce(instance(id, status)))
  const join = (id: string): Server => {
    const server = new Server(id, usual.slots, time)
    servers.set(id, server)
    announce(id)
    return server
  }
  const world: World = {
    time,
    servers,
    health,
    balancer,
    join,
    announce,
    withdraw: (id) => void time.after(usual.discovery, () => announcements.withdraw(id)),
    mark: (id, status) =>
      void fork(health.override(Catalog.keyOf(id), status === "up" ? undefined : status, "by an operator"))
  }
  for (let index = 0; index < (scenario.servers ?? usual.servers); index++) join(idOf(index))
  // A ping, as the gateway sends one.
  runNow(Scope.provide(
    health.addCheck(({ id }) =>
      Effect.callback<Health.CheckResult>((resume) => {
        servers.get(id)?.ping((alive) =>
          resume(
            Effect.succeed(alive ? { _tag: "Pass" } : { _tag: "Fail", reason: "connection refused", fatal: false })
          )
        )
      })
    ),
    scope
  ))

  const arrivals = uniform(`${seed} arrivals`)
  const retried = uniform(`${seed} retries`)
  const begin = 1_000
  const end = begin + scenario.duration
  const target: Router.Target = { service: "weather" }
  const special = new Set(scenario.special?.ids ?? [])
  const seconds = Array.from(
    { length: Math.ceil(scenario.duration / 1_000) },
    (): Second => ({ calls: 0, succeeded: 0, failed: 0, attempts: 0, retries: 0, special: 0 })
  )
  const count = (what: keyof Second) => {
    const second = seconds[Math.floor((time.now() - begin) / 1_000)]
    if (second !== undefined) second[what]++
  }
  const failures = new Map<string, number>()
  const latencies: Array<number> = []
  const waits: Array<number> = []
  let calls = 0
  let ended = 0
  let attempts = 0
  let retries = 0
  let repeated = 0
  let shareOf = 0
  let shareAll = 0

  const call = (then: () => void) => {
    const caller = `caller-${Math.floor(arrivals() * usual.callers)}`
    const repeatable = arrivals() < (scenario.repeatable ?? usual.repeatable)
    const work = usual.median * logNormal(arrivals, usual.sigma)
    const started = time.now()
    let arrived = 0
    calls++
    count("calls")
    const attempt = (
      { id }: ServiceInstance.ServiceInstance,
      handle: Router.Attempt
    ): Effect.Effect<string, Router.AttemptFailure<string>> =>
      Effect.callback((resume) => {
        attempts++
        count("attempts")
        if (handle.number > 1) {
          retries++
          count("retries")
        }
        if (special.has(id)) count("special")
        if (time.now() - begin >= (scenario.shareFrom ?? 0)) {
          shareAll++
          if (special.has(id)) shareOf++
        }
        const again = handle.number === 1 ? work : usual.median * logNormal(retried, usual.sigma)
        const cancel = servers.get(id)!.call(again, () => {
          if (arrived++ > 0 && !repeatable) repeated++
          handle.sent()
        }, (answer) => {
          switch (answer) {
            case "result":
              return resume(Effect.succeed(id))
            case "error":
              return resume(failed("answered", "internal error"))
            case "refused":
              return resume(failed("notSent", "connection refused"))
            case "lost":
              return resume(failed("mayHaveRun", "connection reset"))
          }
        })
        return Effect.sync(cancel)
      })
    const request = { target, caller: { principal: caller }, repeatable, readOnly: repeatable }
    fork(router.route(request, attempt)).addObserver((exit) => {
      ended++
      if (Exit.isSuccess(exit)) {
        latencies.push(time.now() - started)
        count("succeeded")
        if (scenario.queues === true) waits.push(exit.value.routing.queued)
      } else {
        const why = reasonOf(exit)
        failures.set(why, (failures.get(why) ?? 0) + 1)
        count("failed")
        if (scenario.queues === true && why === "overloaded") waits.push(time.now() - started)
      }
      then()
    })
  }

  const load = scenario.load ?? { rate: usual.rate }
  if ("rate" in load) {
    const next = () => {
      if (time.now() >= end) return
      call(() => {})
      time.after(exponential(arrivals) * 1_000 / load.rate, next)
    }
    time.at(begin, next)
  } else {
    const again = () => {
      if (time.now() < end) time.after(0, () => call(again))
    }
    for (let caller = 0; caller < load.closed; caller++) time.at(begin, () => call(again))
  }
  time.at(begin, () => scenario.play?.(world))
  time.run(end)
  // No call is left without an end.
  time.run(end + usual.timeout + 1_000, () => ended === calls)
  if (ended < calls) failures.set("never ended", calls - ended)
  runNow(Scope.close(scope, Exit.void))

  return {
    strategy,
    calls,
    succeeded: latencies.length,
    failures,
    latencies: Float64Array.from(latencies).sort(),
    waits: Float64Array.from(waits).sort(),
    attempts,
    retries,
    repeated,
    seconds,
    share: shareAll === 0 ? 0 : shareOf / shareAll,
    goodput: seconds.reduce((sum, { succeeded }) => sum + succeeded, 0) / seconds.length
  }
}

const failed = (phase: Router.Phase, reason: string): Effect.Effect<never, Router.AttemptFailure<string>> =>
  Effect.fail({ error: reason, phase, blame: "instance", reason })

const reasonOf = (exit: Exit.Failure<unknown, Router.RouteError<string>>): string => {
  for (const reason of exit.cause.reasons) {
    if (reason._tag !== "Fail") continue
    const error = reason.error
    return error._tag === "NoInstance"
      ? error.kind
      : error._tag === "CallFailed"
      ? `${error.failure.reason}, ${error.stopped}`
      : error._tag
  }
  return "broke"
}

/** A percentile of sorted numbers; nothing where there are none. */
export const percentile = (sorted: Float64Array, share: number): number | undefined =>
  sorted[Math.min(Math.ceil(sorted.length * share), sorted.length) - 1]

import { type Address, Identification, type Identified } from "@portolan/core/Identification"
import * as IpSet from "@portolan/core/IpSet"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Arr from "effect/Array"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Guarded, Progress } from "../Scan.ts"
import { connect } from "./connect.ts"
import * as Listener from "./listener.ts"
import { comparing, type Mistake, type Plan } from "./plan.ts"
import { idOf, instanceOf, urlOf } from "./record.ts"
import type { Target, Targets } from "./targets.ts"

/** Of one answer: what a server says of itself is short, its instructions included. */
const maxBytes = 256 * 1024

/** Servers that are found at most, and those that are told of without having been identified. */
const mostServers = 10_000
const mostGuarded = 1_000

/** Servers that one is compared with at most. */
const mostCompared = 16

/** ms of connections that were not begun in time and are made up for. */
const burst = 50

/** A server that was identified. */
interface Server {
  /** Its place in the order of all that was asked. */
  readonly order: number
  readonly target: Target
  readonly path: string
  readonly address: Address
  readonly identified: Identified
  readonly instance: ServiceInstance
  readonly also: Array<string>
  /** Whether it turned out to be one that was found at another address. */
  isAlso: boolean
}

/**
 * One pass over all targets.
 *
 * @internal
 */
interface Sweep {
  readonly run: Effect.Effect<void, Mistake>
  /** How far it is, and what it has found. */
  readonly progress: () => Progress
}

/**
 * Makes a pass; what it identifies stays so for the life of the scope.
 *
 * @internal
 */
export const make = Effect.fnUntraced(function*(plan: Plan, targets: Targets) {
  const identification = yield* Identification
  const clock = yield* Clock.Clock
  // Connections close side by side: many servers don't take longer than one.
  const scope = yield* Effect.acquireRelease(Scope.make("parallel"), Scope.close)
  const bounds = { timeout: plan.identifyTimeout, maxBytes }

  let asked = 0
  let open = 0
  const servers: Array<Server> = []
  const guarded: Array<Guarded & { readonly order: number }> = []

  // The generic cell rate algorithm (ITU-T I.371): each connection has a time, `1 / rate` after the one before it.
  let next = -Infinity
  const pace = Effect.suspend(() => {
    const now = Number(clock.monotonicTimeNanosUnsafe()) / 1e6
    const due = Math.max(next, now - burst)
    next = due + 1_000 / plan.rate
    return due > now ? Effect.sleep(due - now) : Effect.void
  })

  const identify = Effect.fnUntraced(function*(target: Target, path: string, order: number) {
    for (const { scheme, transport } of plan.ways) {
      const { serverName } = target
      const url = urlOf(scheme, target, path)
      const named = scheme === "https" && serverName !== undefined
      const address: Address = { transport, url, ...(named ? { serverName } : {}) }
      yield* pace
      const held = yield* Scope.fork(scope)
      const answer = yield* Effect.result(Scope.provide(identification.identify(address, bounds), held))
      if (Result.isSuccess(answer)) {
        if (servers.length === mostServers) {
          return yield* Effect.fail<Mistake>({ reason: `more than ${mostServers} servers answer: name fewer networks` })
        }
        const identified = answer.success
        const instance = instanceOf(idOf(target, path), address, identified.identity)
        servers.push({ order, target, path, address, identified, instance, also: [], isAlso: false })
        return
      }
      yield* Scope.close(held, Exit.void)
      if (answer.failure.kind === "protected") {
        const { reason } = answer.failure
        if (guarded.length < mostGuarded) guarded.push({ order, id: idOf(target, path), url, reason })
        return
      }
    }
  })

  const ask = Effect.fnUntraced(function*(target: Target) {
    yield* pace
    if (yield* connect(target, plan.connectTimeout)) {
      open++
      for (const [at, path] of plan.paths.entries()) {
        yield* identify(target, path, target.index * plan.paths.length + at)
      }
    }
    asked++
  })

  const askAll = Effect.gen(function*() {
    // Many who begin at the same time begin at different places.
    const first = targets.total === 0 ? 0 : yield* Random.nextIntBetween(0, targets.total)
    let place = 0
    const worker = Effect.gen(function*() {
      while (place < targets.total) yield* ask(targets.at((first + place++) % targets.total))
    })
    const workers = Array.from({ length: Math.min(plan.concurrency, targets.total) }, () => worker)
    yield* Effect.all(workers, { concurrency: "unbounded", discard: true })
  })

  /** Finds out which of some servers, all with the same name, version and port, are the same one. */
  const compare = Effect.fnUntraced(function*(alike: ReadonlyArray<Server>, own: IpSet.IpSet) {
    const [first, second] = alike.filter(({ target }) => IpSet.has(own, target.host))
    const one = first !== undefined && second !== undefined && (yield* Listener.hasAll(first.target.port))
    /** What that listener serves, by path. */
    const served = new Map<string, Server>()
    const distinct: Array<Server> = []
    for (const server of alike) {
      const isServed = one && IpSet.has(own, server.target.host)
      const same = (isServed ? served.get(server.path) : undefined) ?? (yield* known(distinct, server))
      if (isServed && !served.has(server.path)) served.set(server.path, same ?? server)
      if (same === undefined) distinct.push(server)
      else {
        server.isAlso = true
        same.also.push(server.address.url)
      }
    }
  })

  // Groups are compared side by side, and so are the servers of each.
  const permits = yield* Semaphore.make(plan.concurrency)
  const known = Effect.fnUntraced(function*(distinct: ReadonlyArray<Server>, server: Server) {
    const others = distinct.slice(0, mostCompared)
    const same = yield* Effect.forEach(
      others,
      ({ identified }) => permits.withPermit(Effect.andThen(pace, identified.isAlso(server.address))),
      { concurrency: mostCompared }
    )
    return others.find((_, at) => same[at])
  })

  const compareAll = Effect.suspend(() => {
    const groups = Arr.groupBy(
      inOrder(servers),
      ({ identified: { identity }, target }) => JSON.stringify([target.port, identity.name, identity.version])
    )
    const own = Listener.addresses()
    const all = Effect.forEach(Object.values(groups), (alike) => compare(alike, own), {
      concurrency: plan.concurrency,
      discard: true
    })
    // What isn't proven in time is taken for another.
    return Effect.timeoutOption(all, Duration.times(plan.identifyTimeout, comparing))
  })

  const sweep: Sweep = {
    run: Effect.asVoid(Effect.andThen(askAll, compareAll)),
    progress: () => ({
      asked,
      total: targets.total,
      open,
      found: inOrder(servers).filter(({ isAlso }) => !isAlso)
        .map(({ also, identified: { identity }, instance }) => ({ instance, identity, also: [...also] })),
      guarded: inOrder(guarded).map(({ id, reason, url }) => ({ id, url, reason }))
    })
  }
  return sweep
})

const inOrder = <A extends { readonly order: number }>(some: ReadonlyArray<A>): ReadonlyArray<A> =>
  some.toSorted((left, right) => left.order - right.order)

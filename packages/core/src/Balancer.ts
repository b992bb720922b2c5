/**
 * Chooses one of several candidates.
 *
 * **Mental model**: what is known of an instance (calls in flight, latency) lives in its `Node`, one per instance for the
 * whole process. A strategy is a small synchronous object over a list of nodes. It is told when the list changes, and
 * picks in nanoseconds: no Effect, no allocation, no clock call that isn't needed.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as ConsistentHash from "./balancing/ConsistentHash.ts"
import * as LeastRequests from "./balancing/LeastRequests.ts"
import * as PeakEwma from "./balancing/PeakEwma.ts"
import * as PowerOfTwo from "./balancing/PowerOfTwo.ts"
import * as RandomChoice from "./balancing/RandomChoice.ts"
import * as Ranked from "./balancing/Ranked.ts"
import * as Readiness from "./balancing/Readiness.ts"
import * as RoundRobin from "./balancing/RoundRobin.ts"
import * as WeightedRandom from "./balancing/WeightedRandom.ts"
import * as WeightedRoundRobin from "./balancing/WeightedRoundRobin.ts"
import { CallFigures } from "./CallFigures.ts"
import { type InstanceKey, sourceOf } from "./Catalog.ts"
import { monotonic } from "./internal/monotonic.ts"
import { xorshift } from "./internal/xorshift.ts"
import { endpointKey, type ServiceInstance } from "./ServiceInstance.ts"

/**
 * What the balancer knows of one instance. Mutable; the figures are updated by `Balancer.begin` and `Balancer.end` alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly key: InstanceKey
  /** The registry that announces it. */
  readonly source: string
  /** The newest record of the instance. */
  instance: ServiceInstance
  /** Its weight. Here and not only in the record, so that a pick touches as little memory as it can. */
  weight: number
  /** Attempts that have begun and not ended. */
  inFlight: number
  /** Most attempts at the same time: the record's own, else the one of `Balancer.limit`. */
  maxConcurrency: number
  /** Peak EWMA of the latency in ms (Finagle `PeakEwma`); 0 before the first outcome. */
  latency: number
  /** Monotonic ms of the last update of `latency`, so of the end of the last attempt; 0 before that. */
  latencyAt: number
  /** Attempts begun so far. */
  picks: number
  /** Attempts that ended in a success or in a failure of the instance, and those of them that failed. */
  calls: number
  failures: number
  /** The counters of its service. */
  total: CallFigures
  /** Whether it takes less than its share just now, as it is new or failed lately: pickers often choose another one. */
  easing: boolean
  /** Monotonic ms at which its slow start began; what was under way already says nothing of it. */
  welcomedAt: number
  /** The recent share of failures in millionths, as it was at `failedAt` (monotonic ms); it fades with time. */
  failing: number
  failedAt: number
  /** Whether it was routable when somebody last looked: one that wasn't is welcomed when it is. */
  routable: boolean
}

/**
 * A change of a list of nodes: one came to a place, went from it, or has another weight or record.
 *
 * @category models
 * @since 0.1.0
 */
export type Edit = "inserted" | "removed" | "weighed"

/**
 * A strategy over one list of nodes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Picker {
  /** Remembers the state; what it answers goes back there. So a pick can be tried without having happened. */
  readonly save: () => () => void
  /** Replaces the list. Positions and figures of nodes that stay are kept. */
  readonly update: (nodes: ReadonlyArray<Node>) => void
  /**
   * Tells of one change that was made to the list of the last `update`, in place: cheaper than a new one where that is
   * long.
   */
  readonly edited: (edit: Edit, index: number, node: Node) => void
  /**
   * Picks a node whose cap isn't reached, or `undefined` where there is none. `at` is `Balancer.now()` where the caller
   * has just read it: reading a clock costs more than picking. `key` is what `consistent-hash` hashes. `except` are left
   * out: those that were tried.
   */
  readonly pick: (at?: number, key?: string, except?: ReadonlyArray<Node>) => Node | undefined
  /**
   * Of a strategy that keeps a key at its node: uniform in [0, 1), the same for a key at a node each time. Instead of
   * chance it decides whether a node that takes less than its share takes the key, so that keys don't go back and forth.
   */
  readonly lot?: (node: Node, key: string) => number
}

/**
 * Names of the strategies that exist.
 *
 * @category models
 * @since 0.1.0
 */
export const strategyNames = [
  "capability-match",
  "round-robin",
  "weighted-round-robin",
  "random",
  "weighted-random",
  "least-requests",
  "p2c",
  "peak-ewma",
  "health-weighted",
  "lowest-cost",
  "consistent-hash"
] as const
/**
 * Name of a strategy.
 *
 * @category models
 * @since 0.1.0
 */
export type StrategyName = (typeof strategyNames)[number]

/**
 * What the balancer can't know of a node by itself. Plain; may cost more than a pick, so a strategy keeps what it asked.
 *
 * @category models
 * @since 0.1.0
 */
export interface Knowledge {
  /** Health score, 0 to 1. */
  readonly score: (node: Node) => number
  /** How well its capabilities meet the ones that were asked for, 0 to 1; 0 where none were. */
  readonly match: (node: Node) => number
}

/**
 * Makes a picker. Randomness and clock are handed in, so that a run can be repeated.
 *
 * @category models
 * @since 0.1.0
 */
export type Strategy = (environment: {
  /** Uniform in [0, 1). */
  readonly random: () => number
  /** Monotonic ms. */
  readonly now: () => number
  readonly knowledge: Knowledge
}) => Picker

/**
 * Service that owns the nodes and makes pickers.
 *
 * @category services
 * @since 0.1.0
 */
export class Balancer extends Context.Service<Balancer, {
  /** The clock that the figures of nodes are measured by: monotonic ms with fractions. */
  readonly now: () => number
  /** The default strategy, now. */
  readonly strategy: () => StrategyName
  /** The node of an instance, made when first asked for. With another endpoint it is the same one, of which nothing is known. */
  readonly node: (key: InstanceKey, instance: ServiceInstance) => Node
  /** The nodes that there are: of instances that were candidates once. Plain. */
  readonly nodes: () => Iterable<Node>
  /** Counters by service, as long as it has nodes. Plain. */
  readonly figures: () => ReadonlyMap<string, CallFigures>
  /** Forgets nodes of instances that are gone and have nothing in flight. */
  readonly forget: (key: InstanceKey) => void
  /** Makes a picker; without `knowledge` all scores are 1 and nothing matches better. */
  readonly picker: (strategy: StrategyName, knowledge?: Knowledge) => Picker
  /** A node is new among the routable ones, or well again: its slow start begins, and its latency is unknown. Plain. */
  readonly welcome: (node: Node, at: number) => void
  /** Attempts at one instance at the same time where its record sets none, for all there are. Plain. */
  readonly limit: (perInstance: number) => void
  /** Remembers the state of the randomness; what it answers goes back there. Plain. */
  readonly save: () => () => void
  /** An attempt begins. */
  readonly begin: (node: Node) => void
  /**
   * An attempt ended after `latency` ms, `undefined` where nobody knows how long the instance took (our own loop lagged).
   * A node that fails takes less than its share for a while, so that failing fast attracts nobody. `at`: as in `pick`.
   */
  readonly end: (
    node: Node,
    latency: number | undefined,
    outcome: "success" | "failure" | "ignored",
    at?: number
  ) => void
  /** Replaces the settings; what is known of the nodes stays. */
  readonly reconfigure: (options: BalancerOptions) => Effect.Effect<void>
}>()("@portolan/core/Balancer") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface BalancerOptions {
  /** Where a request names none. Default `peak-ewma`. */
  readonly strategy?: StrategyName | undefined
  /** Time in which a new or recovered instance comes to its full share; 0 for at once. Default 10 s. */
  readonly slowStart?: Duration.Input | undefined
}

const strategies: Readonly<Record<StrategyName, Strategy>> = {
  "capability-match": Ranked.capabilityMatch,
  "round-robin": RoundRobin.make,
  "weighted-round-robin": WeightedRoundRobin.make,
  random: RandomChoice.make,
  "weighted-random": WeightedRandom.make,
  "least-requests": LeastRequests.make,
  p2c: PowerOfTwo.make,
  "peak-ewma": PeakEwma.make,
  "health-weighted": WeightedRandom.healthWeighted,
  "lowest-cost": Ranked.lowestCost,
  "consistent-hash": ConsistentHash.make
}

const ignorance: Knowledge = { score: () => 1, match: () => 0 }

/**
 * `LimitOptions.perInstance` where nothing is said (Envoy's bulkhead).
 *
 * @category constants
 * @since 0.1.0
 */
export const defaultPerInstance = 1_024

// What a node was like before says nothing of it now: it is tried like a new one.
const renew = (node: Node, at: number): void => {
  node.welcomedAt = Math.round(at)
  node.latency = 0
}

const slowStartOf = (options: BalancerOptions): number => Duration.toMillis(options.slowStart ?? "10 seconds")

/**
 * Makes a balancer over the clock and the randomness of the fiber.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: BalancerOptions = {}): Effect.Effect<Balancer["Service"]> =>
  Effect.gen(function*() {
    const now = monotonic(yield* Clock.Clock)
    const random = xorshift(yield* Random.nextInt)
    const nodes = new Map<InstanceKey, Node>()
    const figures = new Map<string, CallFigures>()
    // Names of registries: one text for all of its nodes.
    const sources = new Map<string, string>()
    const sourceNamed = (name: string): string => {
      const known = sources.get(name)
      if (known === undefined) sources.set(name, name)
      return known ?? name
    }
    const members = new Map<CallFigures, number>()
    let settings = options
    // Forgotten while something was in flight: they go with its end.
    const leaving = new Set<InstanceKey>()
    let slowStart = slowStartOf(options)
    let perInstance = defaultPerInstance
    const cap = (instance: ServiceInstance): number => instance.limits?.maxConcurrency ?? perInstance

    const join = (service: string): CallFigures => {
      let total = figures.get(service)
      if (total === undefined) figures.set(service, total = new CallFigures())
      members.set(total, (members.get(total) ?? 0) + 1)
      return total
    }
    const leave = (service: string, total: CallFigures) => {
      const left = (members.get(total) ?? 1) - 1
      if (left > 0) return void members.set(total, left)
      members.delete(total)
      if (figures.get(service) === total) figures.delete(service)
    }
    const drop = (node: Node) => {
      if (nodes.delete(node.key)) leave(node.instance.service, node.total)
    }

    return Balancer.of({
      now,
      strategy: () => settings.strategy ?? "peak-ewma",
      node: (key, instance) => {
        leaving.delete(key)
        const known = nodes.get(key)
        if (known !== undefined) {
          if (known.instance.service !== instance.service) {
            known.total.inFlight -= known.inFlight
            leave(known.instance.service, known.total)
            known.total = join(instance.service)
            known.total.inFlight += known.inFlight
          }
          if (known.instance.endpoint !== instance.endpoint && endpointKey(known.instance) !== endpointKey(instance)) {
            // As for `Health` it is another instance: who routes welcomes it anew.
            renew(known, now())
            known.failing = 0
            known.routable = known.easing = false
          }
          known.instance = instance
          known.weight = instance.weight
          known.maxConcurrency = cap(instance)
          return known
        }
        // First what a pick reads, so that it lies together: with thousands of nodes that is most of its cost.
        const node: Node = {
          weight: instance.weight,
          inFlight: 0,
          easing: false,
          latency: 0,
          latencyAt: 0,
          picks: 0,
          calls: 0,
          failures: 0,
          total: join(instance.service),
          maxConcurrency: cap(instance),
          welcomedAt: Readiness.never,
          failing: 0,
          failedAt: 0,
          routable: false,
          key,
          source: sourceNamed(sourceOf(key)),
          instance
        }
        nodes.set(key, node)
        return node
      },
      nodes: () => nodes.values(),
      figures: () => figures,
      forget: (key) => {
        const node = nodes.get(key)
        if (node === undefined) return
        if (node.inFlight === 0) drop(node)
        else leaving.add(key)
      },
      picker: (strategy, knowledge = ignorance) =>
        Readiness.easing(strategies[strategy]({ random, now, knowledge }), {
          random,
          now,
          slowStart: () => slowStart
        }),
      welcome: (node, at) => {
        renew(node, at)
        if (slowStart > 0) node.easing = true
      },
      limit: (attempts) => {
        if (attempts === perInstance) return
        perInstance = attempts
        for (const node of nodes.values()) node.maxConcurrency = cap(node.instance)
      },
      save: random.save,
      begin: (node) => {
        node.inFlight++
        node.picks++
        node.total.inFlight++
      },
      end: (node, latency, outcome, at) => {
        node.inFlight--
        node.total.inFlight--
        if (outcome !== "ignored") {
          node.calls++
          if (outcome === "failure") node.failures++
          node.total.record(latency, outcome === "failure")
        }
        const ended = at ?? now()
        if (leaving.size > 0 && node.inFlight === 0 && leaving.delete(node.key)) drop(node)
        // It was under way before the node was what it is now.
        if (latency !== undefined && ended - latency < node.welcomedAt - 1) return
        PeakEwma.observe(node, latency, outcome, ended)
        if (outcome === "failure" || (node.easing && outcome === "success")) {
          Readiness.observe(node, outcome === "failure", ended, slowStart)
        }
      },
      reconfigure: (options) =>
        Effect.sync(() => {
          settings = options
          slowStart = slowStartOf(options)
        })
    })
  })

/**
 * Layer that provides the balancer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: BalancerOptions): Layer.Layer<Balancer> => Layer.effect(Balancer, make(options))

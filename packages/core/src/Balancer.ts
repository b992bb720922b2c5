/**
 * Chooses one of several candidates.
 *
 * **Mental model**: what is known of an instance (calls in flight, latency) lives in its `Node`, one per instance for the
 * whole process. A strategy is a small synchronous object over a list of nodes. It is told when the list changes, and
 * picks in nanoseconds: no Effect, no allocation, no clock call that isn't needed.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { InstanceKey } from "./Catalog.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * What the balancer knows of one instance. Mutable, and updated by `Balancer.begin` and `Balancer.end` alone.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node {
  readonly key: InstanceKey
  /** The newest record of the instance. */
  instance: ServiceInstance
  /** Attempts that have begun and not ended. */
  inFlight: number
  /** Most attempts at the same time; `Infinity` where the record sets none. */
  maxConcurrency: number
  /** Peak EWMA of the latency in ms (Finagle `PeakEwma`); 0 before the first outcome. */
  latency: number
  /** `performance.now()` of the last update of `latency`, ms. */
  latencyAt: number
  /** Attempts begun so far. */
  picks: number
}

/**
 * A strategy over one list of nodes.
 *
 * @category models
 * @since 0.1.0
 */
export interface Picker {
  /** Replaces the list. Positions and figures of nodes that stay are kept. */
  readonly update: (nodes: ReadonlyArray<Node>) => void
  /** Picks a node whose cap isn't reached, or `undefined` where there is none. */
  readonly pick: () => Node | undefined
}

/**
 * Names of the strategies that exist.
 *
 * @category models
 * @since 0.1.0
 */
export type StrategyName = "round-robin" | "random" | "least-requests" | "p2c" | "peak-ewma"

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
}) => Picker

/**
 * Service that owns the nodes and makes pickers.
 *
 * @category services
 * @since 0.1.0
 */
export class Balancer extends Context.Service<Balancer, {
  /** The default strategy. */
  readonly strategy: StrategyName
  /** The node of an instance, made when first asked for. */
  readonly node: (key: InstanceKey, instance: ServiceInstance) => Node
  /** Forgets nodes of instances that are gone and have nothing in flight. */
  readonly forget: (key: InstanceKey) => void
  readonly picker: (strategy: StrategyName) => Picker
  /** An attempt begins. */
  readonly begin: (node: Node) => void
  /** An attempt ended after `latency` ms; a failure counts as a slow answer, so that failing fast attracts nobody. */
  readonly end: (node: Node, latency: number, outcome: "success" | "failure" | "ignored") => void
}>()("@portolan/core/Balancer") {}

import type { Node } from "../Balancer.ts"
import type { Health } from "../Health.ts"
import type { RouteRequest } from "../Router.ts"
import { type Candidates, nodeOf, type View } from "./candidates.ts"
import { NoInstance } from "./routeError.ts"

/** @internal */
export interface Pick {
  readonly node: Node
  readonly why: string
  /** A trial call, for which `Health.admit` took a place: its outcome gives it back. */
  readonly trial: boolean
}

/**
 * What a request is called in errors and reports.
 *
 * @internal
 */
export const nameOf = (request: RouteRequest): string =>
  request.name ?? request.target.service ?? request.target.capabilities?.join(", ") ?? "any"

/**
 * Picks a node that hasn't been tried.
 *
 * @internal
 */
export const pick = (
  view: View,
  request: RouteRequest,
  health: Health["Service"],
  tried: ReadonlyArray<Node>,
  at: number
): Pick | undefined => {
  const affinity = request.affinity
  if (affinity !== undefined && tried.length === 0) {
    const bound = nodeOf(view, affinity.instance)
    if (bound !== undefined && bound.inFlight < bound.maxConcurrency) {
      const status = health.status(bound.key)
      // One that drains takes nothing new; what is bound to it isn't new.
      if (status !== "down" && status !== "unhealthy") return { node: bound, why: "bound to it", trial: false }
    }
  }
  if (affinity?.strict === true) return undefined
  for (const group of view.groups) {
    const node = tried.length === 0 ? group.picker.pick(at, hashKeyOf(request)) : another(group, tried)
    if (node !== undefined) return { node, why: group.why, trial: false }
  }
  return undefined
}

const hashKeyOf = (request: RouteRequest): string | undefined =>
  request.hashKey ?? request.caller?.principal ?? request.caller?.tenant

const another = ({ nodes, picker }: View["groups"][number], tried: ReadonlyArray<Node>): Node | undefined => {
  // The strategy's own choice where it soon gives one, else the free one with the least in flight.
  for (let draw = 0; draw < 4; draw++) {
    const node = picker.pick()
    if (node === undefined) return undefined
    if (!tried.includes(node)) return node
  }
  let best: Node | undefined
  for (const node of nodes) {
    if (node.inFlight >= node.maxConcurrency || tried.includes(node)) continue
    if (best === undefined || node.inFlight < best.inFlight) best = node
  }
  return best
}

/**
 * Why nothing could be picked for the first attempt.
 *
 * @internal
 */
export const noInstance = (
  candidates: Candidates,
  view: View,
  request: RouteRequest,
  health: Health["Service"]
): NoInstance => {
  const name = nameOf(request)
  const count = view.visible.length
  if (candidates.problem !== undefined) {
    return new NoInstance({ requested: name, kind: "unknown", reason: candidates.problem })
  }
  if (count === 0) return new NoInstance({ requested: name, kind: "unknown", reason: "nobody announces it" })
  const affinity = request.affinity
  if (affinity?.strict === true) {
    const bound = nodeOf(view, affinity.instance)
    if (bound === undefined) {
      return new NoInstance({ requested: name, kind: "unavailable", reason: "the instance it is bound to is gone" })
    }
    const status = health.status(bound.key)
    return status === "down" || status === "unhealthy"
      ? new NoInstance({
        requested: name,
        kind: "unavailable",
        reason: `${bound.instance.id}, to which it is bound, is ${status}`
      })
      : new NoInstance({
        requested: name,
        kind: "overloaded",
        reason: `${bound.instance.id}, to which it is bound, has ${bound.inFlight} calls in flight, its limit`
      })
  }
  if (view.groups.length > 0) {
    return new NoInstance({
      requested: name,
      kind: "overloaded",
      reason: count === 1
        ? "its only instance is at its limit"
        : `all ${view.routable} routable instances are at their limit`
    })
  }
  const states = new Map<string, number>()
  for (const { node } of view.visible) {
    const state = node.weight > 0 ? health.status(node.key) : "of weight 0"
    states.set(state, (states.get(state) ?? 0) + 1)
  }
  const listed = Array.from(states, ([state, times]) => `${times} ${state}`).join(", ")
  return new NoInstance({ requested: name, kind: "unavailable", reason: `no instance takes calls (${listed})` })
}

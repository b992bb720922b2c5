import type { Balancer, Node } from "../../Balancer.ts"
import { isFree } from "../../balancing/Nodes.ts"
import type { Circuit, Health } from "../../Health.ts"
import type { RouteRequest } from "../../Router.ts"
import type { Candidates } from "./candidates.ts"
import { NoInstance, SessionLost } from "./routeError.ts"
import type { View } from "./view.ts"

/** @internal */
export interface Pick {
  readonly node: Node
  readonly why: string
  /** A trial call, for which `Health.admit` took a place: its outcome gives it back. */
  readonly trial: boolean
}

/**
 * Who is asked while picking. What `admit` takes is the only thing that a rehearsal has to do without.
 *
 * @internal
 */
export interface Advisers {
  readonly health: {
    readonly admit: Health["Service"]["admit"]
    readonly circuit: Health["Service"]["circuit"]
    readonly status: Health["Service"]["status"]
  }
}

// Ejected nodes that one pick looks at, however many there are: the next pick looks at the next ones.
const looks = 4
// How long a half-open circuit waits for calls that may be repeated before it takes any, ms.
const patience = 1_000

/**
 * What a request is called in errors and reports.
 *
 * @internal
 */
export const nameOf = (request: RouteRequest): string =>
  request.name ?? request.target.service ?? request.target.capabilities?.join(", ") ?? "any"

/**
 * Picks a node that hasn't been tried. `trials`: whether it may be a trial call, whose outcome will be recorded.
 *
 * @internal
 */
export const pick = (
  view: View,
  request: RouteRequest,
  advisers: Advisers,
  tried: ReadonlyArray<Node>,
  at: number,
  trials = tried.length === 0
): Pick | undefined => {
  const affinity = request.affinity
  const bound = affinity === undefined ? undefined : view.nodeOf(affinity.instance)
  if (bound !== undefined && !tried.includes(bound)) {
    const picked = boundTo(bound, request, advisers.health, at, trials)
    if (picked !== undefined) return picked
    // It lives: what is bound to it waits until it has room.
    if (tried.length === 0 && takesBound(bound, request, advisers.health)) return undefined
  }
  if (affinity?.strict === true) return undefined
  if (at >= view.due && trials) {
    const node = dueOne(view, request, advisers.health, at)
    if (node !== undefined) return { node, why: trialCall, trial: true }
  }
  const key = hashKeyOf(request)
  const except = tried.length === 0 ? undefined : tried
  for (const group of view.groups) {
    const node = group.picker.pick(at, key, except)
    if (node !== undefined) return { node, why: group.why, trial: false }
  }
  return undefined
}

const trialCall = "a trial call of one that was ejected"

const hashKeyOf = (request: RouteRequest): string | undefined =>
  request.hashKey ?? request.caller?.principal ?? request.caller?.tenant

/**
 * Whether it takes what is bound to it. One that drains takes nothing new; that isn't new. An ejection keeps away who can go
 * elsewhere: what can't is in panic.
 */
const takesBound = (node: Node, { affinity }: RouteRequest, health: Omit<Advisers["health"], "admit">): boolean => {
  const status = health.status(node.key)
  if (status !== "unhealthy") return status !== "down"
  return affinity?.strict === true && health.circuit(node.key)?.cause !== "pushback"
}

/**
 * Whether all that could take the request asked to be left alone.
 *
 * @internal
 */
export const isLeftAlone = (view: View, { affinity }: RouteRequest, health: Advisers["health"]): boolean => {
  if (affinity?.strict !== true) return view.groups.length === 0 && view.ejected.length > 0
  const bound = view.nodeOf(affinity.instance)
  return bound !== undefined && health.status(bound.key) === "unhealthy" &&
    health.circuit(bound.key)?.cause === "pushback"
}

const boundTo = (
  node: Node,
  request: RouteRequest,
  health: Advisers["health"],
  at: number,
  trials: boolean
): Pick | undefined => {
  if (!isFree(node)) return undefined
  const unhealthy = health.status(node.key) === "unhealthy"
  if (unhealthy && trials && isDue(health.circuit(node.key), request, at) && health.admit(node.key, at)) {
    return { node, why: `bound to it, ${trialCall}`, trial: true }
  }
  if (!takesBound(node, request, health)) return undefined
  return { node, why: unhealthy ? "bound to it, ejected or not" : "bound to it", trial: false }
}

/** Whether its circuit takes a call like this as a trial, if it has a place. One that must not run twice isn't risked early. */
const isDue = (circuit: Circuit | undefined, request: RouteRequest, at: number): boolean => {
  if (circuit === undefined || circuit.state === "closed" || at < circuit.until) return false
  // One that asked for time said itself when it is over.
  if (request.repeatable || circuit.cause === "pushback") return true
  return circuit.state === "open"
    ? at - circuit.until >= circuit.until - circuit.since
    : at - circuit.since >= patience
}

// Nodes whose time has come, in turns. What is known of the times is corrected on the way: a circuit may have been opened
// anew since.
const dueOne = (view: View, request: RouteRequest, health: Advisers["health"], at: number): Node | undefined => {
  const { ejected } = view
  for (let look = Math.min(looks, ejected.length); look > 0; look--) {
    const node = ejected[view.next]!
    const circuit = health.circuit(node.key)
    const due = isDue(circuit, request, at)
    const admitted = due && isFree(node) && health.admit(node.key, at)
    // Who has no place just now isn't asked again at once.
    if (circuit !== undefined) view.dueNext = Math.min(view.dueNext, due && !admitted ? at + 1 : circuit.until)
    if (++view.next === ejected.length) {
      view.due = view.dueNext
      view.next = 0
      view.dueNext = Infinity
    }
    if (admitted) return node
    if (at < view.due) return undefined
  }
  return undefined
}

/**
 * Whether nothing could be picked for want of room alone.
 *
 * @internal
 */
export const isFull = (view: View, request: RouteRequest, health: Advisers["health"]): boolean => {
  const { affinity } = request
  const bound = affinity === undefined ? undefined : view.nodeOf(affinity.instance)
  if (bound !== undefined && takesBound(bound, request, health)) return true
  return affinity?.strict !== true && view.groups.length > 0
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
  { balancer: { now }, health }: {
    readonly balancer: { readonly now: Balancer["Service"]["now"] }
    readonly health: Omit<Advisers["health"], "admit">
  }
): NoInstance | SessionLost => {
  const requested = nameOf(request)
  const count = view.visible.length
  if (candidates.problem !== undefined) {
    return new NoInstance({ requested, kind: "unknown", reason: candidates.problem })
  }
  const affinity = request.affinity
  const bound = affinity === undefined ? undefined : view.nodeOf(affinity.instance)
  if (bound !== undefined && takesBound(bound, request, health)) {
    return new NoInstance({
      requested,
      kind: "overloaded",
      reason: `${bound.instance.id}, to which it is bound, has ${bound.inFlight} calls in flight, its limit`
    })
  }
  if (affinity?.strict === true) {
    const instance = bound?.instance.id ?? affinity.instance.slice(affinity.instance.indexOf("\u0000") + 1)
    if (bound === undefined) {
      return new SessionLost({ requested, instance, reason: `${instance}, to which it is bound, is gone` })
    }
    const status = health.status(bound.key)
    if (status === "unhealthy") {
      const until = health.circuit(bound.key)?.until ?? 0
      const reason = `${instance}, to which it is bound, asks to be left alone`
      return new NoInstance({ requested, kind: "overloaded", reason, retryAfter: Math.max(until - now(), 0) })
    }
    return new SessionLost({ requested, instance, reason: `${instance}, to which it is bound, is ${status}` })
  }
  if (count === 0) return new NoInstance({ requested, kind: "unknown", reason: "nobody announces it" })
  if (view.groups.length > 0) {
    return new NoInstance({
      requested,
      kind: "overloaded",
      reason: count === 1
        ? "its only instance is at its limit"
        : `all ${view.routable} routable instances are at their limit`
    })
  }
  const states = new Map<string, number>()
  let until = Infinity
  for (const { node } of view.visible) {
    const state = node.weight > 0 ? health.status(node.key) : "of weight 0"
    states.set(state, (states.get(state) ?? 0) + 1)
    if (state === "unhealthy") until = Math.min(until, health.circuit(node.key)?.until ?? Infinity)
  }
  const listed = Array.from(states, ([state, times]) => `${times} ${state}`).join(", ")
  // Those that are merely unhealthy get calls in panic, so all that are left asked to be left alone.
  if (until < Infinity) {
    return new NoInstance({
      requested,
      kind: "overloaded",
      reason: `its instances ask to be left alone (${listed})`,
      retryAfter: Math.max(until - now(), 0)
    })
  }
  return new NoInstance({ requested, kind: "unavailable", reason: `no instance takes calls (${listed})` })
}

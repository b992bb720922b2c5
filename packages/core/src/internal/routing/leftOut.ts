import type { Node } from "../../Balancer.ts"
import { isFree } from "../../balancing/Nodes.ts"
import type { RouteRequest } from "../../Router.ts"
import type { CompiledRule } from "../../RoutingRule.ts"
import { describeCircuit } from "../health/circuit.ts"
import type { Pick } from "./pick.ts"
import type { Routes } from "./routes.ts"
import type { View } from "./view.ts"

/**
 * A status and why.
 *
 * @internal
 */
export const withReason = (status: string, reason: string): string =>
  reason === "" ? status : reason.includes(status) ? reason : `${status}: ${reason}`

/**
 * Why a node that matches isn't among those that the strategy chose from; nothing where it is.
 *
 * @internal
 */
export const leftOut = (
  view: View,
  request: RouteRequest,
  rule: CompiledRule | undefined,
  picked: Pick | undefined,
  { balancer, health }: Routes
): (node: Node) => string | undefined => {
  const groups = new Map(view.groups.flatMap(({ nodes }, index) => nodes.map((node) => [node, index] as const)))
  const speakers = new Map<string, Node>()
  const endpoints = new Map(view.visible.map(({ endpoint, node }) => [node, endpoint]))
  for (const { endpoint, node } of view.visible) if (groups.has(node)) speakers.set(endpoint, node)
  // The group that the strategy chose from: that of a trial call or of one that is bound has had no say.
  const chosen = (picked === undefined ? undefined : groups.get(picked.node)) ??
    Math.max(view.groups.findIndex(({ nodes }) => nodes.some(isFree)), 0)
  const first = view.groups[chosen]?.nodes ?? []
  const { affinity } = request

  const unroutable = (node: Node): string => {
    if (node.weight <= 0) return "weight 0"
    const { reason, status } = health.get(node.key)
    const circuit = health.circuit(node.key)
    if (status === "unhealthy" && circuit !== undefined && circuit.state !== "closed") {
      const now = balancer.now()
      return describeCircuit(circuit, now, health.admits(node.key, now))
    }
    if (status === "unhealthy" || status === "draining" || status === "down") {
      return withReason(status, reason)
    }
    const speaker = speakers.get(endpoints.get(node) ?? "")
    return speaker === undefined ? status : `the same endpoint as ${speaker.instance.id}`
  }

  // What makes it less welcome than the first of the group that was chosen from.
  const lesser = (node: Node, best: Node): string => {
    const [own, others] = [health.get(node.key), health.get(best.key)]
    if (own.status !== "healthy" && others.status === "healthy") {
      return `${withReason(own.status, own.reason)} (${first.length} healthy)`
    }
    if (rule !== undefined && rule.rank(node.instance, own.score) !== rule.rank(best.instance, others.score)) {
      return rule.minimum !== undefined && own.score < rule.minimum && others.score >= rule.minimum
        ? `score ${own.score.toFixed(2)}, below ${rule.minimum}`
        : `${node.instance.region === undefined ? "no region" : "other region"} (${first.length} ${
          others.status === "healthy" ? "healthy" : "routable"
        } in ${best.instance.region ?? "none"})`
    }
    return `priority ${node.instance.priority}, after ${best.instance.priority}`
  }

  return (node) => {
    const group = groups.get(node)
    if (group === undefined) return unroutable(node)
    if (!isFree(node)) return `at its limit: ${node.inFlight} in flight`
    if (picked === undefined && affinity?.strict === true) {
      return `the request is bound to ${affinity.instance.slice(affinity.instance.indexOf("\u0000") + 1)}`
    }
    const best = first[0]
    return group <= chosen || best === undefined ? undefined : lesser(node, best)
  }
}

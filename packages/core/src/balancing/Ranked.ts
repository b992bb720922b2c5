/**
 * The best by a rank that is the node's own, and the next best once those are full.
 *
 * @since 0.1.0
 */
import type { Node, Picker, Strategy } from "../Balancer.ts"
import * as LeastRequests from "./LeastRequests.ts"

/** Lower ranks first; among equals the fewest attempts in flight. */
const ranked = (rankOf: (node: Node) => number, equals: () => Picker): Picker => {
  let ranks: ReadonlyArray<Picker> = []
  let known = new Map<number, Picker>()
  return {
    save: () => {
      const restores = ranks.map((picker) => picker.save())
      return () => restores.forEach((restore) => restore())
    },
    update: (nodes) => {
      const kept = new Map<number, Picker>()
      const groups = Map.groupBy(nodes, rankOf)
      ranks = Array.from(groups.keys()).sort((left, right) => left - right).map((rank) => {
        const picker = known.get(rank) ?? equals()
        picker.update(groups.get(rank)!)
        kept.set(rank, picker)
        return picker
      })
      known = kept
    },
    pick: (at, key, except) => {
      for (let index = 0; index < ranks.length; index++) {
        const node = ranks[index]!.pick(at, key, except)
        if (node !== undefined) return node
      }
      return undefined
    }
  }
}

/**
 * Strategy `lowest-cost`: the lowest `cost.perCall`. Who names none comes last: it may cost anything.
 *
 * @category strategies
 * @since 0.1.0
 */
export const lowestCost: Strategy = (environment) =>
  ranked((node) => node.instance.cost?.perCall ?? Number.MAX_VALUE, () => LeastRequests.make(environment))

/**
 * Strategy `capability-match`: the one whose capabilities meet what was asked for most closely, so that specialists take
 * the work before those that can do everything.
 *
 * @category strategies
 * @since 0.1.0
 */
export const capabilityMatch: Strategy = (environment) =>
  ranked((node) => -environment.knowledge.match(node), () => LeastRequests.make(environment))

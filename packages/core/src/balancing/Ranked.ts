/**
 * The best by a rank that is the node's own, and the next best once those are full.
 *
 * @since 0.1.0
 */
import type { Node, Picker, Strategy } from "../Balancer.ts"
import * as LeastRequests from "./LeastRequests.ts"

interface Rank {
  readonly rank: number
  readonly nodes: Array<Node>
  readonly picker: Picker
}

/** Lower ranks first; among equals the fewest attempts in flight. */
const ranked = (rankOf: (node: Node) => number, equals: () => Picker): Picker => {
  let ranks: Array<Rank> = []

  const insert = (node: Node) => {
    const own = rankOf(node)
    let at = ranks.findIndex(({ rank }) => rank >= own)
    if (at < 0) at = ranks.length
    const known = ranks[at]
    if (known?.rank === own) {
      known.nodes.push(node)
      return known.picker.edited("inserted", known.nodes.length - 1, node)
    }
    const made: Rank = { rank: own, nodes: [node], picker: equals() }
    made.picker.update(made.nodes)
    ranks.splice(at, 0, made)
  }

  // Its record may be another one already, so it is looked for.
  const remove = (node: Node) => {
    for (const { nodes, picker } of ranks) {
      const index = nodes.indexOf(node)
      if (index < 0) continue
      nodes.splice(index, 1)
      picker.edited("removed", index, node)
      if (nodes.length === 0) ranks = ranks.filter((rank) => rank.nodes !== nodes)
      return
    }
  }

  return {
    save: () => {
      const restores = ranks.map(({ picker }) => picker.save())
      return () => restores.forEach((restore) => restore())
    },
    update: (list) => {
      const known = new Map(ranks.map(({ picker, rank }) => [rank, picker]))
      ranks = Array.from(Map.groupBy(list, rankOf), ([rank, nodes]) => {
        const picker = known.get(rank) ?? equals()
        picker.update(nodes)
        return { rank, nodes, picker }
      }).sort((left, right) => left.rank - right.rank)
    },
    edited: (edit, _index, node) => {
      if (edit !== "inserted") remove(node)
      if (edit !== "removed") insert(node)
    },
    pick: (at, key, except) => {
      for (let index = 0; index < ranks.length; index++) {
        const node = ranks[index]!.picker.pick(at, key, except)
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

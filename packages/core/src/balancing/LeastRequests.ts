/**
 * The one with the fewest attempts in flight.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { isOpen, sameWeight, withTraffic } from "./Nodes.ts"
import * as WeightedDraw from "./WeightedDraw.ts"

// A pick looks at no more than this many nodes, so that its cost is bounded however long the list is.
const window = 256

/**
 * Strategy `least-requests`: the fewest attempts in flight. Exact for up to 256 nodes; of more, the best among 256
 * neighbours. Each search starts behind the last pick, so equals take turns. One that eases counts as no less busy than
 * who was picked last: that it has few calls is because it is given few, or fails them fast.
 *
 * **Details**: of different weights, the fewest relative to the weight, to within one attempt: one that is drawn by weight
 * has it unless another one would be less busy even with the call. So the weights are kept where calls are few, too.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) => {
  const weights = WeightedDraw.make(random, (node) => node.weight)
  let nodes: ReadonlyArray<Node> = []
  let next = 0
  let weighted = false
  // The load of the last pick.
  let level = 0

  const drawn = (except: ReadonlyArray<Node> | undefined): Node | undefined => {
    const node = nodes[weights.draw()]!
    return isOpen(node, except) ? node : undefined
  }

  return {
    save: () => {
      const saved = { next, level }
      return () => {
        next = saved.next
        level = saved.level
      }
    },
    update: (list) => {
      nodes = withTraffic(list)
      next = Math.floor(random() * nodes.length)
      weighted = !sameWeight(nodes)
      if (weighted) weights.update(nodes)
    },
    pick: (_at, _key, except) => {
      const count = nodes.length
      const first = weighted ? drawn(except) : undefined
      let best = first
      let bestAt = -1
      let bestLoad = first === undefined ? Infinity : first.inFlight / first.weight
      let looked = 0
      for (let step = 0, index = next; step < count && bestLoad > 0; step++, index++) {
        if (index >= count) index = 0
        const node = nodes[index]!
        if (!isOpen(node, except)) continue
        const own = weighted ? (node.inFlight + 1) / node.weight : node.inFlight
        const load = node.easing && own < level ? level : own
        if (load < bestLoad) {
          best = node
          bestAt = index
          bestLoad = load
        }
        if (++looked === window) break
      }
      if (best === undefined) return undefined
      if (bestAt >= 0) next = bestAt + 1 === count ? 0 : bestAt + 1
      level = bestLoad
      return best
    }
  }
}

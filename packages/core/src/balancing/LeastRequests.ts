/**
 * The one with the fewest attempts in flight.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { isFree, withTraffic } from "./Nodes.ts"

// A pick looks at no more than this many nodes, so that its cost is bounded however long the list is.
const window = 256

/**
 * Strategy `least-requests`: the fewest attempts in flight relative to the weight. Exact for up to 256 nodes; of more, the
 * best among 256 neighbours. Each search starts behind the last pick, so equals take turns.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) => {
  let nodes: ReadonlyArray<Node> = []
  let next = 0
  let weighted = false
  return {
    save: () => () => {},
    update: (list) => {
      nodes = withTraffic(list)
      next = Math.floor(random() * nodes.length)
      weighted = nodes.some((node) => node.weight !== nodes[0]!.weight)
    },
    pick: () => {
      const count = nodes.length
      let best: Node | undefined
      let bestAt = 0
      let bestLoad = Infinity
      let free = 0
      for (let step = 0, index = next; step < count; step++, index++) {
        if (index >= count) index = 0
        const node = nodes[index]!
        if (!isFree(node)) continue
        const load = weighted ? (node.inFlight + 1) / node.weight : node.inFlight
        if (load < bestLoad) {
          best = node
          bestAt = index
          bestLoad = load
          // Nobody has less than none.
          if (load === 0) break
        }
        if (++free === window) break
      }
      if (best !== undefined) next = bestAt + 1 === count ? 0 : bestAt + 1
      return best
    }
  }
}

/**
 * The one with the fewest attempts in flight.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { isOpen, sameWeight, weighsAsOthers, withTraffic } from "./Nodes.ts"
import * as WeightedDraw from "./WeightedDraw.ts"

// A pick looks at no more than this many nodes, so that its cost is bounded however long the list is.
const window = 256

/**
 * Strategy `least-requests`: the fewest attempts in flight. Exact for up to 256 nodes; of more, the best among 256
 * neighbours. Each search starts behind the last pick, so equals take turns. One that eases counts as no less busy than
 * the others are on average: that it has few attempts is because it is given few, or fails them fast.
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

  const drawn = (except: ReadonlyArray<Node> | undefined): Node | undefined => {
    const node = nodes[weights.draw()]!
    return isOpen(node, except) ? node : undefined
  }

  return {
    save: () => {
      const saved = next
      return () => {
        next = saved
      }
    },
    update: (list) => {
      nodes = withTraffic(list)
      next = Math.floor(random() * nodes.length)
      weighted = !sameWeight(nodes)
      if (weighted) weights.update(nodes)
    },
    edited: (edit, index, node) => {
      if (edit === "inserted" && index <= next) next++
      if (edit === "removed" && index < next) next--
      if (next >= nodes.length) next = 0
      if (weighted) return weights.edited(edit, index, node)
      weighted = edit !== "removed" && !weighsAsOthers(nodes, index)
      if (weighted) weights.update(nodes)
    },
    pick: (_at, _key, except) => {
      const count = nodes.length
      if (count === 0) return undefined
      let best = weighted ? drawn(except) : undefined
      let bestAt = -1
      let bestStep = -1
      let bestLoad = best === undefined ? Infinity : best.inFlight / best.weight
      let easing: Node | undefined
      let easingAt = 0
      let easingStep = 0
      let easingLoad = Infinity
      let loads = 0
      let looked = 0
      for (let step = 0, index = next; step < count && bestLoad > 0 && looked < window; step++, index++) {
        if (index >= count) index = 0
        const node = nodes[index]!
        if (!isOpen(node, except)) continue
        const load = weighted ? (node.inFlight + 1) / node.weight : node.inFlight
        looked++
        loads += load
        if (node.easing) {
          if (load >= easingLoad) continue
          easing = node
          easingAt = index
          easingStep = step
          easingLoad = load
        } else if (load < bestLoad) {
          best = node
          bestAt = index
          bestStep = step
          bestLoad = load
        }
      }
      if (easing !== undefined) {
        const mean = loads / looked
        const load = Math.max(easingLoad, weighted ? mean : Math.floor(mean + random()))
        if (load < bestLoad || (load === bestLoad && easingStep < bestStep)) {
          best = easing
          bestAt = easingAt
        }
      }
      if (bestAt >= 0) next = bestAt + 1 === count ? 0 : bestAt + 1
      return best
    }
  }
}

/**
 * Any of them, all equally likely.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { firstOpen, isOpen, stateless, withTraffic } from "./Nodes.ts"

/**
 * Strategy `random`.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) => {
  let nodes: ReadonlyArray<Node> = []
  return {
    save: () => stateless,
    update: (list) => {
      nodes = withTraffic(list)
    },
    edited: stateless,
    pick: (_at, _key, except) => {
      const count = nodes.length
      if (count === 0) return undefined
      // Drawing again keeps the free ones equally likely; the scan is for a list that is nearly full.
      for (let draw = 0; draw < 4; draw++) {
        const node = nodes[Math.floor(random() * count)]!
        if (isOpen(node, except)) return node
      }
      return firstOpen(nodes, Math.floor(random() * count), except)
    }
  }
}

/**
 * One after the other, from a random start, so that gateways started together don't march in step.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { isOpen, withTraffic } from "./Nodes.ts"

/**
 * Strategy `round-robin`. It remembers the next node, not the next position, so that a changed list neither repeats nor
 * skips anybody (as grpc-js does).
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) => {
  let nodes: ReadonlyArray<Node> = []
  let next = -1
  return {
    save: () => {
      const saved = next
      return () => {
        next = saved
      }
    },
    update: (list) => {
      const before = nodes
      const position = next
      nodes = withTraffic(list)
      next = -1
      if (nodes.length === 0) return
      if (before.length > 0 && position >= 0) {
        const places = new Map<Node, number>()
        for (let index = 0; index < nodes.length; index++) places.set(nodes[index]!, index)
        // Where the next one is gone, its first successor that is still there takes its place.
        for (let step = 0; step < before.length && next < 0; step++) {
          next = places.get(before[(position + step) % before.length]!) ?? -1
        }
      }
      if (next < 0) next = Math.floor(random() * nodes.length)
    },
    edited: (edit, index) => {
      // The next one stays the next one; where it went, its successor is.
      if (edit === "inserted" && index <= next) next++
      if (edit === "removed" && index < next) next--
      if (next < 0 || next >= nodes.length) next = nodes.length === 0 ? -1 : 0
    },
    pick: (_at, _key, except) => {
      const count = nodes.length
      for (let step = 0; step < count; step++) {
        const node = nodes[next]!
        next = next + 1 === count ? 0 : next + 1
        if (isOpen(node, except)) return node
      }
      return undefined
    }
  }
}

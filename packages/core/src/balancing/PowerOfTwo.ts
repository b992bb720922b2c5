/**
 * The better of two drawn at random: nearly as even as asking all of them, at the cost of asking two.
 *
 * @since 0.1.0
 */
import type { Node, Picker, Strategy } from "../Balancer.ts"
import { firstOpen, isOpen, sameWeight, stateless, weighsAsOthers, withTraffic } from "./Nodes.ts"
import * as WeightedDraw from "./WeightedDraw.ts"

/**
 * Makes a picker that draws two *different* nodes, as likely as their weights say, and lets `better` choose between them.
 * A drawn node that can't be picked loses without being asked; where neither can, the first one after them is taken.
 *
 * @category constructors
 * @since 0.1.0
 */
export const powerOfTwo = (
  random: () => number,
  better: (first: Node, second: Node, at: number | undefined) => Node
): Picker => {
  const weights = WeightedDraw.make(random, (node) => node.weight)
  let nodes: ReadonlyArray<Node> = []
  let weighted = false
  return {
    save: () => stateless,
    update: (list) => {
      nodes = withTraffic(list)
      weighted = !sameWeight(nodes)
      if (weighted) weights.update(nodes)
    },
    edited: (edit, index, node) => {
      if (weighted) return weights.edited(edit, index, node)
      weighted = edit !== "removed" && !weighsAsOthers(nodes, index)
      if (weighted) weights.update(nodes)
    },
    pick: (at, _key, except) => {
      const count = nodes.length
      if (count < 2) return firstOpen(nodes, 0, except)
      let one: number
      let other: number
      if (weighted) {
        one = weights.draw()
        other = weights.drawOther(one)
      } else {
        one = Math.floor(random() * count)
        // Drawn from the others, so it is never the same one (Finagle's P2C).
        other = Math.floor(random() * (count - 1))
        if (other >= one) other++
      }
      const first = nodes[one]!
      const second = nodes[other]!
      if (!isOpen(first, except)) return isOpen(second, except) ? second : firstOpen(nodes, one, except)
      return isOpen(second, except) ? better(first, second, at) : first
    }
  }
}

/**
 * Strategy `p2c`: of two, the one with fewer attempts in flight relative to its weight.
 *
 * **Details**: of two different weights, the one that was drawn first has it unless the other one would be less busy even
 * with the call: else a light one would have nothing where calls are few, or far too much.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) =>
  powerOfTwo(random, (first, second) =>
    first.weight === second.weight
      ? second.inFlight < first.inFlight ? second : first
      : (second.inFlight + 1) * first.weight < first.inFlight * second.weight
      ? second
      : first)

/**
 * The better of two drawn at random: nearly as even as asking all of them, at the cost of asking two.
 *
 * @since 0.1.0
 */
import type { Node, Picker, Strategy } from "../Balancer.ts"
import { firstFree, isFree, withTraffic } from "./Nodes.ts"

/**
 * Makes a picker that draws two *different* nodes and lets `better` choose between them. A drawn node whose cap is
 * reached loses without being asked; where both are full, the first free one after them is taken.
 *
 * @category constructors
 * @since 0.1.0
 */
export const powerOfTwo = (
  random: () => number,
  better: (first: Node, second: Node, at: number | undefined) => Node
): Picker => {
  let nodes: ReadonlyArray<Node> = []
  return {
    save: () => () => {},
    update: (list) => {
      nodes = withTraffic(list)
    },
    pick: (at) => {
      const count = nodes.length
      if (count < 2) return firstFree(nodes, 0)
      const one = Math.floor(random() * count)
      // Drawn from the others, so it is never the same one (Finagle's P2C).
      let other = Math.floor(random() * (count - 1))
      if (other >= one) other++
      const first = nodes[one]!
      const second = nodes[other]!
      if (!isFree(first)) return isFree(second) ? second : firstFree(nodes, one)
      return isFree(second) ? better(first, second, at) : first
    }
  }
}

/**
 * Strategy `p2c`: of two, the one with fewer attempts in flight relative to its weight.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) =>
  powerOfTwo(
    random,
    (first, second) => (second.inFlight + 1) * first.weight < (first.inFlight + 1) * second.weight ? second : first
  )

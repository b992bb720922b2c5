/**
 * Draws nodes at random, each as likely as its weight says.
 *
 * @since 0.1.0
 */
import type { Node } from "../Balancer.ts"

/**
 * A list of nodes to draw from, in logarithmic time. Where all weights are 0, everybody is equally likely.
 *
 * @category models
 * @since 0.1.0
 */
export interface WeightedDraw {
  readonly update: (nodes: ReadonlyArray<Node>) => void
  /** Asks for the weights anew. */
  readonly weigh: () => void
  /** The place of one in the list, which isn't empty. */
  readonly draw: () => number
  /** The place of another one than the one at this place, as likely among the others as its weight says. */
  readonly drawOther: (place: number) => number
  /** As in `Picker`. */
  readonly save: () => () => void
}

/**
 * Makes a draw from the sums of the weights.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (random: () => number, weightOf: (node: Node) => number): WeightedDraw => {
  let nodes: ReadonlyArray<Node> = []
  let sums = new Float64Array()

  const weigh = () => {
    let sum = 0
    for (let index = 0; index < nodes.length; index++) sums[index] = sum += weightOf(nodes[index]!)
    if (sum === 0) { for (let index = 0; index < nodes.length; index++) sums[index] = index + 1 }
  }

  const find = (at: number): number => {
    let low = 0
    let high = nodes.length - 1
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sums[middle]! > at) high = middle
      else low = middle + 1
    }
    return low
  }

  return {
    update: (list) => {
      nodes = list
      sums = new Float64Array(nodes.length)
      weigh()
    },
    weigh,
    draw: () => find(random() * sums[nodes.length - 1]!),
    drawOther: (place) => {
      const before = place === 0 ? 0 : sums[place - 1]!
      const own = sums[place]! - before
      const at = random() * (sums[nodes.length - 1]! - own)
      const found = find(at < before ? at : at + own)
      // Sums of fractions may end a little beside their place.
      return found !== place ? found : place + 1 < nodes.length ? place + 1 : place - 1
    },
    save: () => {
      const saved = sums.slice()
      return () => sums.set(saved)
    }
  }
}

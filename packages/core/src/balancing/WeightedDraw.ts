/**
 * Draws nodes at random, each as likely as its weight says.
 *
 * @since 0.1.0
 */
import type { Edit, Node } from "../Balancer.ts"

/**
 * A list of nodes to draw from, in logarithmic time. Where all weights are 0, everybody is equally likely.
 *
 * @category models
 * @since 0.1.0
 */
export interface WeightedDraw {
  readonly update: (nodes: ReadonlyArray<Node>) => void
  /** As in `Picker`. */
  readonly edited: (edit: Edit, index: number, node: Node) => void
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
  // May be longer than the list.
  let sums = new Float64Array()
  // Edits since the weights were added up: sums of fractions drift a little with each.
  let edits = 0
  let flat = false

  const grow = (length: number) => {
    if (length <= sums.length) return
    const longer = new Float64Array(Math.max(length, 2 * sums.length))
    longer.set(sums)
    sums = longer
  }

  const weigh = () => {
    grow(nodes.length)
    let sum = 0
    for (let index = 0; index < nodes.length; index++) sums[index] = sum += weightOf(nodes[index]!)
    edits = 0
    flat = sum === 0
    if (flat) { for (let index = 0; index < nodes.length; index++) sums[index] = index + 1 }
  }

  // What comes after it moves by a place, and by its weight.
  const shift = (edit: Edit, index: number, node: Node) => {
    const count = nodes.length
    const before = index === 0 ? 0 : sums[index - 1]!
    if (edit === "inserted") {
      grow(count)
      const weight = weightOf(node)
      for (let at = count - 1; at > index; at--) sums[at] = sums[at - 1]! + weight
      sums[index] = before + weight
    } else if (edit === "removed") {
      const weight = sums[index]! - before
      for (let at = index; at < count; at++) sums[at] = sums[at + 1]! - weight
    } else {
      const more = before + weightOf(node) - sums[index]!
      if (more !== 0) { for (let at = index; at < count; at++) sums[at] = sums[at]! + more }
    }
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
    edited: (edit, index, node) => {
      if (flat || ++edits > nodes.length) weigh()
      else shift(edit, index, node)
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

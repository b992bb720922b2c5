/**
 * Any of them, each as likely as its weight says.
 *
 * @since 0.1.0
 */
import type { Node, Picker, Strategy } from "../Balancer.ts"
import { firstFree, isFree, withTraffic } from "./Nodes.ts"

// How long health scores count until they are asked for again, ms.
const scoresHold = 1_000

interface Draw {
  readonly update: (nodes: ReadonlyArray<Node>) => void
  /** Sums the weights anew. */
  readonly weigh: () => void
  readonly pick: () => Node | undefined
}

/** A draw from the sums of the weights, in logarithmic time. Where all weights are 0, everybody is equally likely. */
const drawer = (random: () => number, weightOf: (node: Node) => number): Draw => {
  let nodes: ReadonlyArray<Node> = []
  let sums = new Float64Array()
  const weigh = () => {
    let sum = 0
    for (let index = 0; index < nodes.length; index++) sums[index] = sum += weightOf(nodes[index]!)
    if (sum === 0) { for (let index = 0; index < nodes.length; index++) sums[index] = index + 1 }
  }
  const draw = (): number => {
    const at = random() * sums[nodes.length - 1]!
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
      nodes = withTraffic(list)
      sums = new Float64Array(nodes.length)
      weigh()
    },
    weigh,
    pick: () => {
      if (nodes.length === 0) return undefined
      let drawn = 0
      // Drawing again keeps the shares of the free ones; the scan is for a list that is nearly full.
      for (let times = 0; times < 4; times++) {
        drawn = draw()
        const node = nodes[drawn]!
        if (isFree(node)) return node
      }
      return firstFree(nodes, drawn)
    }
  }
}

/**
 * Strategy `weighted-random`.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }): Picker => {
  const { pick, update } = drawer(random, (node) => node.weight)
  return { save: () => () => {}, update, pick: () => pick() }
}

/**
 * Strategy `health-weighted`: as likely as weight times health score. Scores are asked for once a second at most.
 *
 * @category strategies
 * @since 0.1.0
 */
export const healthWeighted: Strategy = ({ knowledge, now, random }): Picker => {
  const { pick, update, weigh } = drawer(random, (node) => node.weight * knowledge.score(node))
  let weighedAt = 0
  return {
    save: () => () => {},
    update: (nodes) => {
      weighedAt = now()
      update(nodes)
    },
    pick: (at = now()) => {
      if (at - weighedAt >= scoresHold) {
        weighedAt = at
        weigh()
      }
      return pick()
    }
  }
}

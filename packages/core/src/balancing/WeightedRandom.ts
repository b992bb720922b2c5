/**
 * Any of them, each as likely as its weight says.
 *
 * @since 0.1.0
 */
import type { Node, Picker, Strategy } from "../Balancer.ts"
import { firstOpen, isOpen, stateless, withTraffic } from "./Nodes.ts"
import * as WeightedDraw from "./WeightedDraw.ts"

// How long health scores count until they are asked for again, ms.
const scoresHold = 1_000

// A score of 0 isn't for ever: without calls nobody would hear that it is better now.
const leastScore = 0.05

/** Draws again and again while those drawn can't be picked: that keeps the shares of the others. */
const pickFrom = (
  nodes: ReadonlyArray<Node>,
  { draw }: WeightedDraw.WeightedDraw,
  random: () => number,
  except: ReadonlyArray<Node> | undefined
): Node | undefined => {
  const count = nodes.length
  if (count === 0) return undefined
  for (let times = 0; times < 4; times++) {
    const node = nodes[draw()]!
    if (isOpen(node, except)) return node
  }
  // Nearly all are full, or the heaviest is.
  return firstOpen(nodes, Math.floor(random() * count), except)
}

/**
 * Strategy `weighted-random`.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }): Picker => {
  const weights = WeightedDraw.make(random, (node) => node.weight)
  let nodes: ReadonlyArray<Node> = []
  return {
    save: () => stateless,
    update: (list) => {
      nodes = withTraffic(list)
      weights.update(nodes)
    },
    edited: weights.edited,
    pick: (_at, _key, except) => pickFrom(nodes, weights, random, except)
  }
}

/**
 * Strategy `health-weighted`: as likely as weight times health score. Scores are asked for once a second at most.
 *
 * @category strategies
 * @since 0.1.0
 */
export const healthWeighted: Strategy = ({ knowledge, now, random }): Picker => {
  const weights = WeightedDraw.make(random, (node) => node.weight * Math.max(knowledge.score(node), leastScore))
  let nodes: ReadonlyArray<Node> = []
  let weighedAt = 0
  return {
    save: () => {
      const restore = weights.save()
      const saved = weighedAt
      return () => {
        restore()
        weighedAt = saved
      }
    },
    update: (list) => {
      nodes = withTraffic(list)
      weighedAt = now()
      weights.update(nodes)
    },
    edited: weights.edited,
    pick: (at = now(), _key, except) => {
      if (at - weighedAt >= scoresHold) {
        weighedAt = at
        weights.weigh()
      }
      return pickFrom(nodes, weights, random, except)
    }
  }
}

/**
 * What every strategy asks of nodes.
 *
 * @since 0.1.0
 */
import type { Node } from "../Balancer.ts"

/**
 * The nodes that take traffic: a weight of 0 takes none.
 *
 * @category filtering
 * @since 0.1.0
 */
export const withTraffic = (nodes: ReadonlyArray<Node>): ReadonlyArray<Node> => {
  for (let index = 0; index < nodes.length; index++) {
    if (nodes[index]!.weight <= 0) return nodes.filter((node) => node.weight > 0)
  }
  return nodes
}

/**
 * Whether its cap isn't reached. No cap is below one, so a node with nothing in flight needs no further look.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFree = (node: Node): boolean => node.inFlight === 0 || node.inFlight < node.maxConcurrency

/**
 * The first node whose cap isn't reached, from a position on, once around the list.
 *
 * @category searching
 * @since 0.1.0
 */
export const firstFree = (nodes: ReadonlyArray<Node>, start: number): Node | undefined => {
  const count = nodes.length
  for (let step = 0, index = start; step < count; step++, index++) {
    if (index >= count) index = 0
    const node = nodes[index]!
    if (isFree(node)) return node
  }
  return undefined
}

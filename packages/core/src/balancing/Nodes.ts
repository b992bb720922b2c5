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
 * Whether all nodes have the same weight, as most have: there is nothing to weigh then.
 *
 * @category guards
 * @since 0.1.0
 */
export const sameWeight = (nodes: ReadonlyArray<Node>): boolean => {
  for (let index = 1; index < nodes.length; index++) if (nodes[index]!.weight !== nodes[0]!.weight) return false
  return true
}

/**
 * Whether one has the same weight as its neighbour in the list, where all others have the same.
 *
 * @category guards
 * @since 0.1.0
 */
export const weighsAsOthers = (nodes: ReadonlyArray<Node>, index: number): boolean =>
  nodes.length < 2 || nodes[index]!.weight === nodes[index === 0 ? 1 : index - 1]!.weight

/**
 * What `Picker.save` answers, and what `Picker.edited` does, where nothing is kept but the list.
 *
 * @category constants
 * @since 0.1.0
 */
export const stateless = (): void => {}

/**
 * Whether its cap isn't reached. No cap is below one, so a node with nothing in flight needs no further look.
 *
 * @category guards
 * @since 0.1.0
 */
export const isFree = (node: Node): boolean => node.inFlight === 0 || node.inFlight < node.maxConcurrency

/**
 * Whether a node can be picked: its cap isn't reached, and it isn't one of those to leave out.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOpen = (node: Node, except: ReadonlyArray<Node> | undefined): boolean =>
  isFree(node) && (except === undefined || !except.includes(node))

/**
 * The first node that can be picked, from a position on, once around the list.
 *
 * @category searching
 * @since 0.1.0
 */
export const firstOpen = (
  nodes: ReadonlyArray<Node>,
  start: number,
  except: ReadonlyArray<Node> | undefined
): Node | undefined => {
  const count = nodes.length
  for (let step = 0, index = start; step < count; step++, index++) {
    if (index >= count) index = 0
    const node = nodes[index]!
    if (isOpen(node, except)) return node
  }
  return undefined
}

/**
 * How much of its share a node takes: less while it is new, and less when it failed lately. The same for every strategy.
 *
 * @since 0.1.0
 */
import type { Node, Picker } from "../Balancer.ts"

/** The least of its share that a new node takes (Envoy's `min_weight_percent`). */
const leastNew = 0.1

/** The least of its share that a failing node takes: how else would it be known that it is well again? */
const leastFailing = 0.05

/** What one outcome weighs in the recent share of failures. */
const step = 0.2

// Shares of failures are kept as whole millionths: those lie in the node itself, fractions don't.
const whole = 1_000_000

/** Below this it is forgotten that there were failures. */
const forgotten = 0.01 * whole

/** Time in ms in which failures lose all but 37 % of their say, though no call is made. */
const fade = 10_000

/** Nodes whose shares are looked at to know what is usual, and draws for one that takes the call: so few, however long the list is. */
const looks = 16
const draws = 4

/**
 * Before all times: when a node was welcomed that never was.
 *
 * @category constants
 * @since 0.1.0
 */
export const never: number = -(2 ** 30)

const failing = (node: Node, at: number): number =>
  node.failing === 0 ? 0 : node.failing * Math.exp((node.failedAt - at) / fade)

/**
 * The part of its share that a node takes, 0 to 1. A new one: Envoy's slow start with an aggression of 1, so in
 * proportion to the time since it was welcomed. One that failed lately: the square of its recent success rate, as a node
 * that fails half of the calls is worth less than half.
 *
 * @category getters
 * @since 0.1.0
 */
export const share = (node: Node, at: number, slowStart: number): number => {
  if (!node.easing) return 1
  const age = at - node.welcomedAt
  const grown = age >= slowStart ? 1 : Math.max(leastNew, age / slowStart)
  if (node.failing === 0) return grown
  const successes = 1 - failing(node, at) / whole
  return Math.min(grown, Math.max(leastFailing, successes * successes))
}

/**
 * An attempt at a node succeeded or failed. Asked only for a failure, or where the node eases.
 *
 * @category updating
 * @since 0.1.0
 */
export const observe = (node: Node, failed: boolean, at: number, slowStart: number): void => {
  const known = failing(node, at)
  const now = Math.round(known + step * ((failed ? whole : 0) - known))
  node.failing = now < forgotten ? 0 : now
  node.failedAt = Math.round(at)
  node.easing = node.failing > 0 || at - node.welcomedAt < slowStart
}

/**
 * Makes a strategy take no more of a node than its share: one that eases is passed over for another one, as often as it
 * takes less than is usual in the list. So where all are new, or all fail, nothing changes.
 *
 * **Details**: a picked node is taken with a probability of its share ÷ the mean share, by weight; that gives it the part
 * of the traffic that Envoy's slow start gives by scaling weights, without a strategy having to know, and nothing can get
 * so light that it never has its turn. Failures count for strategies too that see them themselves: once many nodes have
 * failed, a latency says no longer who is well now.
 *
 * @category constructors
 * @since 0.1.0
 */
export const easing = (
  picker: Picker,
  options: {
    readonly random: () => number
    readonly now: () => number
    /** ms */
    readonly slowStart: () => number
  }
): Picker => {
  const { now, random } = options
  let nodes: ReadonlyArray<Node> = []

  // All where they are few, else some neighbours from anywhere.
  const usual = (at: number, slowStart: number): number => {
    const count = nodes.length
    let shares = 0
    let weights = 0
    let index = count > looks ? Math.floor(random() * count) : 0
    for (let look = Math.min(count, looks); look > 0; look--) {
      const node = nodes[index]!
      shares += node.weight * share(node, at, slowStart)
      weights += node.weight
      index = index + 1 === count ? 0 : index + 1
    }
    return weights > 0 ? shares / weights : 1
  }

  const draw = (node: Node, key: string | undefined): number =>
    key === undefined || picker.lot === undefined ? random() : picker.lot(node, key)

  const instead = (
    first: Node,
    at: number,
    key: string | undefined,
    except: ReadonlyArray<Node> | undefined
  ): Node => {
    const slowStart = options.slowStart()
    let best = first
    let most = share(first, at, slowStart)
    if (most >= 1) return first
    const mean = usual(at, slowStart)
    if (draw(first, key) * mean < most) return first
    const refused = except === undefined ? [first] : [...except, first]
    for (let drawn = 1; drawn < draws; drawn++) {
      const node = picker.pick(at, key, refused)
      if (node === undefined) break
      const own = share(node, at, slowStart)
      if (own >= mean || draw(node, key) * mean < own) return node
      if (own > most) {
        best = node
        most = own
      }
      refused.push(node)
    }
    return best
  }

  return {
    save: picker.save,
    update: (list) => {
      nodes = list
      picker.update(list)
    },
    edited: picker.edited,
    pick: (at, key, except) => {
      const node = picker.pick(at, key, except)
      return node === undefined || !node.easing ? node : instead(node, at ?? now(), key, except)
    }
  }
}

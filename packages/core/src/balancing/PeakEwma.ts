/**
 * Of two drawn at random, the one that is expected to answer sooner.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { powerOfTwo } from "./PowerOfTwo.ts"

/**
 * Time in ms in which an old latency loses all but 37 % of its say (Finagle's default).
 *
 * @category constants
 * @since 0.1.0
 */
export const tau = 10_000

// A node of which nothing was heard for so long is taken once though it is the worse one, so that one bad moment isn't for
// ever (Kratos' forced pick).
const forceAfter = 3_000
// At most this share of the picks is forced: where calls are rare every node has waited long, and taking the worse of
// two each time would be the opposite of balancing.
const forcedShare = 0.01
// An attempt at a node of which nothing is known costs as much as any can: tried once, then waited for.
const unprobed = Number.MAX_VALUE / 1e6

const cost = (node: Node, now: number): number => {
  const load = (node.inFlight + 1) / node.weight
  if (node.latency === 0) return node.inFlight === 0 ? 0 : unprobed * load
  const age = now - node.latencyAt
  // Below a hundredth of tau the decay is under 1 %: not worth an exponential.
  return (age < tau / 100 ? node.latency : node.latency * Math.exp(-age / tau)) * load
}

/**
 * Adds the latency of one attempt to a node: at once where it is higher than what is known, gradually where it is lower
 * (Finagle's `PeakEwma`). A success would have taken at least as long as a failure, or as an attempt that says nothing of
 * the node (`ignored`): they can raise the figure and never lower it. One of which nobody knows how long it took changes
 * nothing.
 *
 * **Details**: so failing fast makes no node look fast. That it fails is for `Readiness` and for its circuit to say: were
 * it counted as a slow answer (linkerd: 5 s), one failure would keep a node out for most of a minute, and where every
 * thousandth call fails nobody's latency would be known any more.
 *
 * @category updating
 * @since 0.1.0
 */
export const observe = (
  node: Node,
  latency: number | undefined,
  outcome: "success" | "failure" | "ignored",
  now: number
): void => {
  const observed = latency ?? 0
  const age = now - node.latencyAt
  const known = node.latency * Math.exp(-age / tau)
  if (observed > known) node.latency = observed
  else if (outcome !== "success" || latency === undefined) node.latency = known
  // Nothing is instant: 0 means that nothing is known.
  else node.latency = Math.max(known + observed * (1 - Math.exp(-age / tau)), 1e-3)
  node.latencyAt = Math.round(now)
}

/**
 * Strategy `peak-ewma`: peak-sensitive moving average of the latency, times attempts in flight, relative to the weight.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ now, random }) => {
  let credit = 1
  const picker = powerOfTwo(random, (first, second, given) => {
    const at = given ?? now()
    const secondWins = cost(second, at) < cost(first, at)
    const loser = secondWins ? first : second
    if (credit < 1) credit += forcedShare
    if (credit >= 1 && at - loser.latencyAt >= forceAfter && loser.inFlight === 0) {
      credit = 0
      return loser
    }
    return secondWins ? second : first
  })
  return {
    save: () => {
      const saved = credit
      return () => {
        credit = saved
      }
    },
    update: picker.update,
    edited: picker.edited,
    pick: picker.pick
  }
}

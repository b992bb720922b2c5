/**
 * One after the other, the heavier ones more often.
 *
 * @since 0.1.0
 */
import type { Node, Strategy } from "../Balancer.ts"
import { firstOpen, isOpen, withTraffic } from "./Nodes.ts"

/**
 * Strategy `weighted-round-robin`: earliest deadline first. A node's turn comes every 1 ÷ weight of virtual time, so the
 * turns of each are spread evenly over a round.
 *
 * **Details**: a new node begins at a random point of its first interval, and one that stays keeps its turn when the list
 * changes; else the heavy ones would go first after every change and the light ones never (Envoy's first-pick problem).
 * A node that is full at its turn misses it.
 *
 * @category strategies
 * @since 0.1.0
 */
export const make: Strategy = ({ random }) => {
  // A binary heap by the virtual time of the next turn.
  let heap: Array<Node> = []
  let turns: Array<number> = []
  let time = 0

  const sink = (from: number) => {
    const node = heap[from]!
    const turn = turns[from]!
    const count = heap.length
    let at = from
    for (;;) {
      let child = 2 * at + 1
      if (child >= count) break
      if (child + 1 < count && turns[child + 1]! < turns[child]!) child++
      if (turns[child]! >= turn) break
      heap[at] = heap[child]!
      turns[at] = turns[child]!
      at = child
    }
    heap[at] = node
    turns[at] = turn
  }

  const rise = (from: number) => {
    const node = heap[from]!
    const turn = turns[from]!
    let at = from
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (turns[parent]! <= turn) break
      heap[at] = heap[parent]!
      turns[at] = turns[parent]!
      at = parent
    }
    heap[at] = node
    turns[at] = turn
  }

  return {
    save: () => {
      const saved = { heap: heap.slice(), turns: turns.slice(), time }
      return () => {
        heap = saved.heap.slice()
        turns = saved.turns.slice()
        time = saved.time
      }
    },
    update: (list) => {
      const kept = new Map<Node, number>()
      for (let index = 0; index < heap.length; index++) kept.set(heap[index]!, turns[index]!)
      heap = Array.from(withTraffic(list))
      turns = heap.map((node) => {
        const interval = 1 / node.weight
        // No later than a lighter weight of before would have had it.
        return Math.min(kept.get(node) ?? time + random() * interval, time + interval)
      })
      for (let index = (heap.length >>> 1) - 1; index >= 0; index--) sink(index)
    },
    edited: (edit, _index, node) => {
      const interval = 1 / node.weight
      if (edit === "inserted") {
        heap.push(node)
        turns.push(time + random() * interval)
        return rise(heap.length - 1)
      }
      const place = heap.indexOf(node)
      if (edit === "weighed") {
        // No later than a lighter weight of before would have had it.
        turns[place] = Math.min(turns[place]!, time + interval)
        return rise(place)
      }
      const last = heap.pop()
      const turn = turns.pop()
      if (last === undefined || turn === undefined || place === heap.length) return
      heap[place] = last
      turns[place] = turn
      sink(place)
      rise(place)
    },
    pick: (_at, _key, except) => {
      for (let step = 0; step < heap.length; step++) {
        const node = heap[0]!
        time = turns[0]!
        turns[0] = time + 1 / node.weight
        sink(0)
        if (isOpen(node, except)) return node
      }
      return firstOpen(heap, 0, except)
    }
  }
}

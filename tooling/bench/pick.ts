/**
 * Nanoseconds per pick of each strategy, by number of nodes, and its ratio to a reference round robin (an index over an
 * array) in the same run. `idle`: nothing is in flight. `busy`: each node has some calls in flight and a latency. The last
 * table adds the accounting of an attempt, `begin` and `end`.
 */
import * as Balancer from "@portolan/core/Balancer"
import * as Catalog from "@portolan/core/Catalog"
import * as Effect from "effect/Effect"
import { instances } from "./Fleet.ts"
import { show, summarize, table } from "./Measure.ts"

const strategies = Balancer.strategyNames
const sizes = [10, 100, 1_000]
const rounds = 9
const picks = 500_000

interface Subject {
  readonly name: string
  readonly run: () => number
  readonly times: Array<number>
}

// The sum keeps the work from being thought away.
let sum = 0

const timed = (pick: () => Balancer.Node | undefined): number => {
  const started = performance.now()
  for (let count = 0; count < picks; count++) sum += pick()!.picks
  return (performance.now() - started) * 1e6 / picks
}

const reference = (nodes: ReadonlyArray<Balancer.Node>) => {
  let next = 0
  return () => {
    const node = nodes[next]
    next = next + 1 === nodes.length ? 0 : next + 1
    return node
  }
}

const nodesOf = (balancer: Balancer.Balancer["Service"], size: number, busy: boolean) =>
  instances(size).map((instance, index) => {
    const node = balancer.node(Catalog.key("bench", instance.id), instance)
    if (busy) {
      balancer.begin(node)
      balancer.end(node, 5 + index % 20, "success")
      for (let call = 0; call <= index % 3; call++) balancer.begin(node)
    }
    return node
  })

const measure = (title: string, busy: boolean, accounting: boolean) =>
  Effect.gen(function*() {
    const rows: Array<ReadonlyArray<string>> = []
    const columns = new Map<string, Array<string>>()
    for (const size of sizes) {
      const subjects: Array<Subject> = []
      const add = (name: string, pick: () => Balancer.Node | undefined) =>
        subjects.push({ name, run: () => timed(pick), times: [] })
      const balancer = yield* Balancer.make()
      const nodes = nodesOf(balancer, size, busy)
      add("reference", reference(nodes))
      for (const strategy of strategies) {
        const picker = balancer.picker(strategy)
        picker.update(nodes)
        add(
          strategy,
          accounting
            ? () => {
              const node = picker.pick(undefined, "caller")!
              balancer.begin(node)
              balancer.end(node, 10, "success")
              return node
            }
            : () => picker.pick(undefined, "caller")
        )
      }
      for (let round = 0; round <= rounds; round++) {
        for (const { run, times } of subjects) {
          const time = run()
          if (round > 0) times.push(time)
        }
      }
      const unit = summarize(subjects[0]!.times).median
      for (const { name, times } of subjects) {
        const time = summarize(times)
        const cells = columns.get(name) ?? []
        columns.set(name, cells)
        cells.push(show(time), `×${(time.median / unit).toFixed(1)}`)
      }
    }
    for (const [name, cells] of columns) rows.push([name, ...cells])
    table(title, [["strategy", ...sizes.flatMap((size) => [`${size.toLocaleString("en")} nodes`, ""])], ...rows])
  })

await Effect.runPromise(Effect.gen(function*() {
  yield* measure("ns per pick, idle", false, false)
  yield* measure("ns per pick, busy", true, false)
  yield* measure("ns per pick, begin and end, idle", false, true)
}))
if (Number.isNaN(sum)) console.log(sum)

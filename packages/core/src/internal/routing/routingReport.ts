import type { Node } from "../../Balancer.ts"
import type {
  CallerCounts,
  Efforts,
  InstanceCounts,
  Ranking,
  ReportOptions,
  RoutingReport,
  ToolCounts
} from "../../RoutingReport.ts"
import type { Routes } from "./routes.ts"
import { ServiceTally, Tally, type TopTallies } from "./tallies.ts"

// Names are of callers' choice, in part: a page of one serves nobody.
const longest = 200

const named = (text: string): string => text.length > longest ? `${text.slice(0, longest - 1)}…` : text

/** The most of a list by a figure, most first, in one walk; `rest` is told of all others. */
const ranked = <A>(
  items: Iterable<A>,
  top: number,
  figure: (item: A) => number,
  rest: (item: A) => void
): ReadonlyArray<A> => {
  const best: Array<A> = []
  for (const item of items) {
    const value = figure(item)
    if (best.length === top && (top === 0 || value <= figure(best[top - 1]!))) {
      rest(item)
      continue
    }
    let [from, to] = [0, best.length]
    while (from < to) {
      const middle = (from + to) >> 1
      if (figure(best[middle]!) < value) to = middle
      else from = middle + 1
    }
    best.splice(from, 0, item)
    if (best.length > top) rest(best.pop()!)
  }
  return best
}

/**
 * Reports what was counted since the router began.
 *
 * @internal
 */
export const routingReport = (routes: Routes, options: ReportOptions = {}): RoutingReport => {
  const { balancer, clock, discovery, health, report } = routes
  const top = Math.max(Math.floor(options.top ?? 20), 0)
  const { service } = options
  const catalog = discovery.catalog()
  const at = clock.currentTimeMillisUnsafe()

  // Only failures open a circuit. Of thousands of instances few fail, and only of those more than a field is read.
  const ejectionsOf = (node: Node): number => node.failures === 0 ? 0 : health.ejections(node.key)
  const ejections = new Map<string, { ejections: number; ejected: number }>()
  for (const node of balancer.nodes()) {
    const times = ejectionsOf(node)
    if (times === 0) continue
    const of = ejections.get(node.instance.service) ?? { ejections: 0, ejected: 0 }
    of.ejections += times
    if (health.circuit(node.key) !== undefined) of.ejected++
    ejections.set(node.instance.service, of)
  }
  const figures = balancer.figures()

  // Of one service; budgets of several have no sum that says anything.
  const balanceOf = (name: string): number | undefined => {
    const of = figures.get(name)
    return of === undefined
      ? undefined
      : routes.services.of(of).retries.balance(routes.settings.retryBudget.reserve, balancer.now())
  }

  const efforts = (tally: ServiceTally, names: ReadonlyArray<string>): Efforts => {
    const sum = { ejections: 0, ejected: 0, inFlight: 0, waiting: 0 }
    for (const name of names) {
      const of = ejections.get(name)
      sum.ejections += of?.ejections ?? 0
      sum.ejected += of?.ejected ?? 0
      sum.inFlight += figures.get(name)?.inFlight ?? 0
      sum.waiting += routes.admission.waiting(name)
    }
    return {
      retries: {
        made: tally.retries,
        denied: tally.retriesDenied,
        balance: names.length === 1 ? balanceOf(names[0]!) : undefined
      },
      hedges: { sent: tally.hedges, denied: tally.hedgesDenied, won: tally.hedgesWon },
      queue: {
        queued: tally.queued,
        shed: tally.shed,
        shedAt: tally.shedAt === -Infinity ? undefined : tally.shedAt,
        waiting: sum.waiting,
        wait: tally.waits.latencies()
      },
      ejections: sum.ejections,
      ejected: sum.ejected,
      inFlight: sum.inFlight
    }
  }

  const services = (): RoutingReport["services"] => {
    // One that has candidates and was never called is shown too.
    const names = new Set([...report.services.names(), ...figures.keys()])
    const rest = new ServiceTally()
    if (service === undefined) rest.add(report.services.rest)
    const none = new ServiceTally()
    const tallyOf = (name: string) => report.services.find(name) ?? none
    const others: Array<string> = []
    const best = service === undefined
      ? ranked(names, top, (name) => tallyOf(name).calls, (name) => {
        rest.add(tallyOf(name))
        others.push(name)
      })
      : [service]
    return {
      top: best.map((name) => ({
        service: name,
        ...tallyOf(name).counts(),
        ...efforts(tallyOf(name), [name])
      })),
      rest: others.length === 0 && rest.calls === 0 ? undefined : { ...rest.counts(), ...efforts(rest, others) }
    }
  }

  const instances = (): RoutingReport["instances"] => {
    const rest = { instances: 0, picks: 0, attempts: 0, failures: 0, inFlight: 0, ejections: 0 }
    const nodes: Array<Node> = []
    for (const node of balancer.nodes()) {
      if (service === undefined || node.instance.service === service) nodes.push(node)
    }
    const best = ranked(nodes, top, (node) => node.picks, (node) => {
      rest.instances++
      rest.picks += node.picks
      rest.attempts += node.calls
      rest.failures += node.failures
      rest.inFlight += node.inFlight
      rest.ejections += ejectionsOf(node)
    })
    return {
      top: best.map((node): InstanceCounts => ({
        key: node.key,
        instance: node.instance.id,
        service: node.instance.service,
        source: node.source,
        status: health.status(node.key),
        circuit: health.circuit(node.key)?.state ?? "closed",
        picks: node.picks,
        attempts: node.calls,
        failures: node.failures,
        inFlight: node.inFlight,
        ejections: ejectionsOf(node),
        latency: report.instances.find(node.key)?.sketch.latencies()
      })),
      rest: rest.instances === 0 ? undefined : rest
    }
  }

  const tools = (): Ranking<ToolCounts> => {
    const rest = new Tally()
    const all = Array.from(report.tools.entries()).filter(([, tally]) =>
      service === undefined || tally.service === service
    )
    if (service === undefined) rest.add(report.tools.rest)
    const best = ranked(all, top, ([, { calls }]) => calls, ([, tally]) => rest.add(tally))
    return {
      top: best.map(([name, tally]) => ({ tool: named(name), service: tally.service, ...tally.counts() })),
      rest: rest.calls === 0 ? undefined : rest.counts()
    }
  }

  const callers = (): Ranking<CallerCounts> => {
    if (service !== undefined) return { top: [], rest: undefined }
    const rest = new Tally()
    rest.add(report.principals.rest)
    rest.add(report.tenants.rest)
    const all = [
      ...prefixed("principal:", report.principals),
      ...prefixed("tenant:", report.tenants),
      ...report.anonymous.calls === 0 ? [] : [["anonymous", report.anonymous] as const]
    ]
    const best = ranked(all, top, ([, { calls }]) => calls, ([, tally]) => rest.add(tally))
    return {
      top: best.map(([caller, tally]) => ({ caller: named(caller), ...tally.counts() })),
      rest: rest.calls === 0 ? undefined : rest.counts()
    }
  }

  const sum = new ServiceTally()
  const names = service === undefined ? Array.from(figures.keys()) : [service]
  if (service === undefined) {
    for (const [, tally] of report.services.entries()) sum.add(tally)
    sum.add(report.services.rest)
  } else {
    const tally = report.services.find(service)
    if (tally !== undefined) sum.add(tally)
  }

  return {
    since: report.since,
    at,
    total: { ...sum.counts(), ...efforts(sum, names) },
    decisions: {
      strategies: service === undefined
        ? Array.from(report.strategies, ([strategy, { picks }]) => ({ strategy, picks }))
        : [],
      rules: service === undefined ? Array.from(report.rules, ([rule, { picks }]) => ({ rule, picks })) : []
    },
    services: services(),
    instances: instances(),
    tools: tools(),
    callers: callers(),
    sources: Array.from(catalog.sources.values(), ({ lastHeard, name, state, type }) => ({
      source: name,
      type,
      state,
      age: lastHeard === undefined ? undefined : Math.max(at - lastHeard, 0)
    }))
  }
}

const prefixed = (prefix: string, tallies: TopTallies<Tally>) =>
  Array.from(tallies.entries(), ([name, tally]) => [`${prefix}${name}`, tally] as const)

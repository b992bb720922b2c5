/**
 * The report of what became of calls, as the REST API shows it.
 *
 * @since 0.1.0
 */
import type * as RoutingReport from "@portolan/core/RoutingReport"
import * as Schema from "effect/Schema"
import { HealthStatus } from "./Representations.ts"

const Time = Schema.String.annotate({ description: "ISO 8601" })

const Latencies = Schema.Struct({
  average: Schema.Finite,
  p50: Schema.Finite,
  p95: Schema.Finite,
  p99: Schema.Finite
}).annotate({ identifier: "Latencies", description: "ms; percentiles are off by a tenth at most" })

const callCounts = {
  calls: Schema.Int.annotate({ description: "Calls that ended: the sum of those that follow" }),
  successes: Schema.Int,
  failures: Schema.Struct({
    failed: Schema.Int.annotate({ description: "An instance failed them, and no other one answered" }),
    refused: Schema.Int.annotate({ description: "The request was at fault" }),
    unavailable: Schema.Int.annotate({ description: "No instance could take them" }),
    shed: Schema.Int.annotate({ description: "There was too much to do" })
  }),
  interrupted: Schema.Int.annotate({ description: "The caller gave up" }),
  latency: Schema.optionalKey(Latencies)
}
const CallCounts = Schema.Struct(callCounts).annotate({ identifier: "CallCounts" })

const efforts = {
  retries: Schema.Struct({
    made: Schema.Int,
    denied: Schema.Int.annotate({ description: "The budget had none left" }),
    balance: Schema.optionalKey(Schema.Finite.annotate({ description: "Retries that the budget has left" }))
  }),
  hedges: Schema.Struct({
    sent: Schema.Int,
    denied: Schema.Int.annotate({ description: "The budget had none left" }),
    won: Schema.Int.annotate({ description: "Their answer came first" })
  }),
  queue: Schema.Struct({
    queued: Schema.Int.annotate({ description: "Calls that had to wait" }),
    shed: Schema.Int.annotate({ description: "Calls that waited in vain, or found the queue full" }),
    shedAt: Schema.optionalKey(Time),
    waiting: Schema.Int.annotate({ description: "Calls that wait now" }),
    wait: Schema.optionalKey(Latencies)
  }),
  ejections: Schema.Int.annotate({ description: "How often calls took an instance out of traffic" }),
  ejected: Schema.Int.annotate({ description: "Instances that calls keep out of traffic now" }),
  inFlight: Schema.Int.annotate({ description: "Attempts under way, and instances held" })
}

/**
 * The calls of a service, and what was done for them.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceCounts = Schema.Struct({ service: Schema.String, ...callCounts, ...efforts })
  .annotate({ identifier: "ServiceReport" })
export type ServiceCounts = typeof ServiceCounts.Type

const attempts = {
  picks: Schema.Int.annotate({ description: "Attempts begun" }),
  attempts: Schema.Int.annotate({ description: "Attempts that ended in a success or in a failure of the instance" }),
  failures: Schema.Int,
  inFlight: Schema.Int,
  ejections: Schema.Int
}

/**
 * The attempts at an instance.
 *
 * @category schemas
 * @since 0.1.0
 */
export const InstanceCounts = Schema.Struct({
  instance: Schema.String,
  service: Schema.String,
  source: Schema.String,
  status: HealthStatus,
  circuit: Schema.Literals(["closed", "open", "half-open"]),
  ...attempts,
  latency: Schema.optionalKey(Latencies)
}).annotate({ identifier: "InstanceReport" })
export type InstanceCounts = typeof InstanceCounts.Type

/**
 * The calls of a tool.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ToolCounts = Schema.Struct({
  tool: Schema.String,
  service: Schema.optionalKey(Schema.String),
  ...callCounts
}).annotate({ identifier: "ToolReport" })
export type ToolCounts = typeof ToolCounts.Type

/**
 * The calls of one who calls.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CallerCounts = Schema.Struct({
  caller: Schema.String.annotate({ description: "`principal:…`, where there is none `tenant:…`, else `anonymous`" }),
  ...callCounts
}).annotate({ identifier: "CallerReport" })
export type CallerCounts = typeof CallerCounts.Type

const ranking = <A extends Schema.Top, R extends Schema.Top>(item: A, rest: R) =>
  Schema.Struct({ top: Schema.Array(item), rest: Schema.optionalKey(rest) })

/**
 * What became of the calls that were routed.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ReportView = Schema.Struct({
  since: Time,
  at: Time,
  total: Schema.Struct({ ...callCounts, ...efforts }),
  decisions: Schema.Struct({
    strategies: Schema.Array(Schema.Struct({ strategy: Schema.String, picks: Schema.Int })),
    rules: Schema.Array(Schema.Struct({ rule: Schema.String, picks: Schema.Int }))
  }).annotate({ description: "How instances were picked; not known by service" }),
  services: ranking(ServiceCounts, Schema.Struct({ ...callCounts, ...efforts })),
  instances: ranking(InstanceCounts, Schema.Struct({ instances: Schema.Int, ...attempts })),
  tools: ranking(ToolCounts, CallCounts),
  callers: ranking(CallerCounts, CallCounts),
  sources: Schema.Array(Schema.Struct({
    source: Schema.String,
    type: Schema.String,
    state: Schema.Literals(["connecting", "connected", "stale"]),
    age: Schema.optionalKey(Schema.Finite.annotate({ description: "ms since it was heard of last" }))
  }))
}).annotate({ identifier: "Report" })
export type ReportView = typeof ReportView.Type

const rounded = (value: number): number => Math.round(value * 100) / 100

const latencyOf = (latency: RoutingReport.Latencies): typeof Latencies.Type => ({
  average: rounded(latency.average),
  p50: rounded(latency.p50),
  p95: rounded(latency.p95),
  p99: rounded(latency.p99)
})

const countsOf = (
  { calls, failures, interrupted, latency, successes }: RoutingReport.CallCounts
): typeof CallCounts.Type => ({
  calls,
  successes,
  failures,
  interrupted,
  ...latency === undefined ? {} : { latency: latencyOf(latency) }
})

const effortsOf = ({ ejected, ejections, hedges, inFlight, queue, retries }: RoutingReport.Efforts) => ({
  retries: {
    made: retries.made,
    denied: retries.denied,
    ...retries.balance === undefined ? {} : { balance: rounded(retries.balance) }
  },
  hedges,
  queue: {
    queued: queue.queued,
    shed: queue.shed,
    ...queue.shedAt === undefined ? {} : { shedAt: new Date(queue.shedAt).toISOString() },
    waiting: queue.waiting,
    ...queue.wait === undefined ? {} : { wait: latencyOf(queue.wait) }
  },
  ejections,
  ejected,
  inFlight
})

const allOf = (item: RoutingReport.CallCounts & RoutingReport.Efforts) => ({ ...countsOf(item), ...effortsOf(item) })

const instanceOf = (item: RoutingReport.InstanceCounts): InstanceCounts => ({
  instance: item.instance,
  service: item.service,
  source: item.source,
  status: item.status,
  circuit: item.circuit,
  picks: item.picks,
  attempts: item.attempts,
  failures: item.failures,
  inFlight: item.inFlight,
  ejections: item.ejections,
  ...item.latency === undefined ? {} : { latency: latencyOf(item.latency) }
})

const rankingOf = <A, B, R, S>(
  { rest, top }: RoutingReport.Ranking<A, R>,
  item: (item: A) => B,
  others: (rest: R) => S
): { readonly top: ReadonlyArray<B>; readonly rest?: S } => ({
  top: top.map(item),
  ...rest === undefined ? {} : { rest: others(rest) }
})

/**
 * Makes the view of a report.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (report: RoutingReport.RoutingReport): ReportView => ({
  since: new Date(report.since).toISOString(),
  at: new Date(report.at).toISOString(),
  total: allOf(report.total),
  decisions: report.decisions,
  services: rankingOf(report.services, (item) => ({ service: item.service, ...allOf(item) }), allOf),
  instances: rankingOf(report.instances, instanceOf, (rest) => rest),
  tools: rankingOf(
    report.tools,
    (item) => ({
      tool: item.tool,
      ...item.service === undefined ? {} : { service: item.service },
      ...countsOf(item)
    }),
    countsOf
  ),
  callers: rankingOf(report.callers, (item) => ({ caller: item.caller, ...countsOf(item) }), countsOf),
  sources: report.sources.map(({ age, source, state, type }) => ({
    source,
    type,
    state,
    ...age === undefined ? {} : { age }
  }))
})

/**
 * What the process measures, as Prometheus's text and as JSON: Portolan's own figures, and whatever else the program
 * records with effect's `Metric`.
 *
 * **Mental model**: figures are read from memory when somebody looks, so nothing is counted twice and no series outlives
 * what it is about. They stand in effect's registry of metrics, so any of its exporters shows them.
 *
 * **Gotchas**: labels are names of registries, services, instances and offered tools, each up to a bound, and words of
 * fixed sets; what is over a bound is counted under `_OTHER`. Nothing that a client writes becomes a label.
 *
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 * @since 0.1.0
 */
import { Discovery } from "@portolan/core/Discovery"
import { Health, type HealthStatus } from "@portolan/core/Health"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import * as Instruments from "@portolan/mcp/telemetry/Instruments"
import * as Sending from "@portolan/mcp/telemetry/Sending"
import * as Serving from "@portolan/mcp/telemetry/Serving"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { About } from "./About.ts"
import * as processFigures from "./internal/processFigures.ts"

/**
 * A figure that is read when somebody looks.
 *
 * @category models
 * @since 0.1.0
 */
export interface Reading extends Instruments.Family {
  readonly type: "gauge" | "counter"
  readonly read: () => Iterable<readonly [labels: Instruments.Labels, value: number]>
}

/**
 * One metric with its series, in the JSON export.
 *
 * @category models
 * @since 0.1.0
 */
export interface MetricView {
  /** As in Prometheus's text. */
  readonly name: string
  readonly type: "counter" | "gauge" | "histogram" | "summary" | "frequency"
  readonly help: string | undefined
  readonly unit: string | undefined
  readonly series: ReadonlyArray<{ readonly labels: Instruments.Labels; readonly value: unknown }>
}

/**
 * The metrics as they are now. Plain.
 *
 * @category models
 * @since 0.1.0
 */
export interface Metrics {
  /** In Prometheus's text format. */
  readonly text: () => string
  readonly json: () => ReadonlyArray<MetricView>
}

/** Services, and instances, that get series of their own. */
const MaxNames = 500

const statuses: ReadonlyArray<HealthStatus> = ["healthy", "degraded", "unhealthy", "draining", "down", "unknown"]
const states = ["idle", "connecting", "connected", "failed"] as const

/** Names of OpenTelemetry carry no unit; those of Prometheus do. */
const seconds: ReadonlySet<string> = new Set(
  [Serving.operationDuration, Serving.sessionDuration, Sending.operationDuration, Sending.sessionDuration]
    .map(({ name }) => name)
)
const metricNameMapper = (name: string): string => seconds.has(name) ? `${name}.seconds` : name

const count = <A extends string>(words: ReadonlyArray<A>, label: string, values: Iterable<A>) => {
  const counts = new Map<A, number>(words.map((word) => [word, 0]))
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1)
  return Array.from(counts, ([word, value]) => [{ [label]: word }, value] as const)
}

const one = (value: number) => [[{}, value] as const]

/** The figures of the gateway. */
const readings = Effect.gen(function*() {
  const about = yield* About
  const clock = yield* Clock.Clock
  const discovery = yield* Discovery
  const health = yield* Health
  const tools = yield* ToolCatalog
  const upstreams = yield* Upstreams
  const endpoint = yield* McpEndpoint

  const bySource = (value: (source: ReturnType<typeof sources>[number]) => number) =>
    sources().map((source) => [{ source: source.name, type: source.type }, value(source)] as const)
  const sources = () => Array.from(discovery.catalog().sources.values())

  function* services() {
    let named = 0
    let rest: { instances: number; routable: number } | undefined
    for (const { entries, service } of HashMap.values(discovery.catalog().services)) {
      let routable = 0
      for (const key of HashMap.keys(entries)) {
        const status = health.status(key)
        if (status === "healthy" || status === "degraded" || status === "unknown") routable++
      }
      const instances = HashMap.size(entries)
      if (named < MaxNames) {
        named++
        yield { service, instances, routable }
      } else {
        rest ??= { instances: 0, routable: 0 }
        rest.instances += instances
        rest.routable += routable
      }
    }
    if (rest !== undefined) yield { service: Instruments.other, ...rest }
  }

  function* instances() {
    let named = 0
    for (const { instance, key } of HashMap.values(discovery.catalog().entries)) {
      if (named++ >= MaxNames) return
      const labels = { "portolan.service": instance.service, "portolan.instance": instance.id }
      yield { labels, health: health.get(key) }
    }
  }

  function* byService(value: "instances" | "routable") {
    for (const each of services()) yield [{ "portolan.service": each.service }, each[value]] as const
  }

  const transitions = new Map<string, { readonly labels: Instruments.Labels; count: number }>()
  yield* Stream.runForEach(health.changes, ({ health, previous }) =>
    Effect.sync(() => {
      const key = `${previous} ${health.status}`
      let found = transitions.get(key)
      if (found === undefined) {
        found = { labels: { from: previous, to: health.status }, count: 0 }
        transitions.set(key, found)
      }
      found.count++
    })).pipe(Effect.forkScoped({ startImmediately: true }))

  const own: ReadonlyArray<Reading> = [
    {
      name: "portolan_info",
      type: "gauge",
      help: "Versions of the gateway and of Node.",
      read: () => [[{ version: about.version, node: process.version }, 1]]
    },
    {
      name: "portolan_ready",
      type: "gauge",
      help: "Whether the gateway is ready for traffic.",
      read: () => one(about.ready() ? 1 : 0)
    },
    {
      name: "portolan_source_connected",
      type: "gauge",
      help: "Whether the registry is connected.",
      read: () => bySource((source) => source.state === "connected" ? 1 : 0)
    },
    {
      name: "portolan_source_instances",
      type: "gauge",
      help: "Instances that the registry announces.",
      read: () => bySource((source) => source.instances)
    },
    {
      name: "portolan_source_rejected",
      type: "gauge",
      help: "Records of the registry that can't be used.",
      read: () => bySource((source) => source.rejected.length)
    },
    {
      name: "portolan_source_held",
      type: "gauge",
      help: "Removals of the registry that self-preservation holds back.",
      read: () => bySource((source) => source.held)
    },
    {
      name: "portolan_source_reconnects_total",
      type: "counter",
      help: "Sessions with the registry that were lost.",
      read: () => bySource((source) => source.reconnects)
    },
    {
      name: "portolan_source_age_seconds",
      type: "gauge",
      unit: "s",
      help: "Time since the registry was heard of last.",
      read: () =>
        sources().flatMap(({ lastHeard, name, type }) =>
          lastHeard === undefined
            ? []
            : [[{ source: name, type }, Math.max(clock.currentTimeMillisUnsafe() - lastHeard, 0) / 1_000] as const]
        )
    },
    {
      name: "portolan_services",
      type: "gauge",
      help: "Services in the catalog.",
      read: () => one(HashMap.size(discovery.catalog().services))
    },
    {
      name: "portolan_service_instances",
      type: "gauge",
      help: "Instances of the service.",
      read: () => byService("instances")
    },
    {
      name: "portolan_service_routable_instances",
      type: "gauge",
      help: "Instances of the service that calls are routed to.",
      read: () => byService("routable")
    },
    {
      name: "portolan_instances",
      type: "gauge",
      help: "Instances in the catalog by health.",
      read: () => count(statuses, "status", Array.from(HashMap.keys(discovery.catalog().entries), health.status))
    },
    {
      name: "portolan_instance_health_score",
      type: "gauge",
      help: "Health of the instance, 0 to 1.",
      read: () => Array.from(instances(), ({ health, labels }) => [labels, health.score] as const)
    },
    {
      name: "portolan_instance_latency_seconds",
      type: "gauge",
      unit: "s",
      help: "Median latency of the instance's checks and calls in the last minute.",
      read: () =>
        Array.from(instances()).flatMap(({ health: { latency }, labels }) =>
          latency === undefined ? [] : [[labels, latency / 1_000] as const]
        )
    },
    {
      name: "portolan_health_transitions_total",
      type: "counter",
      help: "Changes of the health of instances.",
      read: () => Array.from(transitions.values(), ({ count, labels }) => [labels, count] as const)
    },
    {
      name: "portolan_upstreams",
      type: "gauge",
      help: "Connections to MCP servers by state.",
      read: () => count(states, "state", upstreams.all().map((upstream) => upstream.state()._tag))
    },
    {
      name: "portolan_offers",
      type: "gauge",
      help: "What the servers offer, by kind.",
      read: () =>
        (["tools", "resources", "resourceTemplates", "prompts"] as const).map((kind) =>
          [{ kind }, tools.list(kind).length] as const
        )
    },
    {
      name: "portolan_mcp_sessions",
      type: "gauge",
      help: "Sessions of handshake clients.",
      read: () => one(endpoint.figures().sessions)
    },
    {
      name: "portolan_mcp_streams",
      type: "gauge",
      help: "Open streams to clients.",
      read: () => one(endpoint.figures().streams)
    },
    {
      name: "portolan_mcp_calls_in_flight",
      type: "gauge",
      help: "Calls under way.",
      read: () => one(endpoint.figures().callsInFlight)
    },
    {
      name: "portolan_mcp_calls_total",
      type: "counter",
      help: "Calls relayed.",
      read: () => one(endpoint.figures().calls)
    },
    {
      name: "portolan_mcp_failed_calls_total",
      type: "counter",
      help: "Calls that failed.",
      read: () => one(endpoint.figures().failedCalls)
    }
  ]
  return [...own, ...processFigures.readings]
})

interface Cell {
  value: number
  /** The last round that had it. */
  round: number
  remove: () => void
}

/**
 * Shows figures in effect's registry of metrics for the life of the scope. The result takes up series that are new and
 * drops those that are gone; the first series does so too, whenever an exporter reads it.
 */
const expose = (readings: ReadonlyArray<Reading>) =>
  Effect.map(Instruments.make, (instruments) => {
    const cells = new Map<string, Cell>()
    let round = 0
    let refreshing = false
    const refresh = () => {
      round++
      for (const family of readings) {
        for (const [labels, value] of family.read()) {
          const key = `${family.name} ${Object.values(labels).join(" ")}`
          const found = cells.get(key)
          if (found !== undefined) {
            found.value = value
            found.round = round
            continue
          }
          const first = cells.size === 0
          const cell: Cell = { value, round, remove: () => {} }
          cell.remove = instruments[family.type](family, labels, () => {
            if (first && !refreshing) refreshed(() => {})
            return cell.value
          })
          cells.set(key, cell)
        }
      }
      for (const [key, cell] of cells) {
        if (cell.round === round) continue
        cell.remove()
        cells.delete(key)
      }
    }
    const refreshed = <A>(use: () => A): A => {
      refreshing = true
      try {
        refresh()
        return use()
      } finally {
        refreshing = false
      }
    }
    refreshed(() => {})
    return refreshed
  })

/**
 * Makes the metrics of a gateway, for the life of the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<
  Metrics,
  never,
  About | Discovery | Health | ToolCatalog | Upstreams | McpEndpoint | Scope.Scope
> = Effect.gen(function*() {
  const context = yield* Effect.context()
  const refreshed = yield* expose(yield* readings)
  yield* processFigures.eventLoop(yield* Instruments.make)
  return {
    text: () => refreshed(() => PrometheusMetrics.formatUnsafe(context, { metricNameMapper })),
    json: () => refreshed(() => views(Metric.snapshotUnsafe(context)))
  }
})

const views = (snapshot: ReadonlyArray<Metric.Metric.Snapshot>): ReadonlyArray<MetricView> => {
  const families = new Map<string, MetricView & { readonly series: Array<MetricView["series"][number]> }>()
  for (const metric of snapshot) {
    const { unit, ...labels } = metric.attributes ?? {}
    const name = metricNameMapper(metric.id).replaceAll(".", "_")
    let family = families.get(name)
    if (family === undefined) {
      family = { name, type: types[metric.type], help: metric.description, unit, series: [] }
      families.set(name, family)
    }
    family.series.push({ labels, value: valueOf(metric) })
  }
  return Array.from(families.values())
}

const types = {
  Counter: "counter",
  Gauge: "gauge",
  Histogram: "histogram",
  Summary: "summary",
  Frequency: "frequency"
} as const

const number = (value: number | bigint): number => Number(value)

const valueOf = (metric: Metric.Metric.Snapshot): unknown => {
  switch (metric.type) {
    case "Counter":
      return number(metric.state.count)
    case "Gauge":
      return number(metric.state.value)
    case "Frequency":
      return Object.fromEntries(metric.state.occurrences)
    case "Histogram":
      return {
        count: metric.state.count,
        sum: metric.state.sum,
        buckets: metric.state.buckets.map(([boundary, count]) => ({ le: boundary, count }))
      }
    case "Summary":
      return {
        count: metric.state.count,
        sum: metric.state.sum,
        quantiles: metric.state.quantiles.flatMap(([quantile, value]) =>
          value === undefined ? [] : [{ quantile, value }]
        )
      }
  }
}

/**
 * Layer that answers `GET /metrics`, in Prometheus's text or, for `?format=json` and for who accepts only JSON, as JSON; the
 * latter also at `GET /api/v1/metrics`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerRoutes = Layer.unwrap(Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const { json, text } = yield* make
  const asJson = Effect.sync(() =>
    HttpServerResponse.jsonUnsafe({ at: new Date(clock.currentTimeMillisUnsafe()).toISOString(), metrics: json() })
  )
  const asText = Effect.sync(() =>
    HttpServerResponse.text(text(), { contentType: "text/plain; version=0.0.4; charset=utf-8" })
  )
  return Layer.mergeAll(
    HttpRouter.add("GET", "/api/v1/metrics", asJson),
    HttpRouter.add("GET", "/metrics", (request) => {
      const format = /[?&]format=(\w+)/.exec(request.url)?.[1]
      const accept = request.headers["accept"] ?? ""
      return format === "json" || (format === undefined && /^application\/json\b/.test(accept)) ? asJson : asText
    })
  )
}))

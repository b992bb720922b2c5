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
import type { Discovery } from "@portolan/core/Discovery"
import type { Health } from "@portolan/core/Health"
import type { Router } from "@portolan/core/Router"
import type { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import type { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import * as Instruments from "@portolan/mcp/telemetry/Instruments"
import * as Sending from "@portolan/mcp/telemetry/Sending"
import * as Serving from "@portolan/mcp/telemetry/Serving"
import type { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as PrometheusMetrics from "effect/observability/PrometheusMetrics"
import type * as Scope from "effect/Scope"
import type { About } from "../About.ts"
import * as callMetrics from "../internal/callMetrics.ts"
import * as gatewayFigures from "../internal/gatewayFigures.ts"
import * as processFigures from "../internal/processFigures.ts"

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

/** Names of OpenTelemetry carry no unit; those of Prometheus do. */
const seconds: ReadonlySet<string> = new Set(
  [Serving.operationDuration, Serving.sessionDuration, Sending.operationDuration, Sending.sessionDuration]
    .map(({ name }) => name)
)
const metricNameMapper = (name: string): string => seconds.has(name) ? `${name}.seconds` : name

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
  About | Discovery | Health | Router | ToolCatalog | Upstreams | McpEndpoint | Scope.Scope
> = Effect.gen(function*() {
  const context = yield* Effect.context()
  const refreshed = yield* expose([
    ...yield* gatewayFigures.readings,
    ...yield* callMetrics.readings,
    ...processFigures.readings
  ])
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

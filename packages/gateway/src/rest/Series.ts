/**
 * Figures of the last quarter of an hour, kept in memory, so that charts are full without a database.
 *
 * **Details**: a point is taken every 10 s, and 90 are kept, for the gateway and for each service. Services beyond the
 * first 200 are summed up as the others.
 *
 * @since 0.1.0
 */
import { Balancer } from "@portolan/core/Balancer"
import type { CallFigures } from "@portolan/core/CallFigures"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { percentiles } from "../internal/figureTable.ts"

const Column = Schema.Array(Schema.NullOr(Schema.Finite))

const columns = {
  /** Calls that ended in the time of the point. */
  calls: Column,
  /** Those of them that failed. */
  failures: Column,
  /** Calls under way at its end. */
  inFlight: Column,
  /** Percentiles of the latency in its time, ms. */
  p50: Column,
  p95: Column
}

/**
 * Series of one service. Calls are the attempts at its instances.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceSeries = Schema.Struct({ service: Schema.String, ...columns })
  .annotate({ identifier: "ServiceSeries" })
export type ServiceSeries = typeof ServiceSeries.Type

/**
 * Series in columns of equal length, oldest first; `null` where there was nothing to measure.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Report = Schema.Struct({
  /** Time of one point, s. */
  step: Schema.Finite,
  /** Ends of the points, epoch s. */
  times: Schema.Array(Schema.Finite),
  /**
   * Calls of clients, their latency as instances answered, attempts that followed a failed one, and the memory of the
   * process in bytes.
   */
  gateway: Schema.Struct({ ...columns, failovers: Column, memory: Column }),
  services: Schema.Array(ServiceSeries),
  /** All services that have no series of their own. */
  others: Schema.optionalKey(Schema.Struct(columns))
}).annotate({ identifier: "SeriesReport" })
export type Report = typeof Report.Type

/**
 * What is asked for. Times in ms.
 *
 * @category models
 * @since 0.1.0
 */
export interface ReportRequest {
  /** Default all. */
  readonly services?: ReadonlyArray<string> | undefined
  /** A multiple of the time of a point. */
  readonly step: number
  readonly window: number
}

/**
 * Service that keeps the series.
 *
 * @category services
 * @since 0.1.0
 */
export class Series extends Context.Service<Series, {
  /** Time of a point, ms. */
  readonly step: number
  /** How far back it goes, ms. */
  readonly window: number
  /** Plain. */
  readonly report: (request: ReportRequest) => Report
}>()("@portolan/gateway/rest/Series") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface SeriesOptions {
  /** Services with a series of their own. Default 200. */
  readonly services?: number | undefined
  /** Bytes of memory in use. Default the resident set of this process. */
  readonly memory?: (() => number) | undefined
}

const step = 10_000
const points = 90

/** One point; nothing where there was nothing to measure. */
interface Point {
  readonly calls: number
  readonly failures: number
  readonly inFlight: number
  readonly p50?: number | undefined
  readonly p95?: number | undefined
  readonly failovers?: number | undefined
  readonly memory?: number | undefined
}

type Points = Array<Point | undefined>

/** What a service had counted at the point before. */
interface Before {
  readonly of: CallFigures
  calls: number
  failures: number
  readonly latencies: Uint32Array
}

/**
 * Layer that takes a point every 10 s.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: SeriesOptions = {}): Layer.Layer<Series, never, Balancer | McpEndpoint> =>
  Layer.effect(Series, make(options))

const make = Effect.fnUntraced(function*(options: SeriesOptions) {
  const balancer = yield* Balancer
  const endpoint = yield* McpEndpoint
  const clock = yield* Clock.Clock
  const most = options.services ?? 200
  const memory = options.memory ?? process.memoryUsage.rss

  const times: Array<number> = []
  const gateway: Points = []
  const others: Points = []
  const services = new Map<string, Points>()
  const before = new Map<string, Before>()
  let { calls, failedCalls, failovers } = endpoint.figures()

  const push = (series: Points, point: Point | undefined) => {
    series.push(point)
    if (series.length > points) series.shift()
  }

  /** What a service counted since the point before; its latencies are added to the sums. */
  const difference = (service: string, total: CallFigures, sums: ReadonlyArray<Float64Array>): Point => {
    let last = before.get(service)
    if (last?.of !== total) {
      last = { of: total, calls: 0, failures: 0, latencies: new Uint32Array(total.latencies.length) }
      before.set(service, last)
    }
    const counts = new Float64Array(total.latencies.length)
    for (let bucket = 0; bucket < counts.length; bucket++) {
      const count = total.latencies[bucket]! - last.latencies[bucket]!
      counts[bucket] = count
      for (const sum of sums) sum[bucket]! += count
    }
    const point = {
      calls: total.calls - last.calls,
      failures: total.failures - last.failures,
      inFlight: total.inFlight,
      ...percentiles(counts)
    }
    last.calls = total.calls
    last.failures = total.failures
    last.latencies.set(total.latencies)
    return point
  }

  const sample = () => {
    const figures = balancer.figures()
    const now = clock.currentTimeMillisUnsafe()
    const size = figures.values().next().value?.latencies.length ?? 0
    const all = new Float64Array(size)
    const rest = new Float64Array(size)
    let other: { calls: number; failures: number; inFlight: number } | undefined
    const sampled = new Set<Points>()
    for (const [service, total] of figures) {
      let series = services.get(service)
      if (series === undefined && services.size < most) {
        // As long as the others, so that columns have one length.
        services.set(service, series = Array.from(times, () => undefined))
      }
      const point = difference(service, total, series === undefined ? [all, rest] : [all])
      if (series !== undefined) {
        push(series, point)
        sampled.add(series)
        continue
      }
      other ??= { calls: 0, failures: 0, inFlight: 0 }
      other.calls += point.calls
      other.failures += point.failures
      other.inFlight += point.inFlight
    }
    for (const service of Array.from(before.keys())) if (!figures.has(service)) before.delete(service)
    for (const [service, series] of Array.from(services)) {
      if (!sampled.has(series)) push(series, undefined)
      if (series.every((point) => point === undefined)) services.delete(service)
    }
    push(others, other === undefined ? undefined : { ...other, ...percentiles(rest) })
    const client = endpoint.figures()
    push(gateway, {
      calls: client.calls - calls,
      failures: client.failedCalls - failedCalls,
      failovers: client.failovers - failovers,
      inFlight: client.callsInFlight,
      ...percentiles(all),
      memory: memory()
    })
    ;({ calls, failedCalls, failovers } = client)
    times.push(Math.round(now / 1000))
    if (times.length > points) times.shift()
  }

  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(step), Effect.sync(sample))))

  return Series.of({
    step,
    window: step * points,
    report: ({ services: wanted, step: asked, window }) => {
      const each = Math.max(1, Math.round(asked / step))
      const length = Math.min(times.length, Math.ceil(window / step))
      // Whole points of the asked time, the newest last.
      const first = times.length - Math.floor(length / each) * each
      const merged = (series: Points): ReadonlyArray<Point | undefined> => {
        const own: Array<Point | undefined> = []
        for (let at = first; at < times.length; at += each) own.push(merge(series.slice(at, at + each)))
        return own
      }
      const own = merged(gateway)
      const others_ = merged(others)
      return {
        step: each * step / 1000,
        times: times.filter((_, at) => at >= first && (at - first) % each === each - 1),
        gateway: {
          ...columnsOf(own),
          failovers: own.map((point) => point?.failovers ?? null),
          memory: own.map((point) => point?.memory ?? null)
        },
        services: Array.from(services)
          .filter(([service]) => wanted === undefined || wanted.includes(service))
          .map(([service, series]) => ({ service, ...columnsOf(merged(series)) }))
          .sort((a, b) => a.service < b.service ? -1 : 1),
        ...others_.some((point) => point !== undefined) ? { others: columnsOf(others_) } : {}
      }
    }
  })
})

const columnsOf = (series: ReadonlyArray<Point | undefined>) => ({
  calls: series.map((point) => point?.calls ?? null),
  failures: series.map((point) => point?.failures ?? null),
  inFlight: series.map((point) => point?.inFlight ?? null),
  p50: series.map((point) => point?.p50 ?? null),
  p95: series.map((point) => point?.p95 ?? null)
})

/** Points as one: counts are added, the latest of what stands is taken, percentiles are weighted by the calls. */
const merge = (series: ReadonlyArray<Point | undefined>): Point | undefined => {
  const there = series.filter((point) => point !== undefined)
  const last = there.at(-1)
  if (last === undefined || there.length === 1) return last
  const weighted = (of: (point: Point) => number | undefined): number | undefined => {
    const measured = there.filter((point) => of(point) !== undefined)
    const weight = measured.reduce((sum, point) => sum + point.calls, 0)
    return weight === 0 ? undefined : measured.reduce((sum, point) => sum + of(point)! * point.calls, 0) / weight
  }
  return {
    calls: there.reduce((sum, point) => sum + point.calls, 0),
    failures: there.reduce((sum, point) => sum + point.failures, 0),
    inFlight: last.inFlight,
    ...last.failovers === undefined
      ? {}
      : { failovers: there.reduce((sum, { failovers = 0 }) => sum + failovers, 0) },
    p50: weighted((point) => point.p50),
    p95: weighted((point) => point.p95),
    memory: last.memory
  }
}

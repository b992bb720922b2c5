/**
 * Series of metrics in effect's registry that live as long as a scope: what the process's exporters see.
 *
 * **Mental model**: durations are recorded as they end; everything else is read from memory when somebody looks, so that
 * nothing is counted twice.
 *
 * **Gotchas**: a series is known by its name and attributes. Two gateways in one process need a `Metric.MetricRegistry`
 * or `Metric.CurrentMetricAttributes` each, or they show the same series.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import type * as Scope from "effect/Scope"

/**
 * What a series is about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Family {
  /** Name in OpenTelemetry's manner or Prometheus's. */
  readonly name: string
  readonly help: string
  /** UCUM: `s`, `By`. */
  readonly unit?: string | undefined
}

/**
 * A histogram's series.
 *
 * @category models
 * @since 0.1.0
 */
export interface Histogram {
  /** Plain. */
  readonly record: (value: number) => void
  readonly remove: () => void
}

/**
 * Makes series and removes them.
 *
 * @category models
 * @since 0.1.0
 */
export interface Instruments {
  /** The result removes the series. */
  readonly counter: (family: Family, labels: Labels, read: () => number) => () => void
  /** The result removes the series. */
  readonly gauge: (family: Family, labels: Labels, read: () => number) => () => void
  readonly histogram: (family: Family, labels: Labels, boundaries: ReadonlyArray<number>) => Histogram
}

/**
 * Attributes of a series.
 *
 * @category models
 * @since 0.1.0
 */
export type Labels = Readonly<Record<string, string>>

/**
 * Boundaries in seconds that the conventions name for operations.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md
 * @category constants
 * @since 0.1.0
 */
export const boundaries: ReadonlyArray<number> = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]

/**
 * What stands for values that are not to be labels: unknown ones, and those over a bound.
 *
 * @category constants
 * @since 0.1.0
 */
export const other = "_OTHER"

const ignore = () => {}

/**
 * Makes the instruments of a scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make: Effect.Effect<Instruments, never, Scope.Scope> = Effect.gen(function*() {
  const context = yield* Effect.context()
  const removals = new Set<() => void>()
  yield* Effect.addFinalizer(() =>
    Effect.sync(() => {
      for (const remove of removals) remove()
    })
  )
  const removable = (act: () => void): () => void => {
    const remove = () => {
      removals.delete(remove)
      act()
    }
    removals.add(remove)
    return remove
  }
  const options = ({ help, unit }: Family, labels: Labels) => ({
    description: help,
    attributes: unit === undefined ? labels : { ...labels, unit }
  })
  return {
    counter: (family, labels, read) => {
      const metric = Metric.counter(family.name, { ...options(family, labels), incremental: true })
      const get = () => ({ count: read(), incremental: true })
      return removable(Metric.registerUnsafe(metric, context, { get, update: ignore, modify: ignore }).remove)
    },
    gauge: (family, labels, read) => {
      const metric = Metric.gauge(family.name, options(family, labels))
      const get = () => ({ value: read() })
      return removable(Metric.registerUnsafe(metric, context, { get, update: ignore, modify: ignore }).remove)
    },
    histogram: (family, labels, boundaries) => {
      const metric = Metric.histogram(family.name, { ...options(family, labels), boundaries })
      return {
        record: (value) => metric.updateUnsafe(value, context),
        remove: removable(() => Metric.removeUnsafe(metric, context))
      }
    }
  }
})

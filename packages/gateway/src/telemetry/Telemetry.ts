/**
 * Where what the process measures, traces and logs goes: OTLP over HTTP, and standard error.
 *
 * **Mental model**: library code records with effect's `Metric`, `Tracer` and `Logger` alone. This layer provides the
 * tracer, the loggers and the exporters; below it in a program means around everything that is to be seen. Without `otlp`
 * no span is made, and the trace context of clients is passed on to servers as it came.
 *
 * **Gotchas**: all spans whose parent is sampled, or that have none, are exported; sampling beyond that is the collector's.
 *
 * @since 0.1.0
 */
import * as Array from "effect/Array"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Formatter from "effect/Formatter"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as LogLevel from "effect/LogLevel"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"

/**
 * Settings.
 *
 * @category models
 * @since 0.1.0
 */
export interface TelemetryOptions {
  /** An OpenTelemetry collector. Default: nothing is exported. */
  readonly otlp?: {
    /** Address without the path: `http://127.0.0.1:4318`. */
    readonly url: string
    /** What the collector asks for, tokens among it. */
    readonly headers?: Readonly<Record<string, string>> | undefined
    /** Time between two exports. Default 10 s. */
    readonly interval?: Duration.Input | undefined
  } | undefined
  readonly log?: {
    /** The least that is logged. Default `info`. */
    readonly level?: Level | undefined
    /** Default `logfmt`. */
    readonly format?: Format | undefined
  } | undefined
  /** Name of the service in what is exported. Default `portolan`. */
  readonly serviceName?: string | undefined
  readonly version?: string | undefined
}

/**
 * How much is logged.
 *
 * @category models
 * @since 0.1.0
 */
export type Level = (typeof levels)[number]

/**
 * How log lines are written.
 *
 * @category models
 * @since 0.1.0
 */
export type Format = (typeof formats)[number]

/** All levels, the quietest first. */
export const levels = ["off", "error", "warn", "info", "debug", "trace"] as const

/** All formats. */
export const formats = ["logfmt", "json", "pretty"] as const

const severities: Readonly<Record<Level, LogLevel.LogLevel>> = {
  off: "None",
  error: "Error",
  warn: "Warn",
  info: "Info",
  debug: "Debug",
  trace: "Trace"
}

const spanOf = ({ fiber }: Logger.Options<unknown>): Tracer.AnySpan | undefined =>
  Context.getOrUndefined(fiber.context, Tracer.ParentSpan)

const loggers: Readonly<Record<Format, () => Logger.Logger<unknown, unknown>>> = {
  logfmt: () =>
    Logger.withConsoleError(Logger.make((options) => {
      const line = Logger.formatLogFmt.log(options)
      const span = spanOf(options)
      return span === undefined ? line : `${line} traceId=${span.traceId} spanId=${span.spanId}`
    })),
  json: () =>
    Logger.withConsoleError(Logger.make((options) => {
      const entry = Logger.formatStructured.log(options)
      const span = spanOf(options)
      return Formatter.formatJson(
        span === undefined ? entry : { ...entry, traceId: span.traceId, spanId: span.spanId }
      )
    })),
  pretty: () => {
    const pretty = Logger.consolePretty({ mode: "tty", colors: process.stderr.isTTY === true })
    return Logger.make((options) => {
      const span = spanOf(options)
      pretty.log(
        span === undefined
          ? options
          : { ...options, message: [...Array.ensure(options.message), `trace ${span.traceId}`] }
      )
    })
  }
}

/**
 * Layer that writes logs to standard error.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerLog = (options: TelemetryOptions["log"] = {}): Layer.Layer<never> =>
  Layer.mergeAll(
    Logger.layer([loggers[options.format ?? "logfmt"]()]),
    Layer.succeed(References.MinimumLogLevel, severities[options.level ?? "info"]),
    Layer.succeed(Logger.LogToStderr, true)
  )

/**
 * Layer that exports to an OpenTelemetry collector: metrics, traces and logs.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOtlp = (
  { headers, interval = "10 seconds", url }: NonNullable<TelemetryOptions["otlp"]>,
  { serviceName = "portolan", version }: Pick<TelemetryOptions, "serviceName" | "version"> = {}
): Layer.Layer<never> =>
  // Most programs export nothing: the exporters are loaded by those that do.
  Layer.unwrap(
    Effect.map(
      Effect.promise(() => import("../internal/otlp.ts")),
      (otlp) =>
        otlp.layer({
          baseUrl: url,
          headers,
          resource: { serviceName, serviceVersion: version },
          tracerExportInterval: interval,
          metricsExportInterval: interval,
          loggerExportInterval: interval
        })
    )
  )

/**
 * Layer that provides all of it.
 *
 * **Example** (Exporting what a gateway does)
 *
 * ```ts
 * const Main = Gateway.layer().pipe(
 *   Layer.provideMerge(Portolan.layer()),
 *   Layer.provide(Telemetry.layer({ otlp: { url: "http://127.0.0.1:4318" }, log: { format: "json" } }))
 * )
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: TelemetryOptions = {}): Layer.Layer<never> =>
  options.otlp === undefined
    ? layerLog(options.log)
    : Layer.provideMerge(layerOtlp(options.otlp, options), layerLog(options.log))

/**
 * Spans of operations, after OpenTelemetry's conventions for MCP.
 *
 * **Details**: none is made unless the program has a tracer of its own. Session ids are left out, because whoever knows
 * one can use the session.
 *
 * @see https://github.com/open-telemetry/semantic-conventions-genai/blob/main/docs/gen-ai/mcp.md
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Tracer from "effect/Tracer"
import type { Reply } from "../JsonRpc.ts"
import * as Operations from "./Operations.ts"

/**
 * Whether somebody listens: the program has an exporter, or a tracer of its own.
 *
 * @category accessors
 * @since 0.1.0
 */
export const wanted: Effect.Effect<boolean> = Effect.map(
  Tracer.Tracer,
  (tracer) => tracer !== Tracer.nativeTracer
)

/** What the conventions call the status description. */
const messageOf = (exit: Exit.Exit<Reply, Error>, error: Operations.OperationError): string =>
  Exit.isSuccess(exit) && "error" in exit.value ? exit.value.error.message : error.type

/** An error that comes out in the exporter as it stands here. */
const failure = (type: string, message: string): Exit.Exit<never, Error> => {
  const error = new Error(message)
  error.name = type
  error.stack = `${type}: ${message}`
  return Exit.fail(error)
}

/**
 * What a span is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface SpanOptions {
  readonly kind: "server" | "client"
  readonly method: string
  /** The tool or prompt, where its values are few. */
  readonly target: string | undefined
  readonly attributes: Readonly<Record<string, unknown>>
  readonly parent: Tracer.AnySpan | undefined
  readonly links?: ReadonlyArray<Tracer.SpanLink> | undefined
}

/**
 * Runs an operation within a span of its own, and ends that as the operation ends: replies with an error are errors too.
 *
 * @category combinators
 * @since 0.1.0
 */
export const within = <E extends Error>(
  options: SpanOptions,
  failed: (error: E) => string,
  run: (span: Tracer.Span) => Effect.Effect<Reply, E>
): Effect.Effect<Reply, E> =>
  Effect.gen(function*() {
    const { kind, links, parent } = options
    const clock = yield* Clock.Clock
    const method = Operations.methodOf(options.method)
    const name = options.target === undefined ? method : `${method} ${options.target}`
    const span = yield* Effect.makeSpan(name, {
      kind,
      attributes: { ...Operations.attributesOf(method, options.target), ...options.attributes },
      ...(parent === undefined ? { root: true } : { parent }),
      ...(links === undefined ? undefined : { links })
    })
    return yield* run(span).pipe(
      Effect.withParentSpan(span, { captureStackTrace: false }),
      Effect.onExit((exit) =>
        Effect.sync(() => {
          const error = Operations.errorOf(exit, failed)
          if (error !== undefined) {
            span.attribute("error.type", error.type)
            if (error.code !== undefined) span.attribute("rpc.response.status_code", error.code)
          }
          span.end(
            clock.currentTimeNanosUnsafe(),
            error === undefined || Exit.hasInterrupts(exit) || Exit.hasDies(exit)
              ? exit
              : failure(error.type, messageOf(exit, error))
          )
        })
      )
    )
  })

/**
 * W3C trace context and baggage, in the headers of a request and in the `_meta` of its parameters.
 *
 * **Details**: what isn't well-formed is treated as absent, and never gets into a header. `traceparent` and `tracestate`
 * belong together; `baggage` stands for itself.
 *
 * @see https://www.w3.org/TR/trace-context/
 * @see https://www.w3.org/TR/baggage/
 * @see https://modelcontextprotocol.io/community/seps/414-request-meta
 * @since 0.1.0
 */
import * as Tracer from "effect/Tracer"
import type { Fields } from "../JsonRpc.ts"

/**
 * A trace context: the names are those of the headers and of the keys in `_meta`.
 *
 * @category models
 * @since 0.1.0
 */
export interface TraceContext {
  readonly traceparent?: string | undefined
  readonly tracestate?: string | undefined
  readonly baggage?: string | undefined
}

const wellFormed = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[!-~]*)?$/
const visible = /^[\t -~]+$/
/** Both specifications let a longer one be dropped. */
const MaxState = 512
const MaxBaggage = 8_192

const text = (value: unknown, longest: number): string | undefined =>
  typeof value === "string" && value.length <= longest && visible.test(value) ? value : undefined

/**
 * Reads a trace context from headers or from a `_meta`. `undefined` where there is none.
 *
 * @category decoding
 * @since 0.1.0
 */
export const read = (fields: Fields | undefined): TraceContext | undefined => {
  if (fields === undefined) return undefined
  const { baggage, traceparent, tracestate } = fields
  if (traceparent === undefined && baggage === undefined) return undefined
  const parent = typeof traceparent === "string" && traceparent.length <= MaxState && wellFormed.test(traceparent)
    ? traceparent
    : undefined
  const state = parent === undefined ? undefined : text(tracestate, MaxState)
  const bag = text(baggage, MaxBaggage)
  return parent === undefined && bag === undefined
    ? undefined
    : { traceparent: parent, tracestate: state, baggage: bag }
}

/**
 * Fills what a context doesn't say with what another says.
 *
 * @category combinators
 * @since 0.1.0
 */
export const orElse = (one: TraceContext | undefined, other: TraceContext | undefined): TraceContext | undefined => {
  if (one === undefined || other === undefined) return one ?? other
  const { traceparent, tracestate } = one.traceparent === undefined ? other : one
  return { traceparent, tracestate, baggage: one.baggage ?? other.baggage }
}

/**
 * Makes the span that a context names; `undefined` where it names none.
 *
 * @category converting
 * @since 0.1.0
 */
export const toSpan = (context: TraceContext | undefined): Tracer.ExternalSpan | undefined => {
  const [, traceId, spanId, flags] = wellFormed.exec(context?.traceparent ?? "") ?? []
  return traceId === undefined || spanId === undefined || flags === undefined
    ? undefined
    : Tracer.externalSpan({ traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 })
}

/**
 * Makes the context by which a span becomes the parent of what the next hop does; the rest is as it came.
 *
 * @category converting
 * @since 0.1.0
 */
export const ofSpan = (span: Tracer.AnySpan, received: TraceContext | undefined): TraceContext => ({
  traceparent: `00-${span.traceId.padStart(32, "0")}-${span.spanId.padStart(16, "0")}-${span.sampled ? "01" : "00"}`,
  tracestate: received?.tracestate,
  baggage: received?.baggage
})

/**
 * Puts a context in the place of the one that headers or a `_meta` have.
 *
 * @category combinators
 * @since 0.1.0
 */
export const write = <A>(
  { baggage, traceparent, tracestate }: TraceContext,
  fields: Readonly<Record<string, A>> | undefined
): Record<string, A | string> => {
  const written: Record<string, A | string> = { ...fields }
  if (traceparent !== undefined) {
    written["traceparent"] = traceparent
    if (tracestate === undefined) delete written["tracestate"]
    else written["tracestate"] = tracestate
  }
  if (baggage !== undefined) written["baggage"] = baggage
  return written
}

/**
 * Where a call would go now, and why, as the REST API shows it.
 *
 * @since 0.1.0
 */
import type * as Explanation from "@portolan/core/Explanation"
import * as Schema from "effect/Schema"
import { HealthStatus } from "./Representations.ts"

/**
 * An instance with what it is judged by.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CandidateView = Schema.Struct({
  instance: Schema.String,
  service: Schema.String,
  source: Schema.String,
  version: Schema.String,
  region: Schema.optionalKey(Schema.String),
  status: HealthStatus,
  score: Schema.Finite,
  latency: Schema.optionalKey(Schema.Finite.annotate({ description: "Peak EWMA of its latency, ms" })),
  inFlight: Schema.Int,
  weight: Schema.Finite,
  circuit: Schema.Literals(["closed", "open", "half-open"]),
  stale: Schema.Boolean,
  reason: Schema.String
}).annotate({ identifier: "Candidate" })
export type CandidateView = typeof CandidateView.Type

/**
 * What would become of a call.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ExplanationView = Schema.Struct({
  requested: Schema.String,
  rule: Schema.optionalKey(Schema.Struct({
    number: Schema.Int.annotate({ description: "Its place among the rules; 1 is the first" }),
    name: Schema.String,
    text: Schema.String
  })),
  strategy: Schema.String,
  picked: Schema.optionalKey(CandidateView),
  considered: Schema.Array(CandidateView).annotate({ description: "Those that the strategy passed over" }),
  leftOut: Schema.Array(CandidateView),
  more: Schema.Struct({ considered: Schema.Int, leftOut: Schema.Int })
    .annotate({ description: "How many more there are that aren't listed" }),
  failure: Schema.optionalKey(
    Schema.Struct({
      kind: Schema.Literals(["unknown", "unavailable", "overloaded", "lost"]),
      reason: Schema.String,
      waits: Schema.Boolean.annotate({ description: "Whether the call would wait for room before it fails" }),
      retryAfter: Schema.optionalKey(Schema.Finite.annotate({ description: "When it is worth coming again, ms" }))
    }).annotate({ description: "Why nothing is picked" })
  )
}).annotate({ identifier: "Explanation" })
export type ExplanationView = typeof ExplanationView.Type

const candidateOf = (candidate: Explanation.Candidate): CandidateView => ({
  instance: candidate.instance,
  service: candidate.service,
  source: candidate.source,
  version: candidate.version,
  ...candidate.region === undefined ? {} : { region: candidate.region },
  status: candidate.status,
  score: candidate.score,
  ...candidate.latency === undefined ? {} : { latency: Math.round(candidate.latency * 100) / 100 },
  inFlight: candidate.inFlight,
  weight: candidate.weight,
  circuit: candidate.circuit,
  stale: candidate.stale,
  reason: candidate.reason
})

/**
 * Makes the view of an explanation.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (
  { considered, failure, leftOut, more, picked, requested, rule, strategy }: Explanation.Explanation
): ExplanationView => ({
  requested,
  ...rule === undefined ? {} : { rule },
  strategy,
  ...picked === undefined ? {} : { picked: candidateOf(picked) },
  considered: considered.map(candidateOf),
  leftOut: leftOut.map(candidateOf),
  more,
  ...failure === undefined ? {} : {
    failure: {
      kind: failure.kind,
      reason: failure.reason,
      waits: failure.waits,
      ...failure.retryAfter === undefined ? {} : { retryAfter: Math.round(failure.retryAfter) }
    }
  }
})

/**
 * The health of an instance with what happened to it.
 *
 * @since 0.1.0
 */
import { type Circuit, describeCircuit, type HealthHistory } from "@portolan/core/Health"
import * as Schema from "effect/Schema"
import { HealthDetail, HealthStatus } from "./Representations.ts"

const Time = Schema.String.annotate({ description: "ISO 8601" })
const CircuitState = Schema.Literals(["closed", "open", "half-open"])

/**
 * Health of an instance, its circuit breaker, and its last checks and changes.
 *
 * @category schemas
 * @since 0.1.0
 */
export const InstanceHealth = Schema.Struct({
  ...HealthDetail.fields,
  circuit: Schema.Struct({
    state: CircuitState,
    ejections: Schema.Int.annotate({ description: "How often calls took the instance out of traffic" }),
    /** The following while it isn't closed. */
    reason: Schema.optionalKey(Schema.String),
    cause: Schema.optionalKey(Schema.Literals(["failures", "success-rate", "pushback"])),
    since: Schema.optionalKey(Time),
    until: Schema.optionalKey(Schema.String.annotate({ description: "From when trial calls are taken; ISO 8601" })),
    times: Schema.optionalKey(Schema.Int.annotate({ description: "How often in a row: what its time grows with" }))
  }),
  history: Schema.Struct({
    checks: Schema.Array(Schema.Struct({
      at: Time,
      result: Schema.Literals(["pass", "degraded", "fail"]),
      latency: Schema.Finite.annotate({ description: "ms" }),
      reason: Schema.String
    })),
    states: Schema.Array(
      Schema.Struct({ at: Time, status: HealthStatus, circuit: CircuitState, reason: Schema.String })
    )
  }).annotate({ description: "The last 60 checks and changes, oldest first" })
}).annotate({ identifier: "InstanceHealth" })
export type InstanceHealth = typeof InstanceHealth.Type

/**
 * What is known of an instance beside its `HealthDetail`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Known {
  readonly circuit: Circuit | undefined
  /** Whether that takes trial calls now. */
  readonly admits: boolean
  readonly ejections: number
  readonly history: HealthHistory
  /** This moment of `Balancer.now()`, which circuits are told in, and what makes epoch ms of it. */
  readonly now: number
  readonly timeOf: (moment: number) => number
}

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const of = (
  detail: HealthDetail,
  { admits, circuit, ejections, history: { checks, states }, now, timeOf }: Known
): InstanceHealth => {
  const iso = (time: number): string => new Date(time).toISOString()
  return {
    ...detail,
    circuit: circuit === undefined ? { state: "closed", ejections } : {
      state: circuit.state,
      ejections,
      reason: describeCircuit(circuit, now, admits),
      cause: circuit.cause,
      since: iso(timeOf(circuit.since)),
      until: iso(timeOf(circuit.until)),
      times: circuit.times
    },
    history: {
      checks: checks.map((check) => ({ ...check, latency: Math.round(check.latency * 100) / 100, at: iso(check.at) })),
      states: states.map((state) => ({ ...state, at: iso(state.at) }))
    }
  }
}

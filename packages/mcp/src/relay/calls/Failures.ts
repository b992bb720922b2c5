/**
 * Whose failure an attempt is, and what the client is told when the last one failed.
 *
 * @since 0.1.0
 */
import type { AttemptFailure, FailedAttempt, RouteError } from "@portolan/core/Router"
import type { Era } from "../../Era.ts"
import { Code, type JsonRpcErrorObject } from "../../JsonRpc.ts"
import { oneLine } from "../../upstream/transports/Connection.ts"
import type { UpstreamError } from "../../upstream/Upstream.ts"
import * as Translation from "./Translation.ts"

/**
 * An instance, and the registry that announces it.
 *
 * @category models
 * @since 0.2.0
 */
export interface Place {
  readonly source: string
  readonly instance: string
}

/**
 * What an attempt came to: the server answered an error, or gave no answer.
 *
 * @category models
 * @since 0.1.0
 */
export type Failure =
  | { readonly _tag: "Answered"; readonly error: JsonRpcErrorObject; readonly at?: Place | undefined }
  | UpstreamError

/** Errors that speak of the server's state, or of the hop to it, and not of what the caller asked. */
const instanceCodes: ReadonlySet<number> = new Set([
  Code.internalError,
  Code.unavailable,
  Code.interrupted,
  Code.headerMismatch,
  Code.unsupportedProtocolVersion
])

/**
 * Makes the failure of an attempt that the server answered with an error.
 *
 * @category constructors
 * @since 0.1.0
 */
export const answered = (error: JsonRpcErrorObject, at?: Place): AttemptFailure<Failure> => ({
  error: { _tag: "Answered", error, at },
  phase: "answered",
  blame: instanceCodes.has(error.code) ? "instance" : "caller",
  reason: oneLine(`answered error ${error.code}: ${error.message}`)
})

/** With any other status a time to come again says nothing of how busy a server is. */
const overloads: ReadonlySet<number | undefined> = new Set([429, 503])

/**
 * Makes the failure of an attempt that got no answer.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unanswered = (error: UpstreamError): AttemptFailure<Failure> => ({
  error,
  phase: error.phase,
  // Whoever asks for too much gets as much elsewhere, and is not to have instances taken from others.
  blame: error.tooLong === true ? "caller" : "instance",
  reason: error.reason,
  retryAfter: overloads.has(error.status) ? error.retryAfter : undefined
})

/** Whether the request may have run. What came back in place of an answer proves the contrary where it blames the request. */
const mayHaveRun = ({ phase, status }: UpstreamError): boolean =>
  phase === "mayHaveRun" || (phase === "answered" && (status === undefined || status < 400 || status >= 500))

/**
 * Makes the failure of an attempt that must not leave a session which is over: nobody's fault, and final.
 *
 * @category constructors
 * @since 0.1.0
 */
export const lost = (error: UpstreamError): AttemptFailure<Failure> => ({ ...unanswered(error), blame: "caller" })

const interrupted = (
  what: string,
  instance: string,
  reason: string,
  repeatable: boolean,
  failed: ReadonlyArray<FailedAttempt>
): JsonRpcErrorObject => ({
  code: Code.interrupted,
  message: `${what}: ${reason} (instance ${instance}). It may have run` +
    (repeatable
      ? "."
      : ", and was not repeated: the server doesn't declare it read-only or idempotent."),
  data: { reason: "interrupted", instance, phase: "mayHaveRun", failed }
})

const unavailable = (
  what: string,
  why: string,
  data: Record<string, unknown>,
  retryAfter?: number
): JsonRpcErrorObject => ({
  code: Code.unavailable,
  message: `${what}: ${why}` +
    (retryAfter === undefined ? "" : `; try again in ${Math.max(Math.ceil(retryAfter / 100), 1) / 10} s`),
  data: retryAfter === undefined ? data : { ...data, retryAfterMs: Math.ceil(retryAfter) }
})

const sessionLost = (what: string, why: string, instance: string): JsonRpcErrorObject =>
  unavailable(what, `${why} (instance ${instance}): what it kept for this session is lost; begin a new session`, {
    reason: "sessionLost",
    instance
  })

/**
 * Makes the error that a client gets when a request could not be answered.
 *
 * @category constructors
 * @since 0.1.0
 */
export const toClient = (
  error: RouteError<Failure>,
  request: { readonly name: string; readonly repeatable: boolean; readonly era: Era }
): JsonRpcErrorObject => {
  switch (error._tag) {
    case "NoInstance":
      return unavailable(
        request.name,
        error.kind === "overloaded" ? `overloaded: ${error.reason}` : error.reason,
        { reason: error.kind },
        error.retryAfter
      )
    case "SessionLost":
      return sessionLost(request.name, error.reason, error.instance)
    case "DeadlineExceeded": {
      const { instance, phase, timeout } = error
      const reason = `no answer within ${timeout} ms`
      return phase === "mayHaveRun"
        ? interrupted(request.name, instance, reason, request.repeatable, [])
        : unavailable(request.name, `${reason} (instance ${instance})`, { reason: "timeout", instance, phase, timeout })
    }
    case "CallFailed": {
      const { failed, failure } = error
      if (failure.error._tag === "Answered") return Translation.error(request.era, failure.error.error)
      const instance = failure.error.instance
      if (failure.error.sessionLost === true && failure.blame === "caller") {
        return sessionLost(request.name, failure.reason, instance)
      }
      // A request that may be repeated is told when: whether it ran is of no concern then, unless it was lost.
      if (failure.phase === "mayHaveRun" || (!request.repeatable && mayHaveRun(failure.error))) {
        return interrupted(request.name, instance, failure.reason, request.repeatable, failed)
      }
      return unavailable(
        request.name,
        `${failure.reason} (instance ${instance})`,
        { reason: "unavailable", instance, phase: failure.phase, failed },
        failure.retryAfter
      )
    }
  }
}

/**
 * Sends requests over the link that their caller takes, and measures them.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { Reply } from "../../JsonRpc.ts"
import type { Measured } from "../../telemetry/Sending.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"
import { type Caller, type ServerProfile, UpstreamError, type UpstreamRequest } from "../Upstream.ts"
import type { Claim } from "./Seat.ts"

/**
 * What it needs of the upstream.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  /** Id of the instance, for people. Plain. */
  readonly id: () => string
  /** Of the gateway's own link. Plain. */
  readonly profile: () => ServerProfile | undefined
  /** What is measured and traced of the requests. */
  readonly measured: Measured | undefined
  /**
   * The link for a caller, now or when there is one, with a claim where it is its own; or why there is none. One of the two
   * is called, once. The result is how to stop waiting. Plain.
   */
  readonly lease: (
    caller: Caller | undefined,
    connected: (link: Link, claim?: Claim) => void,
    failed: (failure: Failure) => void
  ) => (() => void) | undefined
}

/**
 * Makes the error of a failure.
 *
 * @category errors
 * @since 0.2.0
 */
export const toError = (instance: string, failure: Failure): UpstreamError =>
  new UpstreamError({
    instance,
    phase: failure.phase,
    reason: failure.reason,
    ...(failure.status === undefined ? undefined : { status: failure.status }),
    ...(failure.retryAfter === undefined ? undefined : { retryAfter: failure.retryAfter }),
    ...(failure.sessionLost === true ? { sessionLost: true } : undefined),
    ...(failure.tooLong === true ? { tooLong: true } : undefined),
    ...(failure.cause === undefined ? undefined : { cause: failure.cause })
  })

/**
 * Makes what sends a request: see `Upstream.request`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  { id, lease, measured, profile }: Options
): (request: UpstreamRequest) => Effect.Effect<Reply, UpstreamError> => {
  const send = (request: UpstreamRequest): Effect.Effect<Reply, UpstreamError> =>
    Effect.callback((resume) => {
      const ended = measured?.begin(request, profile())
      let cancel: () => void = () => {}
      const replied = (reply: Reply) => {
        ended?.(reply)
        resume(Effect.succeed(reply))
      }
      const fail = (failure: Failure) => {
        const error = toError(id(), failure)
        ended?.(error)
        resume(Effect.fail(error))
      }
      const { caller, session } = request
      const go = (again: boolean) => (link: Link, claim?: Claim) => {
        if (session !== undefined && session !== (claim === undefined ? profile() : claim.profile)?.session) {
          claim?.release()
          return fail({ phase: "notSent", sessionLost: true, reason: "the session with it is over" })
        }
        let failed = false
        const stop = link.request(
          request,
          claim === undefined ? replied : (reply) => {
            claim.release()
            replied(reply)
          },
          (failure) => {
            failed = true
            claim?.release()
            // It has not run: once more, over the session that is opened now.
            if (failure.sessionLost === true && again && session === undefined) {
              cancel = lease(caller, go(false), fail) ?? cancel
            } else fail(failure)
          }
        )
        if (failed) return
        cancel = claim === undefined ? stop : () => {
          stop()
          claim.release(true)
        }
      }
      try {
        cancel = lease(caller, go(true), fail) ?? cancel
      } catch (defect) {
        ended?.(toError(id(), { phase: "notSent", reason: "not sent" }))
        throw defect
      }
      return Effect.sync(() => {
        cancel()
        ended?.(undefined)
      })
    })

  const traced = measured?.traced
  return traced === undefined ? send : (request) => traced(request, profile(), send)
}

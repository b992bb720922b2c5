import type { AttemptFailure, RouteRequest } from "../../Router.ts"
import type { Settings } from "./settings.ts"

/**
 * Why a failed attempt must not be followed by another, if so.
 *
 * @internal
 */
export const unrepeatable = (
  failure: AttemptFailure<unknown>,
  request: RouteRequest,
  committed: boolean
): string | undefined => {
  if (failure.blame === "caller") return "the request is at fault, not the instance"
  if (committed) return "part of the answer has been passed on"
  if (failure.phase !== "notSent" && !request.repeatable) return "may have run and isn't repeatable"
  return undefined
}

/**
 * The pause before the nth retry of a call, at another instance than those that failed, ms: full jitter, and none for the
 * first one, or for one whose predecessor was merely sent away.
 *
 * @internal
 */
export const elsewhere = (
  failure: AttemptFailure<unknown>,
  retry: number,
  { first, longest }: Settings["backoff"],
  random: () => number
): number =>
  retry === 1 || failure.retryAfter !== undefined ? 0 : random() * Math.min(first * 2 ** (retry - 1), longest)

/**
 * The pause before the nth retry of a call where only instances are left that failed, ms; nothing, or why,
 * where it isn't worth it.
 *
 * **Details**: the first comes soon, as a connection may just have been closed. The next ones leave the time that a server
 * needs to start again. One that asked for time gets it, unless that is longer than a call may wait. One that answered is
 * there, and would answer the same.
 *
 * @internal
 */
export const here = (
  { phase, retryAfter }: AttemptFailure<unknown>,
  retry: number,
  { first, longest }: Settings["backoff"],
  wait: number,
  random: () => number
): number | string | undefined => {
  if (retryAfter !== undefined) {
    // Not all of those that it sent away at the same time.
    return retryAfter > wait
      ? `it asks to be left alone for ${Math.ceil(retryAfter)} ms`
      : retryAfter + random() * first
  }
  if (phase === "answered") return undefined
  return retry === 1 ? random() * first : longest * (1 + random()) / 2
}

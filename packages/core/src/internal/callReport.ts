import type { RouteRequest } from "../Router.ts"

/**
 * Counts what became of calls. Plain; each costs nanoseconds.
 *
 * @internal
 */
export class CallReport {
  /** A call ended. `service`: of the last instance that was tried, where there was one. */
  ended(
    _request: RouteRequest,
    _service: string | undefined,
    _outcome: "success" | "failure" | "caller" | "unavailable" | "shed" | "interrupted",
    _latency: number
  ): void {}

  /** A retry was made, or the budget had none left. */
  retried(_service: string, _allowed: boolean): void {}

  /** A hedge was sent, or the budget had none left. */
  hedged(_service: string, _allowed: boolean): void {}

  /** The answer of a hedge was used. */
  hedgeWon(_service: string): void {}

  /** A call left the queue after so many ms, to run or shed. */
  queued(_service: string, _waited: number, _shed: boolean): void {}
}

import * as Schema from "effect/Schema"
import type { AttemptFailure, FailedAttempt } from "../../Router.ts"

/**
 * Error raised when nothing can be picked: nobody announces it (`unknown`), nobody that does is routable
 * (`unavailable`), or all are at their cap (`overloaded`).
 *
 * @category errors
 * @since 0.1.0
 */
export class NoInstance extends Schema.TaggedError<NoInstance>()("NoInstance", {
  requested: Schema.String,
  kind: Schema.Literals(["unknown", "unavailable", "overloaded"]),
  reason: Schema.String,
  /** When it is worth coming again, ms; of `overloaded` alone. */
  retryAfter: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return `${this.requested}: ${this.reason}`
  }
}

/**
 * Error raised when the instance that a strict call is bound to is gone, or down. While it is ejected it isn't lost.
 *
 * @category errors
 * @since 0.1.0
 */
export class SessionLost extends Schema.TaggedError<SessionLost>()("SessionLost", {
  requested: Schema.String,
  /** Id of the instance. */
  instance: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.requested}: ${this.reason}`
  }
}

/**
 * Error raised when the last attempt that was allowed failed. `error` is the protocol's own.
 *
 * @category errors
 * @since 0.1.0
 */
export class CallFailed<E> {
  readonly _tag = "CallFailed"
  readonly requested: string
  readonly failure: AttemptFailure<E>
  readonly failed: ReadonlyArray<FailedAttempt>
  /** Why it was not tried again. */
  readonly stopped: string
  constructor(requested: string, failure: AttemptFailure<E>, failed: ReadonlyArray<FailedAttempt>, stopped: string) {
    this.requested = requested
    this.failure = failure
    this.failed = failed
    this.stopped = stopped
  }
}

/**
 * Error raised when the deadline passed. `phase` tells whether the call may have run.
 *
 * @category errors
 * @since 0.1.0
 */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>()("DeadlineExceeded", {
  requested: Schema.String,
  /** ms */
  timeout: Schema.Finite,
  phase: Schema.Literals(["notSent", "mayHaveRun", "answered"]),
  instance: Schema.String
}) {
  override get message(): string {
    return `${this.requested}: no answer from ${this.instance} within ${this.timeout} ms`
  }
}

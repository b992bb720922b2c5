import * as Schema from "effect/Schema"
import type { AttemptFailure, FailedAttempt } from "../Router.ts"

/**
 * Error raised when nothing can be picked: nobody announces it (`unknown`), nobody that does is routable
 * (`unavailable`), or all are at their cap (`overloaded`).
 *
 * @category errors
 * @since 0.1.0
 */
export class NoInstance extends Schema.TaggedError<NoInstance>()("NoInstance", {
  name: Schema.String,
  kind: Schema.Literals(["unknown", "unavailable", "overloaded"]),
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.name}: ${this.reason}`
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
  readonly name: string
  readonly failure: AttemptFailure<E>
  readonly failed: ReadonlyArray<FailedAttempt>
  /** Why it was not tried again. */
  readonly stopped: string
  constructor(name: string, failure: AttemptFailure<E>, failed: ReadonlyArray<FailedAttempt>, stopped: string) {
    this.name = name
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
  name: Schema.String,
  /** ms */
  timeout: Schema.Finite,
  phase: Schema.Literals(["notSent", "mayHaveRun", "answered"]),
  instance: Schema.String
}) {
  override get message(): string {
    return `${this.name}: no answer from ${this.instance} within ${this.timeout} ms`
  }
}

/**
 * How a call of a program can fail. Each says what happened, where, and what to do; `requested` is the name, the URI or
 * the capabilities that were asked for.
 *
 * @since 0.1.0
 */
import { type RouteError, type Routing, SessionLost } from "@portolan/core/Router"
import * as Predicate from "effect/Predicate"
import * as Schema from "effect/Schema"
import { Code, type Fields } from "../JsonRpc.ts"
import * as Failures from "../relay/calls/Failures.ts"

const Attempts = Schema.Array(
  Schema.Struct({ instance: Schema.String, phase: Schema.String, reason: Schema.String })
)

/**
 * Error raised when nobody offers what was asked for, or nobody of those that are left after narrowing.
 *
 * @category errors
 * @since 0.1.0
 */
export class NoTool extends Schema.TaggedError<NoTool>()("NoTool", {
  requested: Schema.String,
  reason: Schema.String
}) {
  override get message(): string {
    return `${this.requested}: ${this.reason}`
  }
}

/**
 * Error raised when services that have nothing to do with each other offer something of this name.
 *
 * @category errors
 * @since 0.1.0
 */
export class AmbiguousTool extends Schema.TaggedError<AmbiguousTool>()("AmbiguousTool", {
  requested: Schema.String,
  candidates: Schema.Array(Schema.Struct({ service: Schema.String, publicName: Schema.String }))
}) {
  override get message(): string {
    const services = this.candidates.map(({ service }) => service).join(", ")
    const names = this.candidates.map(({ publicName }) => publicName).join(" or ")
    return `${this.requested}: ${this.candidates.length} services offer it: ${services}. ` +
      `Call ${names}, or choose with \`service\`, \`capabilities\` or \`query\``
  }
}

/**
 * Error raised when no instance could answer. The call can be made again: it has not run, or may be repeated.
 *
 * @category errors
 * @since 0.1.0
 */
export class CallUnavailable extends Schema.TaggedError<CallUnavailable>()("CallUnavailable", {
  requested: Schema.String,
  reason: Schema.String,
  failed: Attempts,
  /** When it is worth calling again, ms: an instance said so, or all are busy. */
  retryAfter: Schema.optionalKey(Schema.Finite)
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * Error raised when a call was lost on its way, or its server failed to answer it (HTTP 5xx): it may have run, and its tool
 * mostly doesn't say that it may be repeated.
 *
 * @category errors
 * @since 0.1.0
 */
export class CallInterrupted extends Schema.TaggedError<CallInterrupted>()("CallInterrupted", {
  requested: Schema.String,
  reason: Schema.String,
  failed: Attempts
}) {
  override get message(): string {
    return this.reason
  }
}

/**
 * Error raised when a server answered with a JSON-RPC error: wrong arguments, mostly (-32602).
 *
 * @category errors
 * @since 0.1.0
 */
export class CallRefused extends Schema.TaggedError<CallRefused>()("CallRefused", {
  requested: Schema.String,
  code: Schema.Finite,
  reason: Schema.String,
  data: Schema.optionalKey(Schema.Unknown)
}) {
  override get message(): string {
    return `${this.requested}: ${this.reason} (${this.code})`
  }
}

/**
 * Error raised when a tool ran and says that it failed (`isError`).
 *
 * @category errors
 * @since 0.1.0
 */
export class ToolFailed extends Schema.TaggedError<ToolFailed>()("ToolFailed", {
  requested: Schema.String,
  /** What the tool says of it. */
  reason: Schema.String,
  /** The whole result. */
  result: Schema.Record(Schema.String, Schema.Unknown),
  /** Who ran it. */
  instance: Schema.String
}) {
  override get message(): string {
    return `${this.requested}: ${this.reason}`
  }
}

/**
 * Error raised when what a tool answered doesn't fit the schema that the caller gave.
 *
 * @category errors
 * @since 0.1.0
 */
export class UnexpectedValue extends Schema.TaggedError<UnexpectedValue>()("UnexpectedValue", {
  requested: Schema.String,
  reason: Schema.String,
  value: Schema.Unknown,
  instance: Schema.String
}) {
  override get message(): string {
    return `${this.requested}: ${this.instance} answered what isn't expected: ${this.reason}`
  }
}

export { SessionLost }

/**
 * How a call can fail.
 *
 * @category errors
 * @since 0.1.0
 */
export type ToolCallError =
  | NoTool
  | AmbiguousTool
  | CallUnavailable
  | CallInterrupted
  | SessionLost
  | CallRefused
  | ToolFailed
  | UnexpectedValue

/**
 * The error for a call that could not be answered, in the words that a client of the relay reads.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ofRoute = (
  error: RouteError<Failures.Failure>,
  request: { readonly name: string; readonly repeatable: boolean }
): CallUnavailable | CallInterrupted | SessionLost | CallRefused => {
  if (error._tag === "SessionLost") return error
  const { code, data, message } = Failures.toClient(error, { ...request, era: "stateless" })
  const failed = error._tag === "CallFailed" ? error.failed : []
  if (code === Code.unavailable) {
    const retryAfter = Predicate.hasProperty(data, "retryAfterMs") ? data.retryAfterMs : undefined
    return new CallUnavailable({
      requested: request.name,
      reason: message,
      failed,
      ...(typeof retryAfter === "number" ? { retryAfter } : undefined)
    })
  }
  if (code === Code.interrupted) return new CallInterrupted({ requested: request.name, reason: message, failed })
  return new CallRefused({
    requested: request.name,
    code,
    reason: message,
    ...(data === undefined ? undefined : { data })
  })
}

/**
 * The error for a result that says it failed.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ofResult = (name: string, result: Fields, text: string, routing: Routing): ToolFailed =>
  new ToolFailed({
    requested: name,
    reason: text === "" ? "it failed and doesn't say why" : text,
    result,
    instance: routing.instance
  })

import type * as ConfigurationModule from "@portolan/gateway/configuration/Configuration"
import * as Schema from "effect/Schema"

/** Ends the command with a status and one line for a person; without a message nothing is said any more. */
export class Failure extends Schema.TaggedError<Failure>()("Failure", {
  status: Schema.Int,
  message: Schema.String,
  /** What the gateway answered, where it answered. */
  httpStatus: Schema.optionalKey(Schema.Int)
}) {}

/** The operation failed. */
export const failed = (message: string, httpStatus?: number): Failure =>
  new Failure({ status: 1, message, ...(httpStatus === undefined ? {} : { httpStatus }) })

/** The command or the configuration is wrong. */
export const wrong = (message: string): Failure => new Failure({ status: 2, message })

/** Everything was said; the process ends with this status. */
export const ended = (status: number): Failure => new Failure({ status, message: "" })

/** All mistakes of a configuration. */
export const misconfigured = (error: ConfigurationModule.ConfigurationError): Failure => wrong(error.message)

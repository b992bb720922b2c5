import type * as ConfigurationModule from "@portolan/gateway/Configuration"
import * as Schema from "effect/Schema"

/** Ends the command with a status and one line for a person. */
export class Failure extends Schema.TaggedError<Failure>()("Failure", {
  status: Schema.Literals([1, 2]),
  message: Schema.String
}) {}

/** The operation failed. */
export const failed = (message: string): Failure => new Failure({ status: 1, message })

/** The command or the configuration is wrong. */
export const wrong = (message: string): Failure => new Failure({ status: 2, message })

/** All mistakes of a configuration. */
export const misconfigured = (error: ConfigurationModule.ConfigurationError): Failure => wrong(error.message)

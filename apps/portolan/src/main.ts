/**
 * Entry of the command: runs it, and ends with 0 (done), 1 (the operation failed) or 2 (wrong usage or configuration);
 * `register` with a command ends as that did.
 */
import "effect/schema/SchemaJITCompiler/enable"
import * as NodeServices from "@effect/platform-node/NodeServices"
import * as Cause from "effect/Cause"
import * as CliError from "effect/cli/CliError"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { run } from "./cli.ts"
import { report } from "./errors.ts"
import { Failure } from "./Failure.ts"

const statusOf = (error: unknown): number => {
  if (error instanceof Failure) {
    report(error.message, error.status)
    return error.status
  }
  // What is wrong was said; without a mistake, help was what was asked for.
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : 2
  console.error("portolan: unexpected:", error)
  return 1
}

// Who reads may stop early: `portolan tools | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1))

const exit = await Effect.runPromiseExit(Effect.provide(run, NodeServices.layer))
const status = Exit.match(exit, {
  onSuccess: () => 0,
  onFailure: (cause) => statusOf(Cause.squash(cause))
})
process.exit(status)

/**
 * How a command says that it didn't do what was asked: on standard error, in one line or as JSON.
 */
import { hint } from "@portolan/core/NearestName"
import type * as CliError from "effect/cli/CliError"
import * as CliOutput from "effect/cli/CliOutput"
import type * as HelpDoc from "effect/cli/HelpDoc"
import * as Console from "effect/Console"
import * as Effect from "effect/Effect"
import { plain } from "./terminal.ts"

/** Whether the command line asks for JSON, whatever else is wrong with it. */
const asksForJson = (): boolean => {
  const args = process.argv.slice(2)
  const end = args.indexOf("--")
  return (end === -1 ? args : args.slice(0, end)).includes("--json")
}

/** Prints why the command ends with this status. */
export const report = (message: string, status: number): void => {
  if (message === "") return
  console.error(asksForJson() ? JSON.stringify({ error: { message, status } }) : message)
}

const flagsOf = ({ flags, globalFlags = [], inheritedFlags = [] }: HelpDoc.HelpDoc): ReadonlyArray<string> =>
  [...flags, ...inheritedFlags, ...globalFlags].flatMap(({ aliases, name }) => [`--${name}`, ...aliases])

const commandsOf = ({ subcommands = [] }: HelpDoc.HelpDoc): ReadonlyArray<string> =>
  subcommands.flatMap(({ commands }) => commands.map(({ name }) => name))

const told = (error: CliError.CliError, help: HelpDoc.HelpDoc): string => {
  switch (error._tag) {
    case "UnknownSubcommand":
      return `unknown command "${error.subcommand}"${hint(error.subcommand, commandsOf(help))}`
    case "UnrecognizedOption":
      return `unknown flag ${error.option}${error.option.startsWith("--") ? hint(error.option, flagsOf(help)) : ""}`
    case "InvalidValue": {
      const words = Array.from(error.expected.matchAll(/"([^"]+)"/g), ([, word = ""]) => word)
      const expected = words.length === 0 ? error.expected : `expected one of ${words.join(", ")}`
      const what = error.kind === "flag" ? `--${error.option}` : error.option
      return error.value === ""
        ? `${what}: needs a value`
        : `${what}: ${lowered(expected)}, got "${error.value}"${hint(error.value, words)}`
    }
    default:
      return lowered(error.message.replace(/\s*\n\s*/g, " "))
  }
}

const lowered = (text: string): string => text.replace(/^[A-Z](?=[a-z])/, (letter) => letter.toLowerCase())

/** Prints what is wrong with a command line in a line each, and where help is; the help itself only when asked for. */
export const presenter: CliOutput.Presenter = {
  present: (event) => {
    if (event._tag !== "InvalidInvocation") return CliOutput.defaultPresenter.present(event)
    const lines = event.errors.map((error) => plain(told(error, event.helpDoc)))
    const help = `see \`${event.commandPath.join(" ")} --help\``
    return asksForJson()
      ? Effect.sync(() => report(lines.join("; "), 2))
      : Console.error([...lines, help].join("\n"))
  }
}

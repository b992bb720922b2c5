import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Fs from "node:fs/promises"
import { constants } from "node:os"
import { text } from "node:stream/consumers"
import { ended, failed, type Failure, wrong } from "../Failure.ts"
import { untilSignal } from "../signals.ts"
import { plain, progressLine } from "../terminal.ts"
import type { Progress } from "../toolCall.ts"
import { durationFlag } from "./duration.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

const parseArguments = (text: string): Result.Result<object, string> => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? Result.succeed(value)
      : Result.fail("expected a JSON object")
  } catch (cause) {
    return Result.fail(cause instanceof Error ? cause.message : String(cause))
  }
}

const argumentsOf = (args: Option.Option<string>, file: Option.Option<string>): Effect.Effect<object, Failure> =>
  Effect.gen(function*() {
    if (Option.isSome(args) && Option.isSome(file)) return yield* wrong("--args and --args-file: give one of them")
    const [flag, written] = Option.isNone(file)
      ? ["--args", Option.getOrElse(args, () => "{}")]
      : [
        `--args-file ${file.value}`,
        yield* Effect.tryPromise({
          try: () => file.value === "-" ? text(process.stdin) : Fs.readFile(file.value, "utf8"),
          catch: (cause) =>
            wrong(`--args-file: can't read it: ${cause instanceof Error ? cause.message : String(cause)}`)
        })
      ]
    return yield* Effect.fromResult(Result.mapError(parseArguments(written), (reason) => wrong(`${flag}: ${reason}`)))
  })

const contentText = (block: unknown): string => {
  if (typeof block !== "object" || block === null || !("type" in block)) return JSON.stringify(block)
  if ("text" in block && typeof block.text === "string") return block.text
  return "mimeType" in block ? `[${String(block.type)} ${String(block.mimeType)}]` : JSON.stringify(block)
}

const progressText = (tool: string, { message, progress, total }: Progress): string => {
  const share = total === undefined || total <= 0 ? String(progress) : `${Math.round(100 * progress / total)} %`
  return [tool, share, message ?? ""].filter((text) => text !== "").join("  ")
}

export const call = Command.make(
  "call",
  {
    target: gatewayFlags,
    tool: Argument.String("tool").pipe(Argument.withDescription("Name as `portolan tools` shows it")),
    args: Flag.String("args").pipe(
      Flag.withAlias("a"),
      Flag.withDescription("Arguments as a JSON object"),
      Flag.optional
    ),
    argsFile: Flag.String("args-file").pipe(
      Flag.withDescription("File that holds the arguments; - is standard input"),
      Flag.optional
    ),
    timeout: durationFlag("timeout", "Longest the call may take, such as 30s; no limit of its own by default"),
    progress: Flag.Boolean("progress").pipe(
      Flag.withDescription("Tell the tool's progress on standard error, even where that is no terminal"),
      Flag.withoutNegation,
      Flag.withDefault(false)
    )
  },
  Effect.fnUntraced(function*({ args, argsFile, progress, target, timeout, tool }) {
    const { gateway, json } = yield* asking(target)
    const { callTool } = yield* Effect.promise(() => import("../toolCall.ts"))
    const given = yield* argumentsOf(args, argsFile)
    const work = Effect.scoped(Effect.gen(function*() {
      const line = yield* progressLine({ plain: progress })
      return yield* Effect.raceFirst(
        callTool(gateway, tool, given, (reported) => line.say(progressText(tool, reported))),
        // The line goes before the process does, and the gateway hears that nobody waits any more.
        Effect.flatMap(untilSignal(), (signal) => ended(128 + constants.signals[signal]))
      )
    }))
    const result = yield* Option.match(timeout, {
      onNone: () => work,
      onSome: ({ duration, text }) =>
        Effect.timeoutOrElse(work, {
          duration,
          orElse: () => Effect.fail(failed(`${tool}: no answer within ${text}; it was cancelled`))
        })
    })
    const content = Array.isArray(result["content"]) ? result["content"].map(contentText).join("\n") : ""
    if (json) yield* printJson(result)
    else if (result["isError"] !== true) {
      yield* print(content === "" ? JSON.stringify(result["structuredContent"] ?? {}) : content)
    }
    // The tool's own error: its text is the message.
    if (result["isError"] === true) return yield* failed(json ? "" : content === "" ? `${plain(tool)} failed` : content)
  })
).pipe(
  Command.withDescription("Call a tool and print what it answers"),
  Command.withExamples([
    { command: "portolan call weather__get_forecast --args '{\"city\":\"Lisbon\"}'" },
    { command: "jq -n '{city: \"Lisbon\"}' | portolan call weather__get_forecast --args-file -" }
  ])
)

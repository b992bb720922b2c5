import type { SourceView, StatusView } from "@portolan/gateway/rest/Representations"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { hiddenLines } from "../hiddenLines.ts"
import { age, type Column, counted, stateStyle, table } from "../table.ts"
import { paint, plain, widthOf, wrapped } from "../terminal.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

const noteOf = (source: SourceView): string => {
  const notes: Array<string> = []
  if (source.state !== "connected") {
    const step = source.state === "stale" ? "reconnecting" : "connecting"
    notes.push(source.error === undefined ? step : `${step} (${source.error})`)
  } else if (source.error !== undefined) notes.push(source.error)
  if (source.held > 0) notes.push(`${source.held} removals held back`)
  const [first] = source.rejected
  if (first !== undefined) notes.push(`${source.rejected.length} rejected: "${first.id}" ${first.reason}`)
  return notes.join("; ")
}

const terminalWidth = (): number => process.stdout.isTTY ? process.stdout.columns : Infinity

/** The registries, and what is to be said of each: beside it, or below where the terminal is too narrow for that. */
export const sourceTable = (sources: StatusView["sources"], now: number, width = terminalWidth()): string => {
  const since = (time: string) => age(now - Date.parse(time))
  const figures: ReadonlyArray<Column<SourceView>> = [
    { title: "SOURCE", text: (source) => source.name },
    { title: "TYPE", text: (source) => source.type },
    { title: "STATE", text: (source) => source.state, style: (source) => stateStyle[source.state] },
    { title: "FOR", text: (source) => since(source.since) },
    { title: "INSTANCES", text: (source) => String(source.instances), align: "right" },
    { title: "AGE", text: (source) => source.lastHeard === undefined ? "" : since(source.lastHeard) },
    { title: "REJECTED", text: (source) => String(source.rejected.length), align: "right" },
    { title: "RECONNECTS", text: (source) => String(source.reconnects), align: "right" }
  ]
  const whole = table([...figures, { title: "NOTE", text: noteOf }], sources, Infinity)
  if (whole.split("\n").every((line) => widthOf(line) <= width)) return whole
  const notes = sources.flatMap((source) => {
    const note = noteOf(source)
    return note === "" ? [] : wrapped(plain(`${source.name}: ${note}`), width)
  })
  return [table(figures, sources, width), ...notes.length === 0 ? [] : ["", ...notes]].join("\n")
}

const problemTable = (problems: StatusView["problems"]): string =>
  table<StatusView["problems"][number]>([
    { title: "PROBLEM", text: ({ instance }) => instance, style: () => "yellow" },
    { title: "SERVICE", text: ({ service }) => service },
    { title: "REASON", text: ({ reason }) => reason, gives: true }
  ], problems)

/** What a service suffers from. */
const strainOf = (
  { available, budgetSpent, ejected, service, shedding, waiting }: StatusView["strained"][number]
): string => {
  const strains = [
    ...available === 0 ? ["no instance is available"] : [],
    ...ejected === 0 ? [] : [`${counted(ejected, "instance")} ejected`],
    ...waiting === 0 ? [] : [`${counted(waiting, "call")} waiting for room`],
    ...shedding ? ["calls are shed"] : [],
    ...budgetSpent ? ["the retry budget is spent"] : []
  ]
  return plain(`${service}: ${strains.join(", ")}; \`portolan explain ${service}\` tells more`)
}

/** What of the configuration file as it is now is not in use, and why. */
const configurationNotes = (
  { error, file, loadedAt, pending }: NonNullable<StatusView["configuration"]>
): ReadonlyArray<string> => {
  const since = age(Date.now() - Date.parse(loadedAt))
  const mistakes = error?.mistakes.map(({ column, line, message, path }) =>
    plain(`  ${file}:${line}:${column}: ${path === "" ? "" : `${path}: `}${message}`)
  )
  return [
    ...mistakes === undefined
      ? []
      : [paint("yellow", plain(`${file} has mistakes; what was read ${since} ago stays in use:`)), ...mistakes],
    ...pending.length === 0
      ? []
      : [paint("yellow", plain(`${file}: takes effect at the next start: ${pending.join(", ")}`))]
  ]
}

export const status = Command.make(
  "status",
  { target: gatewayFlags },
  Effect.fnUntraced(function*({ target }) {
    const { client, gateway, json } = yield* asking(target)
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/Representations"))
    const found = yield* client.get(gateway, "/api/v1/status", views.StatusView)
    if (json) return yield* printJson(found)
    yield* print(
      found.sources.length === 0
        ? "no registries and no servers: name some in portolan.yaml"
        : sourceTable(found.sources, Date.now())
    )
    const counts = ["service", "instance", "tool", "resource", "prompt"] as const
    yield* print(`\n${counts.map((what) => counted(found[`${what}s`], what)).join(", ")}`)
    const notes = found.configuration === undefined ? [] : configurationNotes(found.configuration)
    if (notes.length > 0) yield* print(`\n${notes.join("\n")}`)
    if (found.strained.length > 0) {
      yield* print(
        `\n${
          found.strained.flatMap((strain) =>
            wrapped(strainOf(strain), terminalWidth())
              .map((line) => paint(strain.available === 0 ? "red" : "yellow", line))
          ).join("\n")
        }`
      )
    }
    if (found.problems.length > 0) yield* print(`\n${problemTable(found.problems)}`)
    for (const { isOne, names, reason } of hiddenLines(found.hidden)) {
      yield* print(paint("dim", `${names} ${isOne ? "is" : "are"} not offered: ${reason}`))
    }
  })
).pipe(Command.withDescription("Show the registries, and what is wrong"))

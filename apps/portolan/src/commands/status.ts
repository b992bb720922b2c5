import type { SourceView, StatusView } from "@portolan/gateway/rest/Representations"
import * as Command from "effect/cli/Command"
import * as Effect from "effect/Effect"
import { age, counted, stateStyle, table } from "../table.ts"
import { paint, plain, wrapped } from "../terminal.ts"
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

/** The registries, and what is to be said of each. */
export const sourceTable = (sources: StatusView["sources"], now: number): string =>
  table<SourceView>([
    { title: "SOURCE", text: (source) => source.name },
    { title: "TYPE", text: (source) => source.type },
    { title: "STATE", text: (source) => source.state, style: (source) => stateStyle[source.state] },
    { title: "INSTANCES", text: (source) => String(source.instances), align: "right" },
    { title: "AGE", text: (source) => source.lastHeard === undefined ? "" : age(now - Date.parse(source.lastHeard)) },
    { title: "NOTE", text: noteOf, gives: true }
  ], sources)

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
            wrapped(strainOf(strain), process.stdout.isTTY ? process.stdout.columns : Infinity)
              .map((line) => paint(strain.available === 0 ? "red" : "yellow", line))
          ).join("\n")
        }`
      )
    }
    if (found.problems.length > 0) yield* print(`\n${problemTable(found.problems)}`)
    for (const { name, reason } of found.hidden) {
      yield* print(paint("dim", plain(`${name} is not offered: ${reason}`)))
    }
  })
).pipe(Command.withDescription("Show the registries, and what is wrong"))

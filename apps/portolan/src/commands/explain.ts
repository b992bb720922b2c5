import type { CandidateView, ExplanationView } from "@portolan/gateway/rest/ExplanationView"
import * as Argument from "effect/cli/Argument"
import * as Command from "effect/cli/Command"
import * as Flag from "effect/cli/Flag"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { latency } from "../table.ts"
import { paint, plain, type Style, widthOf, wrapped } from "../terminal.ts"
import { asking, gatewayFlags, print, printJson } from "./root.ts"

interface Line {
  readonly label: string
  readonly style: Style | undefined
  /** The instance, its region, and the rest. */
  readonly cells: ReadonlyArray<string>
}

const figures = ({ inFlight, latency: ewma, score }: CandidateView): ReadonlyArray<string> => [
  `score ${score.toFixed(2)}`,
  `ewma ${ewma === undefined ? "-" : latency(ewma)}`,
  `in flight ${inFlight}`
]

/** What is said of the pick, where the rule has a line of its own. */
const choice = (reason: string): string => reason.replace(/^rule "(?:[^"\\]|\\.)*": /, "")

const linesOf = ({ considered, failure, leftOut, more, picked }: ExplanationView): ReadonlyArray<Line> => {
  const one = (
    label: string,
    style: Style | undefined,
    candidate: CandidateView,
    texts: ReadonlyArray<string>
  ): Line => ({
    label,
    style,
    cells: [candidate.instance, candidate.region ?? "", ...texts.filter((text) => text !== "")]
  })
  const others = (label: string, count: number): ReadonlyArray<Line> =>
    count === 0 ? [] : [{ label, style: "dim", cells: [`and ${count} more`] }]
  return [
    ...picked === undefined ? [] : [one("picked", "green", picked, [...figures(picked), choice(picked.reason)])],
    ...failure === undefined ? [] : [{
      label: failure.waits ? "waits" : "fails",
      style: "red" as const,
      cells: [
        failure.retryAfter === undefined ? failure.reason : `${failure.reason}; again in ${latency(failure.retryAfter)}`
      ]
    }],
    ...considered.map((candidate) =>
      one("considered", undefined, candidate, [...figures(candidate), candidate.reason])
    ),
    ...others("considered", more.considered),
    ...leftOut.map((candidate) => one("left out", "yellow", candidate, [candidate.reason])),
    ...others("left out", more.leftOut)
  ]
}

const pad = (text: string, width: number): string => text + " ".repeat(Math.max(0, width - widthOf(text)))

/**
 * What would become of a call, in lines: label, instance, region, and what it is judged by. Reasons are what is asked for,
 * so nothing is cut: a line that the terminal has no room for goes on in the next.
 */
export const explanationText = (
  explanation: ExplanationView,
  width: number | undefined = process.stdout.isTTY ? process.stdout.columns : undefined
): string => {
  const lines = linesOf(explanation).map((line) => ({ ...line, cells: line.cells.map(plain) }))
  const labels = "considered".length
  const columns: Array<number> = []
  for (const { cells } of lines) {
    // What stands alone has no columns; the last text of a line needs none.
    if (cells.length === 1) continue
    for (const [index, cell] of cells.entries()) {
      if (index < cells.length - 1) columns[index] = Math.max(columns[index] ?? 0, widthOf(cell))
    }
  }
  const fit = (text: string, style?: Style): string => {
    const lines = width === undefined ? [text] : wrapped(text, Math.max(width - labels - 3, 20))
    return lines.map((line) => style === undefined ? line : paint(style, line)).join(`\n${" ".repeat(labels + 3)}`)
  }
  const { rule, strategy } = explanation
  const first = rule === undefined ? `none: ${strategy}` : `${rule.number} ${JSON.stringify(rule.name)}: ${rule.text}`
  let label = ""
  return [
    `${paint("dim", pad("rule", labels))} ${fit(plain(first).replace(/: $/, ""))}`,
    ...lines.map(({ cells, label: own, style }) => {
      const text = fit(
        cells.map((cell, index) => cells.length > 1 ? pad(cell, columns[index] ?? 0) : cell)
          // Where no instance has a region there is no column of them.
          .filter((_, index) => index !== 1 || cells.length === 1 || columns[1] !== 0).join("  ").trimEnd(),
        style
      )
      const shown = own === label ? "" : own
      label = own
      return `${paint("dim", pad(shown, labels))} ${text}`
    })
  ].join("\n")
}

export const explain = Command.make(
  "explain",
  {
    target: gatewayFlags,
    tool: Argument.String("tool").pipe(
      Argument.withDescription("Name as `portolan tools` shows it; or a service, or a capability")
    ),
    caller: Flag.String("caller").pipe(
      Flag.withDescription("Who calls: tenant:acme or principal:ann; anybody by default"),
      Flag.optional
    )
  },
  Effect.fnUntraced(function*({ caller, target, tool }) {
    const { client, gateway, json } = yield* asking(target)
    const views = yield* Effect.promise(() => import("@portolan/gateway/rest/ExplanationView"))
    const parameters = new URLSearchParams({ tool, ...Option.isSome(caller) ? { caller: caller.value } : {} })
    const found = yield* client.get(gateway, `/api/v1/explain?${parameters}`, views.ExplanationView)
    if (json) return yield* printJson(found)
    yield* print(explanationText(found))
  })
).pipe(
  Command.withDescription("Show where a call without a session would go now, and why the others are left out"),
  Command.withExamples([{ command: "portolan explain weather__get_forecast --caller tenant:acme" }])
)

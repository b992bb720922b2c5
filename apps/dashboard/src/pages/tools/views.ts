/**
 * The list of tools: each with what became of its calls, and ways to look at them.
 */
import type { ReportView, ToolView } from "../../api/types.ts"
import { failedOf } from "../../parts/calls.ts"
import { hintsOf } from "../../parts/hints.ts"

type Counts = ReportView["tools"]["top"][number]

export interface ToolRow {
  readonly name: string
  readonly service: string
  readonly title: string
  readonly description: string
  readonly instances: number
  readonly hints: string
  readonly calls: number | undefined
  /** Share of its calls. */
  readonly failed: number | undefined
  readonly p50: number | undefined
  readonly p95: number | undefined
}

const text = (value: unknown): string => typeof value === "string" ? value : ""

/** With a report, a tool that isn't in it has had no calls, unless there were more tools than it has room for. */
export const rowsOf = (
  tools: ReadonlyArray<ToolView>,
  report: Pick<ReportView, "tools"> | undefined
): ReadonlyArray<ToolRow> => {
  const counts = new Map<string, Counts>(report?.tools.top.map((one) => [one.tool, one]))
  const others = report === undefined || report.tools.rest !== undefined ? undefined : 0
  return tools.map((tool) => {
    const own = counts.get(tool.name)
    return {
      name: tool.name,
      service: tool.service,
      title: text(tool["title"]),
      description: text(tool["description"]),
      instances: tool.instances.length,
      hints: hintsOf(tool["annotations"]).map(({ word }) => word).join(", "),
      calls: own?.calls ?? others,
      failed: failedOf(own),
      p50: own?.latency?.p50,
      p95: own?.latency?.p95
    }
  })
}

interface View {
  readonly key: string
  readonly title: string
  readonly holds: (row: ToolRow) => boolean
  /** What is said of an empty list. */
  readonly empty: string
}

const all: View = { key: "", title: "All", holds: () => true, empty: "No tools yet" }

export const views: ReadonlyArray<View> = [
  all,
  { key: "failing", title: "With failures", holds: ({ failed = 0 }) => failed > 0, empty: "No call of a tool failed" },
  { key: "uncalled", title: "Never called", holds: ({ calls }) => calls === 0, empty: "Every tool has been called" },
  {
    key: "readonly",
    title: "Read only",
    holds: ({ hints }) => hints.includes("read only"),
    empty: "No tool says that it only reads"
  },
  {
    key: "destructive",
    title: "Destructive",
    holds: ({ hints }) => hints.includes("destructive"),
    empty: "No tool says that it may delete or overwrite something"
  }
]

export const viewOf = (key: string | null): View => views.find((view) => view.key === key) ?? all

/** Whether a row has all the words: in its name, service, title, description or hints. */
export const hasWords = (row: ToolRow, words: string): boolean => {
  const said = [row.name, row.service, row.title, row.description, row.hints].join("\n").toLowerCase()
  return words.toLowerCase().split(/\s+/).every((word) => said.includes(word))
}

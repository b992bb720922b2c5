/**
 * Ways to look at the list of services: each a name, a test, and what it says where nothing passes.
 */
import type { ServiceRow } from "../../fleet/rows.ts"
import { needsAttention } from "../../fleet/serviceRow.ts"

export interface View {
  readonly key: string
  readonly title: string
  readonly holds: (row: ServiceRow) => boolean
  /** What is said of an empty list. */
  readonly empty: string
}

const all: View = { key: "", title: "All", holds: () => true, empty: "No services yet" }

export const views: ReadonlyArray<View> = [
  all,
  {
    key: "attention",
    title: "Need attention",
    holds: needsAttention,
    empty: "No service needs attention"
  },
  { key: "failing", title: "With failures", holds: ({ failed = 0 }) => failed > 0, empty: "No call failed lately" },
  { key: "idle", title: "Without calls", holds: ({ rate }) => rate === 0, empty: "Every service has calls" }
]

export const viewOf = (key: string | null): View => views.find((view) => view.key === key) ?? all

/** Whether a row has all the words: in its name, kind, versions, states, regions, sources and tags. */
export const hasWords = (row: ServiceRow, text: string): boolean => {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "")
  if (words.length === 0) return true
  const said = [
    row.name,
    row.kind,
    row.state,
    ...row.versions,
    ...row.cells.map(({ region }) => region),
    ...row.sources,
    ...row.tags
  ].join("\n").toLowerCase()
  return words.every((word) => said.includes(word))
}

/** Regions in which it has instances, for people. */
export const regionsOf = (row: ServiceRow): string =>
  row.cells.map(({ region }) => region === "" ? "no region" : region).join(", ")

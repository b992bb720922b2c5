/**
 * The list of events: what is worth looking at together, and which of them somebody asks for.
 */
import type { ChangeRow } from "../../fleet/rows.ts"

export interface View {
  readonly key: string
  readonly title: string
  readonly holds: (change: ChangeRow) => boolean
  /** What is said of an empty list. */
  readonly empty: string
}

const bad: ReadonlySet<ChangeRow["to"]> = new Set(["down", "unhealthy", "ejected", "degraded", "stale"])
const lifecycle: ReadonlySet<ChangeRow["to"]> = new Set(["added", "removed", "updated"])

const all: View = {
  key: "",
  title: "All",
  holds: () => true,
  empty: "Nothing changed since the gateway began"
}

export const views: ReadonlyArray<View> = [
  all,
  { key: "trouble", title: "Trouble", holds: ({ to }) => bad.has(to), empty: "Nothing got worse" },
  {
    key: "health",
    title: "Health",
    holds: ({ kind, to }) => kind === "instance" && !lifecycle.has(to),
    empty: "The health of no instance changed"
  },
  {
    key: "instances",
    title: "Came and went",
    holds: ({ kind, to }) => kind === "instance" && lifecycle.has(to),
    empty: "No instance came, went or was changed"
  },
  { key: "sources", title: "Sources", holds: ({ kind }) => kind === "source", empty: "No source changed its state" }
]

export const viewOf = (key: string | null): View => views.find((view) => view.key === key) ?? all

/** What somebody asks for. Empty: everything. */
export interface Asked {
  readonly service: string
  /** Words that must all be in it. */
  readonly text: string
}

export const isAsked = ({ service, text }: Asked): (change: ChangeRow) => boolean => {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word !== "")
  return (change) => {
    if (service !== "" && change.service !== service) return false
    if (words.length === 0) return true
    const said = [change.to, change.service, change.instance, change.source, change.reason].join("\n").toLowerCase()
    return words.every((word) => said.includes(word))
  }
}

/** Most that are kept by a page that stays open. */
const most = 2_000

/** Both the newest first; those of `newer` that `known` doesn't have before it. */
export const merged = (
  newer: ReadonlyArray<ChangeRow>,
  known: ReadonlyArray<ChangeRow>
): ReadonlyArray<ChangeRow> => {
  const newest = known[0]?.id ?? ""
  const fresh = newer.filter(({ id }) => id > newest)
  return fresh.length === 0 ? known : [...fresh, ...known].slice(0, most)
}

/** Whether something may have happened between the two: everything in `newer` is. */
export const isApart = (newer: ReadonlyArray<ChangeRow>, known: ReadonlyArray<ChangeRow>): boolean => {
  const oldest = newer.at(-1)
  const newest = known[0]
  return oldest !== undefined && newest !== undefined && oldest.id > newest.id
}

/**
 * Whether what the sources say can be trusted, and what it means where it can't, in words.
 */
import type { SourceRow, State } from "../../fleet/rows.ts"
import { count, counted } from "../../parts/format.ts"

export const stateOf = ({ state }: Pick<SourceRow, "state">): State =>
  state === "connected" ? "healthy" : state === "stale" ? "stale" : "unknown"

const every = (all: number): string =>
  all === 1 ? "The only source" : all === 2 ? "Both sources" : `All ${count(all)} sources`

/** `All 4 sources are connected`, `1 of 4 sources is stale, 1 hasn't answered yet` */
export const verdict = (sources: ReadonlyArray<Pick<SourceRow, "state">>): string => {
  const all = sources.length
  const [connected, stale, connecting] = (["connected", "stale", "connecting"] as const).map(
    (state) => sources.filter((source) => source.state === state).length
  )
  if (all === 0) return "No sources yet"
  if (connected === all) return `${every(all)} ${all === 1 ? "is" : "are"} connected`
  const parts = [
    { number: stale ?? 0, one: "is stale", many: "are stale" },
    { number: connecting ?? 0, one: "hasn't answered yet", many: "haven't answered yet" }
  ].filter(({ number }) => number > 0)
  return parts.map(({ many, number, one }, at) => {
    const subject = at > 0
      ? count(number)
      : number === all
      ? every(all)
      : `${count(number)} of ${counted(all, "source")}`
    return `${subject} ${number === 1 ? one : many}`
  }).join(", ")
}

/** `191 instances announced; 3 records can't be used; 2 removals aren't believed yet` */
export const summary = (sources: ReadonlyArray<Pick<SourceRow, "instances" | "rejected" | "held">>): string => {
  const sum = (of: (source: (typeof sources)[number]) => number) => sources.reduce((total, each) => total + of(each), 0)
  const rejected = sum((source) => source.rejected.length)
  const held = sum((source) => source.held)
  return [
    `${counted(sum((source) => source.instances), "instance")} announced`,
    ...rejected === 0 ? [] : [`${counted(rejected, "record")} can't be used`],
    ...held === 0 ? [] : [`${counted(held, "removal")} ${held === 1 ? "isn't" : "aren't"} believed yet`]
  ].join("; ")
}

/** What follows for calls from a source that isn't connected. */
export const consequence = ({ instances, state }: Pick<SourceRow, "instances" | "state">): string | undefined => {
  if (state === "connected") return undefined
  if (state === "connecting") return "Nothing of it is known yet. It is asked again until it answers."
  return instances === 0
    ? "It had no instances when it was last heard."
    : `Its ${counted(instances, "instance")} ${instances === 1 ? "stays" : "stay"} as last known, ` +
      "and calls go on to those that answer."
}

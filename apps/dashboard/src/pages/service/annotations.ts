/**
 * Changes of a service as annotations of its plots.
 */
import type { ChangeRow } from "../../fleet/rows.ts"
import type { Annotation } from "../../parts/plot.ts"

/** Changes closer than this are one annotation: a restart of ten instances is one event to whoever looks. */
const together = 45_000
const most = 12

/**
 * The newest groups of changes that are worth a mark: what came of an instance for the worse, and its return. New
 * instances and changed records are left to the list of events.
 */
export const annotationsOf = (changes: ReadonlyArray<ChangeRow>): ReadonlyArray<Annotation> => {
  const groups: Array<{ at: number; readonly words: Map<string, Set<string | undefined>> }> = []
  for (const { at, instance, kind, to } of changes.toSorted((a, b) => b.at - a.at)) {
    if (kind !== "instance" || to === "updated" || to === "added" || to === "unknown") continue
    const word = to === "healthy" ? "recovered" : to
    let group = groups.at(-1)
    if (group === undefined || group.at - at > together) {
      if (groups.length === most) break
      groups.push(group = { at, words: new Map() })
    }
    // One that is ejected, tried and ejected again is one.
    group.words.set(word, (group.words.get(word) ?? new Set()).add(instance))
  }
  return groups.toReversed().map(({ at, words }) => ({
    at: at / 1000,
    text: Array.from(words, ([word, { size }]) => size === 1 ? word : `${size} ${word}`).toReversed().join(", ")
  }))
}

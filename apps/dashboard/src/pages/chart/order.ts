/**
 * In which order things are shown, and that they stay there: nothing moves unless somebody asks for it.
 */
import { type ServiceRow, states } from "../../fleet/rows.ts"
import { needsAttention } from "../../fleet/serviceRow.ts"

/**
 * What is shown now, of what was shown and of what is there: all keep their place, those that are gone leave, and new ones
 * come last, trouble first.
 */
export const kept = (shown: ReadonlyArray<string>, there: ReadonlyArray<ServiceRow>): ReadonlyArray<string> => {
  const now = new Set(there.map(({ name }) => name))
  const before = new Set(shown)
  const come = there.filter(({ name }) => !before.has(name)).sort(troubleFirst)
  const next = [...shown.filter((name) => now.has(name)), ...come.map(({ name }) => name)]
  return next.length === shown.length && next.every((name, index) => name === shown[index]) ? shown : next
}

/**
 * Who has which place: all keep theirs, also those that don't ask any more, until somebody else needs it. With `held`
 * nothing but the end of the list changes.
 */
export const slots = (
  shown: ReadonlyArray<string>,
  asking: ReadonlyArray<string>,
  held: boolean
): ReadonlyArray<string> => {
  const now = new Set(asking)
  const before = new Set(shown)
  const waiting = asking.filter((name) => !before.has(name))
  if (held) return waiting.length === 0 ? shown : [...shown, ...waiting]
  const next = shown.map((name) => now.has(name) ? name : waiting.shift() ?? name)
  const last = next.findLastIndex((name) => now.has(name))
  return [...next.slice(0, last + 1), ...waiting]
}

const severity = (service: ServiceRow): number =>
  needsAttention(service) ? states.indexOf(service.state) : states.length

/** Services in trouble first, the worst before the others; then those with the most calls so far. */
export const troubleFirst = (a: ServiceRow, b: ServiceRow): number =>
  severity(a) - severity(b) || b.calls - a.calls || (a.name < b.name ? -1 : 1)

/**
 * Finds the name that somebody meant.
 *
 * @since 0.1.0
 */

/** Names longer than this are not compared letter by letter. */
const longest = 128
/** Names that are compared at most. */
const most = 2_000

/** Levenshtein distance with one row, given up as soon as it exceeds `limit`. */
const distance = (a: string, b: string, limit: number): number => {
  if (Math.abs(a.length - b.length) > limit) return limit + 1
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    let best = i
    for (let j = 1; j <= b.length; j++) {
      const cost = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      )
      next.push(cost)
      if (cost < best) best = cost
    }
    if (best > limit) return limit + 1
    row = next
  }
  return row[b.length] ?? limit + 1
}

/**
 * Finds the name nearest to `wanted`: one that ends with it (its prefix was left out) or differs in a few letters.
 *
 * @category accessors
 * @since 0.1.0
 */
export const nearestName = (wanted: string, names: Iterable<string>): string | undefined => {
  if (wanted.length === 0 || wanted.length > longest) return undefined
  const folded = wanted.toLowerCase()
  let best: string | undefined
  let bestDistance = Math.max(1, Math.floor(wanted.length / 3)) + 1
  let compared = 0
  for (const name of names) {
    if (++compared > most) break
    const candidate = name.toLowerCase()
    if (candidate === folded) return name
    if (folded.length >= 3 && candidate.endsWith(folded) && bestDistance > 1) {
      best = name
      bestDistance = 1
      continue
    }
    const between = distance(folded, candidate, bestDistance - 1)
    if (between < bestDistance) {
      best = name
      bestDistance = between
    }
  }
  return best
}

/**
 * Finds the name that somebody meant, for messages that end in "did you mean …?".
 *
 * @since 0.1.0
 */

/** Longer texts are no typing mistakes, and comparing two costs the product of their lengths. */
const longest = 128
/** Names that are compared at most: what is asked for may come from anybody. */
const most = 2_000

/** Edits (insert, delete, replace, swap of neighbours) that lead from one text to the other, or more than `limit`. */
const distance = (from: string, to: string, limit: number): number => {
  if (Math.abs(from.length - to.length) > limit) return limit + 1
  let before: Array<number> = []
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    let best = i
    for (let j = 1; j <= to.length; j++) {
      const cost = from[i - 1] === to[j - 1] ? 0 : 1
      let least = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + cost)
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        least = Math.min(least, (before[j - 2] ?? 0) + 1)
      }
      row.push(least)
      if (least < best) best = least
    }
    // A swap reaches back one row further, but costs one: no later row is better than the best of this.
    if (best > limit) return limit + 1
    before = previous
    previous = row
  }
  return previous[to.length] ?? limit + 1
}

/**
 * Finds the name nearest to `wanted`: one that ends with it (its prefix was left out) or differs in a few letters. None
 * where nothing is near.
 *
 * @category accessors
 * @since 0.1.0
 */
export const nearest = (wanted: string, names: Iterable<string>): string | undefined => {
  if (wanted.length === 0 || wanted.length > longest) return undefined
  const folded = wanted.toLowerCase()
  let best: string | undefined
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1
  let compared = 0
  for (const name of names) {
    if (++compared > most) break
    const candidate = name.toLowerCase()
    if (candidate === folded) return name
    if (folded.length >= 3 && candidate.endsWith(folded)) {
      if (least > 1) best = name
      least = Math.min(least, 1)
      continue
    }
    const edits = distance(folded, candidate, least - 1)
    // Two short words that share no letter are not near, however few their letters are.
    if (edits < least && edits < candidate.length) {
      best = name
      least = edits
    }
  }
  return best
}

/**
 * The end of a message about an unknown name: `; did you mean "weather"?`, or nothing.
 *
 * @category formatting
 * @since 0.1.0
 */
export const hint = (wanted: string, names: Iterable<string>): string => {
  const meant = nearest(wanted, names)
  return meant === undefined ? "" : `; did you mean "${meant}"?`
}

/** Edits (insert, delete, replace, swap of neighbours) that lead from one text to the other. */
const distance = (from: string, to: string): number => {
  let before: Array<number> = []
  let previous = Array.from({ length: to.length + 1 }, (_, index) => index)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const cost = from[i - 1] === to[j - 1] ? 0 : 1
      let least = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, (previous[j - 1] ?? 0) + cost)
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        least = Math.min(least, (before[j - 2] ?? 0) + 1)
      }
      row.push(least)
    }
    before = previous
    previous = row
  }
  return previous[to.length] ?? 0
}

/** The known word that somebody who wrote `word` most likely meant; none where nothing is near. */
export const nearest = (word: string, known: Iterable<string>): string | undefined => {
  // Longer texts are no typing mistakes, and the distance costs the product of the lengths.
  if (word.length > 64) return undefined
  let best: string | undefined
  let least = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase())
    if (edits < least && edits < candidate.length) {
      least = edits
      best = candidate
    }
  }
  return best
}

/**
 * Places in a text, as mistakes name them: lines and columns, counted from 1.
 */

export interface Place {
  readonly line: number
  readonly column: number
}

export const lineCount = (text: string): number => text.split("\n").length

/** How many characters stand before a place; one beyond its line is the end of that line. */
export const offsetOf = (text: string, { column, line }: Place): number => {
  let start = 0
  for (let at = 1; at < line; at++) {
    const end = text.indexOf("\n", start)
    if (end === -1) return text.length
    start = end + 1
  }
  const end = text.indexOf("\n", start)
  return Math.min(start + Math.max(0, column - 1), end === -1 ? text.length : end)
}

/**
 * Tables for a terminal.
 */
import { stripVTControlCharacters, styleText } from "node:util"

export type Style = Parameters<typeof styleText>[0]

/** Text in a colour, where the terminal shows colours and NO_COLOR is not set. */
export const paint = (style: Style, text: string): string => styleText(style, text, { stream: process.stdout })

const segmenter = new Intl.Segmenter()

// Wide characters (East Asian, emoji) take two columns.
const wide =
  /\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]/u

const widthOf = (text: string): number => {
  let width = 0
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) width += wide.test(segment) ? 2 : 1
  return width
}

const cut = (text: string, width: number): string => {
  if (widthOf(text) <= width) return text
  let result = ""
  for (const { segment } of segmenter.segment(stripVTControlCharacters(text))) {
    if (widthOf(result + segment) > width - 1) break
    result += segment
  }
  return `${result}…`
}

const pad = (text: string, width: number, right: boolean): string => {
  const space = " ".repeat(Math.max(0, width - widthOf(text)))
  return right ? space + text : text + space
}

export interface Column<A> {
  readonly title: string
  readonly text: (row: A) => string
  readonly align?: "right"
  readonly style?: (row: A) => Style | undefined
}

/**
 * The rows under their titles. Where the terminal is too narrow the widest columns give way; into a pipe everything is
 * written out.
 */
export const table = <A>(
  columns: ReadonlyArray<Column<A>>,
  rows: ReadonlyArray<A>,
  width: number | undefined = process.stdout.columns
): string => {
  // No control character of somebody else's text reaches the terminal, and every row is one line.
  const cells = rows.map((row) =>
    columns.map((column) => stripVTControlCharacters(column.text(row)).replace(/[\p{Cc}\p{Cf}]+/gu, " "))
  )
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((cell) => widthOf(cell[index] ?? "")))
  )
  const gap = 2
  if (width !== undefined && width > 0) {
    let excess = widths.reduce((sum, each) => sum + each + gap, -gap) - width
    while (excess > 0) {
      const widest = widths.indexOf(Math.max(...widths))
      const now = widths[widest] ?? 0
      if (now <= 8) break
      const next = Math.max(8, now - excess)
      excess -= now - next
      widths[widest] = next
    }
  }
  const line = (texts: ReadonlyArray<string>, style: (index: number) => Style | undefined): string =>
    texts.map((text, index) => {
      const last = index === columns.length - 1
      const fitted = cut(text, widths[index] ?? 0)
      const padded = last && columns[index]?.align !== "right"
        ? fitted
        : pad(fitted, widths[index] ?? 0, columns[index]?.align === "right")
      const chosen = style(index)
      return chosen === undefined ? padded : paint(chosen, padded)
    }).join(" ".repeat(gap)).trimEnd()
  return [
    line(columns.map(({ title }) => title), () => "dim"),
    ...cells.map((texts, row) =>
      line(texts, (index) => {
        const value = rows[row]
        return value === undefined ? undefined : columns[index]?.style?.(value)
      })
    )
  ].join("\n")
}

/** How long ago, in one unit: `0.4 s`, `41 s`, `2 m`, `3 h`, `5 d`. */
export const age = (milliseconds: number): string => {
  const seconds = Math.max(0, milliseconds) / 1000
  if (seconds < 10) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m`
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}

/** `1 tool`, `2 tools`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

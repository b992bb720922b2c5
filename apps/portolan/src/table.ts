/**
 * Tables for a terminal, and the ways in which values are told in them.
 */
import { cut, paint, plain, type Style, widthOf } from "./terminal.ts"

export interface Column<A> {
  readonly title: string
  readonly text: (row: A) => string
  readonly align?: "right"
  readonly style?: (row: A) => Style | undefined
  /** Whether this column gives way first where the terminal is too narrow: notes, reasons, descriptions. */
  readonly gives?: boolean
  /** Whether this column is left out where there is no room for it. */
  readonly spare?: boolean
}

const gap = 2
/** Narrower than this a column is of no use. */
const least = 8
const leastGiving = 16

/** Takes the excess from the widest of the columns that may give, and answers what is left of it. */
const shrink = (widths: Array<number>, from: ReadonlyArray<number>, floor: number, excess: number): number => {
  while (excess > 0) {
    const widest = from.reduce((a, b) => (widths[b] ?? 0) > (widths[a] ?? 0) ? b : a, from[0] ?? -1)
    const width = widths[widest] ?? 0
    if (width <= floor) break
    // Down to the next one in width, so that they share what is lost.
    const next = Math.max(floor, width - excess, ...from.map((index) => widths[index] ?? 0).filter((w) => w < width))
    excess -= width - next
    widths[widest] = next
  }
  return excess
}

const pad = (text: string, width: number, right: boolean): string => {
  const space = " ".repeat(Math.max(0, width - widthOf(text)))
  return right ? space + text : text + space
}

/**
 * The rows under their titles. Where the terminal is too narrow columns give way: first those that say they may, then spare
 * ones are left out from the right, then the widest get narrower. Into a pipe everything is written out.
 */
export const table = <A>(
  columns: ReadonlyArray<Column<A>>,
  rows: ReadonlyArray<A>,
  width: number | undefined = process.stdout.isTTY ? process.stdout.columns : undefined
): string => {
  const cells = rows.map((row) => columns.map((column) => plain(column.text(row))))
  const widths = columns.map(({ title }, index) =>
    Math.max(title.length, ...cells.map((cell) => widthOf(cell[index] ?? "")))
  )
  let shown = columns.map((_, index) => index)
  if (width !== undefined && width > 0) {
    const gives = (index: number): boolean => columns[index]?.gives === true
    let excess = widths.reduce((sum, each) => sum + each + gap, -gap) - width
    const given = widths.reduce((sum, each, index) => gives(index) ? sum + Math.max(each - leastGiving, 0) : sum, 0)
    for (const index of shown.toReversed()) {
      if (excess <= given || columns[index]?.spare !== true) continue
      shown = shown.filter((other) => other !== index)
      excess -= (widths[index] ?? 0) + gap
    }
    excess = shrink(widths, shown.filter(gives), leastGiving, excess)
    excess = shrink(widths, shown.filter((index) => columns[index]?.align !== "right"), least, excess)
    shrink(widths, shown, 3, excess)
  }
  const line = (texts: ReadonlyArray<string>, style: (index: number) => Style | undefined): string =>
    shown.map((index) => {
      const text = texts[index] ?? ""
      const right = columns[index]?.align === "right"
      const fitted = cut(text, widths[index] ?? 0)
      const padded = index === shown.at(-1) && !right ? fitted : pad(fitted, widths[index] ?? 0, right)
      const chosen = style(index)
      return chosen === undefined || text === "" ? padded : paint(chosen, padded)
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
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  if (seconds < 60) return `${Math.floor(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m`
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`
}

/** How long something took, in three digits: `0.12 ms`, `12.3 ms`, `1.23 s`. */
export const latency = (milliseconds: number): string => {
  const [value, unit] = milliseconds < 999.5 ? [milliseconds, "ms"] : [milliseconds / 1000, "s"]
  const digits = value >= 100 || Number.isInteger(value) ? 0 : value >= 10 ? 1 : 2
  return `${Number(value.toFixed(digits))} ${unit}`
}

/** `1 tool`, `2 tools`. */
export const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`

/** The colour of a state of a source, or of a health status. */
export const stateStyle: Readonly<Record<string, Style>> = {
  connected: "green",
  connecting: "yellow",
  stale: "red",
  healthy: "green",
  degraded: "yellow",
  unhealthy: "red",
  draining: "yellow",
  down: "red"
}

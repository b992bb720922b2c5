/**
 * Which rows of a long table are in the document: those in sight, a few beyond, and the one that has the focus, wherever
 * it is. The others are gaps of their height.
 */

/** A row by its index, or so many rows that aren't there. */
export type Slot = { readonly row: number } | { readonly gap: number; readonly before: number }

export interface Sight {
  /** From `first` to before `end`. */
  readonly first: number
  readonly end: number
}

/** Rows beyond those in sight, and how many come and go at a time: few, so that scrolling costs each frame the same. */
const beyond = 8
const step = 2

/**
 * `top`: how far the first row is above the upper edge of what is seen. While somebody scrolls there are always as many, so
 * that each that comes takes the place of one that leaves.
 */
export const sight = (top: number, seen: number, row: number): Sight => {
  const rows = (height: number) => Math.ceil(height / row / step) * step
  const first = Math.floor(Math.max(0, top) / row / step) * step
  const shown = top > 0 ? rows(seen) + step : rows(Math.max(0, top + seen))
  return { first: Math.max(0, first - beyond), end: first + shown + beyond }
}

/**
 * Which element shows which row. What a row leaves is taken by a row that comes: to write other texts costs a third of making
 * and removing the elements.
 */
export class Seats {
  #taken: ReadonlyMap<string, number> = new Map()
  #made = 0

  /** The seat of each of these rows: its own as long as it is there. */
  of(keys: ReadonlyArray<string>): ReadonlyMap<string, number> {
    const wanted = new Set(keys)
    const free = Array.from(this.#taken).flatMap(([key, seat]) => wanted.has(key) ? [] : [seat])
    this.#taken = new Map(keys.map((key) => [key, this.#taken.get(key) ?? free.shift() ?? this.#made++]))
    return this.#taken
  }
}

/** What is drawn: a row in its seat, or a gap; its height is that of so many rows. */
export type Line<Row> =
  | { readonly key: string; readonly gap: number }
  | { readonly key: number; readonly row: Row; readonly index: number }

const isSame = <Row>(one: Line<Row>, other: Line<Row>): boolean =>
  "gap" in one
    ? "gap" in other && one.gap === other.gap
    : "row" in other && one.row === other.row && one.index === other.index

/** The lines as they are now; those that are as before are the same objects, so that nothing of them is drawn anew. */
export const kept = <Row>(
  before: ReadonlyArray<Line<Row>>,
  now: ReadonlyArray<Line<Row>>
): ReadonlyArray<Line<Row>> => {
  const known = new Map(before.map((line) => [line.key, line]))
  const next = now.map((line) => {
    const was = known.get(line.key)
    return was !== undefined && isSame(was, line) ? was : line
  })
  return next.length === before.length && next.every((line, at) => line === before[at]) ? before : next
}

export const slots = ({ end, first }: Sight, total: number, pinned: number | undefined): ReadonlyArray<Slot> => {
  const out: Array<Slot> = []
  let next = 0
  const upTo = (index: number) => {
    if (index > next) out.push({ gap: index - next, before: next })
    next = Math.max(next, index)
  }
  const row = (index: number) => {
    upTo(index)
    out.push({ row: index })
    next = index + 1
  }
  const outside = pinned !== undefined && pinned >= 0 && pinned < total && (pinned < first || pinned >= end)
  if (outside && pinned < first) row(pinned)
  for (let index = first; index < Math.min(end, total); index++) row(index)
  if (outside && pinned >= end) row(pinned)
  upTo(total)
  return out
}

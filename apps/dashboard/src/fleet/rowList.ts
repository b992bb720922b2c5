/**
 * Rows in their order, and by their keys. A list is never changed: another one is made, and rows that don't differ are the
 * same objects in both.
 */
import type { RowChanges } from "./rows.ts"
import { byText } from "./serviceRow.ts"

export class RowList<Row> {
  readonly rows: ReadonlyArray<Row>
  /** The same rows in the order of their keys: arrays are copied much faster than maps. */
  readonly #byKey: ReadonlyArray<Row>
  readonly #keyOf: (row: Row) => string
  readonly #compare: (a: Row, b: Row) => number

  /** `compare`: 0 for no two keys. `rows`: in their order; `byKey`: the same ones, in that of their keys. */
  constructor(
    keyOf: (row: Row) => string,
    compare: (a: Row, b: Row) => number,
    rows: ReadonlyArray<Row> = [],
    byKey: ReadonlyArray<Row> = rows.toSorted((a, b) => byText(keyOf(a), keyOf(b)))
  ) {
    this.#keyOf = keyOf
    this.#compare = compare
    this.rows = rows
    this.#byKey = byKey
  }

  get(key: string): Row | undefined {
    return this.#byKey[this.#at(key)]
  }

  /** With what changed of it: what is gone first, then what came. */
  with({ differ = [], gone = [], rows = [] }: RowChanges<Row> = {}): RowList<Row> {
    if (rows.length + differ.length + gone.length === 0) return this
    const named = new Map<string, Row | undefined>()
    for (const key of gone) named.set(key, undefined)
    for (const row of rows) named.set(this.#keyOf(row), row)
    for (const { fields, key } of differ) {
      const before = this.get(key)
      if (before !== undefined) named.set(key, { ...before, ...fields })
    }
    const [inOrder, byKey] = [this.rows.slice(), this.#byKey.slice()]
    const edits: Array<Edit<Row>> = []
    for (const [key, row] of named) {
      const at = this.#at(key)
      const before = this.#byKey[at]
      if (before !== undefined && row !== undefined && this.#compare(before, row) === 0) {
        // Most are such: they stay where they are.
        inOrder[through(this.rows, (other) => this.#compare(other, row) <= 0) - 1] = row
        byKey[at] = row
        continue
      }
      if (before !== undefined) edits.push({ row: before, leaves: true })
      if (row !== undefined) edits.push({ row, leaves: false })
    }
    return new RowList(
      this.#keyOf,
      this.#compare,
      edited(inOrder, edits, this.#compare),
      edited(byKey, edits, (a, b) => byText(this.#keyOf(a), this.#keyOf(b)))
    )
  }

  /** Where it is by its key; -1: nowhere. */
  #at(key: string): number {
    const at = through(this.#byKey, (row) => this.#keyOf(row) <= key) - 1
    const row = this.#byKey[at]
    return row !== undefined && this.#keyOf(row) === key ? at : -1
  }
}

interface Edit<Row> {
  readonly row: Row
  /** Else it comes. */
  readonly leaves: boolean
}

/** How many of them, from the `from`-th on, it holds for; it does for none after one for which it doesn't. */
const through = <Row>(rows: ReadonlyArray<Row>, holds: (row: Row) => boolean, from = 0): number => {
  let [low, high] = [from, rows.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const row = rows[middle]
    if (row !== undefined && holds(row)) low = middle + 1
    else high = middle
  }
  return low
}

/** Few edits among many rows: each has its place looked for, and what lies between is copied as it is. */
const edited = <Row>(
  rows: ReadonlyArray<Row>,
  edits: ReadonlyArray<Edit<Row>>,
  compare: (a: Row, b: Row) => number
): ReadonlyArray<Row> => {
  if (edits.length === 0) return rows
  const parts: Array<ReadonlyArray<Row>> = []
  let from = 0
  // Who leaves does so before another one takes its place.
  for (const { leaves, row } of edits.toSorted((a, b) => compare(a.row, b.row) || (a.leaves ? -1 : 1))) {
    const to = through(rows, (other) => compare(other, row) <= 0, from)
    parts.push(leaves ? rows.slice(from, to - 1) : [...rows.slice(from, to), row])
    from = to
  }
  return new Array<Row>().concat(...parts, rows.slice(from))
}

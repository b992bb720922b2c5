/**
 * Rows in their order, and by their keys. A list is never changed: another one is made, and rows that don't differ are the
 * same objects in both.
 */
import type { RowChanges } from "./rows.ts"

export class RowList<Row> {
  readonly rows: ReadonlyArray<Row>
  readonly #keyOf: (row: Row) => string
  readonly #compare: (a: Row, b: Row) => number
  /** Where the row of a key is. */
  readonly #places: ReadonlyMap<string, number>

  constructor(
    keyOf: (row: Row) => string,
    compare: (a: Row, b: Row) => number,
    rows: ReadonlyArray<Row> = [],
    places: ReadonlyMap<string, number> = new Map(rows.map((row, place) => [keyOf(row), place]))
  ) {
    this.#keyOf = keyOf
    this.#compare = compare
    this.rows = rows
    this.#places = places
  }

  get(key: string): Row | undefined {
    const place = this.#places.get(key)
    return place === undefined ? undefined : this.rows[place]
  }

  /** With what changed of it: what is gone first, then what came. */
  with({ differ = [], gone = [], rows = [] }: RowChanges<Row> = {}): RowList<Row> {
    if (rows.length + differ.length + gone.length === 0) return this
    const after = this.rows.slice()
    const added: Array<Row> = []
    const left = new Set(gone)
    let kept = true
    const put = (key: string, row: Row) => {
      left.delete(key)
      const place = this.#places.get(key)
      const before = place === undefined ? undefined : after[place]
      if (place === undefined || before === undefined) return void added.push(row)
      kept &&= this.#compare(before, row) === 0
      after[place] = row
    }
    for (const row of rows) put(this.#keyOf(row), row)
    for (const { fields, key } of differ) {
      const before = this.get(key)
      if (before !== undefined) put(key, { ...before, ...fields })
    }
    if (kept && added.length + left.size === 0) {
      return new RowList(this.#keyOf, this.#compare, after, this.#places)
    }
    const there = left.size === 0 ? after : after.filter((row) => !left.has(this.#keyOf(row)))
    const all = kept
      ? merged(there, added.sort(this.#compare), this.#compare)
      : [...there, ...added].sort(this.#compare)
    return new RowList(this.#keyOf, this.#compare, all)
  }
}

/** Few among many, both in order: each of the few is looked for, and the many aren't compared with each other. */
const merged = <Row>(
  many: ReadonlyArray<Row>,
  few: ReadonlyArray<Row>,
  compare: (a: Row, b: Row) => number
): ReadonlyArray<Row> => {
  const all: Array<Row> = []
  let from = 0
  for (const row of few) {
    let [low, high] = [from, many.length]
    while (low < high) {
      const middle = (low + high) >> 1
      const other = many[middle]
      if (other !== undefined && compare(other, row) <= 0) low = middle + 1
      else high = middle
    }
    for (; from < low; from++) {
      const next = many[from]
      if (next !== undefined) all.push(next)
    }
    all.push(row)
  }
  return all.concat(many.slice(from))
}

/**
 * The order of a table's rows. Rows whose values change stay where they are: what somebody looks at or is about to click
 * doesn't move away. Only sorting anew puts all in order.
 */

/** A column's key; with `-` before it, the highest first. */
export type Sort = string | undefined

/** What a row is sorted by. What isn't known comes last, whichever way is sorted. */
export type Value = string | number | undefined

const isKnown = (value: Value): value is string | number =>
  value !== undefined && value !== "" && !(typeof value === "number" && Number.isNaN(value))

const texts = new Intl.Collator("en", { numeric: true })

export const comparing = <Row>(value: (row: Row) => Value, descending: boolean) => (one: Row, other: Row): number => {
  const a = value(one)
  const b = value(other)
  if (!isKnown(a)) return isKnown(b) ? 1 : 0
  if (!isKnown(b)) return -1
  const order = typeof a === "number" && typeof b === "number" ? a - b : texts.compare(String(a), String(b))
  return descending ? -order : order
}

/** The order of one table's rows, which it keeps from one time to the next. */
export class Order<Row> {
  readonly #keyOf: (row: Row) => string
  // What it was made by, and where each row then was.
  #sort: Sort
  #places: ReadonlyMap<string, number> | undefined

  constructor(keyOf: (row: Row) => string) {
    this.#keyOf = keyOf
  }

  /**
   * The rows: those that were there in their order of before, and new ones among them where they belong by what rows are
   * now. Sorted otherwise than before, all in order. Without `by`, as they come.
   */
  of(rows: ReadonlyArray<Row>, sort: Sort, by: ((row: Row) => Value) | undefined): ReadonlyArray<Row> {
    const before = this.#sort === sort ? this.#places : undefined
    this.#sort = sort
    this.#places = undefined
    if (by === undefined) return rows
    const compare = comparing(by, sort?.startsWith("-") === true)
    const ordered = before === undefined ? rows.toSorted(compare) : this.#merged(rows, before, compare)
    // Values that are all the same make no order: those of the first moment, when nothing was counted yet.
    const [first] = ordered
    const last = ordered.at(-1)
    if (before !== undefined || first !== undefined && last !== undefined && compare(first, last) !== 0) {
      this.#places = new Map(ordered.map((row, place) => [this.#keyOf(row), place]))
    }
    return ordered
  }

  #merged(
    rows: ReadonlyArray<Row>,
    before: ReadonlyMap<string, number>,
    compare: (a: Row, b: Row) => number
  ): ReadonlyArray<Row> {
    const placed: Array<{ readonly row: Row; readonly place: number }> = []
    const added: Array<Row> = []
    for (const row of rows) {
      const place = before.get(this.#keyOf(row))
      if (place === undefined) added.push(row)
      else placed.push({ row, place })
    }
    const kept = placed.sort((a, b) => a.place - b.place).map(({ row }) => row)
    if (added.length === 0) return kept
    added.sort(compare)
    const merged: Array<Row> = []
    let next = 0
    for (const row of kept) {
      for (let first = added[next]; first !== undefined && compare(first, row) < 0; first = added[next]) {
        merged.push(first)
        next++
      }
      merged.push(row)
    }
    return merged.concat(added.slice(next))
  }
}

/** What a click on a column's head sorts by next: figures the highest first, texts from A; then the other way round. */
export const toggled = (sort: Sort, key: string, figures: boolean): string =>
  sort === key ? `-${key}` : sort === `-${key}` ? key : figures ? `-${key}` : key

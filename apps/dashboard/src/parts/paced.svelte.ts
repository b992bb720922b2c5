/**
 * Rows as they are drawn: each catches up with what is known when it has its turn.
 *
 * **Details**: who leaves or changes its place does so at once; what is in a row, and who is new, waits.
 */
import { untrack } from "svelte"
import { first, inTurn } from "./turns.ts"

/** A row's place, which is drawn by itself. */
export class Place<Row> {
  readonly key: string
  row: Row

  constructor(key: string, row: Row) {
    this.key = key
    this.row = $state.raw(row)
  }
}

/** To be made while a component is, whose end ends it. */
export class Paced<Row> {
  #wanted: ReadonlyMap<string, Row> = new Map()
  readonly #places = new Map<string, Place<Row>>()
  /** Keys of those whose turn comes. */
  readonly #waiting = new Set<string>()
  #drawn = $state.raw<ReadonlyArray<Place<Row>>>([])

  /** `keyOf`: of a row, which is the `at`-th. */
  constructor(rows: () => ReadonlyArray<Row>, keyOf: (row: Row, at: number) => string) {
    $effect.pre(() => this.#follow(new Map(rows().map((row, at) => [keyOf(row, at), row]))))
    $effect(() => () => this.#follow(new Map()))
  }

  get drawn(): ReadonlyArray<Place<Row>> {
    return this.#drawn
  }

  #follow(wanted: ReadonlyMap<string, Row>): void {
    this.#wanted = wanted
    for (const key of this.#places.keys()) {
      if (!wanted.has(key)) this.#places.delete(key)
    }
    this.#place()
    for (const [key, row] of wanted) {
      if (this.#waiting.has(key) || this.#places.has(key) && untrack(() => this.#places.get(key)?.row) === row) continue
      this.#waiting.add(key)
      inTurn(() => this.#draw(key), this.#places.has(key) ? undefined : first)
    }
  }

  #draw(key: string): void {
    this.#waiting.delete(key)
    const row = this.#wanted.get(key)
    if (row === undefined) return
    const place = this.#places.get(key)
    if (place !== undefined) place.row = row
    else {
      this.#places.set(key, new Place(key, row))
      this.#place()
    }
  }

  /** Those that are wanted and drawn, in the order in which they are wanted. */
  #place(): void {
    const drawn = Array.from(this.#wanted.keys()).flatMap((key) => this.#places.get(key) ?? [])
    const before = untrack(() => this.#drawn)
    if (drawn.length !== before.length || drawn.some((place, at) => place !== before[at])) this.#drawn = drawn
  }
}

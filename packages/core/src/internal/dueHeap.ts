/**
 * Something with a due time. `place` belongs to the heap: -1 outside of it.
 *
 * @internal
 */
export interface Due {
  due: number
  place: number
}

/**
 * Binary heap by due time in which an item's time can be moved: ten thousand instances wait on one timer.
 *
 * @internal
 */
export class DueHeap<T extends Due> {
  readonly #items: Array<T> = []

  /** The item that is due first. */
  first(): T | undefined {
    return this.#items[0]
  }

  /** Adds an item, or moves it to another time. */
  set(item: T, due: number): void {
    item.due = due
    if (item.place < 0) {
      item.place = this.#items.length
      this.#items.push(item)
    }
    this.#rise(item)
    this.#sink(item)
  }

  remove(item: T): void {
    const place = item.place
    if (place < 0) return
    const last = this.#items.pop()!
    item.place = -1
    if (last === item) return
    this.#put(last, place)
    this.#rise(last)
    this.#sink(last)
  }

  #put(item: T, place: number): void {
    this.#items[place] = item
    item.place = place
  }

  #rise(item: T): void {
    while (item.place > 0) {
      const above = this.#items[(item.place - 1) >> 1]!
      if (above.due <= item.due) return
      const place = above.place
      this.#put(above, item.place)
      this.#put(item, place)
    }
  }

  #sink(item: T): void {
    for (;;) {
      const left = this.#items[2 * item.place + 1]
      if (left === undefined) return
      const right = this.#items[2 * item.place + 2]
      const below = right !== undefined && right.due < left.due ? right : left
      if (below.due >= item.due) return
      const place = below.place
      this.#put(below, item.place)
      this.#put(item, place)
    }
  }
}

/** @internal */
interface Place<A> {
  readonly value: A
  index: number
}

/**
 * What is in flight: added and removed with every call, looked through now and then. In no order.
 *
 * **Details**: not a `Set` or `Map`. One that lives long and whose content changes all the time is given a new table every
 * few calls, and V8 links each discarded table to its successor, for iterators. Once one of them is old, all that follow
 * stay alive with everything that they held, until the next collection of the old generation: tens of MB at full load.
 *
 * @internal
 */
export class InFlight<A> {
  readonly #places: Array<Place<A>> = []

  get size(): number {
    return this.#places.length
  }

  /** Adds a value. The result removes it; it tells whether it was still there. */
  add(value: A): () => boolean {
    const place: Place<A> = { value, index: this.#places.length }
    this.#places.push(place)
    return () => {
      if (this.#places[place.index] !== place) return false
      const last = this.#places.pop()
      if (last !== undefined && last !== place) {
        this.#places[place.index] = last
        last.index = place.index
      }
      return true
    }
  }

  /** The first that meets the condition. Looks at all of them. */
  find(meets: (value: A) => boolean): A | undefined {
    return this.#places.find(({ value }) => meets(value))?.value
  }

  /** All of them at this moment. */
  all(): ReadonlyArray<A> {
    return this.#places.map(({ value }) => value)
  }

  /** Removes all of them. */
  clear(): void {
    this.#places.length = 0
  }
}

/**
 * The time for which a call, or one attempt of it, waited for its own client. Pauses may overlap; their time counts once.
 *
 * @internal
 */
export class Pauses {
  #open = 0
  #since = 0
  #past = 0

  get isOpen(): boolean {
    return this.#open > 0
  }

  begin(at: number): void {
    if (this.#open++ === 0) this.#since = at
  }

  /** Ends so many of them; gives how long they lasted, ms, where none is left. */
  end(at: number, count: number): number | undefined {
    if (count === 0) return undefined
    this.#open -= count
    if (this.#open > 0) return undefined
    const lasted = at - this.#since
    this.#past += lasted
    return lasted
  }

  /** Ends all of them; gives how many there were. */
  endAll(at: number): number {
    const count = this.#open
    this.end(at, count)
    return count
  }

  /** How long the one under way has lasted, ms. */
  current(at: number): number {
    return this.#open === 0 ? 0 : at - this.#since
  }

  /** All of it until now, ms. */
  total(at: number): number {
    return this.#past + this.current(at)
  }
}

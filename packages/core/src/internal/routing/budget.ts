// What was put in or taken out is forgotten after so many slices of so many ms each (Finagle: 10 s).
const slices = 10
const slice = 1_000

/**
 * A token bucket that forgets (Finagle's `RetryBudget`): a share of each call is put in, each retry takes out 1, and both
 * count for 10 s. So there are never more retries within 10 s than the share of the calls in that time, plus the reserve.
 *
 * @internal
 */
export class Budget {
  /** Taken out so far, and refused. */
  spent = 0
  denied = 0
  // What each of the last seconds put in less what it took out.
  readonly #slices = new Float64Array(slices)
  #sum = 0
  #slice = 0

  /** A call is made, which is worth `share`. */
  deposit(share: number, at: number): void {
    this.#add(share, at)
  }

  /** What is left; `reserve` a second is always allowed. */
  balance(reserve: number, at: number): number {
    this.#forget(at)
    return this.#sum + reserve * slices * slice / 1_000
  }

  /** Takes out 1, where it is there. */
  withdraw(reserve: number, at: number): boolean {
    // Sums of shares may end a little below a whole number.
    if (this.balance(reserve, at) < 1 - 1e-9) {
      this.denied++
      return false
    }
    this.spent++
    this.#add(-1, at)
    return true
  }

  /** Gives back 1 that wasn't needed. */
  refund(at: number): void {
    this.spent--
    this.#add(1, at)
  }

  #add(amount: number, at: number): void {
    this.#forget(at)
    this.#slices[this.#slice % slices]! += amount
    this.#sum += amount
  }

  #forget(at: number): void {
    const current = Math.floor(at / slice)
    if (current <= this.#slice) return
    if (current - this.#slice >= slices) this.#slices.fill(0)
    else for (let index = this.#slice + 1; index <= current; index++) this.#slices[index % slices] = 0
    this.#slice = current
    // Added up anew, so that what fractions lose doesn't grow.
    this.#sum = 0
    for (const amount of this.#slices) this.#sum += amount
  }
}

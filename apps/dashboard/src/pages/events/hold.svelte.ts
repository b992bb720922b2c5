/**
 * Whether a list stands still: while somebody paused it, reads further down, or has the focus in it, nothing new comes in
 * above what they look at. What came meanwhile is counted.
 */
import { untrack } from "svelte"

interface Numbered {
  readonly id: string
}

/** How far down the page somebody reads, px. */
const read = 24

/** To be made while a component is, whose end ends it. */
export class Hold {
  paused = $state(false)
  focused = $state(false)
  #scrolled = $state(false)
  readonly #holds = $derived(this.paused || this.focused || this.#scrolled)
  // The newest that is shown while it holds.
  #newest = $state.raw<string | undefined>()

  constructor(rows: () => ReadonlyArray<Numbered>) {
    $effect.pre(() => {
      this.#newest = this.#holds ? untrack(rows)[0]?.id : undefined
    })
    $effect(() => {
      const scrolled = () => this.#scrolled = scrollY > read
      scrolled()
      addEventListener("scroll", scrolled, { passive: true })
      return () => removeEventListener("scroll", scrolled)
    })
  }

  /** Of these rows, the ones that are shown. */
  shown<Row extends Numbered>(rows: ReadonlyArray<Row>): ReadonlyArray<Row> {
    const newest = this.#newest
    return newest === undefined || (rows[0]?.id ?? "") <= newest ? rows : rows.filter(({ id }) => id <= newest)
  }

  /** Shows what came meanwhile, from the top. */
  release(): void {
    this.paused = false
    scrollTo(0, 0)
    this.#scrolled = false
    this.#newest = undefined
  }
}

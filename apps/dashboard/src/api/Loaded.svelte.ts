/**
 * An answer of the API that is asked for again and again: the last good one stays while another is awaited or fails.
 */
import { asProblem, type Problem } from "./Problem.ts"

export class Loaded<A> {
  #value = $state.raw<A | undefined>(undefined)
  #problem = $state.raw<Problem | undefined>(undefined)
  #loading = $state(false)
  readonly #ask: (signal: AbortSignal) => Promise<A>
  #asking: AbortController | undefined

  constructor(ask: (signal: AbortSignal) => Promise<A>) {
    this.#ask = ask
  }

  get value(): A | undefined {
    return this.#value
  }

  /** Why the last attempt failed; none while all is well. */
  get problem(): Problem | undefined {
    return this.#problem
  }

  get loading(): boolean {
    return this.#loading
  }

  /** Asks now; an answer that is still awaited isn't waited for any more. */
  async load(): Promise<void> {
    this.#asking?.abort()
    const asking = new AbortController()
    this.#asking = asking
    this.#loading = true
    try {
      const value = await this.#ask(asking.signal)
      if (asking.signal.aborted) return
      this.#value = value
      this.#problem = undefined
    } catch (cause) {
      if (!asking.signal.aborted) this.#problem = asProblem(cause)
    } finally {
      if (this.#asking === asking) this.#loading = false
    }
  }

  /** Asks now and at each interval while the page is seen, and when it is seen again. The answer ends it. */
  every(ms: number): () => void {
    const ask = () => {
      if (document.visibilityState === "visible") void this.load()
    }
    void this.load()
    const timer = setInterval(() => {
      // An answer that takes longer than the interval would never come.
      if (!this.#loading) ask()
    }, ms)
    document.addEventListener("visibilitychange", ask)
    return () => {
      clearInterval(timer)
      document.removeEventListener("visibilitychange", ask)
      this.#asking?.abort()
      this.#loading = false
    }
  }
}

/**
 * An answer of the API that is asked for again and again: the last good one stays while another is awaited or fails.
 */
import { untrack } from "svelte"
import { fleet } from "../fleet/fleet.svelte.ts"
import { asProblem, type Problem } from "./Problem.ts"

/** Until it is asked again for what the gateway couldn't answer, ms. */
const again = 5_000

/** Whether asking for the same again may help: it isn't wrong, and not gone. */
const mayPass = ({ status }: Problem): boolean => status !== 400 && status !== 404

/** What the page shown asks for again and again. */
let asked = $state.raw<ReadonlyArray<Loaded<unknown>>>([])

/** Of what the page shows, what is the oldest that couldn't be had anew: since when, and why. */
export const oldest = (): { readonly since: number; readonly problem: Problem } | undefined =>
  asked.flatMap((loaded) => loaded.old ?? []).toSorted((a, b) => a.since - b.since)[0]

export class Loaded<A> {
  #value = $state.raw<A | undefined>(undefined)
  #problem = $state.raw<Problem | undefined>(undefined)
  #loading = $state(false)
  /** Our time of the last good answer, and how many attempts failed since. */
  #at = 0
  #failed = $state(0)
  readonly #ask: (signal: AbortSignal) => Promise<A>
  #asking: AbortController | undefined
  /** Plans when it is asked for next. */
  #plan: (() => void) | undefined

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

  /** The value where it stays as it is though it was asked for anew: since when, and why. Once alone is no matter. */
  get old(): { readonly since: number; readonly problem: Problem } | undefined {
    const problem = this.#problem
    return this.#value === undefined || problem === undefined || !mayPass(problem) || this.#failed < 2
      ? undefined
      : { since: this.#at, problem }
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
      this.#at = Date.now()
      this.#failed = 0
    } catch (cause) {
      if (asking.signal.aborted) return
      this.#problem = asProblem(cause)
      this.#failed++
    } finally {
      if (this.#asking === asking) {
        this.#loading = false
        this.#plan?.()
      }
    }
  }

  /**
   * Asks now and at each interval while the page is seen, and when it or the gateway is back; sooner after a failure. The
   * answer ends it.
   */
  every(ms: number): () => void {
    let timer: ReturnType<typeof setTimeout> | undefined
    const plan = this.#plan = () => {
      clearTimeout(timer)
      const problem = this.#problem
      timer = setTimeout(ask, problem !== undefined && mayPass(problem) ? Math.min(ms, again) : ms)
    }
    const ask = () => {
      if (document.visibilityState === "visible") void this.load()
      else plan()
    }
    void this.load()
    document.addEventListener("visibilitychange", ask)
    let was = true
    const unwatch = $effect.root(() => {
      $effect(() => {
        // What was asked for while it connects for the first time is under way.
        const there = fleet.live || untrack(() => fleet.connection.state === "connecting")
        if (there && !was) untrack(ask)
        was = there
      })
    })
    asked = untrack(() => [...asked, this])
    return () => {
      this.#plan = undefined
      clearTimeout(timer)
      unwatch()
      asked = asked.filter((loaded) => loaded !== this)
      document.removeEventListener("visibilitychange", ask)
      this.#asking?.abort()
      this.#loading = false
    }
  }
}

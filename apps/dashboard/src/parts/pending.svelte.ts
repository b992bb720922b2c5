/**
 * One thing that was asked of the gateway: under way until what it answered is seen, or failed.
 */
import { access } from "../api/access.svelte.ts"
import { asProblem, type Problem } from "../api/Problem.ts"
import { fleet } from "../fleet/fleet.svelte.ts"

export class Pending {
  #what = $state.raw<string | undefined>(undefined)
  #problem = $state.raw<Problem | undefined>(undefined)

  /** What is under way, in a few words. */
  get what(): string | undefined {
    return this.#what
  }

  /** Why nothing can be asked for now. */
  get blocked(): string | undefined {
    return fleet.live ? this.#what : "Not now: nothing is heard from the gateway"
  }

  get problem(): Problem | undefined {
    return this.#problem
  }

  /** Does it, and waits until it is seen: `until` is asked each 50 ms, and no longer than 10 s. The answer: whether it did. */
  async run<A>(what: string, ask: () => Promise<A>, until: (answer: A) => boolean = () => true): Promise<boolean> {
    if (this.#what !== undefined || !await access.ask()) return false
    this.#what = what
    this.#problem = undefined
    try {
      const answer = await ask()
      for (const end = Date.now() + 10_000; !until(answer) && Date.now() < end;) {
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      return true
    } catch (cause) {
      this.#problem = asProblem(cause)
      return false
    } finally {
      this.#what = undefined
    }
  }

  forget(): void {
    this.#problem = undefined
  }
}

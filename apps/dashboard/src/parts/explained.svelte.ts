/**
 * Where the next call of a service goes, as the gateway explains it for the tool and caller that are asked about.
 */
import { request } from "../api/client.ts"
import { Loaded } from "../api/Loaded.svelte.ts"
import type { Problem } from "../api/Problem.ts"
import type { ExplanationView } from "../api/types.ts"
import { fleet } from "../fleet/fleet.svelte.ts"

/** To be made while a component is, whose end ends it. */
export class Explained {
  /** Empty: any of the service's. */
  tool = $state("")
  /** Empty: anybody. */
  caller = $state("")
  #at = $state<number>()
  readonly #loaded: Loaded<ExplanationView>

  /** `last`: what may have changed where the next one goes, such as a call of this page. */
  constructor(service: () => string, tool = "", last: () => unknown = () => undefined) {
    this.tool = tool
    // Anew when who takes calls is another; loads move all the time, and whoever wants to know asks.
    const takers = $derived(JSON.stringify([fleet.service(service())?.states, fleet.service(service())?.routable]))
    this.#loaded = new Loaded(async (signal) => {
      const query = { tool: this.tool === "" ? service() : this.tool, caller: this.caller, top: 200 }
      const answer = await request<ExplanationView>("GET", "explain", { query, signal })
      this.#at = fleet.now
      return answer
    })
    $effect(() => {
      void [service(), this.tool, takers, last(), fleet.live]
      const timer = setTimeout(() => this.ask(), 200)
      return () => clearTimeout(timer)
    })
  }

  get answer(): ExplanationView | undefined {
    return this.#loaded.value
  }

  get problem(): Problem | undefined {
    return this.#loaded.problem
  }

  /** When it was asked last. */
  get at(): number | undefined {
    return this.#at
  }

  ask(): void {
    void this.#loaded.load()
  }
}

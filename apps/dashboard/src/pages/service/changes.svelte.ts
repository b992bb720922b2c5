/**
 * What changed of one service: what the gateway remembers, asked for again when something new is told of it.
 */
import { request } from "../../api/client.ts"
import { Loaded } from "../../api/Loaded.svelte.ts"
import type { Problem } from "../../api/Problem.ts"
import type { Change } from "../../api/types.ts"
import { changeRow } from "../../fleet/changeRow.ts"
import { fleet } from "../../fleet/fleet.svelte.ts"
import type { ChangeRow } from "../../fleet/rows.ts"

/** To be made while a component is, whose end ends it. */
export class Changes {
  readonly #loaded: Loaded<{ readonly items: ReadonlyArray<Change> }>
  readonly #rows = $derived.by(() => this.#loaded.value?.items.map(changeRow) ?? [])

  constructor(service: () => string) {
    this.#loaded = new Loaded((signal) =>
      request("GET", "changes", { query: { service: service(), limit: 200 }, signal })
    )
    const newest = $derived(fleet.changes.find((change) => change.service === service())?.id)
    $effect(() => {
      void service()
      return this.#loaded.every(30_000)
    })
    $effect(() => {
      if (newest === undefined) return
      const timer = setTimeout(() => void this.#loaded.load(), 250)
      return () => clearTimeout(timer)
    })
  }

  /** The newest first. */
  get rows(): ReadonlyArray<ChangeRow> {
    return this.#rows
  }

  get known(): boolean {
    return this.#loaded.value !== undefined
  }

  get problem(): Problem | undefined {
    return this.#loaded.problem
  }

  load(): void {
    void this.#loaded.load()
  }
}

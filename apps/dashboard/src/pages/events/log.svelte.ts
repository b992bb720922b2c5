/**
 * Everything that the gateway remembers to have changed, and what it has told since.
 */
import { untrack } from "svelte"
import { request } from "../../api/client.ts"
import { Loaded } from "../../api/Loaded.svelte.ts"
import type { Problem } from "../../api/Problem.ts"
import type { Change } from "../../api/types.ts"
import { changeRow } from "../../fleet/changeRow.ts"
import { fleet } from "../../fleet/fleet.svelte.ts"
import type { ChangeRow } from "../../fleet/rows.ts"
import { isApart, merged } from "./views.ts"

/** What it remembers at most, and so what one answer may have. */
const kept = 1_000

/** To be made while a component is, whose end ends it. */
export class EventLog {
  readonly #loaded = new Loaded<{ readonly items: ReadonlyArray<Change> }>((signal) =>
    request("GET", "changes", { query: { limit: kept }, signal })
  )
  #rows = $state.raw<ReadonlyArray<ChangeRow>>([])

  constructor() {
    void this.#loaded.load()
    $effect(() => {
      if (fleet.live && untrack(() => this.problem) !== undefined) this.load()
    })
    // Older ones come once; newer ones are told with the fleet.
    $effect(() => {
      const items = this.#loaded.value?.items
      if (items !== undefined) this.#rows = merged(untrack(() => this.#rows), items.map(changeRow))
    })
    $effect(() => {
      const newer = fleet.changes
      const known = untrack(() => this.#rows)
      // After a long time away the fleet tells the last ones alone.
      if (isApart(newer, known)) void this.#loaded.load()
      else this.#rows = merged(newer, known)
    })
  }

  /** The newest first. */
  get rows(): ReadonlyArray<ChangeRow> {
    return this.#rows
  }

  /** Whether older ones are among them. */
  get whole(): boolean {
    return this.#loaded.value !== undefined
  }

  /** Why older ones are not. */
  get problem(): Problem | undefined {
    return this.whole ? undefined : this.#loaded.problem
  }

  load(): void {
    void this.#loaded.load()
  }
}

/**
 * Which instances the gateway finds for the text of the query field: its own query language decides, here as in the API
 * and the command line. What is typed without an operator is looked for in addresses too.
 */
import { request } from "../../api/client.ts"
import { Loaded } from "../../api/Loaded.svelte.ts"
import { fleet } from "../../fleet/fleet.svelte.ts"
import { keyOf } from "../../fleet/instanceRow.ts"

interface Page {
  readonly items: ReadonlyArray<{ readonly id: string; readonly source: string }>
  readonly nextCursor?: string
}

/** Time after the last key until it is asked, ms. */
const settled = 200
const again = 15_000

/** To be made while a component is, whose end ends it. */
export class Found {
  readonly #text: () => string
  readonly #answer = new Loaded((signal) => this.#ask(signal))
  readonly #keys = $derived.by(() => this.#union())

  constructor(text: () => string) {
    this.#text = text
    $effect(() => {
      if (text() === "") return
      let stop: (() => void) | undefined
      const timer = setTimeout(() => stop = this.#answer.every(again), settled)
      return () => {
        clearTimeout(timer)
        stop?.()
      }
    })
  }

  /** None while nothing is asked for, and until the first answer. */
  get keys(): ReadonlySet<string> | undefined {
    return this.#text() === "" ? undefined : this.#keys
  }

  /** What is wrong with the text; the list stays as it was. */
  get mistake(): string | undefined {
    const problem = this.#text() === "" ? undefined : this.#answer.problem
    if (problem === undefined) return undefined
    const [first] = problem.errors ?? []
    if (first === undefined) return problem.message
    return first.path === "q" ? first.message : `${first.path.replace(/^q: /, "")}: ${first.message}`
  }

  #union(): ReadonlySet<string> | undefined {
    const found = this.#answer.value
    if (found === undefined) return undefined
    const text = this.#text().toLowerCase()
    if (/[=<>~"]/.test(text)) return found
    const words = text.split(/\s+/)
    const addressed = fleet.instances.filter(({ address }) => {
      const said = address.toLowerCase()
      return words.every((word) => said.includes(word))
    })
    return addressed.length === 0 ? found : new Set([...found, ...addressed.map(({ key }) => key)])
  }

  async #ask(signal: AbortSignal): Promise<ReadonlySet<string>> {
    const keys = new Set<string>()
    let cursor: string | undefined
    do {
      const query = { q: this.#text(), limit: 1000, cursor }
      const page: Page = await request("GET", "instances", { query, signal })
      for (const item of page.items) keys.add(keyOf(item))
      cursor = page.nextCursor
    } while (cursor !== undefined)
    return keys
  }
}

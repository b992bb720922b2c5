/**
 * Whether whoever reads may change something, as the gateway says it, and the token they gave for it.
 *
 * **Details**: the token is kept for this tab alone, and sent to the gateway alone.
 */
import { asProblem, problemOf } from "./Problem.ts"

export type Writes = "allowed" | "token" | "refused"

const kept = "portolan.token"

const isWrites = (value: unknown): value is Writes => value === "allowed" || value === "token" || value === "refused"

const storage = (): Storage | undefined => {
  try {
    return sessionStorage
  } catch {
    // Not allowed here: it is kept by this page alone.
    return undefined
  }
}

class Access {
  #writes = $state<Writes>("refused")
  // Empty: not known yet.
  #reason = $state("")
  #asking = $state.raw<((given: boolean) => void) | undefined>(undefined)
  #token: string | undefined = storage()?.getItem(kept) ?? undefined

  /** `token`: one is needed. */
  get writes(): Writes {
    return this.#writes
  }

  get reason(): string {
    return this.#reason
  }

  /** Whether somebody is asked for the token. */
  get asking(): boolean {
    return this.#asking !== undefined
  }

  /** What requests carry. */
  get headers(): Readonly<Record<string, string>> {
    return this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }
  }

  /** Keeps the token, or forgets it, and asks what it allows. One that allows nothing isn't kept. */
  async token(text: string | undefined): Promise<void> {
    this.#token = text === "" ? undefined : text
    await this.check()
    if (this.#token !== undefined && this.#writes === "allowed") storage()?.setItem(kept, this.#token)
    else {
      this.#token = undefined
      storage()?.removeItem(kept)
    }
  }

  /** Whether a write may be tried now: asks for the token where one is needed. */
  async ask(): Promise<boolean> {
    if (this.#writes !== "token") return this.#writes === "allowed"
    this.#asking?.(false)
    return new Promise((resolve) => this.#asking = resolve)
  }

  /** Ends the question. */
  answered(): void {
    this.#asking?.(this.#writes === "allowed")
    this.#asking = undefined
  }

  async check(): Promise<void> {
    const token = this.#token
    try {
      // Browsers say whose page writes, and not whose page reads.
      const address = new URL(`api/v1/access?origin=${encodeURIComponent(location.origin)}`, document.baseURI)
      const response = await fetch(address, { headers: this.headers, signal: AbortSignal.timeout(10_000) })
      if (!response.ok) throw await problemOf(response)
      const told: unknown = await response.json()
      const writes: unknown = typeof told === "object" && told !== null ? Reflect.get(told, "writes") : undefined
      const reason: unknown = typeof told === "object" && told !== null ? Reflect.get(told, "reason") : undefined
      // Meanwhile another token was given: the answer to that one counts.
      if (this.#token !== token) return
      this.#writes = isWrites(writes) ? writes : "refused"
      this.#reason = typeof reason === "string" ? reason : ""
    } catch (cause) {
      // Without an answer nothing is known that wasn't before.
      this.#reason = asProblem(cause).message
    }
  }
}

export const access = new Access()

/**
 * The one call of the page: under way, asked something, or over.
 */
import { type Answers, type Call, call, type Ended, type Progress, type Said } from "./call.ts"
import { questionsOf } from "./outcome.ts"

/** Lines of a call that are kept. */
const mostSaid = 200

export class Calling {
  #began = $state(0)
  #now = $state(0)
  #progress = $state.raw<Progress | undefined>()
  #said = $state.raw<ReadonlyArray<Said>>([])
  #ended = $state.raw<Ended | undefined>()
  #asking: AbortController | undefined
  #running = $state(false)
  #call: Call | undefined

  get running(): boolean {
    return this.#running
  }

  /** ms since it began. */
  get elapsed(): number {
    return Math.max(0, this.#now - this.#began)
  }

  get progress(): Progress | undefined {
    return this.#progress
  }

  get said(): ReadonlyArray<Said> {
    return this.#said
  }

  /** Of this call or, while one is under way, of the one before. */
  get ended(): Ended | undefined {
    return this.#ended
  }

  async begin(call: Call): Promise<void> {
    this.#call = call
    this.#said = []
    this.#ended = undefined
    await this.#run(call)
  }

  /** Goes on with the call that asked. */
  async answer(responses: Answers["responses"]): Promise<void> {
    const asked = this.#ended === undefined ? undefined : questionsOf(this.#ended)
    if (this.#call === undefined || asked === undefined) return
    await this.#run({ ...this.#call, answers: { responses, state: asked.state } })
  }

  cancel(): void {
    this.#asking?.abort()
  }

  async #run(given: Call): Promise<void> {
    this.#asking?.abort()
    const asking = new AbortController()
    this.#asking = asking
    this.#running = true
    this.#progress = undefined
    this.#began = performance.now()
    this.#now = this.#began
    const timer = setInterval(() => this.#now = performance.now(), 100)
    const heard = {
      progress: (progress: Progress) => {
        if (this.#asking === asking) this.#progress = progress
      },
      said: (said: Said) => {
        if (this.#asking === asking) this.#said = [...this.#said, said].slice(-mostSaid)
      }
    }
    const ended = await call(new URL("mcp", document.baseURI), given, heard, asking.signal)
    clearInterval(timer)
    // Another one began meanwhile.
    if (this.#asking !== asking) return
    this.#ended = ended
    this.#running = false
  }
}

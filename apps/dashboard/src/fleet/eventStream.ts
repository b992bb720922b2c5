/**
 * The gateway's stream of events over `fetch`: cut into events, gone on with where it broke off, and watched, so that
 * silence is told.
 *
 * **Details**: `EventSource` can neither tell silence nor why it failed. The gateway says something every 2 s; after 5 s
 * without a word the connection is given up and opened anew.
 */
import type { Event } from "../api/types.ts"
import type { Connection } from "./rows.ts"

/** What hears the stream. */
export interface Listener {
  /** Answers whether it could go on from what it has; where not, the stream begins anew with a snapshot. */
  readonly event: (event: Event) => boolean
  readonly connection: (connection: Connection) => void
}

/** After how long without a word a connection counts as lost, ms. */
const silence = 5_000
/** Time until the first new attempt, and the longest that the gateway may ask for, ms. */
const firstDelay = 1_000
const longestDelay = 5_000

/** One message of the stream; `retry` comes alone. */
export interface Message {
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

/** Cuts the text of a stream of server-sent events, however it is broken into pieces. */
export class MessageReader {
  /** Time after which the server wants us back, ms. */
  retry: number | undefined
  #rest = ""
  #event = ""
  #id: string | undefined
  #data: Array<string> = []

  read(text: string): ReadonlyArray<Message> {
    const end = text.lastIndexOf("\n")
    if (end === -1) {
      this.#rest += text
      return []
    }
    const lines = (this.#rest + text.slice(0, end)).split("\n")
    this.#rest = text.slice(end + 1)
    const messages: Array<Message> = []
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line, messages)
    return messages
  }

  #line(line: string, messages: Array<Message>): void {
    if (line === "") {
      if (this.#data.length > 0) {
        messages.push({ event: this.#event, id: this.#id, data: this.#data.join("\n") })
      }
      this.#event = ""
      this.#id = undefined
      this.#data = []
      return
    }
    const colon = line.indexOf(":")
    const field = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1)
    if (field === "data") this.#data.push(value)
    else if (field === "event") this.#event = value
    else if (field === "id") this.#id = value
    else if (field === "retry" && /^\d+$/.test(value)) this.retry = Number(value)
  }
}

const names: ReadonlySet<string> = new Set<Event["event"]>(
  ["snapshot", "catalog", "health", "figures", "sources", "beat", "resync"]
)
const isKnown = (name: string): name is Event["event"] => names.has(name)

export class EventStream {
  readonly #url: string
  readonly #listener: Listener
  readonly #stopped = new AbortController()
  /** Ends the pause before the next attempt. */
  #wake: (() => void) | undefined
  #lastEventId: string | undefined
  #heard: number | undefined
  #retry = firstDelay

  constructor(url: string, listener: Listener) {
    this.#url = url
    this.#listener = listener
    void this.#run()
  }

  /** Tries again at once, where it waits to. */
  retry(): void {
    this.#wake?.()
  }

  stop(): void {
    this.#stopped.abort()
    this.#wake?.()
  }

  async #run(): Promise<void> {
    this.#listener.connection({ state: "connecting", since: Date.now() })
    let failed = 0
    while (!this.#stopped.signal.aborted) {
      const before = this.#heard
      const error = await this.#read()
      if (this.#stopped.signal.aborted) return
      failed = this.#heard === before ? failed + 1 : 0
      // The pages of many people don't come back all at once.
      const delay = Math.round((failed === 0 ? firstDelay : this.#retry) * (1 + Math.random() / 4))
      this.#listener.connection({ state: "lost", heard: this.#heard, retryAt: Date.now() + delay, error })
      await this.#pause(delay)
    }
  }

  /** Reads until the stream ends, and answers why it did. */
  async #read(): Promise<string> {
    const cut = new AbortController()
    const watch = () => setTimeout(() => cut.abort(), silence)
    let watchdog = watch()
    try {
      const response = await fetch(this.#url, {
        headers: {
          accept: "text/event-stream",
          ...this.#lastEventId === undefined ? {} : { "last-event-id": this.#lastEventId }
        },
        cache: "no-store",
        signal: AbortSignal.any([cut.signal, this.#stopped.signal])
      })
      if (!response.ok || response.body === null) return await refusal(response)
      const messages = new MessageReader()
      const text = response.body.pipeThrough(new TextDecoderStream()).getReader()
      for (let piece = await text.read(); !piece.done; piece = await text.read()) {
        clearTimeout(watchdog)
        watchdog = watch()
        this.#heard = Date.now()
        this.#listener.connection({ state: "live", heard: this.#heard })
        for (const message of messages.read(piece.value)) {
          if (!this.#tell(message)) {
            cut.abort()
            return "events were missed"
          }
        }
        this.#retry = Math.min(Math.max(messages.retry ?? firstDelay, firstDelay), longestDelay)
      }
      return "the gateway ended the stream"
    } catch (cause) {
      return cut.signal.aborted
        ? `no word for ${silence / 1000} s`
        : cause instanceof SyntaxError
        ? "something else than the gateway answers"
        : "the gateway can't be reached"
    } finally {
      clearTimeout(watchdog)
    }
  }

  #tell({ data, event, id }: Message): boolean {
    // A later gateway may tell of more.
    if (!isKnown(event)) return true
    try {
      const known = this.#listener.event({ event, ...id === undefined ? {} : { id }, data: JSON.parse(data) })
      this.#lastEventId = known ? id ?? this.#lastEventId : undefined
      return known
    } catch (cause) {
      // Going on behind it would leave us with less than there is.
      this.#lastEventId = undefined
      throw cause
    }
  }

  #pause(delay: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer)
        this.#wake = undefined
        resolve()
      }
      const timer = setTimeout(wake, delay)
      this.#wake = wake
    })
  }
}

const refusal = async (response: Response): Promise<string> => {
  const told = `the gateway answered ${response.status}`
  try {
    const { detail } = await response.json()
    return typeof detail === "string" ? detail : told
  } catch {
    return told
  }
}

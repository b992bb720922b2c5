/**
 * The gateway's stream of events over `fetch`: cut into events, gone on with where it broke off, and watched, so that
 * silence is told.
 *
 * **Details**: `EventSource` can neither tell silence nor why it failed. The gateway says something every 2 s; after 5 s
 * without a word the stream counts as lost. Only after 15 s the connection is given up: one that is opened anew costs a
 * gateway that is merely busy a snapshot more.
 */
import type { Event } from "../api/types.ts"
import type { Connection } from "./rows.ts"

/** What hears the stream. */
export interface Listener {
  /** Answers whether it could go on from what it has; where not, the stream begins anew with a snapshot. */
  readonly event: (event: Event) => boolean
  readonly connection: (connection: Connection) => void
}

/** After how long without a word the stream counts as lost, and its connection is given up; how often that is looked at. */
const silence = 5_000
const patience = 15_000
const look = 500
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
  /** Ends what is waited for: the pause before the next attempt, or a connection that says nothing. */
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
      this.#lose(error, delay)
      await this.#pause(delay)
    }
  }

  #lose(error: string, delay: number): void {
    this.#listener.connection({ state: "lost", heard: this.#heard, retryAt: Date.now() + delay, error })
  }

  /** Reads until the stream ends, and answers why it did. */
  async #read(): Promise<string> {
    const cut = new AbortController()
    // Counted in looks, and not by the clock: while we stood still ourselves, words may have come that aren't read yet.
    let quiet = 0
    const watchdog = setInterval(() => {
      quiet += look
      if (quiet >= patience) cut.abort()
      else if (quiet === silence) {
        this.#wake = () => cut.abort()
        this.#lose(silent(silence), patience - silence)
      }
    }, look)
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
      // Such as the page of a proxy, to sign in.
      if (response.headers.get("content-type")?.startsWith("text/event-stream") !== true) {
        return "something else than the gateway answers"
      }
      const messages = new MessageReader()
      const text = response.body.pipeThrough(new TextDecoderStream()).getReader()
      for (let piece = await text.read(); !piece.done; piece = await text.read()) {
        quiet = 0
        this.#wake = undefined
        const told = messages.read(piece.value)
        this.#retry = Math.min(Math.max(messages.retry ?? firstDelay, firstDelay), longestDelay)
        for (const message of told) {
          const refused = this.#tell(message)
          if (refused !== undefined) return refused
        }
        this.#heard = Date.now()
        this.#listener.connection({ state: "live", heard: this.#heard })
      }
      return "the gateway ended the stream"
    } catch {
      return cut.signal.aborted ? silent(quiet) : "the gateway can't be reached"
    } finally {
      clearInterval(watchdog)
      this.#wake = undefined
      // One that isn't read on would keep one of the browser's few connections.
      cut.abort()
    }
  }

  /** Answers why the stream can't go on, where it can't. */
  #tell({ data, event, id }: Message): string | undefined {
    // A later gateway may tell of more.
    if (!isKnown(event)) return undefined
    const last = id ?? this.#lastEventId
    // Going on behind one that wasn't taken would leave us with less than there is.
    this.#lastEventId = undefined
    try {
      if (!this.#listener.event({ event, ...id === undefined ? {} : { id }, data: JSON.parse(data) })) {
        return "events were missed"
      }
    } catch (cause) {
      return `an event can't be read: ${cause instanceof Error ? cause.message : String(cause)}`
    }
    this.#lastEventId = last
    return undefined
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

const silent = (ms: number): string => `no word for ${Math.floor(ms / 1000)} s`

const refusal = async (response: Response): Promise<string> => {
  const told = `the gateway answered ${response.status}`
  try {
    const { detail } = await response.json()
    return typeof detail === "string" ? detail : told
  } catch {
    return told
  }
}

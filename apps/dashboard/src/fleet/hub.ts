/**
 * Between the gateway and the pages of one browser: one stream of events, one model, and frames for whoever looks.
 *
 * **Details**: frames go out at most four times a second, which is what people can read; what they wait for goes out within
 * 30 ms where nothing went out just before. Hidden pages get nothing; one that comes back gets a whole frame. A page says
 * of each frame that it was applied: one that falls behind gets no more until then, so that nothing piles up, and one that
 * doesn't say so for long is forgotten until it speaks.
 */
import type { Change, Event, ReportView, SeriesReport, StatusView } from "../api/types.ts"
import { EventStream } from "./eventStream.ts"
import { Model } from "./model.ts"
import { Poll } from "./poll.ts"
import type { Connection, Frame, FromWorker, ToWorker } from "./rows.ts"

/** Where a page is reached. */
export interface Port {
  readonly postMessage: (message: FromWorker) => void
}

interface ChangeList {
  readonly items: ReadonlyArray<Change>
}

interface Page {
  visible: boolean
  /** Whether the next frame must be a whole one. */
  lost: boolean
  /** Frames that it has not spoken of, and since when. */
  owed: number
  owedSince: number
}

/** ms. */
const urgentDelay = 30
const interval = 250
const patience = 30_000
const linger = 5_000

/** Frames that a page may owe. */
const mostOwed = 4

export class Hub {
  readonly #pages = new Map<Port, Page>()
  readonly #model = new Model()
  readonly #polls: ReadonlyArray<Poll>
  readonly #report: Poll
  readonly #changes: Poll
  readonly #status: Poll
  #api = ""
  #stream: EventStream | undefined
  #connection: Connection = { state: "connecting", since: Date.now() }
  /** What the last events say that is to be added to our time; the least delayed is the nearest. */
  #skews: ReadonlyArray<number> = []
  #flushTimer: { readonly at: number; readonly timer: ReturnType<typeof setTimeout> } | undefined
  #flushedAt = 0
  #ticking: ReturnType<typeof setInterval> | undefined
  #ending: ReturnType<typeof setTimeout> | undefined

  constructor() {
    this.#report = new Poll(async () => {
      const answer: ReportView = await this.#ask("report?top=11")
      this.#model.report(answer)
      this.#schedule()
    }, { every: 5_000, apart: 1_000 })
    this.#status = new Poll(async () => {
      const answer: StatusView = await this.#ask("status")
      this.#model.status(answer)
      this.#schedule()
    }, { every: 30_000, apart: 2_000 })
    this.#changes = new Poll(async () => {
      const some: ChangeList = await this.#ask("changes?limit=50")
      // The first time, and where much changed at once.
      const missing = some.items.length === 50 && !this.#model.adjoins(some.items)
      const all: ChangeList = missing ? await this.#ask("changes?limit=200") : some
      this.#model.changes(all.items)
      this.#schedule()
    }, { every: 60_000, apart: interval })
    this.#polls = [this.#report, this.#status, this.#changes]
  }

  /** Takes what a page says; its first word makes it one of ours. Answers whether it is. */
  hear(port: Port, message: ToWorker): boolean {
    let page = this.#pages.get(port)
    // One that goes is hidden too, and some browsers tell that after its last word.
    if (message.type === "close" || page === undefined && message.type === "visible" && !message.visible) {
      this.#pages.delete(port)
      this.#look()
      return false
    }
    if (page === undefined) this.#pages.set(port, page = { visible: true, lost: true, owed: 0, owedSince: 0 })
    switch (message.type) {
      case "open": {
        this.#api = message.api
        page.owed = 0
        page.lost = true
        break
      }
      case "visible": {
        if (message.visible && !page.visible) page.lost = true
        page.visible = message.visible
        break
      }
      case "seen": {
        page.owed = Math.max(0, page.owed - 1)
        page.owedSince = Date.now()
        break
      }
      case "retry": {
        this.#stream?.retry()
      }
    }
    // One that was forgotten may be the only one.
    if (this.#api !== "") this.#open()
    this.#look()
    if (!page.visible || !page.lost || page.owed >= mostOwed) return true
    port.postMessage({ type: "connection", connection: this.#connection })
    if (this.#model.stirred) this.#flush()
    else this.#recover(port, page)
    return true
  }

  #open(): void {
    this.#stream ??= new EventStream(new URL("api/v1/events", this.#api).href, {
      event: (event) => this.#event(event),
      connection: (connection) => this.#tellConnection(connection)
    })
  }

  /** Begins and ends what is done only while somebody looks. */
  #look(): void {
    if (this.#pages.size > 0) {
      clearTimeout(this.#ending)
      this.#ending = undefined
    } else {
      this.#ending ??= setTimeout(() => {
        this.#stream?.stop()
        this.#stream = undefined
      }, linger)
    }
    const seen = this.#isSeen()
    if (!seen) {
      clearInterval(this.#ticking)
      this.#ticking = undefined
    } else if (this.#ticking === undefined) {
      this.#ticking = setInterval(() => this.#tick(), 1_000)
      this.#tick()
    }
    for (const poll of this.#polls) poll.running = seen && this.#connection.state === "live"
  }

  #isSeen(): boolean {
    return Array.from(this.#pages.values()).some(({ visible }) => visible)
  }

  #event(event: Event): boolean {
    if (event.event !== "resync") {
      const at = Date.parse(event.data.at)
      this.#skews = [...this.#skews.slice(-9), at - Date.now()]
      const { run } = this.#model
      if (!this.#model.apply(event, at)) return false
      if (this.#model.run !== run) void this.#seed()
    }
    if (event.event !== "beat" && event.event !== "figures") {
      this.#changes.want()
      this.#status.want()
    }
    // What nobody has yet doesn't wait for more.
    if (event.event === "snapshot") this.#flush()
    else this.#schedule()
    return true
  }

  /** What was before us: rates are there from the first moment on. */
  async #seed(): Promise<void> {
    try {
      const answer: SeriesReport = await this.#ask("reports/series?window=1m")
      this.#model.seed(answer)
      this.#schedule()
    } catch {
      // They come with time.
    }
    // The second of two answers tells who calls how much.
    this.#report.want()
  }

  #tick(): void {
    const now = Date.now()
    for (const [port, { owed, owedSince }] of this.#pages) {
      if (owed > 0 && now - owedSince > patience) this.#pages.delete(port)
    }
    this.#look()
    // Also where it is as it was: so pages hear that we are there.
    this.#tellPages()
    // What is the last that is known doesn't fade.
    if (this.#connection.state !== "live") return
    this.#model.tick(this.#now())
    this.#schedule()
  }

  #schedule(): void {
    if (!this.#model.stirred) return
    const next = this.#flushedAt + interval
    const at = this.#model.urgent ? Math.max(Date.now() + urgentDelay, next) : next
    if (this.#flushTimer !== undefined && this.#flushTimer.at <= at) return
    clearTimeout(this.#flushTimer?.timer)
    this.#flushTimer = { at, timer: setTimeout(() => this.#flush(), Math.max(0, at - Date.now())) }
  }

  #flush(): void {
    clearTimeout(this.#flushTimer?.timer)
    this.#flushTimer = undefined
    // Nobody looks: what changes goes on being gathered.
    if (!this.#isSeen()) return
    this.#flushedAt = Date.now()
    const frame = this.#model.take(this.#now(), this.#skew())
    for (const [port, page] of this.#pages) {
      if (!page.visible || page.owed >= mostOwed) page.lost = true
      else if (page.lost) this.#recover(port, page)
      else this.#send(port, page, frame)
    }
    // What found no room in this one.
    this.#schedule()
  }

  #recover(port: Port, page: Page): void {
    for (const frame of this.#model.whole(this.#now(), this.#skew())) {
      page.lost = false
      this.#send(port, page, frame)
    }
  }

  #send(port: Port, page: Page, frame: Frame): void {
    // A frame of many parts is one.
    if (frame.more !== true && page.owed++ === 0) page.owedSince = Date.now()
    port.postMessage({ type: "frame", frame })
  }

  #tellConnection(connection: Connection): void {
    const before = this.#connection
    this.#connection = connection
    if (connection.state !== before.state) this.#look()
    // That it lives is heard all the time.
    else if (connection.state === "live") return
    this.#tellPages()
  }

  #tellPages(): void {
    for (const [port, { visible }] of this.#pages) {
      if (visible) port.postMessage({ type: "connection", connection: this.#connection })
    }
  }

  #skew(): number {
    return this.#skews.length === 0 ? 0 : Math.max(...this.#skews)
  }

  /** The gateway's time. */
  #now(): number {
    return Date.now() + this.#skew()
  }

  async #ask<A>(path: string): Promise<A> {
    const response = await fetch(new URL(`api/v1/${path}`, this.#api), {
      headers: { accept: "application/json" },
      signal: AbortSignal.timeout(10_000)
    })
    if (!response.ok) throw new Error(`${path}: ${response.status}`)
    return await response.json()
  }
}

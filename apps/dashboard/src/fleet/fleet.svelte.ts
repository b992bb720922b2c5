/**
 * The fleet as a page sees it: the one object that pages read.
 *
 * **Details**: a list is another one where a row of it differs; rows that don't are the same objects as before, so that only
 * what differs is drawn anew. What a frame brings is shown in turns.
 */
import type { StatusView } from "../api/types.ts"
import { first, inTurn } from "../parts/turns.ts"
import { isSame } from "./difference.ts"
import { type Link, link } from "./link.ts"
import type {
  CallerRow,
  ChangeRow,
  Connection,
  Frame,
  FromWorker,
  InstanceRow,
  ServiceRow,
  SourceRow,
  Totals
} from "./rows.ts"
import { empty, stepsOf, type View } from "./view.ts"

/** Seconds without a word after which the worker itself counts as lost: one that speaks each second, and one that begins. */
const silence = 6
const beginning = 15

class Fleet {
  #view = empty
  // Each by itself: whoever reads one of them isn't told of the others.
  #ready = $state(false)
  #instances = $state.raw(empty.instances)
  #services = $state.raw(empty.services)
  #sources = $state.raw(empty.sources)
  #callers = $state.raw(empty.callers)
  #changes = $state.raw(empty.changes)
  #regions = $state.raw(empty.regions)
  #totals = $state.raw(empty.totals)
  #status = $state.raw(empty.status)
  #connection = $state.raw<Connection>({ state: "connecting", since: Date.now() })
  // That it is heard is told each second: what waits for "live" alone isn't woken by that.
  readonly #live = $derived(this.#connection.state === "live")
  #now = $state(Date.now())
  readonly #byService = $derived(Map.groupBy(this.#instances.rows, ({ service }) => service))

  /**
   * What pages see follows what is known, one after the other. The chart waits for the totals: its services are there by
   * then, so that nothing of it moves.
   */
  readonly #shows: ReadonlyArray<() => void> = [
    () => {
      this.#regions = this.#view.regions
      this.#services = this.#view.services
    },
    () => {
      this.#callers = this.#view.callers
      this.#sources = this.#view.sources
    },
    () => {
      this.#status = this.#view.status
      this.#totals = this.#view.totals
    },
    () => {
      // All of them at once: those that were there stay until then.
      if (!this.#view.ready) return
      this.#instances = this.#view.instances
      this.#ready = true
    },
    () => {
      this.#changes = this.#view.changes
    }
  ]

  #link: Link | undefined
  /** Frames that came, and what is to be done yet of those before. */
  #frames: Array<Frame> = []
  #steps: Array<(view: View) => View> = []
  #skew = 0
  /** Since when the worker says nothing, in seconds that we saw pass; and whether it ever said something. */
  #quiet = 0
  #answers = false

  constructor() {
    link({
      hear: (message) => this.#hear(message),
      begun: (link) => {
        this.#link = link
        this.#open()
      },
      failed: () => this.#lose("this browser can't run the worker of this page")
    })
    document.addEventListener("visibilitychange", () => {
      this.#quiet = 0
      this.#link?.send({ type: "visible", visible: !document.hidden })
      this.#tick()
    })
    addEventListener("pagehide", () => this.#link?.send({ type: "close" }))
    // Kept by the browser, and shown again.
    addEventListener("pageshow", ({ persisted }) => {
      if (persisted) this.#open()
    })
    setInterval(() => this.#tick(), 1_000)
  }

  /** Whether anything of the gateway was seen. */
  get ready(): boolean {
    return this.#ready
  }

  get connection(): Connection {
    return this.#connection
  }

  get live(): boolean {
    return this.#live
  }

  /** The gateway's time; it moves once a second. */
  get now(): number {
    return this.#now
  }

  get totals(): Totals | undefined {
    return this.#totals
  }

  get status(): StatusView | undefined {
    return this.#status
  }

  get regions(): ReadonlyArray<string> {
    return this.#regions
  }

  get services(): ReadonlyArray<ServiceRow> {
    return this.#services.rows
  }

  service(name: string): ServiceRow | undefined {
    return this.#services.get(name)
  }

  /** By service, id and source. */
  get instances(): ReadonlyArray<InstanceRow> {
    return this.#instances.rows
  }

  instance(key: string): InstanceRow | undefined {
    return this.#instances.get(key)
  }

  of(service: string): ReadonlyArray<InstanceRow> {
    return this.#byService.get(service) ?? []
  }

  get sources(): ReadonlyArray<SourceRow> {
    return this.#sources.rows
  }

  get callers(): ReadonlyArray<CallerRow> {
    return this.#callers
  }

  /** The newest first. */
  get changes(): ReadonlyArray<ChangeRow> {
    return this.#changes
  }

  /** Tries again now, where the stream is lost. */
  retry(): void {
    if (this.#answers) this.#link?.send({ type: "retry" })
    else this.#renew()
  }

  #open(): void {
    this.#link?.send({ type: "open", api: document.baseURI })
    if (document.hidden) this.#link?.send({ type: "visible", visible: false })
  }

  #hear(message: FromWorker): void {
    this.#quiet = 0
    this.#answers = true
    if (message.type === "connection") {
      // It is told again and again, so that we hear that the worker is there.
      if (!isSame(message.connection, this.#connection)) this.#connection = message.connection
      return
    }
    const { frame } = message
    this.#frames.push(frame)
    // Hidden pages have no frames of the screen.
    if (document.hidden) {
      while (this.#apply() || this.#frames.length > 0);
      for (const show of this.#shows) show()
      return
    }
    if (this.#frames.length > 1) return
    const latest = frame.whole || frame.more !== undefined ? first : undefined
    inTurn(() => this.#apply(), latest)
    for (const show of this.#shows) inTurn(show, latest)
  }

  /** A step of the frames that came before it; whether there are more of them. */
  #apply(): boolean {
    if (this.#steps.length === 0) {
      for (const frame of this.#frames.splice(0)) {
        this.#steps.push(...stepsOf(frame), (view) => this.#applied(view, frame))
      }
    }
    const step = this.#steps.shift()
    if (step !== undefined) this.#view = step(this.#view)
    return this.#steps.length > 0
  }

  #applied(view: View, { more, skew }: Frame): View {
    this.#skew = skew
    // From the first moment on pages have the gateway's time; then it moves by itself.
    if (!this.#ready && view.ready) this.#tick()
    if (more !== true) this.#link?.send({ type: "seen" })
    return view
  }

  #tick(): void {
    if (document.hidden) return
    const now = Date.now()
    this.#now = now + this.#skew
    if (++this.#quiet < (this.#answers ? silence : beginning)) return
    this.#lose("this browser's worker does not answer")
    this.#renew()
  }

  #lose(error: string): void {
    const heard = this.#connection.state === "connecting" ? undefined : this.#connection.heard
    this.#connection = { state: "lost", heard, retryAt: Date.now() + beginning * 1_000, error }
    this.#answers = false
  }

  #renew(): void {
    this.#quiet = 0
    this.#answers = false
    this.#link?.renew()
  }
}

export const fleet = new Fleet()

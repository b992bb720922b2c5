/**
 * The fleet as a page sees it: the one object that pages read.
 *
 * **Details**: frames are applied once for each frame of the screen. A list is another one where a row of it differs; rows
 * that don't are the same objects as before, so that only what differs is drawn anew.
 */
import type { StatusView } from "../api/types.ts"
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
import { empty, withFrame } from "./view.ts"

/** After how long without a word the worker itself counts as lost, ms. */
const silence = 15_000

class Fleet {
  #view = $state.raw(empty)
  // Whoever reads one of them isn't told of the others.
  readonly #instances = $derived(this.#view.instances)
  readonly #services = $derived(this.#view.services)
  readonly #sources = $derived(this.#view.sources)
  readonly #callers = $derived(this.#view.callers)
  readonly #changes = $derived(this.#view.changes)
  readonly #regions = $derived(this.#view.regions)
  readonly #totals = $derived(this.#view.totals)
  readonly #status = $derived(this.#view.status)
  readonly #ready = $derived(this.#view.ready)
  #connection = $state.raw<Connection>({ state: "connecting", since: Date.now() })
  // That it is heard is told each second: what waits for "live" alone isn't woken by that.
  readonly #live = $derived(this.#connection.state === "live")
  #now = $state(Date.now())
  readonly #byService = $derived(Map.groupBy(this.#instances.rows, ({ service }) => service))

  #link: Link | undefined
  #frames: Array<Frame> = []
  #skew = 0
  #heard = Date.now()

  constructor() {
    link((message) => this.#hear(message), (link) => {
      this.#link = link
      this.#open()
    })
    document.addEventListener("visibilitychange", () => {
      this.#heard = Date.now()
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
    this.#link?.send({ type: "retry" })
  }

  #open(): void {
    this.#link?.send({ type: "open", api: document.baseURI })
    if (document.hidden) this.#link?.send({ type: "visible", visible: false })
  }

  #hear(message: FromWorker): void {
    this.#heard = Date.now()
    if (message.type === "connection") {
      this.#connection = message.connection
      return
    }
    this.#frames.push(message.frame)
    if (this.#frames.length > 1) return
    // Hidden pages have no frames of the screen.
    if (document.hidden) this.#apply()
    else requestAnimationFrame(() => this.#apply())
  }

  #apply(): void {
    const { ready } = this.#view
    for (const frame of this.#frames) {
      this.#view = withFrame(this.#view, frame)
      this.#skew = frame.skew
      this.#link?.send({ type: "seen" })
    }
    this.#frames = []
    if (!ready) this.#tick()
  }

  #tick(): void {
    if (document.hidden) return
    const now = Date.now()
    this.#now = now + this.#skew
    if (now - this.#heard < silence) return
    const heard = this.#connection.state === "connecting" ? undefined : this.#connection.heard
    this.#connection = { state: "lost", heard, retryAt: now + silence, error: "this browser's worker does not answer" }
    this.#heard = now
    this.#open()
  }
}

export const fleet = new Fleet()

/**
 * What the pages show of the fleet: plain rows, made in the worker, so that each page of the browser says the same and none
 * computes it again.
 *
 * **Mental model**: the worker reads the gateway's events, keeps the catalog, and posts `Frame`s: rows that are new,
 * fields that differ, and keys of rows that are gone. Applying frames in order leaves a page with what a whole frame would say.
 *
 * Times are epoch ms by the gateway's clock; latencies are ms; shares are 0 to 1; what isn't known is `undefined`.
 */
import type { MarkView, SourceView, StatusView } from "../api/types.ts"

/** How something is, as it is drawn: first the shape, then the colour, then the word. */
export type State = "healthy" | "degraded" | "unhealthy" | "ejected" | "draining" | "down" | "stale" | "unknown"

/** Which states are there, the worst first: the order of exceptions in a cell, and of the legend backwards. */
export const states: ReadonlyArray<State> = [
  "down",
  "unhealthy",
  "ejected",
  "degraded",
  "draining",
  "stale",
  "unknown",
  "healthy"
]

/** What is counted of calls. */
export interface Figures {
  /** Calls a second, over the last 10 s. */
  readonly rate: number
  /** Share of the calls of the last minute that failed. None: there were no calls. */
  readonly failed: number | undefined
  readonly inFlight: number
  /** Since the gateway began. */
  readonly calls: number
  readonly failures: number
}

export interface InstanceRow extends Figures {
  /** `source` and `id`, with `\u0000` between them. */
  readonly key: string
  readonly id: string
  readonly service: string
  readonly source: string
  readonly alsoIn: ReadonlyArray<string>
  readonly kind: string
  readonly version: string
  /** Empty: none. */
  readonly region: string
  readonly zone: string
  /** Transport and address, for people: `http://10.0.0.7:8080/mcp`, or the command. */
  readonly address: string
  readonly transport: string
  readonly tags: ReadonlyArray<string>
  readonly weight: number
  readonly state: State
  /** Whether calls may go to it. */
  readonly routable: boolean
  /** One line; why the state is what it is. */
  readonly reason: string
  /** Since when. */
  readonly since: number
  /** When an ejected one takes trial calls. */
  readonly until: number | undefined
  readonly stale: boolean
  readonly score: number
  /** Median of the last minute. */
  readonly latency: number | undefined
  /** Why it isn't connected, where it is an MCP server. */
  readonly error: string | undefined
  /** What an operator made of it by hand. */
  readonly mark: MarkView | undefined
}

/** The instances of a service in one region: those that aren't healthy one by one, the others as a number. */
export interface Cell {
  readonly region: string
  readonly total: number
  readonly healthy: number
  /** Not healthy; the worst first, then by id. At most 64. */
  readonly exceptions: ReadonlyArray<{ readonly key: string; readonly id: string; readonly state: State }>
}

export interface ServiceRow extends Figures {
  readonly name: string
  readonly kind: string
  /** The highest first. */
  readonly versions: ReadonlyArray<string>
  readonly instances: number
  readonly routable: number
  readonly states: Readonly<Record<State, number>>
  /** In the order of `Frame.regions`; regions without any of its instances are left out. */
  readonly cells: ReadonlyArray<Cell>
  readonly sources: ReadonlyArray<string>
  readonly tags: ReadonlyArray<string>
  /** `down`: nothing takes calls. */
  readonly state: State
  /** Why, in one line; empty where all is well: `2 of 4 fail the handshake in us-east-1`. */
  readonly reason: string
  /** What that means for calls, in one line: `calls go to 11 others, back in 10 s`. */
  readonly consequence: string
  /** Since when, where it isn't healthy. */
  readonly since: number | undefined
  readonly p50: number | undefined
  readonly p95: number | undefined
}

export interface CallerRow extends Omit<Figures, "inFlight"> {
  /** `principal:…`, `tenant:…` or `anonymous`; empty: all others together. */
  readonly caller: string
}

export interface SourceRow extends Omit<SourceView, "since" | "lastHeard"> {
  readonly since: number
  readonly lastHeard: number | undefined
}

/** The whole gateway. */
export interface Totals extends Figures {
  readonly p50: number | undefined
  readonly p95: number | undefined
  /** Attempts a second that followed a failed one of the same call. */
  readonly failovers: number
  readonly sessions: number
  readonly streams: number
  readonly instances: number
  readonly routable: number
  readonly services: number
  /** Services whose state asks for somebody. */
  readonly attention: number
  readonly states: Readonly<Record<State, number>>
}

/** Something that changed, as the gateway tells it. */
export interface ChangeRow {
  /** Rises with time. */
  readonly id: string
  readonly at: number
  readonly kind: "instance" | "source"
  /** State that it went into; `added` and `removed` for what came and went. */
  readonly to: State | "added" | "removed" | "updated"
  readonly service: string | undefined
  readonly instance: string | undefined
  readonly source: string
  /** One line. */
  readonly reason: string
}

/** What changed of the rows of one kind. */
export interface RowChanges<Row> {
  /** Those that are new. */
  readonly rows?: ReadonlyArray<Row>
  /** Of those that were there, the fields that aren't as they were. */
  readonly differ?: ReadonlyArray<{ readonly key: string; readonly fields: Partial<Row> }>
  /** Keys of those that are there no more. */
  readonly gone?: ReadonlyArray<string>
}

/** What changed since the frame before; with `whole`, everything, and nothing else holds any more. */
export interface Frame {
  readonly whole: boolean
  /** The next frame belongs to this one: everything comes in parts, so that none takes long. */
  readonly more?: boolean
  /** The gateway's time, and what is to be added to ours to get it. */
  readonly at: number
  readonly skew: number
  readonly instances?: RowChanges<InstanceRow> | undefined
  /** By their names, as are sources. */
  readonly services?: RowChanges<ServiceRow> | undefined
  readonly sources?: RowChanges<SourceRow> | undefined
  /** Those with the most calls first, at most 12; the last may be that of all others. */
  readonly callers?: ReadonlyArray<CallerRow>
  /** All regions in their order: by name, that of no region last. */
  readonly regions?: ReadonlyArray<string>
  readonly totals?: Totals
  /** The newest first; in a frame that isn't whole only new ones. At most 200 are kept. */
  readonly changes?: ReadonlyArray<ChangeRow>
  readonly status?: StatusView
}

/** The stream of events, as the pages tell it. */
export type Connection =
  | { readonly state: "connecting"; readonly since: number }
  /** `heard`: our time at which something came last. */
  | { readonly state: "live"; readonly heard: number }
  /** Nothing was heard since then; `retryAt` is our time of the next attempt, `error` one line. */
  | { readonly state: "lost"; readonly heard: number | undefined; readonly retryAt: number; readonly error: string }

/** What a page says to the worker. */
export type ToWorker =
  /** `api`: address of the gateway, with a slash at its end. Answered by a whole frame. */
  | { readonly type: "open"; readonly api: string }
  /** Hidden pages get nothing; one that comes back gets a whole frame. */
  | { readonly type: "visible"; readonly visible: boolean }
  /** A frame was applied: one that owes this for several gets no more until it says so, and then a whole one. */
  | { readonly type: "seen" }
  /** Try again now. */
  | { readonly type: "retry" }
  | { readonly type: "close" }

/** What the worker says to a page. */
export type FromWorker =
  | { readonly type: "frame"; readonly frame: Frame }
  | { readonly type: "connection"; readonly connection: Connection }

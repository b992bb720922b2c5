/**
 * A client of the event stream, and the rules by which it applies events.
 */
import * as Events from "@portolan/gateway/rest/Events"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import { type IncomingMessage, request } from "node:http"

const decode = Schema.decodeUnknownSync(Events.Sent, { onExcessProperty: "error" })

/** What a test waited for never came. */
export class WatchError extends Schema.TaggedError<WatchError>()("WatchError", { message: Schema.String }) {}

export interface Watcher {
  readonly status: () => number
  /** What came so far. */
  readonly events: ReadonlyArray<Events.Event>
  readonly text: () => string
  /** Waits until an event came that holds, at most ten seconds. */
  readonly until: (holds: (event: Events.Event) => boolean) => Effect.Effect<Events.Event, WatchError>
  readonly closed: () => boolean
  readonly close: () => void
  /** Stops reading, and begins again. */
  readonly pause: () => void
  readonly resume: () => void
}

/** Reads `/api/v1/events`. Every event must be one of the schema, and no more than that. */
export const watch = (
  port: number,
  query = "",
  headers: Record<string, string> = {}
): Effect.Effect<Watcher, WatchError | Error, Scope.Scope> =>
  Effect.gen(function*() {
    const events: Array<Events.Event> = []
    const arrived = Latch.makeUnsafe(false)
    let text = ""
    let rest = ""
    let closed = false
    let failure: unknown
    const response = yield* Effect.acquireRelease(
      Effect.callback<IncomingMessage, Error>((resume) => {
        const outgoing = request(
          { host: "127.0.0.1", port, path: `/api/v1/events${query}`, headers, agent: false },
          (incoming) => resume(Effect.succeed(incoming))
        )
        outgoing.on("error", (error) => resume(Effect.fail(error)))
        outgoing.end()
      }),
      (incoming) => Effect.sync(() => incoming.destroy())
    )
    response.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk
      rest += chunk
      for (let end = rest.indexOf("\n\n"); end !== -1; end = rest.indexOf("\n\n")) {
        const lines = rest.slice(0, end).split("\n")
        rest = rest.slice(end + 2)
        const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2)
        const [event, id, data] = [field("event"), field("id"), field("data")]
        if (event === undefined) continue
        try {
          events.push(decode(id === undefined ? { event, data } : { event, id, data }))
        } catch (error) {
          failure ??= error
        }
      }
      arrived.openUnsafe()
    })
    response.on("close", () => {
      closed = true
      arrived.openUnsafe()
    })
    response.on("error", () => {})

    let seen = 0
    const until = (holds: (event: Events.Event) => boolean): Effect.Effect<Events.Event, WatchError> =>
      Effect.gen(function*() {
        while (true) {
          arrived.closeUnsafe()
          if (failure !== undefined) return yield* Effect.fail(new WatchError({ message: String(failure) }))
          while (seen < events.length) {
            const event = events[seen++]!
            if (holds(event)) return event
          }
          if (closed) return yield* Effect.fail(new WatchError({ message: `the stream ended: ${text.slice(-500)}` }))
          yield* arrived.await
        }
      }).pipe(Effect.timeoutOrElse({
        duration: "10 seconds",
        orElse: () =>
          Effect.fail(new WatchError({ message: `it never came: ${JSON.stringify(events.slice(-5)).slice(0, 2000)}` }))
      }))

    return {
      status: () => response.statusCode ?? 0,
      events,
      text: () => text,
      until,
      closed: () => closed,
      close: () => void response.destroy(),
      pause: () => void response.pause(),
      resume: () => void response.resume()
    }
  })

/** What a watcher knows. */
export interface Model {
  readonly catalog: Map<string, Record<string, unknown>>
  readonly health: Map<string, unknown>
  readonly figures: Map<string, unknown>
  readonly sources: Map<string, unknown>
  revision: string
}

export const empty = (): Model => ({
  catalog: new Map(),
  health: new Map(),
  figures: new Map(),
  sources: new Map(),
  revision: ""
})

const key = ({ id, source }: { readonly id: string; readonly source: string }) => `${source} ${id}`
const rowKey = (
  row: { readonly type: string; readonly service: string; readonly source?: string; readonly id?: string }
) => row.type === "service" ? `service ${row.service}` : `instance ${row.source} ${row.id}`
const withoutHeard = (source: { readonly name: string }) => ({ ...source, lastHeard: undefined })

/** Applies an event, as the documentation of the events says. */
export const apply = (model: Model, { data, event, id }: Events.Event): void => {
  if (id !== undefined) model.revision = id
  switch (event) {
    case "snapshot": {
      for (const part of [model.catalog, model.health, model.figures, model.sources]) part.clear()
      for (const instance of data.catalog ?? []) model.catalog.set(key(instance), instance)
      for (const row of data.health ?? []) model.health.set(key(row), row.health)
      for (const row of data.figures?.rows ?? []) model.figures.set(rowKey(row), row)
      for (const source of data.sources ?? []) model.sources.set(source.name, withoutHeard(source))
      return
    }
    case "catalog": {
      for (const change of data.changes) {
        if (change.type === "removed") model.catalog.delete(key(change))
        else model.catalog.set(key(change.instance), change.instance)
      }
      return
    }
    case "health": {
      for (const change of data.changes) {
        model.health.set(key(change), change.health)
        const instance = model.catalog.get(key(change))
        if (instance !== undefined) {
          const { circuit: _, ...health } = Object(instance["health"])
          model.catalog.set(key(change), { ...instance, health: { ...health, ...change.health } })
        }
      }
      for (const gone of data.removed ?? []) model.health.delete(key(gone))
      return
    }
    case "figures": {
      for (const row of data.rows) model.figures.set(rowKey(row), row)
      for (const row of data.removed ?? []) model.figures.delete(rowKey(row))
      return
    }
    case "sources": {
      for (const source of data.changed) {
        model.sources.set(source.name, withoutHeard(source))
        for (const [at, instance] of model.catalog) {
          if (instance["source"] === source.name) {
            model.catalog.set(at, { ...instance, stale: source.state === "stale" })
          }
        }
      }
      for (const name of data.removed) model.sources.delete(name)
      return
    }
  }
}

/** What two watchers must agree on: all but the score, which moves with every call and is told by figures. */
export const comparable = (model: Model) => {
  const health = (value: unknown) => ({ ...Object(value), score: 0 })
  const sorted = <A>(map: ReadonlyMap<string, A>) => Array.from(map).sort(([a], [b]) => a < b ? -1 : 1)
  return {
    catalog: sorted(model.catalog).map(([at, instance]) => [at, { ...instance, health: health(instance["health"]) }]),
    health: sorted(model.health).map(([at, value]) => [at, health(value)]),
    figures: sorted(model.figures),
    sources: sorted(model.sources)
  }
}

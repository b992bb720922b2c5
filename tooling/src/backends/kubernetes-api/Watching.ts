/**
 * Watches: changes of the store as lines of JSON, from a revision on.
 *
 * **Mental model**: a watch is a cursor on the history. Whenever the store changes, it tells what lies between, and it
 * tells nothing while the server is paused.
 *
 * @since 0.2.0
 */
import type { ServerResponse } from "node:http"
import * as Answer from "./Answer.ts"
import type { JsonObject } from "./Json.ts"
import { objectOf } from "./Json.ts"
import { apiVersionOf, type Resource } from "./Resource.ts"
import type { Selector } from "./Selector.ts"
import type { Change, Entry, Store } from "./Store.ts"

/**
 * What is watched.
 *
 * @category models
 * @since 0.2.0
 */
export interface Watch {
  readonly resource: Resource
  /** Empty for all. */
  readonly namespace: string
  readonly selector: Selector
  /** The last revision that the client knows. */
  readonly after: number
  /** What there is comes first: `list` as it is, `marked` with a bookmark behind it. */
  readonly initial: "none" | "list" | "marked"
  readonly bookmarks: boolean
  /** Until it ends; `undefined` for never. */
  readonly seconds: number | undefined
}

/**
 * The watches of a server.
 *
 * @category models
 * @since 0.2.0
 */
export interface Watching {
  readonly open: (watch: Watch, response: ServerResponse) => void
  readonly count: () => number
  readonly pause: () => void
  readonly resume: () => void
  readonly endAll: () => void
  readonly inject: (text: string) => void
  readonly bookmark: () => void
  readonly chunks: (how: "whole" | "split" | "joined") => void
}

interface Open {
  readonly advance: () => void
  readonly end: () => void
  readonly bookmark: () => void
  readonly write: (text: string) => void
}

/** A client that doesn't read is left after this many bytes. */
const patience = 64 << 20

/** How long a lone event waits for a second to join it, in milliseconds. */
const company = 20

/** How long before the end of a watch its last bookmark comes, in seconds; a shorter one has none. */
const farewell = 2

const line = (type: string, object: JsonObject) => `${JSON.stringify({ type, object })}\n`

/** As it was, with the revision at which it went. */
const gone = (entry: Entry, revision: number): JsonObject => ({
  ...entry.object,
  metadata: { ...objectOf(entry.object["metadata"]), resourceVersion: String(revision) }
})

/**
 * Makes the watches of a store.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (store: Store, bookmarkEvery: number): Watching => {
  const open = new Set<Open>()
  let paused = false
  let chunks: "whole" | "split" | "joined" = "whole"

  // Every watch of an object tells its state in the same words.
  const added = new WeakMap<Entry, string>()
  const modified = new WeakMap<Entry, string>()
  const told = (type: "ADDED" | "MODIFIED", entry: Entry) => {
    const known = type === "ADDED" ? added : modified
    const text = known.get(entry) ?? line(type, entry.object)
    known.set(entry, text)
    return text
  }

  store.listen(() => {
    if (!paused) { for (const watch of open) watch.advance() }
  })

  const start = (watch: Watch, response: ServerResponse) => {
    const { namespace, resource, selector } = watch
    const selects = (entry: Entry | undefined): entry is Entry =>
      entry !== undefined && (namespace === "" || entry.namespace === namespace) && selector(entry.object)

    let waiting = ""
    let timer: NodeJS.Timeout | undefined
    const flush = () => {
      clearTimeout(timer)
      if (waiting !== "") response.write(waiting)
      waiting = ""
    }
    const write = (text: string) => {
      if (chunks === "split") {
        const bytes = Buffer.from(text)
        response.write(bytes.subarray(0, bytes.length >> 1))
        response.write(bytes.subarray(bytes.length >> 1))
      } else if (chunks === "joined" && waiting === "") {
        waiting = text
        timer = setTimeout(flush, company)
      } else {
        waiting += text
        flush()
      }
      if (response.writableLength > patience) response.destroy()
    }
    const end = () => {
      flush()
      open.delete(one)
      response.end()
    }

    const describe = ({ after, before, revision }: Change): string => {
      if (selects(after)) return told(selects(before) ? "MODIFIED" : "ADDED", after)
      return selects(before) ? line("DELETED", gone(before, revision)) : ""
    }
    const bookmark = (annotations?: JsonObject) =>
      write(line("BOOKMARK", {
        kind: resource.kind,
        apiVersion: apiVersionOf(resource),
        metadata: { resourceVersion: String(cursor), ...(annotations === undefined ? {} : { annotations }) },
        ...resource.blank
      }))

    let cursor = watch.after
    // Its time was over while the server was paused.
    let late = false
    const advance = () => {
      if (store.forgot(cursor)) {
        write(line("ERROR", Answer.expired("watch").body))
        return end()
      }
      for (const change of store.since(cursor)) {
        cursor = change.revision
        if (change.resource !== resource) continue
        const text = describe(change)
        if (text !== "") write(text)
      }
      if (late) end()
    }

    if (watch.initial !== "none") {
      for (const entry of store.list(resource, namespace)) if (selects(entry)) write(told("ADDED", entry))
      cursor = store.revision()
      if (watch.initial === "marked" && watch.bookmarks) bookmark({ "k8s.io/initial-events-end": "true" })
    }

    const one: Open = {
      advance,
      end,
      write,
      // A revision that lies in the future isn't reached by saying so.
      bookmark: () => watch.bookmarks && cursor <= store.revision() && bookmark()
    }
    const tick = () => paused || one.bookmark()
    const ticking = setInterval(tick, bookmarkEvery)
    const { seconds } = watch
    const parting = seconds === undefined || seconds <= farewell
      ? undefined
      : setTimeout(tick, (seconds - farewell) * 1000)
    const ending = seconds === undefined ? undefined : setTimeout(() => {
      late = true
      if (!paused) end()
    }, seconds * 1000)
    open.add(one)
    response.on("close", () => {
      clearInterval(ticking)
      clearTimeout(parting)
      clearTimeout(ending)
      clearTimeout(timer)
      open.delete(one)
    })
    advance()
  }

  return {
    open: (watch, response) => {
      response.flushHeaders()
      if (watch.seconds === 0) response.end()
      else start(watch, response)
    },
    count: () => open.size,
    pause: () => paused = true,
    resume: () => {
      paused = false
      for (const watch of open) watch.advance()
    },
    endAll: () => {
      for (const watch of open) watch.end()
    },
    inject: (text) => {
      for (const watch of open) watch.write(text)
    },
    bookmark: () => {
      for (const watch of open) watch.bookmark()
    },
    chunks: (how) => chunks = how
  }
}

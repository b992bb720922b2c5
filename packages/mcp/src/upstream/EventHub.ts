/**
 * Gives every subscriber what happens to upstreams, in order, with a memory that depends on the number of upstreams and
 * not on how slow the subscriber is.
 *
 * **Details**: what a slow subscriber hasn't read yet is replaced by what makes it obsolete: a state by a newer state, a
 * list-changed notice by a second one, everything by `Closed`. Of log messages it loses the oldest. Where too many resources
 * changed, the list of resources did. Of too many kinds of notifications it gets one `Connected` instead, after which it
 * reads all lists anew.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import type { Upstream } from "./Upstream.ts"
import type { UpstreamEvent } from "./Upstreams.ts"

/**
 * A hub.
 *
 * @category models
 * @since 0.1.0
 */
export interface EventHub {
  /** Plain. */
  readonly publish: (event: UpstreamEvent) => void
  readonly events: Stream.Stream<UpstreamEvent>
}

/** Notices of one upstream, and log messages of one upstream, that wait for one subscriber. */
const MaxWaiting = 64

interface Waiting {
  opened: UpstreamEvent | undefined
  state: UpstreamEvent | undefined
  closed: UpstreamEvent | undefined
  readonly notices: Map<string, UpstreamEvent>
  /** Changes of resources, by their URIs. */
  readonly updates: Map<string, UpstreamEvent>
  readonly logs: Array<UpstreamEvent>
}

const empty = (): Waiting => ({
  opened: undefined,
  state: undefined,
  closed: undefined,
  notices: new Map(),
  updates: new Map(),
  logs: []
})

const resync = (upstream: Upstream): UpstreamEvent | undefined => {
  const { profile } = upstream.state()
  return profile === undefined ? undefined : { _tag: "Connected", upstream, profile }
}

/** Events that wait for one subscriber. */
class Mailbox {
  readonly #waiting = new Map<string, Waiting>()
  #wake: (() => void) | undefined

  add(event: UpstreamEvent): void {
    const key = event._tag === "Closed" ? event.key : event.upstream.key
    let waiting = this.#waiting.get(key)
    if (waiting === undefined) this.#waiting.set(key, waiting = empty())
    switch (event._tag) {
      case "Closed":
        this.#waiting.set(key, { ...empty(), closed: event })
        break
      case "Opened":
        waiting.opened = event
        break
      case "Connected":
      case "Failed":
        waiting.state = event
        // Whoever is told that it is connected reads all lists anyway.
        if (event._tag === "Connected") {
          waiting.notices.clear()
          waiting.updates.clear()
        }
        break
      case "Notified": {
        const { method, params } = event.notification
        if (method === "notifications/message") {
          waiting.logs.push(event)
          if (waiting.logs.length > MaxWaiting) waiting.logs.shift()
        } else if (method === "notifications/resources/updated") {
          waiting.updates.set(String(params?.["uri"]), event)
          if (waiting.updates.size <= MaxWaiting) break
          waiting.updates.clear()
          const listChanged = "notifications/resources/list_changed"
          waiting.notices.set(listChanged, { ...event, notification: { jsonrpc: "2.0", method: listChanged } })
        } else {
          waiting.notices.set(method, event)
          if (waiting.notices.size > MaxWaiting) {
            waiting.notices.clear()
            waiting.state = resync(event.upstream) ?? waiting.state
          }
        }
      }
    }
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }

  readonly take: Effect.Effect<ReadonlyArray<UpstreamEvent>> = Effect.callback((resume) => {
    if (this.#waiting.size > 0) return resume(Effect.sync(() => this.#drain()))
    this.#wake = () => resume(Effect.sync(() => this.#drain()))
    return Effect.sync(() => {
      this.#wake = undefined
    })
  })

  #drain(): ReadonlyArray<UpstreamEvent> {
    const events: Array<UpstreamEvent> = []
    for (const { closed, logs, notices, opened, state, updates } of this.#waiting.values()) {
      for (const event of [closed, opened, state, ...notices.values(), ...updates.values(), ...logs]) {
        if (event !== undefined) events.push(event)
      }
    }
    this.#waiting.clear()
    return events
  }
}

/**
 * Makes a hub. `current` answers the events that a new subscriber begins with.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (current: () => ReadonlyArray<UpstreamEvent>): EventHub => {
  const mailboxes = new Set<Mailbox>()
  return {
    publish: (event) => {
      for (const mailbox of mailboxes) mailbox.add(event)
    },
    events: Stream.unwrap(Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const mailbox = new Mailbox()
          for (const event of current()) mailbox.add(event)
          mailboxes.add(mailbox)
          return mailbox
        }),
        (mailbox) => Effect.sync(() => mailboxes.delete(mailbox))
      ),
      (mailbox) => Stream.flattenIterable(Stream.fromEffectRepeat(mailbox.take))
    ))
  }
}

/**
 * Keeps one server telling of the resources that are followed over one connection to it, for as long as somebody follows:
 * `resources/subscribe` for each in the handshake era, one `subscriptions/listen` for all in the stateless.
 *
 * **Mental model**: what is followed is kept here, and asked for anew on each connection. Whoever followed before hears
 * once of each resource then, as what was told in between is lost. The server sees one who follows, whoever many there are.
 *
 * @see https://modelcontextprotocol.io/specification/2025-11-25/server/resources#subscriptions
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/patterns/subscriptions
 * @since 0.2.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import { Code, type Fields, isFields, type Reply } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"
import type { ServerProfile } from "../Upstream.ts"
import * as Followed from "./Followed.ts"
import * as ResourceRequest from "./ResourceRequest.ts"
import * as ResourceStreams from "./ResourceStreams.ts"
import * as ResourceUpdates from "./ResourceUpdates.ts"

/**
 * What it needs of the connection's keeper.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  /**
   * Gives the connection, now or once it is open, with what lets go of it; or why there is none. One of the two is called
   * once. The result is how to stop waiting.
   */
  readonly acquire: (
    connected: (link: Link, profile: ServerProfile, release: () => void) => void,
    failed: (failure: Failure) => void
  ) => (() => void) | undefined
  /** Whether what the server says of itself reaches us on a connection. Plain. */
  readonly hears: (link: Link) => boolean
  /**
   * A resource may have changed without a notice, before it is followed or while it was not; told before those who follow
   * it. Plain.
   */
  readonly onMissed?: ((uri: string) => void) | undefined
  /** Runs what takes time, until the upstream is closed. */
  readonly run: (effect: Effect.Effect<void>) => void
  /** Epoch ms. */
  readonly now: () => number
  /** Nothing is followed any more, and the server knows. Plain. */
  readonly onEmpty: () => void
}

/**
 * Somebody follows a resource.
 *
 * @category models
 * @since 0.2.0
 */
export interface Place {
  /** Whether the server took it, once that is known. */
  readonly outcome: Effect.Effect<Reply, Failure>
  /** Plain. */
  readonly remove: () => void
}

/**
 * What is followed over one connection.
 *
 * @category models
 * @since 0.2.0
 */
export interface Following {
  /** Follows a resource until it is removed: see `Upstream.follow`. Plain. */
  readonly add: (uri: string, onUpdated: (params: Fields) => void) => Place
  /**
   * The stream of what the server says of itself is open, or is not offered. `gap`: what was said before may be lost.
   * Plain.
   */
  readonly streamed: (link: Link, gap: boolean) => void
  /** The connection is lost. Plain. */
  readonly lost: (link: Link) => void
  /** Takes the parameters of a `notifications/resources/updated`. Plain. */
  readonly updated: (link: Link, params: Fields | undefined) => void
}

/** ms; the second pause before a server is asked again; the first time that is done at once, and each one doubles. */
const FirstPause = 250
const LongestPause = 30_000
/** ms without a pause after which they begin anew. */
const Calm = 60_000
/** ms that following waits for the stream on which the server tells; some send no header before the first event. */
const StreamTime = 1_000
/** Requests about single resources that are under way at once. */
const MaxBusy = 16
/** Connections that may be lost while a server is first asked for a resource. */
const MaxLosses = 2

const taken: Reply = { result: {} }
const refusal: Reply = {
  error: { code: Code.methodNotFound, message: "The server doesn't tell of changes to its resources" }
}

/**
 * Whether a server says that it tells of changes to single resources.
 *
 * @category guards
 * @since 0.2.0
 */
export const isOffered = ({ capabilities }: ServerProfile): boolean => {
  const resources = capabilities["resources"]
  return isFields(resources) && resources["subscribe"] === true
}

/**
 * Makes it; nothing is asked of anybody until somebody follows.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: Options): Following => {
  const { now, run } = options
  const later = (ms: number, act: () => void) => run(Effect.andThen(Effect.sleep(ms), Effect.sync(act)))
  const followed = new Map<string, Followed.Followed>()
  /** What the server is to be asked about, or told of, in the handshake era. */
  const due = new Set<Followed.Followed>()
  let link: Link | undefined
  let profile: ServerProfile | undefined
  let stopWaiting: (() => void) | undefined
  let waits = false
  /** Whether what the server tells reaches us. */
  let hears = false
  let hearsSoon = false
  let busy = 0
  let release: (() => void) | undefined
  let pause = 0
  let pausing = false
  let pausedAt = -Infinity

  const isTold = (one: Followed.Followed): boolean => link !== undefined && one.on === link

  /** Drops what nobody follows, and the server doesn't tell of. */
  const forget = (one: Followed.Followed) => {
    if (one.followers.size > 0 || one.busy || isTold(one)) return
    if (followed.get(one.uri) === one) followed.delete(one.uri)
  }

  const settle = (one: Followed.Followed, outcome: Effect.Effect<Reply, Failure>, taken: boolean) => {
    Followed.settle(one, outcome, taken)
    forget(one)
  }

  const tellMissed = (one: Followed.Followed) => {
    one.missed = false
    options.onMissed?.(one.uri)
    one.tell({ uri: one.uri })
  }

  const take = (one: Followed.Followed) => {
    const { early, missed } = one
    one.on = link
    one.losses = 0
    one.early = undefined
    if (missed) tellMissed(one)
    else options.onMissed?.(one.uri)
    settle(one, Effect.succeed(taken), true)
    if (early !== undefined) one.tell(early)
  }

  const refuse = (one: Followed.Followed, reply: Reply) => {
    one.on = undefined
    one.refusedOn = link
    // It was told of before: why it isn't any more shows when it is read.
    if (one.missed) tellMissed(one)
    settle(one, Effect.succeed(reply), false)
  }

  const fail = (one: Followed.Followed, failure: Failure) => settle(one, Effect.fail(failure), false)

  /** Looks after everything again, after a pause. */
  const tryAgain = () => {
    if (followed.size === 0) return end()
    if (pausing) return
    pausing = true
    const at = now()
    if (at - pausedAt >= Calm) pause = 0
    pausedAt = at
    later(pause, () => {
      pausing = false
      for (const one of followed.values()) {
        one.rests = false
        due.add(one)
      }
      sync()
    })
    pause = Math.min(Math.max(pause * 2, FirstPause), LongestPause)
  }

  const wait = () => {
    if (waits) return
    waits = true
    const done = () => {
      waits = false
      stopWaiting = undefined
    }
    const stop = options.acquire(
      (current, told, letGo) => {
        done()
        connected(current, told, letGo)
      },
      (failure) => {
        done()
        for (const one of followed.values()) fail(one, failure)
        tryAgain()
      }
    )
    if (waits) stopWaiting = stop
  }

  /** Asks about one resource, in the handshake era. */
  const ask = (
    one: Followed.Followed,
    method: "resources/subscribe" | "resources/unsubscribe",
    done: (outcome: Reply | Failure) => void
  ) => {
    const at = link
    if (at === undefined) return
    one.busy = true
    busy++
    run(Effect.map(ResourceRequest.ask(at, method, one.uri), (outcome) => {
      one.busy = false
      busy--
      // What a connection that is gone had to say concerns nobody.
      if (at === link || "phase" in outcome) done(outcome)
      due.add(one)
      sync()
    }))
  }

  const subscribe = (one: Followed.Followed) =>
    ask(one, "resources/subscribe", (outcome) => {
      if (!("phase" in outcome)) return "error" in outcome ? refuse(one, outcome) : take(one)
      const lost = outcome.connectionLost === true || outcome.sessionLost === true
      // Asking twice does no harm.
      if (lost && ++one.losses < MaxLosses) return
      one.rests = true
      fail(one, outcome)
      tryAgain()
    })

  /** Brings one resource nearer to what is wanted, in the handshake era. */
  const step = (one: Followed.Followed, told: ServerProfile) => {
    if (one.busy) return
    if (one.followers.size > 0) {
      if (isTold(one)) return settle(one, Effect.succeed(taken), true)
      if (one.refusedOn === link || one.rests) return
      return isOffered(told) ? subscribe(one) : refuse(one, refusal)
    }
    if (!isTold(one)) return forget(one)
    ask(one, "resources/unsubscribe", () => {
      one.on = undefined
    })
  }

  /** What is followed of these. */
  const those = (uris: ReadonlySet<string>) => Array.from(uris, (uri) => followed.get(uri) ?? []).flat()

  const streams = ResourceStreams.make({
    later,
    onTaken: (uris, told) => {
      for (const one of those(uris)) {
        if (told.has(one.uri)) take(one)
        else refuse(one, refusal)
      }
      sync()
    },
    onEnded: (uris, wasTaken, outcome) => {
      for (const one of those(uris)) {
        if (wasTaken) {
          // Who came meanwhile waits for the next stream as those do who were there.
          if (isTold(one)) one.missed = true
          one.on = undefined
          forget(one)
        } else if ("phase" in outcome) fail(one, outcome)
        else settle(one, Effect.succeed("error" in outcome ? outcome : refusal), false)
      }
      tryAgain()
    }
  })

  /** Brings the server's stream nearer to what is wanted, in the stateless era. */
  const listen = (at: Link, told: ServerProfile) => {
    if (streams.isOpening()) return
    const uris = new Set<string>()
    for (const one of followed.values()) {
      if (one.followers.size === 0) one.on = undefined
      else if (!isOffered(told)) refuse(one, refusal)
      else if (one.refusedOn !== at) uris.add(one.uri)
      forget(one)
    }
    if (followed.size === 0) return end()
    if (!streams.want(at, uris)) return
    for (const one of those(uris)) {
      if (isTold(one)) settle(one, Effect.succeed(taken), true)
    }
  }

  const end = () => {
    stopWaiting?.()
    stopWaiting = undefined
    waits = false
    streams.stop()
    link = undefined
    const letGo = release
    release = undefined
    options.onEmpty()
    letGo?.()
  }

  /** Brings what the server is asked for nearer to what is wanted. */
  const sync = () => {
    if (followed.size === 0) return end()
    if (link === undefined || profile === undefined) return wait()
    if (profile.era === "stateless") {
      due.clear()
      return listen(link, profile)
    }
    if (!hears) {
      if (hearsSoon) return
      hearsSoon = true
      const at = link
      return later(StreamTime, () => {
        if (at === link && !hears) streamed(at, false)
      })
    }
    for (const one of due) {
      if (busy >= MaxBusy) return
      due.delete(one)
      step(one, profile)
    }
    if (followed.size === 0) end()
  }

  const lost = (at: Link) => {
    if (at !== link) return
    link = undefined
    streams.lost()
    for (const one of followed.values()) {
      if (one.on === at) one.missed = true
      one.on = undefined
      forget(one)
    }
    const letGo = release
    release = undefined
    letGo?.()
    tryAgain()
  }

  const connected = (at: Link, told: ServerProfile, letGo: () => void) => {
    link = at
    profile = told
    release = letGo
    hears = told.era === "stateless" || options.hears(at)
    hearsSoon = false
    for (const one of followed.values()) {
      one.rests = false
      due.add(one)
    }
    sync()
  }

  const streamed = (at: Link, gap: boolean) => {
    if (at !== link || profile?.era !== "handshake") return
    if (!hears) {
      hears = true
      return sync()
    }
    if (!gap) return
    for (const one of followed.values()) {
      if (isTold(one)) tellMissed(one)
    }
  }

  const add = (uri: string, follower: Followed.Follower) => {
    let one = followed.get(uri)
    if (one === undefined) followed.set(uri, one = Followed.make(uri, later))
    one.refusedOn = undefined
    one.rests = false
    one.followers.add(follower)
    due.add(one)
    sync()
  }

  const remove = (uri: string, follower: Followed.Follower) => {
    const one = followed.get(uri)
    if (one?.followers.delete(follower) !== true || one.followers.size > 0) return
    forget(one)
    due.add(one)
    sync()
  }

  return {
    add: (uri, onUpdated) => {
      const follower: Followed.Follower = { onUpdated, outcome: Deferred.makeUnsafe<Reply, Failure>(), taken: false }
      add(uri, follower)
      return { outcome: Deferred.await(follower.outcome), remove: () => remove(uri, follower) }
    },
    streamed,
    lost,
    updated: (from, params) => {
      const uri = params?.["uri"]
      if (from !== link || params === undefined || typeof uri !== "string") return
      for (const each of ResourceUpdates.enclosing(uri)) {
        const one = followed.get(each)
        if (one === undefined) continue
        if (isTold(one)) one.tell(params)
        // Its answer comes over another socket, and may come later.
        else if (one.busy) one.early = params
      }
    }
  }
}

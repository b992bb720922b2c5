/**
 * The connections to one server of the handshake era that belong to single callers.
 *
 * **Mental model**: such a server learns once, when it is connected, what its client can do, and keeps what it knows of it
 * with the connection. So callers share one only where they are the same to the server: a session that can be asked has
 * its own, others share by principal and by what they declare. A connection is opened when it is first needed, and closed
 * when its session ends, when nobody used it for long, or when another caller needs its place.
 *
 * **Details**: over a transport with one channel for everything a server doesn't say for which call it asks something.
 * Callers without a session that can be asked get a connection each there, call by call. What a server keeps for a session
 * is not closed for idleness: the session's own idle time-out ends that.
 *
 * @since 0.2.0
 */
import * as Clock from "effect/Clock"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as FiberSet from "effect/FiberSet"
import type * as Scope from "effect/Scope"
import type { Fields, JsonRpcNotification } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type * as Opening from "../Opening.ts"
import * as ServerRequests from "../ServerRequests.ts"
import type { Failure } from "../transports/Connection.ts"
import type { Caller, CallerSession, ServerProfile, ServerRequest, UpstreamRequest } from "../Upstream.ts"
import type { Leaving } from "./Leaving.ts"
import * as Seat from "./Seat.ts"
import * as Sharing from "./Sharing.ts"

/**
 * What may change while it is used.
 *
 * @category models
 * @since 0.2.0
 */
export interface Limits {
  /** Connections at the same time. */
  readonly maxSessions: number
  /** Time without a request after which one is closed. */
  readonly idleTimeout: Duration.Duration
}

/**
 * What a pool needs.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  /** Whether the transport has one channel for everything. Plain. */
  readonly oneChannel: () => boolean
  readonly limits: Limits
  /** Longest that a caller waits for a place, ms. */
  readonly patience: number
  readonly leaving: Leaving
  /** One attempt. */
  readonly open: (
    capabilities: Fields,
    hooks: Pick<Opening.Options, "onLost" | "onNotification" | "onRequest">
  ) => Effect.Effect<Opening.Opened, Failure>
  /** The server asks a session something that belongs to no request. Plain. */
  readonly onRequest: (session: CallerSession, request: ServerRequest) => void
  /** A notification that belongs to no request. Plain. */
  readonly onNotification: (
    link: Link,
    session: CallerSession | undefined,
    notification: JsonRpcNotification
  ) => void
  /** What the server says of itself on a connection is heard from now on: see `Seat.Options`. Plain. */
  readonly onStream: (link: Link, gap: boolean) => void
  /** A connection is in use no more. Plain. */
  readonly onGone: (link: Link) => void
  /** A connection ended that lasted for so many ms. Plain. */
  readonly onEnded: (profile: ServerProfile, lasted: number) => void
}

/**
 * A pool.
 *
 * @category models
 * @since 0.2.0
 */
export interface Pool {
  /** A connection, now or once it is open or there is a place; then the result is how to stop waiting. Plain. */
  readonly acquire: (
    caller: Caller,
    claimed: (claim: Seat.Claim) => void,
    failed: (failure: Failure) => void
  ) => (() => void) | undefined
  /** The connections of a caller that are open. Plain. */
  readonly find: (caller: Caller) => ReadonlyArray<Link>
  /** See `Upstream.session`. Plain. */
  readonly session: (caller: Caller) => symbol | undefined
  /** Sends a `logging/setLevel` to all, and to those that are opened later: a server has one level for each. Plain. */
  readonly setLevel: (request: UpstreamRequest) => void
  /** A session is over: what is under way for it may end. Plain. */
  readonly forget: (session: CallerSession) => void
  /** Lets all connections go, as they are none of the server's any more. Plain. */
  readonly clear: () => void
  /** Takes no more, and lets all connections go. Plain. */
  readonly close: (reason: string) => void
}

interface Waiter extends Seat.Claimant {
  readonly caller: Caller
  readonly key: Sharing.Key
}

/** Callers that may wait for a place. */
const MaxWaiting = 1_024
/** Callers whose failed attempts are remembered. */
const MaxFailing = 64
/** ms; the first pause after a failed attempt, in which callers fail at once; it doubles. */
const FirstPause = 250
const LongestPause = 30_000
/** ms that a server has to take a log level. */
const LevelTime = 2_000

/**
 * Makes an empty one.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Pool, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const fork = yield* FiberSet.makeRuntime<never, void, never>()
  const { leaving, limits, oneChannel } = options

  /** Those of callers that are the same to the server. */
  const seats = new Map<Sharing.Key, Set<Seat.Seat>>()
  let count = 0
  const queue = new Set<Waiter>()
  const failing = new Map<Sharing.Key, { readonly failure: Failure; readonly until: number; readonly pause: number }>()
  const forgotten = new WeakSet<CallerSession>()
  let closed: string | undefined
  let level: UpstreamRequest | undefined

  const tellLevel = (link: Link, { capabilities }: ServerProfile, level: UpstreamRequest) => {
    if (capabilities["logging"] === undefined) return
    // One that doesn't take it sends what it likes, which is sorted out where it is passed on.
    const giveUp = link.request(level, () => {}, () => {})
    fork(Effect.andThen(Effect.sleep(LevelTime), Effect.sync(giveUp)))
  }

  const remember = (key: Sharing.Key, failure: Failure) => {
    const pause = Math.min(LongestPause, 2 * (failing.get(key)?.pause ?? FirstPause / 2))
    failing.delete(key)
    const [oldest] = failing.keys()
    if (failing.size >= MaxFailing && oldest !== undefined) failing.delete(oldest)
    failing.set(key, {
      failure,
      pause,
      until: now() + Math.max(pause, Math.min(LongestPause, failure.retryAfter ?? 0))
    })
  }

  /** The seat that was idle longest; those of sessions, which end by themselves, only where there is no other. */
  const idlest = (): Seat.Seat | undefined => {
    let found: Seat.Seat | undefined
    let own = true
    for (const [key, all] of seats) {
      const isOwn = typeof key !== "string"
      for (const seat of all) {
        if (!seat.isIdle() || (isOwn && !own)) continue
        if (found === undefined || isOwn !== own || seat.lastUsed() < found.lastUsed()) {
          found = seat
          own = isOwn
        }
      }
    }
    return found
  }

  const add = (key: Sharing.Key, { capabilities, session }: Caller): Seat.Seat => {
    const all = seats.get(key) ?? new Set<Seat.Seat>()
    const askable = ServerRequests.askable(capabilities)
    const seat = Seat.make({
      askable,
      exclusive: session === undefined && oneChannel() && askable,
      expires: session === undefined,
      limits,
      oneChannel,
      leaving,
      now,
      fork,
      open: (onLost) =>
        options.open(capabilities, {
          onLost,
          onRequest: session === undefined ? undefined : (request) => options.onRequest(session, request),
          onNotification: (link, notification) => options.onNotification(link, session, notification)
        }),
      onOpened: ({ link, profile }) => {
        failing.delete(key)
        if (level !== undefined) tellLevel(link, profile, level)
      },
      onStream: options.onStream,
      onRoom: () => pump(),
      onGone: (link, failure) => {
        all.delete(seat)
        if (all.size === 0) seats.delete(key)
        count--
        if (failure !== undefined) remember(key, failure)
        if (link !== undefined) options.onGone(link)
      },
      onEnded: options.onEnded
    })
    all.add(seat)
    seats.set(key, all)
    count++
    return seat
  }

  /** Whether the waiter has what it wants, or will have it, or has failed; else there is no place for it. */
  const place = (waiter: Waiter): boolean => {
    const { caller, key } = waiter
    const over = caller.session !== undefined && forgotten.has(caller.session)
    if (closed !== undefined || over) {
      waiter.failed({ phase: "notSent", reason: closed ?? "its session is over" })
      return true
    }
    const all = seats.get(key)
    if (all !== undefined) {
      for (const seat of all) {
        if (!seat.hasRoom()) continue
        queue.delete(waiter)
        seat.give(waiter)
        return true
      }
    }
    const failed = failing.get(key)
    if (failed !== undefined && failed.until > now()) {
      waiter.failed({ ...failed.failure, phase: "notSent" })
      return true
    }
    if (count >= limits.maxSessions) {
      const other = idlest()
      if (other === undefined) return false
      other.dismiss("another caller needs the place")
    }
    const seat = add(key, caller)
    queue.delete(waiter)
    seat.give(waiter)
    seat.begin()
    return true
  }

  /** Gives places to those that wait for one, in their order; who shares one that is there doesn't wait for another. */
  const pump = () => {
    let full = false
    for (const waiter of queue) {
      if (!full || seats.has(waiter.key)) full = !place(waiter) || full
    }
  }

  const busy = (): Failure => ({
    phase: "notSent",
    reason: `all ${limits.maxSessions} connections that callers may have of their own are busy`
  })

  const acquire: Pool["acquire"] = (caller, claimed, failed) => {
    let timer: Fiber.Fiber<void> | undefined
    let over = false
    const settle = () => {
      over = true
      queue.delete(waiter)
      timer?.interruptUnsafe()
    }
    const waiter: Waiter = {
      caller,
      key: Sharing.keyOf(caller),
      claimed: (claim) => {
        settle()
        claimed(claim)
      },
      failed: (failure) => {
        settle()
        failed(failure)
      }
    }
    // Whoever came before is served before.
    if ((queue.size > 0 && !seats.has(waiter.key)) || !place(waiter)) {
      if (queue.size >= MaxWaiting) waiter.failed(busy())
      else {
        queue.add(waiter)
        timer = fork(Effect.andThen(
          Effect.sleep(options.patience),
          Effect.sync(() => {
            timer = undefined
            if (queue.has(waiter)) waiter.failed(busy())
          })
        ))
      }
    }
    return over ? undefined : () => {
      settle()
      for (const seat of seats.get(waiter.key) ?? []) seat.withdraw(waiter)
    }
  }

  const clear = (reason: string) => {
    for (const all of Array.from(seats.values())) for (const seat of Array.from(all)) seat.dismiss(reason)
    failing.clear()
    pump()
  }

  return {
    acquire,
    find: (caller) => Array.from(seats.get(Sharing.keyOf(caller)) ?? [], (seat) => seat.opened()?.link ?? []).flat(),
    session: (caller) => {
      const [seat, ...others] = seats.get(Sharing.keyOf(caller)) ?? []
      return others.length > 0 ? undefined : seat?.opened()?.profile.session
    },
    setLevel: (request) => {
      level = request
      for (const all of seats.values()) {
        for (const seat of all) {
          const opened = seat.opened()
          if (opened !== undefined) tellLevel(opened.link, opened.profile, request)
        }
      }
    },
    forget: (session) => {
      forgotten.add(session)
      failing.delete(session)
      for (const seat of Array.from(seats.get(session) ?? [])) seat.dismiss("its session is over")
      pump()
    },
    clear: () => clear("the server is another one"),
    close: (reason) => {
      closed = reason
      clear(reason)
    }
  }
})

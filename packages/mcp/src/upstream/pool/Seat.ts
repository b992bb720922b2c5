/**
 * One connection of a pool: closed once it is lost, idle for long, or dismissed.
 *
 * @since 0.2.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type { Link } from "../Link.ts"
import type * as Opening from "../Opening.ts"
import * as ServerStream from "../ServerStream.ts"
import { type Failure, oneLine } from "../transports/Connection.ts"
import type { ServerProfile } from "../Upstream.ts"
import type { Leaving } from "./Leaving.ts"

/**
 * A caller's use of a connection.
 *
 * @category models
 * @since 0.2.0
 */
export interface Claim {
  readonly link: Link
  readonly profile: ServerProfile
  /** Only the first time counts. `unclean`: the server may still be at work for the caller. */
  readonly release: (unclean?: boolean) => void
}

/**
 * Who wants to use a connection. One of the two is called, once. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Claimant {
  readonly claimed: (claim: Claim) => void
  readonly failed: (failure: Failure) => void
}

/**
 * What a seat needs.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  /** One attempt. `onLost` is called when the link is lost. */
  readonly open: (onLost: (link: Link, failure: Failure) => void) => Effect.Effect<Opening.Opened, Failure>
  /** Whether the server may ask its callers anything. */
  readonly askable: boolean
  /** Serves one caller at a time. */
  readonly exclusive: boolean
  /** Whether it is closed after some time without use, where the server keeps something for its callers. */
  readonly expires: boolean
  /** Read whenever it matters. */
  readonly limits: { readonly idleTimeout: Duration.Duration }
  /** Whether all goes over one channel, so that what is under way is gone with it. */
  readonly oneChannel: () => boolean
  readonly leaving: Leaving
  /** Epoch ms. */
  readonly now: () => number
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** It is open. Plain. */
  readonly onOpened: (opened: Opening.Opened) => void
  /** What the server says of itself is heard from now on; `gap`: what it said before may be lost. Plain. */
  readonly onStream: (link: Link, gap: boolean) => void
  /** Somebody's use is over, or it is gone by itself: others may have their turn. Plain. */
  readonly onRoom: () => void
  /** It takes nobody any more; with the reason where it could not be opened. Called once. Plain. */
  readonly onGone: (link: Link | undefined, failure: Failure | undefined) => void
  /** It is closed after so many ms. Plain. */
  readonly onEnded: (profile: ServerProfile, lasted: number) => void
}

/**
 * A seat. All of it plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface Seat {
  /** Opens it. To be called once. */
  readonly begin: () => void
  readonly opened: () => Opening.Opened | undefined
  readonly hasRoom: () => boolean
  readonly isIdle: () => boolean
  /** Epoch ms. */
  readonly lastUsed: () => number
  /** Gives it to a claimant, now or when it is open. */
  readonly give: (claimant: Claimant) => void
  /** A claimant doesn't wait any more. */
  readonly withdraw: (claimant: Claimant) => void
  /** Takes nobody any more, and closes it once nothing is under way. */
  readonly dismiss: (reason: string) => void
}

/** ms; pauses before the server is asked again for the stream of what it says of itself. */
const FirstPause = 250
const LongestPause = 5_000
/** ms, the least and the most, that the first callers wait for that stream. */
const LeastPatience = 100
const MostPatience = 1_000

/**
 * Makes one; nothing is opened yet.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: Options): Seat => {
  const { leaving, now } = options
  let opened: Opening.Opened | undefined
  /** Whether what the server asks outside of any request is heard: a call that comes before may wait for ever. */
  let ready = false
  let claims = 0
  let lastUsed = now()
  let gone = false
  let fiber: Fiber.Fiber<void> | undefined
  const waiting = new Set<Claimant>()

  const leave = (failure: Failure | undefined): boolean => {
    if (gone) return false
    gone = true
    options.onGone(opened?.link, failure)
    return true
  }

  const fail = (failure: Failure) => {
    const all = [...waiting]
    waiting.clear()
    for (const claimant of all) claimant.failed({ ...failure, phase: "notSent" })
  }

  const dismiss = (reason: string) => {
    if (!leave(undefined)) return
    fiber?.interruptUnsafe()
    if (opened !== undefined) leaving.letGo(opened.link)
    fail({ phase: "notSent", reason })
  }

  const claim = ({ link, profile }: Opening.Opened, claimant: Claimant) => {
    claims++
    let released = false
    claimant.claimed({
      link,
      profile,
      release: (unclean) => {
        if (released) return
        released = true
        claims--
        lastUsed = now()
        // What the server asks from now on it may still ask for the one before.
        if (unclean === true && options.exclusive) dismiss("given up")
        options.onRoom()
      }
    })
  }

  const isIdle = () => opened !== undefined && claims + waiting.size === 0

  const idle = (stateful: boolean): Effect.Effect<void> =>
    stateful && !options.expires ? Effect.never : Effect.suspend(() => {
      const left = Duration.toMillis(options.limits.idleTimeout) - (isIdle() ? now() - lastUsed : 0)
      return left <= 0 ? Effect.void : Effect.andThen(Effect.sleep(left), idle(stateful))
    })

  /** Listens to what the server says of itself. Only the link tells when it is lost. */
  const listen = ({ link, profile }: Opening.Opened, heard: Deferred.Deferred<void>) =>
    Effect.gen(function*() {
      let again = false
      for (let pause = FirstPause;; pause = Math.min(2 * pause, LongestPause)) {
        yield* ServerStream.follow(link, profile, (_, gap) => {
          Deferred.doneUnsafe(heard, Effect.void)
          options.onStream(link, gap || again)
        })
        again = true
        yield* Effect.sleep(pause)
      }
    })

  const run = Effect.gen(function*() {
    const before = now()
    const exit = yield* Effect.exit(options.open((link, failure) => {
      if (opened?.link !== link || !leave(undefined)) return
      if (options.oneChannel()) leaving.end(link, failure.reason)
      // What is under way has sockets of its own and goes on.
      else leaving.letGo(link)
      fail(failure)
      options.onRoom()
    }))
    if (Exit.isFailure(exit)) {
      const failure = Option.getOrElse(
        Cause.findErrorOption(exit.cause),
        (): Failure => ({ phase: "notSent", reason: oneLine(String(Cause.squash(exit.cause))) })
      )
      if (leave(failure)) fail(failure)
      return options.onRoom()
    }
    const current = exit.value
    const { profile } = current
    const since = now()
    opened = current
    lastUsed = since
    options.onOpened(current)
    const heard = Deferred.makeUnsafe<void>()
    // Some servers send no header before the first event. One that had the time for two requests has got the third.
    const patience = Math.min(Math.max(since - before, LeastPatience), MostPatience)
    const begun = (options.askable ? Effect.timeoutOption(Deferred.await(heard), patience) : Effect.void).pipe(
      Effect.andThen(Effect.sync(() => {
        ready = true
        const all = [...waiting]
        waiting.clear()
        for (const claimant of all) claim(current, claimant)
        options.onRoom()
      }))
    )
    yield* Effect.raceAllFirst([
      current.lost,
      listen(current, heard),
      Effect.andThen(begun, idle(profile.session !== undefined))
    ]).pipe(
      Effect.ensuring(Effect.sync(() => options.onEnded(profile, now() - since)))
    )
    dismiss("not used for long")
    options.onRoom()
  })

  return {
    begin: () => {
      fiber = options.fork(run)
    },
    opened: () => opened,
    hasRoom: () => !options.exclusive || claims + waiting.size === 0,
    isIdle,
    lastUsed: () => lastUsed,
    give: (claimant) => {
      if (opened === undefined || !ready) waiting.add(claimant)
      else claim(opened, claimant)
    },
    withdraw: (claimant) => void waiting.delete(claimant),
    dismiss
  }
}

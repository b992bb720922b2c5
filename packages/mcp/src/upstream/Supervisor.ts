/**
 * Keeps one upstream connected for as long as its scope lives.
 *
 * **Mental model**: one fiber opens a link, waits until it is lost, and opens the next, with growing pauses while that
 * fails. Requests use the link there is; without one they wait for the attempt under way, which callers share.
 *
 * @since 0.1.0
 */
import type { CatalogEntry } from "@portolan/core/Catalog"
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberSet from "effect/FiberSet"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type * as Semaphore from "effect/Semaphore"
import type { Era } from "../Era.ts"
import type { Measured } from "../telemetry/Sending.ts"
import type * as Link from "./Link.ts"
import * as Opening from "./Opening.ts"
import * as Dispatch from "./pool/Dispatch.ts"
import * as Draining from "./pool/Draining.ts"
import * as Gate from "./pool/Gate.ts"
import * as Leaving from "./pool/Leaving.ts"
import * as Pool from "./pool/Pool.ts"
import type * as Seat from "./pool/Seat.ts"
import * as Sharing from "./pool/Sharing.ts"
import * as Followings from "./resources/Followings.ts"
import * as ServerStream from "./ServerStream.ts"
import { type Failure, oneLine } from "./transports/Connection.ts"
import { type Caller, type CallerSession, type ServerProfile, type Upstream, type UpstreamState } from "./Upstream.ts"
import type { UpstreamEvent } from "./Upstreams.ts"

/**
 * What a supervisor needs.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The newest record. */
  readonly entry: () => CatalogEntry
  readonly kind: Link.Transport["kind"]
  /** Resolves what the transport takes, secrets among it: anew for each attempt. */
  readonly transport: Effect.Effect<Link.Transport, Failure>
  readonly emit: (event: UpstreamEvent) => void
  /** Its state is another one. */
  readonly entered: () => void
  /** What is measured and traced of the requests. */
  readonly measured?: Measured | undefined
  /** Attempts of all upstreams that may begin at the same time. */
  readonly gate: Semaphore.Semaphore
  readonly connectTimeout: Duration.Duration
  readonly probeTimeout: Duration.Duration
  /** Of the connections that belong to single callers. */
  readonly limits: Pool.Limits
}

/**
 * An upstream and what its keeper may do with it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Supervised {
  readonly upstream: Upstream
  /** Keeps it connected. */
  readonly run: Effect.Effect<never>
  /** A client's session is over: its own connections are closed. Plain. */
  readonly forget: (session: CallerSession) => void
  /** Takes no more requests, and waits until those under way are done, or the server doesn't answer any more. */
  readonly retire: Effect.Effect<void>
}

/** ms; the first pause. */
const FirstPause = 250
/** ms; the longest pause before a process is started again. */
const LongestPause = 30_000
/** ms; the longest pause before a server is tried again that may be back at any moment. */
const LongestRemotePause = 1_000
/** ms; the longest that a server is left alone because it asks for that. */
const LongestLeave = 300_000
/** ms that a link must have lived for the pauses to begin anew. */
const Healthy = 5_000

type Waiter = { readonly connected: (link: Link.Link) => void; readonly failed: (failure: Failure) => void }

/** Whether the server answers and wants none of us: asking again each second would only annoy it. */
const refuses = ({ status }: Failure): boolean => status === 401 || status === 403 || status === 407 || status === 429

/** Whether the server has nothing that takes such requests. */
const unknown = ({ phase, status }: Failure): boolean =>
  phase === "answered" && (status === 400 || status === 404 || status === 405)

const eraOf = (entry: CatalogEntry): Era | undefined => {
  const { endpoint, metadata } = entry.instance
  const era = metadata["mcp-era"] ?? ("era" in endpoint ? endpoint.era : undefined)
  return era === "handshake" || era === "stateless" ? era : undefined
}

/**
 * Makes the supervisor of an entry. `run` is to be forked into the same scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Supervised, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const oneChannel = () => options.kind !== "http" || fellBack
  const remote = options.kind !== "stdio" && options.kind !== "in-process"

  const { entry, measured } = options
  // Who follows the events has heard that it is closed.
  const emit = (event: UpstreamEvent) => retired ? undefined : options.emit(event)
  let link: Link.Link | undefined
  let profile: ServerProfile | undefined
  let state: UpstreamState = { _tag: "connecting", since: now(), lastError: undefined, profile: undefined }
  let lastFailure: Failure | undefined
  /** Until when the server asked to be left alone. */
  let leftUntil = -Infinity
  let lastId = 0
  const nextId = () => ++lastId
  let retired = false
  /** Reason of the last `Failed` since the last `Connected`. */
  let told: string | undefined
  /** The pause before the next attempt, while it lasts. */
  let pause: Deferred.Deferred<void> | undefined
  let endsAtProbe = false
  /** Whether the server knows no requests of the transport's own kind. */
  let fellBack = false
  const waiters = new Set<Waiter>()
  const leaving = Leaving.make()

  const enter = (tag: UpstreamState["_tag"], lastError: string | undefined) => {
    state = { _tag: tag, since: state._tag === tag ? state.since : now(), lastError, profile }
    options.entered()
  }

  const setHeard = (current: Link.Link, heard: boolean) => {
    if (link !== current || state.heard === heard) return
    state = { ...state, heard }
    options.entered()
  }

  /** It offers a stream for what it tells of itself, or none: over one channel for everything it needs none. */
  const streamed = (current: Link.Link, open: boolean, gap: boolean) => {
    setHeard(current, open || (profile?.era === "handshake" && current.connection()?.listen === undefined))
    followings.streamed(current, gap)
  }

  const settle = (act: (waiter: Waiter) => void) => {
    const all = [...waiters]
    waiters.clear()
    for (const waiter of all) act(waiter)
  }

  const failed = (failure: Failure) => {
    lastFailure = failure
    leftUntil = now() + Math.min(failure.retryAfter ?? 0, LongestLeave)
    enter("failed", failure.reason)
    if (told !== failure.reason) {
      told = failure.reason
      emit({ _tag: "Failed", upstream, reason: failure.reason })
    }
    settle((waiter) => waiter.failed({ ...failure, phase: "notSent" }))
  }

  /**
   * Why a caller doesn't wait for the next attempt, if so. A server that was gone may be back, and asking costs next to
   * nothing; a process that ends at its start, a refusal, a server that asks for time, and one that hangs are left to the
   * pauses.
   */
  const hopeless = (): Failure | undefined => {
    if (lastFailure === undefined || lastFailure.timedOut === true) return lastFailure
    const left = leftUntil - now()
    if (left > 0 && state._tag === "failed") return { ...lastFailure, retryAfter: left }
    if (remote && !refuses(lastFailure)) return undefined
    return state._tag === "failed" ? lastFailure : undefined
  }

  /** The link, now or after the attempt under way; then the result is how to stop waiting. */
  const acquire = (
    connected: (link: Link.Link) => void,
    fail: (failure: Failure) => void
  ): (() => void) | undefined => {
    if (retired) return void fail({ phase: "notSent", reason: "no longer announced" })
    if (link !== undefined) return void connected(link)
    const reason = hopeless()
    if (reason !== undefined) return void fail({ ...reason, phase: "notSent" })
    const waiter: Waiter = { connected, failed: fail }
    waiters.add(waiter)
    if (pause !== undefined) Deferred.doneUnsafe(pause, Effect.void)
    return () => void waiters.delete(waiter)
  }

  const toError = (failure: Failure) => Dispatch.toError(entry().instance.id, failure)

  /** The link for a caller: its own, where it needs one and the server's era has such. */
  const lease = (
    caller: Caller | undefined,
    connected: (link: Link.Link, claim?: Seat.Claim) => void,
    fail: (failure: Failure) => void
  ): (() => void) | undefined => {
    if (!Sharing.needsOwn(caller)) return acquire(connected, fail)
    const own = () => pool.acquire(caller, (claim) => connected(claim.link, claim), fail)
    // A process or a socket of its own doesn't depend on ours.
    if (link === undefined && !retired && oneChannel() && pool.find(caller).length > 0) return own()
    let stop: (() => void) | undefined
    stop = acquire((current) => {
      if (profile?.era === "handshake") stop = own()
      else connected(current)
    }, fail) ?? stop
    return stop === undefined ? undefined : () => stop?.()
  }

  const followings = Followings.make({
    now,
    onMissed: (uri) =>
      emit({
        _tag: "Notified",
        upstream,
        notification: { jsonrpc: "2.0", method: "notifications/resources/updated", params: { uri } }
      }),
    shares: () => profile?.era === "stateless",
    // The other half is left to those that call.
    most: () => Math.ceil(options.limits.maxSessions / 2),
    run: yield* FiberSet.makeRuntime<never, void, never>(),
    acquire: (caller, connected, fail) =>
      lease(caller, (current, claim) => {
        const of = claim?.profile ?? profile
        if (of !== undefined) connected(current, of, () => claim?.release())
      }, fail)
  })

  const dispatch = Dispatch.make({ id: () => entry().instance.id, profile: () => profile, measured, lease })

  const upstream: Upstream = {
    key: entry().key,
    instance: () => entry().instance,
    state: () => state,
    connect: Effect.callback((resume) => {
      const cancel = acquire(
        () => resume(profile === undefined ? Effect.never : Effect.succeed(profile)),
        (failure) => resume(Effect.fail(toError(failure)))
      )
      return cancel === undefined ? undefined : Effect.sync(cancel)
    }),
    request: (request) =>
      request.method === "logging/setLevel" && request.caller === undefined
        ? Effect.suspend(() => {
          pool.setLevel(request)
          return dispatch(request)
        })
        : dispatch(request),
    notify: (method, params, caller) =>
      Effect.callback((resume) => {
        const fail = (failure: Failure) => resume(Effect.fail(toError(failure)))
        const post = (current: Link.Link) =>
          current.notify(
            { jsonrpc: "2.0", method, params },
            (failure) => failure === undefined ? resume(Effect.void) : fail(failure)
          )
        if (Sharing.needsOwn(caller) && profile?.era !== "stateless") {
          const own = pool.find(caller)
          // A server that doesn't know the caller has nothing to hear of it.
          if (own.length === 0) resume(Effect.void)
          return own.forEach(post)
        }
        const cancel = acquire(post, fail)
        return cancel === undefined ? undefined : Effect.sync(cancel)
      }),
    session: (caller) =>
      Sharing.needsOwn(caller) && profile?.era === "handshake" ? pool.session(caller) : profile?.session,
    follow: (uri, caller, onUpdated) => Effect.mapError(followings.follow(uri, caller, onUpdated), toError)
  }

  const drop = (lost: Link.Link, failure: Failure) => {
    if (link !== lost) return
    link = undefined
    followings.lost(lost)
    if (oneChannel()) leaving.end(lost, failure.reason)
    // What is under way has sockets of its own and goes on.
    else leaving.letGo(lost)
    enter("connecting", failure.reason)
  }

  /** One attempt at the gateway's own link. */
  const attempt = (transport: Link.Transport) =>
    Opening.open({
      transport,
      nextId,
      leaving,
      era: eraOf(entry()) ?? (endsAtProbe ? "handshake" : undefined),
      connectTimeout: options.connectTimeout,
      probeTimeout: options.probeTimeout,
      onNotification: (from, notification) => {
        if (link !== from) return
        if (notification.method === "notifications/resources/updated") followings.updated(from, notification.params)
        emit({ _tag: "Notified", upstream, notification })
      },
      onLost: drop
    })

  const open = Effect.flatMap(options.transport, (transport) => {
    const { fallback } = transport
    const first = Effect.tap(attempt(transport), () => Effect.sync(() => void (fellBack = false)))
    return fallback === undefined ? first : Effect.catch(first, (failure) =>
      unknown(failure)
        ? attempt(fallback).pipe(
          Effect.tap(() => Effect.sync(() => void (fellBack = true))),
          Effect.mapError(() => failure)
        )
        : Effect.fail(failure))
  })

  const gated = Gate.hold(options.gate)

  const pool = yield* Pool.make({
    oneChannel,
    leaving,
    limits: options.limits,
    patience: Duration.toMillis(options.connectTimeout),
    open: (capabilities, hooks) =>
      gated(Effect.flatMap(options.transport, (transport) =>
        Opening.open({
          ...hooks,
          transport: fellBack ? transport.fallback ?? transport : transport,
          capabilities,
          nextId,
          leaving,
          // The gateway's own link found it out.
          era: "handshake",
          connectTimeout: options.connectTimeout,
          probeTimeout: options.probeTimeout,
          outlives: true
        }))),
    onRequest: (session, request) => session.onRequest(upstream, request),
    onStream: followings.streamed,
    onGone: followings.lost,
    onNotification: (from, session, notification) => {
      if (session?.readsLists === true) return
      const { method, params } = notification
      if (method === "notifications/resources/updated") followings.updated(from, params)
      const forAll = method === "notifications/resources/updated" || method.endsWith("/list_changed")
      if (session !== undefined && !forAll) session.onNotification(upstream, notification)
      // What a server logs for everybody the gateway's own link hears too.
      else if (method !== "notifications/message") emit({ _tag: "Notified", upstream, notification })
    },
    onEnded: (profile, lasted) => measured?.sessionEnded(profile, lasted)
  })

  let failures = 0
  const wait = (failure: Failure) =>
    Effect.gen(function*() {
      const patient = !remote || refuses(failure)
      const longest = Math.min(patient ? LongestPause : LongestRemotePause, FirstPause * 2 ** failures++)
      const time = Math.max(yield* Random.nextIntBetween(0, longest), leftUntil - now())
      const woken = Deferred.makeUnsafe<void>()
      pause = woken
      yield* Deferred.await(woken).pipe(Effect.timeoutOption(time))
      pause = undefined
    })

  const once = Effect.gen(function*() {
    if (retired) return yield* Effect.never
    enter("connecting", state.lastError)
    const opened = yield* Effect.exit(gated(open.pipe(
      // Some servers end at any message before `initialize`: those are not asked again.
      Effect.catch((failure) => {
        if (failure.endedAtProbe !== true) return Effect.fail(failure)
        endsAtProbe = true
        return open.pipe(Effect.onError(() => Effect.sync(() => void (endsAtProbe = false))))
      })
    )))
    if (Exit.isFailure(opened)) {
      const failure = Option.getOrElse(
        Cause.findErrorOption(opened.cause),
        (): Failure => ({ phase: "notSent", reason: oneLine(String(Cause.squash(opened.cause))) })
      )
      failed(failure)
      return yield* wait(failure)
    }
    const current = opened.value
    const since = now()
    link = current.link
    profile = current.profile
    // A server that came back changed.
    if (profile.era === "stateless") pool.clear()
    lastFailure = undefined
    told = undefined
    enter("connected", undefined)
    const announce = () => emit({ _tag: "Connected", upstream, profile: current.profile })
    announce()
    settle((waiter) => waiter.connected(current.link))

    const failure = yield* Effect.raceFirst(
      current.lost,
      ServerStream.follow(current.link, current.profile, (open, gap) => {
        if (gap) announce()
        streamed(current.link, open, gap)
      }, () => setHeard(current.link, false))
    ).pipe(Effect.ensuring(Effect.sync(() => measured?.sessionEnded(current.profile, now() - since))))
    // It may have been lost before it was ours.
    drop(current.link, failure)
    if (now() - since >= Healthy) failures = 0
    // A process that ended is news; a server may be there again, or have been there all along.
    if (!remote) {
      failed(failure)
      yield* wait(failure)
    } else if (failures > 0) yield* wait({ ...failure, status: undefined })
    else failures = 1
  })

  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      retired = true
      pool.close("closed")
      if (link !== undefined) leaving.end(link, "closed")
      link = undefined
      settle((waiter) => waiter.failed({ phase: "notSent", reason: "closed" }))
      await leaving.close()
    })
  )

  return {
    upstream,
    run: Effect.forever(once),
    forget: pool.forget,
    retire: Effect.suspend(() => {
      retired = true
      settle((waiter) => waiter.failed({ phase: "notSent", reason: "no longer announced" }))
      pool.close("no longer announced")
      return Effect.forEach(
        link === undefined ? leaving.busy() : [...leaving.busy(), link],
        (busy) => Draining.finished(busy, profile?.era),
        {
          concurrency: "unbounded",
          discard: true
        }
      )
    })
  }
})

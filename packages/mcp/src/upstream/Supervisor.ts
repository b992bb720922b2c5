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
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import type * as Semaphore from "effect/Semaphore"
import type { Era } from "../Era.ts"
import type { Reply } from "../JsonRpc.ts"
import type { Measured } from "../telemetry/Sending.ts"
import { type Failure, oneLine } from "./Connection.ts"
import * as Link from "./Link.ts"
import * as Negotiation from "./Negotiation.ts"
import * as ServerStream from "./ServerStream.ts"
import {
  type ServerProfile,
  type Upstream,
  UpstreamError,
  type UpstreamRequest,
  type UpstreamState
} from "./Upstream.ts"
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
  /** What is measured and traced of the requests. */
  readonly measured?: Measured | undefined
  /** Attempts of all upstreams that may begin at the same time. */
  readonly gate: Semaphore.Semaphore
  readonly connectTimeout: Duration.Duration
  readonly probeTimeout: Duration.Duration
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
/** ms between two looks whether a server that is no longer announced still answers, and that it has to do so. */
const LastLooks = 10_000
/** ms that an attempt holds its place in the gate at most: one that hangs must not hold up the others. */
const GateTime = 1_000

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
  const waiters = new Set<Waiter>()
  const closing = new Set<Promise<void>>()
  /** Links that were replaced and still have requests under way. */
  const replaced = new Set<Link.Link>()

  const end = (old: Link.Link, reason: string) => {
    replaced.delete(old)
    const closed = old.end(reason).finally(() => closing.delete(closed))
    closing.add(closed)
  }

  const enter = (tag: UpstreamState["_tag"], lastError: string | undefined) => {
    state = { _tag: tag, since: state._tag === tag ? state.since : now(), lastError, profile }
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

  const toError = (failure: Failure) =>
    new UpstreamError({
      instance: entry().instance.id,
      phase: failure.phase,
      reason: failure.reason,
      ...(failure.status === undefined ? undefined : { status: failure.status }),
      ...(failure.retryAfter === undefined ? undefined : { retryAfter: failure.retryAfter }),
      ...(failure.sessionLost === true ? { sessionLost: true } : undefined),
      ...(failure.cause === undefined ? undefined : { cause: failure.cause })
    })

  const send = (request: UpstreamRequest): Effect.Effect<Reply, UpstreamError> =>
    Effect.callback((resume) => {
      const ended = measured?.begin(request, profile)
      let cancel: () => void = () => {}
      const replied = (reply: Reply) => {
        ended?.(reply)
        resume(Effect.succeed(reply))
      }
      const fail = (failure: Failure) => {
        const error = toError(failure)
        ended?.(error)
        resume(Effect.fail(error))
      }
      const { session } = request
      const go = (again: boolean) => (current: Link.Link) => {
        if (session !== undefined && session !== profile?.session) {
          return fail({ phase: "notSent", sessionLost: true, reason: "the session with it is over" })
        }
        cancel = current.request(request, replied, (failure) => {
          // It has not run: once more, over the session that is opened now.
          if (failure.sessionLost === true && again && session === undefined) {
            cancel = acquire(go(false), fail) ?? cancel
          } else fail(failure)
        })
      }
      try {
        cancel = acquire(go(true), fail) ?? cancel
      } catch (defect) {
        ended?.(toError({ phase: "notSent", reason: "not sent" }))
        throw defect
      }
      return Effect.sync(() => {
        cancel()
        ended?.(undefined)
      })
    })

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
    request: (request) => measured?.traced === undefined ? send(request) : measured.traced(request, profile, send),
    notify: (method, params) =>
      Effect.callback((resume) => {
        const fail = (failure: Failure) => resume(Effect.fail(toError(failure)))
        const cancel = acquire(
          (current) =>
            current.notify(
              { jsonrpc: "2.0", method, params },
              (failure) => failure === undefined ? resume(Effect.void) : fail(failure)
            ),
          fail
        )
        return cancel === undefined ? undefined : Effect.sync(cancel)
      }),
    session: () => profile?.session,
    follow: () => Effect.fail(toError({ phase: "notSent", reason: "following resources is not built yet" }))
  }

  /** One attempt: a link that is negotiated, with the promise of its loss. */
  const attempt = Effect.fnUntraced(function*(transport: Link.Transport) {
    const lost = Deferred.makeUnsafe<Failure>()
    const next = Link.make({
      transport,
      nextId,
      onNotification: (notification) => {
        if (link === next) emit({ _tag: "Notified", upstream, notification })
      },
      onLost: (failure) => {
        if (link === next) {
          link = undefined
          // What is under way on an HTTP connection has sockets of its own and goes on.
          if (transport.kind === "http" && next.inFlight() > 0) {
            replaced.add(next)
            next.whenIdle(() => end(next, "closed"))
          } else end(next, failure.reason)
          enter("connecting", failure.reason)
        }
        Deferred.doneUnsafe(lost, Effect.succeed(failure))
      }
    })
    const negotiated = yield* Negotiation.negotiate(next, {
      transport: transport.kind,
      era: eraOf(entry()) ?? (endsAtProbe ? "handshake" : undefined),
      probeTimeout: options.probeTimeout,
      nextId
    }).pipe(
      Effect.timeoutOrElse({
        duration: options.connectTimeout,
        orElse: () =>
          Effect.fail<Failure>({
            phase: "notSent",
            timedOut: true,
            reason: `no answer to the handshake within ${Duration.format(options.connectTimeout)}`
          })
      }),
      Effect.onExit((exit) => Effect.sync(() => Exit.isFailure(exit) && end(next, "could not connect")))
    )
    const stateful = negotiated.era === "handshake" && next.connection()?.hasSession?.() !== false
    return { link: next, lost, profile: stateful ? { ...negotiated, session: Symbol("session") } : negotiated }
  })

  const open = Effect.flatMap(options.transport, (transport) => {
    const { fallback } = transport
    return fallback === undefined ? attempt(transport) : attempt(transport).pipe(
      Effect.catch((failure) =>
        unknown(failure) ? Effect.mapError(attempt(fallback), () => failure) : Effect.fail(failure)
      )
    )
  })

  // A place in the gate is held for a moment only.
  const gated = Effect.gen(function*() {
    yield* options.gate.take(1)
    let held = true
    const release = Effect.suspend(() => {
      if (!held) return Effect.void
      held = false
      return Effect.asVoid(options.gate.release(1))
    })
    const timer = yield* Effect.forkChild(Effect.andThen(Effect.sleep(GateTime), release))
    return yield* open.pipe(
      // Some servers end at any message before `initialize`: those are not asked again.
      Effect.catch((failure) => {
        if (failure.endedAtProbe !== true) return Effect.fail(failure)
        endsAtProbe = true
        return open.pipe(Effect.onError(() => Effect.sync(() => void (endsAtProbe = false))))
      }),
      Effect.ensuring(Effect.andThen(Effect.sync(() => timer.interruptUnsafe()), release))
    )
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
    const opened = yield* Effect.exit(gated)
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
    lastFailure = undefined
    told = undefined
    enter("connected", undefined)
    const announce = () => emit({ _tag: "Connected", upstream, profile: current.profile })
    announce()
    settle((waiter) => waiter.connected(current.link))

    const failure = yield* Effect.raceFirst(
      Deferred.await(current.lost),
      ServerStream.follow(current.link, current.profile, announce)
    ).pipe(Effect.ensuring(Effect.sync(() => measured?.sessionEnded(current.profile, now() - since))))
    if (now() - since >= Healthy) failures = 0
    // A process that ended is news; a server may be there again, or have been there all along.
    if (!remote) {
      failed(failure)
      yield* wait(failure)
    } else if (failures > 0) yield* wait({ ...failure, status: undefined })
    else failures = 1
  })

  const idle = (busy: Link.Link) => Effect.callback<void>((resume) => busy.whenIdle(() => resume(Effect.void)))

  /** Done once the server doesn't answer. */
  const silence = (busy: Link.Link) =>
    Effect.callback<boolean>((resume) =>
      Effect.sync(busy.request(
        { method: profile?.era === "stateless" ? "server/discover" : "ping" },
        () => resume(Effect.succeed(true)),
        (failure) => resume(Effect.succeed(failure.phase === "answered"))
      ))
    ).pipe(
      Effect.timeoutOrElse({ duration: LastLooks, orElse: () => Effect.succeed(false) }),
      Effect.delay(LastLooks),
      Effect.repeat({ while: (answers) => answers })
    )

  /** How long its calls take is theirs to say; a server that died without a word is not waited for. */
  const finished = (busy: Link.Link) => Effect.raceFirst(idle(busy), silence(busy))

  yield* Effect.addFinalizer(() =>
    Effect.promise(async () => {
      retired = true
      for (const old of replaced) end(old, "closed")
      if (link !== undefined) end(link, "closed")
      link = undefined
      settle((waiter) => waiter.failed({ phase: "notSent", reason: "closed" }))
      await Promise.all(closing)
    })
  )

  return {
    upstream,
    run: Effect.forever(once),
    retire: Effect.suspend(() => {
      retired = true
      settle((waiter) => waiter.failed({ phase: "notSent", reason: "no longer announced" }))
      return Effect.forEach(link === undefined ? replaced : [...replaced, link], finished, {
        concurrency: "unbounded",
        discard: true
      })
    })
  }
})

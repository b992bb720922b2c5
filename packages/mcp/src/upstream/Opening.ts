/**
 * One attempt to open a link to a server and to agree with it on an era.
 *
 * @since 0.2.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { Era } from "../Era.ts"
import type { Fields, JsonRpcNotification } from "../JsonRpc.ts"
import * as Link from "./Link.ts"
import * as Negotiation from "./Negotiation.ts"
import type { Leaving } from "./pool/Leaving.ts"
import type { Failure } from "./transports/Connection.ts"
import type { ServerProfile, ServerRequest } from "./Upstream.ts"

/**
 * What an attempt takes.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options {
  readonly transport: Link.Transport
  /** Known before: no probing. */
  readonly era: Era | undefined
  /** What a server of the handshake era is told that the client can do. Default: nothing. */
  readonly capabilities?: Fields | undefined
  readonly connectTimeout: Duration.Duration
  readonly probeTimeout: Duration.Duration
  readonly nextId: () => number
  /** Where a link goes that couldn't be opened. */
  readonly leaving: Leaving
  /** See `Link.Options`. */
  readonly outlives?: boolean | undefined
  readonly onNotification: (link: Link.Link, notification: JsonRpcNotification) => void
  readonly onRequest?: ((request: ServerRequest) => void) | undefined
  /** The link or its session is gone, be it while it is opened. Called once at most. Plain. */
  readonly onLost: (link: Link.Link, failure: Failure) => void
}

/**
 * A link that is ready for requests.
 *
 * @category models
 * @since 0.2.0
 */
export interface Opened {
  readonly link: Link.Link
  readonly profile: ServerProfile
  /** Waits until it is lost. */
  readonly lost: Effect.Effect<Failure>
}

/**
 * Opens one. What fails is closed before the failure is told.
 *
 * @category constructors
 * @since 0.2.0
 */
export const open = Effect.fnUntraced(function*(options: Options): Effect.fn.Return<Opened, Failure> {
  const lost = Deferred.makeUnsafe<Failure>()
  const link: Link.Link = Link.make({
    transport: options.transport,
    nextId: options.nextId,
    capabilities: options.capabilities,
    outlives: options.outlives,
    onNotification: (notification) => options.onNotification(link, notification),
    onRequest: options.onRequest,
    onLost: (failure) => {
      options.onLost(link, failure)
      Deferred.doneUnsafe(lost, Effect.succeed(failure))
    }
  })
  const negotiated = yield* Negotiation.negotiate(link, {
    transport: options.transport.kind,
    era: options.era,
    probeTimeout: options.probeTimeout,
    nextId: options.nextId
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
    Effect.onExit((exit) => Effect.sync(() => Exit.isFailure(exit) && options.leaving.end(link, "could not connect")))
  )
  const stateful = negotiated.era === "handshake" && link.connection()?.hasSession?.() !== false
  return {
    link,
    lost: Deferred.await(lost),
    profile: stateful ? { ...negotiated, session: Symbol("session") } : negotiated
  }
})

/**
 * A resource that is followed over one connection, those who do, and what the server knows of it.
 *
 * @since 0.2.0
 */
import * as Deferred from "effect/Deferred"
import type * as Effect from "effect/Effect"
import type { Fields, Reply } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"
import * as ResourceUpdates from "./ResourceUpdates.ts"

/**
 * One who follows.
 *
 * @category models
 * @since 0.2.0
 */
export interface Follower {
  readonly onUpdated: (params: Fields) => void
  /** What the server said, or why it could not be asked. */
  readonly outcome: Deferred.Deferred<Reply, Failure>
  /** The server took it. */
  taken: boolean
}

/**
 * The resource.
 *
 * @category models
 * @since 0.2.0
 */
export interface Followed {
  readonly uri: string
  readonly followers: Set<Follower>
  /** Tells those whom the server took, as often as is of use. Plain. */
  readonly tell: (params: Fields) => void
  /** The connection on which the server tells of it. */
  on: Link | undefined
  /** The connection on which the server doesn't want to. */
  refusedOn: Link | undefined
  /** A request about it is under way. */
  busy: boolean
  /** The server failed to answer about it: it is asked again after a pause. */
  rests: boolean
  /** It may have changed without a notice. */
  missed: boolean
  /** The last notice that came before the server said that it tells of it. */
  early: Fields | undefined
  /** Connections that were lost while the server was asked. */
  losses: number
}

/**
 * Makes a resource that nobody follows yet.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (uri: string, later: (ms: number, act: () => void) => void): Followed => {
  const followers = new Set<Follower>()
  const pass = (params: Fields) => {
    for (const each of followers) if (each.taken) each.onUpdated(params)
  }
  return {
    uri,
    followers,
    tell: ResourceUpdates.throttle(uri, pass, (end) => later(ResourceUpdates.Window, end)),
    on: undefined,
    refusedOn: undefined,
    busy: false,
    rests: false,
    missed: false,
    early: undefined,
    losses: 0
  }
}

/**
 * Answers those who wait for the server; who isn't taken follows no more. Plain.
 *
 * @category combinators
 * @since 0.2.0
 */
export const settle = ({ followers }: Followed, outcome: Effect.Effect<Reply, Failure>, taken: boolean): void => {
  for (const follower of followers) {
    if (follower.taken) continue
    follower.taken = taken
    if (!taken) followers.delete(follower)
    Deferred.doneUnsafe(follower.outcome, outcome)
  }
}

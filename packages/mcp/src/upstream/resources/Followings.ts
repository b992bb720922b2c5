/**
 * All that is followed at one server, by the connections that it goes over.
 *
 * **Details**: to follow, nobody has to be asked anything. So who has no session follows as one who can't be asked: over the
 * gateway's own connection, or over that of the principal. A session follows over a connection of its own, for which the
 * server may keep resources of its own; where too many sessions do, over that of the gateway, as it keeps the connection from
 * others. A server of the stateless era has one connection for all.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Fields, Reply } from "../../JsonRpc.ts"
import type { Link } from "../Link.ts"
import type { Failure } from "../transports/Connection.ts"
import type { Caller, CallerSession, ServerProfile } from "../Upstream.ts"
import * as Following from "./Following.ts"

/**
 * What it needs of the keeper of the connections.
 *
 * @category models
 * @since 0.2.0
 */
export interface Options extends Pick<Following.Options, "run" | "now" | "onMissed"> {
  /** The connection for a caller: see `Following.Options`. */
  readonly acquire: (
    caller: Caller | undefined,
    connected: (link: Link, profile: ServerProfile, release: () => void) => void,
    failed: (failure: Failure) => void
  ) => (() => void) | undefined
  /** Whether all callers share one connection, as far as that is known. Plain. */
  readonly shares: () => boolean
  /** Sessions that may follow over connections of their own. Plain. */
  readonly most: () => number
}

/**
 * All that is followed at one server.
 *
 * @category models
 * @since 0.2.0
 */
export interface Followings extends Pick<Following.Following, "streamed" | "lost" | "updated"> {
  /** See `Upstream.follow`. */
  readonly follow: (
    uri: string,
    caller: Caller | undefined,
    onUpdated: (params: Fields) => void
  ) => Effect.Effect<Reply, Failure, Scope.Scope>
}

/** As whom a caller follows. */
const follower = (caller: Caller | undefined): Caller | undefined => {
  if (caller === undefined || caller.session !== undefined) return caller
  return caller.principal === undefined
    ? undefined
    : { principal: caller.principal, capabilities: {}, session: undefined }
}

/**
 * Makes it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = ({ acquire, most, now, onMissed, run, shares }: Options): Followings => {
  const all = new Map<CallerSession | string | undefined, Following.Following>()
  const heard = new WeakSet<Link>()

  const of = (caller: Caller | undefined): Following.Following => {
    const key = caller?.session ?? caller?.principal
    const known = all.get(key)
    if (known !== undefined) return known
    if (caller?.session !== undefined && all.size >= most()) return of(follower({ ...caller, session: undefined }))
    const made: Following.Following = Following.make({
      acquire: (connected, failed) => acquire(caller, connected, failed),
      hears: (link) => heard.has(link),
      onMissed,
      run,
      now,
      onEmpty: () => {
        if (all.get(key) === made) all.delete(key)
      }
    })
    all.set(key, made)
    return made
  }

  return {
    follow: (uri, caller, onUpdated) =>
      Effect.acquireRelease(
        Effect.sync(() => of(shares() ? undefined : follower(caller)).add(uri, onUpdated)),
        ({ remove }) => Effect.sync(remove)
      ).pipe(Effect.andThen(({ outcome }) => outcome)),
    streamed: (link, gap) => {
      heard.add(link)
      for (const one of all.values()) one.streamed(link, gap)
    },
    lost: (link) => {
      for (const one of all.values()) one.lost(link)
    },
    updated: (link, params) => {
      for (const one of all.values()) one.updated(link, params)
    }
  }
}

/**
 * What one server of the handshake era lists to clients that declare something, and how that is read.
 *
 * @since 0.2.0
 */
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import type { Fields } from "../JsonRpc.ts"
import type { Caller, ServerProfile, Upstream } from "../upstream/Upstream.ts"
import type { Upstreams } from "../upstream/Upstreams.ts"
import * as Listing from "./Listing.ts"
import type { Lists } from "./Merging.ts"
import { listKinds, type OfferKind } from "./Offer.ts"
import * as TaskSupport from "./TaskSupport.ts"

/**
 * A server, as those clients know it. It is written by whoever asks it.
 *
 * @category models
 * @since 0.2.0
 */
export interface HeardServer {
  /** Where it is: it may move from one registry to another. */
  readonly address: string
  /** Of the gateway's own connection when it was to be asked. */
  profile: ServerProfile | undefined
  /** What it answered, until that is compared with what everybody sees. */
  answer: Lists | undefined
  /** What is in the answer alone, or other than everybody sees it. None: it makes no difference. */
  extra: Lists | undefined
  /** Asked once, and what came of it is in the offers. */
  settled: boolean
  /** The last answer made no difference. */
  same: boolean
  failed: boolean
  /** To be asked (again). */
  wanted: boolean
  /** A fiber asks it. */
  reading: boolean
  /** ms until it may be asked again. */
  pause: number
  /** Epoch ms before which it is not asked again. */
  next: number
}

/** ms for all lists. */
const ReadTime = 20_000
/** ms before a server is asked again; doubled whenever nothing comes of it. */
const FirstPause = 1_000
const LongestPause = 10_000
/** The same for one that could not be read. */
const LongestFailure = 60_000

const nothing: Lists = new Map()
const unheard = { error: { code: -32603, message: "No client is asked while lists are read" } }

/**
 * Gives what tells one server from another, wherever they are announced.
 *
 * @category accessors
 * @since 0.2.0
 */
export const addressOf = (upstream: Upstream): string =>
  JSON.stringify([upstream.instance().id, ServiceInstance.endpointKey(upstream.instance())])

/**
 * Makes one of which nothing is known, or what is known of the same one at another place.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (address: string, known?: HeardServer): HeardServer => ({
  address,
  profile: undefined,
  answer: undefined,
  extra: known?.extra,
  settled: false,
  same: false,
  failed: false,
  wanted: false,
  reading: false,
  pause: FirstPause,
  next: 0
})

/** The items of one that the other has otherwise, or not at all. */
const difference = (one = nothing, other = nothing): Lists | undefined => {
  const found = new Map<OfferKind, ReadonlyMap<string, Fields>>()
  for (const [kind, items] of one) {
    const known = other.get(kind)
    const differing = Array.from(items).filter(([name, item]) => !ServiceInstance.equals(item, known?.get(name)))
    if (differing.length > 0) found.set(kind, new Map(differing))
  }
  return found.size === 0 ? undefined : found
}

/**
 * Asks it for all its lists over a connection that declares the capabilities, and closes that. Failed, what it listed before
 * stays.
 *
 * @category listing
 * @since 0.2.0
 */
export const read = (
  server: HeardServer,
  upstream: Upstream,
  capabilities: Fields,
  limits: Listing.ListingLimits,
  { now, upstreams }: { readonly now: () => number; readonly upstreams: Pick<Upstreams["Service"], "forget"> }
): Effect.Effect<void> =>
  Effect.suspend(() => {
    const { profile } = upstream.state()
    if (profile === undefined) return Effect.void
    const session: Caller["session"] = {
      readsLists: true,
      onRequest: (_, { reply }) => reply(unheard),
      onNotification: () => {}
    }
    const caller: Caller = { principal: undefined, capabilities, session }
    const asked: Pick<Upstream, "instance" | "request" | "state"> = {
      instance: upstream.instance,
      state: upstream.state,
      request: (request) => upstream.request({ ...request, caller, onRequest: ({ reply }) => reply(unheard) })
    }
    const parts = listKinds.flatMap((kind) => profile.capabilities[kind] === undefined ? [] : Listing.kinds[kind])
    return Effect.forEach(
      parts,
      (part) =>
        Effect.map(
          Listing.read(asked, part, limits),
          ({ items }) => [part, part === "tools" ? TaskSupport.normalized(profile, items) : items] as const
        ),
      { concurrency: "unbounded" }
    ).pipe(
      Effect.timeout(ReadTime),
      Effect.match({
        onSuccess: (lists) => {
          server.failed = false
          server.answer = new Map(lists)
        },
        onFailure: () => {
          server.failed = true
          server.settled = true
        }
      }),
      Effect.ensuring(Effect.sync(() => {
        server.next = now() + server.pause
        server.pause = Math.min(server.failed ? LongestFailure : LongestPause, 2 * server.pause)
        upstreams.forget(session)
      }))
    )
  })

/**
 * Gives what these clients see of it, where it lists this to everybody: more, never less. The same object where it makes no
 * difference. Plain.
 *
 * @category combinators
 * @since 0.2.0
 */
export const together = (server: HeardServer, known: Lists): Lists => {
  if (server.answer !== undefined) {
    const extra = difference(server.answer, known)
    if ((difference(extra, server.extra) ?? difference(server.extra, extra)) !== undefined) server.pause = FirstPause
    server.extra = extra
    server.same = extra === undefined
    server.answer = undefined
    server.settled = true
  }
  if (server.extra === undefined) return known
  const all = new Map(known)
  for (const [kind, items] of server.extra) all.set(kind, new Map([...known.get(kind) ?? [], ...items]))
  return all
}

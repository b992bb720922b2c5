/**
 * What servers of the handshake era offer only to clients that declare something they can be asked: such a server may list
 * more to whoever can sample, elicit or tell its roots.
 *
 * **Mental model**: an audience is all callers that declare the same. When the first of them appears, each connected server is
 * asked for its lists once more, over a connection that declares what they do and is closed again. Where the answer differs,
 * the audience has offers of its own; everybody else, and every audience whose servers make no difference, has the catalog's.
 *
 * **Details**: a server that made no difference is asked again when it is connected anew; another one when it says that a list
 * changed, too, ever more seldom while nothing comes of it. What the gateway's own connection lists is always listed: an
 * audience sees more, never less.
 *
 * @since 0.2.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as FiberSet from "effect/FiberSet"
import * as PubSub from "effect/PubSub"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import { canonicalJson } from "../internal/canonicalJson.ts"
import type { Fields } from "../JsonRpc.ts"
import * as Callers from "../relay/sessions/Callers.ts"
import type { Caller, Upstream } from "../upstream/Upstream.ts"
import type { UpstreamEvent, Upstreams } from "../upstream/Upstreams.ts"
import * as HeardServer from "./HeardServer.ts"
import * as Listing from "./Listing.ts"
import type * as Merging from "./Merging.ts"
import { type ListKind, listKinds, type Offer, type OfferKind, offerKinds } from "./Offer.ts"
import type { Offers } from "./Offers.ts"

/**
 * The offers for some callers. All of it plain.
 *
 * @category models
 * @since 0.2.0
 */
export type View = Pick<Offers, "list" | "find" | "revision">

/**
 * The audiences, for those who answer clients.
 *
 * @category models
 * @since 0.2.0
 */
export interface Audiences {
  /** The offers for a caller. None: everybody's. Plain. */
  readonly of: (caller: Caller) => View | undefined
  /**
   * Waits until the lists for a caller have been read: at most `settleTimeout` after the first of its audience appeared. What
   * fails is asked again by whoever comes here later.
   */
  readonly settled: (caller: Caller) => Effect.Effect<void>
  /** Whether something of that name is offered to one of them. Plain. */
  readonly isOffered: (kind: OfferKind, publicName: string) => boolean
  /** One element whenever the lists of one of them changed. */
  readonly changes: Stream.Stream<void>
}

/**
 * No audiences: everybody sees the same.
 *
 * @category constants
 * @since 0.2.0
 */
export const none: Audiences = {
  of: () => undefined,
  settled: () => Effect.void,
  isOffered: () => false,
  changes: Stream.empty
}

/**
 * What it needs.
 *
 * @category models
 * @since 0.2.0
 */
export interface AudiencesOptions {
  readonly upstreams: Pick<Upstreams["Service"], "all" | "get" | "events" | "forget">
  readonly limits: Listing.ListingLimits
  /** Longest that the first of an audience waits, ms. */
  readonly settleTimeout: number
  /** Everybody's. */
  readonly offers: Offers
  /** Makes an empty table that names and joins as that one does. Plain. */
  readonly table: () => Offers
  /** Whether nobody is waited for whose lists everybody sees. Plain. */
  readonly isSettled: () => boolean
  /** The offers were made anew. */
  readonly moved: PubSub.PubSub<void>
  /** Has the offers made anew. */
  readonly onChange: Effect.Effect<unknown>
}

/**
 * The audiences, for the catalog that keeps them.
 *
 * @category models
 * @since 0.2.0
 */
export interface KeptAudiences extends Audiences {
  /** Makes their offers anew from what everybody sees of the servers. Plain. */
  readonly rebuild: (listed: ReadonlyArray<Merging.ListedInstance>) => void
  /** The tables there are. Plain. */
  readonly tables: () => ReadonlyArray<Offers>
}

interface Audience {
  readonly capabilities: Fields
  readonly view: View
  readonly servers: Map<InstanceKey, HeardServer.HeardServer>
  /** Epoch ms. */
  readonly deadline: number
  /** Its own, where a server makes a difference. */
  table: Offers | undefined
  /** What it sees, for comparison. */
  shown: ReadonlyMap<OfferKind, ReadonlyArray<Offer>>
  readonly stamps: Map<ListKind, number>
  /** Nobody waits for it any more. */
  settled: boolean
  /** Epoch ms. */
  lastUsed: number
}

/** Audiences; beyond that the one that was used longest ago makes room, if it is not in use. */
const MaxAudiences = 8
/** ms for which one that was used keeps its place. */
const KeepTime = 60_000
/** Characters of what an audience declares. */
const MaxKey = 4_096
/** Servers that are asked at the same time. */
const Concurrency = 4

const isAlike = (one: ReadonlyArray<Offer> = [], other: ReadonlyArray<Offer> = []): boolean =>
  one === other || (one.length === other.length && one.every((offer, index) => {
    const { definition } = other[index] ?? {}
    return offer.definition === definition || ServiceInstance.equals(offer.definition, definition)
  }))

/**
 * Makes them; there are none yet. Servers are followed while the scope lives.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  options: AudiencesOptions
): Effect.fn.Return<KeptAudiences, never, Scope.Scope> {
  const { isSettled, limits, moved, offers, onChange, settleTimeout, upstreams } = options
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const run = yield* FiberSet.makeRuntime<never, unknown, unknown>()
  const permits = yield* Semaphore.make(Concurrency)
  const audiences = new Map<string, Audience>()
  const keys = new WeakMap<Fields, string>()
  /** Grows with each change, of whatever audience: none of its own revisions comes twice. */
  let stamp = 0

  const keyOf = ({ capabilities }: Caller): string => {
    let key = keys.get(capabilities)
    if (key === undefined) keys.set(capabilities, key = canonicalJson(capabilities))
    return key
  }

  /** Whether the server is there, and of the era to which it makes a difference. */
  const isConnected = (upstream: Upstream): boolean => {
    const { _tag, profile } = upstream.state()
    return _tag === "connected" && profile?.era === "handshake"
  }

  /** Asks while that is wanted. */
  const ask = Effect.fnUntraced(function*(audience: Audience, key: InstanceKey, server: HeardServer.HeardServer) {
    while (server.wanted) {
      const left = server.next - now()
      if (left > 0) yield* Effect.sleep(left)
      server.wanted = false
      const upstream = upstreams.get(key)
      // Whoever is connected later is asked then.
      if (upstream === undefined || !isConnected(upstream) || audience.servers.get(key) !== server) break
      yield* permits.withPermits(1)(
        HeardServer.read(server, upstream, audience.capabilities, limits, { now, upstreams })
      )
      yield* onChange
    }
    server.reading = false
  })

  const want = (audience: Audience, upstream: Upstream) => {
    const { key } = upstream
    const server = audience.servers.get(key) ?? HeardServer.make(HeardServer.addressOf(upstream))
    audience.servers.set(key, server)
    server.profile = upstream.state().profile
    server.wanted = true
    if (server.reading) return
    server.reading = true
    run(Effect.onError(ask(audience, key, server), () =>
      Effect.sync(() => {
        server.reading = false
      })))
  }

  const take = (audience: Audience, event: UpstreamEvent): void => {
    const { servers } = audience
    switch (event._tag) {
      case "Opened": {
        const { key } = event.upstream
        if (servers.has(key)) return
        const address = HeardServer.addressOf(event.upstream)
        const known = Array.from(servers.values()).find((server) => server.address === address)
        if (known !== undefined) servers.set(key, HeardServer.make(address, known))
        return
      }
      case "Connected": {
        const { profile, upstream } = event
        const server = servers.get(upstream.key)
        if (profile.era === "stateless") servers.delete(upstream.key)
        // A connection tells of itself again when it has a stream.
        else if (server?.profile !== profile || !(server.same || server.reading)) want(audience, upstream)
        return
      }
      case "Notified": {
        const { notification: { method }, upstream } = event
        const server = servers.get(upstream.key)
        if (server === undefined || server.same) return
        if (listKinds.some((kind) => method === `notifications/${kind}/list_changed`)) want(audience, upstream)
        return
      }
      case "Closed":
        // It may be there again, at another address.
        if (upstreams.get(event.key) === undefined) servers.delete(event.key)
    }
  }

  yield* upstreams.events.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        for (const audience of audiences.values()) take(audience, event)
      })
    ),
    Effect.forkScoped
  )

  const shownTo = ({ table = offers }: Pick<Audience, "table">) =>
    new Map(offerKinds.map((kind) => [kind, table.list(kind)]))

  const admit = (caller: Caller): Audience | undefined => {
    if (!Callers.isAskable(caller.capabilities)) return undefined
    const key = keyOf(caller)
    const known = audiences.get(key)
    if (known !== undefined || key.length > MaxKey) return known
    const time = now()
    if (audiences.size >= MaxAudiences) {
      const [oldest] = Array.from(audiences).toSorted(([, one], [, other]) => one.lastUsed - other.lastUsed)
      if (oldest === undefined || time - oldest[1].lastUsed < KeepTime) return undefined
      audiences.delete(oldest[0])
      // What is still to be asked for it is asked no more.
      oldest[1].servers.clear()
    }
    const stamps = new Map<ListKind, number>()
    const audience: Audience = {
      capabilities: caller.capabilities,
      servers: new Map(),
      deadline: time + settleTimeout,
      table: undefined,
      shown: shownTo({ table: undefined }),
      stamps,
      settled: false,
      lastUsed: time,
      view: {
        list: (kind) => (audience.table ?? offers).list(kind),
        find: (kind, name) => (audience.table ?? offers).find(kind, name),
        revision: (kind) => offers.revision(kind) + (stamps.get(kind) ?? 0)
      }
    }
    audiences.set(key, audience)
    for (const upstream of upstreams.all()) {
      if (isConnected(upstream)) want(audience, upstream)
    }
    return audience
  }

  const isRead = ({ servers }: Audience): boolean =>
    isSettled() &&
    upstreams.all().every((upstream) => !isConnected(upstream) || servers.get(upstream.key)?.settled === true)

  const wait = (audience: Audience) =>
    Effect.scoped(Effect.gen(function*() {
      const subscription = yield* PubSub.subscribe(moved)
      for (let left = audience.deadline - now(); left > 0 && !isRead(audience); left = audience.deadline - now()) {
        yield* Effect.timeoutOption(PubSub.take(subscription), left)
      }
      audience.settled = true
    }))

  return {
    of: (caller) => {
      if (audiences.size === 0 || !Callers.isAskable(caller.capabilities)) return undefined
      const audience = audiences.get(keyOf(caller))
      if (audience === undefined) return undefined
      audience.lastUsed = now()
      return audience.view
    },
    settled: (caller) =>
      Effect.suspend(() => {
        const audience = admit(caller)
        if (audience === undefined) return Effect.void
        audience.lastUsed = now()
        for (const [key, { failed, next, reading }] of audience.servers) {
          const upstream = failed && !reading && next <= now() ? upstreams.get(key) : undefined
          if (upstream !== undefined) want(audience, upstream)
        }
        return audience.settled ? Effect.void : wait(audience)
      }),
    isOffered: (kind, publicName) => {
      for (const { table } of audiences.values()) if (table?.find(kind, publicName) !== undefined) return true
      return false
    },
    changes: Stream.unwrap(Effect.gen(function*() {
      const subscription = yield* PubSub.subscribe(moved)
      let seen = stamp
      return Stream.fromSubscription(subscription).pipe(Stream.filter(() => {
        const changed = stamp !== seen
        seen = stamp
        return changed
      }))
    })),
    tables: () => Array.from(audiences.values()).flatMap(({ table }) => table === undefined ? [] : [table]),
    rebuild: (listed) => {
      for (const audience of audiences.values()) {
        const all = listed.map((instance) => {
          const server = audience.servers.get(instance.key)
          const lists = server === undefined ? instance.lists : HeardServer.together(server, instance.lists)
          return lists === instance.lists ? instance : { ...instance, lists }
        })
        // Of a server that everybody has yet to hear of nothing can be said.
        for (const server of audience.servers.values()) if (server.answer !== undefined) server.settled = true
        if (all.every((instance, index) => instance === listed[index])) audience.table = undefined
        else (audience.table ??= options.table()).rebuild(all)
        const before = audience.shown
        const shown = audience.shown = shownTo(audience)
        if (!audience.settled) continue
        for (const kind of listKinds) {
          if (Listing.kinds[kind].some((part) => !isAlike(before.get(part), shown.get(part)))) {
            audience.stamps.set(kind, ++stamp)
          }
        }
      }
    }
  }
})

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
import * as Callers from "../relay/Callers.ts"
import type { Caller, ServerProfile, Upstream } from "../upstream/Upstream.ts"
import type { Upstreams } from "../upstream/Upstreams.ts"
import * as Listing from "./Listing.ts"
import type * as Merging from "./Merging.ts"
import { type ListKind, listKinds, type Offer, type OfferKind, offerKinds } from "./Offer.ts"
import type { Offers } from "./Offers.ts"
import * as TaskSupport from "./TaskSupport.ts"

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

/** What one server lists to an audience. */
interface Heard {
  /** Of the gateway's own connection when it was asked. */
  profile: ServerProfile | undefined
  /** What it answered, until that is compared with what everybody sees. */
  answer: Merging.Lists | undefined
  /** What is in the answer alone, or other than everybody sees it. None: it makes no difference. */
  extra: Merging.Lists | undefined
  /** Asked once, and what came of it is in the offers. */
  settled: boolean
  /** The last answer made no difference. */
  same: boolean
  failed: boolean
  wanted: boolean
  reading: boolean
  /** ms until it is asked again. */
  pause: number
  /** Epoch ms before which it is not asked again. */
  next: number
}

interface Audience {
  readonly capabilities: Fields
  readonly view: View
  readonly servers: Map<InstanceKey, Heard>
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
/** ms for all lists of one server. */
const ReadTime = 20_000
/** ms before a server is asked again; doubled whenever nothing comes of it. */
const FirstPause = 1_000
const LongestPause = 10_000
/** ms before one is asked again that could not be read. */
const LongestFailure = 60_000

const unheard = { error: { code: -32603, message: "No client is asked while lists are read" } }

const nothing: Merging.Lists = new Map()

/** The items of an answer that are known otherwise, or not at all. */
const difference = (answer = nothing, known = nothing): Merging.Lists | undefined => {
  const extra = new Map<OfferKind, ReadonlyMap<string, Fields>>()
  for (const [kind, items] of answer) {
    const all = known.get(kind)
    const other = Array.from(items).filter(([name, item]) => {
      const same = all?.get(name)
      return same === undefined || !ServiceInstance.equals(item, same)
    })
    if (other.length > 0) extra.set(kind, new Map(other))
  }
  return extra.size === 0 ? undefined : extra
}

const together = (known: Merging.Lists, extra: Merging.Lists): Merging.Lists => {
  const all = new Map(known)
  for (const [kind, items] of extra) all.set(kind, new Map([...known.get(kind) ?? [], ...items]))
  return all
}

const isAlike = (one: ReadonlyArray<Offer> = [], other: ReadonlyArray<Offer> = []): boolean =>
  one === other || (one.length === other.length && one.every((offer, index) => {
    const { definition } = other[index] ?? {}
    return offer.definition === definition || ServiceInstance.equals(offer.definition, definition)
  }))

/** Reads all lists over a connection that declares the capabilities, and closes it. */
const read = (
  upstream: Upstream,
  profile: ServerProfile,
  capabilities: Fields,
  { limits, upstreams }: Pick<AudiencesOptions, "limits" | "upstreams">
): Effect.Effect<Merging.Lists, unknown> =>
  Effect.suspend(() => {
    const session: Caller["session"] = {
      readsLists: true,
      onRequest: (_, { reply }) => reply(unheard),
      onNotification: () => {}
    }
    const caller: Caller = { principal: undefined, capabilities, session }
    const asking: Pick<Upstream, "instance" | "request" | "state"> = {
      instance: upstream.instance,
      state: upstream.state,
      request: (request) => upstream.request({ ...request, caller, onRequest: ({ reply }) => reply(unheard) })
    }
    const parts = listKinds.flatMap((kind) => profile.capabilities[kind] === undefined ? [] : Listing.kinds[kind])
    return Effect.forEach(
      parts,
      (part) => Effect.map(Listing.read(asking, part, limits), ({ items }) => [part, items] as const),
      { concurrency: "unbounded" }
    ).pipe(
      Effect.map((lists) =>
        new Map(
          lists.map(([part, items]) =>
            [part, part === "tools" ? TaskSupport.normalized(profile, items) : items] as const
          )
        )
      ),
      Effect.timeout(ReadTime),
      Effect.ensuring(Effect.sync(() => upstreams.forget(session)))
    )
  })

/**
 * Makes them; there are none yet. Servers are followed while the scope lives.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  options: AudiencesOptions
): Effect.fn.Return<KeptAudiences, never, Scope.Scope> {
  const { isSettled, moved, offers, onChange, settleTimeout, upstreams } = options
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
    if (key === undefined) {
      keys.set(capabilities, key = canonicalJson(capabilities))
    }
    return key
  }

  /** Whether the server is to be asked at all, and what it said of itself to everybody. */
  const connected = (upstream: Upstream | undefined): ServerProfile | undefined => {
    const state = upstream?.state()
    return state?._tag === "connected" && state.profile?.era === "handshake" ? state.profile : undefined
  }

  /** Asks while that is wanted. */
  const ask = Effect.fnUntraced(function*(audience: Audience, key: InstanceKey, heard: Heard) {
    while (heard.wanted) {
      const left = heard.next - now()
      if (left > 0) yield* Effect.sleep(left)
      heard.wanted = false
      const upstream = upstreams.get(key)
      const profile = connected(upstream)
      if (upstream === undefined || profile === undefined || audience.servers.get(key) !== heard) break
      heard.profile = profile
      const answer = yield* permits.withPermits(1)(
        Effect.orElseSucceed(read(upstream, profile, audience.capabilities, options), () => undefined)
      )
      heard.failed = answer === undefined
      heard.next = now() + heard.pause
      heard.pause = Math.min(heard.failed ? LongestFailure : LongestPause, 2 * heard.pause)
      heard.answer = answer
      // Whoever waits is told once the offers are made.
      if (answer === undefined) heard.settled = true
      yield* onChange
    }
    heard.reading = false
  })

  const want = (audience: Audience, key: InstanceKey) => {
    let heard = audience.servers.get(key)
    if (heard === undefined) {
      heard = {
        profile: undefined,
        answer: undefined,
        extra: undefined,
        settled: false,
        same: false,
        failed: false,
        wanted: false,
        reading: false,
        pause: FirstPause,
        next: 0
      }
      audience.servers.set(key, heard)
    }
    const asked = heard
    asked.wanted = true
    if (asked.reading) return
    asked.reading = true
    run(Effect.onError(ask(audience, key, asked), () =>
      Effect.sync(() => {
        asked.reading = false
      })))
  }

  yield* upstreams.events.pipe(
    Stream.runForEach((event) =>
      Effect.sync(() => {
        for (const audience of audiences.values()) {
          switch (event._tag) {
            case "Connected": {
              const { key } = event.upstream
              const heard = audience.servers.get(key)
              if (connected(event.upstream) === undefined) audience.servers.delete(key)
              else if (heard?.profile !== event.profile || !heard.same) want(audience, key)
              break
            }
            case "Notified": {
              const { notification: { method }, upstream: { key } } = event
              const heard = audience.servers.get(key)
              if (heard === undefined || heard.same) break
              if (listKinds.some((kind) => method === `notifications/${kind}/list_changed`)) want(audience, key)
              break
            }
            case "Closed":
              // It may be there again, at another address.
              if (upstreams.get(event.key) === undefined) audience.servers.delete(event.key)
          }
        }
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
      if (connected(upstream) !== undefined) want(audience, upstream.key)
    }
    return audience
  }

  const isRead = ({ servers }: Audience): boolean =>
    isSettled() &&
    upstreams.all().every((upstream) =>
      connected(upstream) === undefined || servers.get(upstream.key)?.settled === true
    )

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
          if (failed && !reading && next <= now()) want(audience, key)
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
          const heard = audience.servers.get(instance.key)
          if (heard?.answer !== undefined) {
            const extra = difference(heard.answer, instance.lists)
            if (difference(extra, heard.extra) ?? difference(heard.extra, extra)) heard.pause = FirstPause
            heard.extra = extra
            heard.same = extra === undefined
            heard.answer = undefined
            heard.settled = true
          }
          return heard?.extra === undefined
            ? instance
            : { ...instance, lists: together(instance.lists, heard.extra) }
        })
        // Of a server that everybody has yet to hear of nothing can be said.
        for (const heard of audience.servers.values()) if (heard.answer !== undefined) heard.settled = true
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

/**
 * The lists of all servers, and when they are read: once a server is connected, when it says that a list changed, when a list
 * is used that is too old, and after a pause where it could not be read.
 *
 * @since 0.2.0
 */
import * as Catalog from "@portolan/core/Catalog"
import type { InstanceKey } from "@portolan/core/Catalog"
import type { Discovery } from "@portolan/core/Discovery"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as FiberMap from "effect/FiberMap"
import * as HashMap from "effect/HashMap"
import * as Random from "effect/Random"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Upstream } from "../upstream/Upstream.ts"
import type { UpstreamEvent, Upstreams } from "../upstream/Upstreams.ts"
import type * as Freshness from "./Freshness.ts"
import * as ListedServer from "./ListedServer.ts"
import type * as Listing from "./Listing.ts"
import { type ListKind, listKinds, type OfferKind } from "./Offer.ts"

/**
 * What it needs.
 *
 * @category models
 * @since 0.2.0
 */
export interface ListedServersOptions {
  readonly upstreams: Pick<Upstreams["Service"], "events">
  readonly discovery: Pick<Discovery["Service"], "catalog">
  readonly limits: Listing.ListingLimits
  /** Servers that are read at the same time. */
  readonly concurrency: number
  /** How old a list may be used whose server neither says nor tells of changes, ms. Read for each use. */
  readonly maxAge: () => number
  /** A list that is waited for begins to be read. Plain. */
  readonly onReading: () => void
  /** A server was read, came or went. */
  readonly onChange: Effect.Effect<void>
}

/**
 * The servers and their lists.
 *
 * @category models
 * @since 0.2.0
 */
export interface ListedServers {
  readonly all: ReadonlyMap<InstanceKey, ListedServer.ListedServer>
  /** Those that nobody has asked yet. */
  readonly unasked: ReadonlySet<ListedServer.ListedServer>
  /** Whether a list is read that is waited for. Plain. */
  readonly isReading: () => boolean
  /** See `ToolCatalog.freshness`. */
  readonly freshness: (kind: OfferKind) => Effect.Effect<Freshness.Freshness>
}

/** ms before a list is read again that could not be; doubled with each further time. */
const FirstPause = 1_000
/** ms */
const LongestPause = 60_000

/**
 * Makes it. The servers are those of the events, which are followed while the scope lives.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = Effect.fnUntraced(function*(
  { concurrency, discovery, limits, maxAge, onChange, onReading, upstreams }: ListedServersOptions
): Effect.fn.Return<ListedServers, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const servers = new Map<InstanceKey, ListedServer.ListedServer>()
  const unasked = new Set<ListedServer.ListedServer>()
  /** Names of the registries that servers came from. */
  const sources = new Set<string>()
  let awaited = 0
  const readers = yield* FiberMap.make<InstanceKey>()
  const retries = yield* FiberMap.make<InstanceKey>()
  const permits = yield* Semaphore.make(concurrency)

  /** Who has the same address under another key: it moves from one registry to another, with its lists. */
  const sameServer = (upstream: Upstream): ListedServer.ListedServer | undefined => {
    const { id } = upstream.instance()
    const address = ServiceInstance.endpointKey(upstream.instance())
    for (const source of sources) {
      const server = servers.get(Catalog.key(source, id))
      if (server?.asked === true && ServiceInstance.endpointKey(server.upstream.instance()) === address) return server
    }
    return undefined
  }

  /** Reads what is wanted of a server until nothing more is; `done` before that is told. */
  const readAll = Effect.fnUntraced(function*(server: ListedServer.ListedServer, done: () => void) {
    while (server.wanted.size > 0) {
      const wanted = Array.from(server.wanted)
      server.wanted.clear()
      yield* permits.withPermits(1)(
        Effect.forEach(wanted, (kind) => ListedServer.read(server, kind, limits, now), {
          concurrency: "unbounded",
          discard: true
        })
      )
      server.asked = true
      unasked.delete(server)
      // The offers may be made of it at once, and then nobody is to wait for it any more.
      if (server.wanted.size === 0) done()
      yield* onChange
      yield* again(server)
    }
    // In one step with the look at what is wanted, so that no wish falls between the two.
    server.reading = false
  })

  /** Has read after a pause what could not be read. */
  const again = (server: ListedServer.ListedServer) =>
    Effect.suspend(() => {
      if (server.problems.size === 0) {
        server.failures = 0
        return Effect.void
      }
      const { key } = server.upstream
      const longest = Math.min(LongestPause, FirstPause * 2 ** server.failures++)
      const retried = Effect.suspend(() =>
        // Whoever is connected later is read then.
        server.upstream.state()._tag === "connected" ? want(key, server.problems.keys(), false) : Effect.void
      )
      return Effect.flatMap(
        Random.nextIntBetween(longest / 2, longest),
        (pause) => FiberMap.run(retries, key, Effect.delay(retried, pause))
      )
    })

  /** Has a list read; whoever waits for what is behind waits for it, unless it is read only because it is old. */
  const want = (key: InstanceKey, wanted: Iterable<ListKind>, isAwaited = true): Effect.Effect<unknown> =>
    Effect.suspend(() => {
      const server = servers.get(key)
      if (server === undefined) return Effect.void
      for (const kind of wanted) server.wanted.add(kind)
      if (server.reading) return Effect.void
      server.reading = true
      let counts = isAwaited
      if (isAwaited) {
        awaited++
        onReading()
      }
      const done = () => {
        if (counts) awaited--
        counts = false
      }
      return FiberMap.run(
        readers,
        key,
        Effect.onExit(readAll(server, done), (exit) =>
          Effect.sync(() => {
            done()
            // A reading that came to its end said so itself, and the next one may be under way.
            if (Exit.isFailure(exit)) server.reading = false
          }))
      )
    })

  const take = (event: UpstreamEvent): Effect.Effect<unknown> => {
    switch (event._tag) {
      case "Opened": {
        const { upstream } = event
        const server = servers.get(upstream.key)
        if (server !== undefined) {
          server.upstream = upstream
          return Effect.void
        }
        const known = sameServer(upstream)
        sources.add(Catalog.sourceOf(upstream.key))
        const added = ListedServer.make(upstream, known, now())
        servers.set(upstream.key, added)
        if (!added.asked) unasked.add(added)
        return known === undefined ? Effect.void : onChange
      }
      case "Connected":
        return want(event.upstream.key, listKinds)
      case "Failed": {
        const server = servers.get(event.upstream.key)
        if (server === undefined || server.asked) return Effect.void
        server.asked = true
        unasked.delete(server)
        return onChange
      }
      case "Notified": {
        const kind = listKinds.find((kind) => event.notification.method === `notifications/${kind}/list_changed`)
        return kind === undefined ? Effect.void : want(event.upstream.key, [kind])
      }
      case "Closed": {
        const { key } = event
        const ended = Effect.andThen(FiberMap.remove(retries, key), FiberMap.remove(readers, key))
        // Still announced: it moved, and what it listed stays until it is asked at its new address.
        if (HashMap.has(discovery.catalog().entries, key)) return ended
        const closed = servers.get(key)
        if (closed !== undefined) unasked.delete(closed)
        servers.delete(key)
        return Effect.andThen(ended, onChange)
      }
    }
  }
  yield* Effect.forkScoped(Stream.runForEach(upstreams.events, take))

  return {
    all: servers,
    unasked,
    isReading: () => awaited > 0,
    freshness: (kind) =>
      Effect.suspend(() => {
        const { freshness, outdated } = ListedServer.freshness(servers, kind, now(), maxAge())
        if (outdated.length === 0) return Effect.succeed(freshness)
        const list = kind === "resourceTemplates" ? "resources" : kind
        return Effect.as(Effect.forEach(outdated, (key) => want(key, [list], false), { discard: true }), freshness)
      })
  }
})

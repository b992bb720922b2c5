/**
 * What all announced servers offer: tools, resources, resource templates and prompts, replicas merged, under public names
 * with an exact table back.
 *
 * **Mental model**: each server is asked once when it is connected, and again when it says that a list changed. The
 * offers are made anew from what all of them listed, and whoever reads a list reads memory.
 *
 * **Gotchas**: announced is listed. Health never removes an offer, and neither does a lost connection: a server's last
 * good lists stay until its last instance is deregistered.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Registries } from "@portolan/core/Registries"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Fields } from "../JsonRpc.ts"
import type { Upstream } from "../upstream/Upstream.ts"
import { Upstreams } from "../upstream/Upstreams.ts"
import * as Listing from "./Listing.ts"
import type * as Merging from "./Merging.ts"
import * as Naming from "./Naming.ts"
import {
  type HiddenOffer,
  type ListKind,
  listKinds,
  type Offer,
  type OfferedCapabilities,
  type OfferKind
} from "./Offer.ts"
import * as Offers from "./Offers.ts"

export type { HiddenOffer, ListKind, Offer, OfferedCapabilities, OfferKind } from "./Offer.ts"

/**
 * An instance whose lists could not be read, and why.
 *
 * @category models
 * @since 0.1.0
 */
export interface Problem {
  readonly key: InstanceKey
  readonly reason: string
}

/**
 * Service that keeps the offers.
 *
 * @category services
 * @since 0.1.0
 */
export class ToolCatalog extends Context.Service<ToolCatalog, {
  /** All offers of a kind, in a deterministic order; the same array while nothing changed. Plain. */
  readonly list: (kind: OfferKind) => ReadonlyArray<Offer>
  /** Exact table: public name to offer. A resource that is not listed is found by the templates. Plain. */
  readonly find: (kind: OfferKind, publicName: string) => Offer | undefined
  /** Grows with each change of a list. Plain. */
  readonly revision: (kind: ListKind) => number
  /** One element per change; changes that come together are one. The first element is the first change after subscribing. */
  readonly changes: Stream.Stream<ReadonlySet<ListKind>>
  /** Waits until every announced server was asked once (or failed), at most `settleTimeout` after the first such wait. */
  readonly settled: Effect.Effect<void>
  readonly capabilities: () => OfferedCapabilities
  /** What is listed upstream and not offered. Plain. */
  readonly hidden: () => ReadonlyArray<HiddenOffer>
  /** Instances whose lists failed or are stale, with the reason, for `status`. Plain. */
  readonly problems: () => ReadonlyArray<Problem>
}>()("@portolan/mcp/catalog/ToolCatalog") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolCatalogOptions {
  readonly naming?: Partial<Naming.NamingOptions> | undefined
  readonly limits?: Partial<Listing.ListingLimits> | undefined
  /** How long the first list waits for servers that are still connecting, ms. Default 2,000. */
  readonly settleTimeout?: number | undefined
  /** Servers that are asked for their lists at the same time. Default 16. */
  readonly concurrency?: number | undefined
}

/** How long changes that come together are gathered, ms. Far below the 100 ms in which clients hear of them. */
const GatherTime = 20

/** What is known of one server. */
interface Server {
  upstream: Upstream
  readonly lists: Map<OfferKind, ReadonlyMap<string, Fields>>
  readonly problems: Map<ListKind, string>
  /** Kinds to read (again); a notice that comes while a list is read is not lost. */
  readonly wanted: Set<ListKind>
  /** A fiber reads it. */
  reading: boolean
  /** Asked once, whatever came of it. */
  asked: boolean
}

/**
 * Layer that keeps the offers of all upstreams.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options?: ToolCatalogOptions
): Layer.Layer<ToolCatalog, never, Upstreams | Discovery | Registries> =>
  Layer.effect(
    ToolCatalog,
    Effect.gen(function*() {
      const upstreams = yield* Upstreams
      const discovery = yield* Discovery
      const registries = yield* Registries
      const limits = { ...Listing.defaultLimits, ...options?.limits }

      const servers = new Map<InstanceKey, Server>()
      const offers = Offers.make({ ...Naming.defaults, ...options?.naming })
      let discovered = false

      // Says that something moved; what moved is read from the revisions, so one element of room is enough.
      const moved = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      const dirty = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      const readers = yield* FiberMap.make<InstanceKey>()
      const permits = yield* Semaphore.make(options?.concurrency ?? 16)

      const rebuild = Effect.sync(() => {
        const entries = discovery.catalog().entries
        const precedence = new Map(registries.members().map((member) => [member.registry.name, member.precedence]))
        const listed: Array<Merging.ListedInstance> = []
        for (const [key, server] of servers) {
          const entry = HashMap.get(entries, key)
          if (!server.asked || server.lists.size === 0 || Option.isNone(entry)) continue
          const { instance, source } = entry.value
          listed.push({ key, instance, precedence: precedence.get(source) ?? 0, lists: server.lists })
        }
        offers.rebuild(listed)
      })

      /** Reads what is wanted of a server until nothing more is. */
      const readAll = Effect.fnUntraced(function*(server: Server) {
        while (server.wanted.size > 0) {
          const wanted = Array.from(server.wanted)
          server.wanted.clear()
          const profile = server.upstream.state().profile
          yield* permits.withPermits(1)(
            Effect.forEach(wanted, (kind) => readList(server, kind, profile?.capabilities), {
              concurrency: "unbounded",
              discard: true
            })
          )
          server.asked = true
          yield* PubSub.publish(dirty, undefined)
        }
        // In one step with the look at what is wanted, so that no wish falls between the two.
        server.reading = false
      })

      const readList = (server: Server, kind: ListKind, capabilities: Fields | undefined) =>
        Effect.forEach(Listing.kinds[kind], (part) =>
          capabilities !== undefined && capabilities[kind] === undefined
            ? Effect.succeed([part, new Map<string, Fields>()] as const)
            : Effect.map(Listing.read(server.upstream, part, limits), (items) => [part, items] as const))
          .pipe(
            Effect.match({
              onSuccess: (read) => {
                server.problems.delete(kind)
                for (const [part, items] of read) server.lists.set(part, items)
              },
              onFailure: (error) => {
                server.problems.set(kind, error.reason)
              }
            })
          )

      const want = (key: InstanceKey, wanted: Iterable<ListKind>) =>
        Effect.suspend(() => {
          const server = servers.get(key)
          if (server === undefined) return Effect.void
          for (const kind of wanted) server.wanted.add(kind)
          if (server.reading) return Effect.void
          server.reading = true
          return FiberMap.run(
            readers,
            key,
            Effect.onExit(readAll(server), () => Effect.sync(() => void (server.reading = false)))
          )
        })

      yield* upstreams.events.pipe(
        Stream.runForEach((event) => {
          switch (event._tag) {
            case "Opened": {
              const server = servers.get(event.upstream.key)
              if (server !== undefined) {
                server.upstream = event.upstream
                return Effect.void
              }
              servers.set(event.upstream.key, {
                upstream: event.upstream,
                lists: new Map(),
                problems: new Map(),
                wanted: new Set(),
                reading: false,
                asked: false
              })
              return Effect.void
            }
            case "Connected":
              return want(event.upstream.key, listKinds)
            case "Failed": {
              const server = servers.get(event.upstream.key)
              if (server === undefined || server.asked) return Effect.void
              server.asked = true
              return Effect.asVoid(PubSub.publish(dirty, undefined))
            }
            case "Notified": {
              const kind = listKinds.find((kind) => event.notification.method === `notifications/${kind}/list_changed`)
              return kind === undefined ? Effect.void : want(event.upstream.key, [kind])
            }
            case "Closed":
              // Still announced: it moved, and what it listed stays until it is asked at its new address.
              if (HashMap.has(discovery.catalog().entries, event.key)) return FiberMap.remove(readers, event.key)
              servers.delete(event.key)
              return Effect.andThen(FiberMap.remove(readers, event.key), PubSub.publish(dirty, undefined))
          }
        }),
        Effect.forkScoped
      )

      // A record may change its version, service or source without its connection changing.
      yield* discovery.updates.pipe(
        Stream.filter((update) => update.changes.length > 0),
        Stream.runForEach(() => PubSub.publish(dirty, undefined)),
        Effect.forkScoped
      )
      yield* discovery.ready.pipe(
        Effect.andThen(Effect.sync(() => {
          discovered = true
        })),
        Effect.andThen(PubSub.publish(moved, undefined)),
        Effect.forkScoped
      )

      const rebuilds = yield* PubSub.subscribe(dirty)
      yield* PubSub.take(rebuilds).pipe(
        Effect.andThen(Effect.sleep(GatherTime)),
        Effect.andThen(rebuild),
        Effect.andThen(PubSub.publish(moved, undefined)),
        Effect.forever,
        Effect.forkScoped
      )

      const changes = Stream.unwrap(Effect.gen(function*() {
        const subscription = yield* PubSub.subscribe(moved)
        const seen = new Map(listKinds.map((kind) => [kind, offers.revision(kind)]))
        return Stream.fromSubscription(subscription).pipe(
          Stream.map((): ReadonlySet<ListKind> => {
            const changed = new Set(listKinds.filter((kind) => offers.revision(kind) !== seen.get(kind)))
            for (const kind of changed) seen.set(kind, offers.revision(kind))
            return changed
          }),
          Stream.filter((changed) => changed.size > 0)
        )
      }))

      const isSettled = () => {
        if (!discovered) return false
        for (const upstream of upstreams.all()) {
          if (servers.get(upstream.key)?.asked !== true) return false
        }
        return true
      }
      let expired = false
      const settled = Effect.suspend(() => {
        if (expired || isSettled()) return Effect.void
        return Effect.scoped(Effect.gen(function*() {
          const subscription = yield* PubSub.subscribe(moved)
          while (!isSettled()) yield* PubSub.take(subscription)
        })).pipe(
          Effect.timeoutOption(options?.settleTimeout ?? 2_000),
          Effect.andThen(Effect.sync(() => {
            expired = true
          }))
        )
      })

      return ToolCatalog.of({
        list: offers.list,
        find: offers.find,
        revision: offers.revision,
        changes,
        settled,
        capabilities: () => {
          const offered = { tools: false, resources: false, prompts: false, completions: false, logging: false }
          for (const upstream of upstreams.all()) {
            const capabilities = upstream.state().profile?.capabilities
            if (capabilities === undefined) continue
            offered.tools ||= capabilities["tools"] !== undefined
            offered.resources ||= capabilities["resources"] !== undefined
            offered.prompts ||= capabilities["prompts"] !== undefined
            offered.completions ||= capabilities["completions"] !== undefined
            offered.logging ||= capabilities["logging"] !== undefined
          }
          return offered
        },
        hidden: offers.hidden,
        problems: () =>
          Array.from(servers).flatMap(([key, server]) =>
            server.problems.size === 0 ? [] : [{ key, reason: Array.from(server.problems.values()).join("; ") }]
          )
      })
    })
  )

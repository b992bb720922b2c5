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
import * as Catalog from "@portolan/core/Catalog"
import type { InstanceKey } from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { pattern } from "@portolan/core/Query"
import { Registries } from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Upstream } from "../upstream/Upstream.ts"
import { isMcp, Upstreams } from "../upstream/Upstreams.ts"
import type * as Freshness from "./Freshness.ts"
import * as ListedServer from "./ListedServer.ts"
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
  /** What servers offer under a name of their own, also where another has its public name. Plain. */
  readonly named: (kind: OfferKind, name: string) => ReadonlyArray<Offer>
  /**
   * The tools that stand for a capability (a pattern, `*` allowed): those that its aliases name, in their order, and those
   * that bear its name. Plain.
   */
  readonly offering: (capability: string) => ReadonlyArray<Offer>
  /** Grows whenever an offer, or who has it, may have changed. Plain. */
  readonly version: () => number
  /** Grows with each change of a list. Plain. */
  readonly revision: (kind: ListKind) => number
  /** One element per change; changes that come together are one. The first element is the first change after subscribing. */
  readonly changes: Stream.Stream<ReadonlySet<ListKind>>
  /**
   * Waits until every announced server was asked once (or failed): at most `settleTimeout` after the first such wait, or
   * after the server was announced where that was later.
   */
  readonly settled: Effect.Effect<void>
  /**
   * How long a list may be kept, and by whom. Servers whose part of it is older than they allow are asked again, which is not
   * waited for.
   */
  readonly freshness: (kind: OfferKind) => Effect.Effect<Freshness.Freshness>
  readonly capabilities: () => OfferedCapabilities
  /** What is listed upstream and not offered. Plain. */
  readonly hidden: () => ReadonlyArray<HiddenOffer>
  /** Instances whose lists failed or are stale, with the reason, for `status`. Plain. */
  readonly problems: () => ReadonlyArray<Problem>
  /** Takes other settings; what an option doesn't say is its default. Clients hear of one change where the lists differ. */
  readonly reconfigure: (options: Pick<ToolCatalogOptions, "naming" | "groups" | "aliases">) => Effect.Effect<void>
}>()("@portolan/mcp/catalog/ToolCatalog") {}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface ToolCatalogOptions {
  readonly naming?: Partial<Naming.NamingOptions> | undefined
  /** Services that are one to clients: name of the group to names of its members. Default none. */
  readonly groups?: Merging.Groups | undefined
  /** Tools that stand for capabilities: capability to names of tools. Default none. */
  readonly aliases?: Readonly<Record<string, ReadonlyArray<string>>> | undefined
  readonly limits?: Partial<Listing.ListingLimits> | undefined
  /** How long the first list waits for servers that are still connecting, ms. Default 2,000. */
  readonly settleTimeout?: number | undefined
  /** Servers that are asked for their lists at the same time. Default 16. */
  readonly concurrency?: number | undefined
}

/** How long changes that come together are gathered, ms. Far below the 100 ms in which clients hear of them. */
const GatherTime = 20
/** How long they are gathered while a server that came with them has yet to be asked, ms. */
const LongestGatherTime = 70

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
      const clock = yield* Clock.Clock
      const now = () => clock.currentTimeMillisUnsafe()
      const limits = { ...Listing.defaultLimits, ...options?.limits }

      const servers = new Map<InstanceKey, ListedServer.ListedServer>()
      const unasked = new Set<ListedServer.ListedServer>()
      /** Names of the registries that servers came from. */
      const sources = new Set<string>()
      let naming: Naming.NamingOptions = { ...Naming.defaults, ...options?.naming }
      let groups = options?.groups ?? {}
      let aliases = options?.aliases ?? {}
      const offers = Offers.make(naming)
      offers.group(groups)
      let discovered = false

      // Says that something moved; what moved is read from the revisions, so one element of room is enough.
      const moved = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      const dirty = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      /** Epoch ms since when something is read, or changed since the offers were made last. */
      let behind: number | undefined
      let readings = 0
      const touch = Effect.suspend(() => {
        behind ??= clock.currentTimeMillisUnsafe()
        return Effect.asVoid(PubSub.publish(dirty, undefined))
      })
      const readers = yield* FiberMap.make<InstanceKey>()
      const permits = yield* Semaphore.make(options?.concurrency ?? 16)

      const rebuild = Effect.sync(() => {
        if (readings === 0) behind = undefined
        const entries = discovery.catalog().entries
        const precedence = new Map(registries.members().map((member) => [member.registry.name, member.precedence]))
        const listed: Array<Merging.ListedInstance> = []
        for (const [key, server] of servers) {
          const entry = HashMap.get(entries, key)
          if (!server.asked || server.lists.size === 0 || Option.isNone(entry)) continue
          const { instance, source } = entry.value
          const { lists, refused } = server
          listed.push({ key, instance, precedence: precedence.get(source) ?? 0, lists, refused })
        }
        offers.rebuild(listed)
      })

      /** Who has the same address under another key: it moves from one registry to another, with its lists. */
      const sameServer = (upstream: Upstream): ListedServer.ListedServer | undefined => {
        const { id } = upstream.instance()
        const address = ServiceInstance.endpointKey(upstream.instance())
        for (const source of sources) {
          const server = servers.get(Catalog.key(source, id))
          if (server?.asked === true && ServiceInstance.endpointKey(server.upstream.instance()) === address) {
            return server
          }
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
          yield* touch
        }
        // In one step with the look at what is wanted, so that no wish falls between the two.
        server.reading = false
      })

      /** Has a list read; whoever waits for what is behind waits for it, unless it is read only because it is old. */
      const want = (key: InstanceKey, wanted: Iterable<ListKind>, isAwaited = true) =>
        Effect.suspend(() => {
          const server = servers.get(key)
          if (server === undefined) return Effect.void
          for (const kind of wanted) server.wanted.add(kind)
          if (server.reading) return Effect.void
          server.reading = true
          let counts = isAwaited
          if (isAwaited) {
            readings++
            behind ??= now()
          }
          const done = () => {
            if (counts) readings--
            counts = false
          }
          return FiberMap.run(
            readers,
            key,
            Effect.onExit(readAll(server, done), () =>
              Effect.sync(() => {
                server.reading = false
                done()
              }))
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
              const known = sameServer(event.upstream)
              sources.add(Catalog.sourceOf(event.upstream.key))
              const added = ListedServer.make(event.upstream, known, now())
              servers.set(event.upstream.key, added)
              if (!added.asked) unasked.add(added)
              return known === undefined ? Effect.void : touch
            }
            case "Connected":
              return want(event.upstream.key, listKinds)
            case "Failed": {
              const server = servers.get(event.upstream.key)
              if (server === undefined || server.asked) return Effect.void
              server.asked = true
              unasked.delete(server)
              return touch
            }
            case "Notified": {
              const kind = listKinds.find((kind) => event.notification.method === `notifications/${kind}/list_changed`)
              return kind === undefined ? Effect.void : want(event.upstream.key, [kind])
            }
            case "Closed": {
              // Still announced: it moved, and what it listed stays until it is asked at its new address.
              if (HashMap.has(discovery.catalog().entries, event.key)) return FiberMap.remove(readers, event.key)
              const closed = servers.get(event.key)
              if (closed !== undefined) unasked.delete(closed)
              servers.delete(event.key)
              return Effect.andThen(FiberMap.remove(readers, event.key), touch)
            }
          }
        }),
        Effect.forkScoped
      )

      // A record may change its version, service or source without its connection changing.
      yield* discovery.updates.pipe(
        Stream.filter((update) => update.changes.length > 0),
        Stream.runForEach(() => touch),
        Effect.forkScoped
      )
      // So may the order of the registries, which decides who wins a name.
      yield* registries.changes.pipe(
        Stream.runForEach(() => touch),
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
      // Servers that were announced together are told of together, though each answers when it can.
      const gather = Effect.gen(function*() {
        const latest = clock.currentTimeMillisUnsafe() + LongestGatherTime
        yield* Effect.sleep(GatherTime)
        for (;;) {
          const now = clock.currentTimeMillisUnsafe()
          let until = now
          for (const { announced } of unasked) until = Math.max(until, announced + LongestGatherTime)
          until = Math.min(until, latest)
          if (until <= now) return
          yield* Effect.timeoutOption(PubSub.take(rebuilds), until - now)
        }
      })
      yield* PubSub.take(rebuilds).pipe(
        Effect.andThen(gather),
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

      const settleTimeout = options?.settleTimeout ?? 2_000
      let firstWait: number | undefined
      /** Revision of the catalog whose servers are all known here. */
      let opened = -1
      /** Whether a server is announced, and not opened yet. */
      const hasUnopened = (): boolean => {
        const { entries, revision } = discovery.catalog()
        if (revision === opened) return false
        for (const entry of HashMap.values(entries)) {
          if (!servers.has(entry.key) && isMcp(entry)) return true
        }
        opened = revision
        return false
      }
      /** How long it takes at most until nobody is waited for any more, ms. */
      const unsettled = (): number => {
        const now = clock.currentTimeMillisUnsafe()
        const since = firstWait ??= now
        let until = behind === undefined ? now : behind + settleTimeout
        if (!discovered) until = Math.max(until, since + settleTimeout)
        if (hasUnopened()) until = Math.max(until, now + settleTimeout)
        for (const { announced } of unasked) until = Math.max(until, Math.max(since, announced) + settleTimeout)
        return until - now
      }
      const settled = Effect.suspend(() => {
        if (unsettled() <= 0) return Effect.void
        return Effect.scoped(Effect.gen(function*() {
          const subscription = yield* PubSub.subscribe(moved)
          for (let left = unsettled(); left > 0; left = unsettled()) {
            yield* Effect.timeoutOption(PubSub.take(subscription), left)
          }
        })).pipe(Effect.timeoutOption(settleTimeout), Effect.asVoid)
      })

      const freshness = (kind: OfferKind) =>
        Effect.suspend(() => {
          const found = ListedServer.freshness(servers, kind, now())
          if (found.outdated.length === 0) return Effect.succeed(found.freshness)
          const list = kind === "resourceTemplates" ? "resources" : kind
          return Effect.as(
            Effect.forEach(found.outdated, (key) => want(key, [list], false), { discard: true }),
            found.freshness
          )
        })

      const named = (name: string) => offers.named("tools", name)
      const offering = (capability: string): ReadonlyArray<Offer> => {
        const matches = pattern(capability)
        const found = new Set<Offer>()
        for (const [alias, tools] of Object.entries(aliases)) {
          if (!matches(alias)) continue
          for (const offer of tools.flatMap(named)) found.add(offer)
        }
        if (!capability.includes("*")) { for (const offer of named(capability)) found.add(offer) }
        return Array.from(found)
      }

      return ToolCatalog.of({
        list: offers.list,
        find: offers.find,
        named: offers.named,
        offering,
        version: offers.version,
        revision: offers.revision,
        changes,
        settled,
        freshness,
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
          ),
        reconfigure: (next) =>
          Effect.suspend(() => {
            const wanted = { ...Naming.defaults, ...next.naming }
            const sameGroups = ServiceInstance.equals(next.groups ?? {}, groups)
            const sameNames = ServiceInstance.equals(wanted, naming)
            if (sameNames && sameGroups && ServiceInstance.equals(next.aliases ?? {}, aliases)) return Effect.void
            aliases = next.aliases ?? {}
            if (!sameGroups) offers.group(groups = next.groups ?? {})
            if (!sameNames || !sameGroups) offers.rename(naming = wanted)
            return touch
          })
      })
    })
  )

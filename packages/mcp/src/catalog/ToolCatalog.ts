/**
 * What all announced servers offer: tools, resources, resource templates and prompts, replicas merged, under public names
 * with an exact table back.
 *
 * **Mental model**: each server is asked once when it is connected, and again when it says that a list changed, or a list is
 * used that may be out of date. The offers are made anew from what all of them listed, and whoever reads a list reads memory.
 *
 * **Gotchas**: announced is listed. Health never removes an offer, and neither does a lost connection: a server's last
 * good lists stay until its last instance is deregistered.
 *
 * @since 0.1.0
 */
import type { InstanceKey } from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { pattern } from "@portolan/core/Query"
import { type Member, Registries } from "@portolan/core/Registries"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { isMcp, Upstreams } from "../upstream/Upstreams.ts"
import * as Audiences from "./Audiences.ts"
import type * as Freshness from "./Freshness.ts"
import * as ListedServers from "./ListedServers.ts"
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
  /** All offers of a kind, in the order of their public names; the same array while nothing changed. Plain. */
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
  /** What servers offer besides to clients that can be asked. */
  readonly audiences: Audiences.Audiences
  readonly capabilities: () => OfferedCapabilities
  /** What is listed upstream and not offered. Plain. */
  readonly hidden: () => ReadonlyArray<HiddenOffer>
  /** Instances whose lists failed or are stale, with the reason, for `status`. Plain. */
  readonly problems: () => ReadonlyArray<Problem>
  /** Takes other settings; what an option doesn't say is its default. Clients hear of one change where the lists differ. */
  readonly reconfigure: (options: LiveOptions) => Effect.Effect<void>
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
  /**
   * How old a list may be whose server neither says how long it holds nor tells of changes, ms: used after that, it is read
   * again behind whoever uses it. Default 30,000.
   */
  readonly maxAge?: number | undefined
  /** How long the first list waits for servers that are still connecting, ms. Default 2,000. */
  readonly settleTimeout?: number | undefined
  /** Servers that are asked for their lists at the same time. Default 16. */
  readonly concurrency?: number | undefined
}

/**
 * The settings that may change while it runs.
 *
 * @category models
 * @since 0.2.0
 */
export type LiveOptions = Pick<ToolCatalogOptions, "naming" | "groups" | "aliases" | "maxAge">

const DefaultMaxAge = 30_000

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

      let naming: Naming.NamingOptions = { ...Naming.defaults, ...options?.naming }
      let groups = options?.groups ?? {}
      let aliases = options?.aliases ?? {}
      let maxAge = options?.maxAge ?? DefaultMaxAge
      /** Those that announce what is listed: one that was removed speaks for its instances until they are gone too. */
      let announcing: ReadonlyMap<string, Member> = new Map()
      const memberOf = (source: string): Member | undefined =>
        registries.members().find(({ registry }) => registry.name === source) ?? announcing.get(source)
      const emptyTable = () => Offers.make(naming, (source) => memberOf(source)?.registry)
      const offers = emptyTable()
      offers.group(groups)
      let discovered = false
      const limits = { ...Listing.defaultLimits, ...options?.limits }

      // Says that something moved; what moved is read from the revisions, so one element of room is enough.
      const moved = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      const dirty = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      /** Epoch ms since when something is read, or changed since the offers were made last. */
      let behind: number | undefined
      const touch = Effect.suspend(() => {
        behind ??= clock.currentTimeMillisUnsafe()
        return Effect.asVoid(PubSub.publish(dirty, undefined))
      })
      const servers = yield* ListedServers.make({
        upstreams,
        discovery,
        limits,
        concurrency: options?.concurrency ?? 16,
        maxAge: () => maxAge,
        onReading: () => {
          behind ??= clock.currentTimeMillisUnsafe()
        },
        onChange: touch
      })

      const rebuild = Effect.sync(() => {
        if (!servers.isReading()) behind = undefined
        const entries = discovery.catalog().entries
        const listed: Array<Merging.ListedInstance> = []
        const members = new Map<string, Member>()
        for (const [key, server] of servers.all) {
          const entry = HashMap.get(entries, key)
          if (!server.asked || server.lists.size === 0 || Option.isNone(entry)) continue
          const { instance, source } = entry.value
          const member = memberOf(source)
          if (member === undefined) continue
          members.set(source, member)
          const { lists, refused } = server
          listed.push({ key, instance, precedence: member.precedence, lists, refused })
        }
        announcing = members
        offers.rebuild(listed)
        audiences.rebuild(listed)
      })

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
          for (const { announced } of servers.unasked) until = Math.max(until, announced + LongestGatherTime)
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
          if (!servers.all.has(entry.key) && isMcp(entry)) return true
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
        for (const { announced } of servers.unasked) until = Math.max(until, Math.max(since, announced) + settleTimeout)
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

      const audiences = yield* Audiences.make({
        upstreams,
        limits,
        settleTimeout,
        offers,
        table: () => {
          const table = emptyTable()
          table.group(groups)
          return table
        },
        isSettled: () => unsettled() <= 0,
        moved,
        onChange: PubSub.publish(dirty, undefined)
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
        freshness: servers.freshness,
        audiences,
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
          Array.from(servers.all).flatMap(([key, server]) =>
            server.problems.size === 0 ? [] : [{ key, reason: Array.from(server.problems.values()).join("; ") }]
          ),
        reconfigure: (next) =>
          Effect.suspend(() => {
            maxAge = next.maxAge ?? DefaultMaxAge
            const wanted = { ...Naming.defaults, ...next.naming }
            const sameGroups = ServiceInstance.equals(next.groups ?? {}, groups)
            const sameNames = ServiceInstance.equals(wanted, naming)
            if (sameNames && sameGroups && ServiceInstance.equals(next.aliases ?? {}, aliases)) return Effect.void
            aliases = next.aliases ?? {}
            if (!sameGroups) groups = next.groups ?? {}
            naming = wanted
            for (const table of [offers, ...audiences.tables()]) {
              if (!sameGroups) table.group(groups)
              if (!sameNames || !sameGroups) table.rename(naming)
            }
            return touch
          })
      })
    })
  )

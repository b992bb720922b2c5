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
import type { Target } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
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
import * as Merging from "./Merging.ts"
import * as Naming from "./Naming.ts"
import * as UriTemplate from "./UriTemplate.ts"

/**
 * One thing that a service offers.
 *
 * @category models
 * @since 0.1.0
 */
export interface Offer {
  /** Name (tools, prompts), URI (resources) or URI template (templates) that clients use. */
  readonly publicName: string
  /** The same as the server knows it. */
  readonly name: string
  readonly service: string
  /** The definition as the server gave it, under its public name; unknown fields kept. */
  readonly definition: Fields
  /** One object per offer, reused: the router caches by it. Accepts exactly the instances that list it. */
  readonly target: Target
  /** Whether running it twice does no harm: `readOnlyHint` or `idempotentHint` for tools, always for the others. */
  readonly repeatable: boolean
  /** Instances that list it, now. Plain. */
  readonly instances: () => ReadonlyArray<InstanceKey>
}

export type OfferKind = "tools" | "resources" | "resourceTemplates" | "prompts"

/** List of which a `list_changed` notification speaks. */
export type ListKind = "tools" | "resources" | "prompts"

/**
 * Something that a server lists and clients don't see, and why: another service has the name, or calling it needs what
 * isn't relayed.
 *
 * @category models
 * @since 0.1.0
 */
export interface HiddenOffer {
  readonly kind: OfferKind
  readonly publicName: string
  readonly service: string
  /** One line. */
  readonly reason: string
}

/**
 * What the servers can do, taken together: what the relay may tell its clients (never invented).
 *
 * @category models
 * @since 0.1.0
 */
export interface OfferedCapabilities {
  readonly tools: boolean
  readonly resources: boolean
  readonly prompts: boolean
  readonly completions: boolean
  readonly logging: boolean
}

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

const offerKinds: ReadonlyArray<OfferKind> = ["tools", "resources", "resourceTemplates", "prompts"]
const listKinds: ReadonlyArray<ListKind> = ["tools", "resources", "prompts"]

/** How long changes that come together are gathered, ms. Far below the 100 ms in which clients hear of them. */
const GatherTime = 20

/** The field of a definition that holds its name. */
const nameField: Readonly<Record<OfferKind, string>> = {
  tools: "name",
  resources: "uri",
  resourceTemplates: "uriTemplate",
  prompts: "name"
}

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

/** An offer's lasting part: the router caches by its target. */
interface Standing {
  keys: ReadonlySet<InstanceKey>
  revision: number
  readonly target: Target
}

const isRepeatable = (kind: OfferKind, definition: Fields): boolean => {
  if (kind !== "tools") return true
  const annotations = definition["annotations"]
  if (typeof annotations !== "object" || annotations === null) return false
  return ("readOnlyHint" in annotations && annotations.readOnlyHint === true) ||
    ("idempotentHint" in annotations && annotations.idempotentHint === true)
}

/** A tool that can be called as a task only (2025-11-25, `execution.taskSupport`): no client could call it through us. */
const needsTask = (definition: Fields): boolean => {
  const execution = definition["execution"]
  return typeof execution === "object" && execution !== null && "taskSupport" in execution &&
    execution.taskSupport === "required"
}

const sameKeys = (a: ReadonlySet<InstanceKey>, b: ReadonlySet<InstanceKey>): boolean =>
  a.size === b.size && a.isSubsetOf(b)

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
      const naming = { ...Naming.defaults, ...options?.naming }
      const limits = { ...Listing.defaultLimits, ...options?.limits }

      const servers = new Map<InstanceKey, Server>()
      const standings = new Map<string, Standing>()
      const offers = new Map<OfferKind, ReadonlyArray<Offer>>(offerKinds.map((kind) => [kind, []]))
      const tables = new Map<OfferKind, ReadonlyMap<string, Offer>>()
      const revisions = new Map<ListKind, number>(listKinds.map((kind) => [kind, 0]))
      let hidden: ReadonlyArray<HiddenOffer> = []
      let templates: ReadonlyArray<{ readonly matches: (uri: string) => boolean; readonly offer: Offer }> = []
      let discovered = false

      // Says that something moved; what moved is read from the revisions, so one element of room is enough.
      const moved = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      const dirty = yield* Effect.acquireRelease(PubSub.sliding<void>({ capacity: 1 }), PubSub.shutdown)
      const readers = yield* FiberMap.make<InstanceKey>()
      const permits = yield* Semaphore.make(options?.concurrency ?? 16)

      const standing = (kind: OfferKind, item: Merging.Merged): Standing => {
        const id = `${kind}\u0000${item.service}\u0000${item.name}`
        const existing = standings.get(id)
        if (existing === undefined) {
          const made: Standing = {
            keys: item.keys,
            revision: 0,
            target: {
              service: item.service,
              accepts: (entry) => made.keys.has(entry.key),
              revision: () => made.revision
            }
          }
          standings.set(id, made)
          return made
        }
        if (!sameKeys(existing.keys, item.keys)) {
          existing.keys = item.keys
          existing.revision++
        }
        return existing
      }

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
        const changed = new Set<OfferKind>()
        const left: Array<HiddenOffer> = []
        const used = new Set<string>()
        for (const kind of offerKinds) {
          const merged = Merging.merge(listed, kind)
          const assigned = kind === "tools" || kind === "prompts"
            ? Naming.assign(merged, naming)
            : Naming.unchanged(merged)
          const previous = tables.get(kind)
          const list: Array<Offer> = []
          for (const { item, publicName, winner } of assigned) {
            if (winner !== undefined) {
              left.push({ kind, publicName, service: item.service, reason: `${winner.service} has the name` })
              continue
            }
            if (needsTask(item.definition)) {
              left.push({ kind, publicName, service: item.service, reason: "it runs as a task only" })
              continue
            }
            used.add(`${kind}\u0000${item.service}\u0000${item.name}`)
            const lasting = standing(kind, item)
            const definition = { ...item.definition, [nameField[kind]]: publicName }
            const before = previous?.get(publicName)
            list.push(
              before !== undefined && before.target === lasting.target &&
                ServiceInstance.equals(before.definition, definition)
                ? before
                : {
                  publicName,
                  name: item.name,
                  service: item.service,
                  definition,
                  target: lasting.target,
                  repeatable: isRepeatable(kind, definition),
                  instances: () => Array.from(lasting.keys)
                }
            )
          }
          const current = offers.get(kind) ?? []
          if (list.length === current.length && list.every((offer, index) => offer === current[index])) continue
          // Who offers it is no change of the list; only what clients see is.
          if (
            list.length !== current.length ||
            list.some((offer, index) => !ServiceInstance.equals(offer.definition, current[index]?.definition))
          ) {
            changed.add(kind)
          }
          offers.set(kind, list)
          tables.set(kind, new Map(list.map((offer) => [offer.publicName, offer])))
          if (kind === "resourceTemplates") {
            templates = list.flatMap((offer) => {
              const matches = UriTemplate.compile(offer.publicName)
              return matches === undefined ? [] : [{ matches, offer }]
            })
          }
        }
        for (const id of standings.keys()) {
          if (!used.has(id)) standings.delete(id)
        }
        hidden = left
        for (const kind of listKinds) {
          if (Listing.kinds[kind].some((part) => changed.has(part))) revisions.set(kind, (revisions.get(kind) ?? 0) + 1)
        }
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
        const seen = new Map(revisions)
        return Stream.fromSubscription(subscription).pipe(
          Stream.map((): ReadonlySet<ListKind> => {
            const changed = new Set(listKinds.filter((kind) => revisions.get(kind) !== seen.get(kind)))
            for (const kind of changed) seen.set(kind, revisions.get(kind) ?? 0)
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
        list: (kind) => offers.get(kind) ?? [],
        find: (kind, publicName) =>
          tables.get(kind)?.get(publicName) ??
            (kind === "resources" ? templates.find(({ matches }) => matches(publicName))?.offer : undefined),
        revision: (kind) => revisions.get(kind) ?? 0,
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
        hidden: () => hidden,
        problems: () =>
          Array.from(servers).flatMap(([key, server]) =>
            server.problems.size === 0 ? [] : [{ key, reason: Array.from(server.problems.values()).join("; ") }]
          )
      })
    })
  )

/**
 * What the REST API says of services, instances, tools and sources: plain values without secrets.
 *
 * @since 0.1.0
 */
import { Balancer } from "@portolan/core/Balancer"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Health, type InstanceHealth } from "@portolan/core/Health"
import { type Offer, ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { redact } from "../internal/redact.ts"
import type {
  HealthDetail,
  HealthView,
  InstanceView,
  MarkView,
  ServiceDetail,
  ServiceHealth,
  ServiceView,
  SourceView,
  StatusView,
  ToolView
} from "./Representations.ts"

// Writing a time is what a view costs most, and the same ones are told again and again.
const told = new Map<number, string>()
const mostTold = 4_096

const iso = (time: number): string => {
  let text = told.get(time)
  if (text !== undefined) return text
  if (told.size >= mostTold) told.clear()
  text = new Date(time).toISOString()
  told.set(time, text)
  return text
}

const byText = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

const distinct = (texts: Iterable<string>): ReadonlyArray<string> => Array.from(new Set(texts)).sort(byText)

const isRoutable = (status: InstanceHealth["status"]): boolean =>
  status === "healthy" || status === "degraded" || status === "unknown"

/**
 * Service that makes the views. All of it is plain reading of what is in memory.
 *
 * @category services
 * @since 0.1.0
 */
export class Views extends Context.Service<Views, {
  /** Entries in the order of lists: service, id, source. */
  readonly entries: () => ReadonlyArray<Catalog.CatalogEntry>
  readonly instance: (entry: Catalog.CatalogEntry) => InstanceView
  readonly services: () => ReadonlyArray<ServiceView>
  /** Of each service, how many of its instances may be called; in the order of their names. */
  readonly available: () => ReadonlyArray<{ readonly service: string; readonly available: number }>
  readonly service: (name: string) => typeof ServiceDetail.Type | undefined
  readonly serviceHealth: (name: string) => ServiceHealth | undefined
  readonly health: (entry: Catalog.CatalogEntry) => HealthDetail
  readonly mark: (key: Catalog.InstanceKey) => MarkView | undefined
  /** A moment of `Balancer.now()`, which circuits are told in, as epoch ms. */
  readonly timeOf: (moment: number) => number
  readonly entry: (key: Catalog.InstanceKey) => Catalog.CatalogEntry | undefined
  /** Entries with this id, of any source or of this one, in the order of lists. Looks at no others. */
  readonly withId: (id: string, source?: string) => ReadonlyArray<Catalog.CatalogEntry>
  /** The services that a tool belongs to: those that offer it and, where it is that of a group, the group. */
  readonly servicesOf: (offer: Offer) => ReadonlyArray<string>
  /** In the order of their names; those of which the test holds. */
  readonly tools: (test?: (offer: Offer) => boolean) => ReadonlyArray<ToolView>
  readonly tool: (name: string) => ToolView | undefined
  readonly sources: () => ReadonlyArray<SourceView>
  readonly status: () => Omit<StatusView, "version" | "ready" | "strained" | "configuration">
}>()("@portolan/gateway/rest/Views") {
  static readonly layer = Layer.effect(
    Views,
    Effect.gen(function*() {
      const balancer = yield* Balancer
      const clock = yield* Clock.Clock
      const discovery = yield* Discovery
      const health = yield* Health
      const tools = yield* ToolCatalog
      const upstreams = yield* Upstreams

      const order = (a: Catalog.CatalogEntry, b: Catalog.CatalogEntry) =>
        byText(a.instance.service, b.instance.service) || byText(a.instance.id, b.instance.id) ||
        byText(a.source, b.source)

      const entries = () => Array.from(HashMap.values(discovery.catalog().entries)).sort(order)

      const entry = (key: Catalog.InstanceKey) => Option.getOrUndefined(HashMap.get(discovery.catalog().entries, key))

      const withId = (id: string, source?: string) =>
        (source === undefined ? Array.from(discovery.catalog().sources.keys()) : [source])
          .flatMap((name) => entry(Catalog.key(name, id)) ?? [])
          .sort(order)

      // Asked twice, a moment is the same one: the difference is kept until the clock was set.
      let difference = 0
      const timeOf = (moment: number): number => {
        const now = clock.currentTimeMillisUnsafe() - balancer.now()
        if (Math.abs(now - difference) > 100) difference = now
        return Math.round(difference + moment)
      }

      const mark = (key: Catalog.InstanceKey): MarkView | undefined => {
        const known = health.mark(key)
        return known === undefined ? undefined : { ...known, at: iso(known.at) }
      }

      const state = (
        entry: Catalog.CatalogEntry,
        { changedAt, reason, score, status }: InstanceHealth
      ): HealthView => {
        const circuit = health.circuit(entry.key)
        const marked = mark(entry.key)
        return {
          status,
          score,
          reason,
          // Not seen yet.
          changedAt: iso(changedAt === 0 ? entry.firstSeen : changedAt),
          ...circuit === undefined || circuit.state === "closed" ? {} : {
            circuit: { state: circuit.state, until: iso(timeOf(circuit.until)) }
          },
          ...marked === undefined ? {} : { mark: marked }
        }
      }

      const instance = (entry: Catalog.CatalogEntry): InstanceView => {
        const upstream = upstreams.get(entry.key)?.state()
        return {
          ...redact(entry.instance),
          id: entry.instance.id,
          service: entry.instance.service,
          source: entry.source,
          alsoIn: entry.alsoIn,
          firstSeen: iso(entry.firstSeen),
          changedAt: iso(entry.changedAt),
          health: { ...checkOf(entry), ...state(entry, health.get(entry.key)) },
          stale: Option.isSome(Catalog.staleSince(discovery.catalog(), entry)),
          ...(upstream === undefined ? {} : {
            upstream: {
              state: upstream._tag,
              since: iso(upstream.since),
              ...(upstream.lastError === undefined || upstream._tag === "connected"
                ? {}
                : { error: upstream.lastError }),
              ...(upstream.profile === undefined ? {} : {
                protocolVersion: upstream.profile.protocolVersion,
                server: upstream.profile.serverInfo
              })
            }
          })
        }
      }

      const checkOf = ({ instance: { health } }: Catalog.CatalogEntry) => ({
        ...health?.path === undefined ? {} : { path: health.path },
        ...health?.interval === undefined ? {} : { interval: health.interval }
      })

      const detail = (entry: Catalog.CatalogEntry): HealthDetail => {
        const known = health.get(entry.key)
        const { checkedAt, latency, successRate } = known
        return {
          id: entry.instance.id,
          service: entry.instance.service,
          source: entry.source,
          stale: Option.isSome(Catalog.staleSince(discovery.catalog(), entry)),
          ...state(entry, known),
          ...checkedAt === undefined ? {} : { checkedAt: iso(checkedAt) },
          ...latency === undefined ? {} : { latency: Math.round(latency * 100) / 100 },
          ...successRate === undefined ? {} : { successRate }
        }
      }

      const servicesOf = (offer: Offer): ReadonlyArray<string> => offer.target.services ?? [offer.service]

      const offersByService = () => {
        const offers = new Map<string, Array<Offer>>()
        for (const offer of tools.list("tools")) {
          for (const service of servicesOf(offer)) {
            const known = offers.get(service)
            if (known === undefined) offers.set(service, [offer])
            else known.push(offer)
          }
        }
        return offers
      }

      const summary = (
        name: string,
        members: ReadonlyArray<Catalog.CatalogEntry>,
        offers: ReadonlyArray<Offer>
      ): ServiceView => ({
        name,
        kind: members[0]?.instance.kind ?? "mcp-server",
        versions: distinct(members.map((entry) => versionOf(entry))),
        instances: members.length,
        available: routable(members.map(({ key }) => key)),
        tools: offers.length,
        capabilities: distinct(members.flatMap((entry) => entry.instance.capabilities)),
        tags: distinct(members.flatMap((entry) => entry.instance.tags)),
        sources: distinct(members.map((entry) => entry.source))
      })

      const routable = (keys: Iterable<Catalog.InstanceKey>): number => {
        let count = 0
        for (const key of keys) if (isRoutable(health.status(key))) count++
        return count
      }

      const available = () =>
        Array.from(HashMap.values(discovery.catalog().services))
          .filter(({ entries }) => HashMap.size(entries) > 0)
          .map(({ entries, service }) => ({ service, available: routable(HashMap.keys(entries)) }))
          .sort((a, b) => byText(a.service, b.service))

      // A record without a version has this one; then what the server says of itself tells more.
      const versionOf = (entry: Catalog.CatalogEntry): string => {
        const announced = entry.instance.version
        const said = upstreams.get(entry.key)?.state().profile?.serverInfo["version"]
        return announced === "0.0.0" && typeof said === "string" ? said : announced
      }

      const services = () => {
        const offers = offersByService()
        return Array.from(HashMap.values(discovery.catalog().services))
          .filter((service) => HashMap.size(service.entries) > 0)
          .map((service) =>
            summary(service.service, Array.from(HashMap.values(service.entries)), offers.get(service.service) ?? [])
          )
          .sort((a, b) => byText(a.name, b.name))
      }

      const service = (name: string) => {
        const found = Option.getOrUndefined(HashMap.get(discovery.catalog().services, name))
        if (found === undefined || HashMap.size(found.entries) === 0) return undefined
        const members = Array.from(HashMap.values(found.entries)).sort(order)
        return { ...summary(name, members, offersByService().get(name) ?? []), instances: members.map(instance) }
      }

      const serviceHealth = (name: string): ServiceHealth | undefined => {
        const found = Option.getOrUndefined(HashMap.get(discovery.catalog().services, name))
        if (found === undefined || HashMap.size(found.entries) === 0) return undefined
        const instances = Array.from(HashMap.values(found.entries)).sort(order).map(detail)
        const statuses = { healthy: 0, degraded: 0, unhealthy: 0, draining: 0, down: 0, unknown: 0 }
        for (const { status } of instances) statuses[status]++
        return {
          service: name,
          available: instances.filter(({ status }) => isRoutable(status)).length,
          statuses,
          instances
        }
      }

      const tool = (offer: Offer): ToolView => {
        const annotations = offer.definition["annotations"]
        return {
          ...offer.definition,
          name: offer.publicName,
          service: offer.service,
          instances: offer.instances().map(idOf),
          readOnly: typeof annotations === "object" && annotations !== null && "readOnlyHint" in annotations &&
            annotations.readOnlyHint === true,
          repeatable: offer.repeatable
        }
      }

      const idOf = (key: Catalog.InstanceKey): string =>
        Option.match(HashMap.get(discovery.catalog().entries, key), {
          onNone: () => key.slice(key.indexOf("\u0000") + 1),
          onSome: (entry) => entry.instance.id
        })

      const sources = (): ReadonlyArray<SourceView> =>
        Array.from(discovery.catalog().sources.values(), (source) => ({
          name: source.name,
          type: source.type,
          state: source.state,
          since: iso(source.since),
          ...(source.lastHeard === undefined ? {} : { lastHeard: iso(source.lastHeard) }),
          instances: source.instances,
          rejected: source.rejected.map(({ id, reason }) => ({ id, reason })),
          reconnects: source.reconnects,
          held: source.held,
          ...(source.lastError === undefined ? {} : { error: source.lastError })
        }))

      const problems = (): StatusView["problems"] => {
        const reasons = new Map(tools.problems().map(({ key, reason }) => [key, reason]))
        for (const upstream of upstreams.all()) {
          const state = upstream.state()
          // While it is tried again, what failed last still holds.
          const fails = state._tag === "failed" || state._tag === "connecting" && state.lastError !== undefined
          if (fails) reasons.set(upstream.key, state.lastError ?? "not reachable")
        }
        return Array.from(reasons).flatMap(([key, reason]) => {
          const entry = Option.getOrUndefined(HashMap.get(discovery.catalog().entries, key))
          return entry === undefined
            ? []
            : [{ instance: entry.instance.id, service: entry.instance.service, source: entry.source, reason }]
        })
      }

      return Views.of({
        entries,
        instance,
        services,
        available,
        service,
        serviceHealth,
        health: detail,
        mark,
        timeOf,
        entry,
        withId,
        servicesOf,
        tools: (test = () => true) => tools.list("tools").filter(test).map(tool).sort((a, b) => byText(a.name, b.name)),
        tool: (name) => {
          const offer = tools.list("tools").find((offer) => offer.publicName === name)
          return offer === undefined ? undefined : tool(offer)
        },
        sources,
        status: () => ({
          sources: sources(),
          services: HashMap.size(discovery.catalog().services),
          instances: HashMap.size(discovery.catalog().entries),
          tools: tools.list("tools").length,
          resources: tools.list("resources").length,
          prompts: tools.list("prompts").length,
          problems: problems(),
          hidden: tools.hidden().map(({ kind, publicName, reason, service }) => ({
            kind,
            name: publicName,
            service,
            reason
          }))
        })
      })
    })
  )
}

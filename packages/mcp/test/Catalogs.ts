/**
 * The catalog of offers over scripted servers.
 */
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, HashMap, Layer, PubSub, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as ToolCatalog from "../src/catalog/ToolCatalog.ts"
import type { Reply } from "../src/JsonRpc.ts"
import type { ServerProfile, Upstream, UpstreamRequest } from "../src/upstream/Upstream.ts"
import { type UpstreamEvent, Upstreams } from "../src/upstream/Upstreams.ts"

export const profile: ServerProfile = {
  era: "handshake",
  protocolVersion: "2025-11-25",
  serverInfo: { name: "scripted", version: "1" },
  capabilities: { tools: {}, resources: {}, prompts: {} }
}

export const instance = (id: string, service: string, version = "1.0.0") =>
  ServiceInstance.make({ id, service, version, endpoint: { transport: "streamable-http", url: `http://${id}/mcp` } })

/** An upstream that answers from a function and counts what it is asked. */
export const scripted = (
  record: ServiceInstance.ServiceInstance,
  answer: (request: UpstreamRequest) => Effect.Effect<Reply>,
  given = profile
) => {
  const asked: Array<string> = []
  const upstream: Upstream = {
    key: Catalog.key("scripted", record.id),
    instance: () => record,
    state: () => ({ _tag: "connected", since: 0, lastError: undefined, profile: given }),
    connect: Effect.succeed(given),
    request: (request) =>
      Effect.suspend(() => {
        asked.push(request.method)
        return answer(request)
      }),
    notify: () => Effect.void,
    session: () => undefined,
    follow: () => Effect.succeed({ result: {} })
  }
  return { upstream, asked }
}

export const toolsOnly = (names: () => ReadonlyArray<string>) => (request: UpstreamRequest): Effect.Effect<Reply> =>
  Effect.succeed({
    result: request.method === "tools/list"
      ? { tools: names().map((name) => ({ name, inputSchema: { type: "object" } })) }
      : { resources: [], resourceTemplates: [], prompts: [] }
  })

const profileOf = (upstream: Upstream) => upstream.state().profile ?? profile

/** A registry that says nothing: what is announced in it is what a harness opens. */
export const registry = (name: string, allow?: Registry.AllowList): Registry.Registry =>
  Registry.make({ name, type: "scripted", list: Effect.never, watch: Stream.never, allow })

/** The catalog over scripted upstreams: what is announced is what was opened, in registries "scripted" and "other". */
export const harness = Effect.fnUntraced(function*(options?: ToolCatalog.ToolCatalogOptions) {
  const events = yield* PubSub.unbounded<UpstreamEvent>({ replay: 100 })
  const open = new Map<Catalog.InstanceKey, Upstream>()
  let forgotten = 0
  let entries = HashMap.empty<Catalog.InstanceKey, Catalog.CatalogEntry>()
  const registries = yield* Layer.build(Registries.layer)
  const { add } = yield* Effect.provide(Registries.Registries, registries)
  for (const name of ["scripted", "other"]) yield* add(registry(name))
  const context = yield* Layer.build(
    ToolCatalog.layer(options).pipe(Layer.provide([
      Layer.succeed(Upstreams, {
        get: (key) => open.get(key),
        all: () => Array.from(open.values()),
        revision: () => 0,
        changedSince: () => undefined,
        forget: () => void forgotten++,
        reconfigure: () => Effect.void,
        events: Stream.fromPubSub(events)
      }),
      Layer.mock(Discovery, {
        catalog: () => ({ ...Catalog.empty, entries }),
        updates: Stream.never,
        ready: Effect.void
      }),
      Layer.succeedContext(registries)
    ]))
  )
  const publish = (event: UpstreamEvent) => Effect.andThen(PubSub.publish(events, event), TestClock.adjust("1 second"))
  const entryOf = (upstream: Upstream): Catalog.CatalogEntry => ({
    key: upstream.key,
    instance: upstream.instance(),
    source: Catalog.sourceOf(upstream.key),
    alsoIn: [],
    firstSeen: 0,
    changedAt: 0,
    missingSince: undefined
  })
  return {
    /** Announced and connected, at this moment. */
    emit: (upstream: Upstream) => {
      open.set(upstream.key, upstream)
      entries = HashMap.set(entries, upstream.key, entryOf(upstream))
      return PubSub.publishAll(events, [{ _tag: "Opened", upstream }, {
        _tag: "Connected",
        upstream,
        profile: profileOf(upstream)
      }])
    },
    catalog: yield* Effect.provide(ToolCatalog.ToolCatalog, context),
    open: (upstream: Upstream) => {
      open.set(upstream.key, upstream)
      entries = HashMap.set(entries, upstream.key, entryOf(upstream))
      return Effect.andThen(
        publish({ _tag: "Opened", upstream }),
        publish({ _tag: "Connected", upstream, profile: profileOf(upstream) })
      )
    },
    announce: (upstream: Upstream) => {
      open.set(upstream.key, upstream)
      return publish({ _tag: "Opened", upstream })
    },
    close: (upstream: Upstream) => {
      open.delete(upstream.key)
      entries = HashMap.remove(entries, upstream.key)
      return publish({ _tag: "Closed", key: upstream.key })
    },
    publish,
    /** Replaces a registry, or adds one of another name, until the scope closes. */
    add: (registry: Registry.Registry) =>
      Effect.andThen(add(registry, { replace: true }), TestClock.adjust("1 second")),
    /** Sessions that are over. */
    forgotten: () => forgotten
  }
})

export const names = (catalog: ToolCatalog.ToolCatalog["Service"], kind: ToolCatalog.OfferKind = "tools") =>
  catalog.list(kind).map((offer) => offer.publicName)

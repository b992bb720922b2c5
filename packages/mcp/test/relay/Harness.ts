/**
 * The endpoint over scripted servers: the real router, and a catalog and upstreams by hand.
 */
import type { BalancerOptions } from "@portolan/core/Balancer"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Health, type HealthStatus } from "@portolan/core/Health"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import type { RouterOptions } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer, PubSub, Stream } from "effect"
import { request as httpRequest } from "node:http"
import * as Audiences from "../../src/catalog/Audiences.ts"
import type { Freshness } from "../../src/catalog/Freshness.ts"
import { type ListKind, type Offer, type OfferKind, ToolCatalog } from "../../src/catalog/ToolCatalog.ts"
import type { Era } from "../../src/Era.ts"
import type { Fields, JsonRpcNotification, Reply } from "../../src/JsonRpc.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import {
  type Caller,
  type ServerProfile,
  type Upstream,
  UpstreamError,
  type UpstreamRequest
} from "../../src/upstream/Upstream.ts"
import { type UpstreamEvent, Upstreams } from "../../src/upstream/Upstreams.ts"
import { listen } from "../upstream/Servers.ts"

export interface Scripted {
  readonly id: string
  readonly service?: string
  readonly era?: Era
  readonly capabilities?: Fields
  /** The session in which it keeps state, which it may begin anew; none: it keeps none. */
  readonly session?: (caller?: Caller) => symbol | undefined
  /** Whether it is connected. Default yes. */
  readonly connected?: () => boolean
  readonly answer: (request: UpstreamRequest) => Effect.Effect<Reply, UpstreamError>
}

/** A tool, prompt, resource or template that the servers of a service offer. */
export interface Offered {
  readonly kind?: OfferKind
  readonly name: string
  readonly service?: string
  readonly definition?: Fields
  readonly repeatable?: boolean
  readonly readOnly?: boolean | undefined
}

export interface Message {
  readonly id?: unknown
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: Record<string, unknown>
  readonly error?: { readonly code: number; readonly message: string; readonly data?: Record<string, unknown> }
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: string
  /** The JSON, or the `data` of each event. */
  readonly messages: ReadonlyArray<Message>
}

export const messagesOf = (type: string | undefined, text: string): ReadonlyArray<Message> => {
  if (text === "") return []
  if (type?.startsWith("text/event-stream") === true) {
    return text.split("\n").filter((line) => line.startsWith("data: ")).map((line) => JSON.parse(line.slice(6)))
  }
  return type?.startsWith("application/json") === true ? [JSON.parse(text)] : []
}

export interface Open {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly text: () => string
  readonly messages: () => ReadonlyArray<Message>
  readonly ended: () => boolean
  readonly close: () => void
  /** Stops reading. */
  readonly pause: () => void
}

/** Sends a request and gives the response as it opens. */
export const openRequest = (
  url: string,
  method: string,
  headers: Readonly<Record<string, string>>,
  body?: string | Buffer
): Effect.Effect<Open> =>
  Effect.callback<Open>((resume) => {
    const request = httpRequest(url, { method, headers, agent: false }, (response) => {
      let text = ""
      let ended = false
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => void (text += chunk))
      response.on("close", () => void (ended = true))
      response.on("error", () => {})
      const given = Object.fromEntries(
        Object.entries(response.headers).map(([name, value]) => [name, String(value)])
      )
      resume(Effect.succeed({
        status: response.statusCode ?? 0,
        headers: given,
        text: () => text,
        messages: () => messagesOf(given["content-type"], text.slice(0, text.lastIndexOf("\n\n") + 2)),
        ended: () => ended,
        close: () => request.destroy(),
        pause: () => void response.pause()
      }))
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end(body)
  })

/** Sends a request and gives the whole response. */
export const send = (
  url: string,
  method: string,
  headers: Readonly<Record<string, string>>,
  body?: string | Buffer
): Effect.Effect<Answer> =>
  Effect.callback<Answer>((resume) => {
    const request = httpRequest(url, { method, headers, agent: false }, (response) => {
      let text = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => void (text += chunk))
      response.on("end", () => {
        const given = Object.fromEntries(
          Object.entries(response.headers).map(([name, value]) => [name, String(value)])
        )
        resume(Effect.succeed({
          status: response.statusCode ?? 0,
          headers: given,
          text,
          messages: messagesOf(given["content-type"], text)
        }))
      })
    })
    request.on("error", (error) => resume(Effect.die(error)))
    request.end(body)
  })

export const both = { "content-type": "application/json", accept: "application/json, text/event-stream" }

/** The `_meta` of a request of the stateless era. */
export const envelope = (more: Fields = {}): Fields => ({
  "io.modelcontextprotocol/protocolVersion": "2026-07-28",
  "io.modelcontextprotocol/clientInfo": { name: "test", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
  ...more
})

/** Headers of the stateless era. */
export const modern = (method: string, name?: string): Record<string, string> => ({
  ...both,
  "mcp-protocol-version": "2026-07-28",
  "mcp-method": method,
  ...(name === undefined ? {} : { "mcp-name": name })
})

/** The endpoint over scripted servers. */
export const harness = Effect.fnUntraced(function*(given: {
  readonly servers: ReadonlyArray<Scripted>
  readonly offers: ReadonlyArray<Offered>
  readonly options?: McpEndpoint.McpEndpointOptions | undefined
  readonly balancing?: BalancerOptions | undefined
  readonly routing?: RouterOptions | undefined
  readonly settled?: Effect.Effect<void>
  readonly freshness?: Freshness
  readonly capabilities?: { readonly completions?: boolean; readonly logging?: boolean }
}) {
  const events = yield* PubSub.unbounded<UpstreamEvent>()
  const changes = yield* PubSub.unbounded<ReadonlySet<ListKind>>()
  const asked: Array<{ readonly id: string; readonly request: UpstreamRequest }> = []
  const revisions = new Map<ListKind, number>()
  const records = given.servers.map(({ id, service }) =>
    ServiceInstance.make({
      id,
      service: service ?? "svc",
      endpoint: { transport: "streamable-http", url: `http://${id}.invalid/mcp` }
    })
  )
  const upstreams = new Map<Catalog.InstanceKey, Upstream>(given.servers.map((server, index) => {
    const profile: ServerProfile = {
      era: server.era ?? "handshake",
      protocolVersion: server.era === "stateless" ? "2026-07-28" : "2025-11-25",
      serverInfo: { name: server.id, version: "1" },
      capabilities: server.capabilities ?? { tools: {}, logging: {} },
      get session() {
        return server.session?.()
      }
    }
    const key = Catalog.key("memory", server.id)
    const record = records[index]!
    return [key, {
      key,
      instance: () => record,
      state: () => ({
        _tag: server.connected?.() === false ? "connecting" : "connected",
        since: 0,
        lastError: undefined,
        profile
      }),
      connect: Effect.succeed(profile),
      request: (request) =>
        Effect.suspend(() => {
          asked.push({ id: server.id, request })
          if (request.session !== undefined && request.session !== server.session?.(request.caller)) {
            return new UpstreamError({ instance: server.id, phase: "notSent", reason: "over", sessionLost: true })
          }
          request.onSent?.()
          return request.method === "logging/setLevel" ? Effect.succeed({ result: {} }) : server.answer(request)
        }),
      notify: () => Effect.void,
      session: (caller) => server.session?.(caller),
      follow: () => Effect.succeed({ result: {} })
    }]
  }))

  let offers = new Map<OfferKind, Array<Offer>>()
  const setOffers = (list: ReadonlyArray<Offered>) => {
    const next = new Map<OfferKind, Array<Offer>>()
    for (const { definition, kind = "tools", name, readOnly = false, repeatable = false, service = "svc" } of list) {
      const publicName = kind === "tools" || kind === "prompts" ? `${service}__${name}` : name
      const field = kind === "resources" ? "uri" : kind === "resourceTemplates" ? "uriTemplate" : "name"
      const of = next.get(kind) ?? []
      of.push({
        publicName,
        name,
        service,
        definition: {
          [field]: publicName,
          ...(kind === "tools" ? { inputSchema: { type: "object" } } : { name: publicName }),
          ...definition
        },
        target: { service },
        readOnly,
        repeatable,
        instances: () =>
          Array.from(upstreams).flatMap(([key, upstream]) => upstream.instance().service === service ? [key] : []),
        has: (key) => upstreams.get(key)?.instance().service === service
      })
      next.set(kind, of)
    }
    for (const of of next.values()) of.sort((a, b) => a.publicName < b.publicName ? -1 : 1)
    offers = next
  }
  setOffers(given.offers)
  const catalog = ToolCatalog.of({
    list: (kind) => {
      const list = offers.get(kind) ?? []
      offers.set(kind, list)
      return list
    },
    find: (kind, name) => offers.get(kind)?.find((offer) => offer.publicName === name),
    named: () => [],
    offering: () => [],
    version: () => 0,
    revision: (kind) => revisions.get(kind) ?? 0,
    changes: Stream.fromPubSub(changes),
    settled: given.settled ?? Effect.void,
    freshness: () => Effect.succeed(given.freshness ?? { ttl: Infinity, silent: true, scope: "private" }),
    capabilities: () => ({
      tools: true,
      resources: true,
      prompts: true,
      completions: given.capabilities?.completions ?? true,
      logging: given.capabilities?.logging ?? true
    }),
    audiences: Audiences.none,
    hidden: () => [],
    problems: () => [],
    reconfigure: () => Effect.void
  })

  const context = yield* Layer.build(
    McpEndpoint.layer(given.options).pipe(
      Layer.provideMerge(Layer.mergeAll(
        Layer.succeed(ToolCatalog, catalog),
        Layer.succeed(Upstreams, {
          get: (key) => upstreams.get(key),
          all: () => Array.from(upstreams.values()),
          revision: () => 0,
          changedSince: () => undefined,
          forget: () => {},
          reconfigure: () => Effect.void,
          events: Stream.fromPubSub(events)
        }),
        MemoryRegistry.layer({ instances: records }).pipe(
          // Nobody here takes time to start again.
          Layer.provideMerge(
            Portolan.layer({
              balancing: given.balancing,
              routing: { backoff: { longest: "10 millis" }, ...given.routing }
            })
          )
        )
      ))
    )
  )
  const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
  const health = yield* Effect.provide(Health, context)
  yield* Effect.flatMap(Effect.provide(Discovery, context), (discovery) => discovery.ready)
  const server = yield* listen(endpoint.handle)

  const post = (body: unknown, headers: Readonly<Record<string, string>> = both) =>
    send(server.url, "POST", headers, typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body))

  /** Begins a session and gives the headers of its requests. */
  const initialize = (version = "2025-11-25", more: Readonly<Record<string, string>> = {}, capabilities: Fields = {}) =>
    Effect.map(
      post({
        jsonrpc: "2.0",
        id: 0,
        method: "initialize",
        params: { protocolVersion: version, capabilities, clientInfo: { name: "test", version: "1" } }
      }, { ...both, ...more }),
      (answer) => ({
        answer,
        headers: {
          ...both,
          ...more,
          "mcp-session-id": answer.headers["mcp-session-id"] ?? "",
          "mcp-protocol-version": version
        }
      })
    )

  /** Calls a method in the stateless era. */
  const stateless = (method: string, params: Fields = {}, meta: Fields = {}) => {
    const name = params["name"] ?? params["uri"]
    return post(
      { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope(meta) } },
      modern(method, typeof name === "string" ? name : undefined)
    )
  }

  return {
    url: server.url,
    server: server.server,
    endpoint,
    asked,
    post,
    initialize,
    stateless,
    setOffers,
    upstream: (id: string) => upstreams.get(Catalog.key("memory", id))!,
    mark: (id: string, as: "up" | "draining" | "down") =>
      health.override(Catalog.key("memory", id), as === "up" ? undefined : as, "by hand"),
    status: (id: string): HealthStatus => health.status(Catalog.key("memory", id)),
    /** It is connected again. */
    connect: (id: string) => {
      const upstream = upstreams.get(Catalog.key("memory", id))!
      return Effect.flatMap(
        upstream.connect,
        (profile) => PubSub.publish(events, { _tag: "Connected", upstream, profile })
      ).pipe(Effect.orDie)
    },
    emit: (id: string, notification: JsonRpcNotification) =>
      PubSub.publish(events, {
        _tag: "Notified",
        upstream: upstreams.get(Catalog.key("memory", id))!,
        notification
      }),
    change: (...kinds: ReadonlyArray<ListKind>) =>
      Effect.suspend(() => {
        for (const kind of kinds) revisions.set(kind, (revisions.get(kind) ?? 0) + 1)
        return PubSub.publish(changes, new Set(kinds))
      }),
    /** A change of which the catalog has yet to tell. */
    bump: (kind: ListKind) => void revisions.set(kind, (revisions.get(kind) ?? 0) + 1),
    tell: (kind: ListKind) => PubSub.publish(changes, new Set([kind])),
    removeUpstream: (id: string) => upstreams.delete(Catalog.key("memory", id)),
    /** It is no longer announced. */
    close: (id: string) => {
      const key = Catalog.key("memory", id)
      upstreams.delete(key)
      return PubSub.publish(events, { _tag: "Closed", key })
    }
  }
})

/** An answer of one text. */
export const text = (value: string): Reply => ({ result: { content: [{ type: "text", text: value }] } })

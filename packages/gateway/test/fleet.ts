/**
 * A gateway on a free port over a memory registry, with the real core, and an MCP side whose answers the test decides.
 */
import type * as Catalog from "@portolan/core/Catalog"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Gateway from "@portolan/gateway/Gateway"
import * as Audiences from "@portolan/mcp/catalog/Audiences"
import { type Offer, ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import { McpEndpoint } from "@portolan/mcp/relay/McpEndpoint"
import { Upstreams } from "@portolan/mcp/upstream/Upstreams"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import { request } from "node:http"

export const instance = (id: string, more: object = {}): ServiceInstance.ServiceInstance =>
  ServiceInstance.make({
    id,
    service: id.split("-")[0] ?? id,
    version: "1.4.0",
    endpoint: { transport: "streamable-http", url: `http://127.0.0.1:1/${id}` },
    ...more
  })

/** A registry that gives its snapshot when it is told to, if ever. */
export const silent = (name: string): Registry.Registry =>
  Registry.make({ name, type: "silent", list: Effect.never, watch: Stream.never })

/** A tool that these instances offer. */
export const offer = (
  service: string,
  name: string,
  instances: ReadonlyArray<Catalog.InstanceKey>,
  annotations: object = {}
): Offer => ({
  publicName: `${service}__${name}`,
  name,
  service,
  definition: {
    name: `${service}__${name}`,
    description: `does ${name}`,
    inputSchema: { type: "object" },
    annotations
  },
  target: { service },
  repeatable: true,
  readOnly: false,
  instances: () => instances,
  has: (key) => instances.includes(key)
})

/** An MCP side that answers nothing of note. */
export const endpoint: McpEndpoint["Service"] = {
  handle: (_, response) => response.end("mcp"),
  sse: {
    stream: (_, response, messages) => response.end(messages),
    message: (_, response) => response.end("message")
  },
  connect: () => ({ receive() {}, refuse() {}, isInFlight: () => false, onIdle: (wake) => wake(), close() {} }),
  limits: { maxBytes: 4 * 1024 * 1024, maxDepth: 128 },
  reconfigure: () => Effect.void,
  figures: () => ({ sessions: 1, streams: 2, callsInFlight: 3, calls: 4, failedCalls: 5, failovers: 6 }),
  drain: Effect.void
}

const catalogOf = (offers: ReadonlyArray<Offer>) =>
  Layer.succeed(
    ToolCatalog,
    ToolCatalog.of({
      list: (kind) => kind === "tools" ? offers : [],
      find: (kind, name) => kind === "tools" ? offers.find(({ publicName }) => publicName === name) : undefined,
      named: () => [],
      offering: () => [],
      version: () => 0,
      revision: () => 0,
      changes: Stream.never,
      settled: Effect.void,
      freshness: () => Effect.succeed({ ttl: Infinity, silent: true, scope: "private" }),
      capabilities: () => ({ tools: true, resources: false, prompts: false, completions: false, logging: false }),
      audiences: Audiences.none,
      hidden: () => [{ kind: "tools", publicName: "x", service: "b", reason: "a has the name" }],
      problems: () => [],
      reconfigure: () => Effect.void
    })
  )

/** A catalog without tools. */
export const toolCatalog = catalogOf([])

/** No connections at all. */
export const upstreams = Upstreams.of({
  get: () => undefined,
  all: () => [],
  revision: () => 0,
  changedSince: () => [],
  forget: () => {},
  reconfigure: () => Effect.void,
  events: Stream.never
})

export interface FleetOptions extends Gateway.ListenerOptions {
  readonly instances?: ReadonlyArray<ServiceInstance.ServiceInstance>
  readonly registries?: ReadonlyArray<Registry.Registry>
  readonly endpoint?: Partial<McpEndpoint["Service"]>
  readonly tools?: number
  /** What is offered; by default as many tools as are asked for. */
  readonly offers?: ReadonlyArray<Offer>
  /** Whether there is a registry in memory from the start. */
  readonly memory?: boolean
}

export const fleet = (options: FleetOptions) => {
  const offers = options.offers ?? Array.from(
    { length: options.tools ?? 2 },
    (_, index) => offer("weather", `tool_${String(index).padStart(4, "0")}`, [], { readOnlyHint: index === 0 })
  )
  const registries = Layer.effectDiscard(Effect.gen(function*() {
    const all = yield* Registries.Registries
    if (options.memory !== false) {
      yield* all.add(yield* MemoryRegistry.make({ trust: "full", instances: options.instances ?? [] }))
    }
    for (const registry of options.registries ?? []) yield* all.add(registry)
  }))
  const mcp = Layer.mergeAll(
    Layer.succeed(
      McpEndpoint,
      McpEndpoint.of({ ...endpoint, ...options.endpoint })
    ),
    catalogOf(offers),
    Layer.succeed(Upstreams, upstreams)
  )
  return Gateway.layerListener({ port: 0, ...options }).pipe(
    Layer.provideMerge(mcp),
    Layer.provideMerge(registries),
    Layer.provideMerge(Portolan.layer())
  )
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>
  readonly text: string
  readonly json: unknown
}

/** A request with headers as they are given: `fetch` would not let a test choose its Host. */
export const ask = (
  port: number,
  path: string,
  options: { readonly method?: string; readonly headers?: Record<string, string>; readonly body?: string } = {}
): Effect.Effect<Answer, Error> =>
  Effect.callback((resume) => {
    const outgoing = request(
      { host: "127.0.0.1", port, path, method: options.method ?? "GET", headers: options.headers ?? {}, agent: false },
      (response) => {
        let text = ""
        response.setEncoding("utf8").on("data", (chunk: string) => text += chunk)
        response.on("end", () =>
          resume(Effect.succeed({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: text !== "" && /json/.test(response.headers["content-type"] ?? "") ? JSON.parse(text) : undefined
          })))
      }
    )
    outgoing.on("error", (error) => resume(Effect.fail(error)))
    outgoing.end(options.body)
    return Effect.sync(() => outgoing.destroy())
  })

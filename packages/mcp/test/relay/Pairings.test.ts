/**
 * The official clients against the official servers, through everything that is real.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from "@modelcontextprotocol/client"
import { toNodeHandler } from "@modelcontextprotocol/node"
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport as Http1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { completable as completable1 } from "@modelcontextprotocol/sdk/server/completable.js"
import { McpServer as Server1, ResourceTemplate as Template1 } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { LoggingMessageNotificationSchema, ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js"
import {
  completable as completable2,
  createMcpHandler,
  McpServer as Server2,
  ResourceTemplate as Template2
} from "@modelcontextprotocol/server"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import type { RequestListener } from "node:http"
import { fileURLToPath } from "node:url"
import * as z from "zod"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { eventually } from "../upstream/Harness.ts"
import { body, json, listen } from "../upstream/Servers.ts"

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }))

interface OfficialServer {
  readonly handler: RequestListener
  readonly figures: { calls: number; cancelled: number; requests: number }
  /** Offers one tool more, and says so. */
  readonly grow: () => void
}

/** SDK 1.x with sessions. */
const handshake = (): OfficialServer => {
  const figures = { calls: 0, cancelled: 0, requests: 0 }
  const servers = new Set<Server1>()
  const transports = new Map<string, StreamableHTTPServerTransport>()
  let grown = false
  const make = () => {
    const server = new Server1({ name: "one", version: "1.0.0" }, { capabilities: { logging: {} } })
    server.registerTool(
      "echo",
      { inputSchema: { text: z.string() }, annotations: { readOnlyHint: true } },
      async ({ text }, extra) => {
        figures.calls++
        const progressToken = extra._meta?.progressToken
        if (progressToken !== undefined) {
          for (const progress of [1, 2]) {
            await extra.sendNotification({
              method: "notifications/progress",
              params: { progressToken, progress, total: 2 }
            })
          }
        }
        await extra.sendNotification({ method: "notifications/message", params: { level: "debug", data: "low" } })
        await extra.sendNotification({ method: "notifications/message", params: { level: "error", data: "high" } })
        return { content: [{ type: "text", text }] }
      }
    )
    server.registerTool("wait", {}, async (extra) => {
      figures.calls++
      await aborted(extra.signal)
      figures.cancelled++
      return { content: [] }
    })
    server.registerPrompt(
      "greet",
      {
        argsSchema: {
          who: completable1(z.string(), (value) => ["ann", "bob"].filter((name) => name.startsWith(value)))
        }
      },
      ({ who }) => ({ messages: [{ role: "user", content: { type: "text", text: `Hello ${who}` } }] })
    )
    server.registerResource("readme", "one://readme", {}, (uri) => ({ contents: [{ uri: uri.href, text: "read" }] }))
    server.registerResource(
      "note",
      new Template1("one://notes/{id}", { list: undefined }),
      {},
      (uri, { id }) => ({ contents: [{ uri: uri.href, text: `note ${String(id)}` }] })
    )
    if (grown) server.registerTool("grown", {}, () => ({ content: [] }))
    return server
  }
  const handler: RequestListener = (request, response) => {
    void (async () => {
      if (request.method === "POST") figures.requests++
      const known = transports.get(String(request.headers["mcp-session-id"]))
      if (known !== undefined) return known.handleRequest(request, response)
      if (request.method !== "POST") return json(response, 400, {})
      const parsed: unknown = JSON.parse(await body(request))
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => void transports.set(id, transport)
      })
      const server = make()
      servers.add(server)
      await server.connect(transport)
      await transport.handleRequest(request, response, parsed)
    })().catch((error: unknown) => json(response, 500, { error: String(error) }))
  }
  return {
    handler,
    figures,
    grow: () => {
      grown = true
      for (const server of servers) server.registerTool("grown", {}, () => ({ content: [] }))
    }
  }
}

/** SDK 2.x, the stateless era alone. */
const stateless = (): OfficialServer => {
  const figures = { calls: 0, cancelled: 0, requests: 0 }
  let grown = false
  const handler = createMcpHandler(() => {
    const server = new Server2({ name: "two", version: "2.0.0" }, {
      capabilities: { tools: { listChanged: true }, logging: {} }
    })
    server.registerTool(
      "echo",
      { inputSchema: z.object({ text: z.string() }), annotations: { readOnlyHint: true } },
      async ({ text }, ctx) => {
        figures.calls++
        const progressToken = ctx.mcpReq._meta?.progressToken
        if (progressToken !== undefined) {
          for (const progress of [1, 2]) {
            await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken, progress, total: 2 } })
          }
        }
        await ctx.mcpReq.log("debug", "low")
        await ctx.mcpReq.log("error", "high")
        return { content: [{ type: "text", text }] }
      }
    )
    server.registerTool("wait", { inputSchema: z.object({}) }, async (_, ctx) => {
      figures.calls++
      await aborted(ctx.mcpReq.signal)
      figures.cancelled++
      return { content: [] }
    })
    server.registerPrompt(
      "greet",
      {
        argsSchema: z.object({
          who: completable2(z.string(), (value) => ["ann", "bob"].filter((name) => name.startsWith(value)))
        })
      },
      ({ who }) => ({ messages: [{ role: "user", content: { type: "text", text: `Hello ${who}` } }] })
    )
    server.registerResource("readme", "two://readme", {}, (uri) => ({ contents: [{ uri: uri.href, text: "read" }] }))
    server.registerResource(
      "note",
      new Template2("two://notes/{id}", { list: undefined }),
      {},
      (uri, { id }) => ({ contents: [{ uri: uri.href, text: `note ${String(id)}` }] })
    )
    if (grown) server.registerTool("grown", { inputSchema: z.object({}) }, () => ({ content: [] }))
    return server
  }, { legacy: "reject" })
  const serve = toNodeHandler(handler)
  return {
    handler: (request, response) => {
      figures.requests++
      void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
    },
    figures,
    grow: () => {
      grown = true
      handler.notify.toolsChanged()
    }
  }
}

/** What the three clients have in common. */
interface Driver {
  readonly version: () => string | undefined
  readonly tools: () => Promise<ReadonlyArray<string>>
  readonly call: (
    name: string,
    args: Record<string, unknown>,
    options?: { readonly onProgress?: (value: number) => void; readonly signal?: AbortSignal }
  ) => Promise<string>
  readonly setLevel: (level: "debug" | "error") => Promise<unknown>
  readonly logs: Array<unknown>
  readonly notices: { count: number }
  readonly prompt: (name: string, who: string) => Promise<unknown>
  readonly complete: (name: string, value: string) => Promise<ReadonlyArray<string>>
  readonly read: (uri: string) => Promise<unknown>
  readonly templates: () => Promise<ReadonlyArray<string>>
  readonly resources: () => Promise<ReadonlyArray<string>>
  readonly close: () => Promise<void>
}

const info = { name: "test", version: "1.0.0" }
const textOf = (result: object): string => {
  const content: unknown = "content" in result ? result.content : undefined
  const first: unknown = Array.isArray(content) ? content[0] : undefined
  return typeof first === "object" && first !== null && "text" in first ? String(first.text) : ""
}

const sdk1 = async (url: string): Promise<Driver> => {
  const client = new Client1(info)
  const logs: Array<unknown> = []
  const notices = { count: 0 }
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void logs.push(params.data))
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void notices.count++)
  const transport = new Http1(new URL(url))
  // The SDK's own class doesn't fit its own interface under `exactOptionalPropertyTypes`.
  await client.connect(transport as Transport)
  return {
    version: () => transport.protocolVersion,
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, { onProgress, signal } = {}) =>
      textOf(
        await client.callTool({ name, arguments: args }, undefined, {
          ...(onProgress === undefined ? {} : { onprogress: ({ progress }) => onProgress(progress) }),
          ...(signal === undefined ? {} : { signal })
        })
      ),
    setLevel: (level) => client.setLoggingLevel(level),
    logs,
    notices,
    prompt: async (name, who) => (await client.getPrompt({ name, arguments: { who } })).messages[0]?.content,
    complete: async (name, value) =>
      (await client.complete({ ref: { type: "ref/prompt", name }, argument: { name: "who", value } })).completion
        .values,
    read: async (uri) => (await client.readResource({ uri })).contents[0],
    templates: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    close: async () => {
      await transport.terminateSession()
      await client.close()
    }
  }
}

const sdk2 = (mode: "legacy" | "auto") => async (url: string): Promise<Driver> => {
  const notices = { count: 0 }
  const logs: Array<unknown> = []
  const client = new Client2(info, {
    versionNegotiation: { mode },
    listChanged: { tools: { autoRefresh: false, debounceMs: 0, onChanged: () => void notices.count++ } }
  })
  client.setNotificationHandler("notifications/message", ({ params }) => void logs.push(params.data))
  const transport = new Http2(new URL(url))
  await client.connect(transport)
  // In the stateless era the level goes with each request.
  let meta: Record<string, unknown> | undefined
  return {
    version: () => client.getNegotiatedProtocolVersion(),
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    call: async (name, args, { onProgress, signal } = {}) =>
      textOf(
        await client.callTool({ name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) }, {
          ...(onProgress === undefined ? {} : { onprogress: ({ progress }) => onProgress(progress) }),
          ...(signal === undefined ? {} : { signal })
        })
      ),
    setLevel: async (level) => {
      if (mode === "legacy") await client.setLoggingLevel(level)
      else meta = { "io.modelcontextprotocol/logLevel": level }
    },
    logs,
    notices,
    prompt: async (name, who) => (await client.getPrompt({ name, arguments: { who } })).messages[0]?.content,
    complete: async (name, value) =>
      (await client.complete({ ref: { type: "ref/prompt", name }, argument: { name: "who", value } })).completion
        .values,
    read: async (uri) => (await client.readResource({ uri })).contents[0],
    templates: async () =>
      (await client.listResourceTemplates()).resourceTemplates.map(({ uriTemplate }) => uriTemplate),
    resources: async () => (await client.listResources()).resources.map(({ uri }) => uri),
    close: async () => {
      if (mode === "legacy") await transport.terminateSession()
      await client.close()
    }
  }
}

/** Everything real, in front of one server of each era. */
const gatewayWith = Effect.fnUntraced(function*(more: ReadonlyArray<ServiceInstance.ServiceInstance>) {
  const one = handshake()
  const two = stateless()
  const servers = { one, two }
  const instances: Array<ServiceInstance.ServiceInstance> = []
  for (const [id, { handler }] of Object.entries(servers)) {
    const { url } = yield* listen(handler)
    instances.push(ServiceInstance.make({ id, service: id, endpoint: { transport: "streamable-http", url } }))
  }
  instances.push(...more)
  const context = yield* Layer.build(
    McpEndpoint.layer().pipe(
      Layer.provideMerge(ToolCatalog.layer()),
      Layer.provideMerge(Upstreams.layer()),
      Layer.provideMerge(MemoryRegistry.layer({ instances, trust: "full" })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
  // Nobody waits long for a server that starts: under load a process takes its time.
  const catalog = yield* Effect.provide(ToolCatalog.ToolCatalog, context)
  yield* eventually(
    "the tools of all",
    () =>
      instances.every(({ service }) => catalog.list("tools").some((offer) => offer.service === service)) || undefined
  )
  const { url } = yield* listen(endpoint.handle)
  return { endpoint, servers, url }
})
const gateway = gatewayWith([])

const clients = [
  ["sdk 1.x", sdk1, "2025-11-25"],
  ["sdk 2.x legacy", sdk2("legacy"), "2025-11-25"],
  ["sdk 2.x auto", sdk2("auto"), "2026-07-28"]
] as const

const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

describe("official clients and servers", () => {
  for (const [name, connect, version] of clients) {
    it.live(`${name} uses servers of both eras`, () =>
      Effect.gen(function*() {
        const { endpoint, servers, url } = yield* gateway
        const client = yield* Effect.acquireRelease(
          promise(() => connect(url)),
          (client) => promise(() => client.close())
        )
        assert.strictEqual(client.version(), version)
        assert.deepStrictEqual(yield* promise(client.tools), ["one__echo", "one__wait", "two__echo", "two__wait"])
        assert.deepStrictEqual(yield* promise(client.resources), ["one://readme", "two://readme"])
        assert.deepStrictEqual(yield* promise(client.templates), ["one://notes/{id}", "two://notes/{id}"])
        yield* promise(() => client.setLevel("error"))
        for (const service of ["one", "two"] as const) {
          const { figures } = servers[service]
          client.logs.length = 0
          const progress: Array<number> = []
          const said = yield* promise(() =>
            client.call(`${service}__echo`, { text: "hi" }, { onProgress: (value) => progress.push(value) })
          )
          assert.deepStrictEqual([said, progress, figures.calls], ["hi", [1, 2], 1])
          yield* eventually(`${service}'s log message`, () => client.logs.length > 0 ? true : undefined)
          assert.deepStrictEqual(client.logs, ["high"])
          assert.deepStrictEqual(yield* promise(() => client.prompt(`${service}__greet`, "ann")), {
            type: "text",
            text: "Hello ann"
          })
          assert.deepStrictEqual(yield* promise(() => client.complete(`${service}__greet`, "a")), ["ann"])
          assert.deepStrictEqual(yield* promise(() => client.read(`${service}://readme`)), {
            uri: `${service}://readme`,
            text: "read"
          })
          assert.deepStrictEqual(yield* promise(() => client.read(`${service}://notes/7`)), {
            uri: `${service}://notes/7`,
            text: "note 7"
          })
          // Cancelling reaches the server.
          const controller = new AbortController()
          const waiting = client.call(`${service}__wait`, {}, { signal: controller.signal }).catch(() => "cancelled")
          yield* eventually("the call is on its way", () => figures.calls === 2 ? true : undefined)
          controller.abort()
          assert.strictEqual(yield* promise(() => waiting), "cancelled")
          yield* eventually("it is cancelled at the server", () => figures.cancelled === 1 ? true : undefined)
        }
        yield* eventually("nothing is in flight", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
        const before = [servers.one.figures.requests, servers.two.figures.requests]
        for (let round = 0; round < 20; round++) yield* promise(client.tools)
        assert.deepStrictEqual([servers.one.figures.requests, servers.two.figures.requests], before)
        // One notice per change.
        yield* eventually("a stream for notices", () => endpoint.figures().streams === 1 ? true : undefined)
        for (const [service, count] of [["one", 1], ["two", 2]] as const) {
          servers[service].grow()
          yield* eventually(`${service}'s notice`, () => client.notices.count === count ? true : undefined)
          assert.include(yield* promise(client.tools), `${service}__grown`)
        }
        yield* Effect.sleep(200)
        assert.strictEqual(client.notices.count, 2)
      }), 60_000)
  }
})

describe("log messages", () => {
  const connected = (connect: (typeof clients)[number][1], url: string) =>
    Effect.acquireRelease(promise(() => connect(url)), (client) => promise(() => client.close()))

  for (const [name, connect] of clients) {
    it.live(`of a child process reach ${name} once`, () =>
      Effect.gen(function*() {
        const { endpoint, url } = yield* gatewayWith([ServiceInstance.make({
          id: "child",
          service: "child",
          endpoint: {
            transport: "stdio",
            command: process.execPath,
            args: [fileURLToPath(new URL("../upstream/fixtures/modern.mjs", import.meta.url))]
          }
        })])
        const client = yield* connected(connect, url)
        yield* eventually("a stream for notices", () => endpoint.figures().streams === 1 ? true : undefined)
        yield* promise(() => client.setLevel("error"))
        yield* promise(() => client.call("child__echo", { text: "hi" }))
        yield* promise(() => client.call("child__grow", {}))
        // Came the same way, after the message.
        yield* eventually("the notice of the list", () => client.notices.count > 0 ? true : undefined)
        yield* eventually("the message", () => client.logs.length > 0 ? true : undefined)
        assert.deepStrictEqual(client.logs, ["said"])
      }), 30_000)
  }

  it.live("a call of one client leaves the level of another's", () =>
    Effect.gen(function*() {
      const { servers, url } = yield* gateway
      const talkative = yield* connected(sdk1, url)
      const quiet = yield* connected(sdk1, url)
      const { figures } = servers.one
      const before = figures.requests
      yield* promise(() => talkative.setLevel("debug"))
      yield* eventually("the server is told", () => figures.requests > before ? true : undefined)
      yield* promise(() => quiet.setLevel("error"))
      yield* promise(() => quiet.call("one__echo", { text: "hi" }))
      // The level, and the call: it is not told another one.
      assert.strictEqual(figures.requests, before + 2)
      assert.deepStrictEqual(quiet.logs, ["high"])
    }), 30_000)
})

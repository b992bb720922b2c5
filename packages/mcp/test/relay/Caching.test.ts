/**
 * What an official server says of how long its answers may be kept, through the whole gateway to official clients.
 */
import { assert, describe, it } from "@effect/vitest"
import { toNodeHandler } from "@modelcontextprotocol/node"
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import type { RequestListener } from "node:http"
import * as z from "zod"
import type { Freshness } from "../../src/catalog/Freshness.ts"
import { ToolCatalog } from "../../src/catalog/ToolCatalog.ts"
import { clients, connected, serve, Served } from "../Clients.ts"
import { eventually } from "../upstream/Harness.ts"
import { listen } from "../upstream/Servers.ts"
import { envelope, harness, modern, send } from "./Harness.ts"

/** SDK 2.x; counts what it is asked in the stateless era, and keeps quiet about changes where it shouldn't tell. */
const server = (hints: { readonly ttlMs: number; readonly cacheScope: "public" | "private" }, tells = true) => {
  const asked = new Map<string, number>()
  const tools = ["one"]
  let text = "first"
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: "hinted", version: "1.0.0" }, {
      capabilities: { tools: { listChanged: tells }, resources: { listChanged: tells } },
      cacheHints: { "tools/list": hints, "resources/list": hints, "resources/read": hints }
    })
    for (const name of tools) server.registerTool(name, { inputSchema: z.object({}) }, () => ({ content: [] }))
    server.registerResource("a", "test://a", {}, () => ({ contents: [{ uri: "test://a", text }] }))
    return server
  })
  const serve = toNodeHandler(handler)
  const listener: RequestListener = (request, response) => {
    const method = request.headers["mcp-method"]
    if (typeof method === "string") asked.set(method, (asked.get(method) ?? 0) + 1)
    void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
  }
  return {
    listener,
    asked: (method: string) => asked.get(method) ?? 0,
    grow: () => void tools.push("two"),
    change: (next: string) => void (text = next),
    notify: handler.notify
  }
}

const gateway = Effect.fnUntraced(function*(
  servers: Readonly<Record<string, RequestListener>>,
  metadata: Readonly<Record<string, string>> = {}
) {
  const instances: Array<ServiceInstance.ServiceInstance> = []
  for (const [id, listener] of Object.entries(servers)) {
    const { url } = yield* listen(listener)
    instances.push(ServiceInstance.make({ id, service: id, endpoint: { transport: "streamable-http", url }, metadata }))
  }
  const context = yield* Layer.build(
    Served.pipe(
      Layer.provideMerge(MemoryRegistry.layer({ instances })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  const url = yield* Effect.provideContext(serve, context)
  return {
    url,
    catalog: yield* Effect.provide(ToolCatalog, context),
    ask: (method: string, params: Readonly<Record<string, unknown>> = {}) => {
      const name = params["uri"]
      const body = { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: envelope() } }
      return Effect.map(
        send(url, "POST", modern(method, typeof name === "string" ? name : undefined), JSON.stringify(body)),
        ({ messages }) => messages.at(-1)?.result ?? {}
      )
    }
  }
})

describe("what may be kept", () => {
  it.live("of lists whose servers don't say is what is configured, and never longer than another one says", () =>
    Effect.gen(function*() {
      const of = (freshness: Freshness, listTtl?: number) =>
        Effect.gen(function*() {
          const { initialize, post, stateless } = yield* harness({
            servers: [],
            offers: [{ name: "t" }],
            freshness,
            options: { listTtl }
          })
          const { headers } = yield* initialize()
          const old = yield* post({ jsonrpc: "2.0", id: 1, method: "tools/list" }, headers)
          assert.deepStrictEqual(Object.keys(old.messages[0]?.result ?? {}), ["tools"])
          const { ttlMs } = (yield* stateless("server/discover")).messages[0]?.result ?? {}
          assert.strictEqual(ttlMs, listTtl ?? 0)
          return (yield* stateless("tools/list")).messages[0]?.result?.["ttlMs"]
        })
      const scope = "private"
      assert.strictEqual(yield* of({ ttl: Infinity, silent: true, scope }), 0)
      assert.strictEqual(yield* of({ ttl: Infinity, silent: true, scope }, 5_000), 5_000)
      assert.strictEqual(yield* of({ ttl: 1_000, silent: true, scope }, 5_000), 1_000)
      assert.strictEqual(yield* of({ ttl: 9_000, silent: false, scope }, 5_000), 9_000)
    }))

  it.live("of lists: the smallest time and the most private scope; nobody asks a server again for that", () =>
    Effect.gen(function*() {
      const long = server({ ttlMs: 60_000, cacheScope: "public" })
      const short = server({ ttlMs: 30_000, cacheScope: "private" })
      const { ask } = yield* gateway({ long: long.listener, short: short.listener })
      // On a busy machine the first list may come before both are connected.
      yield* ask("tools/list").pipe(
        Effect.repeat({ until: ({ tools }) => Array.isArray(tools) && tools.length === 2 }),
        Effect.timeout("20 seconds")
      )
      for (let round = 0; round < 20; round++) {
        const { cacheScope, tools, ttlMs } = yield* ask("tools/list")
        assert.strictEqual(Array.isArray(tools) && tools.length, 2)
        assert.deepStrictEqual([ttlMs, cacheScope], [30_000, "private"])
      }
      assert.deepStrictEqual([long.asked("tools/list"), short.asked("tools/list")], [1, 1])
      const alone = yield* gateway({ long: long.listener })
      assert.deepInclude(yield* alone.ask("tools/list"), { ttlMs: 60_000, cacheScope: "public" })
    }))

  it.live("of a list that its server doesn't tell of: read again once it is old, behind whoever asks", () =>
    Effect.gen(function*() {
      const quiet = server({ ttlMs: 300, cacheScope: "public" }, false)
      const { ask } = yield* gateway({ quiet: quiet.listener })
      assert.isAtMost(Number((yield* ask("tools/list"))["ttlMs"]), 300)
      quiet.grow()
      yield* Effect.sleep(310)
      assert.strictEqual((yield* ask("tools/list"))["ttlMs"], 0)
      yield* Effect.gen(function*() {
        const { tools } = yield* ask("tools/list")
        return Array.isArray(tools) && tools.length === 2
      }).pipe(Effect.repeat({ until: (grown) => grown }), Effect.timeout("10 seconds"))
    }))

  it.live("of a list of the handshake era: read again once it is old, where the server can't be heard", () =>
    Effect.gen(function*() {
      // It says that it tells of changes, and has no stream to tell them on.
      const unheard = server({ ttlMs: 0, cacheScope: "private" })
      const { ask, catalog } = yield* gateway({ unheard: unheard.listener }, { "mcp-era": "handshake" })
      const many = Effect.map(ask("tools/list"), ({ tools }) => Array.isArray(tools) ? tools.length : 0)
      assert.strictEqual(yield* many, 1)
      unheard.grow()
      yield* catalog.reconfigure({ maxAge: 100 })
      yield* many.pipe(Effect.repeat({ until: (count) => count === 2 }), Effect.timeout("10 seconds"))
    }))

  for (const [name, connect] of clients) {
    it.live(`of resources: ${name} reads what another read, until it changes`, () =>
      Effect.gen(function*() {
        const hinted = server({ ttlMs: 3_600_000, cacheScope: "public" })
        const { ask, url } = yield* gateway({ hinted: hinted.listener })
        assert.deepStrictEqual((yield* ask("resources/read", { uri: "test://a" }))["contents"], [{
          uri: "test://a",
          text: "first"
        }])
        hinted.change("second")
        const client = yield* connected(connect, url)
        const read = Effect.promise(() => client.read("test://a"))
        assert.include(JSON.stringify(yield* read), "first")
        assert.strictEqual(hinted.asked("resources/read"), 1)
        hinted.notify.resourcesChanged()
        yield* Effect.gen(function*() {
          return JSON.stringify(yield* ask("resources/read", { uri: "test://a" })).includes("second")
        }).pipe(Effect.repeat({ until: (is) => is }), Effect.timeout("10 seconds"))
        yield* eventually("the new one is kept", () => hinted.asked("resources/read") === 2 ? true : undefined)
      }))
  }
})

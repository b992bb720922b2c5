/**
 * What servers offer only to clients that can be asked, with the real reference server and the official client.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { McpServer, type RegisteredTool } from "@modelcontextprotocol/sdk/server/mcp.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  type ClientCapabilities,
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  ToolListChangedNotificationSchema
} from "@modelcontextprotocol/sdk/types.js"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import type { RequestListener } from "node:http"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { eventually } from "../upstream/Harness.ts"
import { body, json, listen } from "../upstream/Servers.ts"
import { envelope, modern, send } from "./Harness.ts"

const everything = {
  command: process.execPath,
  args: [fileURLToPath(import.meta.resolve("@modelcontextprotocol/server-everything/dist/index.js"))]
}

/** A gateway before one server; by default the reference server. */
const gateway = Effect.fnUntraced(function*(
  endpoint: ServiceInstance.Endpoint = { transport: "stdio", ...everything }
) {
  const instance = ServiceInstance.make({ id: "one", service: "one", endpoint })
  const context = yield* Layer.build(
    McpEndpoint.layer().pipe(
      Layer.provideMerge(ToolCatalog.layer({ naming: { naming: "none" }, settleTimeout: 20_000 })),
      Layer.provideMerge(Upstreams.layer()),
      Layer.provideMerge(MemoryRegistry.layer({ instances: [instance], trust: "full" })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  return (yield* listen((yield* Effect.provide(McpEndpoint.McpEndpoint, context)).handle)).url
})

/** A server that registers a tool once it knows that its client can sample, and tells of it at once. */
const conditional = () => {
  const open = new Map<string, StreamableHTTPServerTransport>()
  const sampled = new Set<RegisteredTool>()
  const servers = new Set<McpServer>()
  const figures = { opened: 0, ended: 0 }
  const answer = () => ({ content: [{ type: "text" as const, text: "done" }] })
  const session = () => {
    const server = new McpServer({ name: "conditional", version: "1.0.0" })
    server.registerTool("echo", {}, answer)
    server.server.oninitialized = () => {
      if (server.server.getClientCapabilities()?.sampling === undefined) return
      sampled.add(server.registerTool(name, {}, answer))
    }
    servers.add(server)
    return server
  }
  let name = "sample"
  const handler: RequestListener = (request, response) => {
    void (async () => {
      const id = request.headers["mcp-session-id"]
      const known = typeof id === "string" ? open.get(id) : undefined
      if (known !== undefined) {
        if (request.method === "DELETE") figures.ended++
        return await known.handleRequest(request, response)
      }
      if (request.method !== "POST") return json(response, 404, { error: "no such session" })
      const parsed: unknown = JSON.parse(await body(request))
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => {
          figures.opened++
          open.set(id, transport)
        }
      })
      await session().connect(transport as Transport)
      await transport.handleRequest(request, response, parsed)
    })().catch((error: unknown) => json(response, 500, { error: String(error) }))
  }
  return {
    handler,
    figures,
    /** The tool is called otherwise, and all clients are told that something changed. */
    rename: (next: string) => {
      name = next
      for (const tool of sampled) tool.update({ name: next })
      for (const server of servers) server.sendToolListChanged()
    }
  }
}

const connect = (capabilities: ClientCapabilities, transport: () => Transport) =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const client = new Client({ name: "test", version: "1.0.0" }, { capabilities })
      if (capabilities.sampling !== undefined) {
        client.setRequestHandler(CreateMessageRequestSchema, () => ({
          model: "mine",
          role: "assistant",
          content: { type: "text", text: "sampled here" }
        }))
      }
      if (capabilities.elicitation !== undefined) {
        client.setRequestHandler(ElicitRequestSchema, () => ({ action: "accept", content: { name: "elicited here" } }))
      }
      if (capabilities.roots !== undefined) {
        client.setRequestHandler(
          ListRootsRequestSchema,
          () => ({ roots: [{ uri: "file:///rooted/here", name: "rooted here" }] })
        )
      }
      await client.connect(transport())
      return client
    }),
    (client) => Effect.promise(() => client.close())
  )

const http = (url: string) => () => new StreamableHTTPClientTransport(new URL(url)) as Transport
const direct = () => new StdioClientTransport({ ...everything, stderr: "ignore" }) as Transport

const toolsOf = (client: Client) =>
  Effect.promise(async () => (await client.listTools()).tools.map(({ name }) => name).sort())

const called = (client: Client, name: string, args: Record<string, unknown> = {}) =>
  Effect.promise(() => client.callTool({ name, arguments: args }).then((result) => JSON.stringify(result), String))

const all: ClientCapabilities = { sampling: {}, elicitation: { form: {}, url: {} }, roots: {} }

describe("servers that offer more to clients that can be asked", () => {
  it.live("offer it through the gateway as they do directly, and reach the client", () =>
    Effect.gen(function*() {
      const url = yield* gateway()
      const silent = yield* connect({}, http(url))
      const before = yield* toolsOf(silent)
      assert.notInclude(before, "trigger-sampling-request")
      const running = { sampling: {}, tasks: { requests: { sampling: { createMessage: {} } } } }
      for (
        const capabilities of [all, { sampling: {} }, { elicitation: {} }, { roots: { listChanged: true } }, running]
      ) {
        const there = yield* connect(capabilities, direct)
        const here = yield* connect(capabilities, http(url))
        assert.deepStrictEqual(yield* toolsOf(here), yield* toolsOf(there), JSON.stringify(capabilities))
      }
      assert.deepStrictEqual(yield* toolsOf(silent), before)
      const client = yield* connect(all, http(url))
      assert.include(yield* called(client, "trigger-sampling-request", { prompt: "hello" }), "sampled here")
      assert.include(yield* called(client, "trigger-elicitation-request"), "elicited here")
      assert.include(yield* called(client, "get-roots-list"), "rooted here")
      assert.include(yield* called(silent, "trigger-sampling-request"), "Unknown tool")
    }), 60_000)

  it.live("are found by whoever calls without having listed, of either era", () =>
    Effect.gen(function*() {
      const url = yield* gateway()
      const client = yield* connect(all, http(url))
      assert.include(yield* called(client, "trigger-sampling-request", { prompt: "hello" }), "sampled here")
      const name = "trigger-elicitation-request"
      const ask = (capabilities: ClientCapabilities) =>
        Effect.map(
          send(
            url,
            "POST",
            modern("tools/call", name),
            JSON.stringify({
              jsonrpc: "2.0",
              id: 1,
              method: "tools/call",
              params: {
                name,
                arguments: {},
                _meta: envelope({ "io.modelcontextprotocol/clientCapabilities": capabilities })
              }
            })
          ),
          ({ messages }) => messages.at(-1)
        )
      assert.strictEqual((yield* ask({ elicitation: { form: {} } }))?.result?.["resultType"], "input_required")
      assert.strictEqual((yield* ask({}))?.error?.code, -32602)
    }), 60_000)

  it.live(
    "are asked over a connection that is closed again, and told of when it changes",
    () =>
      Effect.gen(function*() {
        const { figures, handler, rename } = conditional()
        const { url: at } = yield* listen(handler)
        const url = yield* gateway({ transport: "streamable-http", url: at })
        const told: Array<string> = []
        const hears = (client: Client, name: string) =>
          Effect.sync(() =>
            client.setNotificationHandler(ToolListChangedNotificationSchema, () => void told.push(name))
          )
        const silent = yield* connect({}, http(url))
        const client = yield* connect({ sampling: {} }, http(url))
        yield* hears(silent, "silent")
        yield* hears(client, "client")
        assert.deepStrictEqual(yield* toolsOf(silent), ["echo"])
        assert.deepStrictEqual(yield* toolsOf(client), ["echo", "sample"])
        yield* eventually("its end", () => figures.ended === 1 ? true : undefined)
        // The gateway's own, and that one. What was said on that one is no news to anybody.
        yield* Effect.sleep("1500 millis")
        assert.deepStrictEqual(figures, { opened: 2, ended: 1 })
        assert.deepStrictEqual(told, [])
        rename("other")
        yield* eventually("the notice", () => told.length > 0 ? true : undefined)
        assert.deepStrictEqual(yield* toolsOf(client), ["echo", "other"])
        assert.include(yield* called(client, "other"), "done")
        assert.deepStrictEqual(yield* toolsOf(silent), ["echo"])
        assert.deepStrictEqual(told, ["client"])
      }),
    60_000
  )

  it.live("are asked once, whatever they say of their lists meanwhile", () =>
    Effect.gen(function*() {
      const folder = yield* Effect.acquireRelease(
        Effect.promise(() => mkdtemp(join(tmpdir(), "portolan-audiences-"))),
        (folder) => Effect.promise(() => rm(folder, { recursive: true }))
      )
      const log = join(folder, "starts")
      const script = `require("node:fs").appendFileSync(${JSON.stringify(log)}, process.pid + "\\n")
        import(${JSON.stringify(everything.args[0])})`
      const url = yield* gateway({ transport: "stdio", command: process.execPath, args: ["-e", script] })
      const started = Effect.promise(async () => (await readFile(log, "utf8")).trim().split("\n").map(Number))
      const client = yield* connect(all, http(url))
      assert.include(yield* toolsOf(client), "trigger-sampling-request")
      // It tells of each tool that it registers for such a client, which would have it asked again after a second.
      yield* Effect.sleep("1500 millis")
      const [own = 0, second = 0, ...others] = yield* started
      assert.deepStrictEqual(others, [])
      const lives = (pid: number) => {
        try {
          return process.kill(pid, 0)
        } catch {
          return false
        }
      }
      assert.isTrue(lives(own))
      yield* eventually("its end", () => lives(second) ? undefined : true)
    }), 60_000)

  it.live("are found by `discovery/discover`, for these clients alone", () =>
    Effect.gen(function*() {
      const { url: at } = yield* listen(conditional().handler)
      const url = yield* gateway({ transport: "streamable-http", url: at })
      const discover = (capabilities: ClientCapabilities) =>
        Effect.map(
          send(
            url,
            "POST",
            modern("discovery/discover"),
            JSON.stringify({
              jsonrpc: "2.0",
              id: 1,
              method: "discovery/discover",
              params: { _meta: envelope({ "io.modelcontextprotocol/clientCapabilities": capabilities }) }
            })
          ),
          ({ text }) => text
        )
      assert.include(yield* discover({ sampling: {} }), "\"sample\"")
      assert.notInclude(yield* discover({}), "\"sample\"")
    }), 60_000)
})

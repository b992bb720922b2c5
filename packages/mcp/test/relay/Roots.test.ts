/**
 * Roots of official clients, which an official server asks for within a call and by itself, through everything that is real.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { ReadBuffer, serializeMessage } from "@modelcontextprotocol/sdk/shared/stdio.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  CallToolRequestSchema,
  ListRootsRequestSchema,
  ListRootsResultSchema,
  ListToolsRequestSchema,
  RootsListChangedNotificationSchema
} from "@modelcontextprotocol/sdk/types.js"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import type { RequestListener } from "node:http"
import { PassThrough } from "node:stream"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as StdioEndpoint from "../../src/relay/StdioEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { eventually } from "../upstream/Harness.ts"
import { body, json, listen } from "../upstream/Servers.ts"

/** A server that knows the roots of its clients: it asks when it is called, and when it is told that they changed. */
const makeServer = () => {
  /** What each session learned, in the order of it. */
  const learned: Array<Array<string>> = []
  const transports = new Map<string, StreamableHTTPServerTransport>()

  const make = () => {
    const mine: Array<string> = []
    learned.push(mine)
    const server = new Server({ name: "rooted", version: "1.0.0" }, { capabilities: { tools: {} } })
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: [{ name: "learn", inputSchema: { type: "object" } }]
    }))
    const learn = ({ roots }: { readonly roots: ReadonlyArray<{ readonly uri: string }> }) => {
      mine.push(roots.map(({ uri }) => uri).join(" "))
    }
    server.setRequestHandler(CallToolRequestSchema, async (_, { sendRequest }) => {
      learn(await sendRequest({ method: "roots/list" }, ListRootsResultSchema))
      return { content: [] }
    })
    server.setNotificationHandler(RootsListChangedNotificationSchema, async () => learn(await server.listRoots()))
    return server
  }

  const handler: RequestListener = (request, response) => {
    void (async () => {
      const known = transports.get(String(request.headers["mcp-session-id"]))
      if (known !== undefined) return known.handleRequest(request, response)
      if (request.method !== "POST") return json(response, 400, {})
      const parsed: unknown = JSON.parse(await body(request))
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => void transports.set(id, transport)
      })
      await make().connect(transport as Transport)
      await transport.handleRequest(request, response, parsed)
    })().catch((error: unknown) => json(response, 500, { error: String(error) }))
  }
  return { handler, learned, sessions: () => transports.size }
}

const gateway = Effect.gen(function*() {
  const server = makeServer()
  const { url } = yield* listen(server.handler)
  const instances = [ServiceInstance.make({
    id: "r",
    service: "r",
    endpoint: { transport: "streamable-http", url }
  })]
  const context = yield* Layer.build(
    McpEndpoint.layer().pipe(
      Layer.provideMerge(ToolCatalog.layer()),
      Layer.provideMerge(Upstreams.layer()),
      Layer.provideMerge(MemoryRegistry.layer({ instances, trust: "full" })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
  const served = yield* listen((request, response) => {
    if (request.url === "/sse") endpoint.sse.stream(request, response, "/messages")
    else if (request.url?.startsWith("/messages") === true) endpoint.sse.message(request, response)
    else endpoint.handle(request, response)
  })
  return { endpoint, server, origin: new URL(served.url).origin }
})

/** The client's end of standard streams that the endpoint serves. */
const pipe = Effect.fnUntraced(function*(endpoint: McpEndpoint.McpEndpoint["Service"]) {
  const input = new PassThrough()
  const output = new PassThrough()
  yield* StdioEndpoint.serve({ input, output }).pipe(
    Effect.provideService(McpEndpoint.McpEndpoint, endpoint),
    Effect.forkScoped({ startImmediately: true })
  )
  const read = new ReadBuffer()
  const transport: Transport = {
    start: async () => {
      output.on("data", (chunk: Buffer) => {
        read.append(chunk)
        for (let message = read.readMessage(); message !== null; message = read.readMessage()) {
          transport.onmessage?.(message)
        }
      })
    },
    send: async (message) => void input.write(serializeMessage(message)),
    close: async () => {
      input.end()
      transport.onclose?.()
    }
  }
  return transport
})

/** A client with roots that change. */
const connected = Effect.fnUntraced(function*(transport: Transport, first: string, listChanged = true) {
  const client = new Client({ name: "c", version: "1" }, { capabilities: { roots: { listChanged } } })
  let uri = first
  client.setRequestHandler(ListRootsRequestSchema, () => ({ roots: [{ uri }] }))
  yield* Effect.acquireRelease(
    Effect.promise(() => client.connect(transport)),
    () => Effect.promise(() => client.close())
  )
  return {
    call: Effect.promise(() => client.callTool({ name: "r__learn" })),
    change: (to: string) =>
      Effect.promise(async () => {
        uri = to
        // Past the client, which would refuse to say what it did not declare.
        await transport.send({ jsonrpc: "2.0", method: "notifications/roots/list_changed" })
      })
  }
})

describe("roots", () => {
  it.live("are asked for by a server within a call and by itself, of each client for itself", () =>
    Effect.gen(function*() {
      const { endpoint, origin, server } = yield* gateway
      const transports = {
        http: Effect.sync(() => new StreamableHTTPClientTransport(new URL(`${origin}/mcp`)) as Transport),
        sse: Effect.sync(() => new SSEClientTransport(new URL(`${origin}/sse`))),
        stdio: pipe(endpoint)
      }
      const own: Array<readonly [string, Effect.Success<ReturnType<typeof connected>>]> = []
      for (const [name, transport] of Object.entries(transports)) {
        for (const number of [1, 2]) {
          const client = yield* connected(yield* transport, `file:///${name}/${number}`)
          yield* client.call
          own.push([`file:///${name}/${number}`, client])
        }
      }
      const quiet = yield* connected(yield* transports.http, "file:///quiet", false)
      yield* quiet.call
      // One client tells of a change: one server session hears of it, asks, and learns.
      for (const [uri, { change }] of own) {
        yield* change(`${uri}/changed`)
        yield* eventually(
          "the server learns",
          () => server.learned.some((each) => each.join(",") === `${uri},${uri}/changed`) ? true : undefined
        )
      }
      // One that did not say that it would tell isn't heard: what was learned stays.
      yield* quiet.change("file:///quiet/changed")
      yield* own[0]?.[1].change("file:///last") ?? Effect.void
      yield* eventually(
        "the server learns",
        () => server.learned.some((each) => each.at(-1) === "file:///last") ? true : undefined
      )
      const learned = server.learned.filter((each) => each.length > 0).map((each) => each.join(",")).sort()
      assert.deepStrictEqual(learned, [
        "file:///http/1,file:///http/1/changed,file:///last",
        "file:///http/2,file:///http/2/changed",
        "file:///quiet",
        "file:///sse/1,file:///sse/1/changed",
        "file:///sse/2,file:///sse/2/changed",
        "file:///stdio/1,file:///stdio/1/changed",
        "file:///stdio/2,file:///stdio/2/changed"
      ])
      assert.strictEqual(endpoint.figures().sessions, 7)
    }))
})

/**
 * Servers of the older transports behind the gateway, each made with the official SDK.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import {
  CallToolRequestSchema,
  CallToolResultSchema,
  type JSONRPCMessage,
  ListToolsRequestSchema,
  ToolListChangedNotificationSchema
} from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import { createServer } from "node:http"
import { type WebSocket, WebSocketServer } from "ws"
import { directory, until, up } from "./process.ts"

/** What both servers offer and count. */
const counted = () => {
  const tools = ["count", "hang"]
  const figures = { hanging: 0, cancelled: 0 }
  const servers = new Set<Server>()
  const serve = async (transport: Transport) => {
    const server = new Server({ name: "old", version: "1.0.0" }, { capabilities: { tools: { listChanged: true } } })
    server.setRequestHandler(ListToolsRequestSchema, () => ({
      tools: tools.map((name) => ({ name, inputSchema: { type: "object" } }))
    }))
    server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
      if (params.name === "hang") {
        figures.hanging++
        await new Promise<void>((resolve) => {
          extra.signal.addEventListener("abort", () => {
            figures.cancelled++
            resolve()
          })
        })
      }
      const progressToken = params._meta?.progressToken
      for (const progress of progressToken === undefined ? [] : [1, 2, 3]) {
        await extra.sendNotification({
          method: "notifications/progress",
          params: { progressToken: progressToken ?? 0, progress, total: 3 }
        })
      }
      return { content: [{ type: "text", text: JSON.stringify(params.arguments) }] }
    })
    servers.add(server)
    await server.connect(transport)
  }
  return {
    figures,
    serve,
    add: (tool: string) => {
      tools.push(tool)
      for (const server of servers) void server.sendToolListChanged().catch(() => {})
    }
  }
}

/** The server's half of the SDK's WebSocketClientTransport. */
const transportOf = (socket: WebSocket): Transport => {
  const transport: Transport = {
    start: async () => {
      socket.on("message", (data: Buffer) => {
        const message: JSONRPCMessage = JSON.parse(data.toString("utf8"))
        transport.onmessage?.(message)
      })
      socket.on("close", () => transport.onclose?.())
    },
    send: (message) => new Promise((resolve) => socket.send(JSON.stringify(message), () => resolve())),
    close: async () => socket.close()
  }
  return transport
}

/** Both on one port. */
const servers = Effect.gen(function*() {
  const overSse = counted()
  const overWebSocket = counted()
  const sessions = new Map<string, SSEServerTransport>()
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "mcp" })
  sockets.on("connection", (socket) => void overWebSocket.serve(transportOf(socket)))
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://127.0.0.1")
    if (request.method === "GET" && pathname === "/sse") {
      const transport = new SSEServerTransport("/messages", response)
      sessions.set(transport.sessionId, transport)
      return void overSse.serve(transport)
    }
    const session = sessions.get(searchParams.get("sessionId") ?? "")
    if (session === undefined) return void response.writeHead(404).end()
    void session.handlePostMessage(request, response)
  })
  server.on(
    "upgrade",
    (request, raw, head) =>
      sockets.handleUpgrade(request, raw, head, (socket) => sockets.emit("connection", socket, request))
  )
  const port = yield* Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () =>
      Effect.sync(() => {
        for (const socket of sockets.clients) socket.terminate()
        server.close()
        server.closeAllConnections()
      })
  )
  return { overSse, overWebSocket, port }
})

describe("a configuration that names an SSE and a WebSocket server", () => {
  it.live("lists, calls with progress, cancels, and tells of changed lists", () =>
    Effect.gen(function*() {
      const { overSse, overWebSocket, port } = yield* servers
      const cwd = yield* directory({
        "portolan.yaml": [
          "mcpServers:",
          `  events: { type: sse, url: "http://127.0.0.1:${port}/sse" }`,
          `  fallback: { type: http, url: "http://127.0.0.1:${port}/sse" }`,
          `  socket: { type: ws, url: "ws://127.0.0.1:${port}/" }`,
          ""
        ].join("\n")
      })
      const gateway = yield* up([], { cwd })
      const client = yield* Effect.acquireRelease(
        Effect.promise(async () => {
          const client = new Client({ name: "portolan-test", version: "1.0.0" })
          await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", gateway.url)))
          return client
        }),
        (client) => Effect.promise(() => client.close())
      )
      let notices = 0
      client.setNotificationHandler(ToolListChangedNotificationSchema, () => void notices++)
      const names = () =>
        Effect.promise(async () => (await client.listTools()).tools.map((tool) => tool.name).toSorted())
      assert.deepStrictEqual(yield* names(), [
        "events__count",
        "events__hang",
        "fallback__count",
        "fallback__hang",
        "socket__count",
        "socket__hang"
      ])

      for (
        const [service, { figures }] of [["events", overSse], ["fallback", overSse], ["socket", overWebSocket]] as const
      ) {
        const seen: Array<number> = []
        const reply = yield* Effect.promise(() =>
          client.callTool({ name: `${service}__count`, arguments: { service } }, CallToolResultSchema, {
            onprogress: ({ progress }) => seen.push(progress)
          })
        )
        assert.deepStrictEqual(reply.content, [{ type: "text", text: JSON.stringify({ service }) }])
        assert.deepStrictEqual(seen, [1, 2, 3])

        const before = { ...figures }
        const abort = new AbortController()
        const hanging = client.callTool({ name: `${service}__hang` }, CallToolResultSchema, { signal: abort.signal })
        const ended = hanging.then(() => "replied", () => "gave up")
        yield* until(Effect.sync(() => figures.hanging === before.hanging + 1), 20_000)
        abort.abort()
        assert.strictEqual(yield* Effect.promise(() => ended), "gave up")
        yield* until(Effect.sync(() => figures.cancelled === before.cancelled + 1), 20_000)
      }

      for (const [tool, server] of [["events__more", overSse], ["socket__more", overWebSocket]] as const) {
        const before = notices
        server.add("more")
        yield* until(Effect.sync(() => notices > before), 20_000)
        yield* until(Effect.map(names(), (all) => all.includes(tool)), 20_000)
      }
    }), 120_000)
})

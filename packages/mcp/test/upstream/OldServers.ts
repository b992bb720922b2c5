/**
 * Servers of the older transports, made with the official SDK.
 */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { CallToolRequestSchema, type JSONRPCMessage, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { IncomingMessage, RequestListener } from "node:http"
import { type WebSocket, WebSocketServer } from "ws"
import * as Servers from "./Servers.ts"

/** What a server did. */
export interface Figures {
  opened: number
  initialized: number
  calls: number
  cancelled: number
}

const figuresOf = (): Figures => ({ opened: 0, initialized: 0, calls: 0, cancelled: 0 })

/** A server of the SDK with `echo`, which tells progress, and `slow`, which only ends when it is cancelled. */
const serverOf = (figures: Figures): Server => {
  const server = new Server({ name: "old", version: "1.0.0" }, {
    capabilities: { tools: { listChanged: true }, logging: {} }
  })
  server.oninitialized = () => void figures.initialized++
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: [{ name: "echo", inputSchema: { type: "object" } }, { name: "slow", inputSchema: { type: "object" } }]
  }))
  server.setRequestHandler(CallToolRequestSchema, async (request, extra) => {
    figures.calls++
    const token = request.params._meta?.progressToken
    if (request.params.name === "slow") {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 30_000)
        extra.signal.addEventListener("abort", () => {
          figures.cancelled++
          clearTimeout(timer)
          resolve()
        })
      })
    }
    if (token !== undefined) {
      for (const progress of [1, 2]) {
        await extra.sendNotification({ method: "notifications/progress", params: { progressToken: token, progress } })
      }
    }
    return { content: [{ type: "text", text: JSON.stringify(request.params.arguments ?? {}) }] }
  })
  return server
}

export interface Old {
  readonly url: string
  readonly port: number
  readonly figures: Figures
  /** Tells all clients that the tools have changed. */
  readonly notifyTools: () => void
  /** Cuts all connections. */
  readonly cut: () => void
  readonly stop: Effect.Effect<void>
}

/** HTTP+SSE: `/sse` and `/messages`. */
export const sseHandler = (make: (figures: Figures) => Server = serverOf) => {
  const figures = figuresOf()
  const sessions = new Map<string, { readonly transport: SSEServerTransport; readonly server: Server }>()
  const handler: RequestListener = (request, response) => {
    void (async () => {
      const url = new URL(request.url ?? "/", "http://127.0.0.1")
      if (request.method === "GET" && url.pathname === "/sse") {
        figures.opened++
        const transport = new SSEServerTransport("/messages", response)
        const server = make(figures)
        sessions.set(transport.sessionId, { transport, server })
        response.once("close", () => sessions.delete(transport.sessionId))
        return await server.connect(transport)
      }
      const session = sessions.get(url.searchParams.get("sessionId") ?? "")
      if (request.method !== "POST" || url.pathname !== "/messages") {
        return response.writeHead(404).end("Cannot " + request.method)
      }
      if (session === undefined) return response.writeHead(404).end("no such session")
      return await session.transport.handlePostMessage(request, response)
    })().catch(() => response.destroy())
  }
  return {
    figures,
    handler,
    forget: () => sessions.clear(),
    notifyTools: () => {
      for (const { server } of sessions.values()) void server.sendToolListChanged().catch(() => {})
    }
  }
}

export const sseOf = Effect.fnUntraced(function*(
  make?: (figures: Figures) => Server
): Effect.fn.Return<Old & { readonly forget: () => void }, never, Scope.Scope> {
  const { figures, forget, handler, notifyTools } = sseHandler(make)
  const running = yield* Servers.listen(handler)
  return {
    figures,
    forget,
    notifyTools,
    url: `http://127.0.0.1:${running.port}/sse`,
    port: running.port,
    cut: () => running.server.closeAllConnections(),
    stop: running.stop
  }
})

export const sse = sseOf()

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

export const webSocketServer = (figures: Figures, make: (figures: Figures) => Server = serverOf) => {
  const servers = new Set<Server>()
  const sockets = new WebSocketServer({ noServer: true, handleProtocols: () => "mcp" })
  sockets.on("connection", (socket) => {
    figures.opened++
    const server = make(figures)
    servers.add(server)
    socket.once("close", () => servers.delete(server))
    void server.connect(transportOf(socket))
  })
  return { sockets, servers }
}

export const webSocket = Effect.fnUntraced(function*(
  admits: (request: IncomingMessage) => boolean = () => true,
  make?: (figures: Figures) => Server
): Effect.fn.Return<Old, never, Scope.Scope> {
  const figures = figuresOf()
  const { servers, sockets } = webSocketServer(figures, make)
  const running = yield* Servers.listen((_, response) => void response.writeHead(404).end())
  running.server.on("upgrade", (request, socket, head) => {
    if (!admits(request)) {
      return socket.end("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }
    sockets.handleUpgrade(request, socket, head, (client) => sockets.emit("connection", client, request))
  })
  const cut = () => {
    for (const client of sockets.clients) client.terminate()
  }
  yield* Effect.addFinalizer(() => Effect.sync(cut))
  return {
    figures,
    url: `ws://127.0.0.1:${running.port}/mcp`,
    port: running.port,
    notifyTools: () => {
      for (const server of servers) void server.sendToolListChanged().catch(() => {})
    },
    cut,
    stop: Effect.suspend(() => {
      cut()
      return running.stop
    })
  }
})

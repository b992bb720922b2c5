/**
 * Servers made with the official SDKs, on 127.0.0.1 and free ports.
 */
import { toNodeHandler } from "@modelcontextprotocol/node"
import { Server as Server1 } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http"
import * as z from "zod"

export interface Running {
  readonly url: string
  readonly port: number
  readonly server: Server
  /** Closes everything, as a killed process does. */
  readonly stop: Effect.Effect<void>
}

/** Listens until the scope ends. */
export const listen = (handler: RequestListener, port = 0): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<Running>((resume) => {
      const server = createServer(handler)
      const stop = Effect.callback<void>((resume) => {
        server.close(() => resume(Effect.void))
        server.closeAllConnections()
      })
      server.listen(port, "127.0.0.1", () => {
        const address = server.address()
        const bound = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({ url: `http://127.0.0.1:${bound}/mcp`, port: bound, server, stop }))
      })
    }),
    ({ server, stop }) => server.listening ? stop : Effect.void
  )

export const body = async (request: IncomingMessage): Promise<string> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return text
}

export const json = (
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {}
) => {
  response.writeHead(status, { "content-type": "application/json", ...headers }).end(JSON.stringify(value))
}

/** SDK 1.x with sessions; counts what it ran. */
export const sessionful = () => {
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const figures = { initialized: 0, calls: 0, cancelled: 0, deleted: 0 }
  const servers = new Set<Server1>()

  const make = () => {
    const server = new Server1({ name: "sessionful", version: "1.0.0" }, {
      capabilities: { tools: { listChanged: true }, logging: {} }
    })
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
        await extra.sendNotification({
          method: "notifications/progress",
          params: { progressToken: token, progress: 1 }
        })
      }
      for (const level of ["debug", "error"] as const) {
        await extra.sendNotification({ method: "notifications/message", params: { level, data: level } })
      }
      return { content: [{ type: "text", text: JSON.stringify(request.params.arguments ?? {}) }] }
    })
    return server
  }

  const handler: RequestListener = (request, response) => {
    void (async () => {
      const id = request.headers["mcp-session-id"]
      if (typeof id === "string") {
        if (request.method === "DELETE") figures.deleted++
        const transport = sessions.get(id)
        if (transport === undefined) {
          return json(response, 404, {
            jsonrpc: "2.0",
            id: null,
            error: { code: -32001, message: "Session not found" }
          })
        }
        return transport.handleRequest(request, response)
      }
      if (request.method !== "POST") return json(response, 400, { error: "no session" })
      const parsed: unknown = JSON.parse(await body(request))
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => {
          figures.initialized++
          sessions.set(id, transport)
        }
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
    forget: () => sessions.clear(),
    notifyTools: () => Promise.all(Array.from(servers, (server) => server.sendToolListChanged().catch(() => {})))
  }
}

/** SDK 2.x, both eras unless told otherwise. */
export const modern = (options: { readonly legacy?: "stateless" | "reject" } = {}) => {
  const figures = { calls: 0, cancelled: 0 }
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name: "modern", version: "2.0.0" }, {
      capabilities: { tools: { listChanged: true }, logging: {} },
      instructions: "be kind"
    })
    server.registerTool("echo", { inputSchema: z.object({ text: z.string() }) }, async ({ text }, ctx) => {
      figures.calls++
      const token = ctx.mcpReq._meta?.progressToken
      if (token !== undefined) {
        await ctx.mcpReq.notify({ method: "notifications/progress", params: { progressToken: token, progress: 1 } })
      }
      await ctx.mcpReq.log("error", "said")
      return { content: [{ type: "text", text }] }
    })
    server.registerTool("slow", { inputSchema: z.object({}) }, async (_, ctx) => {
      figures.calls++
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 30_000)
        ctx.mcpReq.signal.addEventListener("abort", () => {
          figures.cancelled++
          clearTimeout(timer)
          resolve()
        })
      })
      return { content: [] }
    })
    server.registerPrompt("häuser 世界", {}, () => ({ messages: [] }))
    return server
  }, { legacy: options.legacy ?? "stateless" })
  const serve = toNodeHandler(handler)
  const listener: RequestListener = (request, response) =>
    void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
  return { handler: listener, notifyTools: () => handler.notify.toolsChanged(), figures }
}

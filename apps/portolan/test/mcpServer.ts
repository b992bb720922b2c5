/**
 * A server of the handshake era made with the official SDK 1.x: it enforces sessions, and counts what it is asked.
 */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"

export interface ServedTool {
  readonly name: string
  readonly description?: string
  readonly readOnly?: boolean
  readonly run?: (args: Record<string, unknown>) => string | Promise<string>
}

export interface ServeOptions {
  readonly tools: ReadonlyArray<ServedTool>
  /** Tools of a page; all by default. */
  readonly pageSize?: number
  /** A free one by default. */
  readonly port?: number
}

export interface Served {
  readonly url: string
  readonly port: number
  /** How often each method was asked. */
  readonly asked: (method: string) => number
  /** All requests but pings: those belong to the health checks. */
  readonly requests: () => number
  /** Forgets all sessions, as a restart does. */
  readonly forget: () => void
  /** Closes everything, as the end of a process does. */
  readonly stop: () => Promise<void>
  /** Listens again on the same port, with no session. */
  readonly restart: () => Promise<void>
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null

const methodOf = (message: unknown): string =>
  isObject(message) && "method" in message && typeof message.method === "string" ? message.method : ""

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return JSON.parse(text)
}

const refuse = (response: ServerResponse, status: number, code: number, message: string) =>
  void response.writeHead(status, { "content-type": "application/json" })
    .end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } }))

const serverOf = ({ pageSize, tools }: ServeOptions): Server => {
  const server = new Server({ name: "test", version: "1.0.0" }, { capabilities: { tools: {} } })
  server.setRequestHandler(ListToolsRequestSchema, ({ params }) => {
    const start = Number(params?.cursor ?? 0)
    const end = start + (pageSize ?? tools.length)
    return {
      tools: tools.slice(start, end).map(({ description, name, readOnly }) => ({
        name,
        ...(description === undefined ? {} : { description }),
        inputSchema: { type: "object" as const },
        ...(readOnly === true ? { annotations: { readOnlyHint: true } } : {})
      })),
      ...(end < tools.length ? { nextCursor: String(end) } : {})
    }
  })
  server.setRequestHandler(CallToolRequestSchema, async ({ params }) => {
    const tool = tools.find(({ name }) => name === params.name)
    return { content: [{ type: "text", text: await tool?.run?.(params.arguments ?? {}) ?? params.name }] }
  })
  return server
}

/** Serves until it is stopped. */
export const serve = async (options: ServeOptions): Promise<Served> => {
  const counts = new Map<string, number>()
  const sessions = new Map<string, StreamableHTTPServerTransport>()

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const body = request.method === "POST" ? await bodyOf(request) : undefined
    const method = body === undefined ? request.method ?? "" : methodOf(body)
    counts.set(method, (counts.get(method) ?? 0) + 1)
    const id = request.headers["mcp-session-id"]
    if (typeof id === "string") {
      const transport = sessions.get(id)
      if (transport === undefined) return refuse(response, 404, -32001, "Session not found")
      return transport.handleRequest(request, response, body)
    }
    if (method !== "initialize") return refuse(response, 400, -32000, "Bad Request: no valid session id")
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: () => randomUUID(),
      onsessioninitialized: (id) => void sessions.set(id, transport)
    })
    await serverOf(options).connect(transport)
    await transport.handleRequest(request, response, body)
  }

  const server = createServer((request, response) => void handle(request, response))
  const listen = (port: number) =>
    new Promise<number>((resolve, reject) => {
      server.once("error", reject).listen(port, "127.0.0.1", () => {
        const address = server.address()
        resolve(typeof address === "object" && address !== null ? address.port : 0)
      })
    })
  const port = await listen(options.port ?? 0)
  return {
    url: `http://127.0.0.1:${port}/mcp`,
    port,
    asked: (method) => counts.get(method) ?? 0,
    requests: () => counts.values().reduce((sum, count) => sum + count, 0) - (counts.get("ping") ?? 0),
    forget: () => sessions.clear(),
    stop: () =>
      new Promise((resolve) => {
        sessions.clear()
        server.close(() => resolve())
        server.closeAllConnections()
      }),
    restart: async () => void await listen(port)
  }
}

/** Serves until the scope closes. */
export const served = (options: ServeOptions): Effect.Effect<Served, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.promise(() => serve(options)), ({ stop }) => Effect.promise(stop))

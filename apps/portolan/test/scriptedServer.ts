/**
 * A server made with the official SDK 1.x, of which the test decides when it answers.
 */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import { CallToolRequestSchema, ListToolsRequestSchema } from "@modelcontextprotocol/sdk/types.js"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"

export interface Scripted {
  readonly url: string
  /** Calls of `steps` from now on end only when the result is called. */
  readonly hold: () => () => void
  /** Offers a further tool, and tells those who listen. */
  readonly add: (tool: string) => Promise<void>
  readonly figures: () => {
    /** Calls of `wait` that began, and that were cancelled. */
    readonly waiting: number
    readonly cancelled: number
    /** Calls of `steps` that are held. */
    readonly held: number
  }
}

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return JSON.parse(text)
}

/** Serves `echo`, `steps` (three steps of progress) and `wait` (until it is cancelled), until the scope closes. */
export const scripted: Effect.Effect<Scripted, never, Scope.Scope> = Effect.acquireRelease(
  Effect.promise(async () => {
    const tools = ["echo", "steps", "wait"]
    const sessions = new Map<string, StreamableHTTPServerTransport>()
    const servers = new Set<Server>()
    let gate: Promise<void> = Promise.resolve()
    let waiting = 0
    let cancelled = 0
    let held = 0

    const open = async (): Promise<StreamableHTTPServerTransport> => {
      const server = new Server({ name: "scripted", version: "1.0.0" }, {
        capabilities: { tools: { listChanged: true } }
      })
      server.setRequestHandler(
        ListToolsRequestSchema,
        () => ({ tools: tools.map((name) => ({ name, inputSchema: { type: "object" as const } })) })
      )
      server.setRequestHandler(CallToolRequestSchema, async ({ params }, { _meta, sendNotification, signal }) => {
        const progressToken = _meta?.progressToken
        if (params.name === "steps") {
          if (progressToken !== undefined) {
            for (const progress of [1, 2, 3]) {
              await sendNotification({
                method: "notifications/progress",
                params: { progressToken, progress, total: 3 }
              })
            }
          }
          held++
          await gate
        } else if (params.name === "wait") {
          waiting++
          await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }))
          cancelled++
        }
        return { content: [{ type: "text", text: params.name }] }
      })
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => void sessions.set(id, transport)
      })
      await server.connect(transport)
      servers.add(server)
      return transport
    }

    const handle = async (request: IncomingMessage, response: ServerResponse) => {
      const id = request.headers["mcp-session-id"]
      const transport = typeof id === "string" ? sessions.get(id) : await open()
      if (transport === undefined) return void response.writeHead(404).end()
      await transport.handleRequest(
        request,
        response,
        request.method === "POST" ? await bodyOf(request) : undefined
      )
    }
    const listener = createServer((request, response) => void handle(request, response))
    const url = await new Promise<string>((resolve) => {
      listener.listen(0, "127.0.0.1", () => {
        const address = listener.address()
        resolve(`http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/mcp`)
      })
    })
    return {
      url,
      hold: () => {
        const { promise, resolve } = Promise.withResolvers<void>()
        gate = promise
        return resolve
      },
      add: async (tool: string) => {
        tools.push(tool)
        for (const server of servers) await server.sendToolListChanged().catch(() => {})
      },
      figures: () => ({ waiting, cancelled, held }),
      stop: () => {
        listener.close()
        listener.closeAllConnections()
      }
    }
  }),
  ({ stop }) => Effect.sync(stop)
)

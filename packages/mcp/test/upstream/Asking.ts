/**
 * A server of the handshake era, made with the official SDK, that asks its client back.
 */
import { Server } from "@modelcontextprotocol/sdk/server/index.js"
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js"
import {
  CallToolRequestSchema,
  ElicitResultSchema,
  ListRootsResultSchema,
  ListToolsRequestSchema
} from "@modelcontextprotocol/sdk/types.js"
import { randomUUID } from "node:crypto"
import type { RequestListener, ServerResponse } from "node:http"
import * as z from "zod"
import * as Servers from "./Servers.ts"

const tools = ["who", "ask", "aside", "roots", "late", "answer", "wait", "count", "withdraw"]

/** One session of the server. What it counts is the session's. */
export const session = (): Server => {
  const server = new Server({ name: "asking", version: "1.0.0" }, {
    capabilities: { tools: { listChanged: true }, logging: {}, resources: { subscribe: true } }
  })
  let count = 0
  let answer: unknown = "none yet"
  server.setRequestHandler(ListToolsRequestSchema, () => ({
    tools: tools.map((name) => ({ name, inputSchema: { type: "object" } }))
  }))
  server.setRequestHandler(CallToolRequestSchema, async ({ params }, extra) => {
    const text = (value: unknown) => ({ content: [{ type: "text", text: JSON.stringify(value) }] })
    const elicitation = (message: string) => ({
      method: "elicitation/create" as const,
      params: { message, requestedSchema: { type: "object" as const, properties: {} } }
    })
    const said = String(params.arguments?.["say"] ?? "?")
    switch (params.name) {
      case "who":
        return text({ pid: process.pid, capabilities: server.getClientCapabilities() })
      case "count":
        return text(++count)
      case "ask":
        return text(await extra.sendRequest(elicitation(said), ElicitResultSchema))
      case "aside":
        // Belongs to no call, as far as the message tells.
        return text(await server.request(elicitation(said), ElicitResultSchema))
      case "roots":
        return text(await extra.sendRequest({ method: "roots/list" }, ListRootsResultSchema))
      case "late":
        // Once the call is over, and belonging to none.
        setTimeout(() => {
          server.request(elicitation(said), ElicitResultSchema).then(
            (result) => void (answer = result),
            (error: unknown) => void (answer = String(error))
          )
        }, 20)
        return text("soon")
      case "answer":
        return text(answer)
      case "withdraw": {
        const given = extra.sendRequest(elicitation(said), ElicitResultSchema, { timeout: 50 })
        return text(await given.then(() => "answered", () => "withdrawn"))
      }
      case "wait":
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, 30_000)
          extra.signal.addEventListener("abort", () => {
            clearTimeout(timer)
            resolve()
          })
        })
        return text("waited")
      default:
        throw new Error(`no tool ${params.name}`)
    }
  })
  server.setRequestHandler(
    z.object({ method: z.literal("resources/subscribe"), params: z.object({ uri: z.string() }) }),
    () => ({})
  )
  server.setRequestHandler(
    z.object({ method: z.literal("resources/unsubscribe"), params: z.object({ uri: z.string() }) }),
    () => ({})
  )
  return server
}

const faults: Readonly<Record<string, (response: ServerResponse, id: unknown, session: unknown) => void>> = {
  "no answer": (response) => response.destroy(),
  "500": (response, _, session) => Servers.json(response, 500, { error: `session ${session} is out of order` }),
  "ends amid its stream": (response) => {
    response.writeHead(200, { "content-type": "text/event-stream" })
    response.write(": here it comes\n\n", () => response.destroy())
  },
  "wrong id": (response) => Servers.json(response, 200, { jsonrpc: "2.0", id: "another's", result: {} }),
  "20 MB": (response, id) =>
    Servers.json(response, 200, {
      jsonrpc: "2.0",
      id,
      result: { content: [{ type: "text", text: "x".repeat(20_000_000) }] }
    })
}

/** What may go wrong with a request. */
export const faultNames = Object.keys(faults)

/** Over Streamable HTTP, with a session for each connection. The header `x-fault` names what goes wrong. */
export const http = () => {
  const open = new Map<string, { readonly transport: StreamableHTTPServerTransport; readonly server: Server }>()
  const figures = { opened: 0, ended: 0 }
  const handler: RequestListener = (request, response) => {
    void (async () => {
      const fault = request.headers["x-fault"]
      if (typeof fault === "string") {
        const { id }: { readonly id?: unknown } = JSON.parse(await Servers.body(request))
        return faults[fault]?.(response, id, request.headers["mcp-session-id"])
      }
      const id = request.headers["mcp-session-id"]
      if (typeof id === "string") {
        const known = open.get(id)
        if (known === undefined) return Servers.json(response, 404, { error: "no such session" })
        if (request.method === "DELETE") {
          figures.ended++
          open.delete(id)
        }
        return await known.transport.handleRequest(request, response)
      }
      if (request.method !== "POST") return Servers.json(response, 400, { error: "no session" })
      const parsed: unknown = JSON.parse(await Servers.body(request))
      const server = session()
      const transport = new StreamableHTTPServerTransport({
        sessionIdGenerator: () => randomUUID(),
        onsessioninitialized: (id) => {
          figures.opened++
          open.set(id, { transport, server })
        }
      })
      await server.connect(transport)
      await transport.handleRequest(request, response, parsed)
    })().catch((error: unknown) => Servers.json(response, 500, { error: String(error) }))
  }
  return {
    handler,
    figures,
    /** As a restart does. */
    forget: () => open.clear(),
    servers: () => Array.from(open.values(), ({ server }) => server)
  }
}

/** Servers of both eras that do wrong as no SDK does, behind everything that is real. */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import type { RequestListener, ServerResponse } from "node:http"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import type { Fields, Reply } from "../../src/JsonRpc.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import { body, json, listen } from "../upstream/Servers.ts"
import { form } from "./Asking.ts"
import { both, send, text } from "./Harness.ts"

interface Received {
  readonly id?: number | string
  readonly method?: string
  readonly params?: Fields & { readonly name?: string }
  readonly result?: Fields
  readonly error?: { readonly code: number; readonly message: string }
}

/** Bytes of a reply that is too long. */
const MaxMessage = 1_000_000

const elicit = { method: "elicitation/create", params: form("Who?") }

const begin = (response: ServerResponse) => response.writeHead(200, { "content-type": "text/event-stream" })

const line = (message: object) => `data: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`

/** What goes wrong with a call, by the name of the tool, in either era. */
const faults: Readonly<Record<string, (response: ServerResponse, id: unknown) => void>> = {
  "500": (response) => json(response, 500, { error: "out of order" }),
  "cut": (response) => void begin(response).write(": here it comes\n\n", () => response.destroy()),
  "wrongId": (response) => json(response, 200, { jsonrpc: "2.0", id: "another's", result: {} }),
  "noJson": (response) => void response.writeHead(200, { "content-type": "application/json" }).end("hello"),
  "huge": (response, id) =>
    json(response, 200, { jsonrpc: "2.0", id, result: { content: [], text: "x".repeat(2 * MaxMessage) } })
}

const required = (more: Fields): Reply => ({ result: { resultType: "input_required", ...more } })

/** What a server of the stateless era answers, for ever the same. */
const wants: Readonly<Record<string, Reply>> = {
  asksForEver: required({ inputRequests: { who: elicit }, requestState: "own" }),
  asksTenThousand: required({
    inputRequests: Object.fromEntries(
      Array.from({ length: 10_000 }, (_, index) => [`k${index}`, { method: "roots/list" }])
    )
  }),
  asksNonsense: required({ inputRequests: [1, 2], requestState: "own" }),
  asksNothing: required({})
}

/** What they have heard, and calls of `wait` that wait. */
const figures = () => ({ calls: 0, refused: 0, waiting: new Set<(reply: Reply) => void>() })

/** The handshake era. `ask` asks its client; `cutAsked` goes away then, `flood` asks and asks. */
const handshake = (told: ReturnType<typeof figures>): RequestListener => {
  const tools = ["ask", "wait", "cutAsked", "flood", ...Object.keys(faults)]
  const answers = new Map<unknown, (reply: Received) => void>()
  let questions = 0

  const call = (name: string, response: ServerResponse, id: unknown): void => {
    const ask = (done: (reply: Received) => void) => {
      const own = `q${++questions}`
      answers.set(own, done)
      response.write(line({ id: own, ...elicit }))
    }
    const end = (reply: Reply) => void response.end(line({ id, ...reply }))
    const fault = faults[name]
    if (fault !== undefined) return fault(response, id)
    begin(response).flushHeaders()
    if (name === "wait") return void told.waiting.add(end)
    if (name === "ask") return ask((reply) => end(text(JSON.stringify(reply.result ?? reply.error))))
    if (name === "cutAsked") {
      ask(() => {})
      return void setTimeout(() => response.destroy(), 50)
    }
    for (let count = 0; count < 10_000; count++) ask(() => {})
    setTimeout(() => end(text("asked enough")), 300)
  }

  return (request, response) => {
    if (request.method !== "POST") return void response.writeHead(405).end()
    void body(request).then((given) => {
      const message: Received = JSON.parse(given)
      const { error, id, method, params } = message
      const reply = (result: Fields) => json(response, 200, { jsonrpc: "2.0", id, result }, { "mcp-session-id": "s" })
      if (method === undefined || id === undefined) {
        if (error !== undefined) told.refused++
        answers.get(id)?.(message)
        answers.delete(id)
        return void response.writeHead(202).end()
      }
      switch (method) {
        case "initialize":
          return reply({
            protocolVersion: "2025-11-25",
            capabilities: { tools: {} },
            serverInfo: { name: "old", version: "1" }
          })
        case "tools/list":
          return reply({ tools: tools.map((name) => ({ name, inputSchema: { type: "object" } })) })
        case "tools/call":
          told.calls++
          return call(params?.name ?? "", response, id)
        default:
          return json(response, 200, { jsonrpc: "2.0", id, error: { code: -32601, message: "no" } })
      }
    })
  }
}

/** The stateless era. `endless` lists for ever. */
const stateless = (told: ReturnType<typeof figures>, endless = false): RequestListener => {
  const tools = ["wait", "task", ...Object.keys(wants), ...Object.keys(faults)]
  return (request, response) =>
    void body(request).then((given) => {
      const { id, method, params }: Received = JSON.parse(given === "" ? "{}" : given)
      const reply = ({ ...of }: Reply) => json(response, 200, { jsonrpc: "2.0", id, ...of })
      const result = (fields: Fields) => reply({ result: { resultType: "complete", ...fields } })
      switch (method) {
        case "server/discover":
          return result({
            supportedVersions: ["2026-07-28"],
            capabilities: { tools: {}, extensions: { "io.modelcontextprotocol/tasks": {} } },
            ttlMs: 0,
            cacheScope: "public"
          })
        case "tools/list": {
          const page = Number(params?.["cursor"] ?? 0) + 1
          const names = endless ? [`t${page}`] : tools
          return result({
            tools: names.map((name) => ({ name, inputSchema: { type: "object" } })),
            ...(endless ? { nextCursor: String(page) } : {}),
            ttlMs: 60_000,
            cacheScope: "public"
          })
        }
        case "tools/call": {
          told.calls++
          const name = params?.name ?? ""
          const at = { createdAt: "2026-11-21T00:00:00Z", lastUpdatedAt: "2026-11-21T00:00:00Z" }
          if (name === "wait") return void told.waiting.add(reply)
          if (name === "task") {
            return reply({ result: { resultType: "task", taskId: "t", status: "working", ttlMs: null, ...at } })
          }
          return faults[name] === undefined ? reply(wants[name] ?? text("?")) : faults[name](response, id)
        }
        default:
          return json(response, 404, { jsonrpc: "2.0", id, error: { code: -32601, message: "no" } })
      }
    })
}

/** A gateway over one server of each era, and one that never ends its list. */
export const gateway = Effect.fnUntraced(function*(options: McpEndpoint.McpEndpointOptions = {}) {
  const [old, modern] = [figures(), figures()]
  const servers = { old: handshake(old), new: stateless(modern), endless: stateless(figures(), true) }
  const instances: Array<ServiceInstance.ServiceInstance> = []
  for (const [id, handler] of Object.entries(servers)) {
    const { url } = yield* listen(handler)
    instances.push(ServiceInstance.make({ id, service: id, endpoint: { transport: "streamable-http", url } }))
  }
  const context = yield* Layer.build(
    McpEndpoint.layer({ principal: (request) => request.headers.authorization, ...options }).pipe(
      Layer.provideMerge(ToolCatalog.layer()),
      Layer.provideMerge(Upstreams.layer({ maxMessageSize: MaxMessage })),
      Layer.provideMerge(MemoryRegistry.layer({ instances })),
      Layer.provideMerge(Portolan.layer())
    )
  )
  const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
  const catalog = yield* Effect.provide(ToolCatalog.ToolCatalog, context)
  const { url } = yield* listen(endpoint.handle)
  const post = (given: unknown, headers: Readonly<Record<string, string>> = both) =>
    send(url, "POST", headers, typeof given === "string" ? given : JSON.stringify(given))
  return { endpoint, catalog, url, post, old, new: modern }
})

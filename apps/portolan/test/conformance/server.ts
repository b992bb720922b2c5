/**
 * The server that the conformance suite asks, made with the official SDK 2.x: `node server.ts [both|handshake]`.
 * It prints its URL; at `/tasks` there are tools that run as tasks. Requests of the stateless era have nothing to do with one another; the handshake era has sessions.
 */
import {
  localhostHostValidation,
  localhostOriginValidation,
  NodeStreamableHTTPServerTransport,
  toNodeHandler
} from "@modelcontextprotocol/node"
import { classifyInboundRequest, createMcpHandler, isInitializeRequest, McpServer } from "@modelcontextprotocol/server"
import { randomUUID } from "node:crypto"
import { createServer, type IncomingMessage, type ServerResponse } from "node:http"
import { z } from "zod"
import { addContents, text } from "./contents.ts"
import { memory } from "./events.ts"
import { addRounds, states } from "./rounds.ts"
import { makeTaskServer } from "./tasks.ts"

const [eras = "both"] = process.argv.slice(2)

/** Whether there is one tool more, and one prompt more: the triggers add them and take them away. */
const extra = { tool: false, prompt: false }

interface Served {
  readonly server: McpServer
  /** Shows what is there now, and tells of it where there is a session. */
  readonly refresh: () => void
}

/** Those of the stateless era live for one request. */
const sessions = new Map<string, Served & { readonly transport: NodeStreamableHTTPServerTransport }>()

const change = (what: "prompt" | "tool") => {
  extra[what] = !extra[what]
  for (const { refresh } of sessions.values()) refresh()
  if (what === "tool") stateless.notify.toolsChanged()
  else stateless.notify.promptsChanged()
}

const make = (): Served => {
  const server = new McpServer({ name: "conformance", version: "1.0.0" }, {
    capabilities: {
      tools: { listChanged: true },
      prompts: { listChanged: true },
      resources: { listChanged: true, subscribe: true },
      logging: {},
      completions: {}
    },
    requestState: { verify: states.verify }
  })
  addContents(server)
  addRounds(server)

  const comes = { description: "Comes and goes" }
  const tool = server.registerTool("extra_tool", comes, () => ({ content: [] }))
  const prompt = server.registerPrompt("extra_prompt", comes, () => ({ messages: [] }))
  const refresh = () => {
    if (tool.enabled !== extra.tool) tool.update({ enabled: extra.tool })
    if (prompt.enabled !== extra.prompt) prompt.update({ enabled: extra.prompt })
  }
  refresh()

  for (const what of ["prompt", "tool"] as const) {
    server.registerTool(
      `test_trigger_${what}_change`,
      { description: `Adds a ${what}, or takes it away`, inputSchema: z.object({}) },
      () => {
        change(what)
        return { content: [text(`There is one ${what} ${extra[what] ? "more" : "less"}`)] }
      }
    )
  }

  for (const method of ["resources/subscribe", "resources/unsubscribe"] as const) {
    server.server.setRequestHandler(method, () => ({}))
  }
  return { server, refresh }
}

const onerror = (error: Error) => console.error(String(error))

const stateless = createMcpHandler(() => make().server, { legacy: "reject", onerror })
const handlers = {
  stateless: toNodeHandler(stateless),
  tasks: toNodeHandler(createMcpHandler(makeTaskServer, { legacy: "reject", onerror }))
}

const serve = (
  what: "stateless" | "tasks",
  { headers, method = "", url = "" }: IncomingMessage,
  response: ServerResponse,
  body: unknown
) => handlers[what]({ method, url, headers, async *[Symbol.asyncIterator]() {} }, response, body)

const refuse = (response: ServerResponse, status: number, code: number, message: string) =>
  void response.writeHead(status, { "content-type": "application/json" })
    .end(JSON.stringify({ jsonrpc: "2.0", id: null, error: { code, message } }))

const serveSession = async (request: IncomingMessage, response: ServerResponse, body: unknown) => {
  const id = request.headers["mcp-session-id"]
  if (typeof id === "string") {
    const session = sessions.get(id)
    return session === undefined
      ? refuse(response, 404, -32001, "Session not found")
      : session.transport.handleRequest(request, response, body)
  }
  if (!isInitializeRequest(body)) return refuse(response, 400, -32000, "Bad Request: no session id")
  const served = make()
  const transport = new NodeStreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (id) => void sessions.set(id, { ...served, transport }),
    onsessionclosed: (id) => void sessions.delete(id),
    eventStore: memory(),
    retryInterval: 1_000
  })
  await served.server.connect(transport)
  await transport.handleRequest(request, response, body)
}

const bodyOf = async (request: IncomingMessage): Promise<unknown> => {
  let text = ""
  for await (const chunk of request) text += String(chunk)
  return JSON.parse(text)
}

const hostAllowed = localhostHostValidation()
const originAllowed = localhostOriginValidation()

const handle = async (request: IncomingMessage, response: ServerResponse) => {
  if (!hostAllowed(request, response) || !originAllowed(request, response)) return
  const { "mcp-method": method, "mcp-protocol-version": version } = request.headers
  const body = request.method === "POST" ? await bodyOf(request) : undefined
  if (request.url === "/tasks") return serve("tasks", request, response, body)
  const { kind } = classifyInboundRequest({
    httpMethod: request.method ?? "",
    ...(version === undefined ? {} : { protocolVersionHeader: String(version) }),
    ...(method === undefined ? {} : { mcpMethodHeader: String(method) }),
    body
  })
  return eras === "both" && kind !== "legacy"
    ? serve("stateless", request, response, body)
    : serveSession(request, response, body)
}

const server = createServer((request, response) =>
  void handle(request, response).catch((error) => {
    console.error(error)
    if (!response.headersSent) refuse(response, 400, -32700, "Not understood")
  })
).listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(`http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}/mcp`)
})

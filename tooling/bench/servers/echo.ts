/**
 * MCP servers with an echo tool and nothing else, each on a port of its own: what a benchmark puts behind the gateway.
 * Bare `node:http`, so that the server costs as little as a server can.
 *
 *   node echo.ts <servers> <tools each> [sessions]   prints the ports as a JSON array, then serves until its input ends;
 *                                                    with `sessions` it begins one for each client, and GET counts them
 */
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"

const [servers = "1", tools = "1", mode] = process.argv.slice(2)
const sessions = new Set<string>()

const definitions = Array.from({ length: Number(tools) }, (_, index) => ({
  name: index === 0 ? "echo" : `echo_${index}`,
  description: `Returns its argument. Number ${index} of ${tools}.`,
  inputSchema: {
    type: "object",
    properties: { text: { type: "string", description: "What to return" }, times: { type: "integer", minimum: 1 } },
    required: ["text"]
  },
  annotations: { readOnlyHint: true }
}))

interface Message {
  readonly id?: number | string
  readonly method: string
  readonly params?: { readonly arguments?: { readonly text?: string }; readonly protocolVersion?: string }
}

const answer = ({ method, params }: Message): object | undefined => {
  switch (method) {
    case "initialize":
      return {
        protocolVersion: params?.protocolVersion ?? "2025-11-25",
        capabilities: { tools: {} },
        serverInfo: { name: "echo", version: "1.0.0" }
      }
    case "tools/list":
      return { tools: definitions }
    case "tools/call":
      return { content: [{ type: "text", text: params?.arguments?.text ?? "" }] }
    case "ping":
      return {}
    default:
      return undefined
  }
}

const serve = () =>
  new Promise<number>((resolve) => {
    const server = createServer((request, response) => {
      const session = request.headers["mcp-session-id"]
      if (request.method === "GET" && request.url === "/sessions") {
        response.writeHead(200).end(String(sessions.size))
        return
      }
      if (request.method === "DELETE" && typeof session === "string") {
        response.writeHead(sessions.delete(session) ? 204 : 404).end()
        return
      }
      if (request.method !== "POST") {
        response.writeHead(405).end()
        return
      }
      let body = ""
      request.setEncoding("utf8").on("data", (chunk: string) => {
        body += chunk
      }).on("end", () => {
        const message: Message = JSON.parse(body)
        if (message.id === undefined) {
          response.writeHead(202).end()
          return
        }
        const result = answer(message)
        const reply = result === undefined
          ? { jsonrpc: "2.0", id: message.id, error: { code: -32601, message: "Method not found" } }
          : { jsonrpc: "2.0", id: message.id, result }
        const text = JSON.stringify(reply)
        if (mode === "sessions" && message.method === "initialize") {
          const begun = randomUUID()
          sessions.add(begun)
          response.setHeader("mcp-session-id", begun)
        }
        response.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) })
        response.end(text)
      })
    })
    server.keepAliveTimeout = 60_000
    server.listen(0, "127.0.0.1", () => {
      const address: AddressInfo | string | null = server.address()
      resolve(typeof address === "object" && address !== null ? address.port : 0)
    })
  })

const ports: Array<number> = []
for (let i = 0; i < Number(servers); i++) ports.push(await serve())
console.log(JSON.stringify(ports))
process.stdin.resume().on("end", () => process.exit(0))

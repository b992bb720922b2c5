/**
 * An ordinary MCP server, made with the official SDK: it knows nothing of Portolan.
 */
import { toNodeHandler } from "@modelcontextprotocol/node"
import { createMcpHandler, fromJsonSchema, McpServer } from "@modelcontextprotocol/server"
import { createServer, type Server } from "node:http"

const makeServer = () => {
  const server = new McpServer({ name: "weather", version: "1.4.0" })
  server.registerTool(
    "get_forecast",
    {
      description: "Weather of today in a city",
      inputSchema: fromJsonSchema<{ readonly city: string }>({
        type: "object",
        properties: { city: { type: "string" } },
        required: ["city"]
      }),
      annotations: { readOnlyHint: true }
    },
    ({ city }) => ({ content: [{ type: "text", text: `${city}: sunny, 24 °C` }] })
  )
  return server
}

/** Listens on a free port; the server and its address. */
export const listen = (): Promise<{ readonly server: Server; readonly url: string }> => {
  const handler = toNodeHandler(createMcpHandler(makeServer))
  const server = createServer((request, response) => void handler(request, response))
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      const address = server.address()
      resolve({ server, url: `http://127.0.0.1:${typeof address === "object" ? address?.port : address}/mcp` })
    })
  })
}

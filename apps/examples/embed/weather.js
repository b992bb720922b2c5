/**
 * The smallest MCP server: one tool, over standard input and output.
 */
import { fromJsonSchema, McpServer } from "@modelcontextprotocol/server"
import { serveStdio } from "@modelcontextprotocol/server/stdio"

serveStdio(() => {
  const server = new McpServer({ name: "weather", version: "1.4.0" })
  server.registerTool(
    "get_forecast",
    {
      description: "Weather of today in a city",
      inputSchema: fromJsonSchema({ type: "object", properties: { city: { type: "string" } }, required: ["city"] }),
      annotations: { readOnlyHint: true }
    },
    ({ city }) => ({ content: [{ type: "text", text: `${city}: sunny, 24 °C` }] })
  )
  return server
})

/**
 * A small MCP server over streamable HTTP, for clients of both eras. Its weather is made up, and always the same for the
 * same city and day, so that it doesn't matter which replica answers.
 *
 *     node src/main.ts [--port 0] [--id weather-a] [--with-parent]
 *
 * It prints `listening on <url>`. With `--with-parent` it ends when its standard input does: when whoever started it is gone.
 */
import { toNodeHandler } from "@modelcontextprotocol/node"
import { createMcpHandler, fromJsonSchema, McpServer } from "@modelcontextprotocol/server"
import { createServer } from "node:http"
import { parseArgs } from "node:util"

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    id: { type: "string", default: "weather" },
    "with-parent": { type: "boolean", default: false }
  }
})

const skies = ["sunny", "fair", "cloudy", "light rain", "showers", "windy"]

/** FNV-1a. */
const hash = (text: string): number => {
  let value = 2_166_136_261
  for (const character of text) value = Math.imul(value ^ (character.codePointAt(0) ?? 0), 16_777_619)
  return value >>> 0
}

const day = (city: string, ahead: number) => {
  const seed = hash(`${city.trim().toLowerCase()} ${ahead}`)
  return { sky: skies[seed % skies.length] ?? "fair", low: 5 + seed % 10, high: 16 + (seed >>> 8) % 14 }
}

const text = (value: string) => ({ content: [{ type: "text" as const, text: value }] })

const readOnly = { readOnlyHint: true, idempotentHint: true, openWorldHint: false }

const makeServer = () => {
  const server = new McpServer({ name: "weather", version: "1.4.0" })
  server.registerTool(
    "get_forecast",
    {
      title: "Forecast",
      description: "Weather of the coming days in a city",
      inputSchema: fromJsonSchema<{ readonly city: string; readonly days?: number }>({
        type: "object",
        properties: {
          city: { type: "string", minLength: 1, description: "Name of the city" },
          days: { type: "integer", minimum: 1, maximum: 7, description: "How many days; default 3" }
        },
        required: ["city"],
        additionalProperties: false
      }),
      annotations: readOnly
    },
    ({ city, days = 3 }) => {
      const lines = Array.from({ length: days }, (_, ahead) => {
        const { high, low, sky } = day(city, ahead)
        return `${ahead === 0 ? "today" : ahead === 1 ? "tomorrow" : `in ${ahead} days`}: ${sky}, ${low} to ${high} °C`
      })
      return text(`${city}\n${lines.join("\n")}`)
    }
  )
  server.registerTool(
    "get_current",
    {
      title: "Weather now",
      description: "Weather in a city now",
      inputSchema: fromJsonSchema<{ readonly city: string }>({
        type: "object",
        properties: { city: { type: "string", minLength: 1, description: "Name of the city" } },
        required: ["city"],
        additionalProperties: false
      }),
      annotations: readOnly
    },
    ({ city }) => {
      const { high, sky } = day(city, 0)
      return text(`${city}: ${sky}, ${high} °C`)
    }
  )
  server.registerTool(
    "which_replica",
    { title: "Which replica", description: "Name of the replica that answers", annotations: readOnly },
    () => text(values.id)
  )
  return server
}

const handler = toNodeHandler(createMcpHandler(makeServer))

const server = createServer((request, response) => {
  if (request.url === "/health") response.end("ok\n")
  else if (request.url === "/mcp") void handler(request, response)
  else response.writeHead(404).end()
})

server.listen(Number(values.port), "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object" && address !== null) console.log(`listening on http://127.0.0.1:${address.port}/mcp`)
})

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(0))
if (values["with-parent"]) process.stdin.on("close", () => process.exit(0)).resume()

/**
 * An MCP registry with as many servers as it is told, a third of them packages only: `node mcpRegistry.ts <servers>`. Prints
 * its port. Nothing changes in it.
 */
import { createServer } from "node:http"

const total = Number(process.argv[2])

const entry = (n: number) => {
  const name = `io.github.somebody-${n}/server-${n}`
  const time = new Date(Date.UTC(2026, 0, 1) + n).toISOString()
  return {
    server: {
      $schema: "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
      name,
      version: `1.0.${n % 100}`,
      description: `${n} `.repeat(20).slice(0, 100),
      repository: { url: `https://git.example.com/somebody-${n}/server-${n}`, source: "git" },
      ...(n % 3 === 0
        ? { packages: [{ registryType: "npm", identifier: `server-${n}`, transport: { type: "stdio" } }] }
        : { remotes: [{ type: "streamable-http", url: `https://server-${n}.example.com/mcp` }] })
    },
    _meta: {
      "io.modelcontextprotocol.registry/official": {
        status: "active",
        publishedAt: time,
        updatedAt: time,
        isLatest: true
      }
    }
  }
}

const server = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? "/", "http://127.0.0.1")
  const from = searchParams.has("updated_since") ? total - 1 : Number(searchParams.get("cursor") ?? 0)
  const to = Math.min(from + Number(searchParams.get("limit")), total)
  const servers = Array.from({ length: to - from }, (_, n) => entry(from + n))
  const metadata = { count: servers.length, ...(to === total ? {} : { nextCursor: String(to) }) }
  response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ servers, metadata }))
})

server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  console.log(typeof address === "object" && address !== null ? address.port : 0)
})

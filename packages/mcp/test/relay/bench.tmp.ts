import { Effect, Layer } from "effect"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Agent, createServer, request as httpRequest } from "node:http"
import { fork } from "node:child_process"
import { Pool } from "undici"
import * as ToolCatalog from "../../src/catalog/ToolCatalog.ts"
import * as McpEndpoint from "../../src/relay/McpEndpoint.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"

const role = process.argv[2]
const listen = (handler: any) => new Promise<number>((resolve) => {
  const server = createServer(handler); server.keepAliveTimeout = 60000
  server.listen(0, "127.0.0.1", () => resolve((server.address() as any).port))
})
const body = (req: any) => new Promise<string>((r) => { const c: Buffer[] = []; req.on("data", (x: Buffer) => c.push(x)); req.on("end", () => r(Buffer.concat(c).toString())) })
if (role === "backend") {
  const port = await listen(async (req: any, res: any) => {
    const m = JSON.parse(await body(req))
    const reply = (result: any) => { const t = JSON.stringify({ jsonrpc: "2.0", id: m.id, result }); res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(t) }); res.end(t) }
    if (m.method === "server/discover") return reply({ resultType: "complete", supportedVersions: ["2026-07-28"], capabilities: { tools: {} }, ttlMs: 0, cacheScope: "private", _meta: { "io.modelcontextprotocol/serverInfo": { name: "b", version: "1" } } })
    if (m.method === "tools/list") return reply({ resultType: "complete", tools: [{ name: "echo", inputSchema: { type: "object" }, annotations: { readOnlyHint: true } }], ttlMs: 0, cacheScope: "private" })
    if (m.method === "tools/call") return reply({ resultType: "complete", content: [{ type: "text", text: m.params.arguments.text }] })
    res.writeHead(404); res.end()
  })
  process.send!({ port })
} else if (role === "proxy") {
  const pool = new Pool(`http://127.0.0.1:${process.argv[3]}`, { connections: 64 })
  const port = await listen(async (req: any, res: any) => {
    const m = JSON.parse(await body(req))
    const r = await pool.request({ path: "/mcp", method: "POST", headers: { "content-type": "application/json", accept: "application/json, text/event-stream" }, body: JSON.stringify(m) })
    const t = JSON.stringify(JSON.parse(await r.body.text()))
    res.writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(t) }); res.end(t)
  })
  process.send!({ port })
} else if (role === "gateway") {
  const program = Effect.gen(function*() {
    const context = yield* Layer.build(
      McpEndpoint.layer().pipe(
        Layer.provideMerge(ToolCatalog.layer()), Layer.provideMerge(Upstreams.layer()),
        Layer.provideMerge(MemoryRegistry.layer({ instances: [ServiceInstance.make({ id: "b", service: "b", endpoint: { transport: "streamable-http", url: `http://127.0.0.1:${process.argv[3]}/mcp` } })] })),
        Layer.provideMerge(Portolan.layer())
      ))
    const endpoint = yield* Effect.provide(McpEndpoint.McpEndpoint, context)
    const port = yield* Effect.promise(() => listen(endpoint.handle))
    process.send!({ port })
    process.on("message", () => { (globalThis as any).gc(); console.log(`gateway heap ${(process.memoryUsage().heapUsed/1e6).toFixed(1)} MB rss ${(process.memoryUsage().rss/1e6).toFixed(0)} MB`, JSON.stringify(endpoint.figures())) })
    return yield* Effect.never
  })
  Effect.runFork(Effect.scoped(program))
} else {
  const start = (...args: string[]) => new Promise<{ port: number; stop: () => void }>((resolve) => {
    const child = fork(new URL(import.meta.url).pathname, args, { execArgv: process.execArgv })
    child.on("message", (m: any) => resolve({ port: m.port, stop: () => child.kill(), poke: () => child.send('x') } as any))
  })
  const backend = await start("backend")
  const proxy = await start("proxy", String(backend.port))
  const gateway = await start("gateway", String(backend.port))
  await new Promise((r) => setTimeout(r, 1500))
  const run = async (port: number, name: string, seconds: number) => {
    const agent = new Agent({ keepAlive: true, maxSockets: 16 })
    const payload = JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name, arguments: { text: "hello" }, _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": { name: "t", version: "1" }, "io.modelcontextprotocol/clientCapabilities": {} } } })
    const headers = { "content-type": "application/json", accept: "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name, "content-length": Buffer.byteLength(payload) }
    const once = () => new Promise<string>((resolve, reject) => {
      const r = httpRequest({ port, host: "127.0.0.1", path: "/mcp", method: "POST", agent, headers }, (res) => { let t = ""; res.on("data", (c) => t += c); res.on("end", () => resolve(t)) })
      r.on("error", reject); r.end(payload)
    })
    const first = await once()
    if (!first.includes("hello")) throw new Error(first)
    let count = 0; const end = Date.now() + seconds * 1000
    await Promise.all(Array.from({ length: 16 }, async () => { while (Date.now() < end) { await once(); count++ } }))
    agent.destroy()
    return count / seconds
  }
  for (let round = 0; round < 3; round++) {
    const p = await run(proxy.port, "echo", 3); const g = await run(gateway.port, "b__echo", 8); (gateway as any).poke(); await new Promise(r=>setTimeout(r,300))
    console.log(`proxy ${p.toFixed(0)}/s gateway ${g.toFixed(0)}/s ratio ${(g / p).toFixed(2)}`)
  }
  backend.stop(); proxy.stop(); gateway.stop(); process.exit(0)
}

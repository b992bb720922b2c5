/**
 * Starts the gateway of the workspace for a benchmark, in front of servers announced in a registry file.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Pool } from "undici"
import { freePort, start } from "./Measure.ts"

const binary = join(import.meta.dirname, "../../apps/portolan/bin/portolan.js")
const compiled = new URL("compiled.mjs", import.meta.url).href

/** Asks until the answer is 200; returns the ms since `since`. */
const untilReady = async (url: string, since: number): Promise<number> => {
  while (performance.now() - since < 30_000) {
    const ready = await fetch(`${url}/readyz`).then((response) => response.ok, () => false)
    if (ready) return performance.now() - since
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  throw new Error(`${url} was not ready within 30 s`)
}

interface GatewayOptions {
  /** For Node. */
  readonly args?: ReadonlyArray<string>
  readonly env?: Readonly<Record<string, string>>
  /** More of the configuration. */
  readonly configuration?: object
}

/** A gateway in front of one server per port. */
export const startGateway = (ports: ReadonlyArray<number>, options?: GatewayOptions) =>
  startGatewayOf(
    ports.map((port, index) => ({
      id: `echo-${index}`,
      service: `echo${index}`,
      endpoint: { transport: "streamable-http", url: `http://127.0.0.1:${port}/mcp` }
    })),
    options
  )

/** A gateway in front of these instances; `readyAfter` in ms from its start. */
export const startGatewayOf = async (
  services: ReadonlyArray<object>,
  { args = [], configuration = {}, env = {} }: GatewayOptions = {}
) => {
  const folder = mkdtempSync(join(tmpdir(), "portolan-bench-"))
  const config = join(folder, "portolan.json")
  writeFileSync(join(folder, "services.json"), JSON.stringify({ services }))
  const registries = [{ type: "file", path: join(folder, "services.json") }]
  writeFileSync(config, JSON.stringify({ ...configuration, registries }))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const since = performance.now()
  const child = await start([...args, "--import", compiled, binary, "up", "--config", config, "--port", String(port)], {
    line: false,
    env
  })
  const readyAfter = await untilReady(url, since)
  return {
    url,
    pid: child.pid,
    readyAfter,
    stop: async () => {
      await child.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** Posts JSON-RPC to an address over at most `callers` connections. */
export const client = (url: string, callers: number, headers: Readonly<Record<string, string>>) => {
  const { origin, pathname, search } = new URL(url)
  const pool = new Pool(origin, { connections: callers })
  const post = async (body: object) => {
    const response = await pool.request({
      path: pathname + search,
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json, text/event-stream", ...headers },
      body: JSON.stringify(body)
    })
    return { status: response.statusCode, text: await response.body.text(), headers: response.headers }
  }
  return { post, close: () => pool.close() }
}

/** Calls `call` from `callers` callers until `count` calls are done; answers calls a second and the latencies in ms. */
export const load = async (callers: number, count: number, call: () => Promise<void>) => {
  const latencies: Array<number> = []
  let left = count
  const since = performance.now()
  const caller = async () => {
    while (left-- > 0) {
      const begun = performance.now()
      await call()
      latencies.push(performance.now() - begun)
    }
  }
  await Promise.all(Array.from({ length: callers }, caller))
  const sorted = latencies.toSorted((a, b) => a - b)
  return {
    rate: count / ((performance.now() - since) / 1_000),
    p50: sorted[Math.floor(sorted.length * 0.5)] ?? Number.NaN,
    p99: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN
  }
}

const text = "x".repeat(100)

/** The `tools/call` of a client of the stateless era. */
export const statelessCall = (tool: string) => ({
  headers: { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": tool },
  body: {
    jsonrpc: "2.0",
    id: 1,
    method: "tools/call",
    params: {
      name: tool,
      arguments: { text },
      _meta: {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { name: "bench", version: "1" },
        "io.modelcontextprotocol/clientCapabilities": {}
      }
    }
  }
})

/** The `tools/call` of a client of the handshake era. */
export const handshakeCall = (tool: string) => ({
  body: { jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: tool, arguments: { text } } }
})

/** Begins a session of the handshake era and answers its headers. */
export const handshake = async (url: string, capabilities: object): Promise<Readonly<Record<string, string>>> => {
  const { close, post } = client(url, 1, {})
  const { headers, status, text } = await post({
    jsonrpc: "2.0",
    id: 0,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities, clientInfo: { name: "bench", version: "1" } }
  })
  await close()
  if (status !== 200) throw new Error(`initialize: HTTP ${status}: ${text.slice(0, 300)}`)
  return { "mcp-session-id": String(headers["mcp-session-id"]), "mcp-protocol-version": "2025-11-25" }
}

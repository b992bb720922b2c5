/**
 * Starts `mcp-hub` from npm for a benchmark, in front of one server, and speaks HTTP+SSE with it, which is what it serves.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { client } from "./Gateway.ts"
import { freePort, start } from "./Measure.ts"

const binary = fileURLToPath(import.meta.resolve("mcp-hub"))

/** A hub in front of one server, whose tools it calls `echo0__…`; its files are in a folder of its own. */
export const startHub = async (server: string) => {
  const folder = mkdtempSync(join(tmpdir(), "portolan-bench-hub-"))
  const config = join(folder, "servers.json")
  writeFileSync(config, JSON.stringify({ mcpServers: { echo0: { url: server } } }))
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const child = await start([binary, "--port", String(port), "--config", config], {
    line: false,
    // It looks for its marketplace on the internet, and says so where there is none.
    quiet: true,
    env: { HOME: folder, XDG_STATE_HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  })
  const since = performance.now()
  const connected = () =>
    fetch(`${url}/api/health`).then(
      async (response) => (await response.text()).includes("\"status\":\"connected\""),
      () => false
    )
  while (!await connected()) {
    if (performance.now() - since > 30_000) throw new Error("mcp-hub was not ready within 30 s")
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return {
    url,
    pid: child.pid,
    stop: async () => {
      await child.stop()
      rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** A session over HTTP+SSE: requests are posted over at most `callers` connections, replies come as events. */
export const sseClient = async (url: string, callers: number) => {
  const closed = new AbortController()
  const waiting = new Map<number, (text: string) => void>()
  const response = await fetch(`${url}/mcp`, { headers: { accept: "text/event-stream" }, signal: closed.signal })
  const decoder = new TextDecoder()
  let rest = ""
  let opened: (path: string) => void = () => {}
  const endpoint = new Promise<string>((resolve) => {
    opened = resolve
  })
  const read = async () => {
    for await (const chunk of response.body ?? []) {
      const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n")
      rest = events.pop() ?? ""
      for (const event of events) {
        const data = event.slice(event.indexOf("data: ") + 6)
        if (event.startsWith("event: endpoint")) opened(data)
        else {
          const { id } = JSON.parse(data)
          waiting.get(id)?.(data)
          waiting.delete(id)
        }
      }
    }
  }
  const reading = read().catch((error: unknown) => {
    if (!closed.signal.aborted) throw error
  })
  const { close, post } = client(`${url}${await endpoint}`, callers, {})
  const call = async (message: { readonly id: number }) => {
    const reply = new Promise<string>((resolve) => waiting.set(message.id, resolve))
    const { status, text } = await post(message)
    if (status !== 202) throw new Error(`HTTP ${status}: ${text.slice(0, 300)}`)
    return reply
  }
  const hello = {
    jsonrpc: "2.0",
    id: 0,
    method: "initialize",
    params: { protocolVersion: "2025-03-26", capabilities: {}, clientInfo: { name: "bench", version: "1" } }
  }
  await call(hello)
  await post({ jsonrpc: "2.0", method: "notifications/initialized" })
  return {
    call,
    close: async () => {
      closed.abort()
      await reading
      await close()
    }
  }
}

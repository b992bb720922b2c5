/**
 * A tool call through the gateway, against a bare Node reverse proxy that parses the JSON, and against the server itself.
 * All take turns in one run, so that the ratios hold when the machine's speed drifts.
 */
import { client, load, startGateway, statelessCall } from "./Gateway.ts"
import { show, start, summarize, table } from "./Measure.ts"

const Callers = 16
const Calls = 8_000
const Rounds = 7

const here = import.meta.dirname
const server = await start([`${here}/servers/echo.ts`, "1", "1"])
const [port = 0] = JSON.parse(server.line)
const nodeProxy = await start([`${here}/servers/proxy.ts`, "node", String(port)])
const undiciProxy = await start([`${here}/servers/proxy.ts`, "undici", String(port)])
const gateway = await startGateway([port])

/** Initializes a handshake session with the gateway and answers its header. */
const handshake = async (): Promise<Readonly<Record<string, string>>> => {
  const { close, post } = client(`${gateway.url}/mcp`, 1, {})
  const { headers } = await post({
    jsonrpc: "2.0",
    id: 0,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "bench", version: "1" } }
  })
  await close()
  return { "mcp-session-id": String(headers["mcp-session-id"]), "mcp-protocol-version": "2025-11-25" }
}

const stateless = statelessCall("echo0__echo")
const direct = statelessCall("echo").body
const { _meta, ...handshakeParams } = stateless.body.params
const handshakeBody = { ...stateless.body, params: handshakeParams }
const targets = [
  { name: "server, directly", url: `http://127.0.0.1:${port}/mcp`, headers: {}, body: direct },
  { name: "reverse proxy, node:http", url: `http://127.0.0.1:${nodeProxy.line}/mcp`, headers: {}, body: direct },
  { name: "reverse proxy, undici", url: `http://127.0.0.1:${undiciProxy.line}/mcp`, headers: {}, body: direct },
  { name: "gateway, stateless client", url: `${gateway.url}/mcp`, headers: stateless.headers, body: stateless.body },
  { name: "gateway, handshake client", url: `${gateway.url}/mcp`, headers: await handshake(), body: handshakeBody }
]

let id = 0
const measured = targets.map(() => new Array<Awaited<ReturnType<typeof load>>>())
for (let round = -1; round < Rounds; round++) {
  for (const [index, target] of targets.entries()) {
    const { close, post } = client(target.url, Callers, target.headers)
    const figures = await load(Callers, round < 0 ? 2_000 : Calls, async () => {
      const { status, text } = await post({ ...target.body, id: ++id })
      if (status !== 200 || !text.includes("xxxx")) {
        throw new Error(`${target.name}: HTTP ${status}: ${text.slice(0, 300)}`)
      }
    })
    await close()
    if (round >= 0) measured[index]?.push(figures)
  }
}

const rates = (index: number) => measured[index]?.map(({ rate }) => rate) ?? []
const ratio = (index: number, reference: number) =>
  summarize(rates(index).map((rate, round) => rate / (rates(reference)[round] ?? Number.NaN)))

table(`tools/call at ${Callers} callers, ${Rounds} rounds of ${Calls.toLocaleString("en")} calls: median (min … max)`, [
  ["", "calls/s", "p50 ms", "p99 ms", "of node:http proxy", "of undici proxy"],
  ...targets.map(({ name }, index) => [
    name,
    show(summarize(rates(index))),
    summarize(measured[index]?.map(({ p50 }) => p50) ?? []).median.toFixed(2),
    summarize(measured[index]?.map(({ p99 }) => p99) ?? []).median.toFixed(2),
    show(ratio(index, 1)),
    show(ratio(index, 2))
  ])
])
console.log("  goal: the gateway at 0.60 of the bare reverse proxy")

for (const child of [gateway, undiciProxy, nodeProxy, server]) await child.stop()

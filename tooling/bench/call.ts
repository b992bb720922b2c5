/**
 * A tool call through the gateway, against a bare Node reverse proxy that parses the JSON, against the server itself, and
 * through `mcp-hub`. All take turns in one run, so that the ratios hold when the machine's speed drifts.
 */
import { client, handshake, handshakeCall, load, startGateway, statelessCall } from "./Gateway.ts"
import { sseClient, startHub } from "./Hub.ts"
import { processorTime, show, start, summarize, table } from "./Measure.ts"

const Callers = 16
const Rounds = 7

/** A way to the tool, and the process that is on it. */
interface Way {
  readonly name: string
  readonly pid: number
  /** Calls of one round with `Callers` at once, and with one at a time. */
  readonly calls: readonly [many: number, single: number]
  readonly open: (
    callers: number
  ) => Promise<{ readonly call: () => Promise<string>; readonly close: () => Promise<void> }>
}

const here = import.meta.dirname
const server = await start([`${here}/servers/echo.ts`, "1", "1"])
const [port = 0] = JSON.parse(server.line)
const direct = `http://127.0.0.1:${port}/mcp`
const nodeProxy = await start([`${here}/servers/proxy.ts`, "node", String(port)])
const undiciProxy = await start([`${here}/servers/proxy.ts`, "undici", String(port)])
const gateway = await startGateway([port])
const hub = await startHub(direct)

let id = 0
const usual: Way["calls"] = [8_000, 1_500]
const posting = (
  url: string,
  { body, headers }: { readonly body: object; readonly headers: Readonly<Record<string, string>> }
): Way["open"] =>
async (callers) => {
  const { close, post } = client(url, callers, headers)
  const call = async () => {
    const { status, text } = await post({ ...body, id: ++id })
    if (status !== 200) throw new Error(`${url}: HTTP ${status}: ${text.slice(0, 300)}`)
    return text
  }
  return { call, close }
}

const bare = { ...handshakeCall("echo"), headers: {} }
const mcp = `${gateway.url}/mcp`
const session = await handshake(mcp, {})
const ways: ReadonlyArray<Way> = [
  { name: "server, directly", pid: server.pid, calls: usual, open: posting(direct, bare) },
  {
    name: "reverse proxy, node:http",
    pid: nodeProxy.pid,
    calls: usual,
    open: posting(`http://127.0.0.1:${nodeProxy.line}/mcp`, bare)
  },
  {
    name: "reverse proxy, undici",
    pid: undiciProxy.pid,
    calls: usual,
    open: posting(`http://127.0.0.1:${undiciProxy.line}/mcp`, bare)
  },
  {
    name: "gateway, stateless client",
    pid: gateway.pid,
    calls: usual,
    open: posting(mcp, statelessCall("echo0__echo"))
  },
  {
    name: "gateway, handshake client",
    pid: gateway.pid,
    calls: usual,
    open: posting(mcp, { ...handshakeCall("echo0__echo"), headers: session })
  },
  {
    name: "mcp-hub",
    pid: hub.pid,
    calls: [2_000, 500],
    open: async (callers) => {
      const { call, close } = await sseClient(hub.url, callers)
      return { call: () => call({ ...handshakeCall("echo0__echo").body, id: ++id }), close }
    }
  }
]
const [reference, ofUndici, stateless, handshaken, ofHub] = [1, 2, 3, 4, 5] as const

const measure = async ({ name, open, pid }: Way, callers: number, calls: number) => {
  const { call, close } = await open(callers)
  const before = processorTime(pid)
  const figures = await load(callers, calls, async () => {
    const text = await call()
    if (!text.includes("xxxx")) throw new Error(`${name}: ${text.slice(0, 300)}`)
  })
  const processor = processorTime(pid) - before
  await close()
  return { ...figures, processor: 1_000 * processor / calls }
}

const many = ways.map(() => new Array<Awaited<ReturnType<typeof measure>>>())
const single = ways.map(() => new Array<Awaited<ReturnType<typeof measure>>>())
for (let round = -1; round < Rounds; round++) {
  for (const [index, way] of ways.entries()) {
    const [all, one] = way.calls
    const figures = await measure(way, Callers, round < 0 ? 2_000 : all)
    if (round >= 0) many[index]?.push(figures)
    const alone = await measure(way, 1, one)
    if (round >= 0) single[index]?.push(alone)
  }
}

type Figure = "rate" | "p50" | "p99" | "processor"
const of = (measured: typeof many, index: number, figure: Figure) =>
  summarize(measured[index]?.map((round) => round[figure]) ?? [])
/** Compared round by round. */
const compared = (
  measured: typeof many,
  index: number,
  other: number,
  figure: Figure,
  compare: (a: number, b: number) => number
) =>
  summarize(
    (measured[index] ?? []).map((round, at) => compare(round[figure], measured[other]?.[at]?.[figure] ?? Number.NaN))
  )
const ratio = (index: number, other: number) => compared(many, index, other, "rate", (a, b) => a / b)
const added = (index: number) => compared(single, index, reference, "p50", (a, b) => a - b)

table(`tools/call at ${Callers} callers, ${Rounds} rounds: median (min … max)`, [
  ["", "calls/s", "p50 ms", "p99 ms", "CPU µs/call", "of node:http proxy", "of undici proxy"],
  ...ways.map(({ name }, index) => [
    name,
    show(of(many, index, "rate")),
    of(many, index, "p50").median.toFixed(2),
    of(many, index, "p99").median.toFixed(2),
    of(many, index, "processor").median.toFixed(0),
    show(ratio(index, reference)),
    show(ratio(index, ofUndici))
  ])
])

table("one call at a time: median (min … max)", [
  ["", "p50 ms", "p99 ms", "over the node:http proxy, ms"],
  ...ways.map(({ name }, index) => [
    name,
    show(of(single, index, "p50")),
    of(single, index, "p99").median.toFixed(2),
    show(added(index))
  ])
])

table("goals", [
  ["", "measured", "goal"],
  ["stateless, of the node:http proxy", ratio(stateless, reference).median.toFixed(2), "0.75, if possible 0.85"],
  ["handshake, of the node:http proxy", ratio(handshaken, reference).median.toFixed(2), "0.65"],
  ["stateless, added median, ms", added(stateless).median.toFixed(2), "0.2 at most"],
  ["handshake, added median, ms", added(handshaken).median.toFixed(2), "0.2 at most"],
  ["stateless, times mcp-hub", ratio(stateless, ofHub).median.toFixed(1), "3"],
  ["handshake, times mcp-hub", ratio(handshaken, ofHub).median.toFixed(1), "3"]
])

for (const child of [hub, gateway, undiciProxy, nodeProxy, server]) await child.stop()

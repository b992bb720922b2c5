/**
 * Time to ready, and memory of the gateway's process with 20 upstreams and 250 tools: idle, and after 100,000 calls.
 */
import { client, load, startGateway, statelessCall } from "/work/main/tooling/bench/Gateway.ts"
import { residentMemory, show, start, summarize, table } from "/work/main/tooling/bench/Measure.ts"

const Starts = 0
const Upstreams = 20
const Calls = Number(process.env.CALLS ?? 100_000)

const here = "/work/main/tooling/bench"
// 20 × 12 + 10: 250 tools.
const many = await start([`${here}/servers/echo.ts`, String(Upstreams - 10), "12"])
const more = await start([`${here}/servers/echo.ts`, "10", "13"])
const ports: ReadonlyArray<number> = [...JSON.parse(many.line), ...JSON.parse(more.line)]

const times: Array<number> = []
for (let i = 0; i < Starts; i++) {
  const gateway = await startGateway(ports)
  times.push(gateway.readyAfter)
  await gateway.stop()
}

const gateway = await startGateway(ports)
const { close, post } = client(`${gateway.url}/mcp`, 16, statelessCall("echo0__echo").headers)
const { body } = statelessCall("echo0__echo")
const list = client(`${gateway.url}/mcp`, 1, {
  "mcp-protocol-version": "2026-07-28",
  "mcp-method": "tools/list"
})
const tools = await list.post({ ...body, method: "tools/list", params: { _meta: body.params._meta } })
const count: number = JSON.parse(tools.text).result.tools.length
await list.close()
await new Promise((resolve) => setTimeout(resolve, Number(process.env.IDLE ?? 4_000)))
const idle = residentMemory(gateway.pid)
const fig = await load(16, Calls, async () => {
  const { status, text } = await post(body)
  if (status !== 200) throw new Error(`HTTP ${status}: ${text.slice(0, 300)}`)
})
const busy = residentMemory(gateway.pid)
console.log(JSON.stringify({idle,busy,rate:fig.rate,p50:fig.p50,p99:fig.p99}))
await close()


for (const child of [gateway, many, more]) await child.stop()

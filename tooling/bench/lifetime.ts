/**
 * What stays in the gateway's process after much work: 200,000 calls of both eras, and 5,000 sessions that are opened, call
 * and are closed, half of them with capabilities, for which they get a session of their own at the server. In two halves:
 * nothing may have grown in the second.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { client, handshake, handshakeCall, load, startGateway, statelessCall } from "./Gateway.ts"
import { residentMemory, start, table } from "./Measure.ts"

const Callers = 16
const Slices = 10
const Calls = 100_000
const Sessions = 2_500

const here = import.meta.dirname
const folder = mkdtempSync(join(tmpdir(), "portolan-bench-heap-"))
const heapFile = join(folder, "heap")
const server = await start([`${here}/servers/echo.ts`, "1", "1", "sessions"])
const [port = 0] = JSON.parse(server.line)
const gateway = await startGateway([port], {
  args: ["--expose-gc", "--import", new URL("heap.mjs", import.meta.url).href],
  env: { BENCH_HEAP: heapFile }
})
const mcp = `${gateway.url}/mcp`

const expect = (what: string, { status, text }: { readonly status: number; readonly text: string }, part: string) => {
  if (status >= 300 || !text.includes(part)) throw new Error(`${what}: HTTP ${status}: ${text.slice(0, 300)}`)
}

const calls = async (count: number, headers: Readonly<Record<string, string>>, body: object) => {
  const { close, post } = client(mcp, Callers, headers)
  let id = 0
  await load(Callers, count, async () => expect("call", await post({ ...body, id: ++id }), "xxxx"))
  await close()
}

const session = async (capabilities: object) => {
  const headers = await handshake(mcp, capabilities)
  const { close, post } = client(mcp, 1, headers)
  expect("call", await post(handshakeCall("echo0__echo").body), "xxxx")
  await close()
  const { status } = await fetch(mcp, { method: "DELETE", headers })
  if (status >= 300) throw new Error(`DELETE: HTTP ${status}`)
}

/** Bytes of the heap that a collection leaves. */
const heap = async () => {
  // What is under way is done.
  await new Promise((resolve) => setTimeout(resolve, 1_000))
  rmSync(heapFile, { force: true })
  process.kill(gateway.pid, "SIGUSR2")
  while (!existsSync(heapFile)) await new Promise((resolve) => setTimeout(resolve, 50))
  return Number(readFileSync(heapFile, "utf8"))
}

const upstreamSessions = async () => Number(await (await fetch(`http://127.0.0.1:${port}/sessions`)).text())

const stateless = statelessCall("echo0__echo")
const one = await handshake(mcp, {})

const half = async () => {
  let peak = 0
  const sampling = setInterval(() => {
    peak = Math.max(peak, residentMemory(gateway.pid))
  }, 100)
  for (let slice = 0; slice < Slices; slice++) {
    await calls(Calls / Slices / 2, stateless.headers, stateless.body)
    await calls(Calls / Slices / 2, one, handshakeCall("echo0__echo").body)
    let opened = 0
    await load(Callers, Sessions / Slices, () => session(opened++ % 2 === 0 ? {} : { elicitation: {}, sampling: {} }))
  }
  clearInterval(sampling)
  return { peak, heap: await heap(), sessions: await upstreamSessions() }
}

const before = await heap()
const first = await half()
const second = await half()

const mebibytes = (bytes: number) => (bytes / 1_048_576).toFixed(1)
table(
  `memory over ${(2 * Calls).toLocaleString("en")} calls and ${(2 * Sessions).toLocaleString("en")} sessions, MiB`,
  [
    ["", "at the start", "first half", "second half", "goal"],
    ["resident, at most", "", first.peak.toFixed(0), second.peak.toFixed(0), "200, and no growth"],
    ["heap after a collection", mebibytes(before), mebibytes(first.heap), mebibytes(second.heap), "no growth"],
    ["sessions open at the server", "", String(first.sessions), String(second.sessions), "1"]
  ]
)

for (const child of [gateway, server]) await child.stop()
rmSync(folder, { recursive: true, force: true })

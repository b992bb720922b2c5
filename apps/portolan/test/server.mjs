// A stdio MCP server of the handshake era without dependencies: `echo`, `wait` (ms), `pid`, and `fail`. Its first
// argument may name a way to behave badly.
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"

const mode = process.argv[2] ?? "good"

const tools = [
  {
    name: "echo",
    description: "Says it again",
    inputSchema: { type: "object", properties: { text: { type: "string" } }, required: ["text"] },
    annotations: { readOnlyHint: true }
  },
  { name: "wait", description: "Waits", inputSchema: { type: "object", properties: { ms: { type: "number" } } } },
  { name: "pid", description: "Its process\nand more", inputSchema: { type: "object" } },
  { name: "fail", description: "Fails", inputSchema: { type: "object" } }
]

let child
switch (mode) {
  case "exit":
    console.error("no such module")
    process.exit(3)
    break
  case "flood": {
    const block = "x\n".repeat(512 * 1024)
    let left = 100
    const flood = () => {
      while (left-- > 0) if (!process.stderr.write(block)) return process.stderr.once("drain", flood)
    }
    flood()
    break
  }
  case "grandchild":
    // In its process group, as the child of a package runner is.
    child = spawn("sleep", ["300"], { stdio: "ignore" })
    tools.push({ name: "child", inputSchema: { type: "object" } })
    break
  case "progress":
    tools.push({ name: "steps", inputSchema: { type: "object" } })
    break
  case "stubborn":
    process.on("SIGTERM", () => {})
    setInterval(() => {}, 1000)
    break
  case "many":
    tools.length = 0
    for (let count = 0; count < 1000; count++) tools.push({ name: `tool${count}`, inputSchema: { type: "object" } })
    break
}

const answer = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }))
const text = (value) => ({ content: [{ type: "text", text: String(value) }] })

createInterface({ input: process.stdin }).on("line", (line) => {
  if (mode === "hang") return
  if (mode === "garbage") return console.log(`<html>${line.slice(0, 20)}\n{"jsonrpc":`)
  const { id, method, params } = JSON.parse(line)
  if (id === undefined) return
  if (method === "initialize") {
    answer(id, {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "test", version: "3.2.1" }
    })
  } else if (method === "tools/list") answer(id, mode === "cursor" ? { tools, nextCursor: "again" } : { tools })
  else if (method === "ping") answer(id, {})
  else if (method !== "tools/call") {
    console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "Method not found" } }))
  } else if (params.name === "echo") answer(id, text(params.arguments.text))
  else if (params.name === "pid") answer(id, text(process.pid))
  else if (params.name === "child") answer(id, text(child.pid))
  else if (params.name === "steps") {
    const progressToken = params._meta?.progressToken
    const step = (progress) => {
      if (progress > 3) return answer(id, text("all steps"))
      if (progressToken !== undefined) {
        const notice = { progressToken, progress, total: 3, message: `step ${progress}` }
        console.log(JSON.stringify({ jsonrpc: "2.0", method: "notifications/progress", params: notice }))
      }
      setTimeout(() => step(progress + 1), params.arguments.ms ?? 50)
    }
    step(1)
  } else if (params.name === "fail") answer(id, { ...text("it did not work"), isError: true })
  else setTimeout(() => answer(id, text("waited")), params.arguments.ms)
})

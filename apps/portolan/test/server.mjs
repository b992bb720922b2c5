// A stdio MCP server of the handshake era without dependencies: `echo`, `wait` (ms), `pid`, and `fail`.
import { createInterface } from "node:readline"

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

const answer = (id, result) => console.log(JSON.stringify({ jsonrpc: "2.0", id, result }))
const text = (value) => ({ content: [{ type: "text", text: String(value) }] })

createInterface({ input: process.stdin }).on("line", (line) => {
  const { id, method, params } = JSON.parse(line)
  if (id === undefined) return
  if (method === "initialize") {
    answer(id, {
      protocolVersion: params.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: "test", version: "3.2.1" }
    })
  } else if (method === "tools/list") answer(id, { tools })
  else if (method === "ping") answer(id, {})
  else if (method !== "tools/call") {
    console.log(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32601, message: "Method not found" } }))
  } else if (params.name === "echo") answer(id, text(params.arguments.text))
  else if (params.name === "pid") answer(id, text(process.pid))
  else if (params.name === "fail") answer(id, { ...text("it did not work"), isError: true })
  else setTimeout(() => answer(id, text("waited")), params.arguments.ms)
})

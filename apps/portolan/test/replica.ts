/**
 * A server as a process that can be killed: `node replica.ts <log> <ms> [port]`. `look` is read-only, `write` says
 * nothing of itself; each run writes its `id` to the log before it takes its time.
 */
import { appendFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { serve } from "./mcpServer.ts"

const [log = "", time = "0", port = "0"] = process.argv.slice(2)

const run = async (args: Record<string, unknown>) => {
  appendFileSync(log, `${String(args["id"])}\n`)
  await setTimeout(Number(time))
  return `${String(args["id"])} by ${process.pid}`
}

const { url } = await serve({
  tools: [{ name: "look", readOnly: true, run }, { name: "write", run }],
  port: Number(port)
})
console.log(url)

/**
 * A server that announces itself and ends in order: `node selfAnnounced.ts <log> <ms> <port> <registry file>`. `write` says
 * nothing of itself.
 */
import { announce } from "@portolan/core/promise"
import { fileRegistry } from "@portolan/file/promise"
import { appendFileSync } from "node:fs"
import { setTimeout } from "node:timers/promises"
import { serve } from "./mcpServer.ts"

const [log = "", time = "0", port = "0", path = ""] = process.argv.slice(2)

const running = new Set<string>()
const { url } = await serve({
  tools: [{
    name: "write",
    run: async (args) => {
      const id = String(args["id"])
      appendFileSync(log, `${id}\n`)
      running.add(id)
      await setTimeout(Number(time))
      running.delete(id)
      return id
    }
  }],
  port: Number(port)
})
const announced = await announce(fileRegistry({ path }), {
  id: "a",
  service: "pair",
  endpoint: { transport: "streamable-http", url }
}, { untilExit: false })
process.once("SIGTERM", async () => {
  // From here on nothing new comes.
  await announced.close()
  while (running.size > 0) await setTimeout(20)
  // What was answered last is still on its way.
  await setTimeout(100)
  process.exit()
})
console.log(url)

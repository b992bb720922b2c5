// A server without dependencies that `register` runs: `node announced.mjs <port> <log> [directory]`. It takes its time
// to listen, writes into its log what it lives through, and lists the directory when it is asked to end.
import { appendFileSync, existsSync, readdirSync } from "node:fs"
import { createServer } from "node:http"

const [port, log, directory = ""] = process.argv.slice(2)
const say = (line) => appendFileSync(log, `${line}\n`)

say(`started ${process.pid}`)
const server = createServer((_, response) => response.end())
setTimeout(() => server.listen(Number(port), "127.0.0.1", () => say("listening")), 300)
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) {
  process.on(signal, () => {
    say(
      `${signal}: ${existsSync(directory) ? readdirSync(directory).filter((name) => name.endsWith(".json")).length : 0}`
    )
    if (signal !== "SIGHUP") setTimeout(() => process.exit(7), 100)
  })
}
server.on("request", ({ url }) => {
  if (url === "/exit") process.exit(3)
})

/**
 * Announces the server with one call. Ctrl-C ends the process, and the record is removed first.
 */
import { announce } from "@portolan/core/promise"
import { fileRegistry } from "@portolan/file/promise"
import { listen } from "./weather.ts"

const { url } = await listen()

const announced = await announce(fileRegistry({ path: "./services.json" }), {
  service: "weather",
  version: "1.4.0",
  endpoint: { transport: "streamable-http", url },
  capabilities: ["weather.forecast"]
})

console.log(`announced as ${announced.instance().id}: ${url}`)

/**
 * Reading 30,000 servers of an MCP registry on loopback: all pages, what changed since (nothing), and all pages again. `heap
 * held`: after a collection, beyond what it was before the registry was opened; `heap, most`: while it was read, with Node and
 * all. It runs in a process of its own, which V8 ends if its heap would grow beyond 100 MB.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { spawnSync } from "node:child_process"
import * as DocumentsRegistry from "../../packages/documents/src/DocumentsRegistry.ts"
import { start, table } from "./Measure.ts"

const servers = 30_000
const flags = ["--expose-gc", "--max-heap-size=100"]
/** Readings of what changed before everything is read again. */
const increments = 12

const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 1e6
}

const measure = (port: string) =>
  Effect.gen(function*() {
    const { list } = yield* DocumentsRegistry.make({ mcpRegistry: `http://127.0.0.1:${port}` })
    const before = heap()
    const read = Effect.gen(function*() {
      let most = 0
      const sampling = setInterval(() => most = Math.max(most, process.memoryUsage().heapUsed / 1e6), 5)
      const [took, { instances, rejected }] = yield* Effect.timed(list)
      clearInterval(sampling)
      return { found: instances.length + rejected.length, held: heap() - before, most, took }
    })
    const first = yield* read
    const changed = yield* read
    for (let times = 1; times < increments; times++) yield* list
    const again = yield* read
    if (first.found !== servers || again.found !== servers) throw new Error(`only ${first.found}, ${again.found} found`)
    return Object.entries({ "everything": first, "what changed": changed, "everything again": again }).map((
      [what, { held, most, took }]
    ) => [what, Duration.toMillis(took).toFixed(0), held.toFixed(1), most.toFixed(0)])
  })

const [port] = process.argv.slice(2)
if (port === undefined) {
  const { line, stop } = await start([`${import.meta.dirname}/servers/mcpRegistry.ts`, String(servers)])
  const { status } = spawnSync(process.execPath, [...flags, import.meta.filename, line], { stdio: "inherit" })
  await stop()
  process.exit(status ?? 1)
}
table(`an MCP registry with ${servers.toLocaleString("en")} servers`, [
  ["", "ms", "heap held, MB", "heap, most, MB"],
  ...await Effect.runPromise(Effect.scoped(measure(port))),
  ["goal", "", "100", "100"]
])
process.exit(0)

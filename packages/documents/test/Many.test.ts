import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import { execFile } from "node:child_process"
import * as Path from "node:path"
import * as Host from "./Host.ts"
import type { Told } from "./many.ts"
import { remote } from "./StandIn.ts"

const total = 30_000

/** Every third has packages only; the descriptions are as long as they may be. */
const entry = (n: number) => {
  const name = `io.github.somebody-${n}/server-${n}`
  const server = remote(name, `1.0.${n % 100}`, `https://server-${n}.example.com/mcp`, {
    description: `${n} `.repeat(20).slice(0, 100),
    repository: { url: `https://git.example.com/somebody-${n}/server-${n}`, source: "git" },
    ...(n % 3 === 0
      ? { remotes: [], packages: [{ registryType: "npm", identifier: `s-${n}`, transport: { type: "stdio" } }] }
      : {})
  })
  const time = new Date(Date.UTC(2026, 0, 1) + n).toISOString()
  const official = { status: "active", publishedAt: time, updatedAt: time, isLatest: true }
  return { server, _meta: { "io.modelcontextprotocol.registry/official": official } }
}

/** V8 ends a process whose heap, with Node and all, would grow beyond 100 MB. */
const flags = ["--expose-gc", "--max-heap-size=100"]

describe("30,000 servers", () => {
  it.live("are read in a heap of 100 MB, and held once", () =>
    Effect.gen(function*() {
      const host = yield* Host.make(({ query }) => {
        if (query.has("updated_since")) return { body: { servers: [entry(total - 1)], metadata: { count: 1 } } }
        const from = Number(query.get("cursor") ?? 0)
        const to = Math.min(from + Number(query.get("limit")), total)
        const servers = Array.from({ length: to - from }, (_, n) => entry(from + n))
        return { body: { servers, metadata: { count: servers.length, nextCursor: to === total ? "" : String(to) } } }
      })
      const text = yield* Effect.callback<string>((resume) => {
        const script = Path.join(import.meta.dirname, "many.ts")
        const child = execFile(process.execPath, [...flags, script, host.url], (error, stdout) =>
          resume(error === null ? Effect.succeed(stdout) : Effect.die(error)))
        return Effect.sync(() =>
          child.kill()
        )
      })
      const told: Told = JSON.parse(text)
      assert.deepInclude(told, { instances: 20_000, rejected: 10_000 })
      assert.strictEqual(host.asked.length, 300 + 12 + 300)
      assert.isBelow(told.once, 50, text)
      assert.isBelow(told.twice - told.once, 5, text)
    }), 120_000)
})

/**
 * `scan`: what it finds on loopback, for a person and for a program, and what it announces of that.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import { createServer, type RequestListener } from "node:http"
import type * as Net from "node:net"
import * as Path from "node:path"
import { freePort, gateway } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import { background, directory, portolan, until } from "./process.ts"

/** Listens until the scope closes; answers the port. */
const listening = (server: Net.Server) =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : 0))
      })
    }),
    () => Effect.sync(() => void server.close())
  )

const web = (handler: RequestListener) => listening(createServer(handler))

const tools = [{ name: "get_forecast", readOnly: true, run: () => "fair" }]

const instancesOf = (url: string) =>
  Effect.promise(async (): Promise<ReadonlyArray<{ readonly id: string; readonly service: string }>> => {
    const { items } = JSON.parse(await (await fetch(`${url}/api/v1/instances`)).text())
    return items
  })

describe("scan", () => {
  it.live("tells what answers, what asks for credentials, and nothing of the rest", () =>
    Effect.gen(function*() {
      const one = yield* served({ tools })
      const page = yield* web((_, response) => response.end("<h1>It works</h1>"))
      const locked = yield* web((_, response) => response.writeHead(401).end())
      const shut = yield* freePort
      const ports = [one.port, page, locked, shut].join(",")

      const shown = yield* portolan(["scan", "127.0.0.1/32", "--ports", ports])
      assert.deepStrictEqual([shown.code, shown.stderr], [
        0,
        `http://127.0.0.1:${locked}/mcp asks for credentials: HTTP 401\n`
      ])
      const [titles, ...rows] = shown.stdout.trimEnd().split("\n")
      assert.match(titles ?? "", /^SERVICE +VERSION +URL +PROTOCOL +ALSO AT$/)
      assert.deepStrictEqual(rows.map((row) => row.split(/ {2,}/)), [["test", "1.0.0", one.url, "2025-11-25"]])

      const json = yield* portolan(["scan", "--ports", ports, "--json"])
      const result = JSON.parse(json.stdout)
      assert.deepInclude(result, { asked: 4, total: 4, open: 3 })
      const [found, ...more] = result.found
      assert.deepStrictEqual(more, [])
      assert.deepInclude(found, { also: [] })
      assert.deepInclude(found.instance, {
        service: "test",
        version: "1.0.0",
        endpoint: { transport: "streamable-http", url: one.url }
      })
      assert.deepInclude(found.identity, { name: "test", protocolVersion: "2025-11-25" })
      assert.deepInclude(result.guarded[0], { url: `http://127.0.0.1:${locked}/mcp`, reason: "HTTP 401" })
      // No session is left there.
      assert.strictEqual(one.asked("DELETE"), one.asked("initialize"))
    }), 120_000)

  it.live("says why where there is nothing, and what is wrong with a command line", () =>
    Effect.gen(function*() {
      const page = yield* web((_, response) => response.writeHead(404).end())
      const shut = yield* freePort
      for (
        const [args, code, said] of [
          [["--ports", `${shut}`], 0, "no server: none of 1 port took a connection"],
          [["localhost", "--ports", `${shut},${page}`, "--register"], 0, "doesn't speak MCP there; see --path"],
          [
            ["localhost", "--ports", `${page}`, "--deny", "127.0.0.0/8,::1"],
            0,
            "no server: no name has an address that may be asked"
          ],
          [["http://localhost:3000", "--ports", "80"], 2, "target: expected a network"],
          [["localhost/mcp", "--ports", "80"], 2, "target: expected a name such as build.internal"],
          [[], 2, "missing required flag: --ports"],
          [["--ports", "http"], 2, "--ports: expected 8080 or 3000-3010, not \"http\""],
          [["10.0.0.0/33", "--ports", "80"], 2, "target: "],
          [["127.0.0.1", "--ports", "80", "--deny", "127.0.0.0/8"], 2, "target: none of their addresses may be asked"],
          [["--ports", "80", "--path", "mcp"], 2, "--path: expected paths such as /mcp"],
          [["--ports", "80", "--timeout", "0s"], 2, "--timeout: expected a time"],
          [["--ports", "80", "--concurrency", "0"], 2, "--concurrency: expected a number from 1"],
          [["--ports", "80", "--transport", "tcp"], 2, "--transport: expected one of streamable-http, sse"]
        ] as const
      ) {
        const ran = yield* portolan(["scan", ...args])
        assert.deepStrictEqual([ran.code, ran.stdout], [code, ""], args.join(" "))
        assert.include(ran.stderr, said, args.join(" "))
      }
    }), 120_000)

  it.live("shows what it found until then when it is stopped", () =>
    Effect.gen(function*() {
      const one = yield* served({ tools })
      // Goes through the handshake once the other one did, and never ends it.
      let reached = false
      const slow = yield* web((request, response) => {
        const answer = (message: object) =>
          void response.writeHead(200, { "content-type": "application/json" })
            .end(JSON.stringify({ jsonrpc: "2.0", ...message }))
        let text = ""
        request.on("data", (chunk: Buffer) => text += chunk.toString()).once("end", () => {
          const { id, method } = JSON.parse(text)
          if (method === "server/discover") return answer({ id, error: { code: -32601, message: "unknown" } })
          if (method === "notifications/initialized") return void (reached = true)
          const result = { protocolVersion: "2025-11-25", capabilities: {}, serverInfo: { name: "slow", version: "1" } }
          let waited = 0
          const timer = setInterval(() => {
            if (one.asked("notifications/initialized") === 0) return
            // Progress is told every tenth of a second.
            if (++waited < 10) return
            clearInterval(timer)
            answer({ id, result })
          }, 50)
          response.once("close", () => clearInterval(timer))
        })
      })
      const ports = `${one.port},${slow}`
      const scanning = yield* background(["scan", "--ports", ports, "--identify-timeout", "1h", "--json"])
      yield* until(Effect.sync(() => reached), 20_000)
      scanning.kill("SIGINT")
      const { code, stderr, stdout } = yield* scanning.ended
      assert.deepStrictEqual([code, stderr], [130, "stopped after 1 of 2 ports\n"])
      assert.deepInclude(JSON.parse(stdout), { asked: 1, total: 2, open: 2 })
      assert.lengthOf(JSON.parse(stdout).found, 1)
    }), 120_000)

  it.live("announces what it found through the gateway until it is ended", () =>
    Effect.gen(function*() {
      const one = yield* served({ tools })
      const other = yield* served({ tools })
      const running = yield* gateway({ registries: [{ type: "memory" }] })
      const announcing = yield* background(
        ["scan", "127.0.0.1", "--ports", `${one.port},${other.port}`, "--register", "--ttl", "20s"],
        { env: { PORTOLAN_URL: running.url } }
      )
      yield* until(Effect.map(instancesOf(running.url), ({ length }) => length === 2), 20_000)
      for (const { service } of yield* instancesOf(running.url)) assert.strictEqual(service, "test")
      yield* until(Effect.sync(() => announcing.out().split("\n").length === 6), 20_000)
      assert.match(announcing.out(), /\nannounced \S+ in memory of http:\S+, lease 20 s\nannounced /)
      announcing.kill("SIGTERM")
      assert.strictEqual((yield* announcing.ended).code, 0)
      assert.deepStrictEqual(yield* instancesOf(running.url), [])
    }), 120_000)

  it.live("announces in a registry that it writes itself, under the same id each time", () =>
    Effect.gen(function*() {
      const one = yield* served({ tools })
      const cwd = yield* directory()
      const folder = Path.join(cwd, "services.json.d")
      const leases = () => Fs.existsSync(folder) ? Fs.readdirSync(folder).filter((name) => name.endsWith(".json")) : []
      const seen: Array<ReadonlyArray<string>> = []
      for (let times = 0; times < 2; times++) {
        const announcing = yield* background(
          ["scan", "--ports", String(one.port), "--register", "--registry", "file", "--json"],
          { cwd }
        )
        yield* until(Effect.sync(() => leases().length === 1), 20_000)
        seen.push(leases())
        announcing.kill("SIGINT")
        assert.strictEqual((yield* announcing.ended).code, 0)
        assert.deepStrictEqual(leases(), [])
      }
      assert.deepStrictEqual(seen[0], seen[1])
    }), 120_000)
})

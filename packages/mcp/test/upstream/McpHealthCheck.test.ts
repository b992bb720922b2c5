import { assert, describe, it } from "@effect/vitest"
import type { CheckResult } from "@portolan/core/Health"
import * as Effect from "effect/Effect"
import type { RequestListener } from "node:http"
import * as McpHealthCheck from "../../src/upstream/McpHealthCheck.ts"
import { Upstreams } from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

const input = (url: string, kind: "mcp-server" | "agent" = "mcp-server"): Harness.Input => ({
  id: "a",
  service: "a",
  kind,
  endpoint: { transport: "streamable-http", url }
})

const check = Effect.gen(function*() {
  const upstreams = yield* Upstreams
  const upstream = upstreams.get(Harness.keyOf("a"))
  assert.isDefined(upstream)
  return yield* McpHealthCheck.make(upstreams)(upstream.instance(), upstream.key)
})

/** A handshake server whose `ping` is answered so. */
const pinged = (ping: (id: unknown) => readonly [number, object]): RequestListener => (request, response) => {
  if (request.method !== "POST") return void response.writeHead(405).end()
  void Servers.body(request).then((text) => {
    const { id, method } = JSON.parse(text) as { id?: number; method: string }
    if (id === undefined) return response.writeHead(202).end()
    if (method === "ping") {
      const [status, answer] = ping(id)
      return Servers.json(response, status, answer)
    }
    const answer = method === "initialize"
      ? { result: { protocolVersion: "2025-06-18", capabilities: {}, serverInfo: { name: "p", version: "1" } } }
      : { error: { code: -32601, message: "no" } }
    Servers.json(response, 200, { jsonrpc: "2.0", id, ...answer })
  })
}

describe("McpHealthCheck", () => {
  it.live("passes for servers that answer, in both eras, and fails at once for one that is gone", () =>
    Effect.gen(function*() {
      for (const handler of [Servers.sessionful().handler, Servers.modern().handler]) {
        const running = yield* Servers.listen(handler)
        yield* Harness.withUpstreams([input(running.url)], ({ get, until }) =>
          Effect.gen(function*() {
            yield* (yield* get("a")).connect
            assert.deepStrictEqual(yield* check, { _tag: "Pass" })
            yield* running.stop
            yield* until("failed", (event) => event._tag === "Failed").pipe(Effect.raceFirst(Effect.sleep("1 second")))
            assert.deepStrictEqual(yield* check, { _tag: "Fail", reason: "connection refused", fatal: true })
          }))
      }
    }))

  it.live("an HTTP 200 with an error isn't health, a 404 isn't, a server without ping is, one with enough to do in part", () =>
    Effect.gen(function*() {
      const results: Array<CheckResult> = []
      const answers: ReadonlyArray<(id: unknown) => readonly [number, object]> = [
        (id) => [200, { jsonrpc: "2.0", id, error: { code: -32603, message: "broken\n\u0007 inside" } }],
        () => [404, {}],
        // It lives, and has enough to do.
        () => [429, { error: { message: "slow down" } }],
        (id) => [200, { jsonrpc: "2.0", id, error: { code: -32601, message: "no ping" } }]
      ]
      for (const answer of answers) {
        const { url } = yield* Servers.listen(pinged(answer))
        yield* Harness.withUpstreams([input(url)], ({ get }) =>
          Effect.gen(function*() {
            yield* (yield* get("a")).connect
            results.push(yield* check)
          }))
      }
      assert.deepStrictEqual(results, [
        { _tag: "Fail", reason: "ping was answered with error -32603: broken inside", fatal: false },
        { _tag: "Fail", reason: "HTTP 404: {}", fatal: false },
        { _tag: "Degraded", reason: "HTTP 429: slow down" },
        { _tag: "Pass" }
      ])
    }))

  it.live("has nothing to say of what isn't MCP", () =>
    Harness.withUpstreams([input("http://127.0.0.1:1/", "agent")], () =>
      Effect.gen(function*() {
        const upstreams = yield* Upstreams
        assert.deepStrictEqual(upstreams.all(), [])
        const instance = { ...Harness.instanceOf(input("http://127.0.0.1:1/", "agent")) }
        assert.deepStrictEqual(yield* McpHealthCheck.make(upstreams)(instance, Harness.keyOf("a")), { _tag: "Skip" })
      })))
})

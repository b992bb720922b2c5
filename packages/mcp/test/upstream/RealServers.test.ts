import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { spawn } from "node:child_process"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import * as Upstreams from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

const require = createRequire(import.meta.url)
const bin = (name: string) =>
  join(dirname(require.resolve(`@modelcontextprotocol/${name}/package.json`)), "dist/index.js")

const stdio = (id: string, name: string, args: ReadonlyArray<string> = []): Harness.Input => ({
  id,
  service: id,
  endpoint: { transport: "stdio", command: process.execPath, args: [bin(name), ...args] }
})

describe("the reference servers over stdio", () => {
  it.live("are connected, list and call", () =>
    Effect.gen(function*() {
      const { layer } = yield* Harness.discovery([
        stdio("everything", "server-everything"),
        stdio("memory", "server-memory"),
        stdio("filesystem", "server-filesystem", ["/tmp"])
      ])
      yield* Effect.gen(function*() {
        const upstreams = yield* Upstreams.Upstreams
        const { until } = yield* Harness.recorder
        for (const id of ["everything", "memory", "filesystem"]) {
          yield* until(`${id} connected`, (event) =>
            event._tag === "Connected" && event.upstream.key === Harness.keyOf(id))
          const upstream = upstreams.get(Harness.keyOf(id))
          assert.isDefined(upstream)
          const reply = yield* upstream.request({ method: "tools/list" })
          assert.isTrue("result" in reply && Array.isArray(reply.result["tools"]) && reply.result["tools"].length > 0)
          assert.strictEqual(upstream.state().profile?.era, "handshake")
          assert.isTrue(
            yield* Harness.eventually(`${id} heard`, () =>
              upstream.state().heard)
          )
        }
        const everything = upstreams.get(Harness.keyOf("everything"))
        assert.isDefined(everything)
        const notes: Array<JsonRpcNotification> = []
        const reply = yield* everything.request({
          method: "tools/call",
          params: { name: "trigger-long-running-operation", arguments: { duration: 1, steps: 3 } },
          progress: true,
          onNotification: (note) => notes.push(note)
        })
        assert.isTrue("result" in reply, JSON.stringify(reply))
        assert.isAtLeast(notes.length, 3)
      }).pipe(Effect.provide(Upstreams.layer().pipe(Layer.provide(layer))))
    }), 60_000)
})

describe("server-everything over HTTP", () => {
  const start = (port: number) =>
    Effect.acquireRelease(
      Effect.callback<{ readonly kill: () => void }>((resume) => {
        const child = spawn(process.execPath, [bin("server-everything"), "streamableHttp"], {
          env: { ...process.env, PORT: String(port) },
          stdio: ["ignore", "ignore", "pipe"]
        })
        child.stderr.on("data", (chunk) => {
          if (String(chunk).includes("listening")) resume(Effect.succeed({ kill: () => void child.kill("SIGKILL") }))
        })
      }),
      ({ kill }) => Effect.sync(kill)
    )

  it.live("is used again within 2 s after kill -9 and a restart on its port", () =>
    Effect.gen(function*() {
      const free = yield* Effect.scoped(Servers.listen(() => {}))
      const first = yield* start(free.port)
      yield* Harness.withUpstreams([{
        id: "everything",
        service: "everything",
        endpoint: { transport: "streamable-http", url: free.url }
      }], ({ get, seen, until }) =>
        Effect.gen(function*() {
          const upstream = yield* get("everything")
          assert.strictEqual((yield* upstream.connect).era, "handshake")
          const notes: Array<JsonRpcNotification> = []
          const reply = yield* upstream.request({
            method: "tools/call",
            params: { name: "trigger-long-running-operation", arguments: { duration: 1, steps: 3 } },
            progress: true,
            onNotification: (note) => notes.push(note)
          })
          assert.isTrue("result" in reply, JSON.stringify(reply))
          assert.isAtLeast(notes.length, 3)

          first.kill()
          yield* until("failed", (event) => event._tag === "Failed")
          const before = seen.length
          yield* start(free.port)
          yield* until("connected again", (event) => event._tag === "Connected", before, 2_000)
          assert.isTrue("result" in (yield* upstream.request({ method: "tools/list" })))
        }))
    }), 60_000)
})

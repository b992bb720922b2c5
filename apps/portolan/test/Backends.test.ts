/**
 * Real etcd, Consul and Redis as sources of one gateway at once: announced, lost, found again.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import { gateway, record, status } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { portolan, until } from "./process.ts"

const lacking = (await Effect.runPromise(Effect.all([Etcd.unavailable, Consul.unavailable, Redis.unavailable])))
  .filter((reason) => reason !== undefined)
  .join("; ")
if (lacking !== "") console.log(`skipped: etcd, Consul and Redis behind one gateway: ${lacking}`)

const send = (method: "POST" | "PUT", url: string, body: object) =>
  Effect.promise(async () => {
    const response = await fetch(url, { method, body: JSON.stringify(body) })
    assert.isTrue(response.ok, await response.text())
  })

const base64 = (text: string) => Buffer.from(text).toString("base64")

describe.skipIf(lacking !== "")("etcd, Consul and Redis", () => {
  it.live(
    "are sources at once, may go and come, and can't make the gateway start a process",
    () =>
      Effect.gen(function*() {
        const { consul, etcd, redis } = yield* Effect.all(
          { consul: Consul.make, etcd: Etcd.make, redis: Redis.single() },
          { concurrency: "unbounded" }
        )
        const server = yield* served({ tools: [{ name: "echo" }] })
        const running = yield* gateway({
          registries: [
            { type: "consul", name: "dc1", url: consul.url, tag: "mcp" },
            { type: "etcd", name: "store", endpoints: [etcd.url] },
            { type: "redis", name: "cache", url: redis.url }
          ]
        })
        const put = (service: string, value: object) =>
          send("POST", `${etcd.url}/v3/kv/put`, {
            key: base64(`/portolan/${service}/${service}`),
            value: base64(JSON.stringify(value))
          })
        const peer = yield* Peers.stateless(running.url)
        const state = (name: string) =>
          Effect.map(status(running), ({ sources }) => sources.find((source) => source.name === name)?.state)
        const lists = (tool: string) =>
          until(
            Effect.map(Effect.promise(peer.tools), (tools) => tools.some(({ name }) => name === tool)),
            20_000
          )
        const calls = Effect.gen(function*() {
          for (const tool of ["from-etcd__echo", "from-consul__echo", "from-redis__echo"]) {
            assert.strictEqual(Peers.textOf(yield* Effect.promise(() => peer.call(tool, {}))), "echo", tool)
          }
        })

        yield* put("from-etcd", record("from-etcd", server.url))
        yield* put("process", {
          id: "process",
          service: "process",
          endpoint: { transport: "stdio", command: process.execPath, args: ["-e", "0"] }
        })
        yield* put("secret", {
          id: "secret",
          service: "secret",
          endpoint: { transport: "streamable-http", url: server.url, headers: { Authorization: { env: "HOME" } } }
        })
        yield* send("PUT", `${consul.url}/v1/agent/service/register`, {
          ID: "from-consul",
          Name: "from-consul",
          Tags: ["mcp"],
          Address: "127.0.0.1",
          Port: server.port
        })
        // Written by somebody who knows nothing of Portolan and publishes nothing.
        yield* redis.cli("SET", "portolan:instance:from-redis", `{"name": "from-redis", "url": "${server.url}"}`)
        yield* lists("from-etcd__echo")
        yield* lists("from-redis__echo")
        yield* lists("from-consul__echo")
        yield* calls
        yield* until(
          Effect.map(status(running), ({ sources }) => sources.some(({ rejected }) => rejected.length === 2)),
          20_000
        )
        const told = yield* portolan(["status", "--url", running.url])
        assert.match(told.stdout, /store .*connected.* 2 rejected: .*"process" .*stdio/)
        assert.match((yield* portolan(["status", "--url", running.url, "--json"])).stdout, /"id": "secret"/)

        for (const [name, backend] of [["store", etcd], ["dc1", consul], ["cache", redis]] as const) {
          yield* backend.kill
          yield* until(Effect.map(state(name), (found) => found === "stale"), 30_000)
          yield* calls
          yield* backend.start
          yield* until(Effect.map(state(name), (found) => found === "connected"), 30_000)
          yield* calls
        }
        // They are followed as before.
        yield* put("later", record("later", server.url))
        yield* lists("later__echo")
      }),
    120_000
  )
})

/**
 * Two datacenters of a real Consul behind one entry of the configuration: found through one agent, lost one at a time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Consul from "@portolan/tooling/backends/Consul"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import { gateway, status } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { background, portolan, until } from "./process.ts"

const lacking = await Effect.runPromise(Consul.unavailable)
if (lacking !== undefined) console.log(`skipped: two datacenters of Consul: ${lacking}`)

const announce = ({ url }: Server, service: string, port: number) =>
  Effect.promise(async () => {
    const body = JSON.stringify({ ID: service, Name: service, Address: "127.0.0.1", Port: port })
    const response = await fetch(`${url}/v1/agent/service/register`, { method: "PUT", body })
    assert.isTrue(response.ok, await response.text())
  })

describe.skipIf(lacking !== undefined)("two datacenters", () => {
  it.live("are a source each, of which the one may be lost without the other", () =>
    Effect.gen(function*() {
      const { east, west } = yield* Consul.federation
      const server = yield* served({ tools: [{ name: "echo" }] })
      yield* announce(east, "both", server.port)
      yield* announce(west, "both", server.port)
      yield* announce(east, "eastern", server.port)
      yield* announce(west, "western", server.port)

      const running = yield* gateway({
        registries: [{ type: "consul", name: "prod", url: east.url, datacenters: ["east", "west"] }]
      })
      const peer = yield* Peers.stateless(running.url)
      const tools = Effect.map(Effect.promise(peer.tools), (all) => all.map(({ name }) => name).sort())
      yield* until(Effect.map(tools, (names) => names.length === 3), 30_000)
      assert.deepStrictEqual(yield* tools, ["both__echo", "eastern__echo", "western__echo"])
      const { stdout } = yield* portolan(["instances", "service=both", "--json", "--url", running.url])
      // What both announce is one instance, of the one that stands first.
      const [both, ...others]: ReadonlyArray<Record<string, unknown>> = JSON.parse(stdout)
      assert.deepInclude(both, { id: "both", source: "prod-east", alsoIn: ["prod-west"] })
      assert.lengthOf(others, 0)

      const states = Effect.map(
        status(running),
        ({ sources }) => Object.fromEntries(sources.map(({ name, state }) => [name, state]))
      )
      assert.deepStrictEqual(yield* states, { "prod-east": "connected", "prod-west": "connected" })
      yield* west.kill
      yield* until(Effect.map(states, (all) => all["prod-west"] === "stale"), 60_000)
      assert.strictEqual((yield* states)["prod-east"], "connected")
      for (const name of yield* tools) {
        assert.strictEqual(Peers.textOf(yield* Effect.promise(() => peer.call(name, {}))), "echo", name)
      }
      yield* announce(east, "later", server.port)
      yield* until(Effect.map(tools, (names) => names.includes("later__echo")), 20_000)
      assert.include(yield* tools, "western__echo")

      // The entry itself is named, and written at the agent of its address.
      const at = `http://127.0.0.1:${server.port}/mcp`
      const announcer = yield* background(["register", "named", "--url", at, "--registry", "prod"], {
        cwd: running.cwd
      })
      yield* until(Effect.map(tools, (names) => names.includes("named__echo")), 20_000)
      announcer.kill("SIGTERM")
      assert.match((yield* announcer.ended).stdout, /^announced named-\w+ in consul \(prod\), lease 30 s\n/)

      yield* west.start
      yield* until(Effect.map(states, (all) => all["prod-west"] === "connected"), 60_000)
      const told = yield* portolan(["status", "--url", running.url])
      assert.match(told.stdout, /^prod-west +consul +connected .* 0 +1$/m)
    }), 180_000)
})

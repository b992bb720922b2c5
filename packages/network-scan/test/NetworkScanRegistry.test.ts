import { assert, describe, it } from "@effect/vitest"
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type * as Registry from "@portolan/core/Registry"
import * as NetworkScanRegistry from "@portolan/network-scan/NetworkScanRegistry"
import { networkScanRegistry } from "@portolan/network-scan/promise"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { layer, listen, says } from "./fixtures/hosts.ts"

const ids = ({ instances }: Registry.Snapshot) => instances.map(({ id }) => id)

describe("the registry of a scan", () => {
  it.live("is one of the registries, and tells what it found", () =>
    Effect.gen(function*() {
      const { port } = yield* listen("127.0.0.1", 0, says({ name: "weather", version: "1.2.0" }))
      const discovered = Effect.gen(function*() {
        const discovery = yield* Discovery.Discovery
        yield* discovery.ready
        const catalog = discovery.catalog()
        const [source] = catalog.sources.values()
        return { entries: Array.from(catalog.entries, ([, { instance }]) => instance), source }
      })
      const { entries, source } = yield* discovered.pipe(
        Effect.provide(
          NetworkScanRegistry.layer({ ports: [port] }).pipe(
            Layer.provide(layer),
            Layer.provideMerge(Discovery.layer()),
            Layer.provideMerge(Registries.layer)
          )
        )
      )
      assert.deepInclude(source, { name: "network-scan", type: "network-scan", state: "connected" })
      assert.strictEqual(entries.length, 1)
      assert.deepInclude(entries[0], { service: "weather", version: "1.2.0", kind: "mcp-server", status: "up" })
    }))

  it.live("N5: one scan that missed a server removes nothing; three of them do", () =>
    Effect.gen(function*() {
      const host = yield* listen("127.0.0.1", 0, says({ name: "weather" }))
      const registry = yield* NetworkScanRegistry.make({ ports: [host.port] })
      const id = `127.0.0.1:${host.port}/mcp`
      assert.deepStrictEqual(ids(yield* registry.list), [id])
      yield* host.close
      assert.deepStrictEqual(ids(yield* registry.list), [id])
      assert.deepStrictEqual(ids(yield* registry.list), [id])
      yield* Effect.scoped(Effect.gen(function*() {
        yield* listen("127.0.0.1", host.port, says({ name: "weather" }))
        assert.deepStrictEqual(ids(yield* registry.list), [id])
      }))
      for (const left of [1, 1, 0]) assert.strictEqual(ids(yield* registry.list).length, left)
      const careful = yield* NetworkScanRegistry.make({ ports: [host.port], rise: 2, fall: 1 })
      yield* listen("127.0.0.1", host.port, says({ name: "weather" }))
      assert.deepStrictEqual(ids(yield* careful.list), [])
      assert.deepStrictEqual(ids(yield* careful.list), [id])
    }).pipe(Effect.provide(layer)))

  it.live("N6: a scan during which our own event loop stood still removes nothing", () =>
    Effect.gen(function*() {
      const host = yield* listen("127.0.0.1", 0, says({ name: "weather" }))
      const registry = yield* NetworkScanRegistry.make({ ports: [host.port], fall: 1, identifyTimeout: "200 millis" })
      assert.strictEqual(ids(yield* registry.list).length, 1)
      yield* host.close
      // It takes the connection, and then nothing happens for longer than it has to answer.
      const stalling = yield* listen("127.0.0.1", host.port, (_, response) => {
        for (const end = performance.now() + 1_500; performance.now() < end;);
        response.writeHead(500).end()
      })
      assert.strictEqual(ids(yield* registry.list).length, 1)
      yield* stalling.close
      assert.strictEqual(ids(yield* registry.list).length, 0)
    }).pipe(Effect.provide(layer)))

  it.live("rejects servers that ask for credentials, and says what to do", () =>
    Effect.gen(function*() {
      const { port } = yield* listen("127.0.0.1", 0, (_, response) => response.writeHead(401).end())
      const registry = yield* NetworkScanRegistry.make({ ports: [port] })
      const first = yield* Stream.runHead(registry.watch)
      assert.deepStrictEqual(first._tag === "Some" && first.value._tag === "Snapshot" && first.value.rejected, [{
        id: `127.0.0.1:${port}/mcp`,
        reason: "it asks for credentials; announce it in a file, with the headers it asks for"
      }])
    }).pipe(Effect.provide(layer)))

  it.live("isn't opened with options that make no sense", () =>
    Effect.gen(function*() {
      for (
        const [options, message] of [
          [{ ports: [] }, "network-scan: open: ports: expected at least one, such as 3000-3010"],
          [{ ports: [1], fall: 0 }, "network-scan: open: fall: expected a number of scans from 1 on, not 0"],
          [{ ports: [1], rise: 1.5 }, "network-scan: open: rise: expected a number of scans from 1 on, not 1.5"]
        ] as const
      ) assert.strictEqual((yield* Effect.flip(NetworkScanRegistry.make(options))).message, message)
    }).pipe(Effect.provide(layer)))

  it.live("gives a scan as long as it may take", () =>
    Effect.gen(function*() {
      const registry = yield* NetworkScanRegistry.make({
        networks: ["10.0.0.0/22"],
        ports: ["3000-3003"],
        interval: "1 minute"
      })
      // 4,096 ports, 64 at a time, 4.5 s each at worst, leave included; 500 connections begun in a second, two to each;
      // then 30 s to compare, and 1 s to take leave. And 66 s of quiet, and 1 s to tell that it is lost.
      const longest = 64 * 4.5 + 2 * 4_096 / 500 + 30 + 1 + 66 + 1
      assert.closeTo(Duration.toSeconds(Option.getOrThrow(registry.idleTimeout)), longest, 0.01)
    }).pipe(Effect.provide(layer)))

  it.live("opens without Effect, with the identification that it is given", () =>
    Effect.gen(function*() {
      const { port } = yield* listen("127.0.0.1", 0, says({ name: "weather" }))
      const option = networkScanRegistry({ ports: [port], identification: layer, name: "near by" })
      assert.strictEqual(option.name, "near by")
      const registry = yield* option.open
      assert.strictEqual((yield* registry.list).instances.length, 1)
    }))
})

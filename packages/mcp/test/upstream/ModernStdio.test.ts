import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { fileURLToPath } from "node:url"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import * as Harness from "./Harness.ts"

const modern = (id: string, ...args: ReadonlyArray<string>): Harness.Input => ({
  id,
  service: id,
  endpoint: {
    transport: "stdio",
    command: process.execPath,
    args: [fileURLToPath(new URL("./fixtures/modern.mjs", import.meta.url)), ...args]
  }
})

describe("stateless era over stdio", () => {
  it.live("calls with progress and logs, hears list-changed, cancels", () =>
    Harness.withUpstreams([modern("a")], ({ get, until }) =>
      Effect.gen(function*() {
        const upstream = yield* get("a")
        assert.strictEqual((yield* upstream.connect).era, "stateless")
        const notes: Array<JsonRpcNotification> = []
        const reply = yield* upstream.request({
          method: "tools/call",
          params: { name: "echo", arguments: { text: "hi" } },
          progress: true,
          logLevel: "info",
          onNotification: (note) => notes.push(note)
        })
        assert.isTrue("result" in reply, JSON.stringify(reply))
        assert.deepStrictEqual(notes.map((note) => note.method), ["notifications/progress", "notifications/message"])

        yield* upstream.request({ method: "tools/call", params: { name: "grow", arguments: {} } })
        yield* until(
          "list changed",
          (event) => event._tag === "Notified" && event.notification.method === "notifications/tools/list_changed"
        )

        const fiber = yield* Effect.forkChild(
          upstream.request({ method: "tools/call", params: { name: "slow", arguments: {} } }),
          { startImmediately: true }
        )
        // A request after it: the call has arrived.
        yield* upstream.request({ method: "tools/list" })
        yield* Fiber.interrupt(fiber)
        const failed = yield* until("the server heard of it", (event) => event._tag === "Failed")
        assert.strictEqual(failed._tag === "Failed" && failed.reason, "exited with code 9: aborted")
      })))

  it.live("one that speaks nothing else is found even where it is slow to answer", () =>
    Harness.withUpstreams([modern("a", "reject", "1000")], ({ get }) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* (yield* get("a")).connect).era, "stateless")
        assert.isTrue("result" in (yield* (yield* get("a")).request({ method: "tools/list" })))
      }), { probeTimeout: "300 millis" }))

  it.live("the record decides where it says so", () =>
    Harness.withUpstreams(
      [{ ...modern("a"), metadata: { "mcp-era": "handshake" } }],
      ({ get }) =>
        Effect.gen(function*() {
          assert.strictEqual((yield* (yield* get("a")).connect).era, "handshake")
        })
    ))
})

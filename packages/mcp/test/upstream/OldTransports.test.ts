import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import * as Harness from "./Harness.ts"
import * as OldServers from "./OldServers.ts"

const matrix = [
  { transport: "sse", server: OldServers.sse },
  { transport: "websocket", server: OldServers.webSocket() }
] as const

const input = (transport: "sse" | "websocket" | "streamable-http", url: string): Harness.Input => ({
  id: "a",
  service: "a",
  endpoint: { transport, url }
})

const text = (reply: unknown) => JSON.stringify(reply)

for (const { server, transport } of matrix) {
  describe(`${transport} with the SDK's server`, () => {
    it.live("lists, calls with progress, hears list-changed, cancels", () =>
      Effect.gen(function*() {
        const sdk = yield* server
        yield* Harness.withUpstreams([input(transport, sdk.url)], ({ get, until }) =>
          Effect.gen(function*() {
            const upstream = yield* get("a")
            const profile = yield* upstream.connect
            assert.strictEqual(profile.era, "handshake")
            assert.strictEqual(profile.serverInfo["name"], "old")
            assert.include(text(yield* upstream.request({ method: "tools/list" })), "\"slow\"")

            const notes: Array<JsonRpcNotification> = []
            let sent = 0
            const reply = yield* upstream.request({
              method: "tools/call",
              params: { name: "echo", arguments: { a: "ä" } },
              progress: true,
              onNotification: (note) => notes.push(note),
              onSent: () => sent++
            })
            assert.deepStrictEqual(reply, { result: { content: [{ type: "text", text: "{\"a\":\"ä\"}" }] } })
            assert.strictEqual(sent, 1)
            assert.deepStrictEqual(notes.map(({ params }) => params?.["progress"]), [1, 2])

            sdk.notifyTools()
            yield* until(
              "list changed",
              (event) => event._tag === "Notified" && event.notification.method === "notifications/tools/list_changed"
            )

            const fiber = yield* Effect.forkChild(
              upstream.request({ method: "tools/call", params: { name: "slow" } }),
              { startImmediately: true }
            )
            yield* Harness.eventually("the call runs", () => sdk.figures.calls === 2 || undefined)
            yield* Fiber.interrupt(fiber)
            yield* Harness.eventually("cancelled", () => sdk.figures.cancelled === 1 || undefined)
            assert.strictEqual(sdk.figures.opened, 1)
          }))
      }))

    it.live("two hundred calls at once get each its own reply", () =>
      Effect.gen(function*() {
        const sdk = yield* server
        yield* Harness.withUpstreams([input(transport, sdk.url)], ({ get }) =>
          Effect.gen(function*() {
            const upstream = yield* get("a")
            const replies = yield* Effect.forEach(
              Array.from({ length: 200 }, (_, index) => index),
              (index) => upstream.request({ method: "tools/call", params: { name: "echo", arguments: { index } } }),
              { concurrency: "unbounded" }
            )
            replies.forEach((reply, index) => assert.include(text(reply), `{\\"index\\":${index}}`))
          }))
      }))

    it.live("a cut connection may have run what was under way, and the next call works", () =>
      Effect.gen(function*() {
        const sdk = yield* server
        yield* Harness.withUpstreams([input(transport, sdk.url)], ({ get, seen }) =>
          Effect.gen(function*() {
            const upstream = yield* get("a")
            yield* upstream.connect
            const fiber = yield* Effect.forkChild(
              Effect.flip(upstream.request({ method: "tools/call", params: { name: "slow" } })),
              { startImmediately: true }
            )
            yield* Harness.eventually("the call runs", () => sdk.figures.calls === 1 || undefined)
            sdk.cut()
            assert.strictEqual((yield* Fiber.join(fiber)).phase, "mayHaveRun")
            assert.include(text(yield* upstream.request({ method: "tools/call", params: { name: "echo" } })), "content")
            yield* Harness.eventually(
              "told twice",
              () => seen.filter(({ _tag }) => _tag === "Connected").length >= 2 || undefined
            )
            assert.strictEqual(sdk.figures.opened, 2)
          }))
      }))

    it.live("a server that isn't there is an error that says so, and nothing was sent", () =>
      Effect.gen(function*() {
        const sdk = yield* server
        yield* sdk.stop
        yield* Harness.withUpstreams([input(transport, sdk.url)], ({ get }) =>
          Effect.gen(function*() {
            const error = yield* Effect.flip((yield* get("a")).request({ method: "tools/list" }))
            assert.deepInclude(error, { phase: "notSent", reason: "connection refused" })
          }))
      }))
  })
}

describe("a session of HTTP+SSE that the server forgot", () => {
  it.live("is opened anew, and the call runs once", () =>
    Effect.gen(function*() {
      const sdk = yield* OldServers.sse
      yield* Harness.withUpstreams([input("sse", sdk.url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          yield* upstream.connect
          sdk.forget()
          const reply = yield* upstream.request({ method: "tools/call", params: { name: "echo" } })
          assert.isTrue("result" in reply)
          assert.deepInclude(sdk.figures, { opened: 2, calls: 1 })
        }))
    }))
})

describe("a record that says streamable-http for a server of HTTP+SSE", () => {
  it.live("is connected over HTTP+SSE", () =>
    Effect.gen(function*() {
      const sdk = yield* OldServers.sse
      yield* Harness.withUpstreams([input("streamable-http", sdk.url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const reply = yield* upstream.request({ method: "tools/call", params: { name: "echo" } })
          assert.isTrue("result" in reply)
          assert.strictEqual(sdk.figures.opened, 1)
        }))
    }))

  it.live("keeps the first refusal where that isn't there either", () =>
    Effect.gen(function*() {
      const sdk = yield* OldServers.sse
      yield* Harness.withUpstreams([input("streamable-http", sdk.url.replace("/sse", "/other"))], ({ get }) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip((yield* get("a")).request({ method: "tools/list" }))
          assert.deepInclude(error, { status: 404, reason: "HTTP 404: Cannot POST" })
        }))
    }))
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Logger from "effect/Logger"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

const http = (id: string, url: string, more: Partial<Harness.Input> = {}): Harness.Input => ({
  id,
  service: id,
  endpoint: { transport: "streamable-http", url },
  ...more
})

describe("handshake era over HTTP", () => {
  it.live("calls with progress and logs, hears list-changed, cancels, ends its session", () =>
    Effect.gen(function*() {
      const sdk = Servers.sessionful()
      const { url } = yield* Servers.listen(sdk.handler)
      yield* Harness.withUpstreams([http("a", url)], ({ get, until }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const profile = yield* upstream.connect
          assert.strictEqual(profile.era, "handshake")
          assert.strictEqual(profile.protocolVersion, "2025-11-25")
          assert.strictEqual(profile.serverInfo["name"], "sessionful")
          assert.isDefined(profile.session)

          const notes: Array<JsonRpcNotification> = []
          let sent = 0
          const reply = yield* upstream.request({
            method: "tools/call",
            params: { name: "echo", arguments: { a: 1 } },
            progress: true,
            onNotification: (note) => notes.push(note),
            onSent: () => sent++
          })
          assert.isTrue("result" in reply)
          assert.strictEqual(sent, 1)
          // Without a level the server sends all of them.
          assert.deepStrictEqual(
            notes.map(({ method, params }) => params?.["level"] ?? method),
            ["notifications/progress", "debug", "error"]
          )

          const timer = setInterval(() => void sdk.notifyTools(), 50)
          yield* until(
            "list changed",
            (event) => event._tag === "Notified" && event.notification.method === "notifications/tools/list_changed"
          ).pipe(Effect.ensuring(Effect.sync(() => clearInterval(timer))))

          const fiber = yield* Effect.forkChild(
            upstream.request({ method: "tools/call", params: { name: "slow" } }),
            { startImmediately: true }
          )
          yield* Harness.eventually("the call runs", () => sdk.figures.calls === 2 || undefined)
          yield* Fiber.interrupt(fiber)
          yield* Harness.eventually("cancelled", () => sdk.figures.cancelled === 1 || undefined)
        }))
      assert.strictEqual(sdk.figures.deleted, 1)
    }))

  it.live("a forgotten session is opened once for all callers, and each call runs once", () =>
    Effect.gen(function*() {
      const sdk = Servers.sessionful()
      const { url } = yield* Servers.listen(sdk.handler)
      yield* Harness.withUpstreams([http("a", url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          yield* upstream.connect
          sdk.forget()
          const replies = yield* Effect.forEach(
            Array.from({ length: 20 }, (_, index) => index),
            (index) => upstream.request({ method: "tools/call", params: { name: "echo", arguments: { index } } }),
            { concurrency: "unbounded" }
          )
          for (const [index, reply] of replies.entries()) {
            assert.deepStrictEqual("result" in reply ? reply.result["content"] : reply, [
              { type: "text", text: JSON.stringify({ index }) }
            ])
          }
          assert.strictEqual(sdk.figures.calls, 20)
          assert.strictEqual(sdk.figures.initialized, 2)
        }))
    }))

  it.live("the log says once that a server fails, and when it is back; nothing of one that is gone at once", () => {
    const said: Array<string> = []
    const logger = Logger.make<unknown, void>(({ logLevel, message }) =>
      void said.push(`${logLevel} ${String(message)}`)
    )
    return Effect.gen(function*() {
      const sdk = Servers.sessionful()
      let up = false
      const { url } = yield* Servers.listen((request, response) => {
        if (up) return sdk.handler(request, response)
        response.writeHead(503).end()
      })
      yield* Harness.withUpstreams([http("a", url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          yield* Harness.eventually("it is told", () => said.length > 0 || undefined)
          yield* Harness.eventually("it was tried again", () => upstream.state()._tag === "connecting" || undefined)
          up = true
          yield* Harness.eventually("it is back", () => said.length > 1 || undefined)
        }))
      assert.lengthOf(said, 2)
      assert.match(said[0] ?? "", /^Warn a: HTTP 503.*tried again by itself$/)
      assert.strictEqual(said[1], "Info a: connected")
    }).pipe(Effect.provide(Logger.layer([logger])))
  }, 30_000)

  it.live("a server restarted on its port is used again within 2 s", () =>
    Effect.gen(function*() {
      const before = Servers.sessionful()
      const first = yield* Servers.listen(before.handler)
      yield* Harness.withUpstreams([http("a", first.url)], ({ get, seen, until }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          yield* upstream.connect
          yield* first.stop
          yield* until("failed", (event) => event._tag === "Failed")
          const refused = yield* Effect.flip(upstream.request({ method: "tools/list" }))
          assert.strictEqual(refused.phase, "notSent")
          assert.strictEqual(refused.reason, "connection refused")
          const after = Servers.sessionful()
          yield* Servers.listen(after.handler, first.port)
          const at = performance.now()
          yield* until("connected again", (event) => event._tag === "Connected", seen.length)
          assert.isBelow(performance.now() - at, 2_000)
          assert.isTrue("result" in (yield* upstream.request({ method: "tools/list" })))
        }))
    }))
})

describe("stateless era over HTTP", () => {
  it.live("is found by probing; calls, names in headers, list-changed, cancelling by closing", () =>
    Effect.gen(function*() {
      const sdk = Servers.modern({ legacy: "reject" })
      const { url } = yield* Servers.listen(sdk.handler)
      yield* Harness.withUpstreams([http("a", url)], ({ get, until }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const profile = yield* upstream.connect
          assert.strictEqual(profile.era, "stateless")
          assert.strictEqual(profile.instructions, "be kind")
          assert.strictEqual(profile.serverInfo["name"], "modern")

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
          const odd = yield* upstream.request({ method: "prompts/get", params: { name: "häuser 世界" } })
          assert.isTrue("result" in odd, JSON.stringify(odd))
          const none = yield* upstream.request({ method: "nothing/here" })
          assert.isTrue("error" in none && none.error.code === -32601, JSON.stringify(none))

          // The stream is opened after the connection: told until it is heard.
          const timer = setInterval(() => sdk.notifyTools(), 50)
          yield* until(
            "list changed",
            (event) => event._tag === "Notified" && event.notification.method === "notifications/tools/list_changed"
          ).pipe(Effect.ensuring(Effect.sync(() => clearInterval(timer))))

          const calls = sdk.figures.calls
          const fiber = yield* Effect.forkChild(
            upstream.request({ method: "tools/call", params: { name: "slow", arguments: {} } }),
            { startImmediately: true }
          )
          yield* Harness.eventually("the call runs", () => sdk.figures.calls === calls + 1 || undefined)
          yield* Fiber.interrupt(fiber)
          yield* Harness.eventually("cancelled", () => sdk.figures.cancelled === 1 || undefined)
        }))
    }))

  it.live("a server of both eras is stateless unless the record says otherwise", () =>
    Effect.gen(function*() {
      const sdk = Servers.modern()
      const { url } = yield* Servers.listen(sdk.handler)
      yield* Harness.withUpstreams(
        [http("probed", url), http("set", url, { metadata: { "mcp-era": "handshake" } })],
        ({ get }) =>
          Effect.gen(function*() {
            assert.strictEqual((yield* (yield* get("probed")).connect).era, "stateless")
            const old = yield* (yield* get("set")).connect
            assert.strictEqual(old.era, "handshake")
            // It gives no session id: it keeps nothing.
            assert.isUndefined(old.session)
            const reply = yield* (yield* get("set")).request({
              method: "tools/call",
              params: { name: "echo", arguments: { text: "hi" } }
            })
            assert.isTrue("result" in reply, JSON.stringify(reply))
          })
      )
    }))
})

describe("what a server tells of itself", () => {
  it.live("is heard where it has a stream for that, in either era", () =>
    Effect.gen(function*() {
      const old = yield* Servers.listen(Servers.sessionful().handler)
      // Its handshake era answers GET with 405, and says all the same that it tells of changes.
      const both = yield* Servers.listen(Servers.modern().handler)
      const { handler } = Servers.sessionful()
      const failing = yield* Servers.listen((request, response) =>
        request.method === "GET" ? void response.writeHead(500).end() : handler(request, response)
      )
      yield* Harness.withUpstreams(
        [
          http("streams", old.url),
          http("fails", failing.url),
          http("listens", both.url),
          http("neither", both.url, { metadata: { "mcp-era": "handshake" } })
        ],
        ({ get }) =>
          Effect.gen(function*() {
            const heard = (id: string) =>
              Effect.gen(function*() {
                const upstream = yield* get(id)
                yield* upstream.connect
                return yield* Harness.eventually(`${id} heard or not`, () => upstream.state().heard)
              })
            const ids = ["streams", "listens", "neither", "fails"]
            assert.deepStrictEqual(yield* Effect.forEach(ids, heard), [true, true, false, false])
            const capabilities = (yield* get("neither")).state().profile?.capabilities
            assert.deepInclude(capabilities?.["tools"], { listChanged: true })
          })
      )
    }))
})

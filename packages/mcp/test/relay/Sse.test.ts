/**
 * HTTP+SSE, the transport of 2024-11-05.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js"
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js"
import { Deferred, Effect } from "effect"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import type { McpEndpointOptions } from "../../src/relay/McpEndpoint.ts"
import { eventually } from "../upstream/Harness.ts"
import { listen } from "../upstream/Servers.ts"
import { both, harness, type Message, openRequest, type Scripted, send, text } from "./Harness.ts"

const posted = { "content-type": "application/json" }

const progress = (value: number, more: object = {}): JsonRpcNotification => ({
  jsonrpc: "2.0",
  method: "notifications/progress",
  params: { progressToken: "p", progress: value, ...more }
})

const served = Effect.fnUntraced(function*(
  answer: Scripted["answer"] = () => Effect.succeed(text("x")),
  options: McpEndpointOptions = {}
) {
  const built = yield* harness({ servers: [{ id: "a", answer }], offers: [{ name: "t" }], options })
  const server = yield* listen((request, response) => {
    if (request.url === "/tools/sse") built.endpoint.sse.stream(request, response, "/tools/messages")
    else built.endpoint.sse.message(request, response)
  })
  const base = new URL(server.url).origin

  /** Opens a stream, and speaks through it. */
  const open = Effect.fnUntraced(function*(headers: Readonly<Record<string, string>> = {}) {
    const stream = yield* openRequest(`${base}/tools/sse`, "GET", { accept: "text/event-stream", ...headers })
    const address = yield* eventually("the address", () => /^data: (\/tools\/messages\?.*)$/m.exec(stream.text())?.[1])
    const url = base + address
    const messages = (): ReadonlyArray<Message> =>
      stream.text().split("\n\n").flatMap((event) => {
        const data = /^event: message\ndata: (.*)$/m.exec(event)?.[1]
        return data === undefined ? [] : [JSON.parse(data)]
      })
    const post = (value: unknown, more: Readonly<Record<string, string>> = {}) =>
      send(url, "POST", { ...posted, ...headers, ...more }, typeof value === "string" ? value : JSON.stringify(value))
    const find = (fits: (message: Message) => boolean) => eventually("a message", () => messages().find(fits))
    const ask = (id: unknown, method: string, params?: object) =>
      Effect.gen(function*() {
        const taken = yield* post({ jsonrpc: "2.0", id, method, params })
        assert.deepStrictEqual([taken.status, taken.text], [202, ""])
        return yield* find((message) => message.id === id)
      })
    return {
      stream,
      url,
      messages,
      post,
      find,
      ask,
      initialize: (protocolVersion = "2024-11-05") =>
        Effect.tap(
          ask("init", "initialize", { protocolVersion, capabilities: {}, clientInfo: { name: "c", version: "1" } }),
          () => post({ jsonrpc: "2.0", method: "notifications/initialized" })
        )
    }
  })
  return { ...built, base, open }
})

describe("HTTP+SSE", () => {
  it.live("serves the official client", () =>
    Effect.gen(function*() {
      const heard = yield* Deferred.make<void>()
      const { base, change, endpoint } = yield* served((request) =>
        Effect.suspend(() => {
          request.onNotification?.(progress(1))
          return Effect.as(Deferred.await(heard), text("called"))
        })
      )
      const client = new Client({ name: "test", version: "1" })
      const notices: Array<string> = []
      client.setNotificationHandler(ToolListChangedNotificationSchema, ({ method }) => void notices.push(method))
      const told: Array<number> = []
      yield* Effect.acquireRelease(
        Effect.promise(() => client.connect(new SSEClientTransport(new URL(`${base}/tools/sse`)))),
        () => Effect.promise(() => client.close())
      )
      const { tools } = yield* Effect.promise(() => client.listTools())
      assert.deepStrictEqual(tools.map((tool) => tool.name), ["svc__t"])
      const result = yield* Effect.promise(() =>
        client.callTool({ name: "svc__t" }, undefined, {
          onprogress: ({ progress }) => {
            told.push(progress)
            Deferred.doneUnsafe(heard, Effect.void)
          }
        })
      )
      assert.deepStrictEqual(result.content, [{ type: "text", text: "called" }])
      assert.deepStrictEqual(told, [1])
      yield* change("tools")
      yield* eventually("the notice", () => notices.length === 1 ? true : undefined)
      assert.deepStrictEqual([endpoint.figures().sessions, endpoint.figures().streams], [1, 1])
      yield* Effect.promise(() => client.close())
      yield* eventually("the session ended", () => endpoint.figures().sessions === 0 ? true : undefined)
    }))

  it.live("refuses what belongs to no stream", () =>
    Effect.gen(function*() {
      const { base, open } = yield* served(undefined, { maxBody: 1_000, maxDepth: 10 })
      const one = yield* open()
      const two = yield* open()
      assert.match(one.url, /sessionId=[\w-]{32}$/)
      assert.notStrictEqual(one.url, two.url)
      const ping = { jsonrpc: "2.0", id: 1, method: "ping" }
      const messages = `${base}/tools/messages`
      const status = (url: string, method: string, headers: Readonly<Record<string, string>>, body?: string) =>
        Effect.map(send(url, method, headers, body), (answer) => [answer.status, answer.messages[0]?.error?.code])
      const json = JSON.stringify(ping)
      assert.deepStrictEqual(yield* status(messages, "POST", posted, json), [400, -32600])
      assert.deepStrictEqual(yield* status(`${messages}?sessionId=x`, "POST", posted, json), [404, -32001])
      assert.deepStrictEqual(yield* status(one.url, "GET", posted), [405, -32600])
      assert.deepStrictEqual(yield* status(`${base}/tools/sse`, "POST", both, json), [405, -32600])
      assert.deepStrictEqual(yield* status(`${base}/tools/sse`, "GET", { accept: "text/html" }), [406, -32600])
      assert.deepStrictEqual(yield* status(one.url, "POST", { "content-type": "text/plain" }, json), [415, -32600])
      assert.deepStrictEqual(
        yield* status(one.url, "POST", { ...posted, "content-encoding": "gzip" }, json),
        [415, -32600]
      )
      assert.deepStrictEqual(yield* status(one.url, "POST", posted, "{"), [400, -32700])
      assert.deepStrictEqual(yield* status(one.url, "POST", posted, "[".repeat(50)), [400, -32700])
      assert.deepStrictEqual(yield* status(one.url, "POST", posted, "x".repeat(2_000)), [413, -32600])
      // What is JSON and no message is answered where replies are.
      assert.strictEqual((yield* one.post(3)).status, 202)
      assert.strictEqual((yield* one.find((each) => each.error !== undefined)).error?.code, -32600)
      assert.strictEqual((yield* one.ask(9, "tools/list")).error?.code, -32600)
      // A client that tries the stateless era first learns that this isn't its transport.
      const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28" }
      assert.strictEqual((yield* one.ask(10, "server/discover", { _meta: meta })).error?.code, -32600)
      yield* one.initialize()
      assert.deepStrictEqual(Object.keys((yield* one.ask(11, "tools/list")).result ?? {}), ["tools"])
      assert.strictEqual(two.messages().length, 0)
    }))

  it.live("belongs to whoever opened it", () =>
    Effect.gen(function*() {
      const { open } = yield* served(undefined, {
        principal: (request) => request.headers["x-user"]?.toString()
      })
      const { initialize, post } = yield* open({ "x-user": "ann" })
      yield* initialize()
      assert.strictEqual((yield* post({ jsonrpc: "2.0", id: 1, method: "ping" }, { "x-user": "bob" })).status, 404)
      assert.strictEqual((yield* post({ jsonrpc: "2.0", id: 1, method: "ping" })).status, 202)
    }))

  it.live("cancels what is in flight when the stream ends, and forgets the session", () =>
    Effect.gen(function*() {
      const cancelled = yield* Deferred.make<void>()
      const { endpoint, open } = yield* served(() =>
        Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined)))
      )
      const { initialize, post, stream } = yield* open()
      yield* initialize()
      yield* post({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__t" } })
      yield* eventually("the call is under way", () => endpoint.figures().callsInFlight === 1 ? true : undefined)
      stream.close()
      yield* Deferred.await(cancelled)
      yield* eventually("all is gone", () => {
        const { sessions, streams } = endpoint.figures()
        return sessions === 0 && streams === 0 ? true : undefined
      })
      assert.strictEqual((yield* post({ jsonrpc: "2.0", id: 2, method: "ping" })).status, 404)
    }))

  it.live("cuts a client that doesn't read", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      let sent = 0
      const big = "x".repeat(100_000)
      const { endpoint, open } = yield* served((request) =>
        Effect.gen(function*() {
          for (let step = 1; step <= 2_000; step++) {
            sent = step
            request.onNotification?.(progress(step, { message: big }))
            yield* Effect.sleep(0)
          }
          return text("done")
        }).pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined))), { maxBuffered: 300_000 })
      const { initialize, post, stream } = yield* open()
      yield* initialize()
      stream.pause()
      yield* post({
        jsonrpc: "2.0",
        id: 1,
        method: "tools/call",
        params: { name: "svc__t", _meta: { progressToken: 1 } }
      })
      yield* Deferred.await(interrupted)
      assert.isBelow(sent, 1_000)
      yield* eventually("the session ended", () => endpoint.figures().sessions === 0 ? true : undefined)
    }))

  it.live("is bounded in streams and sessions, and drains", () =>
    Effect.gen(function*() {
      const { base, endpoint, open } = yield* served(undefined, { maxStreams: 2, maxSessions: 1 })
      const one = yield* open()
      const two = yield* open()
      const third = yield* send(`${base}/tools/sse`, "GET", { accept: "text/event-stream" })
      assert.deepStrictEqual([third.status, third.headers["retry-after"]], [503, "1"])
      yield* one.initialize()
      assert.strictEqual((yield* two.initialize()).error?.code, -31000)
      yield* endpoint.drain
      yield* eventually("the streams ended", () => one.stream.ended() && two.stream.ended() ? true : undefined)
      assert.strictEqual((yield* send(`${base}/tools/sse`, "GET", { accept: "text/event-stream" })).status, 503)
    }))

  it.live("sends log messages of no call to its session, at its level", () =>
    Effect.gen(function*() {
      const { emit, open } = yield* served()
      const { ask, find, initialize, messages } = yield* open()
      yield* initialize()
      yield* ask(1, "logging/setLevel", { level: "warning" })
      for (const level of ["info", "error"]) {
        yield* emit("a", { jsonrpc: "2.0", method: "notifications/message", params: { level, data: level } })
      }
      yield* find((each) => each.params?.["level"] === "error")
      assert.isUndefined(messages().find((each) => each.params?.["level"] === "info"))
    }))
})

/**
 * Streams that clients lose and go on with, over HTTP.
 */
import { assert, describe, it } from "@effect/vitest"
import { Client as Client2, StreamableHTTPClientTransport as Http2 } from "@modelcontextprotocol/client"
import { Client } from "@modelcontextprotocol/sdk/client/index.js"
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js"
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js"
import { Deferred, Effect, Fiber, Redacted } from "effect"
import type { Socket } from "node:net"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { JsonRpcNotification } from "../../src/JsonRpc.ts"
import type { UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { harness, type Open, openRequest, send, text } from "./Harness.ts"

setFlagsFromString("--expose-gc")
/** Collects what nobody holds any more. */
const collect: () => void = runInNewContext("gc")

const progress = (value: number, more: object = {}): JsonRpcNotification => ({
  jsonrpc: "2.0",
  method: "notifications/progress",
  params: { progressToken: "p", progress: value, ...more }
})

/** The endpoint over a server of which the calls go on when the test says so. */
const gated = Effect.fnUntraced(function*(
  options?: Parameters<typeof harness>[0]["options"],
  result: string = "done"
) {
  const gate = yield* Deferred.make<void>()
  const running: Array<UpstreamRequest> = []
  const built = yield* harness({
    servers: [{
      id: "a",
      answer: (request) =>
        Effect.suspend(() => {
          running.push(request)
          return Effect.as(Deferred.await(gate), text(result))
        })
    }],
    offers: [{ name: "wait" }],
    options
  })
  return { ...built, gate, running }
})

const calls = (id: unknown, more: object = {}) =>
  JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "svc__wait", ...more } })

const withProgress = { _meta: { progressToken: "mine" } }

/** Ids of the events so far. */
const idsOf = (stream: Open): ReadonlyArray<string> =>
  stream.text().split("\n").filter((line) => line.startsWith("id: ")).map((line) => line.slice(4))

const lastId = (stream: Open): string => idsOf(stream).at(-1) ?? assert.fail("no event has an id")

const progressOf = (stream: Open) =>
  stream.messages().filter(({ method }) => method === "notifications/progress").map(({ params }) =>
    params?.["progress"]
  )

/** A call of which the first event has reached the client. */
const begun = Effect.fnUntraced(function*(
  { running, url }: { readonly running: ReadonlyArray<UpstreamRequest>; readonly url: string },
  headers: Readonly<Record<string, string>>,
  id: unknown = 1
) {
  const opening = yield* Effect.forkChild(openRequest(url, "POST", headers, calls(id, withProgress)))
  const call = yield* eventually("the call", () => running[0])
  call.onNotification?.(progress(1))
  const stream = yield* Fiber.join(opening)
  yield* eventually("the first event", () => progressOf(stream).length === 1 ? true : undefined)
  return { call, stream }
})

const listening = { accept: "text/event-stream" }

describe("a reply by events", () => {
  it.live("goes on where the client stopped reading", () =>
    Effect.gen(function*() {
      const { endpoint, gate, initialize, running, url } = yield* gated()
      const { headers } = yield* initialize()
      const { call, stream: first } = yield* begun({ running, url }, headers)
      // The first tells how to come back.
      assert.match(first.text(), /^id: \S+\nretry: 1000\ndata:\n\n/)
      first.close()
      yield* eventually("the end is known", () => first.ended() ? true : undefined)
      for (const value of [2, 3]) call.onNotification?.(progress(value))

      const second = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("what was missed", () => progressOf(second).length === 2 ? true : undefined)
      assert.deepStrictEqual(progressOf(second), [2, 3])
      call.onNotification?.(progress(4))
      yield* eventually("what is new", () => progressOf(second).length === 3 ? true : undefined)
      yield* Deferred.succeed(gate, undefined)
      yield* eventually("the end", () => second.ended() ? true : undefined)
      assert.deepStrictEqual(second.messages().at(-1)?.id, 1)
      assert.deepStrictEqual(second.messages().at(-1)?.result?.["content"], [{ type: "text", text: "done" }])

      // Whoever lost that, too, comes back after the end.
      const third = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("the end", () => third.ended() ? true : undefined)
      assert.deepStrictEqual(progressOf(third), [2, 3, 4])
      assert.strictEqual(third.messages().at(-1)?.id, 1)
      // The call ran once.
      assert.lengthOf(running, 1)
      yield* eventually("no stream is left", () => endpoint.figures().streams === 0 ? true : undefined)
    }))

  it.live("has ids in versions that know them, and is announced in the newest alone", () =>
    Effect.gen(function*() {
      for (
        const [version, ids, primed] of [
          ["2025-11-25", 3, true],
          ["2025-06-18", 2, false],
          ["2025-03-26", 2, false],
          ["2024-11-05", 0, false]
        ] as const
      ) {
        const { gate, initialize, running, url } = yield* gated()
        const { headers } = yield* initialize(version)
        const opening = yield* Effect.forkChild(openRequest(url, "POST", headers, calls(1, withProgress)))
        const call = yield* eventually("the call", () => running[0])
        call.onNotification?.(progress(1))
        const stream = yield* Fiber.join(opening)
        yield* Deferred.succeed(gate, undefined)
        yield* eventually("the end", () => stream.ended() ? true : undefined)
        assert.deepStrictEqual([version, idsOf(stream).length, /^data:$/m.test(stream.text())], [version, ids, primed])
      }
    }))

  it.live("is over for a client that reads nothing, and kept within bounds", () =>
    Effect.gen(function*() {
      const { gate, initialize, running, url } = yield* gated({ maxBuffered: 100_000, maxReplay: 50_000 })
      const { headers } = yield* initialize()
      const { call, stream } = yield* begun({ running, url }, headers)
      stream.pause()
      collect()
      const before = process.memoryUsage().heapUsed
      for (let value = 2; value <= 100_000; value++) {
        call.onNotification?.(progress(value))
        if (value % 1_000 === 0) yield* Effect.yieldNow
      }
      collect()
      assert.isBelow(process.memoryUsage().heapUsed - before, 8_000_000)
      yield* Deferred.succeed(gate, undefined)
      const again = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(stream) })
      yield* eventually("the end", () => again.ended() ? true : undefined)
      const missed = progressOf(again)
      // The newest are there, in order and without gaps, and so is the reply.
      assert.isAtMost(again.text().length, 80_000)
      assert.isAbove(missed.length, 100)
      assert.deepStrictEqual(missed, Array.from(missed, (_, index) => 100_001 - missed.length + index))
      assert.strictEqual(again.messages().at(-1)?.id, 1)
    }), 60_000)

  it.live("that is too large to be kept is named in place of it", () =>
    Effect.gen(function*() {
      const { gate, initialize, running, url } = yield* gated({ maxReplay: 10_000 }, "x".repeat(20_000))
      const { headers } = yield* initialize()
      const { stream: first } = yield* begun({ running, url }, headers, "big")
      first.close()
      yield* Deferred.succeed(gate, undefined)
      const again = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("the end", () => again.ended() ? true : undefined)
      const [reply] = again.messages()
      assert.deepStrictEqual([reply?.id, reply?.error?.code], ["big", -31001])
      assert.include(reply?.error?.message, "bytes are more than is kept")
    }))

  it.live("of which nothing is left ends with an error, here and on another replica; a wrong id is refused", () =>
    Effect.gen(function*() {
      const sessionKey = Redacted.make("shared")
      const one = yield* gated({ sessionKey })
      const two = yield* gated({ sessionKey })
      const { headers } = yield* one.initialize()
      const { stream: first } = yield* begun(one, headers, 7)
      const again = yield* openRequest(two.url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("the end", () => again.ended() ? true : undefined)
      assert.deepStrictEqual(again.messages().map(({ error, id }) => [id, error?.code]), [[7, -31001]])
      const over = yield* send(two.url, "GET", { ...headers, ...listening, "last-event-id": lastId(again) })
      assert.strictEqual(over.status, 405)
      for (const id of ["x", "1", "a.b.c.d", lastId(first).slice(0, -3), `${"x".repeat(5_000)}.1.1.s`]) {
        const refused = yield* send(one.url, "GET", { ...headers, ...listening, "last-event-id": id })
        assert.deepStrictEqual([id, refused.status], [id, 400])
      }
      // Nobody else's session helps.
      const other = yield* one.initialize()
      const foreign = yield* openRequest(one.url, "GET", {
        ...other.headers,
        ...listening,
        "last-event-id": lastId(first)
      })
      yield* eventually("the end", () => foreign.ended() ? true : undefined)
      assert.deepStrictEqual(foreign.messages().map(({ error, id }) => [id, error?.code]), [[7, -31001]])
      yield* Deferred.succeed(one.gate, undefined)
      yield* eventually("the reply", () => first.ended() ? true : undefined)
      assert.strictEqual(first.messages().at(-1)?.id, 7)
    }))

  it.live("is told to be lost where nothing is kept from now on, and no stream is announced any more", () =>
    Effect.gen(function*() {
      const { endpoint, gate, initialize, post, running, url } = yield* gated()
      const { headers } = yield* initialize()
      const { stream: first } = yield* begun({ running, url }, headers)
      first.close()
      yield* eventually("the end is known", () => first.ended() ? true : undefined)
      yield* endpoint.reconfigure({ maxReplay: 0 })
      yield* Deferred.succeed(gate, undefined)
      yield* eventually("the end of the call", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
      const again = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("the end", () => again.ended() ? true : undefined)
      assert.deepStrictEqual(again.messages().map(({ error, id }) => [id, error?.code]), [[1, -31001]])
      assert.strictEqual((yield* post(calls(2), headers)).status, 200)
      const unprimed = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* endpoint.reconfigure({})
      const primed = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* eventually("how to come back", () => idsOf(primed).length === 1 ? true : undefined)
      assert.deepStrictEqual(idsOf(unprimed), [])
    }))

  it.live("is cancelled by its client alone, not by the loss of its connection", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, running, url } = yield* gated()
      const { headers } = yield* initialize()
      const { stream } = yield* begun({ running, url }, headers)
      stream.close()
      yield* eventually("the end is known", () => stream.ended() ? true : undefined)
      assert.strictEqual(endpoint.figures().callsInFlight, 1)
      yield* post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } }, headers)
      yield* eventually("it is cancelled", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
      const again = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(stream) })
      assert.strictEqual(again.status, 405)
    }))
})

describe("an endpoint that drains", () => {
  it.live("lets clients come back for the replies that it still waits for", () =>
    Effect.gen(function*() {
      const { endpoint, gate, initialize, running, url } = yield* gated()
      const { headers } = yield* initialize()
      const { stream: first } = yield* begun({ running, url }, headers)
      const drained = yield* Effect.forkChild(endpoint.drain, { startImmediately: true })
      first.close()
      yield* eventually("the end is known", () => first.ended() ? true : undefined)
      assert.strictEqual((yield* send(url, "GET", { ...headers, ...listening })).status, 503)
      const again = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      assert.strictEqual(again.status, 200)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(drained)
      yield* eventually("the end", () => again.ended() ? true : undefined)
      assert.strictEqual(again.messages().at(-1)?.id, 1)
    }))
})

describe("the stream of a session", () => {
  const log = (data: string): JsonRpcNotification => ({
    jsonrpc: "2.0",
    method: "notifications/message",
    params: { level: "error", data }
  })
  const dataOf = (stream: Open) =>
    stream.messages().filter(({ method }) => method === "notifications/message").map(({ params }) => params?.["data"])

  it.live("goes on where the client stopped reading", () =>
    Effect.gen(function*() {
      const { change, emit, endpoint, initialize, url } = yield* gated()
      const { headers } = yield* initialize()
      const first = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* eventually("how to come back", () => idsOf(first).length === 1 ? true : undefined)
      yield* emit("a", log("one"))
      yield* eventually("the first message", () => dataOf(first).length === 1 ? true : undefined)
      first.close()
      yield* eventually("the end is known", () => endpoint.figures().streams === 0 ? true : undefined)
      yield* emit("a", log("two"))
      yield* change("tools")
      // Only what belongs to the stream: another one has none of it.
      const second = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("all of it", () => second.messages().length === 2 ? true : undefined)
      assert.deepStrictEqual(dataOf(second), ["two"])
      assert.deepStrictEqual(second.messages().map(({ method }) => method).sort(), [
        "notifications/message",
        "notifications/tools/list_changed"
      ])
      yield* emit("a", log("three"))
      yield* eventually("what is new", () => dataOf(second).length === 2 ? true : undefined)
      // Of two that name one event, the later one has the stream.
      const third = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      yield* eventually("the second is ended", () => second.ended() ? true : undefined)
      assert.deepStrictEqual(dataOf(third), ["two", "three"])
      yield* eventually("one is left", () => endpoint.figures().streams === 1 ? true : undefined)
      // Also where that breaks again.
      third.close()
      yield* eventually("the end is known", () => endpoint.figures().streams === 0 ? true : undefined)
      yield* emit("a", log("four"))
      const fourth = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(third) })
      yield* eventually("what was missed", () => dataOf(fourth).length > 0 ? true : undefined)
      assert.deepStrictEqual(dataOf(fourth), ["four"])
    }))

  it.live("is not counted twice while its former connection seems to be open", () =>
    Effect.gen(function*() {
      const { emit, endpoint, initialize, url } = yield* gated()
      const { headers } = yield* initialize()
      const others: Array<Open> = []
      for (let count = 0; count < 3; count++) others.push(yield* openRequest(url, "GET", { ...headers, ...listening }))
      let stream = yield* openRequest(url, "GET", { ...headers, ...listening })
      for (let count = 0; count < 6; count++) {
        const former = stream
        yield* eventually("how to come back", () => idsOf(former).length > 0 ? true : undefined)
        stream = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(former) })
        yield* emit("a", log(`${count}`))
        yield* eventually("a message", () => dataOf(stream).length === 1 ? true : undefined)
      }
      yield* eventually("four are left", () => endpoint.figures().streams === 4 ? true : undefined)
      assert.deepStrictEqual([...others, stream].map((each) => each.ended()), [false, false, false, false])
      // The one that is ended to make room for others is over: whoever comes back for it gets another one.
      for (let count = 0; count < 4; count++) yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* eventually("the stream is ended", () => stream.ended() ? true : undefined)
      const anew = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": lastId(stream) })
      yield* emit("a", log("new"))
      yield* eventually("a message", () => dataOf(anew).length === 1 ? true : undefined)
      assert.deepStrictEqual([dataOf(anew), anew.ended()], [["new"], false])
    }))

  it.live("begins anew where nothing is left of it", () =>
    Effect.gen(function*() {
      const sessionKey = Redacted.make("shared")
      const one = yield* gated({ sessionKey })
      const two = yield* gated({ sessionKey })
      const { headers } = yield* one.initialize()
      const first = yield* openRequest(one.url, "GET", { ...headers, ...listening })
      yield* eventually("how to come back", () => idsOf(first).length === 1 ? true : undefined)
      const second = yield* openRequest(two.url, "GET", { ...headers, ...listening, "last-event-id": lastId(first) })
      assert.strictEqual(second.status, 200)
      yield* eventually("how to come back", () => idsOf(second).length === 1 ? true : undefined)
      yield* two.emit("a", log("hello"))
      yield* eventually("a message", () => dataOf(second).length === 1 ? true : undefined)
    }))

  it.live("is not kept where nothing is to be", () =>
    Effect.gen(function*() {
      const { emit, endpoint, initialize, url } = yield* gated({ maxReplay: 0 })
      const { headers } = yield* initialize()
      const first = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* eventually("it is open", () => endpoint.figures().streams === 1 ? true : undefined)
      first.close()
      yield* eventually("the end is known", () => endpoint.figures().streams === 0 ? true : undefined)
      yield* emit("a", log("lost"))
      assert.deepStrictEqual(idsOf(first), [])
      const second = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* emit("a", log("new"))
      yield* eventually("a message", () => dataOf(second).length === 1 ? true : undefined)
      assert.deepStrictEqual(dataOf(second), ["new"])
    }))
})

describe("the official client", () => {
  it.live("leaves a call alone that failed, or was cancelled, after events of it", () =>
    Effect.gen(function*() {
      const { endpoint, server, url } = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.suspend(() => {
              request.onNotification?.(progress(1))
              const fails = request.params?.["name"] === "fail"
              return fails ? Effect.succeed({ error: { code: -32602, message: "no" } }) : Effect.never
            })
        }],
        offers: [{ name: "fail" }, { name: "wait" }]
      })
      const statuses: Array<number> = []
      server.on("request", (request, response) => {
        if (request.headers["last-event-id"] !== undefined) {
          response.on("finish", () => void statuses.push(response.statusCode))
        }
      })
      const client = new Client({ name: "c", version: "1" })
      const transport = new StreamableHTTPClientTransport(new URL(url))
      yield* Effect.acquireRelease(
        Effect.promise(() => client.connect(transport)),
        () => Effect.promise(() => client.close())
      )
      const call = (name: string, signal: AbortSignal, onprogress: () => void) =>
        client.callTool({ name }, undefined, { onprogress, signal }).then(() => "answered", () => "failed")
      const controller = new AbortController()
      const outcomes = yield* Effect.promise(() =>
        Promise.all([
          ...Array.from({ length: 6 }, () => call("svc__fail", controller.signal, () => {})),
          call("svc__wait", controller.signal, () => controller.abort())
        ])
      )
      assert.deepStrictEqual(outcomes, Array.from({ length: 7 }, () => "failed"))
      yield* eventually("it came back once for each", () => statuses.length >= 7 ? true : undefined)
      assert.deepStrictEqual(statuses, Array.from({ length: 7 }, () => 405))
      assert.strictEqual(endpoint.figures().streams, 1)
    }))

  type Call = (name: string, onprogress: (progress: number) => void) => Promise<object>

  const clients: Readonly<
    Record<string, (url: string) => Promise<{ readonly call: Call; readonly close: () => Promise<void> }>>
  > = {
    "SDK 1.x": async (url) => {
      const client = new Client({ name: "c", version: "1" })
      await client.connect(new StreamableHTTPClientTransport(new URL(url)) as Transport)
      return {
        call: (name, heard) => client.callTool({ name }, undefined, { onprogress: ({ progress }) => heard(progress) }),
        close: () => client.close()
      }
    },
    "SDK 2.x": async (url) => {
      const client = new Client2({ name: "c", version: "1" })
      await client.connect(new Http2(new URL(url)))
      return {
        call: (name, heard) => client.callTool({ name }, { onprogress: ({ progress }) => heard(progress) }),
        close: () => client.close()
      }
    }
  }

  for (const [name, connect] of Object.entries(clients)) {
    it.live(`gets its reply over connections that break in the middle of the call: ${name}`, () =>
      Effect.gen(function*() {
        const { gate, running, server, url } = yield* gated()
        const sockets = new Set<Socket>()
        server.on("connection", (socket) => {
          sockets.add(socket)
          socket.on("close", () => sockets.delete(socket))
        })
        const resumed: Array<unknown> = []
        server.on("request", (request) => {
          const last = request.headers["last-event-id"]
          if (last !== undefined) resumed.push(last)
        })
        const { call } = yield* Effect.acquireRelease(
          Effect.promise(() => connect(url)),
          ({ close }) => Effect.promise(() => close())
        )
        const seen: Array<number> = []
        const result = yield* Effect.forkChild(
          Effect.promise(() => call("svc__wait", (value) => void seen.push(value))),
          { startImmediately: true }
        )
        const sent = yield* eventually("the call", () => running[0])
        sent.onNotification?.(progress(1))
        yield* eventually("progress", () => seen.length === 1 ? true : undefined)
        for (const socket of sockets) socket.destroy()
        // Its stream and that of its session; the first breaks again before anything came.
        yield* eventually("it is back", () => resumed.length === 2 ? true : undefined)
        for (const socket of sockets) socket.destroy()
        sent.onNotification?.(progress(2))
        yield* Deferred.succeed(gate, undefined)
        assert.deepInclude(yield* Fiber.join(result), { content: [{ type: "text", text: "done" }] })
        assert.deepStrictEqual(seen, [1, 2])
        assert.lengthOf(running, 1)
      }))
  }
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { IncomingMessage, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import { WebSocket, WebSocketServer } from "ws"
import type { Failure } from "../../src/upstream/transports/Connection.ts"
import * as WebSocketConnection from "../../src/upstream/transports/WebSocketConnection.ts"
import type { UpstreamsOptions } from "../../src/upstream/Upstreams.ts"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: { readonly name?: string }
}

const call = (name: string) => ({ method: "tools/call", params: { name } })

const initialized = (message: Message) => ({
  jsonrpc: "2.0",
  id: message.id,
  result: { protocolVersion: "2024-11-05", capabilities: {}, serverInfo: { name: "hostile", version: "1" } }
})

const result = (message: Message, value: object = {}) => ({ jsonrpc: "2.0", id: message.id, result: value })

const input = (transport: "sse" | "websocket", url: string, headers?: Harness.Env): Harness.Input => ({
  id: "a",
  service: "a",
  endpoint: { transport, url, ...(headers === undefined ? {} : { headers }) }
})

const failedReason = (input: Harness.Input, options: UpstreamsOptions = {}) =>
  Harness.withUpstreams([input], ({ until }) =>
    Effect.map(
      until("failed", (event) => event._tag === "Failed"),
      (event) => event._tag === "Failed" ? event.reason : ""
    ), options)

const noSocketsLeft = (running: Servers.Running) =>
  Effect.suspend(() => {
    let open = -1
    const ask = setInterval(() => running.server.getConnections((_, count) => (open = count)), 10)
    return Harness.eventually("no sockets", () => open === 0 || undefined, 5_000).pipe(
      Effect.ensuring(Effect.sync(() => clearInterval(ask)))
    )
  })

/** HTTP+SSE that shakes hands and answers calls as it is told. */
const sse = (
  answer: (message: Message, stream: ServerResponse, response: ServerResponse) => void,
  open: (stream: ServerResponse, request: IncomingMessage) => void = (stream) =>
    stream.write("event: endpoint\ndata: /m\n\n")
) =>
  Effect.gen(function*() {
    let stream: ServerResponse | undefined
    const posted: Array<Message> = []
    const running = yield* Servers.listen((request, response) => {
      if (request.method === "GET") {
        stream = response
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.flushHeaders()
        return void open(response, request)
      }
      void Servers.body(request).then((text) => {
        const message: Message = JSON.parse(text)
        posted.push(message)
        if (stream === undefined) return response.writeHead(404).end()
        if (message.method === "tools/call") return answer(message, stream, response)
        response.writeHead(202).end()
        if (message.method === "initialize") say(stream, initialized(message))
      })
    })
    return { running, posted, url: `http://127.0.0.1:${running.port}/sse` }
  })

const say = (stream: ServerResponse, message: object) => stream.write(`data: ${JSON.stringify(message)}\n\n`)

describe("HTTP+SSE", () => {
  it.live("a server that never says where to send messages isn't waited for", () =>
    Effect.gen(function*() {
      const { url } = yield* sse(() => {}, () => {})
      assert.strictEqual(
        yield* failedReason(input("sse", url), { connectTimeout: "300 millis" }),
        "no answer to the handshake within 300ms"
      )
    }))

  it.live("nothing is sent to another origin", () =>
    Effect.gen(function*() {
      let asked = 0
      const other = yield* Servers.listen((_, response) => {
        asked++
        response.end()
      })
      const { running, url } = yield* sse(() => {}, (stream) =>
        stream.write(`event: endpoint\ndata: http://127.0.0.1:${other.port}/m\n\n`))
      const origin = `http://127.0.0.1:${running.port}`
      assert.strictEqual(
        yield* failedReason(input("sse", url, { authorization: "Bearer s3cr3t" })),
        `the server wants messages sent to http://127.0.0.1:${other.port}, not to ${origin}`
      )
      assert.strictEqual(asked, 0)
    }))

  it.live("a refused stream, and one that is none, are told", () =>
    Effect.gen(function*() {
      const refused = yield* Servers.listen((_, response) => void response.writeHead(403).end("not you"))
      assert.strictEqual(yield* failedReason(input("sse", refused.url)), "HTTP 403: not you")
      const page = yield* Servers.listen((_, response) => void response.end("<html>"))
      assert.strictEqual(
        yield* failedReason(input("sse", page.url)),
        "answered with something that is no stream of events"
      )
      const ended = yield* sse(() => {}, (stream) => stream.end())
      assert.strictEqual(yield* failedReason(input("sse", ended.url)), "the server ended the stream")
    }))

  it.live("garbage and events of others are passed over, and a flood of requests is bounded", () =>
    Effect.gen(function*() {
      const { posted, url } = yield* sse((message, stream, response) => {
        response.writeHead(202).end()
        stream.write(": comment\n\nevent: endpoint\ndata: http://evil.test/\n\nevent: other\ndata: {}\n\n")
        stream.write("data: not json\n\ndata: [1, null, {}]\n\ndata: {\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}\n\n")
        for (let id = 0; id < 1_000; id++) say(stream, { jsonrpc: "2.0", id: `s${id}`, method: "ping" })
        say(stream, result(message, { fine: true }))
      })
      yield* Harness.withUpstreams([input("sse", url)], ({ get }) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* (yield* get("a")).request(call("x")), { result: { fine: true } })
          yield* Harness.eventually("answers", () => posted.some((one) => one.method === undefined) || undefined)
          assert.isAtMost(posted.filter((one) => one.method === undefined).length, 64)
        }))
    }))

  it.live("a reply that is too long fails its call alone", () =>
    Effect.gen(function*() {
      const held: Array<Message> = []
      const { url } = yield* sse((message, stream, response) => {
        response.writeHead(202).end()
        if (message.params?.name === "held") return void held.push(message)
        if (message.params?.name === "long") say(stream, result(message, { text: "x".repeat(300_000) }))
        else for (const one of [...held, message]) say(stream, result(one))
      })
      yield* Harness.withUpstreams([input("sse", url)], ({ get, seen }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const waiting = yield* Effect.forkChild(upstream.request(call("held")), { startImmediately: true })
          yield* Harness.eventually("held", () => held.length === 1 || undefined)
          const error = yield* Effect.flip(upstream.request(call("long")))
          assert.deepInclude(error, {
            phase: "answered",
            reason: "the reply is longer than 100000 bytes",
            tooLong: true
          })
          assert.deepStrictEqual(yield* upstream.request(call("short")), { result: {} })
          assert.deepStrictEqual(yield* Fiber.join(waiting), { result: {} })
          assert.strictEqual(seen.filter(({ _tag }) => _tag === "Connected").length, 1)
        }), { maxMessageSize: 100_000 })
    }))

  it.live("a POST that is refused, cut, or never answered concerns its call alone", () =>
    Effect.gen(function*() {
      let closed = 0
      const { running, url } = yield* sse((message, stream, response) => {
        switch (message.params?.name) {
          case "refused":
            return void response.writeHead(503, { "retry-after": "7" }).end("busy")
          case "cut":
            return void response.destroy()
          default:
            response.once("close", () => closed++)
            say(stream, result(message))
        }
      })
      yield* Harness.withUpstreams([input("sse", url)], ({ get, seen }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          assert.deepInclude(yield* Effect.flip(upstream.request(call("refused"))), {
            phase: "answered",
            reason: "HTTP 503: busy",
            status: 503,
            retryAfter: 7_000
          })
          assert.deepInclude(yield* Effect.flip(upstream.request(call("cut"))), {
            phase: "mayHaveRun",
            reason: "connection closed by the server"
          })
          assert.deepStrictEqual(yield* upstream.request(call("unanswered")), { result: {} })
          yield* Harness.eventually("given up", () => closed === 1 || undefined, 5_000)
          assert.strictEqual(seen.filter(({ _tag }) => _tag === "Connected").length, 1)
        }))
      yield* noSocketsLeft(running)
    }))

  it.live("a call that is given up before the stream opens is never sent", () =>
    Effect.gen(function*() {
      const { posted, running, url } = yield* sse(() => {}, () => {})
      yield* Harness.withUpstreams([input("sse", url)], ({ get }) =>
        Effect.gen(function*() {
          const fiber = yield* Effect.forkChild((yield* get("a")).request(call("x")), { startImmediately: true })
          yield* Fiber.interrupt(fiber)
        }))
      assert.deepStrictEqual(posted, [])
      yield* noSocketsLeft(running)
    }))
})

/** A WebSocket that shakes hands and answers calls as it is told. */
const socket = (
  answer: (message: Message, socket: WebSocket) => void,
  options: {
    readonly protocol?: string | false
    readonly upgrade?: (raw: Socket) => boolean
    readonly autoPong?: boolean
    /** Whether it has dealt with the message. */
    readonly hear?: (message: Message, socket: WebSocket) => boolean
  } = {}
) =>
  Effect.gen(function*() {
    const sockets = new WebSocketServer({
      noServer: true,
      handleProtocols: () => options.protocol ?? "mcp",
      autoPong: options.autoPong ?? true
    })
    const running = yield* Servers.listen((_, response) => void response.writeHead(404).end())
    const raws = new Set<Socket>()
    running.server.on("upgrade", (request, raw: Socket, head) => {
      raws.add(raw)
      if (options.upgrade?.(raw) === true) return
      sockets.handleUpgrade(request, raw, head, (client) => sockets.emit("connection", client, request))
    })
    sockets.on("connection", (client) => {
      client.on("error", () => {})
      client.on("message", (data: Buffer) => {
        const message: Message = JSON.parse(data.toString("utf8"))
        if (options.hear?.(message, client) === true) return
        if (message.method === "initialize") client.send(JSON.stringify(initialized(message)))
        else if (message.method === "tools/call") answer(message, client)
        else if (message.id !== undefined) {
          client.send(JSON.stringify({ jsonrpc: "2.0", id: message.id, error: { code: -32601, message: "?" } }))
        }
      })
    })
    yield* Effect.addFinalizer(() =>
      Effect.sync(() => {
        for (const raw of raws) raw.destroy()
      })
    )
    return { running, sockets, raws, url: `ws://127.0.0.1:${running.port}/` }
  })

describe("WebSocket", () => {
  it.live("a refused, a foreign and a silent server are told", () =>
    Effect.gen(function*() {
      const refused = yield* socket(() => {}, {
        upgrade: (raw) => raw.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 7\r\n\r\nnot you") !== undefined
      })
      assert.strictEqual(yield* failedReason(input("websocket", refused.url)), "HTTP 403: not you")
      const foreign = yield* socket(() => {}, { protocol: false })
      assert.strictEqual(
        yield* failedReason(input("websocket", foreign.url)),
        "the server doesn't speak MCP: it didn't take the subprotocol mcp"
      )
      const silent = yield* socket(() => {}, { upgrade: () => true })
      assert.match(
        yield* failedReason(input("websocket", silent.url), { connectTimeout: "300 millis" }),
        /^no connection in time$|^no answer to the handshake within 300ms$/
      )
      assert.match(
        yield* failedReason(input("websocket", refused.url, { "x-bad": "a\u0000b" })),
        /Invalid character in header/
      )
    }))

  it.live("garbage is passed over, batches and binary frames are read", () =>
    Effect.gen(function*() {
      const { url } = yield* socket((message, client) => {
        client.send("not json")
        client.send("[1, null]")
        client.send(Buffer.from("{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{}}"))
        client.send(Buffer.from(JSON.stringify([result(message, { fine: true })])))
      })
      yield* Harness.withUpstreams([input("websocket", url)], ({ get }) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* (yield* get("a")).request(call("x")), { result: { fine: true } })
        }))
    }))

  it.live("a server that closes while a call runs, or sends too much, may have run it; the next call works", () =>
    Effect.gen(function*() {
      const { running, url } = yield* socket((message, client) => {
        switch (message.params?.name) {
          case "close":
            return client.close(1011, "oops")
          case "long":
            return client.send(JSON.stringify(result(message, { text: "x".repeat(300_000) })))
          case "huge":
            return client.send(JSON.stringify(result(message, { text: "x".repeat(500_000) })))
          case "never":
            return
          default:
            return client.send(JSON.stringify(result(message)))
        }
      })
      yield* Harness.withUpstreams([input("websocket", url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          assert.deepInclude(yield* Effect.flip(upstream.request(call("close"))), {
            phase: "mayHaveRun",
            reason: "closed by the server (1011): oops"
          })
          assert.deepStrictEqual(yield* upstream.request(call("x")), { result: {} })
          const other = yield* Effect.forkChild(Effect.flip(upstream.request(call("never"))), {
            startImmediately: true
          })
          assert.deepInclude(yield* Effect.flip(upstream.request(call("long"))), {
            phase: "answered",
            reason: "the reply is longer than 100000 bytes",
            tooLong: true
          })
          assert.deepStrictEqual(yield* upstream.request(call("x")), { result: {} })
          assert.isUndefined(other.pollUnsafe())
          assert.deepInclude(yield* Effect.flip(upstream.request(call("huge"))), {
            phase: "mayHaveRun",
            reason: "a message of the server is longer than 400000 bytes"
          })
          assert.strictEqual((yield* Fiber.join(other)).phase, "mayHaveRun")
          assert.deepStrictEqual(yield* upstream.request(call("x")), { result: {} })
        }), { maxMessageSize: 100_000 })
      yield* noSocketsLeft(running)
    }))

  it.live("a server of the stateless era, and one that only hears `initialize`, are found out", () =>
    Effect.gen(function*() {
      const methods: Array<string | undefined> = []
      const modern = yield* socket(() => {}, {
        hear: (message, client) => {
          methods.push(message.method)
          client.send(JSON.stringify(result(
            message,
            message.method === "server/discover"
              ? { supportedVersions: ["2026-07-28"], capabilities: { tools: {} } }
              : { resultType: "complete", fine: true }
          )))
          return true
        }
      })
      yield* Harness.withUpstreams([input("websocket", modern.url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          assert.strictEqual((yield* upstream.connect).era, "stateless")
          assert.include(JSON.stringify(yield* upstream.request(call("x"))), "fine")
          assert.deepStrictEqual(methods, ["server/discover", "tools/call"])
        }))
      let connections = 0
      const strict = yield* socket((message, client) => client.send(JSON.stringify(result(message))), {
        hear: (message, client) => {
          if (message.method !== "server/discover") return false
          connections++
          client.close(1002, "not initialized")
          return true
        }
      })
      yield* Harness.withUpstreams([input("websocket", strict.url)], ({ get }) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* (yield* get("a")).request(call("x")), { result: {} })
          assert.strictEqual(connections, 1)
        }))
    }))

  const openTo = (url: string, onLost: (failure: Failure) => void) =>
    Effect.acquireRelease(
      Effect.sync(() =>
        WebSocketConnection.open({
          WebSocket,
          url: new URL(url),
          headers: {},
          connectTimeout: 5_000,
          pingInterval: 50,
          maxMessageSize: 100_000,
          redact: (text) => text,
          now: () => 0
        }, { onMessage: () => {}, onLost })
      ),
      (connection) => Effect.promise(() => connection.close())
    )

  it.live("a peer that answers pings stays, one that doesn't is gone", () =>
    Effect.gen(function*() {
      const lost: Array<string> = []
      const alive = yield* socket(() => {})
      yield* openTo(alive.url, (failure) => lost.push(`alive: ${failure.reason}`))
      const dead = yield* socket(() => {}, { autoPong: false })
      yield* openTo(dead.url, (failure) => lost.push(failure.reason))
      yield* Harness.eventually("gone", () => lost[0])
      yield* Effect.sleep("200 millis")
      assert.deepStrictEqual(lost, ["the server doesn't answer a ping"])
    }))

  it.live("what a server doesn't read is bounded", () =>
    Effect.gen(function*() {
      const { raws, sockets, url } = yield* socket(() => {})
      const connection = yield* openTo(url, () => {})
      yield* Harness.eventually("open", () => sockets.clients.size === 1 || undefined)
      for (const raw of raws) raw.pause()
      const failures: Array<Failure> = []
      const params = { text: "x".repeat(1024 * 1024) }
      for (let id = 0; id < 100; id++) {
        connection.send({ jsonrpc: "2.0", id, method: "tools/call", params }, {
          onMessage: () => {},
          onReply: () => {},
          onFailure: (failure) => failures.push(failure)
        })
      }
      assert.isAbove(failures.length, 20)
      assert.deepInclude(failures[0], { phase: "notSent", reason: "the server doesn't read its input" })
    }))
})

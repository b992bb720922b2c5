import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http"
import * as Harness from "./Harness.ts"
import * as Servers from "./Servers.ts"

interface Message {
  readonly id?: number
  readonly method?: string
  readonly params?: { readonly name?: string }
}

type Answer = (message: Message, response: ServerResponse, request: IncomingMessage) => void

/** A handshake server without sessions that answers `tools/call` as it is told. */
const server =
  (call: Answer, more: { readonly get?: RequestListener; readonly first?: Answer } = {}): RequestListener =>
  (request, response) => {
    if (request.method === "GET" && more.get !== undefined) return more.get(request, response)
    if (request.method !== "POST") return void response.writeHead(405).end()
    void Servers.body(request).then((text) => {
      const message = JSON.parse(text) as Message
      switch (message.method) {
        case "server/discover":
          if (more.first !== undefined) return more.first(message, response, request)
          return Servers.json(response, 400, {
            jsonrpc: "2.0",
            id: message.id,
            error: { code: -32600, message: "what?" }
          })
        case "initialize":
          return reply(message, response, {
            protocolVersion: "2025-03-26",
            capabilities: {},
            serverInfo: { name: "hostile", version: "1" }
          })
        case "tools/call":
          return call(message, response, request)
        default:
          return message.id === undefined ? response.writeHead(202).end() : reply(message, response, {})
      }
    })
  }

const reply = (message: Message, response: ServerResponse, result: object) =>
  Servers.json(response, 200, { jsonrpc: "2.0", id: message.id, result })

const http = (url: string, headers?: Harness.Env): Harness.Input => ({
  id: "a",
  service: "a",
  endpoint: headers === undefined
    ? { transport: "streamable-http", url }
    : { transport: "streamable-http", url, headers }
})

const echo = { method: "tools/call", params: { name: "x" } }

/** The error of one call to a server that answers calls so. */
const failureOf = (call: Answer, options = {}) =>
  Effect.gen(function*() {
    const { url } = yield* Servers.listen(server(call))
    return yield* Harness.withUpstreams(
      [http(url)],
      ({ get }) => Effect.flatMap(get("a"), (upstream) => Effect.flip(upstream.request(echo))),
      options
    )
  })

describe("bad answers", () => {
  it.live("HTTP errors tell status, reason and when to come back", () =>
    Effect.gen(function*() {
      const busy = yield* failureOf((_, response) =>
        response.writeHead(429, { "retry-after": "7" }).end("slow down, please")
      )
      assert.deepInclude(busy, {
        phase: "notSent",
        status: 429,
        retryAfter: 7_000,
        reason: "HTTP 429: slow down, please"
      })
      const broken = yield* failureOf((_, response) =>
        Servers.json(response, 500, { error: { code: 1, message: "oops" } })
      )
      assert.deepInclude(broken, { phase: "answered", status: 500, reason: "HTTP 500: oops" })
      const page = yield* failureOf((_, response) => response.writeHead(502).end("<html>nginx</html>"))
      assert.deepInclude(page, { phase: "answered", status: 502, reason: "HTTP 502" })
    }))

  it.live("a caller that asks again at once where it was refused doesn't wait for the next attempt", () =>
    Effect.gen(function*() {
      const { url } = yield* Servers.listen((_, response) => {
        setTimeout(() => response.writeHead(401, { "retry-after": "20" }).end(), 200)
      })
      yield* Harness.withUpstreams([http(url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const refused = Effect.flip(upstream.request(echo))
          yield* refused
          assert.strictEqual((yield* Effect.timeout(refused, "5 seconds")).reason, "HTTP 401")
        }))
    }))

  it.live("what a server repeats of our secrets isn't told", () =>
    Effect.gen(function*() {
      const key = "sk-0123456789abcdef"
      process.env["HOSTILE_KEY"] = key
      const given = {
        "x-api-key": { env: "HOSTILE_KEY" },
        "authorization": `Bearer ${key.toUpperCase()}`,
        "x-short": "a"
      }
      const says = (request: IncomingMessage) =>
        `no such key: ${String(request.headers["x-api-key"])}; ${String(request.headers.authorization)}; ${request.url}`
      const refused = (message: Message, response: ServerResponse, request: IncomingMessage) =>
        Servers.json(response, 200, { jsonrpc: "2.0", id: message.id, error: { code: -32000, message: says(request) } })
      const cases: ReadonlyArray<RequestListener> = [
        // At the probe, at a call, at the handshake.
        (request, response) => void response.writeHead(401).end(says(request)),
        server((_, response, request) => response.writeHead(403).end(says(request))),
        server((_, response, request) => Servers.json(response, 500, { error: { message: says(request) } })),
        (request, response) =>
          void Servers.body(request).then((text) => refused(JSON.parse(text) as Message, response, request))
      ]
      for (const [index, handler] of cases.entries()) {
        const { url } = yield* Servers.listen(handler)
        yield* Harness.withUpstreams([http(`${url}?token=${key}-in-url`, given)], ({ get, seen }) =>
          Effect.gen(function*() {
            const upstream = yield* get("a")
            const error = yield* Effect.flip(upstream.request(echo))
            const told = JSON.stringify([
              error.reason,
              upstream.state(),
              seen.map((event) =>
                "reason" in event && event.reason
              )
            ])
            assert.include(error.reason, "no such key: <redacted>; Bearer <redacted>; ", `case ${index}`)
            assert.notMatch(told, /0123456789abcdef/i, `case ${index}`)
          }))
      }
    }))

  it.live("a closed connection may have run the call, and the next call works", () =>
    Effect.gen(function*() {
      let calls = 0
      const { url } = yield* Servers.listen(server((message, response) => {
        if (++calls === 1) response.destroy()
        else reply(message, response, { calls })
      }))
      yield* Harness.withUpstreams([http(url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const error = yield* Effect.flip(upstream.request(echo))
          assert.deepInclude(error, { phase: "mayHaveRun", reason: "connection closed by the server" })
          assert.deepStrictEqual(yield* upstream.request(echo), { result: { calls: 2 } })
        }))
    }))

  it.live("a stream that ends without a reply may have run the call", () =>
    Effect.gen(function*() {
      const ended = yield* failureOf((_, response) =>
        response.writeHead(200, { "content-type": "text/event-stream" }).end(": nothing\n\n")
      )
      assert.deepInclude(ended, { phase: "mayHaveRun", reason: "the stream ended without a reply" })
      const cut = yield* failureOf((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" }).write("data: {\"jsonrpc\":")
        setTimeout(() => response.destroy(), 20)
      })
      assert.deepInclude(cut, { phase: "mayHaveRun", reason: "connection closed by the server" })
    }))

  it.live("a broken stream with event ids is taken up again", () =>
    Effect.gen(function*() {
      const resumed: Array<string | undefined> = []
      let id: number | undefined
      const { url } = yield* Servers.listen(server((message, response) => {
        id = message.id
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.end("id: e1\nretry: 10\ndata:\n\n")
      }, {
        get: (request, response) => {
          const last = request.headers["last-event-id"]
          if (last === undefined) return void response.writeHead(405).end()
          resumed.push(String(last))
          response.writeHead(200, { "content-type": "text/event-stream" })
          response.end(`id: e2\ndata: ${JSON.stringify({ jsonrpc: "2.0", id, result: { late: true } })}\n\n`)
        }
      }))
      yield* Harness.withUpstreams([http(url)], ({ get }) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* (yield* get("a")).request(echo), { result: { late: true } })
          assert.deepStrictEqual(resumed, ["e1"])
        }))
    }))

  it.live("a reply that is no JSON, is another's, or is too long is an error of the server", () =>
    Effect.gen(function*() {
      const text = yield* failureOf((_, response) =>
        response.writeHead(200, { "content-type": "application/json" }).end("hello")
      )
      assert.deepInclude(text, { phase: "answered", reason: "answered with no JSON" })
      const other = yield* failureOf((message, response) => reply({ ...message, id: 4711 }, response, {}))
      assert.deepInclude(other, {
        phase: "answered",
        reason: "answered with something that is no reply to the request"
      })
      const long = yield* failureOf(
        (message, response) => reply(message, response, { text: "x".repeat(200_000) }),
        { maxMessageSize: 100_000 }
      )
      assert.deepInclude(long, {
        phase: "answered",
        reason: "the reply is longer than 100000 bytes",
        tooLong: true
      })
      const stream = yield* failureOf((_, response) => {
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`data: ${"x".repeat(200_000)}`)
      }, { maxMessageSize: 100_000 })
      assert.deepInclude(stream, {
        phase: "answered",
        reason: "the reply is longer than 100000 bytes",
        tooLong: true
      })
    }))

  it.live("a stream that stays open after its reply is closed", () =>
    Effect.gen(function*() {
      let closed = false
      const { url } = yield* Servers.listen(server((message, response) => {
        response.once("close", () => (closed = true))
        response.writeHead(200, { "content-type": "text/event-stream" })
        response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", id: message.id, result: {} })}\n\n`)
      }))
      yield* Harness.withUpstreams([http(url)], ({ get }) =>
        Effect.gen(function*() {
          assert.deepStrictEqual(yield* (yield* get("a")).request(echo), { result: {} })
          yield* Harness.eventually("closed", () => closed || undefined, 5_000)
        }))
    }))
})

describe("finding out the era", () => {
  const failedWith = (first: Answer) =>
    Effect.gen(function*() {
      const { url } = yield* Servers.listen(server((message, response) => reply(message, response, {}), { first }))
      return yield* Harness.withUpstreams([http(url)], ({ get, until }) =>
        Effect.gen(function*() {
          const failed = yield* until("failed", (event) => event._tag === "Failed")
          const error = yield* Effect.flip((yield* get("a")).request(echo))
          assert.strictEqual(error.phase, "notSent")
          return failed._tag === "Failed" ? failed.reason : ""
        }), { connectTimeout: "1 second" })
    })

  it.live("a refusal, a broken server and silence say nothing of it", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* failedWith((_, response) => response.writeHead(401).end()), "HTTP 401")
      assert.strictEqual(yield* failedWith((_, response) => response.writeHead(503).end("later")), "HTTP 503: later")
      assert.strictEqual(yield* failedWith(() => {}), "no answer to the handshake within 1s")
    }))

  it.live("a modern server without a common version is not asked in the old way", () =>
    Effect.gen(function*() {
      const error = { code: -32022, message: "no", data: { supported: ["2031-01-01"] } }
      assert.strictEqual(
        yield* failedWith((message, response) =>
          Servers.json(response, 400, { jsonrpc: "2.0", id: message.id, error })
        ),
        "no protocol version in common: the server speaks 2031-01-01"
      )
    }))

  it.live("a modern server that turns away what it says it speaks is asked once more", () =>
    Effect.gen(function*() {
      const contradiction = { code: -32022, message: "no", data: { supported: ["2026-07-28"] } }
      let asked = 0
      const refuse = (message: { readonly id?: unknown }, response: ServerResponse) => {
        asked++
        Servers.json(response, 400, { jsonrpc: "2.0", id: message.id, error: contradiction })
      }
      assert.strictEqual(
        yield* failedWith(refuse),
        "no protocol version in common: the server speaks 2026-07-28"
      )
      assert.isAtLeast(asked, 2)
    }))

  it.live("a broken server that recovers is connected by itself", () =>
    Effect.gen(function*() {
      let broken = true
      const { url } = yield* Servers.listen(server((message, response) => reply(message, response, {}), {
        first: (_, response) => response.writeHead(broken ? 503 : 400).end()
      }))
      yield* Harness.withUpstreams([http(url)], ({ until }) =>
        Effect.gen(function*() {
          yield* until("failed", (event) => event._tag === "Failed")
          broken = false
          yield* until("connected", (event) => event._tag === "Connected", 0, 3_000)
        }))
    }))

  it.live("headers carry secrets, and errors don't", () =>
    Effect.gen(function*() {
      process.env["PORTOLAN_TEST_TOKEN"] = "Bearer s3cr3t"
      yield* Effect.addFinalizer(() => Effect.sync(() => delete process.env["PORTOLAN_TEST_TOKEN"]))
      const seen: Array<string | undefined> = []
      const { url } = yield* Servers.listen(server((_, response, request) => {
        seen.push(request.headers.authorization)
        response.writeHead(403).end()
      }))
      yield* Harness.withUpstreams([http(url, { Authorization: { env: "PORTOLAN_TEST_TOKEN" } })], ({ get }) =>
        Effect.gen(function*() {
          const error = yield* Effect.flip((yield* get("a")).request(echo))
          assert.deepStrictEqual(seen, ["Bearer s3cr3t"])
          assert.notInclude(JSON.stringify(error), "s3cr3t")
        }))
    }))
})

describe("a stateless server that ends its subscription", () => {
  it.live("is listened to again, and its lists are read anew", () =>
    Effect.gen(function*() {
      let listens = 0
      const { url } = yield* Servers.listen((request, response) => {
        void Servers.body(request).then((text) => {
          const message = JSON.parse(text) as Message
          if (message.method === "server/discover") {
            return reply(message, response, {
              supportedVersions: ["2026-07-28"],
              capabilities: { tools: { listChanged: true } }
            })
          }
          const _meta = { "io.modelcontextprotocol/subscriptionId": message.id }
          const event = (value: object) => response.write(`data: ${JSON.stringify({ jsonrpc: "2.0", ...value })}\n\n`)
          response.writeHead(200, { "content-type": "text/event-stream" })
          event({ method: "notifications/subscriptions/acknowledged", params: { _meta, notifications: {} } })
          if (++listens > 1) return
          event({ id: message.id, result: { resultType: "complete", _meta } })
          response.end()
        })
      })
      yield* Harness.withUpstreams([http(url)], ({ seen }) =>
        Effect.gen(function*() {
          yield* Harness.eventually(
            "told twice",
            () => seen.filter((event) => event._tag === "Connected").length === 2 || undefined
          )
          assert.strictEqual(listens, 2)
        }))
    }))
})

describe("a handshake server whose stream ends", () => {
  const reopened = (withIds: boolean) =>
    Effect.gen(function*() {
      let streams = 0
      const { url } = yield* Servers.listen(server((message, response) => reply(message, response, {}), {
        get: (_, response) => {
          response.writeHead(200, { "content-type": "text/event-stream" })
          response.write(withIds ? "id: 1\ndata: {}\n\n" : ":\n\n")
          if (++streams < 3) response.end()
        }
      }))
      return yield* Harness.withUpstreams([http(url)], ({ seen }) =>
        Effect.gen(function*() {
          yield* Harness.eventually("three streams", () => streams === 3 || undefined)
          const connected = () => seen.filter((event) => event._tag === "Connected").length
          if (!withIds) yield* Harness.eventually("told of both gaps", () => connected() === 3 || undefined)
          return connected()
        }))
    })

  it.live("is listened to again, and its lists are read anew", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* reopened(false), 3)
    }))

  it.live("loses nothing where its events have ids, so nothing is read anew", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* reopened(true), 1)
    }))
})

describe("what is left", () => {
  it.live("no socket when the layer is gone, calls under way or not", () =>
    Effect.gen(function*() {
      const held: Array<ServerResponse> = []
      const running = yield* Servers.listen(server((_, response) => held.push(response), {
        get: (_, response) => void response.writeHead(200, { "content-type": "text/event-stream" }).write(":\n\n")
      }))
      const fiber = yield* Harness.withUpstreams([http(running.url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const fiber = yield* Effect.forkDetach(Effect.flip(upstream.request(echo)))
          yield* Harness.eventually("the call runs", () => held.length === 1 || undefined)
          return fiber
        }))
      const error = yield* Fiber.join(fiber)
      assert.deepInclude(error, { phase: "mayHaveRun", reason: "closed" })
      let open = -1
      const ask = setInterval(() => running.server.getConnections((_, count) => (open = count)), 10)
      yield* Harness.eventually("no sockets", () => open === 0 || undefined, 2_000).pipe(
        Effect.ensuring(Effect.sync(() => clearInterval(ask)))
      )
    }))
})

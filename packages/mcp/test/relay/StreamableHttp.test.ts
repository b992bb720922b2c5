import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Redacted, Scope } from "effect"
import * as fc from "fast-check"
import { connect } from "node:net"
import { eventually } from "../upstream/Harness.ts"
import { both, envelope, harness, modern, type Open, openRequest, send, text } from "./Harness.ts"

const one = (options?: Parameters<typeof harness>[0]["options"]) =>
  harness({
    servers: [{ id: "a", answer: (request) => Effect.succeed(text(`ran ${String(request.params?.["name"])}`)) }],
    offers: [
      { name: "echo" },
      { kind: "prompts", name: "greet" },
      { kind: "resources", name: "file:///a b" },
      {
        name: "sql",
        definition: {
          inputSchema: { type: "object", properties: { region: { type: "string", "x-mcp-header": "Region" } } }
        }
      }
    ],
    options
  })

const call = (name: string, meta?: Record<string, unknown>) => ({
  jsonrpc: "2.0",
  id: 7,
  method: "tools/call",
  params: { name, arguments: {}, ...(meta === undefined ? {} : { _meta: meta }) }
})

const idOf = (reply: unknown): unknown =>
  typeof reply === "object" && reply !== null && "id" in reply ? reply.id : undefined

describe("both eras", () => {
  it.live("refuse what they can't read", () =>
    Effect.gen(function*() {
      const { post, url } = yield* one({ maxBody: 2_000, maxDepth: 20 })
      const table: ReadonlyArray<readonly [string, unknown, Record<string, string>, number, number]> = [
        ["no content type", {}, { accept: both.accept }, 415, -32600],
        ["another content type", {}, { ...both, "content-type": "text/plain" }, 415, -32600],
        ["a longer content type", {}, { ...both, "content-type": "application/json-seq" }, 415, -32600],
        ["compressed", {}, { ...both, "content-encoding": "gzip" }, 415, -32600],
        ["accepts neither", {}, { ...both, accept: "text/html" }, 406, -32600],
        ["not JSON", "{\"jsonrpc\":", both, 400, -32700],
        ["empty", "", both, 400, -32700],
        ["too large", `"${"x".repeat(2_000)}"`, both, 413, -32600],
        ["too deep", "[".repeat(21) + "]".repeat(21), both, 400, -32700],
        ["a number", 3, both, 400, -32600],
        ["null", null, both, 400, -32600],
        ["no method", { jsonrpc: "2.0", id: 1 }, both, 400, -32600],
        ["id null", { jsonrpc: "2.0", id: null, method: "ping" }, both, 400, -32600],
        ["params no object", { jsonrpc: "2.0", id: 1, method: "ping", params: [1] }, both, 400, -32600],
        ["no session", { jsonrpc: "2.0", id: 1, method: "tools/list" }, both, 400, -32600],
        [
          "a session of nobody",
          { jsonrpc: "2.0", id: 1, method: "tools/list" },
          { ...both, "mcp-session-id": "x" },
          404,
          -32001
        ],
        ["a batch without session", [{ jsonrpc: "2.0", id: 1, method: "ping" }], both, 400, -32600],
        [
          "an unknown version",
          { jsonrpc: "2.0", id: 1, method: "ping" },
          { ...both, "mcp-protocol-version": "1999-01-01" },
          400,
          -32022
        ],
        ["initialize without version", { jsonrpc: "2.0", id: 1, method: "initialize", params: {} }, both, 400, -32602]
      ]
      for (const [what, body, headers, status, code] of table) {
        const answer = yield* post(body, headers)
        assert.deepStrictEqual([what, answer.status, answer.messages[0]?.error?.code], [what, status, code])
      }
      // 413 also where the length isn't told beforehand.
      const chunked = yield* send(url, "POST", { ...both, "transfer-encoding": "chunked" }, "x".repeat(100_000))
      assert.strictEqual(chunked.status, 413)
      // A bracket in a text is no depth.
      const bracket = yield* post({ jsonrpc: "2.0", id: 1, method: "x".padEnd(50, "[") + "\"\\" })
      assert.strictEqual(bracket.messages[0]?.error?.code, -32600)
      const methods = [["PUT", 405], ["OPTIONS", 405], ["PATCH", 405]] as const
      for (const [method, status] of methods) {
        const answer = yield* send(url, method, both)
        assert.deepStrictEqual([answer.status, answer.headers["allow"]], [status, "GET, POST, DELETE"])
      }
    }))

  it.live("answer whatever is sent, and live on", () =>
    Effect.gen(function*() {
      const { initialize, post } = yield* one()
      const session = (yield* initialize("2025-03-26")).headers["mcp-session-id"]
      const names = [
        "tools/call",
        "tools/list",
        "initialize",
        "ping",
        "subscriptions/listen",
        "completion/complete",
        "x"
      ]
      const message = fc.record({
        jsonrpc: fc.constantFrom("2.0", "1.0"),
        id: fc.oneof(fc.integer(), fc.string(), fc.constant(null)),
        method: fc.oneof(fc.constantFrom(...names), fc.string()),
        params: fc.oneof(
          fc.jsonValue(),
          fc.record({
            name: fc.oneof(fc.constant("svc__echo"), fc.jsonValue()),
            _meta: fc.oneof(fc.constant(envelope()), fc.jsonValue()),
            ref: fc.jsonValue(),
            cursor: fc.jsonValue(),
            protocolVersion: fc.jsonValue(),
            notifications: fc.jsonValue()
          }, { requiredKeys: [] })
        ),
        result: fc.jsonValue(),
        error: fc.jsonValue()
      }, { requiredKeys: ["jsonrpc"] })
      const headers = fc.record({
        "mcp-session-id": fc.constantFrom(session, "x"),
        "mcp-protocol-version": fc.constantFrom("2026-07-28", "2025-03-26", "x"),
        "mcp-method": fc.constantFrom(...names),
        "mcp-name": fc.constantFrom("svc__echo", "=?base64??=")
      }, { requiredKeys: [] })
      const bodies = fc.oneof(message, fc.array(message, { maxLength: 3 }), fc.jsonValue())
      const run = Effect.runPromiseWith(yield* Effect.context())
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(bodies, headers, async (body, more) => {
            // JSON alone: a subscription that is understood would stay open.
            const answer = await run(
              post(body, { "content-type": "application/json", accept: "application/json", ...more })
            )
            assert.include([200, 202, 400, 404, 406], answer.status)
            if (answer.status !== 202) assert.strictEqual(answer.messages.length, 1)
          }),
          { numRuns: 500 }
        )
      )
    }))

  it.live("survive clients that go away at every point", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, server, url } = yield* one()
      const port = Number(new URL(url).port)
      const body = JSON.stringify(call("svc__echo", envelope()))
      const head = Object.entries(modern("tools/call", "svc__echo")).map(([name, value]) => `${name}: ${value}\r\n`)
        .join("")
      const whole = `POST /mcp HTTP/1.1\r\nhost: x\r\n${head}content-length: ${body.length}\r\n\r\n${body}`
      for (let length = 0; length <= whole.length; length += 17) {
        yield* Effect.callback<void>((resume) => {
          const socket = connect(port, "127.0.0.1", () => {
            socket.write(whole.slice(0, length), () => socket.destroy())
          })
          socket.on("close", () => resume(Effect.void))
        })
      }
      const { answer } = yield* initialize()
      assert.strictEqual(answer.status, 200)
      yield* eventually("all sockets are gone", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
      assert.strictEqual((yield* post("x")).status, 400)
      assert.isTrue(server.listening)
    }))
})

describe("stateless era", () => {
  it.live("checks the envelope and the headers against the body", () =>
    Effect.gen(function*() {
      const { asked, post } = yield* one()
      const good = modern("tools/call", "svc__echo")
      const without = (name: string) => Object.fromEntries(Object.entries(good).filter(([key]) => key !== name))
      const bare = (more: Record<string, unknown>) => ({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        ...more
      })
      const table: ReadonlyArray<readonly [string, unknown, Record<string, string>, number, number]> = [
        ["no envelope", call("svc__echo"), good, 400, -32602],
        ["no capabilities", call("svc__echo", bare({})), good, 400, -32602],
        [
          "capabilities no object",
          call("svc__echo", bare({ "io.modelcontextprotocol/clientCapabilities": [] })),
          good,
          400,
          -32602
        ],
        [
          "version no text",
          call("svc__echo", envelope({ "io.modelcontextprotocol/protocolVersion": 3 })),
          good,
          400,
          -32602
        ],
        [
          "info no object",
          call("svc__echo", envelope({ "io.modelcontextprotocol/clientInfo": "x" })),
          good,
          400,
          -32602
        ],
        [
          "no log level",
          call("svc__echo", envelope({ "io.modelcontextprotocol/logLevel": "loud" })),
          good,
          400,
          -32602
        ],
        ["no version header", call("svc__echo", envelope()), without("mcp-protocol-version"), 400, -32020],
        [
          "another version header",
          call("svc__echo", envelope()),
          { ...good, "mcp-protocol-version": "2025-11-25" },
          400,
          -32020
        ],
        ["no method header", call("svc__echo", envelope()), without("mcp-method"), 400, -32020],
        ["another method", call("svc__echo", envelope()), { ...good, "mcp-method": "tools/list" }, 400, -32020],
        ["the method in capitals", call("svc__echo", envelope()), { ...good, "mcp-method": "TOOLS/CALL" }, 400, -32020],
        ["no name header", call("svc__echo", envelope()), without("mcp-name"), 400, -32020],
        ["another name", call("svc__echo", envelope()), { ...good, "mcp-name": "svc__other" }, 400, -32020],
        ["a name in bad Base64", call("svc__echo", envelope()), { ...good, "mcp-name": "=?base64?%?=" }, 400, -32020],
        [
          "a version not spoken",
          call("svc__echo", envelope({ "io.modelcontextprotocol/protocolVersion": "2099-01-01" })),
          { ...good, "mcp-protocol-version": "2099-01-01" },
          400,
          -32022
        ],
        ["no declared header", call("svc__sql"), modern("tools/call", "svc__sql"), 400, -32602],
        [
          "a declared header that is missing",
          { ...call("svc__sql"), params: { name: "svc__sql", arguments: { region: "x" }, _meta: envelope() } },
          modern("tools/call", "svc__sql"),
          400,
          -32020
        ],
        [
          "a response",
          { jsonrpc: "2.0", id: 1, result: {} },
          { ...both, "mcp-protocol-version": "2026-07-28" },
          400,
          -32600
        ],
        [
          "initialize under a stateless header",
          { jsonrpc: "2.0", id: 1, method: "initialize", params: { protocolVersion: "2025-11-25" } },
          { ...both, "mcp-protocol-version": "2026-07-28" },
          400,
          -32020
        ]
      ]
      for (const [what, body, headers, status, code] of table) {
        const answer = yield* post(body, headers)
        assert.deepStrictEqual([what, answer.status, answer.messages[0]?.error?.code], [what, status, code])
      }
      assert.deepStrictEqual(asked, [])
      const unsupported = yield* post(
        call("svc__echo", envelope({ "io.modelcontextprotocol/protocolVersion": "2099-01-01" })),
        { ...good, "mcp-protocol-version": "2099-01-01" }
      )
      assert.deepStrictEqual(unsupported.messages[0], {
        jsonrpc: "2.0",
        id: 7,
        error: {
          code: -32022,
          message: "Unsupported protocol version",
          data: {
            supported: ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
            requested: "2099-01-01"
          }
        }
      } as never)
      const encoded = yield* post(call("svc__echo", envelope()), {
        ...good,
        "mcp-name": `=?base64?${Buffer.from("svc__echo").toString("base64")}?=`
      })
      assert.strictEqual(encoded.status, 200)
      const declared = yield* post(
        { ...call("svc__sql"), params: { name: "svc__sql", arguments: { region: "é" }, _meta: envelope() } },
        { ...modern("tools/call", "svc__sql"), "mcp-param-region": "=?base64?w6k=?=" }
      )
      assert.strictEqual(declared.status, 200)
      assert.deepStrictEqual(asked.at(-1)?.request.headers, { "mcp-param-region": "=?base64?w6k=?=" })
    }))

  it.live("doesn't know the methods of the other era", () =>
    Effect.gen(function*() {
      const { stateless } = yield* one()
      for (
        const method of [
          "ping",
          "logging/setLevel",
          "initialize",
          "tasks/list",
          "constructor",
          "nonsense"
        ]
      ) {
        const answer = yield* stateless(method)
        assert.deepStrictEqual([method, answer.status, answer.messages[0]?.error?.code], [method, 404, -32601])
      }
    }))

  it.live("keeps the status for its own methods: a tool that fails with the same code is heard", () =>
    Effect.gen(function*() {
      const error = { code: -32601, message: "roots/list is not supported by this client" }
      const { post } = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed({ error }) }],
        offers: [{ name: "echo" }]
      })
      const answer = yield* post(call("svc__echo", envelope()), modern("tools/call", "svc__echo"))
      assert.deepStrictEqual([answer.status, answer.messages[0]?.error], [200, error])
    }))

  it.live("discovers, lists and needs no session", () =>
    Effect.gen(function*() {
      const { asked, post, stateless } = yield* one({
        instructions: "Be kind",
        serverInfo: { name: "p", version: "9" }
      })
      const meta = { "io.modelcontextprotocol/serverInfo": { name: "p", version: "9" } }
      const discovered = yield* stateless("server/discover")
      assert.deepStrictEqual(discovered.messages[0]?.result, {
        resultType: "complete",
        ttlMs: 0,
        cacheScope: "private",
        supportedVersions: ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"],
        capabilities: {
          tools: { listChanged: true },
          resources: { listChanged: true },
          prompts: { listChanged: true },
          completions: {},
          logging: {},
          extensions: { "dev.portolan/discovery": {} }
        },
        instructions: "Be kind",
        _meta: meta
      })
      for (
        const [method, field, count] of [["tools/list", "tools", 2], ["prompts/list", "prompts", 1], [
          "resources/list",
          "resources",
          1
        ], ["resources/templates/list", "resourceTemplates", 0]] as const
      ) {
        const answer = yield* stateless(method)
        const result = answer.messages[0]?.result ?? {}
        assert.strictEqual((result[field] as ReadonlyArray<unknown>).length, count)
        const { [field]: _, ...rest } = result
        assert.deepStrictEqual(rest, { resultType: "complete", ttlMs: 0, cacheScope: "private", _meta: meta })
        assert.isUndefined(answer.headers["mcp-session-id"])
      }
      assert.deepStrictEqual(asked, [])
      const notification = yield* post(
        { jsonrpc: "2.0", method: "notifications/x", params: { _meta: envelope() } },
        { ...both, "mcp-protocol-version": "2026-07-28" }
      )
      assert.deepStrictEqual([notification.status, notification.text], [202, ""])
    }))

  it.live("has neither GET nor DELETE", () =>
    Effect.gen(function*() {
      const { url } = yield* one()
      for (const method of ["GET", "DELETE"]) {
        const answer = yield* send(url, method, { ...both, "mcp-protocol-version": "2026-07-28" })
        assert.deepStrictEqual([answer.status, answer.headers["allow"]], [405, "POST"])
      }
    }))
})

describe("handshake era", () => {
  it.live("negotiates a version and mirrors capabilities", () =>
    Effect.gen(function*() {
      const { initialize } = yield* one()
      for (
        const [asked, given] of [
          ["2025-11-25", "2025-11-25"],
          ["2025-06-18", "2025-06-18"],
          ["2025-03-26", "2025-03-26"],
          ["2024-11-05", "2024-11-05"],
          ["2030-01-01", "2025-11-25"]
        ] as const
      ) {
        const { answer } = yield* initialize(asked)
        assert.strictEqual(answer.status, 200)
        assert.match(answer.headers["mcp-session-id"] ?? "", /^[\x21-\x7e]+$/)
        assert.deepStrictEqual(answer.messages[0]?.result, {
          protocolVersion: given,
          capabilities: {
            tools: { listChanged: true },
            resources: { listChanged: true },
            prompts: { listChanged: true },
            completions: {},
            logging: {},
            experimental: { "dev.portolan/discovery": {} }
          },
          serverInfo: { name: "portolan", version: "0.1.0" }
        })
      }
      const plain = yield* harness({
        servers: [],
        offers: [],
        capabilities: { completions: false, logging: false }
      })
      const { answer } = yield* plain.initialize()
      assert.deepStrictEqual(Object.keys(answer.messages[0]?.result?.["capabilities"] ?? {}), [
        "tools",
        "resources",
        "prompts",
        "experimental"
      ])
    }))

  it.live("answers in the session, until its client ends it", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url } = yield* one()
      const { headers } = yield* initialize()
      assert.strictEqual(endpoint.figures().sessions, 1)
      const ok = yield* post({ jsonrpc: "2.0", method: "notifications/initialized" }, headers)
      assert.deepStrictEqual([ok.status, ok.text], [202, ""])
      const pong = yield* post({ jsonrpc: "2.0", id: "a", method: "ping" }, headers)
      assert.deepStrictEqual(pong.messages[0], { jsonrpc: "2.0", id: "a", result: {} } as never)
      for (
        const method of [
          "server/discover",
          "subscriptions/listen",
          "tasks/update",
          "sampling/createMessage",
          "toString"
        ]
      ) {
        const answer = yield* post({ jsonrpc: "2.0", id: 1, method }, headers)
        assert.deepStrictEqual([method, answer.status, answer.messages[0]?.error?.code], [method, 200, -32601])
      }
      // Nobody asked for that.
      const again = yield* post({ jsonrpc: "2.0", id: 1, result: {} }, headers)
      assert.deepStrictEqual([again.status, again.messages[0]?.error?.code], [400, -32600])
      const list = yield* post({ jsonrpc: "2.0", id: 1, method: "tools/list" }, headers)
      assert.deepStrictEqual(Object.keys(list.messages[0]?.result ?? {}), ["tools"])
      const wrongVersion = yield* post({ jsonrpc: "2.0", id: 1, method: "ping" }, {
        ...headers,
        "mcp-protocol-version": "x"
      })
      assert.deepStrictEqual([wrongVersion.status, wrongVersion.messages[0]?.error?.code], [400, -32022])
      assert.strictEqual((yield* send(url, "DELETE", both)).status, 400)
      assert.strictEqual((yield* send(url, "DELETE", headers)).status, 200)
      assert.strictEqual((yield* send(url, "DELETE", headers)).status, 404)
      assert.strictEqual((yield* post({ jsonrpc: "2.0", id: 1, method: "ping" }, headers)).status, 404)
      assert.strictEqual(endpoint.figures().sessions, 0)
    }))

  it.live("takes batches under 2025-03-26 alone", () =>
    Effect.gen(function*() {
      const { initialize, post } = yield* one()
      const now = yield* initialize()
      const messages = [
        { jsonrpc: "2.0", id: 1, method: "ping" },
        { jsonrpc: "2.0", method: "notifications/initialized" },
        { jsonrpc: "2.0", id: "b", method: "tools/call", params: { name: "svc__echo" } }
      ]
      assert.strictEqual((yield* post(messages, now.headers)).status, 400)
      const then = yield* initialize("2025-03-26")
      const answer = yield* post(messages, then.headers)
      assert.strictEqual(answer.status, 200)
      const [replies] = answer.messages
      assert.isTrue(Array.isArray(replies))
      assert.deepStrictEqual(new Set(Object.values(replies ?? {}).map(idOf)), new Set([1, "b"]))
      assert.strictEqual((yield* post([{ jsonrpc: "2.0", method: "x" }], then.headers)).status, 202)
      for (const wrong of [[], [3], Array.from({ length: 101 }, (_, id) => ({ jsonrpc: "2.0", id, method: "ping" }))]) {
        assert.strictEqual((yield* post(wrong, then.headers)).status, 400)
      }
      const events = yield* post(messages, { ...then.headers, accept: "text/event-stream" })
      assert.deepStrictEqual(new Set(events.messages.map((reply) => reply.id)), new Set([1, "b"]))
    }))

  it.live("loses no reply of a batch that becomes a stream", () =>
    Effect.gen(function*() {
      const { initialize, post } = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.sync(() => {
              request.onNotification?.({
                jsonrpc: "2.0",
                method: "notifications/progress",
                params: { progressToken: 1, progress: 1 }
              })
              return text("done")
            })
        }],
        offers: [{ name: "echo" }]
      })
      const { headers } = yield* initialize("2025-03-26")
      const answer = yield* post([
        { jsonrpc: "2.0", id: 1, method: "ping" },
        { jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "svc__echo", _meta: { progressToken: "p" } } }
      ], headers)
      assert.deepStrictEqual(answer.messages.map(({ id, method }) => id ?? method), [1, "notifications/progress", 2])
    }))

  it.live("goes on with the session of another replica", () =>
    Effect.gen(function*() {
      const sessionKey = Redacted.make("shared")
      const first = yield* one({ sessionKey })
      const second = yield* one({ sessionKey })
      const stranger = yield* one()
      const { headers } = yield* first.initialize()
      const list = { jsonrpc: "2.0", id: 1, method: "tools/list" }
      assert.strictEqual((yield* second.post(list, headers)).status, 200)
      assert.strictEqual((yield* stranger.post(list, headers)).status, 404)
    }))

  it.live("keeps sessions apart by principal", () =>
    Effect.gen(function*() {
      const { initialize, post } = yield* one({ principal: (request) => request.headers.authorization })
      const { headers } = yield* initialize("2025-11-25", { authorization: "ann" })
      const ping = { jsonrpc: "2.0", id: 1, method: "ping" }
      assert.strictEqual((yield* post(ping, headers)).status, 200)
      assert.strictEqual((yield* post(ping, { ...headers, authorization: "bob" })).status, 404)
    }))

  it.live("opens a stream to the client on GET", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, url } = yield* one({ keepAlive: 50 })
      const { headers } = yield* initialize()
      assert.strictEqual((yield* send(url, "GET", { ...headers, accept: "application/json" })).status, 406)
      assert.strictEqual((yield* send(url, "GET", { accept: "text/event-stream" })).status, 400)
      assert.strictEqual((yield* send(url, "GET", { ...headers, "mcp-session-id": "x" })).status, 404)
      const stream = yield* openRequest(url, "GET", { ...headers, accept: "text/event-stream" })
      assert.deepStrictEqual(
        [stream.status, stream.headers["content-type"], stream.headers["x-accel-buffering"]],
        [200, "text/event-stream", "no"]
      )
      yield* eventually("three comments", () => stream.text().split(":").length > 3 ? true : undefined)
      assert.strictEqual(endpoint.figures().streams, 1)
      assert.strictEqual((yield* send(url, "DELETE", headers)).status, 200)
      yield* eventually("the stream ends with the session", () => stream.ended() ? true : undefined)
      yield* eventually("no stream is left", () => endpoint.figures().streams === 0 ? true : undefined)
    }))

  it.live("ends the oldest of too many streams of one session", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, url } = yield* one()
      const { headers } = yield* initialize()
      const streams: Array<Open> = []
      for (let count = 0; count < 5; count++) streams.push(yield* openRequest(url, "GET", headers))
      yield* eventually("the first is ended", () => streams[0]?.ended() === true ? true : undefined)
      yield* eventually("four are left", () => endpoint.figures().streams === 4 ? true : undefined)
    }))
})

describe("limits and the end", () => {
  const waiting = Effect.fnUntraced(function*(options?: Parameters<typeof harness>[0]["options"]) {
    const gate = yield* Deferred.make<void>()
    const built = yield* harness({
      servers: [{ id: "a", answer: () => Effect.as(Deferred.await(gate), text("done")) }],
      offers: [{ name: "wait" }],
      options
    })
    return { ...built, gate }
  })

  it.live("bounds the requests in flight of a session, and of all", () =>
    Effect.gen(function*() {
      const { asked, endpoint, gate, initialize, post, stateless, url } = yield* waiting({
        maxInFlightPerSession: 2,
        maxRequests: 3
      })
      const { headers } = yield* initialize()
      const body = (id: number) =>
        JSON.stringify({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "svc__wait" } })
      const first = yield* Effect.forkChild(send(url, "POST", headers, body(1)))
      const second = yield* Effect.forkChild(send(url, "POST", headers, body(2)))
      yield* eventually("both are on their way", () => asked.length === 2 ? true : undefined)
      const same = yield* post(body(2), headers)
      assert.deepStrictEqual([same.status, same.messages[0]?.error?.code], [200, -32600])
      const third = yield* post(body(3), headers)
      assert.deepStrictEqual([third.status, third.messages[0]?.error?.code], [429, -31000])
      assert.strictEqual(third.headers["retry-after"], "1")
      assert.deepStrictEqual(third.messages[0]?.error?.["data"], { reason: "overloaded", retryAfterMs: 1_000 })
      const other = yield* Effect.forkChild(stateless("tools/call", { name: "svc__wait" }))
      yield* eventually("the other is on its way", () => asked.length === 3 ? true : undefined)
      const fourth = yield* stateless("tools/call", { name: "svc__wait" })
      assert.deepStrictEqual([fourth.status, fourth.headers["retry-after"]], [503, "1"])
      assert.strictEqual(endpoint.figures().callsInFlight, 3)
      yield* Deferred.succeed(gate, undefined)
      for (const fiber of [first, second, other]) {
        assert.strictEqual((yield* Fiber.join(fiber)).status, 200)
      }
      assert.strictEqual(endpoint.figures().callsInFlight, 0)
    }))

  it.live("drains: refuses new calls, finishes those in flight, ends streams", () =>
    Effect.gen(function*() {
      const { asked, endpoint, gate, initialize, post, stateless, url } = yield* waiting()
      const { headers } = yield* initialize()
      const stream = yield* openRequest(url, "GET", headers)
      const listening = yield* openRequest(
        url,
        "POST",
        modern("subscriptions/listen"),
        JSON.stringify({
          jsonrpc: "2.0",
          id: "sub",
          method: "subscriptions/listen",
          params: { notifications: {}, _meta: envelope() }
        })
      )
      const running = yield* openRequest(
        url,
        "POST",
        modern("tools/call", "svc__wait"),
        JSON.stringify(call("svc__wait", envelope()))
      ).pipe(Effect.forkChild)
      yield* eventually("it is on its way", () => asked.length === 1 ? true : undefined)
      let drained = false
      yield* Effect.forkChild(
        Effect.map(endpoint.drain, () => {
          drained = true
        }),
        { startImmediately: true }
      )
      const refused = yield* stateless("tools/call", { name: "svc__wait" })
      assert.deepStrictEqual([refused.status, refused.headers["retry-after"]], [503, "1"])
      assert.strictEqual((yield* post({ jsonrpc: "2.0", id: 1, method: "tools/list" }, headers)).status, 503)
      assert.strictEqual((yield* send(url, "GET", headers)).status, 503)
      assert.isFalse(drained)
      assert.isFalse(stream.ended())
      yield* Deferred.succeed(gate, undefined)
      yield* eventually("drained", () => drained ? true : undefined)
      yield* eventually("the streams end", () => stream.ended() && listening.ended() ? true : undefined)
      assert.deepStrictEqual(listening.messages().at(-1), {
        jsonrpc: "2.0",
        id: "sub",
        result: {
          resultType: "complete",
          _meta: {
            "io.modelcontextprotocol/subscriptionId": "sub",
            "io.modelcontextprotocol/serverInfo": { name: "portolan", version: "0.1.0" }
          }
        }
      } as never)
      assert.strictEqual((yield* Fiber.join(running)).status, 200)
    }))

  it.live("leaves nothing behind when its scope closes", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const { asked, endpoint, initialize, url } = yield* Effect.provideService(waiting(), Scope.Scope, scope)
      const { headers } = yield* initialize()
      const stream = yield* openRequest(url, "GET", headers)
      yield* Effect.forkChild(Effect.exit(send(
        url,
        "POST",
        modern("tools/call", "svc__wait"),
        JSON.stringify(call("svc__wait", envelope()))
      )))
      yield* eventually("it is on its way", () => asked.length === 1 ? true : undefined)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      yield* eventually("all is ended", () => stream.ended() ? true : undefined)
      const { callsInFlight, streams } = endpoint.figures()
      assert.deepStrictEqual({ callsInFlight, streams }, { callsInFlight: 0, streams: 0 })
    }))
})

describe("a mistake in here", () => {
  it.live("is one failed request and not the end", () =>
    Effect.gen(function*() {
      let broken = true
      const { initialize, post } = yield* one({
        principal: () => {
          if (broken) throw new Error("broken")
          return undefined
        }
      })
      const failed = yield* post(call("svc__echo", envelope()), modern("tools/call", "svc__echo"))
      assert.deepStrictEqual([failed.status, failed.messages[0]?.error?.code], [500, -32603])
      broken = false
      assert.strictEqual((yield* initialize()).answer.status, 200)
    }))
})

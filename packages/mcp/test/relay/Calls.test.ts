import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type { Fields, JsonRpcNotification } from "../../src/JsonRpc.ts"
import { UpstreamError, type UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import {
  both,
  envelope,
  harness,
  type Message,
  modern,
  type Open,
  openRequest,
  type Scripted,
  send,
  text
} from "./Harness.ts"

const eras = ["handshake", "stateless"] as const
const pairs = eras.flatMap((client) => eras.map((server) => [client, server] as const))

type Built = Effect.Success<ReturnType<typeof harness>>

/** Opens a call in either era. */
const begin = Effect.fnUntraced(function*(
  built: Built,
  era: "handshake" | "stateless",
  method: string,
  params: Fields,
  more: {
    readonly id?: string | number
    readonly accept?: string
    readonly meta?: Fields
    readonly headers?: Record<string, string>
  } = {}
) {
  const id = more.id ?? 1
  const name = params["name"] ?? params["uri"]
  const meta = era === "stateless" ? envelope(more.meta) : more.meta
  const message = { jsonrpc: "2.0", id, method, params: { ...params, ...(meta === undefined ? {} : { _meta: meta }) } }
  const headers = era === "stateless"
    ? modern(method, typeof name === "string" ? name : undefined)
    : more.headers ?? (yield* built.initialize()).headers
  return yield* openRequest(
    built.url,
    "POST",
    { ...headers, accept: more.accept ?? both.accept },
    JSON.stringify(message)
  )
})

const whole = (open: Open): Effect.Effect<ReadonlyArray<Message>> =>
  Effect.map(
    eventually("the reply's end", () => open.ended() ? true : undefined),
    () => open.headers["content-type"] === "application/json" ? [JSON.parse(open.text()) as Message] : open.messages()
  )

const call = (...given: Parameters<typeof begin>) => Effect.flatMap(begin(...given), whole)

const progress = (value: number, more: Fields = {}): JsonRpcNotification => ({
  jsonrpc: "2.0",
  method: "notifications/progress",
  params: { progressToken: "upstream's own", progress: value, ...more }
})

const log = (level: string, data: unknown = level): JsonRpcNotification => ({
  jsonrpc: "2.0",
  method: "notifications/message",
  params: { level, data, logger: "l" }
})

const failing = (phase: UpstreamError["phase"], reason = "connection refused") => (id: string) =>
  Effect.fail(new UpstreamError({ instance: id, phase, reason }))

describe("a call", () => {
  for (const [client, server] of pairs) {
    it.live(`is carried faithfully: ${client} client, ${server} server`, () =>
      Effect.gen(function*() {
        const given = {
          content: [{ type: "text", text: "hi", annotations: { x: 1 } }],
          isError: true,
          unknown: { kept: [null, 1] },
          _meta: {
            "com.example/trace": 1,
            "io.modelcontextprotocol/serverInfo": { name: "secret", version: "1" }
          },
          ...(server === "stateless" ? { resultType: "complete", ttlMs: 5, cacheScope: "public" } : {})
        }
        const built = yield* harness({
          servers: [{ id: "a", era: server, answer: () => Effect.succeed({ result: given }) }],
          offers: [{ name: "echo" }]
        })
        const [reply] = yield* call(built, client, "tools/call", {
          name: "svc__echo",
          arguments: { deep: { unknown: [1] } },
          other: true,
          task: { ttl: 1 }
        }, { id: "x-1", meta: { traceparent: "00-abc", progressToken: 9, "com.example/a": 1 } })
        assert.strictEqual(reply?.id, "x-1")
        const { _meta, ...result } = reply?.result ?? {}
        const { _meta: __, cacheScope: ___, resultType: ____, ttlMs: _____, ...plain } = given as Fields
        assert.deepStrictEqual(
          result,
          client === "handshake"
            ? plain
            : server === "stateless"
            ? { ...plain, resultType: "complete", ttlMs: 5, cacheScope: "public" }
            : { ...plain, resultType: "complete" }
        )
        const meta = _meta as Record<string, Record<string, unknown>>
        assert.deepStrictEqual(
          Object.keys(meta).toSorted(),
          [
            "com.example/trace",
            "dev.portolan/routing",
            ...(client === "stateless" ? ["io.modelcontextprotocol/serverInfo"] : [])
          ]
        )
        assert.deepInclude(meta["dev.portolan/routing"], {
          service: "svc",
          instance: "a",
          source: "memory",
          attempts: 1,
          failed: []
        })
        const { request } = built.asked[0]!
        assert.deepStrictEqual(request.params, {
          name: "echo",
          arguments: { deep: { unknown: [1] } },
          other: true,
          _meta: { traceparent: "00-abc", "com.example/a": 1 }
        })
        assert.isTrue(request.progress)
      }))

    it.live(`carries progress and log messages: ${client} client, ${server} server`, () =>
      Effect.gen(function*() {
        const gate = yield* Deferred.make<void>()
        let late: UpstreamRequest | undefined
        const built = yield* harness({
          servers: [{
            id: "a",
            era: server,
            answer: (request) => {
              late = request
              for (
                const notification of [
                  progress(1, { total: 3, message: "m" }),
                  log("debug"),
                  log("error"),
                  progress(1),
                  progress(2)
                ]
              ) {
                request.onNotification?.(notification)
              }
              return Effect.as(Deferred.await(gate), text("done"))
            }
          }],
          offers: [{ name: "slow" }]
        })
        const headers = (yield* built.initialize()).headers
        if (client === "handshake") {
          yield* built.post(
            { jsonrpc: "2.0", id: 5, method: "logging/setLevel", params: { level: "warning" } },
            headers
          )
        }
        const open = yield* begin(built, client, "tools/call", { name: "svc__slow" }, {
          headers,
          meta: {
            progressToken: 77,
            ...(client === "stateless" ? { "io.modelcontextprotocol/logLevel": "warning" } : {})
          }
        })
        assert.strictEqual(open.headers["content-type"], "text/event-stream")
        yield* eventually("three notifications before the reply", () => open.messages().length === 3 ? true : undefined)
        yield* Deferred.succeed(gate, undefined)
        const messages = yield* whole(open)
        late?.onNotification?.(progress(9))
        assert.deepStrictEqual(messages.slice(0, 3), [
          {
            jsonrpc: "2.0",
            method: "notifications/progress",
            params: { progressToken: 77, progress: 1, total: 3, message: "m" }
          },
          { jsonrpc: "2.0", method: "notifications/message", params: { level: "error", data: "error", logger: "l" } },
          { jsonrpc: "2.0", method: "notifications/progress", params: { progressToken: 77, progress: 2 } }
        ] as never)
        assert.strictEqual(messages.length, 4)
        assert.strictEqual(messages[3]?.id, 1)
        assert.strictEqual(late?.logLevel, "warning")
        assert.strictEqual(
          built.asked.some(({ request }) =>
            request.method === "logging/setLevel" && request.params?.["level"] === "warning"
          ),
          server === "handshake"
        )
      }))
  }

  it.live("is answered by JSON where the client takes no stream, and nothing unasked is sent", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) => {
            request.onNotification?.(progress(1))
            request.onNotification?.(log("error"))
            return Effect.succeed(text("x"))
          }
        }],
        offers: [{ name: "t" }]
      })
      const json = yield* begin(built, "stateless", "tools/call", { name: "svc__t" }, {
        accept: "application/json",
        meta: { progressToken: 1, "io.modelcontextprotocol/logLevel": "debug" }
      })
      assert.strictEqual(json.headers["content-type"], "application/json")
      assert.strictEqual((yield* whole(json)).length, 1)
      // Neither a token nor a level: nothing but the reply.
      const plain = yield* begin(built, "stateless", "tools/call", { name: "svc__t" })
      assert.strictEqual(plain.headers["content-type"], "application/json")
      assert.isFalse(built.asked.at(-1)?.request.progress)
      const events = yield* begin(built, "stateless", "tools/call", { name: "svc__t" }, { accept: "text/event-stream" })
      assert.strictEqual(events.headers["content-type"], "text/event-stream")
      assert.strictEqual((yield* whole(events)).length, 1)
    }))

  it.live("becomes a stream when it is long in coming", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.as(Deferred.await(gate), text("x")) }],
        offers: [{ name: "t" }],
        options: { keepAlive: 30 }
      })
      const open = yield* begin(built, "handshake", "tools/call", { name: "svc__t" })
      assert.strictEqual(open.headers["content-type"], "text/event-stream")
      yield* eventually("comments", () => open.text().includes(":") ? true : undefined)
      yield* Deferred.succeed(gate, undefined)
      const messages = yield* whole(open)
      assert.strictEqual(messages.length, 1)
    }))

  it.live("of a name that nobody offers is the caller's mistake", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [],
        offers: [{ name: "get_forecast" }, { kind: "prompts", name: "greet" }]
      })
      const table = [
        ["tools/call", { name: "get_forecast" }, -32602, "Unknown tool: get_forecast. Did you mean svc__get_forecast?"],
        ["tools/call", { name: "zzz" }, -32602, "Unknown tool: zzz"],
        ["tools/call", {}, -32602, "params.name must be a string"],
        ["prompts/get", { name: "svc__greer" }, -32602, "Unknown prompt: svc__greer. Did you mean svc__greet?"],
        ["completion/complete", { ref: { type: "ref/prompt", name: "x" } }, -32602, "Unknown prompt: x"],
        ["completion/complete", { ref: { type: "ref/x" } }, -32602, "ref.type must be ref/prompt or ref/resource"],
        ["completion/complete", {}, -32602, "ref must be an object"],
        ["tools/list", { cursor: "x" }, -32602, "Invalid cursor: it is not one of this server's"]
      ] as const
      for (const era of eras) {
        for (const [method, params, code, message] of table) {
          const [reply] = yield* call(built, era, method, params)
          assert.deepStrictEqual(reply?.error, { code, message })
        }
        const [reply] = yield* call(built, era, "resources/read", { uri: "file:///x" })
        assert.deepStrictEqual(reply?.error, {
          code: era === "handshake" ? -32002 : -32602,
          message: "Resource not found: file:///x",
          data: { uri: "file:///x" }
        })
      }
    }))

  it.live("goes to another instance where that is safe, and says what happened where it isn't", () =>
    Effect.gen(function*() {
      const table: ReadonlyArray<
        readonly [string, (id: string) => ReturnType<Scripted["answer"]>, boolean, "moves" | number, RegExp?]
      > = [
        ["never sent", failing("notSent"), false, "moves"],
        ["may have run, repeatable", failing("mayHaveRun"), true, "moves"],
        [
          "may have run",
          failing("mayHaveRun", "connection reset"),
          false,
          -31001,
          /connection reset \(instance [ab]\).*not repeated/
        ],
        ["answered 503, repeatable", failing("answered", "HTTP 503"), true, "moves"],
        [
          "answered 503",
          failing("answered", "HTTP 503"),
          false,
          -31001,
          /HTTP 503 .*may have run, and was not repeated/
        ],
        [
          "internal error, repeatable",
          () => Effect.succeed({ error: { code: -32603, message: "boom" } }),
          true,
          "moves"
        ],
        ["internal error", () => Effect.succeed({ error: { code: -32603, message: "boom" } }), false, -32603, /^boom$/],
        [
          "invalid parameters",
          () => Effect.succeed({ error: { code: -32602, message: "bad", data: { at: 1 } } }),
          true,
          -32602,
          /^bad$/
        ],
        ["an error of its own", () => Effect.succeed({ error: { code: 42, message: "mine" } }), true, 42, /^mine$/]
      ]
      for (const [what, outcome, repeatable, expected, message] of table) {
        let first: string | undefined
        const answer = (id: string) => () => {
          first ??= id
          return first === id ? outcome(id) : Effect.succeed(text(id))
        }
        const built = yield* harness({
          servers: [{ id: "a", answer: answer("a") }, { id: "b", answer: answer("b") }],
          offers: [{ name: "t", repeatable }]
        })
        const [reply] = yield* call(built, "handshake", "tools/call", { name: "svc__t" })
        assert.strictEqual(built.endpoint.figures().failovers, expected === "moves" ? 1 : 0, what)
        if (expected === "moves") {
          assert.isDefined(reply?.result, what)
          assert.strictEqual(built.asked.length, 2)
          const routing = (reply?.result?.["_meta"] as Record<string, Fields> | undefined)?.["dev.portolan/routing"]
          assert.strictEqual(routing?.["attempts"], 2)
          assert.strictEqual((routing?.["failed"] as ReadonlyArray<Fields> | undefined)?.[0]?.["instance"], first)
        } else {
          assert.deepStrictEqual([what, reply?.error?.code, built.asked.length], [what, expected, 1])
          assert.match(reply?.error?.message ?? "", message ?? /./)
        }
      }
    }))

  it.live("goes where the others of its session go, where the strategy keeps calls together", () =>
    Effect.gen(function*() {
      const ids = ["a", "b", "c", "d"]
      const built = yield* harness({
        servers: ids.map((id) => ({ id, answer: () => Effect.succeed(text(id)) })),
        offers: [{ name: "t" }],
        balancing: { strategy: "consistent-hash" }
      })
      const used = new Set<string>()
      for (let session = 0; session < 12; session++) {
        const { headers } = yield* built.initialize()
        const before = built.asked.length
        for (let id = 1; id <= 5; id++) {
          yield* built.post({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "svc__t" } }, headers)
        }
        const asked = new Set(built.asked.slice(before).map(({ id }) => id))
        assert.strictEqual(asked.size, 1)
        for (const id of asked) used.add(id)
      }
      assert.isAbove(used.size, 1)
    }))

  it.live("says that nothing is routable, that the time is up, and that an answer can't be relayed", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [
          { id: "slow", service: "slow", answer: () => Effect.never },
          {
            id: "asks",
            service: "asks",
            era: "stateless",
            answer: () => Effect.succeed({ result: { resultType: "input_required" } })
          }
        ],
        offers: [{ name: "t", service: "nobody" }, { name: "t", service: "slow" }, { name: "t", service: "asks" }],
        options: { timeout: 60 }
      })
      const codes: Array<unknown> = []
      for (const name of ["nobody__t", "slow__t", "asks__t"]) {
        const [reply] = yield* call(built, "stateless", "tools/call", { name })
        codes.push([name, reply?.error?.code, reply?.error?.data?.["reason"]])
      }
      assert.deepStrictEqual(codes, [
        ["nobody__t", -31000, "unknown"],
        ["slow__t", -31001, "interrupted"],
        ["asks__t", -32603, undefined]
      ])
      assert.deepStrictEqual({ calls: built.endpoint.figures().calls, failed: built.endpoint.figures().failedCalls }, {
        calls: 3,
        failed: 3
      })
    }))

  it.live("isn't repeated once a part of its answer was passed on", () =>
    Effect.gen(function*() {
      const answer = (id: string) => (request: UpstreamRequest) => {
        request.onNotification?.(progress(1))
        return failing("mayHaveRun")(id)
      }
      const built = yield* harness({
        servers: [{ id: "a", answer: answer("a") }, { id: "b", answer: answer("b") }],
        offers: [{ name: "t", repeatable: true }]
      })
      const messages = yield* call(built, "stateless", "tools/call", { name: "svc__t" }, { meta: { progressToken: 1 } })
      assert.strictEqual(built.asked.length, 1)
      assert.strictEqual(messages.at(-1)?.error?.code, -31001)
      // Without a stream nothing was passed on.
      built.asked.length = 0
      yield* call(built, "stateless", "tools/call", { name: "svc__t" }, {
        meta: { progressToken: 1 },
        accept: "application/json"
      })
      // At both, and once more at one of them, which may be starting again.
      assert.strictEqual(built.asked.length, 3)
    }))

  it.live("hears nothing more of an attempt that was given up", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const requests: Array<UpstreamRequest> = []
      const answer = (id: string) => (request: UpstreamRequest) => {
        requests.push(request)
        if (requests.length === 1) return failing("notSent")(id)
        requests[0]?.onNotification?.(progress(50))
        request.onNotification?.(progress(1))
        return Effect.as(Deferred.await(gate), text("done"))
      }
      const built = yield* harness({
        servers: [{ id: "a", answer: answer("a") }, { id: "b", answer: answer("b") }],
        offers: [{ name: "t" }]
      })
      const open = yield* begin(built, "stateless", "tools/call", { name: "svc__t" }, { meta: { progressToken: 1 } })
      yield* Deferred.succeed(gate, undefined)
      const messages = yield* whole(open)
      assert.deepStrictEqual(messages.map(({ params }) => params?.["progress"]), [1, undefined])
    }))

  it.live("hears of a hedge and of the attempt that it is for, until one of them is passed on", () =>
    Effect.gen(function*() {
      for (const first of [0, 1]) {
        const gate = yield* Deferred.make<void>()
        const requests: Array<UpstreamRequest> = []
        let interrupted = 0
        let held = false
        const answer = (id: string) => (request: UpstreamRequest) => {
          if (!held) return Effect.succeed(text(id))
          requests.push(request)
          return Effect.as(Deferred.await(gate), text(id)).pipe(
            Effect.onInterrupt(() => Effect.sync(() => void interrupted++))
          )
        }
        const built = yield* harness({
          servers: [{ id: "a", answer: answer("a") }, { id: "b", answer: answer("b") }],
          offers: [{ name: "t", repeatable: true, readOnly: true }],
          routing: { hedging: { percentile: 0.5, share: 1 } }
        })
        const ask = (meta: Fields = {}) => begin(built, "stateless", "tools/call", { name: "svc__t" }, { meta })
        // So that it is known how long calls take.
        for (let count = 0; count < 30; count++) yield* Effect.flatMap(ask(), whole)
        held = true
        const opening = yield* Effect.forkChild(ask({ progressToken: 1 }))
        yield* eventually("both are sent", () => requests.length === 2 ? true : undefined)
        requests[first]?.onNotification?.(progress(1))
        requests[1 - first]?.onNotification?.(progress(2))
        requests[first]?.onNotification?.(progress(3))
        yield* eventually("the other one is given up", () => interrupted === 1 ? true : undefined)
        yield* Deferred.succeed(gate, undefined)
        const messages = yield* whole(yield* Fiber.join(opening))
        assert.deepStrictEqual(messages.map(({ params }) => params?.["progress"]), [1, 3, undefined])
        assert.strictEqual(built.endpoint.figures().failovers, 0)
      }
    }))

  it.live("isn't cut while it reports progress", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              for (let step = 1; step <= 8; step++) {
                yield* Effect.sleep(50)
                request.onNotification?.(progress(step))
              }
              return text("done")
            })
        }],
        offers: [{ name: "t" }],
        options: { timeout: 200 }
      })
      const messages = yield* call(built, "handshake", "tools/call", { name: "svc__t" }, {
        meta: { progressToken: "p" }
      })
      assert.isDefined(messages.at(-1)?.result)
      const [silent] = yield* call(built, "handshake", "tools/call", { name: "svc__t" })
      assert.strictEqual(silent?.error?.code, -31001)
    }))

  it.live("whose result can't be written down fails alone", () =>
    Effect.gen(function*() {
      let deep: Fields = {}
      for (let level = 0; level < 200_000; level++) deep = { deep }
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed({ result: { content: [], structuredContent: deep } }) }],
        offers: [{ name: "t" }]
      })
      for (const accept of ["application/json", "text/event-stream"]) {
        const [reply] = yield* call(built, "handshake", "tools/call", { name: "svc__t" }, { accept })
        assert.strictEqual(reply?.error?.code, -32603)
      }
    }))

  it.live("hides how it was routed where that is switched off", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed(text("x")) }],
        offers: [{ name: "t" }],
        options: { showRouting: false }
      })
      const [reply] = yield* call(built, "handshake", "tools/call", { name: "svc__t" })
      assert.deepStrictEqual(Object.keys(reply?.result ?? {}), ["content"])
    }))

  it.live("passes on prompts, resources and completions under the server's names", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed({ result: { contents: [], messages: [] } }) }],
        offers: [{ kind: "prompts", name: "greet" }, { kind: "resources", name: "file:///x" }, {
          kind: "resourceTemplates",
          name: "file:///{path}"
        }]
      })
      for (const era of eras) {
        built.asked.length = 0
        yield* call(built, era, "prompts/get", { name: "svc__greet", arguments: { a: "1" } })
        const [read] = yield* call(built, era, "resources/read", { uri: "file:///x" })
        assert.strictEqual(read?.result?.["cacheScope"], era === "stateless" ? "private" : undefined)
        const argument = { name: "a", value: "b" }
        yield* call(built, era, "completion/complete", { ref: { type: "ref/prompt", name: "svc__greet" }, argument })
        yield* call(built, era, "completion/complete", {
          ref: { type: "ref/resource", uri: "file:///{path}" },
          argument
        })
        assert.deepStrictEqual(built.asked.map(({ request }) => [request.method, request.params]), [
          ["prompts/get", { name: "greet", arguments: { a: "1" } }],
          ["resources/read", { uri: "file:///x" }],
          ["completion/complete", { ref: { type: "ref/prompt", name: "greet" }, argument }],
          ["completion/complete", { ref: { type: "ref/resource", uri: "file:///{path}" }, argument }]
        ])
      }
    }))
})

describe("cancellation", () => {
  const cancellable = Effect.gen(function*() {
    const cancelled: Array<unknown> = []
    const gate = yield* Deferred.make<void>()
    const built = yield* harness({
      servers: [{
        id: "a",
        answer: (request) =>
          Effect.onInterrupt(
            Effect.as(Deferred.await(gate), text("done")),
            () => Effect.sync(() => void cancelled.push((request.params?.["arguments"] as Fields | undefined)?.["n"]))
          )
      }],
      offers: [{ name: "t" }]
    })
    return { built, cancelled, gate }
  })
  const t = (n: number) => ({ name: "svc__t", arguments: { n } })

  it.live("reaches the one call of that session that it names", () =>
    Effect.gen(function*() {
      const { built, cancelled, gate } = yield* cancellable
      const mine = (yield* built.initialize()).headers
      const other = (yield* built.initialize()).headers
      const calls = []
      for (const [headers, id, n] of [[mine, 1, 1], [mine, "1", 2], [other, 1, 3]] as const) {
        calls.push(yield* Effect.forkChild(call(built, "handshake", "tools/call", t(n), { id, headers })))
      }
      yield* eventually("all are on their way", () => built.asked.length === 3 ? true : undefined)
      for (const requestId of ["unknown", null, 1]) {
        const answer = yield* built.post({
          jsonrpc: "2.0",
          method: "notifications/cancelled",
          params: { requestId, reason: "enough" }
        }, mine)
        assert.strictEqual(answer.status, 202)
      }
      yield* eventually("it is cancelled upstream", () => cancelled.length > 0 ? true : undefined)
      const [first, second, third] = calls
      // No reply to what was cancelled.
      assert.deepStrictEqual(yield* Fiber.join(first!), [])
      yield* Deferred.succeed(gate, undefined)
      assert.isDefined((yield* Fiber.join(second!))[0]?.result)
      assert.isDefined((yield* Fiber.join(third!))[0]?.result)
      assert.deepStrictEqual(cancelled, [1])
      assert.strictEqual(built.endpoint.figures().callsInFlight, 0)
    }))

  it.live("is what the end of the connection means in the stateless era, and only there", () =>
    Effect.gen(function*() {
      const { built, cancelled, gate } = yield* cancellable
      const headers = (yield* built.initialize()).headers
      for (const [era, n] of [["handshake", 1], ["stateless", 2]] as const) {
        yield* Effect.forkChild(Effect.exit(begin(built, era, "tools/call", t(n), { headers })))
        yield* eventually("it is on its way", () => built.asked.length === n ? true : undefined)
      }
      built.server.closeAllConnections()
      yield* eventually("it is cancelled upstream", () => cancelled.length > 0 ? true : undefined)
      assert.deepStrictEqual(cancelled, [2])
      assert.strictEqual(built.endpoint.figures().callsInFlight, 1)
      yield* Deferred.succeed(gate, undefined)
      yield* eventually(
        "the other ran to its end",
        () => built.endpoint.figures().callsInFlight === 0 ? true : undefined
      )
    }))
})

describe("the start", () => {
  it.live("is waited for once, by what needs the catalog", () =>
    Effect.gen(function*() {
      const settled = yield* Deferred.make<void>()
      let waits = 0
      const built = yield* harness({
        servers: [],
        offers: [],
        settled: Effect.suspend(() => {
          waits++
          return Deferred.await(settled)
        })
      })
      const asking = yield* Effect.forkChild(Effect.all([
        call(built, "stateless", "tools/list", {}),
        call(built, "stateless", "tools/call", { name: "svc__late" })
      ], { concurrency: "unbounded" }))
      yield* eventually("both wait", () => waits === 2 ? true : undefined)
      built.setOffers([{ name: "late", service: "svc" }])
      yield* Deferred.succeed(settled, undefined)
      const [[list], [called]] = yield* Fiber.join(asking)
      assert.strictEqual((list?.result?.["tools"] as ReadonlyArray<unknown> | undefined)?.length, 1)
      // Found in the end; that nobody routes to it is another matter.
      assert.strictEqual(called?.error?.code, -31000)
      yield* call(built, "handshake", "tools/list", {})
      assert.strictEqual(waits, 2)
    }))
})

describe("notices", () => {
  const listen = (built: Built, id: string | number, notifications: Fields) =>
    openRequest(
      built.url,
      "POST",
      modern("subscriptions/listen"),
      JSON.stringify({
        jsonrpc: "2.0",
        id,
        method: "subscriptions/listen",
        params: { notifications, _meta: envelope() }
      })
    )

  it.live("come once per change and client, to those who asked", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [], offers: [] })
      const { headers } = yield* built.initialize()
      const idle = (yield* built.initialize()).headers
      const get = yield* openRequest(built.url, "GET", headers)
      const second = yield* openRequest(built.url, "GET", headers)
      const tools = yield* listen(built, "tools", { toolsListChanged: true, resourceSubscriptions: ["file:///x"] })
      const rest = yield* listen(built, 2, {
        promptsListChanged: true,
        resourcesListChanged: true,
        toolsListChanged: false
      })
      yield* eventually("both are acknowledged", () =>
        tools.messages().length === 1 && rest.messages().length === 1 ? true : undefined)
      assert.strictEqual(built.endpoint.figures().streams, 4)
      yield* built.change("tools")
      yield* eventually("the tools' notice", () =>
        tools.messages().length === 2 ? true : undefined)
      yield* built.change("prompts", "resources")
      yield* eventually("the others' notices", () => rest.messages().length === 3 ? true : undefined)
      yield* eventually("three notices to the session", () => second.messages().length === 3 ? true : undefined)
      const id = (value: unknown) => ({ _meta: { "io.modelcontextprotocol/subscriptionId": value } })
      assert.deepStrictEqual(tools.messages(), [
        {
          jsonrpc: "2.0",
          method: "notifications/subscriptions/acknowledged",
          params: { notifications: { toolsListChanged: true }, ...id("tools") }
        },
        { jsonrpc: "2.0", method: "notifications/tools/list_changed", params: id("tools") }
      ] as never)
      assert.deepStrictEqual(rest.messages().slice(1).map(({ method, params }) => [method, params]), [
        ["notifications/prompts/list_changed", id(2)],
        ["notifications/resources/list_changed", id(2)]
      ] as never)
      assert.deepStrictEqual(second.messages().map(({ method }) => method), [
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed"
      ])
      // Each message goes to one stream of a session alone.
      assert.deepStrictEqual(get.messages(), [])
      assert.isDefined(idle)
      tools.close()
      yield* eventually("the listener is gone", () => built.endpoint.figures().streams === 3 ? true : undefined)
    }))

  it.live("reach a client that was away, if it had read the list", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [], offers: [] })
      const { headers } = yield* built.initialize()
      yield* built.post({ jsonrpc: "2.0", id: 1, method: "tools/list" }, headers)
      const first = yield* openRequest(built.url, "GET", headers)
      assert.deepStrictEqual(first.messages(), [])
      first.close()
      yield* eventually("the stream is gone", () => built.endpoint.figures().streams === 0 ? true : undefined)
      yield* built.change("tools")
      const again = yield* openRequest(built.url, "GET", headers)
      yield* eventually("the notice", () => again.messages().length > 0 ? true : undefined)
      yield* built.change("prompts")
      yield* eventually("the next", () => again.messages().length > 1 ? true : undefined)
      assert.deepStrictEqual(again.messages().map(({ method }) => method), [
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed"
      ])
    }))

  it.live("aren't given twice to a client that came back in the middle of a change", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [], offers: [] })
      const { headers } = yield* built.initialize()
      yield* built.post({ jsonrpc: "2.0", id: 1, method: "tools/list" }, headers)
      built.bump("tools")
      const stream = yield* openRequest(built.url, "GET", headers)
      yield* eventually("the notice", () => stream.messages().length > 0 ? true : undefined)
      yield* built.tell("tools")
      yield* built.change("prompts")
      yield* eventually("the next", () =>
        stream.messages().at(-1)?.method?.includes("prompts") === true ? true : undefined)
      assert.strictEqual(stream.messages().length, 2)
    }))

  it.live("are refused to a listener that can't be understood", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [], offers: [] })
      for (const notifications of [undefined, [], { toolsListChanged: "yes" }]) {
        const [reply] = yield* call(built, "stateless", "subscriptions/listen", { notifications })
        assert.strictEqual(reply?.error?.code, -32602)
      }
      const json = yield* begin(built, "stateless", "subscriptions/listen", { notifications: {} }, {
        accept: "application/json"
      })
      assert.strictEqual(json.status, 406)
      const limited = yield* harness({ servers: [], offers: [], options: { maxStreams: 1 } })
      yield* listen(limited, 1, {})
      assert.strictEqual((yield* listen(limited, 2, {})).status, 503)
    }))

  it.live("cost no request upstream, nor do lists", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed(text("x")) }],
        offers: Array.from({ length: 250 }, (_, index) => ({ name: `t${index}` })),
        options: { pageSize: 100 }
      })
      const { headers } = yield* built.initialize()
      for (let round = 0; round < 20; round++) {
        const seen = new Set<unknown>()
        let cursor: unknown = undefined
        do {
          const answer = yield* built.post({
            jsonrpc: "2.0",
            id: round,
            method: "tools/list",
            params: cursor === undefined ? {} : { cursor }
          }, headers)
          const result = answer.messages[0]?.result
          for (const tool of (result?.["tools"] ?? []) as ReadonlyArray<Fields>) seen.add(tool["name"])
          cursor = result?.["nextCursor"]
        } while (cursor !== undefined)
        assert.strictEqual(seen.size, 250)
      }
      assert.deepStrictEqual(built.asked, [])
    }))
})

describe("log messages that say no call", () => {
  it.live("go to the sessions that want them", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) => {
            request.onNotification?.(log("info", "the call's"))
            return Effect.as(Deferred.await(gate), text("x"))
          }
        }],
        offers: [{ name: "t" }]
      })
      const { headers } = yield* built.initialize()
      const quiet = (yield* built.initialize()).headers
      yield* built.post({ jsonrpc: "2.0", id: 1, method: "logging/setLevel", params: { level: "error" } }, quiet)
      const wrong = yield* built.post(
        { jsonrpc: "2.0", id: 1, method: "logging/setLevel", params: { level: "loud" } },
        quiet
      )
      assert.strictEqual(wrong.messages[0]?.error?.code, -32602)
      const talkative = yield* openRequest(built.url, "GET", headers)
      const silent = yield* openRequest(built.url, "GET", quiet)
      yield* built.emit("a", log("info", "nobody's"))
      yield* eventually("it came", () => talkative.messages().length === 1 ? true : undefined)
      const open = yield* begin(built, "stateless", "tools/call", { name: "svc__t" }, {
        meta: { "io.modelcontextprotocol/logLevel": "info" }
      })
      yield* eventually("it came with the call", () => open.messages().length === 1 ? true : undefined)
      yield* Deferred.succeed(gate, undefined)
      yield* whole(open)
      yield* built.emit("a", log("critical", "all's"))
      yield* eventually("it came to both", () =>
        talkative.messages().length === 2 && silent.messages().length === 1 ? true : undefined)
      // The lowest level that anybody wants: first the session's, then the call's.
      const levels = built.asked.filter(({ request }) =>
        request.method === "logging/setLevel"
      )
      assert.deepStrictEqual(levels.map(({ request }) => request.params?.["level"]), ["error", "info"])
    }))
})

describe("a session that set no level", () => {
  it.live("gets no more than what the server sends by itself, whatever others asked for", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.sync(() => {
              for (const level of ["debug", "info"]) request.onNotification?.(log(level))
              return text("x")
            })
        }],
        offers: [{ name: "t" }]
      })
      const levelsOf = (open: Open) => open.messages().map((each) => each.params?.["level"])
      const plain = yield* built.initialize()
      const open = yield* openRequest(built.url, "GET", plain.headers)
      const called = () =>
        Effect.map(
          built.post({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__t" } }, plain.headers),
          (answer) => answer.messages.flatMap((each) => each.params?.["level"] ?? [])
        )
      // Nobody asked for a level: what comes is what the server sends by itself.
      yield* built.emit("a", log("debug", "its own"))
      yield* eventually("the server's own", () => levelsOf(open).length === 1 ? true : undefined)
      assert.deepStrictEqual(yield* called(), ["debug", "info"])
      const loud = yield* built.initialize()
      yield* built.post({ jsonrpc: "2.0", id: 1, method: "logging/setLevel", params: { level: "debug" } }, loud.headers)
      const listening = yield* openRequest(built.url, "GET", loud.headers)
      yield* built.emit("a", log("debug"))
      yield* built.emit("a", log("info"))
      yield* eventually("both came", () => levelsOf(listening).length === 2 ? true : undefined)
      yield* eventually("the second came", () => levelsOf(open).length >= 2 ? true : undefined)
      assert.deepStrictEqual(levelsOf(open), ["debug", "info"])
      assert.deepStrictEqual(yield* called(), ["info"])
    }))
})

describe("slow readers", () => {
  it.live("hold a bounded amount of memory, then are cut", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const big = "x".repeat(100_000)
      let sent = 0
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              for (let step = 1; step <= 2_000; step++) {
                sent = step
                request.onNotification?.(progress(step, { message: big }))
                yield* Effect.sleep(0)
              }
              return text("done")
            }).pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)))
        }],
        offers: [{ name: "t" }],
        options: { maxBuffered: 300_000 }
      })
      const open = yield* begin(built, "stateless", "tools/call", { name: "svc__t" }, { meta: { progressToken: 1 } })
      open.pause()
      yield* Deferred.await(interrupted)
      // What the sockets' own buffers take, and not the 200 MB that were on their way.
      assert.isBelow(sent, 1_000)
      yield* eventually("nothing is in flight", () => built.endpoint.figures().callsInFlight === 0 ? true : undefined)
      assert.strictEqual((yield* send(built.url, "POST", both, "x")).status, 400)
    }))
})

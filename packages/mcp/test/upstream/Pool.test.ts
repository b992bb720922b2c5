/**
 * Connections that belong to single callers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Schedule from "effect/Schedule"
import { fileURLToPath } from "node:url"
import type { Fields, JsonRpcNotification, Reply } from "../../src/JsonRpc.ts"
import type { Caller, CallerSession, ServerRequest, Upstream } from "../../src/upstream/Upstream.ts"
import { Upstreams } from "../../src/upstream/Upstreams.ts"
import * as Asking from "./Asking.ts"
import * as Harness from "./Harness.ts"
import * as OldServers from "./OldServers.ts"
import * as Servers from "./Servers.ts"

const asking = fileURLToPath(new URL("./fixtures/asking.ts", import.meta.url))

const stdio: Harness.Input = {
  id: "a",
  service: "a",
  endpoint: { transport: "stdio", command: process.execPath, args: [asking] }
}

const http = (url: string): Harness.Input => ({
  id: "a",
  service: "a",
  endpoint: { transport: "streamable-http", url }
})

const of = (transport: "sse" | "websocket", { url }: { readonly url: string }): Harness.Input => ({
  id: "a",
  service: "a",
  endpoint: { transport, url }
})

/** The server over each transport. */
const inputs = {
  "http that is sse": Effect.map(OldServers.sseOf(Asking.session), ({ url }) => http(url)),
  stdio: Effect.succeed(stdio),
  http: Effect.map(Effect.suspend(() => Servers.listen(Asking.http().handler)), ({ url }) => http(url)),
  sse: Effect.map(OldServers.sseOf(Asking.session), (server) => of("sse", server)),
  websocket: Effect.map(OldServers.webSocket(undefined, Asking.session), (server) => of("websocket", server))
}

const callerOf = (more: Partial<Caller> = {}): Caller => ({
  principal: undefined,
  capabilities: {},
  session: undefined,
  ...more
})

/** A session that keeps what it hears. */
const sessionOf = () => {
  const requests: Array<ServerRequest> = []
  const notifications: Array<JsonRpcNotification> = []
  const session: CallerSession = {
    onRequest: (_, request) => void requests.push(request),
    onNotification: (_, notification) => void notifications.push(notification)
  }
  return { session, requests, notifications }
}

const elicitation = { elicitation: { form: {} } }
const accept = (content: Fields): Reply => ({ result: { action: "accept", content } })

/** What a tool said. */
const said = (reply: Reply): unknown => {
  assert.isTrue("result" in reply, JSON.stringify(reply))
  const content = "result" in reply ? reply.result["content"] : undefined
  const text = Array.isArray(content) ? String(content[0]?.text) : ""
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

const call = (
  upstream: Upstream,
  name: string,
  caller: Caller | undefined,
  onRequest?: (request: ServerRequest) => void,
  args: Fields = {}
) =>
  Effect.map(
    upstream.request({ method: "tools/call", params: { name, arguments: args }, caller, onRequest }),
    said
  )

const pidOf = (upstream: Upstream, caller: Caller | undefined) =>
  Effect.map(call(upstream, "who", caller), (who) => (who as { readonly pid: number }).pid)

describe("a server that asks back", () => {
  for (const transport of ["http", "stdio", "sse", "http that is sse", "websocket"] as const) {
    const withServer = <A, E>(
      use: (upstream: Upstream) => Effect.Effect<A, E>,
      options = {}
    ) =>
      Effect.gen(function*() {
        const input = yield* inputs[transport]
        return yield* Harness.withUpstreams([input], ({ get }) => Effect.flatMap(get("a"), use), options)
      })

    it.live(`${transport}: is told what the caller declared, no more and no less, and its question comes to the call`, () =>
      withServer((upstream) =>
        Effect.gen(function*() {
          const { session } = sessionOf()
          const declared = { elicitation: { form: {} }, roots: { listChanged: true } }
          const caller = callerOf({ capabilities: declared, session })
          const who = yield* call(upstream, "who", caller)
          assert.deepInclude(who as object, { capabilities: declared })
          assert.deepInclude((yield* call(upstream, "who", undefined)) as object, { capabilities: {} })

          const asked: Array<ServerRequest> = []
          const answered = yield* call(upstream, "ask", caller, (request) => {
            asked.push(request)
            request.reply(accept({ name: "Ada" }))
            request.reply(accept({ name: "a second answer" }))
          }, { say: "your name?" })
          assert.deepStrictEqual(asked.map(({ method, params }) => [method, params?.["message"]]), [
            ["elicitation/create", "your name?"]
          ])
          assert.deepStrictEqual(answered, { action: "accept", content: { name: "Ada" } })
          const roots = [{ uri: "file:///a" }]
          assert.deepStrictEqual(
            yield* call(upstream, "roots", caller, (request) => request.reply({ result: { roots } })),
            { roots }
          )
        })
      ))

    it.live(
      `${transport}: what the first call of a connection makes it ask is heard, wherever it asks`,
      () =>
        withServer((upstream) =>
          Effect.gen(function*() {
            const caller = callerOf({ capabilities: elicitation, session: sessionOf().session })
            const answered = yield* call(upstream, "aside", caller, (request) => request.reply(accept({ name: "Ada" })))
            assert.deepStrictEqual(answered, { action: "accept", content: { name: "Ada" } })
          })
        ),
      10_000
    )

    it.live(`${transport}: each of many calls gets the question of its own`, () =>
      withServer((upstream) =>
        Effect.gen(function*() {
          // Without a session that it could belong to: over one channel each needs a connection of its own.
          const caller = callerOf({ capabilities: elicitation })
          const answers = yield* Effect.forEach(
            ["a", "b", "c", "d"],
            (name) =>
              call(upstream, "ask", caller, (request) => {
                request.reply(accept({ name, asked: request.params?.["message"] }))
              }, { say: name }),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(
            answers,
            ["a", "b", "c", "d"].map((name) => ({ action: "accept", content: { name, asked: name } }))
          )
        })
      ))

    it.live(`${transport}: what belongs to no call comes to the session, else it is refused`, () =>
      withServer((upstream) =>
        Effect.gen(function*() {
          const { requests, session } = sessionOf()
          const caller = callerOf({ capabilities: elicitation, session })
          yield* call(upstream, "late", caller, undefined, { say: "still there?" })
          const request = yield* Harness.eventually("the question", () => requests[0])
          assert.strictEqual(request.params?.["message"], "still there?")
          request.reply(accept({ yes: true }))
          const answered = (other: Caller) =>
            call(upstream, "answer", other).pipe(
              Effect.repeat({ until: (answer) => answer !== "none yet" })
            )
          assert.deepStrictEqual(yield* answered(caller), { action: "accept", content: { yes: true } })

          const other = callerOf({ capabilities: elicitation })
          yield* call(upstream, "late", other)
          assert.include(String(yield* answered(other)), "-32601")
        })
      ))

    it.live(`${transport}: a question is withdrawn when its server cancels it, or its call is given up`, () =>
      withServer((upstream) =>
        Effect.gen(function*() {
          const { session } = sessionOf()
          const caller = callerOf({ capabilities: elicitation, session })
          const asked: Array<ServerRequest> = []
          const keep = (request: ServerRequest) => void asked.push(request)
          assert.strictEqual(yield* call(upstream, "withdraw", caller, keep), "withdrawn")
          yield* Harness.eventually("withdrawn", () => asked[0]?.withdrawn.aborted === true ? true : undefined)
          const fiber = yield* Effect.forkChild(call(upstream, "ask", caller, keep), { startImmediately: true })
          yield* Harness.eventually("asked", () => asked[1])
          assert.isFalse(asked[1]?.withdrawn.aborted)
          yield* Fiber.interrupt(fiber)
          assert.isTrue(asked[1]?.withdrawn.aborted)
        })
      ))

    it.live(`${transport}: a server that asks what was not declared is refused`, () =>
      withServer((upstream) =>
        Effect.gen(function*() {
          let asked = 0
          const onRequest = () => void asked++
          for (const caller of [undefined, callerOf({ capabilities: { sampling: {} } })]) {
            const reply = yield* upstream.request({
              method: "tools/call",
              params: { name: "roots" },
              caller,
              onRequest
            })
            assert.include(JSON.stringify(reply), "not support")
          }
          assert.strictEqual(asked, 0)
        })
      ))
  }
})

describe("sharing", () => {
  it.live("who declares nothing shares; others by principal and by what they declare; sessions not at all", () =>
    Harness.withUpstreams([stdio], ({ get }) =>
      Effect.gen(function*() {
        const upstream = yield* get("a")
        const own = yield* pidOf(upstream, undefined)
        assert.strictEqual(yield* pidOf(upstream, callerOf()), own)
        const ada = yield* pidOf(upstream, callerOf({ principal: "ada" }))
        const bob = yield* pidOf(upstream, callerOf({ principal: "bob" }))
        assert.strictEqual(yield* pidOf(upstream, callerOf({ principal: "ada" })), ada)
        const asks = yield* pidOf(upstream, callerOf({ capabilities: { elicitation: { form: {}, url: {} } } }))
        assert.strictEqual(
          yield* pidOf(upstream, callerOf({ capabilities: { elicitation: { url: {}, form: {} } } })),
          asks
        )
        const one = callerOf({ capabilities: elicitation, session: sessionOf().session })
        const first = yield* pidOf(upstream, one)
        assert.strictEqual(yield* pidOf(upstream, one), first)
        const second = yield* pidOf(upstream, callerOf({ capabilities: elicitation, session: sessionOf().session }))
        assert.strictEqual(new Set([own, ada, bob, asks, first, second]).size, 6)
      })))
})

describe("over HTTP", () => {
  const withServer = <A, E, R>(
    use: (upstream: Upstream, server: ReturnType<typeof Asking.http>, tools: Harness.Tools) => Effect.Effect<A, E, R>
  ) =>
    Effect.gen(function*() {
      const server = Asking.http()
      const { url } = yield* Servers.listen(server.handler)
      return yield* Harness.withUpstreams(
        [http(url)],
        (tools) => Effect.flatMap(tools.get("a"), (upstream) => use(upstream, server, tools))
      )
    })

  it.live("R8: sessions that a restarted server forgot are opened anew, once for all who call", () =>
    withServer((upstream, server) =>
      Effect.gen(function*() {
        const callers = [sessionOf(), sessionOf()].map(({ session }) =>
          callerOf({ capabilities: elicitation, session })
        )
        const count = (caller: Caller | undefined) => call(upstream, "count", caller)
        for (const caller of [undefined, ...callers]) assert.strictEqual(yield* count(caller), 1)
        const before = callers.map((caller) => upstream.session(caller))
        assert.strictEqual(server.figures.opened, 3)
        server.forget()
        const again = yield* Effect.forEach(
          callers,
          (caller) => Effect.all(Array.from({ length: 5 }, () => count(caller)), { concurrency: "unbounded" }),
          { concurrency: "unbounded" }
        )
        for (const counts of again) {
          assert.deepStrictEqual(counts.map(Number).sort((one, other) => one - other), [1, 2, 3, 4, 5])
        }
        yield* count(undefined)
        assert.strictEqual(server.figures.opened, 6)
        for (const [index, caller] of callers.entries()) {
          assert.isDefined(upstream.session(caller))
          assert.notStrictEqual(upstream.session(caller), before[index])
          // What must not leave the session it was in is told so.
          const error = yield* Effect.flip(upstream.request({ method: "ping", caller, session: before[index] }))
          assert.deepInclude(error, { phase: "notSent", sessionLost: true })
        }
      })
    ))

  const outcomes: Readonly<Record<string, readonly [string, string]>> = {
    "no answer": ["mayHaveRun", "connection closed by the server"],
    "500": ["answered", "HTTP 500: session <redacted> is out of order"],
    "ends amid its stream": ["mayHaveRun", "connection closed by the server"],
    "wrong id": ["answered", "answered with something that is no reply to the request"],
    "20 MB": ["answered", "the reply is longer than 16777216 bytes"]
  }
  for (const fault of Asking.faultNames) {
    it.live(`a fault costs its call, not the session nor what else is under way: ${fault}`, () =>
      withServer((upstream, server) =>
        Effect.gen(function*() {
          const caller = callerOf({ capabilities: elicitation, session: sessionOf().session })
          assert.strictEqual(yield* call(upstream, "count", caller), 1)
          const asked: Array<ServerRequest> = []
          const long = yield* Effect.forkChild(
            call(upstream, "ask", caller, (request) => void asked.push(request)),
            { startImmediately: true }
          )
          yield* Harness.eventually("asked", () => asked[0])
          const error = yield* Effect.flip(
            upstream.request({ method: "tools/call", params: { name: "count" }, caller, headers: { "x-fault": fault } })
          )
          assert.deepStrictEqual([error.phase, error.reason], outcomes[fault])
          assert.strictEqual(yield* call(upstream, "count", caller), 2)
          asked[0]?.reply(accept({ still: "there" }))
          assert.deepStrictEqual(yield* Fiber.join(long), { action: "accept", content: { still: "there" } })
          assert.deepStrictEqual(server.figures, { opened: 2, ended: 0 })
        })
      ))
  }

  it.live("the server is told when the session ends, and when the instance goes", () =>
    withServer((upstream, server, { set }) =>
      Effect.gen(function*() {
        const upstreams = yield* Upstreams
        const { session } = sessionOf()
        yield* call(upstream, "count", callerOf({ capabilities: elicitation, session }))
        yield* call(upstream, "count", callerOf({ principal: "ada" }))
        upstreams.forget(session)
        yield* Harness.eventually("told of the one", () => server.figures.ended === 1 ? true : undefined)
        yield* set([])
        yield* Harness.eventually("told of all", () => server.figures.ended === 3 ? true : undefined)
      })
    ))

  it.live("a restart in the middle: who calls meanwhile is served when it is back", () =>
    Effect.gen(function*() {
      const first = Asking.http()
      const running = yield* Servers.listen(first.handler)
      yield* Harness.withUpstreams([http(running.url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const caller = callerOf({ capabilities: elicitation, session: sessionOf().session })
          assert.strictEqual(yield* call(upstream, "count", caller), 1)
          const asked: Array<ServerRequest> = []
          const lost = yield* Effect.forkChild(
            Effect.flip(call(upstream, "ask", caller, (request) => void asked.push(request))),
            { startImmediately: true }
          )
          yield* Harness.eventually("asked", () => asked[0])
          yield* running.stop
          assert.strictEqual((yield* Fiber.join(lost)).phase, "mayHaveRun")
          assert.isTrue(asked[0]?.withdrawn.aborted)
          asked[0]?.reply(accept({}))
          const second = Asking.http()
          yield* Servers.listen(second.handler, running.port)
          const counts = yield* Effect.retry(call(upstream, "count", caller), {
            times: 100,
            schedule: Schedule.spaced(20)
          })
          assert.strictEqual(counts, 1)
          // It knows again what the client can do.
          assert.deepInclude((yield* call(upstream, "who", caller)) as object, { capabilities: elicitation })
        }))
    }))

  it.live("a stream that breaks after the question is taken up again, and brings the reply to the answer", () =>
    Effect.gen(function*() {
      const answered = Promise.withResolvers<Fields>()
      const event = (id: number, message: object) =>
        `id: ${id}\ndata: ${JSON.stringify({ jsonrpc: "2.0", ...message })}\n\n`
      let called: unknown
      const { url } = yield* Servers.listen((request, response) => {
        const stream = () => response.writeHead(200, { "content-type": "text/event-stream" })
        if (request.method === "GET") {
          if (request.headers["last-event-id"] !== "1") return void response.writeHead(405).end()
          return void answered.promise.then((answer) =>
            stream().end(
              event(2, { id: called, result: { content: [{ type: "text", text: JSON.stringify(answer) }] } })
            )
          )
        }
        void Servers.body(request).then((text) => {
          const message: Fields = JSON.parse(text)
          const { id, method } = message
          if (method === "initialize") {
            const result = { protocolVersion: "2025-06-18", capabilities: {}, serverInfo: {} }
            return Servers.json(response, 200, { jsonrpc: "2.0", id, result })
          }
          if (method === "tools/call") {
            called = id
            return stream().end(event(1, { id: "the server's own", method: "elicitation/create", params: {} }))
          }
          if (method === undefined) answered.resolve(message)
          response.writeHead(id === undefined || method === undefined ? 202 : 404).end()
        })
      })
      yield* Harness.withUpstreams([http(url)], ({ get }) =>
        Effect.gen(function*() {
          const upstream = yield* get("a")
          const caller = callerOf({ capabilities: elicitation, session: sessionOf().session })
          assert.deepStrictEqual(
            yield* call(upstream, "x", caller, (request) => request.reply(accept({ name: "Ada" }))),
            { jsonrpc: "2.0", id: "the server's own", ...accept({ name: "Ada" }) }
          )
        }))
    }))
})

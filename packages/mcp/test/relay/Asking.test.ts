/**
 * What servers ask clients of the handshake era: the way to the client and back, whatever it came by.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Redacted } from "effect"
import type { IncomingMessage } from "node:http"
import { PassThrough } from "node:stream"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Fields, JsonRpcNotification, Reply } from "../../src/JsonRpc.ts"
import { McpEndpoint } from "../../src/relay/McpEndpoint.ts"
import * as StdioEndpoint from "../../src/relay/StdioEndpoint.ts"
import type { ServerRequest, UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { listen } from "../upstream/Servers.ts"
import { both, envelope, harness, type Message, modern, type Open, openRequest, send, text } from "./Harness.ts"

setFlagsFromString("--expose-gc")
/** Collects what nobody holds any more. */
const collect: () => void = runInNewContext("gc")

const capabilities = { elicitation: {}, roots: { listChanged: true }, sampling: {} }

const elicitation = { message: "Your name?", requestedSchema: { type: "object", properties: {} } }

/** A call that asks the client once, and tells what it answered. */
const asking = (method = "elicitation/create", params: Fields | undefined = elicitation) => {
  const withdrawn: Array<AbortSignal> = []
  const running: Array<UpstreamRequest> = []
  const answer = (request: UpstreamRequest): Effect.Effect<Reply> =>
    Effect.callback<Reply>((resume) => {
      running.push(request)
      const controller = new AbortController()
      withdrawn.push(controller.signal)
      const question: ServerRequest = {
        method,
        params,
        reply: (reply) => resume(Effect.succeed(text(JSON.stringify(reply)))),
        withdrawn: controller.signal
      }
      if (request.onRequest === undefined) resume(Effect.succeed(text("nobody to ask")))
      else request.onRequest(question)
      return Effect.sync(() => controller.abort())
    })
  return { answer, running, withdrawn }
}

const served = Effect.fnUntraced(function*(
  options?: Parameters<typeof harness>[0]["options"],
  { answer, running, withdrawn } = asking()
) {
  const built = yield* harness({ servers: [{ id: "a", answer }], offers: [{ name: "ask" }], options })
  return { ...built, running, withdrawn }
})

const call = (id: unknown) => ({ jsonrpc: "2.0", id, method: "tools/call", params: { name: "svc__ask" } })

const listening = { accept: "text/event-stream" }

/** The request that came to the client. */
const question = (stream: Open, at = 0) =>
  eventually(
    "a question",
    () => stream.messages().filter(({ id, method }) => id !== undefined && method !== undefined)[at]
  )

const answerTo = (message: Message, result: Fields = { action: "accept", content: { name: "Ann" } }) => ({
  jsonrpc: "2.0",
  id: message.id,
  result
})

/** What the server was answered, as the call tells. */
const answered = (reply: Message | undefined): unknown => {
  const content = reply?.result?.["content"]
  const first: unknown = Array.isArray(content) ? content[0] : undefined
  return typeof first === "object" && first !== null && "text" in first ? JSON.parse(String(first.text)) : reply
}

const accepted = { result: { action: "accept", content: { name: "Ann" } } }

const ended = (stream: Open) => eventually("the end", () => stream.ended() ? true : undefined)

const idle = (endpoint: McpEndpoint["Service"]) =>
  eventually("nothing is in flight", () => endpoint.figures().callsInFlight === 0 ? true : undefined)

describe("over streamable HTTP", () => {
  it.live("a client is asked on the stream of its request, in every version", () =>
    Effect.gen(function*() {
      for (const version of ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]) {
        const { initialize, post, url } = yield* served(undefined, asking("roots/list", undefined))
        const { headers } = yield* initialize(version, {}, capabilities)
        const stream = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
        const asked = yield* question(stream)
        assert.strictEqual(asked.method, "roots/list")
        const taken = yield* post(answerTo(asked, { roots: [] }), headers)
        assert.deepStrictEqual([taken.status, taken.text], [202, ""])
        yield* ended(stream)
        assert.deepStrictEqual(answered(stream.messages().at(-1)), { result: { roots: [] } })
        // Twice is once.
        assert.strictEqual((yield* post(answerTo(asked, { roots: [1] }), headers)).status, 202)
      }
    }))

  it.live("a client that takes no events is asked on the stream of its session", () =>
    Effect.gen(function*() {
      const { initialize, post, url } = yield* served()
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const stream = yield* openRequest(url, "GET", { ...headers, ...listening })
      const reply = yield* Effect.forkChild(post(call(1), { ...headers, accept: "application/json" }))
      yield* post(answerTo(yield* question(stream)), headers)
      assert.deepStrictEqual(answered((yield* Fiber.join(reply)).messages[0]), accepted)
    }))

  it.live("calls that ask at the same time are answered each for itself", () =>
    Effect.gen(function*() {
      const { initialize, post, url } = yield* served()
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const streams = yield* Effect.forEach(
        Array.from({ length: 20 }, (_, id) => id),
        (id) => openRequest(url, "POST", headers, JSON.stringify(call(id))),
        { concurrency: "unbounded" }
      )
      for (const [id, stream] of Array.from(streams.entries()).toReversed()) {
        yield* post(answerTo(yield* question(stream), { action: "accept", content: { id } }), headers)
      }
      for (const [id, stream] of streams.entries()) {
        yield* ended(stream)
        assert.strictEqual(stream.messages().at(-1)?.id, id)
        assert.deepStrictEqual(answered(stream.messages().at(-1)), { result: { action: "accept", content: { id } } })
      }
    }))

  it.live("a batch is answered as a batch, also where a call in it asks", () =>
    Effect.gen(function*() {
      const { initialize, post, url } = yield* served(undefined, asking("roots/list", undefined))
      const { headers } = yield* initialize("2025-03-26", {}, capabilities)
      const batch = [call(1), { jsonrpc: "2.0", id: 2, method: "ping" }, call(3)]
      const stream = yield* openRequest(url, "POST", headers, JSON.stringify(batch))
      const answers = [
        answerTo(yield* question(stream), { roots: [1] }),
        { jsonrpc: "2.0", id: "made up", result: {} },
        answerTo(yield* question(stream, 1), { roots: [2] })
      ]
      assert.strictEqual((yield* post(answers, headers)).status, 202)
      yield* ended(stream)
      const reply = (id: number) =>
        answered(stream.messages().find((each) => each.id === id && each.method === undefined))
      assert.deepStrictEqual([reply(1), reply(3)], [{ result: { roots: [1] } }, { result: { roots: [2] } }])
    }))

  it.live("a client's error is the server's", () =>
    Effect.gen(function*() {
      const { initialize, post, url } = yield* served()
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      for (
        const [given, expected] of [
          [{ error: { code: -1, message: "no" } }, { code: -1, message: "no" }],
          [{ error: { code: -1, message: "no", data: { why: 1 } } }, { code: -1, message: "no", data: { why: 1 } }],
          [{ result: 3 }, { code: -32603, message: "The answer is neither a result nor an error" }],
          [{ error: "no" }, { code: -32603, message: "The answer is neither a result nor an error" }]
        ]
      ) {
        const stream = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
        yield* post({ jsonrpc: "2.0", id: (yield* question(stream)).id, ...given }, headers)
        yield* ended(stream)
        assert.deepStrictEqual(answered(stream.messages().at(-1)), { error: expected })
      }
    }))

  it.live("an answer is taken only in the session that was asked", () =>
    Effect.gen(function*() {
      const { initialize, post, url } = yield* served({ principal: (request) => request.headers.authorization })
      const { headers } = yield* initialize("2025-11-25", { authorization: "ann" }, capabilities)
      const other = yield* initialize("2025-11-25", { authorization: "bob" }, capabilities)
      const stream = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
      const asked = yield* question(stream)
      const forged = answerTo(asked, { action: "accept", content: { name: "Mallory" } })
      yield* post(forged, other.headers)
      assert.strictEqual((yield* post(forged, { ...headers, authorization: "bob" })).status, 404)
      assert.strictEqual((yield* post({ ...forged, id: 1 }, headers)).status, 400)
      const { "mcp-session-id": _, ...without } = headers
      assert.strictEqual((yield* post(forged, without)).status, 400)
      assert.strictEqual((yield* post({ ...forged, id: null }, headers)).status, 400)
      assert.strictEqual((yield* post(forged, modern("x"))).status, 400)
      yield* post(answerTo(asked), headers)
      yield* ended(stream)
      assert.deepStrictEqual(answered(stream.messages().at(-1)), accepted)
    }))

  it.live("a client that takes too long, or has no stream, is an error to the server", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url } = yield* served({ inputTimeout: 200 })
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const stream = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
      const asked = yield* question(stream)
      yield* ended(stream)
      assert.deepStrictEqual(
        stream.messages().map(({ id, method, params }) => [id, method, params?.["requestId"]]),
        [
          [asked.id, "elicitation/create", undefined],
          [undefined, "notifications/cancelled", asked.id],
          [1, undefined, undefined]
        ]
      )
      assert.include(stream.text(), "did not answer within 200 ms")
      assert.strictEqual((yield* post(answerTo(asked), headers)).status, 202)
      const silent = yield* post(call(2), { ...headers, accept: "application/json" })
      assert.include(silent.text, "did not answer within 200 ms")
      assert.strictEqual(endpoint.figures().callsInFlight, 0)
    }))

  it.live("a client that cancels its call, or ends its session, takes its questions with it", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url, withdrawn } = yield* served()
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const first = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
      const asked = yield* question(first)
      yield* post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } }, headers)
      yield* ended(first)
      assert.strictEqual(first.messages().at(-1)?.params?.["requestId"], asked.id)
      assert.isTrue(withdrawn[0]?.aborted)
      const second = yield* openRequest(url, "POST", headers, JSON.stringify(call(2)))
      yield* question(second)
      yield* send(url, "DELETE", headers)
      yield* ended(second)
      yield* idle(endpoint)
      assert.isTrue(withdrawn[1]?.aborted)
    }))

  it.live("a client that disappears and comes back is asked, and answers", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url } = yield* served()
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const first = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
      const asked = yield* question(first)
      first.close()
      yield* ended(first)
      assert.strictEqual(endpoint.figures().callsInFlight, 1)
      const primer = first.text().split("\n").find((line) => line.startsWith("id: "))?.slice(4) ?? ""
      const again = yield* openRequest(url, "GET", { ...headers, ...listening, "last-event-id": primer })
      assert.strictEqual((yield* question(again)).id, asked.id)
      yield* post(answerTo(asked), headers)
      yield* ended(again)
      assert.deepStrictEqual(answered(again.messages().at(-1)), accepted)
    }))

  it.live("clients that disappear in the middle of it harm nobody, and are forgotten in time", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url } = yield* served({ inputTimeout: 1_500 })
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const gone = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, id) => id),
        (id) =>
          Effect.gen(function*() {
            const client = yield* initialize("2025-11-25", {}, capabilities)
            const stream = yield* openRequest(url, "POST", client.headers, JSON.stringify(call(id)))
            yield* question(stream)
            stream.close()
          }),
        { concurrency: 10 }
      )
      assert.lengthOf(gone, 50)
      const stream = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
      yield* post(answerTo(yield* question(stream)), headers)
      yield* ended(stream)
      assert.deepStrictEqual(answered(stream.messages().at(-1)), accepted)
      yield* idle(endpoint)
    }))

  it.live("a client that declared nothing is asked nothing", () =>
    Effect.gen(function*() {
      const { initialize, post } = yield* served()
      const { headers } = yield* initialize("2025-11-25", {}, { roots: {} })
      const reply = yield* post(call(1), headers)
      assert.lengthOf(reply.messages.filter(({ method }) => method === "elicitation/create"), 0)
      assert.include(reply.text, "-32601")
    }))
})

describe("outside any call", () => {
  const session = Effect.fnUntraced(function*(options?: Parameters<typeof harness>[0]["options"]) {
    const built = yield* harness({
      servers: [{ id: "a", answer: () => Effect.succeed(text("x")) }],
      offers: [{ name: "ask" }],
      options
    })
    const { headers } = yield* built.initialize("2025-11-25", {}, capabilities)
    yield* built.post(call(1), headers)
    const servers = built.asked[0]?.request.caller?.session ?? assert.fail("the call has no session")
    const ask = (method: string, params?: Fields) => {
      const controller = new AbortController()
      let reply: Reply | undefined
      servers.onRequest(built.upstream("a"), {
        method,
        params,
        reply: (given) => {
          reply = given
        },
        withdrawn: controller.signal
      })
      return { reply: () => reply, withdraw: () => controller.abort() }
    }
    return { ...built, headers, servers, ask }
  })

  it.live("a server asks on the stream of the session, and withdraws", () =>
    Effect.gen(function*() {
      const { ask, headers, post, url } = yield* session()
      // Asked a moment too early.
      const first = ask("roots/list")
      const stream = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* post(answerTo(yield* question(stream), { roots: [] }), headers)
      assert.deepStrictEqual(yield* eventually("the reply", first.reply), { result: { roots: [] } })
      const second = ask("sampling/createMessage", { maxTokens: 1 })
      const asked = yield* question(stream, 1)
      second.withdraw()
      yield* eventually("it is withdrawn", () =>
        stream.messages().find(({ method }) => method === "notifications/cancelled"))
      assert.strictEqual(stream.messages().at(-1)?.params?.["requestId"], asked.id)
      assert.isUndefined(second.reply())
    }))

  it.live("a session that ends leaves no question open", () =>
    Effect.gen(function*() {
      const { ask, headers, url } = yield* session()
      const stream = yield* openRequest(url, "GET", { ...headers, ...listening })
      const { reply } = ask("roots/list")
      yield* question(stream)
      yield* send(url, "DELETE", headers)
      assert.include(JSON.stringify(yield* eventually("the reply", reply)), "session is over")
      const late = ask("roots/list")
      assert.include(JSON.stringify(yield* eventually("the reply", late.reply)), "session is over")
    }))

  it.live("a server's notifications come to the session where they concern it", () =>
    Effect.gen(function*() {
      const { headers, post, servers, upstream, url } = yield* session()
      const stream = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* post({ jsonrpc: "2.0", id: 9, method: "logging/setLevel", params: { level: "warning" } }, headers)
      const say = (method: string, params: Fields) =>
        servers.onNotification(upstream("a"), { jsonrpc: "2.0", method, params })
      say("notifications/message", { level: "info", data: "low" })
      say("notifications/message", { level: "error", data: "high", _meta: { progressToken: 1, "x/y": 2 } })
      say("notifications/tools/list_changed", {})
      say("notifications/made/up", {})
      say("notifications/elicitation/complete", { elicitationId: "e" })
      yield* eventually("the last", () => stream.messages().length === 2 ? true : undefined)
      assert.deepStrictEqual(stream.messages().map(({ method, params }) => [method, params]), [
        ["notifications/message", { level: "error", data: "high", _meta: { "x/y": 2 } }],
        ["notifications/elicitation/complete", { elicitationId: "e" }]
      ])
    }))

  it.live("a flood of notifications to a client that doesn't read is cut, and bounded", () =>
    Effect.gen(function*() {
      const { endpoint, headers, post, servers, upstream, url } = yield* session({ maxBuffered: 100_000 })
      const stream = yield* openRequest(url, "GET", { ...headers, ...listening })
      yield* eventually("it is open", () => endpoint.figures().streams === 1 ? true : undefined)
      stream.pause()
      collect()
      const before = process.memoryUsage().heapUsed
      for (let count = 0; count < 100_000; count++) {
        servers.onNotification(upstream("a"), {
          jsonrpc: "2.0",
          method: "notifications/message",
          params: { level: "error", data: `number ${count}` }
        })
        if (count % 1_000 === 0) yield* Effect.yieldNow
      }
      yield* eventually("the stream is cut", () => endpoint.figures().streams === 0 ? true : undefined)
      collect()
      assert.isBelow(process.memoryUsage().heapUsed - before, 8_000_000)
      // The session is as it was.
      assert.strictEqual((yield* post({ jsonrpc: "2.0", id: 3, method: "ping" }, headers)).status, 200)
    }), 60_000)
})

describe("the id of a session", () => {
  const ping = { jsonrpc: "2.0", id: 1, method: "ping" }

  it.live("is refused where it was altered, is somebody else's, or is over", () =>
    Effect.gen(function*() {
      const sessionKey = Redacted.make("shared")
      const principal = (request: IncomingMessage) => request.headers.authorization
      const one = yield* served({ principal, sessionKey })
      const two = yield* served({ principal, sessionKey })
      const { headers } = yield* one.initialize("2025-11-25", { authorization: "ann" }, capabilities)
      const id = headers["mcp-session-id"]
      const statuses = (given: Readonly<Record<string, string>>) =>
        Effect.map(
          Effect.forEach(
            [one, two],
            ({ post, url }) =>
              Effect.all([post(ping, given), send(url, "GET", { ...given, ...listening }), send(url, "DELETE", given)])
          ),
          (answers) => new Set(answers.flat().map(({ status }) => status))
        )
      for (let at = id.length - 1; at >= 0; at -= 7) {
        const altered = `${id.slice(0, at)}${id[at] === "A" ? "B" : "A"}${id.slice(at + 1)}`
        assert.deepStrictEqual(yield* statuses({ ...headers, "mcp-session-id": altered }), new Set([404]))
      }
      for (const altered of [id.slice(1), id.slice(0, -1), `${id}A`, id + id, "A".repeat(8_000), "%00"]) {
        assert.deepStrictEqual(yield* statuses({ ...headers, "mcp-session-id": altered }), new Set([404]))
      }
      for (const authorization of ["mallory", ""]) {
        assert.deepStrictEqual(yield* statuses({ ...headers, authorization }), new Set([404]))
      }
      assert.strictEqual((yield* one.post(ping, headers)).status, 200)
      assert.strictEqual((yield* two.post(ping, headers)).status, 200)
      assert.strictEqual((yield* send(one.url, "DELETE", headers)).status, 200)
      assert.strictEqual((yield* one.post(ping, headers)).status, 404)
    }))

  it.live("expires, and its streams and questions with it", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url, withdrawn } = yield* served({ sessionLifetime: 400, keepAlive: 100 })
      const { headers } = yield* initialize("2025-11-25", {}, capabilities)
      const open = yield* openRequest(url, "GET", { ...headers, ...listening })
      const stream = yield* openRequest(url, "POST", headers, JSON.stringify(call(1)))
      yield* question(stream)
      yield* ended(open)
      yield* ended(stream)
      assert.include(stream.text(), "session is over")
      assert.strictEqual((yield* post(ping, headers)).status, 404)
      assert.strictEqual(endpoint.figures().sessions, 0)
      yield* idle(endpoint)
      assert.lengthOf(withdrawn, 1)
    }))
})

describe("one client", () => {
  it.live("that opens 5,000 sessions has its share, and the others are as before", () =>
    Effect.gen(function*() {
      const { endpoint, initialize, post, url } = yield* served({
        maxSessionsPerClient: 100,
        principal: (request) => request.headers.authorization
      })
      const other = yield* initialize("2025-11-25", { authorization: "ann" }, capabilities)
      const stream = yield* openRequest(url, "POST", other.headers, JSON.stringify(call(1)))
      const asked = yield* question(stream)
      const opened: Array<string> = []
      const headers = { ...both, authorization: "mallory" }
      const body = JSON.stringify({
        jsonrpc: "2.0",
        id: 0,
        method: "initialize",
        params: { protocolVersion: "2025-11-25", capabilities, clientInfo: { name: "m", version: "1" } }
      })
      yield* Effect.forEach(
        Array.from({ length: 5_000 }, (_, index) => index),
        () =>
          Effect.promise(async () => {
            const answer = await fetch(url, { method: "POST", headers, body })
            await answer.text()
            opened.push(answer.headers.get("mcp-session-id") ?? "")
          }),
        { concurrency: 16, discard: true }
      )
      assert.strictEqual(endpoint.figures().sessions, 101)
      assert.strictEqual(new Set(opened).size, 5_000)
      yield* post(answerTo(asked), other.headers)
      yield* ended(stream)
      assert.deepStrictEqual(answered(stream.messages().at(-1)), accepted)
      // What made room is taken up again.
      const ping = { jsonrpc: "2.0", id: 1, method: "ping" }
      assert.strictEqual((yield* post(ping, { ...headers, "mcp-session-id": opened[0] ?? "" })).status, 200)
      assert.strictEqual(endpoint.figures().sessions, 101)
    }), 60_000)

  it.live("that keeps all of its sessions busy is refused further ones", () =>
    Effect.gen(function*() {
      const { initialize, url } = yield* served({ maxSessionsPerClient: 2 })
      for (let count = 0; count < 2; count++) {
        const { headers } = yield* initialize("2025-11-25", {}, capabilities)
        yield* openRequest(url, "GET", { ...headers, ...listening })
      }
      const { answer } = yield* initialize()
      assert.deepStrictEqual([answer.status, answer.headers["retry-after"], answer.messages[0]?.error?.code], [
        429,
        "1",
        -31000
      ])
      // The stateless era has no sessions.
      const modernCall = yield* send(
        url,
        "POST",
        modern("tools/list"),
        JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { _meta: envelope() } })
      )
      assert.strictEqual(modernCall.status, 200)
    }))
})

describe("over one channel", () => {
  it.live("a client on standard streams is asked and answers", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* served()
      const input = new PassThrough()
      const output = new PassThrough()
      let received = ""
      output.on("data", (chunk: Buffer) => void (received += chunk.toString("utf8")))
      yield* StdioEndpoint.serve({ input, output }).pipe(
        Effect.provideService(McpEndpoint, endpoint),
        Effect.forkScoped({ startImmediately: true })
      )
      const write = (value: object) => void input.write(`${JSON.stringify({ jsonrpc: "2.0", ...value })}\n`)
      const messages = (): ReadonlyArray<Message & JsonRpcNotification> =>
        received.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
      const find = (fits: (message: Message) => boolean) => eventually("a message", () => messages().find(fits))
      write({
        id: 0,
        method: "initialize",
        params: { protocolVersion: "2025-11-25", capabilities, clientInfo: { name: "c", version: "1" } }
      })
      yield* find(({ id }) => id === 0)
      write({ id: 1, method: "tools/call", params: { name: "svc__ask" } })
      const first = yield* find(({ method }) => method === "elicitation/create")
      write({ id: "made up", result: {} })
      write(answerTo(first))
      assert.deepStrictEqual(answered(yield* find(({ id }) => id === 1)), accepted)
      // Its end takes the question with it.
      write({ id: 2, method: "tools/call", params: { name: "svc__ask" } })
      yield* eventually("the second", () => messages().filter(({ method }) => method === "elicitation/create")[1])
      output.destroy()
      yield* idle(endpoint)
      assert.strictEqual(endpoint.figures().sessions, 0)
    }))

  it.live("a client on HTTP+SSE is asked and answers, and nobody answers for it", () =>
    Effect.gen(function*() {
      const { endpoint } = yield* served(undefined, asking("roots/list", undefined))
      const server = yield* listen((request, response) => {
        if (request.url === "/sse") endpoint.sse.stream(request, response, "/messages")
        else endpoint.sse.message(request, response)
      })
      const base = new URL(server.url).origin
      const open = Effect.fnUntraced(function*() {
        const stream = yield* openRequest(`${base}/sse`, "GET", listening)
        const address = yield* eventually("the address", () => /^data: (\/messages\?.*)$/m.exec(stream.text())?.[1])
        const messages = (): ReadonlyArray<Message> =>
          stream.text().split("\n\n").flatMap((event) => {
            const data = /^event: message\ndata: (.*)$/m.exec(event)?.[1]
            return data === undefined ? [] : [JSON.parse(data)]
          })
        const post = (value: object) =>
          send(
            base + address,
            "POST",
            { "content-type": "application/json" },
            JSON.stringify({ jsonrpc: "2.0", ...value })
          )
        const find = (fits: (message: Message) => boolean) => eventually("a message", () => messages().find(fits))
        yield* post({
          id: 0,
          method: "initialize",
          params: { protocolVersion: "2024-11-05", capabilities, clientInfo: { name: "c", version: "1" } }
        })
        yield* find(({ id }) => id === 0)
        return { stream, post, find }
      })
      const one = yield* open()
      const two = yield* open()
      yield* one.post({ id: 1, method: "tools/call", params: { name: "svc__ask" } })
      const asked = yield* one.find(({ method }) => method === "roots/list")
      yield* two.post(answerTo(asked, { roots: ["forged"] }))
      yield* one.post(answerTo(asked, { roots: [] }))
      assert.deepStrictEqual(answered(yield* one.find(({ id }) => id === 1)), { result: { roots: [] } })
      yield* two.post({ id: 1, method: "tools/call", params: { name: "svc__ask" } })
      yield* two.find(({ method }) => method === "roots/list")
      two.stream.close()
      yield* idle(endpoint)
    }))
})

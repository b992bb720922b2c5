/**
 * The endpoint over two streams, as `portolan up --stdio` serves it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import * as fc from "fast-check"
import { PassThrough, Writable } from "node:stream"
import type { Fields, JsonRpcNotification } from "../../src/JsonRpc.ts"
import type { Channel } from "../../src/relay/Downstream.ts"
import { McpEndpoint, type McpEndpointOptions } from "../../src/relay/McpEndpoint.ts"
import * as StdioEndpoint from "../../src/relay/StdioEndpoint.ts"
import { eventually } from "../upstream/Harness.ts"
import { envelope, harness, type Message, type Scripted, text } from "./Harness.ts"

/** An output that is read when the test says so. */
const makeOutput = () => {
  let read = true
  let waiting: (() => void) | undefined
  let received = ""
  const output = new Writable({
    highWaterMark: 1024,
    write: (chunk: Buffer, _, done) => {
      const take = () => {
        received += chunk.toString("utf8")
        done()
      }
      if (read) take()
      else waiting = take
    }
  })
  return {
    output,
    text: () => received,
    pause: () => {
      read = false
    },
    resume: () => {
      read = true
      const take = waiting
      waiting = undefined
      take?.()
    }
  }
}

/** A client on standard streams of an endpoint over scripted servers. */
const client = Effect.fnUntraced(function*(
  answer: Scripted["answer"] = () => Effect.succeed(text("x")),
  options: { readonly endpoint?: McpEndpointOptions; readonly maxBuffered?: number } = {}
) {
  const built = yield* harness({
    servers: [{ id: "a", answer }],
    offers: [{ name: "t" }],
    options: options.endpoint
  })
  const input = new PassThrough()
  const sink = makeOutput()
  const fiber = yield* StdioEndpoint.serve({
    input,
    output: sink.output,
    shutdownTimeout: "5 seconds",
    maxBuffered: options.maxBuffered
  }).pipe(
    Effect.provideService(McpEndpoint, built.endpoint),
    Effect.forkScoped({ startImmediately: true })
  )
  const messages = (): ReadonlyArray<Message> =>
    sink.text().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
  const write = (value: unknown) => void input.write(`${typeof value === "string" ? value : JSON.stringify(value)}\n`)
  const find = (fits: (message: Message) => boolean) => eventually("a message", () => messages().find(fits))
  const replyTo = (id: unknown) => find((message) => message.id === id && message.method === undefined)
  const ask = (id: unknown, method: string, params?: object) =>
    Effect.suspend(() => {
      write({ jsonrpc: "2.0", id, method, params })
      return replyTo(id)
    })
  return {
    ...built,
    ...sink,
    input,
    fiber,
    messages,
    write,
    find,
    replyTo,
    ask,
    initialize: (protocolVersion = "2025-11-25") =>
      Effect.tap(
        ask("init", "initialize", { protocolVersion, capabilities: {}, clientInfo: { name: "c", version: "1" } }),
        () => Effect.sync(() => write({ jsonrpc: "2.0", method: "notifications/initialized" }))
      )
  }
})

const modern = (params: object = {}) => ({ ...params, _meta: envelope() })

const progress = (value: number): JsonRpcNotification => ({
  jsonrpc: "2.0",
  method: "notifications/progress",
  params: { progressToken: "p", progress: value }
})

describe("standard streams", () => {
  it.live("serve the handshake era", () =>
    Effect.gen(function*() {
      const { ask, change, endpoint, find, initialize, messages } = yield* client((request) =>
        Effect.sync(() => {
          request.onNotification?.(progress(1))
          return text("called")
        })
      )
      assert.strictEqual((yield* ask(1, "ping")).error, undefined)
      assert.strictEqual((yield* ask(2, "tools/list")).error?.code, -32600)
      const begun = yield* initialize("2024-11-05")
      assert.strictEqual(begun.result?.["protocolVersion"], "2024-11-05")
      assert.strictEqual(endpoint.figures().sessions, 1)
      assert.strictEqual((yield* ask(3, "initialize", { protocolVersion: "2024-11-05" })).error?.code, -32600)
      assert.deepStrictEqual(
        Object.keys((yield* ask(4, "tools/list")).result ?? {}),
        ["tools"]
      )
      const called = yield* ask(5, "tools/call", { name: "svc__t", _meta: { progressToken: "mine" } })
      assert.deepStrictEqual(called.result?.["content"], [{ type: "text", text: "called" }])
      assert.deepStrictEqual(
        messages().filter((each) => each.method === "notifications/progress").map((each) => each.params),
        [{ progressToken: "mine", progress: 1 }]
      )
      assert.strictEqual((yield* ask(6, "server/discover")).error?.code, -32601)
      yield* change("tools")
      yield* find((each) => each.method === "notifications/tools/list_changed")
    }))

  it.live("tell a client that only listens of changes", () =>
    Effect.gen(function*() {
      const { change, initialize, messages } = yield* client()
      yield* initialize()
      const told = Effect.sync(() => messages().some((each) => each.method === "notifications/prompts/list_changed"))
      yield* Effect.andThen(change("prompts"), Effect.sleep(1)).pipe(
        Effect.andThen(told),
        Effect.repeat({ until: (came) => came }),
        Effect.timeout("10 seconds")
      )
    }))

  it.live("serve the stateless era", () =>
    Effect.gen(function*() {
      const { ask, asked, change, endpoint, find, messages, write } = yield* client()
      const discovered = yield* ask(1, "server/discover", modern())
      assert.deepInclude(discovered.result?.["supportedVersions"], "2026-07-28")
      assert.strictEqual((yield* ask(2, "tools/call", modern({ name: "svc__t" }))).result?.["resultType"], "complete")
      assert.strictEqual((yield* ask(3, "ping", modern())).error?.code, -32601)
      const other = { _meta: { ...envelope(), "io.modelcontextprotocol/protocolVersion": "2099-01-01" } }
      assert.strictEqual((yield* ask(4, "tools/list", other)).error?.code, -32022)
      const bare = { _meta: { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } }
      assert.strictEqual((yield* ask(5, "tools/list", bare)).error?.code, -32602)
      write({
        jsonrpc: "2.0",
        id: "s",
        method: "subscriptions/listen",
        params: modern({ notifications: { toolsListChanged: true } })
      })
      const of = (each: Message) =>
        (each.params?.["_meta"] as Record<string, unknown> | undefined)?.["io.modelcontextprotocol/subscriptionId"]
      yield* find((each) => each.method === "notifications/subscriptions/acknowledged" && of(each) === "s")
      assert.strictEqual(endpoint.figures().streams, 1)
      yield* change("tools")
      yield* find((each) => each.method === "notifications/tools/list_changed" && of(each) === "s")
      write({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "s" } })
      yield* eventually("it ended", () => endpoint.figures().streams === 0 ? true : undefined)
      yield* ask(6, "tools/list", modern())
      assert.isUndefined(messages().find((each) => each.id === "s"))
      assert.deepStrictEqual([asked.length, endpoint.figures().sessions], [1, 0])
    }))

  it.live("cancel what the client cancels, and say no more of it", () =>
    Effect.gen(function*() {
      const cancelled = yield* Deferred.make<void>()
      const { ask, initialize, messages, write } = yield* client((request) =>
        request.params?.["name"] === "t"
          ? Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined)))
          : Effect.succeed(text("x"))
      )
      yield* initialize()
      for (const params of [{ name: "svc__t" }, modern({ name: "svc__t" })]) {
        write({ jsonrpc: "2.0", id: "long", method: "tools/call", params })
        assert.strictEqual((yield* ask("long", "tools/call", params)).error?.code, -32600)
        write({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: "long" } })
        yield* Deferred.await(cancelled)
        yield* ask("after", "ping")
      }
      assert.strictEqual(messages().filter((each) => each.id === "long").length, 2)
    }))

  it.live("answer what is no message, and go on", () =>
    Effect.gen(function*() {
      const { ask, input, messages, write } = yield* client(undefined, { endpoint: { maxBody: 1_000, maxDepth: 10 } })
      const table: ReadonlyArray<readonly [string, number]> = [
        ["garbage", -32700],
        [`{"jsonrpc":"2.0","id":1,`, -32700],
        ["[".repeat(50), -32700],
        ["x".repeat(2_000), -32600],
        ["3", -32600],
        ["null", -32600],
        [`{"jsonrpc":"1.0","id":1,"method":"ping"}`, -32600],
        [`{"jsonrpc":"2.0","id":null,"method":"ping"}`, -32600],
        ["[]", -32600],
        [`[{"jsonrpc":"2.0","id":1,"method":"ping"}]`, -32600]
      ]
      for (const [index, [line]] of table.entries()) {
        write(line)
        // In pieces, and with the line ends of Windows.
        for (const part of [`{"jsonrpc":"2.0",`, `"id":"p${index}","method"`, `:"ping"}\r\n`, "\r\n", "\n"]) {
          input.write(part)
        }
      }
      yield* ask("end", "ping")
      const answers = messages()
      assert.deepStrictEqual(
        answers.filter((each) => each.error !== undefined).map((each) => each.error?.code),
        table.map(([, code]) => code)
      )
      assert.strictEqual(answers.filter((each) => String(each.id).startsWith("p")).length, table.length)
    }))

  it.live("take batches under 2025-03-26 alone", () =>
    Effect.gen(function*() {
      const { find, initialize, messages, write } = yield* client()
      yield* initialize("2025-03-26")
      write([
        { jsonrpc: "2.0", id: 1, method: "ping" },
        { jsonrpc: "2.0", method: "notifications/initialized" },
        { jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "svc__t" } }
      ])
      const replies = yield* find(Array.isArray)
      assert.deepStrictEqual(Object.values(replies).map((each) => (each as Message).id), [1, 2])
      write([])
      const refusal = yield* find((each) => each.error !== undefined)
      assert.deepStrictEqual([refusal.id, refusal.error?.code], [null, -32600])
      assert.strictEqual(messages().length, 3)
    }))

  it.live("answer whatever is sent, and live on", () =>
    Effect.gen(function*() {
      const { ask, initialize, write } = yield* client()
      yield* initialize()
      fc.assert(
        fc.property(fc.oneof(fc.string(), fc.jsonValue().map((value) => JSON.stringify(value))), (line) => {
          write(line.replaceAll("\n", " "))
        }),
        { numRuns: 500 }
      )
      yield* ask("end", "ping")
    }))

  it.live("finish what is in flight once the input has ended", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { endpoint, fiber, initialize, input, replyTo, write } = yield* client(() =>
        Effect.as(Deferred.await(gate), text("x"))
      )
      yield* initialize()
      write({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__t" } })
      write({ jsonrpc: "2.0", id: 2, method: "subscriptions/listen", params: modern({ notifications: {} }) })
      // The last line has no break.
      input.end(`{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"svc__t"}}`)
      yield* eventually("both calls are under way", () => endpoint.figures().callsInFlight === 2 ? true : undefined)
      assert.isUndefined(fiber.pollUnsafe())
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(fiber)
      yield* replyTo(1)
      yield* replyTo(3)
      assert.deepStrictEqual([endpoint.figures().sessions, endpoint.figures().streams], [0, 0])
    }))

  it.live("end at once where the output is gone", () =>
    Effect.gen(function*() {
      const cancelled = yield* Deferred.make<void>()
      const { endpoint, fiber, initialize, output, write } = yield* client(() =>
        Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined)))
      )
      yield* initialize()
      write({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__t" } })
      yield* eventually("the call is under way", () => endpoint.figures().callsInFlight === 1 ? true : undefined)
      output.destroy(new Error("EPIPE"))
      yield* Deferred.await(cancelled)
      yield* Fiber.join(fiber)
    }))

  it.live("drain when they are interrupted: calls finish, new ones are refused, subscriptions end", () =>
    Effect.gen(function*() {
      const gate = yield* Deferred.make<void>()
      const { endpoint, fiber, initialize, replyTo, write } = yield* client(() =>
        Effect.as(Deferred.await(gate), text("x"))
      )
      yield* initialize()
      write({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__t" } })
      write({ jsonrpc: "2.0", id: 2, method: "subscriptions/listen", params: modern({ notifications: {} }) })
      yield* eventually("both are under way", () => {
        const { callsInFlight, streams } = endpoint.figures()
        return callsInFlight === 1 && streams === 1 ? true : undefined
      })
      const ending = yield* Effect.forkScoped(Fiber.interrupt(fiber), { startImmediately: true })
      write({ jsonrpc: "2.0", id: 3, method: "tools/call", params: { name: "svc__t" } })
      assert.deepStrictEqual((yield* replyTo(3)).error?.data, { reason: "draining" })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(ending)
      assert.isDefined((yield* replyTo(1)).result)
      assert.strictEqual((yield* replyTo(2)).result?.["resultType"], "complete")
    }))

  it.live("cancel what is in flight where the output goes while they drain", () =>
    Effect.gen(function*() {
      const { endpoint, fiber, initialize, output, write } = yield* client(() => Effect.never)
      yield* initialize()
      write({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "svc__t" } })
      yield* eventually("the call is under way", () => endpoint.figures().callsInFlight === 1 ? true : undefined)
      const ending = yield* Effect.forkScoped(Fiber.interrupt(fiber), { startImmediately: true })
      output.destroy()
      // Before the time for a shutdown is over.
      yield* Effect.timeout(Fiber.join(ending), "3 seconds")
    }))
})

describe("a client that doesn't read", () => {
  it.live("holds a bounded amount of memory, and misses no notice", () =>
    Effect.gen(function*() {
      const flooded = yield* Deferred.make<void>()
      const { ask, change, find, initialize, input, messages, output, pause, resume, write } = yield* client(
        (request) =>
          Effect.gen(function*() {
            for (let step = 1; step <= 100_000; step++) {
              request.onNotification?.(progress(step))
              if (step % 1_000 === 0) yield* Effect.sleep(0)
            }
            yield* Deferred.succeed(flooded, undefined)
            return text("done")
          }),
        { maxBuffered: 50_000 }
      )
      yield* initialize()
      yield* ask(1, "tools/list")
      pause()
      write({ jsonrpc: "2.0", id: 2, method: "tools/call", params: { name: "svc__t", _meta: { progressToken: 1 } } })
      yield* Deferred.await(flooded)
      assert.isBelow(output.writableLength, 60_000)
      assert.isTrue(input.isPaused())
      // What it sends now stays where it is.
      for (let id = 100; id < 1_100; id++) write({ jsonrpc: "2.0", id, method: "ping" })
      for (let round = 0; round < 3; round++) yield* change("tools", "prompts")
      assert.isBelow(output.writableLength, 60_000)
      resume()
      yield* find((each) => each.id === 1_099)
      const of = (method: string) => messages().filter((each) => each.method === method).length
      assert.strictEqual(of("notifications/tools/list_changed"), 1)
      assert.strictEqual(of("notifications/prompts/list_changed"), 1)
      assert.isDefined(messages().find((each) => each.id === 2)?.result)
      assert.isBelow(of("notifications/progress"), 1_000)
    }))

  /** Serves a client, and gives what the endpoint speaks to it by. */
  const channel = Effect.gen(function*() {
    const { endpoint } = yield* harness({ servers: [], offers: [] })
    const sink = makeOutput()
    const channels: Array<Channel> = []
    yield* StdioEndpoint.serve({ input: new PassThrough(), output: sink.output, maxBuffered: 20_000 }).pipe(
      Effect.provideService(McpEndpoint, {
        ...endpoint,
        connect: (channel, client) => {
          channels.push(channel)
          return endpoint.connect(channel, client)
        }
      }),
      Effect.forkScoped({ startImmediately: true })
    )
    const lines = () => sink.text().split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
    return { ...sink, lines, channel: channels[0] ?? assert.fail("not connected") }
  })

  const told = (method: string, params: Fields): JsonRpcNotification => ({ jsonrpc: "2.0", method, params })

  it.live("holds a bounded amount of memory, however different what it is told", () =>
    Effect.gen(function*() {
      const { channel: { notify }, lines, pause, resume, text } = yield* channel
      const tell = (id: number) => notify(told("notifications/elicitation/complete", { elicitationId: id }))
      const ids = () => lines().map(({ params }) => params.elicitationId)
      pause()
      for (let id = 1; id <= 100_000; id++) tell(id)
      resume()
      yield* eventually("the newest", () => ids().at(-1) === 100_000 ? true : undefined)
      assert.isBelow(text().length, 50_000)
      assert.isAbove(ids().length, 200)
      // The same again is told once.
      pause()
      for (let id = 1; id <= 300; id++) tell(id)
      for (let count = 0; count < 10_000; count++) tell(7)
      resume()
      yield* eventually("the rest", () => ids().includes(300) ? true : undefined)
      assert.isBelow(ids().filter((id) => id === 7).length, 4)
    }))

  it.live("hears nothing of a subscription that ended meanwhile", () =>
    Effect.gen(function*() {
      const { channel: { notify, send }, lines, pause, resume } = yield* channel
      const _meta = { "io.modelcontextprotocol/subscriptionId": "over" }
      pause()
      send(JSON.stringify({ jsonrpc: "2.0", method: "long", params: { text: "x".repeat(30_000) } }))
      notify(told("notifications/tools/list_changed", { _meta }))
      notify(told("notifications/prompts/list_changed", {}))
      resume()
      yield* eventually("the last", () => lines().length > 1 ? true : undefined)
      assert.deepStrictEqual(lines().map(({ method }) => method), ["long", "notifications/prompts/list_changed"])
    }))

  it.live("isn't waited for at the end", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [], offers: [] })
      const input = new PassThrough()
      const sink = makeOutput()
      sink.pause()
      const fiber = yield* StdioEndpoint.serve({ input, output: sink.output, shutdownTimeout: "100 millis" }).pipe(
        Effect.provideService(McpEndpoint, built.endpoint),
        Effect.forkScoped({ startImmediately: true })
      )
      input.end(`{"jsonrpc":"2.0","id":1,"method":"ping"}\n`)
      yield* Fiber.join(fiber)
    }))
})

/**
 * What clients and servers do wrong: each has a defined answer, and no other call notices. Meanwhile calls of each kind are
 * under way, at the very servers that fail: one whose client is asked, one that is parked, and one of each era that runs.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import type { Fields } from "../../src/JsonRpc.ts"
import type { McpEndpointOptions } from "../../src/relay/McpEndpoint.ts"
import { UpstreamError } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { asked, capabilities, lastOf, requiredOf, textOf } from "./Asking.ts"
import * as FaultyServers from "./FaultyServers.ts"
import { both, envelope, harness, type Message, modern, openRequest, type Scripted, send, text } from "./Harness.ts"

setFlagsFromString("--expose-gc")
/** Collects what nobody holds any more. */
const collect: () => void = runInNewContext("gc")

const declared = { ...capabilities, extensions: { "io.modelcontextprotocol/tasks": {} } }
const accept = { action: "accept", content: { name: "ann" } }

const ping = { jsonrpc: "2.0", id: 1, method: "ping" }

const body = (method: string, params: Fields = {}, id: unknown = 1) => ({
  jsonrpc: "2.0",
  id,
  method,
  params: { ...params, _meta: envelope({ "io.modelcontextprotocol/clientCapabilities": declared }) }
})

const headersOf = (method: string, name?: string, user = "ann"): Record<string, string> => ({
  ...modern(method, name),
  authorization: user
})

/** A gateway, its clients, and the calls that must not notice anything. */
const scene = Effect.fnUntraced(function*(options?: McpEndpointOptions) {
  const built = yield* FaultyServers.gateway(options)
  const { endpoint, post, url } = built

  const call = (name: string, more: Fields = {}, user?: string) =>
    post(body("tools/call", { name, ...more }), headersOf("tools/call", name, user))
  const last = (answer: { readonly messages: ReadonlyArray<Message> }) => answer.messages.at(-1)

  const session = Effect.fnUntraced(function*(user = "ann") {
    const answer = yield* post({
      jsonrpc: "2.0",
      id: 0,
      method: "initialize",
      params: { protocolVersion: "2025-11-25", capabilities, clientInfo: { name: "test", version: "1" } }
    }, { ...both, authorization: user })
    const headers = {
      ...both,
      authorization: user,
      "mcp-session-id": answer.headers["mcp-session-id"] ?? "",
      "mcp-protocol-version": "2025-11-25"
    }
    let id = 0
    return {
      headers,
      open: (name: string) =>
        openRequest(
          url,
          "POST",
          headers,
          JSON.stringify({ jsonrpc: "2.0", id: ++id, method: "tools/call", params: { name, arguments: {} } })
        ),
      say: (message: Fields) => post({ jsonrpc: "2.0", ...message }, headers)
    }
  })

  const parked = Effect.fnUntraced(function*(user?: string) {
    const { inputRequests, requestState } = requiredOf(last(yield* call("old__ask", {}, user)))
    const key = Object.keys(inputRequests)[0] ?? ""
    return { key, requestState, answer: { requestState, inputResponses: { [key]: accept } } }
  })

  // Until the servers are read.
  yield* eventually("the catalog", () =>
    built.catalog.list("tools").some(({ service }) => service === "old") &&
      built.catalog.list("tools").some(({ service }) => service === "new")
      ? true
      : undefined)
  const client = yield* session()
  const question = yield* client.open("old__ask")
  const put = yield* asked(question)
  const waiting = yield* parked()
  const running = yield* openRequest(
    url,
    "POST",
    headersOf("tools/call", "old__wait"),
    JSON.stringify(body("tools/call", { name: "old__wait" }))
  ).pipe(Effect.forkChild)
  const other = yield* Effect.forkChild(client.open("new__wait"))
  yield* eventually("they run", () => built.old.waiting.size + built.new.waiting.size === 2 ? true : undefined)

  /** They end as if nothing had been, and nothing is left. */
  const unharmed = Effect.gen(function*() {
    assert.isFalse(question.ended())
    assert.strictEqual((yield* client.say({ id: put.id, result: accept })).status, 202)
    assert.deepStrictEqual(JSON.parse(textOf(yield* lastOf(question))), accept)
    assert.deepStrictEqual(JSON.parse(textOf(last(yield* call("old__ask", waiting.answer)))), accept)
    for (const  of of[built.old, built.new]) for (const reply of of.waiting) reply(text("waited"))
    for (const fiber of [running, other]) {
      const open = yield* Fiber.join(fiber)
      assert.strictEqual(textOf(yield* lastOf(open)), "waited")
    }
    yield* eventually("nothing is in flight", () => endpoint.figures().callsInFlight === 0 ? true : undefined)
  })
  return { ...built, call, client, last, parked, put, question, session, unharmed, waiting }
})

describe("what a client does wrong", () => {
  it.live("is told to that client, reaches no server, and stops nothing", () =>
    Effect.gen(function*() {
      const { call, client, last, new: fresh, old, parked, post, put, session, unharmed, url, waiting } = yield* scene()
      const own = yield* parked("mallory")
      const mallory = yield* session("mallory")
      const task = String(last(yield* call("new__task"))?.result?.["taskId"])
      const heard = () => [old.calls, fresh.calls]
      const before = heard()

      const retry = (more: Fields, user = "mallory", name = "old__ask") => call(name, more, user)
      const method = (name: string, params: Fields, named?: string, user = "mallory") =>
        post(body(name, params), headersOf(name, named, user))
      const { requestState } = own
      const table: ReadonlyArray<readonly [string, ReturnType<typeof post>, number, number | undefined]> = [
        ...["", "x", "A".repeat(1_000_000), requestState.slice(1), requestState.slice(0, -1), `${requestState}A`].map(
          (altered) =>
            [
              `state ${altered.slice(0, 9)} of ${altered.length}`,
              retry({ requestState: altered }),
              200,
              -32602
            ] as const
        ),
        ...[null, 5, [], {}].map((state) =>
          [`state ${JSON.stringify(state)}`, retry({ requestState: state }), 200, -32602] as const
        ),
        ["another's state", retry(waiting.answer), 200, -32602],
        ["another tool's state", retry(own.answer, "mallory", "new__asksForEver"), 200, -32602],
        ["other arguments", retry({ ...own.answer, arguments: { x: 1 } }), 200, -32602],
        ["a state in a header's place", method("tools/call", { name: "old__ask" }, "old__wait"), 400, -32020],
        ["a forged task", method("tasks/get", { taskId: "t" }, "t"), 200, -32602],
        ["another's task", method("tasks/get", { taskId: task }, task), 200, -32602],
        ["no task", method("tasks/cancel", { taskId: [] }), 200, -32602],
        ["tasks to hear of", method("subscriptions/listen", { notifications: { taskIds: 5 } }), 200, -32602],
        ["filters", method("discovery/discover", { filters: [] }), 200, -32602],
        ["a filter", method("discovery/discover", { filters: { tags: { a: 1 } } }), 200, -32602],
        ["a cursor", method("discovery/discover", { cursor: 5 }), 200, -32602],
        ["another's session", post(ping, { ...client.headers, authorization: "mallory" }), 404, -32001],
        ["an answer in another session", mallory.say({ id: put.id, result: accept }), 202, undefined],
        ["an answer that nobody asked for", mallory.say({ id: "made up", result: accept }), 400, -32600],
        [
          "a batch of a later version",
          post([ping], mallory.headers),
          400,
          -32600
        ],
        ["too deep", post(`${"[".repeat(200)}${"]".repeat(200)}`, mallory.headers), 400, -32700],
        ["no JSON", post("{", mallory.headers), 400, -32700],
        ["too large", post(`"${"x".repeat(5_000_000)}"`, mallory.headers), 413, -32600],
        ...["x", "A".repeat(600), "a.1.1.rZZZ"].map((lastEventId) =>
          [
            `event ${lastEventId.slice(0, 9)}`,
            send(url, "GET", { ...mallory.headers, accept: "text/event-stream", "last-event-id": lastEventId }),
            400,
            -32600
          ] as const
        )
      ]
      for (const [what, effect, status, code] of table) {
        const answer = yield* effect
        assert.deepStrictEqual([what, answer.status, last(answer)?.error?.code], [what, status, code])
      }
      assert.deepStrictEqual(heard(), before)
      // What was replayed in vain is as good as before.
      assert.deepStrictEqual(JSON.parse(textOf(last(yield* retry(own.answer)))), accept)
      assert.strictEqual(last(yield* retry(own.answer))?.error?.code, -32602)
      yield* unharmed
    }))

  it.live("an event of another session brings nothing of it", () =>
    Effect.gen(function*() {
      const { question, session, unharmed, url } = yield* scene()
      const event = /^id: (.*)$/m.exec(question.text())?.[1] ?? assert.fail("no event")
      const { headers, open } = yield* session()
      const own = yield* open("old__ask")
      yield* asked(own)
      const given = { ...headers, accept: "text/event-stream", "last-event-id": event }
      const answer = yield* send(url, "GET", given)
      assert.deepStrictEqual(answer.messages.map(({ error, method }) => [method, error?.code]), [[undefined, -31001]])
      assert.isFalse(own.ended())
      yield* send(url, "DELETE", headers)
      yield* unharmed
    }))

  it.live("answers of any shape are none: it is asked again, and gives the right one then", () =>
    Effect.gen(function*() {
      const { call, last, parked, post, unharmed } = yield* scene()
      const first = yield* parked()
      const { key } = first
      let { requestState } = first
      const retry = (inputResponses: string) =>
        // As text: an object here would lose some names.
        post(
          JSON.stringify(body("tools/call", { name: "old__ask", requestState, inputResponses: 0 })).replace(
            "\"inputResponses\":0",
            () => `"inputResponses":${inputResponses}`
          ),
          headersOf("tools/call", "old__ask")
        )
      const many = JSON.stringify(Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`k${at}`, accept])))
      const shapes = ["[]", "null", "5", "\"x\"", "{}", many, "{\"__proto__\":{}}", "{\"constructor\":{}}"]
      for (const shape of [...shapes, `{"${key}":[]}`, `{"${key}":null}`, `{"__proto__":{"${key}":{}}}`]) {
        const next = requiredOf(last(yield* retry(shape)))
        assert.deepStrictEqual(Object.keys(next.inputRequests), [key], shape.slice(0, 40))
        requestState = next.requestState
      }
      // A state is worth one request, also where that answered nothing.
      const used = yield* call("old__ask", first.answer)
      assert.strictEqual(last(used)?.error?.code, -32602)
      const reply = textOf(last(yield* retry(`{"${key}":{"__proto__":{"polluted":true},"action":"accept"}}`)))
      assert.strictEqual(reply, "{\"__proto__\":{\"polluted\":true},\"action\":\"accept\"}")
      assert.notProperty({}, "polluted")
      yield* unharmed
    }))

  it.live("costs no memory that stays", () =>
    Effect.gen(function*() {
      const { call, post, session, unharmed } = yield* scene()
      const mallory = yield* session("mallory")
      const rubbish = "A".repeat(300_000)
      const wave = Effect.gen(function*() {
        for (let times = 0; times < 10; times++) {
          yield* call("old__ask", { requestState: rubbish }, "mallory")
          yield* call("new__asksForEver", { inputResponses: { rubbish } }, `${times}`)
          yield* mallory.say({ id: `${times}${rubbish}`, result: {} })
          yield* mallory.say({ id: times, method: rubbish })
          yield* post(ping, { ...both, authorization: "mallory", "mcp-session-id": "A".repeat(8_000) })
        }
        collect()
        return process.memoryUsage().heapUsed + process.memoryUsage().external
      })
      // What is kept of the last ones, within its bounds, is there after the first.
      yield* wave
      const before = yield* wave
      assert.isBelow((yield* wave) - before, 3_000_000)
      yield* unharmed
    }), 60_000)

  it.live(
    "an answer at the moment when its time is over is taken or too late, and never both",
    () =>
      Effect.gen(function*() {
        const { call, endpoint, last, old, parked, session } = yield* scene({ inputTimeout: 400 })
        const late = /did not answer within 400 ms/
        const ends = yield* Effect.forEach(
          Array.from({ length: 40 }, (_, index) => 380 + index),
          (delay) =>
            Effect.gen(function*() {
              const client = yield* session(`user ${delay}`)
              const open = yield* client.open("old__ask")
              const { id } = yield* asked(open)
              const { answer } = yield* parked(`user ${delay}`)
              yield* Effect.sleep(delay)
              const [taken, back] = yield* Effect.all([
                client.say({ id, result: accept }),
                call("old__ask", answer, `user ${delay}`)
              ], { concurrency: 2 })
              assert.strictEqual(taken.status, 202)
              const reply = textOf(yield* lastOf(open))
              assert.lengthOf(open.messages().filter((each) => each.id === 1), 1)
              if (!late.test(reply)) assert.deepStrictEqual(JSON.parse(reply), accept)
              const gone = last(back)?.error
              if (gone === undefined) assert.deepStrictEqual(JSON.parse(textOf(last(back))), accept)
              else assert.strictEqual(gone.code, -32602)
              return late.test(reply)
            }),
          { concurrency: 8 }
        )
        assert.lengthOf(ends, 40)
        for (const reply of old.waiting) reply(text("waited"))
        yield* eventually("nothing is in flight", () => endpoint.figures().callsInFlight <= 1 ? true : undefined)
      }),
    60_000
  )
})

describe("what a server does wrong", () => {
  it.live("fails the call that it is done to, and no other", () =>
    Effect.gen(function*() {
      const { call, last, session, unharmed } = yield* scene()
      const client = yield* session("bob")
      const outcomes: Readonly<Record<string, readonly [code: number, words: RegExp]>> = {
        "500": [-31001, /HTTP 500: out of order/],
        cut: [-31001, /may have run/],
        wrongId: [-31001, /no reply to the request/],
        noJson: [-31001, /no JSON/],
        huge: [-31001, /longer than 1000000 bytes/]
      }
      for (const server of ["old", "new"]) {
        for (const [fault, [code, words]] of Object.entries(outcomes)) {
          const name = `${server}__${fault}`
          for (const reply of [last(yield* call(name, {}, "bob")), yield* Effect.flatMap(client.open(name), lastOf)]) {
            assert.deepStrictEqual([name, reply?.error?.code], [name, code], JSON.stringify(reply))
            assert.match(reply?.error?.message ?? "", words)
          }
        }
      }
      yield* unharmed
    }), 60_000)

  it.live("that answers with too much isn't asked elsewhere for the same, and has its part of the other calls", () =>
    Effect.gen(function*() {
      const answer: Scripted["answer"] = ({ params }) =>
        params?.["name"] === "small"
          ? Effect.succeed(text("small"))
          : new UpstreamError({ instance: "x", phase: "answered", reason: "the reply is longer", tooLong: true })
      const built = yield* harness({
        servers: [{ id: "a", answer }, { id: "b", answer }],
        offers: [{ name: "large", repeatable: true, readOnly: true }, { name: "small" }],
        balancing: { strategy: "round-robin" }
      })
      for (let times = 0; times < 10; times++) {
        const { messages } = yield* built.stateless("tools/call", { name: "svc__large" })
        assert.include(messages.at(-1)?.error?.message, "the reply is longer")
      }
      assert.lengthOf(built.asked, 10)
      for (let times = 0; times < 10; times++) yield* built.stateless("tools/call", { name: "svc__small" })
      assert.deepStrictEqual(new Set(built.asked.slice(10).map(({ id }) => id)), new Set(["a", "b"]))
    }))

  it.live("that goes away while its client is asked has its question withdrawn; whoever comes back is told", () =>
    Effect.gen(function*() {
      const { call, last, session, unharmed } = yield* scene()
      const client = yield* session("bob")
      const open = yield* client.open("old__cutAsked")
      const { id } = yield* asked(open)
      const reply = yield* lastOf(open)
      assert.strictEqual(reply?.error?.code, -31001)
      assert.deepStrictEqual(
        open.messages().filter(({ method }) => method === "notifications/cancelled").map(({ params }) =>
          params?.["requestId"]
        ),
        [id]
      )
      assert.strictEqual((yield* client.say({ id, result: accept })).status, 202)

      const { inputRequests, requestState } = requiredOf(last(yield* call("old__cutAsked", {}, "bob")))
      const answer = { requestState, inputResponses: { [Object.keys(inputRequests)[0] ?? ""]: accept } }
      yield* Effect.sleep(200)
      assert.strictEqual(last(yield* call("old__cutAsked", answer, "bob"))?.error?.code, -31001)
      assert.strictEqual(last(yield* call("old__cutAsked", answer, "bob"))?.error?.code, -32602)
      yield* unharmed
    }))

  it.live(
    "that asks ten thousand times in one call is heard a few times",
    () =>
      Effect.gen(function*() {
        const { call, last, old, session, unharmed } = yield* scene()
        const client = yield* session("bob")
        const open = yield* client.open("old__flood")
        assert.strictEqual(textOf(yield* lastOf(open)), "asked enough")
        assert.lengthOf(open.messages().filter(({ method }) => method === "elicitation/create"), 32)
        const { inputRequests, requestState } = requiredOf(last(yield* call("old__flood", {}, "bob")))
        assert.isAtMost(Object.keys(inputRequests).length, 32)
        let reply = last(yield* call("old__flood", { requestState }, "bob"))
        while (reply?.result?.["resultType"] === "input_required") {
          yield* Effect.sleep(100)
          reply = last(yield* call("old__flood", { requestState: reply.result["requestState"] }, "bob"))
        }
        assert.strictEqual(textOf(reply), "asked enough")
        assert.isBelow(old.refused, 2_000)
        yield* unharmed
      }),
    60_000
  )

  it.live("that never has enough, or says nothing that can be answered, fails the call", () =>
    Effect.gen(function*() {
      const { call, last, new: fresh, session, unharmed } = yield* scene()
      const client = yield* session("bob")
      const calls = fresh.calls
      const open = yield* client.open("new__asksForEver")
      for (let round = 0; round < 15; round++) {
        yield* client.say({ id: (yield* asked(open, round)).id, result: accept })
      }
      assert.include((yield* lastOf(open))?.error?.message, "after 16 rounds")
      assert.strictEqual(fresh.calls - calls, 16)
      for (const name of ["new__asksTenThousand", "new__asksNonsense", "new__asksNothing"]) {
        for (const reply of [last(yield* call(name, {}, "bob")), yield* Effect.flatMap(client.open(name), lastOf)]) {
          assert.deepStrictEqual([name, reply?.error?.code], [name, -32603], JSON.stringify(reply))
        }
      }
      // Each of its rounds is a request of its client's own, for ever.
      let state: string | undefined
      for (let round = 0; round < 20; round++) {
        const more = state === undefined ? {} : { requestState: state, inputResponses: { who: accept } }
        state = requiredOf(last(yield* call("new__asksForEver", more))).requestState
      }
      yield* unharmed
    }), 60_000)

  it.live("that never ends its list is told of by name, and the others have theirs", () =>
    Effect.gen(function*() {
      const { catalog, unharmed } = yield* scene()
      const [problem] = yield* eventually("the problem", () => {
        const problems = catalog.problems()
        return problems.length > 0 ? problems : undefined
      }, 60_000)
      assert.strictEqual(problem?.reason, "tools/list: more than 500 pages")
      assert.deepStrictEqual(new Set(catalog.list("tools").map(({ service }) => service)), new Set(["new", "old"]))
      yield* unharmed
    }), 90_000)
})

/** What servers ask meanwhile, where the client hears it at once or the gateway drives the rounds. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import type { Fields, Reply } from "../../src/JsonRpc.ts"
import type { UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { eventually } from "../upstream/Harness.ts"
import { asked, asks, call, capabilities, form, lastOf, requiredOf, session, textOf, told } from "./Asking.ts"
import { harness, text } from "./Harness.ts"

const required = (inputRequests: Fields | undefined, requestState?: string): Reply => ({
  result: {
    resultType: "input_required",
    ...(inputRequests === undefined ? {} : { inputRequests }),
    ...(requestState === undefined ? {} : { requestState })
  }
})
const elicit = { method: "elicitation/create", params: form("Who?") }
const accept = { action: "accept", content: { name: "ann" } }

describe("handshake client, handshake server", () => {
  it.live("what the server asks for a call reaches the client on the call's stream, and its answer the server", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const name = yield* asks(request, "elicitation/create", form("Who?"))
              const roots = yield* asks(request, "roots/list")
              const sampled = yield* asks(request, "sampling/createMessage", { messages: [], maxTokens: 5 })
              return told(name, roots, sampled)
            })
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      const replies: ReadonlyArray<Fields> = [
        accept,
        { roots: [{ uri: "file:///a" }] },
        { role: "assistant", content: { type: "text", text: "hm" }, model: "m" }
      ]
      const methods = []
      for (const [index, result] of replies.entries()) {
        const question = yield* asked(open, index)
        methods.push(question.method)
        yield* client.answer(question, { result })
      }
      assert.deepStrictEqual(methods, ["elicitation/create", "roots/list", "sampling/createMessage"])
      assert.deepStrictEqual(JSON.parse(textOf(yield* lastOf(open))), replies)
      assert.strictEqual(built.asked.length, 1)
    }))

  it.live("the client's error is the server's; what wasn't declared isn't asked", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              return told(
                yield* asks(request, "roots/list"),
                yield* asks(request, "elicitation/create", { mode: "url", message: "m", url: "https://x.test" }),
                yield* asks(request, "sampling/createMessage", {})
              )
            })
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built, { elicitation: {}, sampling: {} })
      const open = yield* client.open({ name: "svc__t" })
      yield* client.answer(yield* asked(open), { error: { code: -1, message: "User rejected" } })
      const [roots, url, sampling] = JSON.parse(textOf(yield* lastOf(open)))
      assert.strictEqual(roots.code, -32601)
      assert.strictEqual(url.code, -32602)
      assert.deepStrictEqual(sampling, { code: -1, message: "User rejected" })
    }))

  it.live("a server can't ask a client that declared nothing", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: (request) => Effect.map(asks(request, "roots/list"), told) }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built, {})
      const reply = yield* lastOf(yield* client.open({ name: "svc__t" }))
      assert.include(textOf(reply), "-32601")
    }))

  it.live("the time that the client takes isn't the server's, and what was asked is never tried elsewhere", () =>
    Effect.gen(function*() {
      const answer = (request: UpstreamRequest) =>
        Effect.gen(function*() {
          yield* asks(request, "elicitation/create", form("Who?"))
          return { error: { code: -32603, message: "broken" } }
        })
      const built = yield* harness({
        servers: [{ id: "a", answer }, { id: "b", answer }],
        offers: [{ name: "t", repeatable: true, readOnly: true }],
        options: { timeout: 100 }
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      const question = yield* asked(open)
      yield* Effect.sleep(300)
      yield* client.answer(question, { result: accept })
      const reply = yield* lastOf(open)
      assert.strictEqual(reply?.error?.message, "broken")
      assert.strictEqual(built.asked.length, 1)
    }))

  it.live("the server's own time goes on once the client has answered", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) => Effect.andThen(asks(request, "roots/list"), Effect.never)
        }],
        offers: [{ name: "t" }],
        options: { timeout: 200 }
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      yield* client.answer(yield* asked(open), { result: { roots: [] } })
      assert.strictEqual((yield* lastOf(open))?.error?.code, -31001)
    }))

  it.live("what the server withdraws is withdrawn from the client; so is what a cancelled call asks", () =>
    Effect.gen(function*() {
      const gaveUp = Deferred.makeUnsafe<void>()
      const cancelled = Deferred.makeUnsafe<void>()
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) =>
            Effect.gen(function*() {
              const asking = yield* Effect.forkChild(asks(request, "roots/list"), { startImmediately: true })
              yield* Deferred.await(gaveUp)
              yield* Fiber.interrupt(asking)
              yield* asks(request, "elicitation/create", form("Who?")).pipe(
                Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined))
              )
              return text("done")
            })
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      const first = yield* asked(open)
      yield* Deferred.succeed(gaveUp, undefined)
      const notice = (id: unknown) =>
        eventually(
          "its withdrawal",
          () =>
            open.messages().find(({ method, params }) =>
              method === "notifications/cancelled" && params?.["requestId"] === id
            )
        )
      yield* notice(first.id)
      yield* asked(open, 1)
      yield* built.post(
        { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } },
        client.headers
      )
      yield* Deferred.await(cancelled)
    }))
})

describe("handshake client, stateless server", () => {
  it.live("the gateway asks the client everything at once, and repeats the request with the answers and the state", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: ["a", "b"].map((id) => ({
          id,
          era: "stateless" as const,
          answer: ({ params }) => {
            const state = params?.["requestState"]
            if (state === undefined) {
              return Effect.succeed(required({ who: elicit, where: { method: "roots/list" } }, `of ${id}`))
            }
            return state === `of ${id}`
              ? Effect.succeed(required({ again: elicit }, `more of ${id}`))
              : Effect.succeed(told({ result: params ?? {} }))
          }
        })),
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t", arguments: { x: 1 }, _meta: { "com.example/a": 1 } })
      const both = [yield* asked(open, 0), yield* asked(open, 1)]
      assert.deepStrictEqual(both.map(({ method }) => method), ["elicitation/create", "roots/list"])
      yield* client.answer(both[1]!, { result: { roots: [], _meta: { progressToken: 1, "com.example/b": 2 } } })
      yield* client.answer(both[0]!, { result: accept })
      yield* client.answer(yield* asked(open, 2), { result: { action: "decline" } })
      const [last] = JSON.parse(textOf(yield* lastOf(open)))
      const [first, second, third] = built.asked
      assert.deepStrictEqual(new Set([first?.id, second?.id, third?.id]).size, 1)
      assert.deepStrictEqual(second?.request.params, {
        name: "t",
        arguments: { x: 1 },
        _meta: { "com.example/a": 1 },
        requestState: `of ${first?.id}`,
        inputResponses: { who: accept, where: { roots: [], _meta: { "com.example/b": 2 } } }
      })
      assert.deepStrictEqual(last, {
        name: "t",
        arguments: { x: 1 },
        _meta: { "com.example/a": 1 },
        requestState: `more of ${first?.id}`,
        inputResponses: { again: { action: "decline" } }
      })
      assert.deepStrictEqual(first?.request.caller?.capabilities, capabilities)
    }))

  it.live("what the client sends by the names of rounds is no answer", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: ({ params }) =>
            Effect.succeed(
              params?.["inputResponses"] === undefined ? required({ who: elicit }) : told({ result: params })
            )
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t", inputResponses: { who: {} }, requestState: "mine" })
      yield* client.answer(yield* asked(open), { result: accept })
      const [last] = JSON.parse(textOf(yield* lastOf(open)))
      assert.deepStrictEqual(last, { name: "t", inputResponses: { who: accept } })
    }))

  for (
    const [method, kind, params] of [
      ["prompts/get", "prompts", { name: "svc__p" }],
      ["resources/read", "resources", { uri: "x://r" }]
    ] as const
  ) {
    it.live(`the same for ${method}`, () =>
      Effect.gen(function*() {
        const built = yield* harness({
          servers: [{
            id: "a",
            era: "stateless",
            answer: ({ params }) =>
              Effect.succeed(
                params?.["inputResponses"] === undefined
                  ? required({ who: elicit })
                  : { result: { given: params["inputResponses"] } }
              )
          }],
          offers: [{ kind, name: kind === "prompts" ? "p" : "x://r" }]
        })
        const client = yield* session(built)
        const open = yield* client.open(params, method)
        yield* client.answer(yield* asked(open), { result: accept })
        assert.deepStrictEqual((yield* lastOf(open))?.result?.["given"], { who: accept })
        assert.isUndefined(built.asked[1]?.request.params?.["requestState"])
      }))
  }

  it.live("what came of answers is kept for nobody", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: ({ params }) =>
            Effect.succeed(
              params?.["inputResponses"] === undefined
                ? required({ who: elicit })
                : { result: { contents: [], ttlMs: 86_400_000, cacheScope: "public" } }
            )
        }],
        offers: [{ kind: "resources", name: "x://r" }]
      })
      const client = yield* session(built)
      for (let time = 0; time < 2; time++) {
        const open = yield* client.open({ uri: "x://r" }, "resources/read")
        yield* client.answer(yield* asked(open), { result: accept })
        assert.deepStrictEqual((yield* lastOf(open))?.result?.["contents"], [])
      }
      assert.strictEqual(built.asked.length, 4)
    }))

  it.live("a URL to go to gets the name that this era wants", () =>
    Effect.gen(function*() {
      const url = { method: "elicitation/create", params: { mode: "url", message: "m", url: "https://x.test" } }
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: ({ params }) =>
            Effect.succeed(params?.["inputResponses"] === undefined ? required({ url }) : text("been there"))
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      const question = yield* asked(open)
      assert.isString(question.params?.["elicitationId"])
      assert.include(question.params, url.params)
      yield* client.answer(question, { result: { action: "accept" } })
      assert.strictEqual(textOf(yield* lastOf(open)), "been there")

      const older = yield* session(built, capabilities, "2025-06-18")
      const reply = yield* lastOf(yield* older.open({ name: "svc__t" }))
      assert.strictEqual(reply?.error?.code, -32603)
      assert.include(reply?.error?.message, "url")
    }))

  it.live("a server that wants nothing but time is asked again", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: ({ params }) =>
            Effect.succeed(params?.["requestState"] === undefined ? required(undefined, "later") : text("now"))
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built, {})
      assert.strictEqual(textOf(yield* lastOf(yield* client.open({ name: "svc__t" }))), "now")
    }))

  it.live("an answer that the client refuses ends the call, and the other questions", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: () => Effect.succeed(required({ who: elicit, where: { method: "roots/list" } }))
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      const [who, where] = [yield* asked(open, 0), yield* asked(open, 1)]
      yield* client.answer(who, { error: { code: -1, message: "no" } })
      const reply = yield* lastOf(open)
      assert.strictEqual(
        reply?.error?.message,
        "svc__t: the server asked for elicitation/create, and the client answered with error -1: no"
      )
      assert.isTrue(
        open.messages().some(({ method, params }) =>
          method === "notifications/cancelled" && params?.["requestId"] === where.id
        )
      )
      assert.strictEqual(built.endpoint.figures().failedCalls, 1)
    }))

  it.live("who cancels the call is asked no more, and the server not again", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", era: "stateless", answer: () => Effect.succeed(required({ who: elicit }, "own")) }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      const question = yield* asked(open)
      yield* built.post({ jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 1 } }, client.headers)
      yield* eventually("the end", () => built.endpoint.figures().callsInFlight === 0 ? true : undefined)
      yield* client.answer(question, { result: accept })
      assert.strictEqual(built.asked.length, 1)
    }))

  it.live("progress grows over all rounds, and messages come from each", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: (request) =>
            Effect.sync(() => {
              const first = request.params?.["inputResponses"] === undefined
              for (const progress of first ? [1, 2] : [1, 2, 3]) {
                request.onNotification?.({ jsonrpc: "2.0", method: "notifications/progress", params: { progress } })
              }
              return first ? required({ who: elicit }) : text("done")
            })
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t", _meta: { progressToken: "p" } })
      yield* client.answer(yield* asked(open), { result: accept })
      yield* lastOf(open)
      const progress = open.messages().flatMap(({ method, params }) =>
        method === "notifications/progress" ? [[params?.["progressToken"], params?.["progress"]]] : []
      )
      assert.deepStrictEqual(progress, [["p", 1], ["p", 2], ["p", 3]])
    }))

  it.live("a state that can just be carried comes back whole", () =>
    Effect.gen(function*() {
      // As JSON it is six times as long.
      const own = "\u0001".repeat(87_000)
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: ({ params }) =>
            Effect.succeed(
              params?.["requestState"] === undefined
                ? required(undefined, own)
                : text(String(params["requestState"] === own))
            )
        }],
        offers: [{ name: "t" }]
      })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      assert.strictEqual(textOf(yield* call(built, { name: "svc__t", requestState })), "true")
    }))

  it.live("rounds end some time", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: () => Effect.succeed(required({ where: { method: "roots/list" } }))
        }],
        offers: [{ name: "t" }]
      })
      const client = yield* session(built)
      const open = yield* client.open({ name: "svc__t" })
      for (let round = 0; round < 15; round++) {
        yield* client.answer(yield* asked(open, round), { result: { roots: [] } })
      }
      assert.include((yield* lastOf(open))?.error?.message, "after 16 rounds")
      assert.strictEqual(built.asked.length, 16)
    }))

  const broken: ReadonlyArray<readonly [string, Fields]> = [
    ["nothing at all", {}],
    ["requests that are none", { inputRequests: { a: 1 } }],
    ["no requests", { inputRequests: [] }],
    ["a state that is no text", { requestState: {} }],
    ["a state that is too long", { requestState: "x".repeat(600_000) }],
    ["too much at once", {
      inputRequests: Object.fromEntries(Array.from({ length: 65 }, (_, index) => [index, { method: "roots/list" }]))
    }],
    ["what the client did not declare", { inputRequests: { a: elicit } }]
  ]
  for (const era of ["handshake", "stateless"] as const) {
    for (const [what, result] of broken) {
      it.live(`a server that asks for ${what} fails the call of a ${era} client`, () =>
        Effect.gen(function*() {
          const built = yield* harness({
            servers: [{
              id: "a",
              era: "stateless",
              answer: () => Effect.succeed({ result: { resultType: "input_required", ...result } })
            }],
            offers: [{ name: "t" }]
          })
          const declared = { roots: {} }
          const reply = era === "handshake"
            ? yield* lastOf(yield* (yield* session(built, declared)).open({ name: "svc__t" }))
            : yield* call(built, { name: "svc__t" }, { "io.modelcontextprotocol/clientCapabilities": declared })
          assert.strictEqual(reply?.error?.code, -32603)
          assert.match(reply?.error?.message ?? "", /^svc wants to know more/)
          assert.strictEqual(built.endpoint.figures().callsInFlight, 0)
        }))
    }
  }
})

describe("stateless client, stateless server", () => {
  const server = (id: string) => ({
    id,
    era: "stateless" as const,
    answer: ({ params }: UpstreamRequest) =>
      Effect.succeed(
        params?.["inputResponses"] === undefined
          ? required({ who: elicit }, params?.["arguments"] === undefined ? undefined : `own of ${id}`)
          : told({ result: params })
      )
  })

  it.live("the server's questions pass, its state is wrapped, and the retry goes to the same instance", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: ["a", "b", "c", "d"].map(server),
        offers: [{ name: "t" }],
        balancing: { strategy: "round-robin" }
      })
      for (let time = 0; time < 8; time++) {
        built.asked.length = 0
        const params = { name: "svc__t", arguments: { x: 1 } }
        const first = requiredOf(yield* call(built, params))
        assert.deepStrictEqual(first.inputRequests, { who: elicit })
        assert.notInclude(first.requestState, "own of")
        const retry = { ...params, inputResponses: { who: accept }, requestState: first.requestState }
        const [given] = JSON.parse(textOf(yield* call(built, retry)))
        const [one, other] = built.asked
        assert.strictEqual(other?.id, one?.id)
        assert.deepStrictEqual(given, {
          name: "t",
          arguments: { x: 1 },
          inputResponses: { who: accept },
          requestState: `own of ${one?.id}`
        })
      }
    }))

  it.live("what of a question belongs to the server's hop stays behind", () =>
    Effect.gen(function*() {
      const params = { ...form("Who?"), _meta: { progressToken: 1, "com.example/a": 2 } }
      const built = yield* harness({
        servers: [{
          id: "a",
          era: "stateless",
          answer: () => Effect.succeed(required({ who: { method: "elicitation/create", params } }))
        }],
        offers: [{ name: "t" }]
      })
      const { inputRequests } = requiredOf(yield* call(built, { name: "svc__t" }))
      assert.deepStrictEqual(inputRequests["who"]?.params?.["_meta"], { "com.example/a": 2 })
    }))

  it.live("a server without state gets none back", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: [server("a")], offers: [{ name: "t" }] })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      yield* call(built, { name: "svc__t", inputResponses: { who: accept }, requestState })
      assert.deepStrictEqual(built.asked[1]?.request.params, { name: "t", inputResponses: { who: accept } })
    }))

  it.live("an instance that is gone is replaced by another", () =>
    Effect.gen(function*() {
      const built = yield* harness({ servers: ["a", "b"].map(server), offers: [{ name: "t" }] })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t", arguments: {} }))
      const [one] = built.asked
      yield* built.mark(one?.id ?? "", "down")
      yield* call(built, { name: "svc__t", arguments: {}, inputResponses: { who: accept }, requestState })
      assert.notStrictEqual(built.asked[1]?.id, one?.id)
    }))

  it.live("a state that was altered, or is of another name or method, is refused, and reaches no server", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [server("a")],
        offers: [{ name: "t" }, { name: "u" }, { kind: "prompts", name: "t" }]
      })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      const refused = Effect.fnUntraced(function*(params: Fields, method = "tools/call") {
        const before = built.asked.length
        const reply = yield* call(built, { inputResponses: { who: accept }, ...params }, {}, method)
        assert.strictEqual(reply?.error?.code, -32602)
        assert.strictEqual(built.asked.length, before)
        return reply?.error?.message ?? ""
      })
      const flipped = `${requestState.slice(0, 30)}${requestState[30] === "A" ? "B" : "A"}${requestState.slice(31)}`
      for (const altered of [flipped, "", "own of a", 5, null, { a: 1 }, requestState.slice(1)]) {
        assert.include(yield* refused({ name: "svc__t", requestState: altered }), "altered")
      }
      assert.include(yield* refused({ name: "svc__u", requestState }), "not for this request")
      assert.include(yield* refused({ name: "svc__t", requestState }, "prompts/get"), "not for this request")
    }))

  it.live("a state that has expired is refused", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [server("a")],
        offers: [{ name: "t" }],
        options: { inputTimeout: 50 }
      })
      const { requestState } = requiredOf(yield* call(built, { name: "svc__t" }))
      yield* Effect.sleep(60)
      const reply = yield* call(built, { name: "svc__t", inputResponses: {}, requestState })
      assert.include(reply?.error?.message, "expired")
    }))
})

/**
 * What stands in `_meta` on either side, and what of it goes on to the other.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import type { Era } from "../../src/Era.ts"
import { type Fields, isFields, type JsonRpcNotification } from "../../src/JsonRpc.ts"
import * as Meta from "../../src/relay/Meta.ts"
import { asked, asks, capabilities, lastOf, session, textOf, told } from "./Asking.ts"
import { envelope, harness, modern } from "./Harness.ts"

const eras: ReadonlyArray<Era> = ["handshake", "stateless"]
const pairs = eras.flatMap((client) => eras.map((server) => [client, server] as const))

/** Of one hop, in requests and results of both eras. */
const hop = {
  "io.modelcontextprotocol/serverInfo": { name: "hidden", version: "1" },
  "io.modelcontextprotocol/subscriptionId": 7,
  "io.modelcontextprotocol/logLevel": "debug",
  "dev.portolan/routing": { instance: "forged" }
}
const trace = {
  traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  tracestate: "rojo=1",
  baggage: "user=ann"
}
const own = { "com.example/a": [1, { deep: null }] }
const all = { ...hop, ...trace, ...own }

const requests: ReadonlyArray<readonly [method: string, params: Fields]> = [
  ["tools/call", { name: "svc__tool" }],
  ["prompts/get", { name: "svc__prompt" }],
  ["resources/read", { uri: "file:///x" }],
  ["completion/complete", { ref: { type: "ref/prompt", name: "svc__prompt" }, argument: { name: "a", value: "" } }]
]

const offers = [
  { name: "tool" },
  { kind: "prompts", name: "prompt" },
  { kind: "resources", name: "file:///x" }
] as const

/** The routing in a `_meta`, and the rest of it without what the gateway says of itself. */
const split = (result: Fields | undefined) => {
  const meta = result?.["_meta"]
  const { "dev.portolan/routing": routing, "io.modelcontextprotocol/serverInfo": serverInfo, ...rest } = isFields(meta)
    ? meta
    : {}
  return { routing: isFields(routing) ? routing : undefined, serverInfo, rest }
}

describe("_meta", () => {
  it("loses what belongs to one hop, and nothing else", () => {
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue(), { noNullPrototype: true }), (meta) => {
      const { __proto__: _, ...given } = meta
      assert.deepStrictEqual(Meta.withoutHop({ ...given, ...hop, progressToken: 1 }) ?? {}, given)
    }))
    assert.isUndefined(Meta.withoutHop(hop))
    // As JSON.parse makes it, and an assignment would not.
    const own = Meta.withoutHop(JSON.parse("{\"a\":1,\"__proto__\":{\"b\":2}}"))
    assert.strictEqual(Object.getPrototypeOf(own), Object.prototype)
    assert.deepStrictEqual(own, { a: 1 })
    assert.isUndefined(Meta.withoutHop(undefined))
  })

  for (const [client, server] of pairs) {
    it.live(`of requests, results and notifications, both ways: ${client} client, ${server} server`, () =>
      Effect.gen(function*() {
        const notification: JsonRpcNotification = {
          jsonrpc: "2.0",
          method: "notifications/progress",
          params: { progressToken: "theirs", progress: 1, _meta: all }
        }
        const built = yield* harness({
          servers: [{
            id: "a",
            era: server,
            answer: ({ onNotification }) => {
              onNotification?.(notification)
              return Effect.succeed({ result: { content: [], messages: [], contents: [], completion: {}, _meta: all } })
            }
          }],
          offers
        })
        const { headers } = yield* built.initialize()
        for (const [method, params] of requests) {
          const _meta = { ...all, progressToken: 9 }
          const name = params["name"] ?? params["uri"]
          const answer = yield* client === "handshake"
            ? built.post({ jsonrpc: "2.0", id: 1, method, params: { ...params, _meta } }, headers)
            : built.post(
              { jsonrpc: "2.0", id: 1, method, params: { ...params, _meta: { ..._meta, ...envelope() } } },
              modern(method, typeof name === "string" ? name : undefined)
            )
          const given = built.asked.at(-1)!.request
          assert.strictEqual(given.method, method)
          assert.deepStrictEqual(given.params?.["_meta"], { ...trace, ...own }, method)
          assert.deepInclude(given.headers, trace, method)
          const [told, reply] = answer.messages
          assert.deepStrictEqual(told?.params?.["_meta"], { ...trace, ...own }, method)
          const { rest, routing, serverInfo } = split(reply?.result)
          assert.deepStrictEqual(rest, { ...trace, ...own }, method)
          assert.strictEqual(routing?.["instance"], "a", method)
          assert.deepStrictEqual(
            serverInfo,
            client === "stateless" ? { name: "portolan", version: "0.1.0" } : undefined,
            method
          )
        }
      }))
  }

  it.live("says everything of how a call was routed, unless it is switched off", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed({ result: { content: [], _meta: { ...hop, ...own } } }) }],
        offers
      })
      const { headers } = yield* built.initialize()
      const call = (era: Era) => {
        const params = { name: "svc__tool" }
        return Effect.map(
          era === "stateless"
            ? built.stateless("tools/call", params)
            : built.post({ jsonrpc: "2.0", id: 1, method: "tools/call", params }, headers),
          ({ messages }) => split(messages[0]?.result)
        )
      }
      for (const era of eras) {
        const { routing } = yield* call(era)
        assert.deepStrictEqual(Object.keys(routing ?? {}).toSorted(), [
          "alternatives",
          "attempts",
          "discoveryAge",
          "failed",
          "failovers",
          "hedged",
          "instance",
          "latency",
          "queued",
          "service",
          "source",
          "strategy",
          "why"
        ])
      }
      yield* built.endpoint.reconfigure({ showRouting: false })
      for (const era of eras) {
        const { rest, routing } = yield* call(era)
        assert.isUndefined(routing, "not even what a server claims")
        assert.deepStrictEqual(rest, own)
      }
      yield* built.endpoint.reconfigure({})
      assert.strictEqual((yield* call("stateless")).routing?.["instance"], "a")
    }))

  it.live("of what a server asks the client, and of the answer", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{
          id: "a",
          answer: (request) => Effect.map(asks(request, "sampling/createMessage", { maxTokens: 1, _meta: all }), told)
        }],
        offers
      })
      const client = yield* session(built, capabilities)
      const open = yield* client.open({ name: "svc__tool" })
      const question = yield* asked(open)
      assert.deepStrictEqual(question.params, { maxTokens: 1, _meta: { ...trace, ...own } })
      yield* client.answer(question, { result: { role: "assistant", _meta: all } })
      const reply = yield* lastOf(open)
      assert.deepStrictEqual(JSON.parse(textOf(reply)), [{ role: "assistant", _meta: { ...trace, ...own } }])
    }))

  it.live("of the answers that a stateless client brings to a stateless server", () =>
    Effect.gen(function*() {
      const built = yield* harness({
        servers: [{ id: "a", era: "stateless", answer: () => Effect.succeed({ result: { content: [] } }) }],
        offers
      })
      yield* built.stateless("tools/call", {
        name: "svc__tool",
        inputResponses: { asked: { action: "accept", _meta: all }, plain: { action: "decline" }, none: null }
      })
      assert.deepStrictEqual(built.asked.at(-1)?.request.params?.["inputResponses"], {
        asked: { action: "accept", _meta: { ...trace, ...own } },
        plain: { action: "decline" },
        none: null
      })
    }))
})

import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Era } from "../../src/Era.ts"
import type { Fields, Reply } from "../../src/JsonRpc.ts"
import type { McpEndpointOptions } from "../../src/relay/McpEndpoint.ts"
import type { UpstreamRequest } from "../../src/upstream/Upstream.ts"
import { type Answer, envelope, harness, modern } from "./Harness.ts"

const resource = (uri: string, hints: Fields = {}): Reply => ({
  result: { contents: [{ uri, text: "x" }], resultType: "complete", ...hints }
})

/** One server of the stateless era with resources; its answers come with hints. */
const reading = Effect.fnUntraced(function*(
  answer: (request: UpstreamRequest, uri: string) => Reply | Effect.Effect<Reply>,
  options?: McpEndpointOptions,
  servers: ReadonlyArray<string> = ["a"],
  era: Era = "stateless"
) {
  const given = yield* harness({
    servers: servers.map((id) => ({
      id,
      era,
      answer: (request) => {
        const reply = answer(request, String(request.params?.["uri"]))
        return Effect.isEffect(reply) ? reply : Effect.succeed(reply)
      }
    })),
    offers: ["a", "b", "d", "e", "dir/", "dir/c"].map((name) => ({ kind: "resources", name: `file:///${name}` })),
    options
  })
  return {
    ...given,
    read: (uri: string, more: Fields = {}, meta: Fields = {}) =>
      Effect.map(given.stateless("resources/read", { uri, ...more }, meta), resultOf),
    count: () => given.asked.filter(({ request }) => request.method === "resources/read").length
  }
})

const resultOf = ({ messages }: Answer) => messages[0]?.result ?? {}

const whys = (result: Fields): unknown => Object(Object(result["_meta"])["dev.portolan/routing"])["why"]

const day = { ttlMs: 86_400_000, cacheScope: "public" }

describe("kept reads", () => {
  it.live("come from the server once for as long as it allows", () =>
    Effect.gen(function*() {
      const { count, read } = yield* reading((_, uri) => resource(uri, day))
      const first = yield* read("file:///a")
      assert.deepInclude(first, { ttlMs: 86_400_000, cacheScope: "public" })
      yield* Effect.sleep("20 millis")
      const second = yield* read("file:///a")
      assert.strictEqual(count(), 1)
      assert.deepStrictEqual(second["contents"], first["contents"])
      assert.isAtMost(Number(second["ttlMs"]), 86_400_000 - 15)
      assert.isAbove(Number(second["ttlMs"]), 86_300_000)
      assert.match(String(whys(second)), /^answered \d+ ms ago, and kept$/)
      assert.strictEqual(whys(first), "the only one")
      yield* read("file:///b")
      assert.strictEqual(count(), 2)
    }))

  it.live("are over when their time is", () =>
    Effect.gen(function*() {
      const { count, read } = yield* reading((_, uri) => resource(uri, { ttlMs: 50, cacheScope: "public" }))
      yield* read("file:///a")
      yield* Effect.sleep("60 millis")
      assert.strictEqual((yield* read("file:///a"))["ttlMs"], 50)
      assert.strictEqual(count(), 2)
    }))

  it.live("are for clients of both eras", () =>
    Effect.gen(function*() {
      const { count, initialize, post, read } = yield* reading((_, uri) => resource(uri, day))
      const { headers } = yield* initialize()
      const old = (uri: string) =>
        Effect.map(post({ jsonrpc: "2.0", id: 2, method: "resources/read", params: { uri } }, headers), resultOf)
      const result = yield* old("file:///a")
      assert.notProperty(result, "ttlMs")
      yield* read("file:///a")
      assert.strictEqual(count(), 1)
      yield* read("file:///b")
      assert.deepStrictEqual((yield* old("file:///b"))["contents"], [{ uri: "file:///b", text: "x" }])
      assert.notProperty(yield* old("file:///b"), "cacheScope")
      assert.strictEqual(count(), 2)
    }))

  it.live("that are private are for one principal", () =>
    Effect.gen(function*() {
      const scopes: Record<string, string> = { "file:///a": "private", "file:///b": "public" }
      const { count, post } = yield* reading(
        (_, uri) => resource(uri, { ttlMs: 60_000, cacheScope: scopes[uri] }),
        { principal: ({ headers }) => typeof headers["x-who"] === "string" ? headers["x-who"] : undefined }
      )
      const as = (who: string | undefined, uri: string) =>
        post(
          { jsonrpc: "2.0", id: 1, method: "resources/read", params: { uri, _meta: envelope() } },
          { ...modern("resources/read", uri), ...(who === undefined ? {} : { "x-who": who }) }
        )
      for (const who of ["ann", "bob", undefined, "ann", "bob", undefined]) yield* as(who, "file:///a")
      assert.strictEqual(count(), 3)
      for (const who of ["ann", "bob", undefined]) yield* as(who, "file:///b")
      assert.strictEqual(count(), 4)
    }))

  it.live("are none where the server doesn't say, or the answer depends on more than the URI", () =>
    Effect.gen(function*() {
      let hints: Fields = {}
      let extra: Fields = {}
      const { count, read } = yield* reading((_, uri) =>
        "error" in extra
          ? { error: { code: -32602, message: "no" } }
          : resource(uri, { ...hints, ...extra })
      )
      const twice = (...args: Parameters<typeof read>) =>
        Effect.gen(function*() {
          const before = count()
          yield* read(...args)
          yield* read(...args)
          return count() - before
        })
      for (const none of [{}, { ttlMs: 0 }, { ttlMs: -1 }, { ttlMs: "5" }, { ttlMs: null }]) {
        hints = none
        assert.strictEqual(yield* twice("file:///a"), 2, JSON.stringify(none))
      }
      hints = day
      assert.strictEqual(yield* twice("file:///a", { inputResponses: { x: { action: "accept" } } }), 2)
      assert.strictEqual(yield* twice("file:///a", { page: 2 }), 2)
      assert.strictEqual(yield* twice("file:///a", {}, { "com.example/tenant": "x" }), 2)
      extra = { error: true }
      assert.strictEqual(yield* twice("file:///b"), 2)
      extra = { resultType: "input_required", inputRequests: {} }
      assert.strictEqual(yield* twice("file:///b"), 2)
      // What only traces it changes nothing.
      extra = {}
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      assert.strictEqual(yield* twice("file:///b", {}, { traceparent, progressToken: 1 }), 1)
    }))

  it.live("go when the server says that they changed, or is connected anew", () =>
    Effect.gen(function*() {
      const { connect, count, emit, read } = yield* reading((_, uri) => resource(uri, day))
      const isAsked = (uri: string) =>
        Effect.gen(function*() {
          const before = count()
          yield* read(uri)
          return count() > before
        })
      const dropped = (uri: string) =>
        isAsked(uri).pipe(Effect.repeat({ until: (is) => is }), Effect.timeout("10 seconds"))
      const updated = (params: Fields) =>
        emit("a", { jsonrpc: "2.0", method: "notifications/resources/updated", params })
      const [plain, whole, part] = ["file:///a", "file:///dir/", "file:///dir/c"] as const
      const all = [plain, whole, part]
      assert.deepStrictEqual(yield* Effect.forEach(all, isAsked), [true, true, true])
      assert.deepStrictEqual(yield* Effect.forEach(all, isAsked), [false, false, false])
      // Whatever it is a part of changed with it.
      yield* updated({ uri: part })
      yield* dropped(part)
      assert.deepStrictEqual(yield* Effect.forEach(all, isAsked), [false, true, false])
      // The last one shows that those before have come.
      yield* updated({})
      yield* updated({ uri: "file:///other/a" })
      yield* emit("a", { jsonrpc: "2.0", method: "notifications/tools/list_changed" })
      yield* updated({ uri: plain })
      yield* dropped(plain)
      assert.deepStrictEqual(yield* Effect.forEach(all, isAsked), [false, false, false])
      yield* emit("a", { jsonrpc: "2.0", method: "notifications/resources/list_changed" })
      yield* dropped(plain)
      assert.deepStrictEqual(yield* Effect.forEach(all, isAsked), [false, true, true])
      yield* connect("a")
      yield* dropped(plain)
      assert.deepStrictEqual(yield* Effect.forEach(all, isAsked), [false, true, true])
    }))

  it.live("go with the instance that answered, also where another one has them", () =>
    Effect.gen(function*() {
      const { asked, close, count, read } = yield* reading((_, uri) => resource(uri, day), undefined, ["a", "b"])
      yield* read("file:///a")
      const answer = asked.at(-1)?.id ?? ""
      yield* read("file:///a")
      assert.strictEqual(count(), 1)
      yield* close(answer)
      yield* read("file:///a").pipe(Effect.repeat({ until: () => count() > 1 }), Effect.timeout("10 seconds"))
      assert.notStrictEqual(asked.at(-1)?.id, answer)
      yield* read("file:///a")
      assert.strictEqual(count(), 2)
    }))

  it.live("are none of a server of the handshake era, which may answer each session in its own way", () =>
    Effect.gen(function*() {
      const { count, read } = yield* reading((_, uri) => resource(uri, day), undefined, ["a"], "handshake")
      yield* read("file:///a")
      yield* read("file:///a")
      assert.strictEqual(count(), 2)
    }))

  it.live("are not made of what was answered before a change", () =>
    Effect.gen(function*() {
      let meanwhile: Effect.Effect<unknown> = Effect.void
      const { count, emit, read } = yield* reading((_, uri) =>
        Effect.suspend(() => meanwhile).pipe(Effect.as(resource(uri, day)))
      )
      meanwhile = emit("a", {
        jsonrpc: "2.0",
        method: "notifications/resources/updated",
        params: { uri: "file:///a" }
      }).pipe(Effect.andThen(Effect.sleep("20 millis")))
      yield* read("file:///a")
      meanwhile = Effect.void
      yield* read("file:///a")
      assert.strictEqual(count(), 2)
      yield* read("file:///a")
      assert.strictEqual(count(), 2)
    }))

  it.live("stay within their bytes: what was used longest ago goes", () =>
    Effect.gen(function*() {
      // With what each takes beside, there is room for four of these.
      const text = "x".repeat(700)
      const { count, endpoint, read } = yield* reading((_, uri) =>
        Effect.delay(
          Effect.succeed({ result: { contents: [{ uri, text: uri.endsWith("c") ? text.repeat(5) : text }], ...day } }),
          "10 millis"
        ), { maxCached: 8_000 })
      const isAsked = (uri: string) =>
        Effect.gen(function*() {
          const before = count()
          yield* read(uri)
          return count() > before
        })
      const [one, two, three, four, five] = [
        "file:///a",
        "file:///b",
        "file:///dir/",
        "file:///d",
        "file:///e"
      ] as const
      // Read at the same time, it is kept once.
      yield* Effect.all([read(one), read(one), read(one)], { concurrency: "unbounded" })
      for (const uri of [two, three, four]) yield* read(uri)
      assert.isFalse(yield* isAsked(one))
      assert.isTrue(yield* isAsked(five))
      assert.isFalse(yield* isAsked(one))
      assert.isTrue(yield* isAsked(two), "it was used longest ago")
      // More than its share is never kept.
      yield* read("file:///dir/c")
      assert.isTrue(yield* isAsked("file:///dir/c"))
      assert.isFalse(yield* isAsked(two))
      yield* endpoint.reconfigure({ maxCached: 0 })
      assert.isTrue(yield* isAsked(two))
      yield* endpoint.reconfigure({ maxCached: 8_000 })
      assert.isTrue(yield* isAsked(two), "nothing was kept meanwhile")
    }))
})

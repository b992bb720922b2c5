import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Freshness from "../src/catalog/Freshness.ts"
import type { Fields } from "../src/JsonRpc.ts"
import type { ServerProfile, UpstreamRequest } from "../src/upstream/Upstream.ts"
import { harness, instance, names, profile, scripted } from "./Catalogs.ts"

const stateless = (capabilities: Fields = { tools: {} }): ServerProfile => ({
  ...profile,
  era: "stateless",
  protocolVersion: "2026-07-28",
  capabilities
})

const telling = { tools: { listChanged: true } }

/** A server whose list of tools comes with hints. */
const server = (id: string, hints: () => Fields, of: ServerProfile, tools: () => ReadonlyArray<string> = () => ["t"]) =>
  scripted(instance(id, id), ({ params }: UpstreamRequest) => {
    const all = tools()
    const at = Number(params?.["cursor"] ?? 0)
    return Effect.succeed({
      result: {
        tools: all.slice(at, at + 1).map((name) => ({ name, inputSchema: { type: "object" } })),
        ...(at + 1 < all.length ? { nextCursor: String(at + 1) } : {}),
        ...hints()
      }
    })
  }, of)

const asked = ({ asked }: { readonly asked: ReadonlyArray<string> }) =>
  asked.filter((method) => method === "tools/list").length

describe("the freshness of a list", () => {
  it.effect("is the smallest time and the most private scope of all that are in it", () =>
    Effect.gen(function*() {
      const { catalog, close, open } = yield* harness()
      const freshness = catalog.freshness("tools")
      assert.deepStrictEqual(yield* freshness, { ttl: Infinity, silent: true, scope: "private" })
      const long = server("long", () => ({ ttlMs: 60_000, cacheScope: "public" }), stateless(telling))
      yield* open(long.upstream)
      assert.deepStrictEqual(yield* freshness, { ttl: 60_000, silent: false, scope: "public" })
      const short = server("short", () => ({ ttlMs: 30_000, cacheScope: "private" }), stateless(telling))
      yield* open(short.upstream)
      assert.deepStrictEqual(yield* freshness, { ttl: 30_000, silent: false, scope: "private" })
      // What it lists is nobody's concern who asks for something else.
      assert.deepStrictEqual(yield* catalog.freshness("prompts"), { ttl: Infinity, silent: true, scope: "private" })
      yield* close(short.upstream)
      assert.deepStrictEqual(yield* freshness, { ttl: 60_000, silent: false, scope: "public" })
      yield* open(server("old", () => ({}), profile).upstream)
      assert.deepStrictEqual(yield* freshness, { ttl: 60_000, silent: true, scope: "private" })
    }))

  it.effect("takes the smallest of a server's pages", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      let page = 0
      const hints = () => ({ ttlMs: [60_000, 20_000, 40_000][page++], cacheScope: page === 2 ? "private" : "public" })
      yield* open(server("paged", hints, stateless(telling), () => ["a", "b", "c"]).upstream)
      assert.deepStrictEqual(yield* catalog.freshness("tools"), { ttl: 20_000, silent: false, scope: "private" })
    }))

  it.effect("runs down where the server doesn't tell of changes, and is asked for again when it is used", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      let tools = ["a"]
      const one = server("one", () => ({ ttlMs: 10_000, cacheScope: "public" }), stateless(), () => tools)
      yield* open(one.upstream)
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 9_000)
      yield* TestClock.adjust("8 seconds")
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 1_000)
      tools = ["a", "b"]
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(asked(one), 1, "nobody used it")
      // Answered at once with what is there; whoever comes next has the new list.
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 0)
      assert.deepStrictEqual(names(catalog), ["one__a"])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(catalog), ["one__a", "one__b"])
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 9_000)
      assert.strictEqual(asked(one), 3, "two pages")
    }))

  it.effect("of servers that tell of changes, nobody asks again while they give no time", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const tells = server("tells", () => ({ ttlMs: 0, cacheScope: "public" }), stateless(telling))
      const old = server("old", () => ({}), profile)
      const silent = server("silent", () => ({ ttlMs: 0, cacheScope: "public" }), stateless())
      for (const { upstream } of [tells, old, silent]) yield* open(upstream)
      for (let second = 0; second < 120; second++) {
        assert.strictEqual((yield* catalog.freshness("tools")).ttl, 0)
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual([asked(tells), asked(old)], [1, 1])
      // The one that says nothing at all may have changed.
      assert.isAtLeast(asked(silent), 3)
      assert.isAtMost(asked(silent), 5)
    }))

  it.effect("asks once for all who use a list meanwhile, and keeps the last good one where that fails", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      let broken = false
      const one = scripted(instance("one", "one"), () =>
        Effect.delay(
          Effect.succeed(
            broken
              ? { error: { code: -32603, message: "no" } }
              : { result: { tools: [{ name: "t", inputSchema: {} }], ttlMs: 5_000, cacheScope: "public" } }
          ),
          500
        ), stateless())
      yield* open(one.upstream)
      yield* catalog.settled
      broken = true
      yield* TestClock.adjust("10 seconds")
      for (let use = 0; use < 50; use++) {
        yield* catalog.freshness("tools")
        // Nobody waits for it.
        yield* catalog.settled
        yield* TestClock.adjust(5)
      }
      assert.strictEqual(asked(one), 2)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(catalog), ["one__t"])
      assert.include(catalog.problems()[0]?.reason, "no")
      assert.deepStrictEqual(yield* catalog.freshness("tools"), { ttl: 0, silent: false, scope: "public" })
      broken = false
      yield* TestClock.adjust("1 minute")
      yield* catalog.freshness("tools")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(catalog.problems(), [])
      assert.isAbove((yield* catalog.freshness("tools")).ttl, 3_000)
    }))

  it("has no time that a client could not take", () => {
    fc.assert(fc.property(fc.oneof(fc.jsonValue(), fc.double()), (ttlMs) => {
      const { ttl } = Freshness.hints({ ttlMs })
      assert.isTrue(ttl === undefined || (Number.isInteger(ttl) && ttl >= 0), String(ttl))
    }))
    assert.deepStrictEqual(Freshness.hints({ ttlMs: Infinity }).ttl, Number.MAX_SAFE_INTEGER)
    assert.deepStrictEqual(Freshness.hints({ ttlMs: -5, cacheScope: "all" }), { ttl: 0, scope: "private" })
    assert.deepStrictEqual(Freshness.hints({}), { ttl: undefined, scope: "private" })
  })
})

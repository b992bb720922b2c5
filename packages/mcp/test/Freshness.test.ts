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
      yield* close(long.upstream)
      yield* open(long.upstream)
      assert.strictEqual((yield* freshness).scope, "private", "whichever comes last")
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

  /** The handshake era, with a word on whether it tells of changes. */
  const handshake = (capabilities: Fields): ServerProfile => ({ ...profile, capabilities })

  it.effect("of servers that tell of changes, nobody asks again while they give no time", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const tells = server("tells", () => ({ ttlMs: 0, cacheScope: "public" }), stateless(telling))
      const old = server("old", () => ({}), handshake(telling))
      for (const { upstream } of [tells, old]) yield* open(upstream)
      for (let second = 0; second < 120; second++) {
        assert.strictEqual((yield* catalog.freshness("tools")).ttl, 0)
        yield* TestClock.adjust("1 second")
      }
      assert.deepStrictEqual([asked(tells), asked(old)], [1, 1])
    }))

  it.effect("of servers of either era that don't tell, or aren't heard, are asked for again once they are old", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const silent = server("silent", () => ({ ttlMs: 0, cacheScope: "public" }), stateless())
      let tools = ["a"]
      const old = server("old", () => ({}), handshake({ tools: {} }), () => tools)
      const unheard = server("unheard", () => ({}), handshake(telling))
      const states = unheard.upstream.state
      yield* open({ ...unheard.upstream, state: () => ({ ...states(), heard: false }) })
      for (const { upstream } of [silent, old]) yield* open(upstream)
      const all = [silent, old, unheard]
      const usedFor = (seconds: number) =>
        Effect.gen(function*() {
          const before = all.map(asked)
          for (let second = 0; second < seconds; second++) {
            yield* catalog.freshness("tools")
            yield* TestClock.adjust("1 second")
          }
          return all.map((each, index) => asked(each) - (before[index] ?? 0))
        })
      assert.deepStrictEqual(yield* usedFor(25), [0, 0, 0])
      tools = ["b"]
      assert.deepStrictEqual(yield* usedFor(10), [1, 1, 1])
      assert.deepStrictEqual(names(catalog), ["old__b", "silent__t", "unheard__t"])
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(all.map(asked), [2, 2, 2], "nobody used it")
      // Each use may ask, the next one after a moment.
      yield* catalog.reconfigure({ maxAge: 0 })
      assert.deepStrictEqual(yield* usedFor(3), [3, 3, 3])
      yield* catalog.reconfigure({ maxAge: 60_000 })
      assert.deepStrictEqual(yield* usedFor(59), [0, 0, 0])
      yield* catalog.reconfigure({})
      assert.deepStrictEqual(yield* usedFor(1), [1, 1, 1])
    }))

  it.effect("is asked for once, however often it is used meanwhile", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness({ maxAge: 60_000 })
      const slow = scripted(
        instance("slow", "slow"),
        () => Effect.delay(Effect.succeed({ result: { tools: [] } }), 500),
        handshake({ tools: {} })
      )
      yield* open(slow.upstream)
      yield* TestClock.adjust("1 minute")
      for (let use = 0; use < 50; use++) {
        yield* catalog.freshness("tools")
        yield* TestClock.adjust(5)
      }
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(asked(slow), 2)
    }))

  it.effect("of a server that isn't connected runs down, and is asked for when it is", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const one = server("one", () => ({ ttlMs: 60_000, cacheScope: "public" }), stateless(telling))
      const state = one.upstream.state
      let connected = true
      const upstream = {
        ...one.upstream,
        state: () => connected ? state() : { ...state(), _tag: "connecting" as const }
      }
      yield* open(upstream)
      yield* TestClock.adjust("39 seconds")
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 60_000)
      connected = false
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 20_000)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 0)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(asked(one), 1)
      connected = true
      yield* open(upstream)
      assert.strictEqual(asked(one), 2)
    }))

  it.effect("holds no longer once it can't be read, and says nothing once its server has none", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      let broken = false
      let of = stateless(telling)
      const one = scripted(instance("one", "one"), () =>
        Effect.succeed(
          broken
            ? { error: { code: -32603, message: "no" } }
            : { result: { tools: [], ttlMs: 3_600_000, cacheScope: "public" } }
        ), of)
      const state = one.upstream.state
      const upstream = { ...one.upstream, state: () => ({ ...state(), profile: of }) }
      yield* open(upstream)
      assert.strictEqual((yield* catalog.freshness("tools")).ttl, 3_600_000)
      broken = true
      const notification = { jsonrpc: "2.0", method: "notifications/tools/list_changed" } as const
      yield* publish({ _tag: "Notified", upstream, notification })
      assert.deepStrictEqual(yield* catalog.freshness("tools"), { ttl: 0, silent: false, scope: "public" })
      of = stateless({})
      yield* open(upstream)
      assert.deepStrictEqual(yield* catalog.freshness("tools"), { ttl: Infinity, silent: true, scope: "private" })
    }))

  it.effect("that can't be read holds nobody up, and is left alone while its server isn't connected", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const one = scripted(
        instance("one", "one"),
        () => Effect.delay(Effect.succeed({ error: { code: -32603, message: "no" } }), 900)
      )
      const state = one.upstream.state
      let connected = true
      yield* open({
        ...one.upstream,
        state: () => connected ? state() : { ...state(), _tag: "connecting" as const }
      })
      for (let step = 0; step < 100; step++) {
        const settled = yield* Effect.forkChild(catalog.settled, { startImmediately: true })
        // No longer than the offers are made.
        yield* TestClock.adjust(100)
        assert.isDefined(settled.pollUnsafe(), `${step}`)
      }
      assert.isAtLeast(asked(one), 3)
      connected = false
      yield* TestClock.adjust("1 second")
      const before = asked(one)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(asked(one), before)
    }))

  it.effect("is read at the new address of a server that moved while it was read", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      const old = scripted(instance("one", "one"), () => Effect.never)
      yield* open(old.upstream)
      yield* publish({ _tag: "Closed", key: old.upstream.key })
      yield* open(server("one", () => ({}), handshake(telling)).upstream)
      assert.deepStrictEqual(names(catalog), ["one__t"])
    }))

  it.effect("is never asked for more often than ten times a second", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness({ maxAge: 0 })
      const brief = server("brief", () => ({ ttlMs: 1, cacheScope: "public" }), stateless())
      const silent = server("silent", () => ({}), handshake({ tools: {} }))
      for (const { upstream } of [brief, silent]) yield* open(upstream)
      for (let ms = 0; ms < 1_000; ms += 10) {
        yield* catalog.freshness("tools")
        yield* TestClock.adjust(10)
      }
      for (const each of [brief, silent]) {
        assert.isAtLeast(asked(each), 8)
        assert.isAtMost(asked(each), 12)
      }
    }))

  it.effect("that can't be read is asked for again, later each time, until it can", () =>
    Effect.gen(function*() {
      const { catalog, close, open } = yield* harness()
      let broken = true
      const one = scripted(instance("one", "one"), () =>
        Effect.succeed(
          broken
            ? { error: { code: -32603, message: "still starting" } }
            : { result: { tools: [{ name: "t", inputSchema: {} }] } }
        ), handshake(telling))
      yield* open(one.upstream)
      assert.include(catalog.problems()[0]?.reason, "still starting")
      yield* TestClock.adjust("1 minute")
      const soon = asked(one)
      assert.isAtLeast(soon, 5)
      assert.isAtMost(soon, 9)
      yield* TestClock.adjust("1 hour")
      assert.isAtMost(asked(one) - soon, 121)
      broken = false
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(names(catalog), ["one__t"])
      assert.deepStrictEqual(catalog.problems(), [])
      const last = asked(one)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(asked(one), last)
      // The pauses begin anew, and end with the server.
      broken = true
      yield* open(one.upstream)
      yield* TestClock.adjust("2 seconds")
      assert.isAtLeast(asked(one) - last, 2)
      yield* close(one.upstream)
      const end = asked(one)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(asked(one), end)
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

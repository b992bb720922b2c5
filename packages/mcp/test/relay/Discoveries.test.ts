import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import type { HealthStatus } from "@portolan/core/Health"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, HashMap, PubSub, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import type { ListKind, Offer, OfferKind } from "../../src/catalog/ToolCatalog.ts"
import type { Era } from "../../src/Era.ts"
import type { Fields } from "../../src/JsonRpc.ts"
import type { Exchange } from "../../src/relay/calls/Exchange.ts"
import * as Discoveries from "../../src/relay/lists/Discoveries.ts"
import * as Callers from "../../src/relay/sessions/Callers.ts"
import { both, harness, modern, text } from "./Harness.ts"

interface Instance {
  readonly id: string
  readonly service?: string
  readonly source?: string
  readonly version?: string
  readonly tags?: ReadonlyArray<string>
  readonly status?: HealthStatus
  readonly changedAt?: number
  readonly missingSince?: number
}

interface Offering {
  readonly kind?: OfferKind
  readonly name: string
  readonly service?: string
  readonly definition?: Fields
  readonly of: ReadonlyArray<string>
}

const source = (name: string, lastHeard: number, state: "connected" | "stale" = "connected"): Catalog.SourceState => ({
  name,
  type: name,
  state,
  since: 0,
  lastHeard,
  instances: 1,
  rejected: [],
  reconnects: 0,
  held: 0,
  lastError: undefined
})

const exchange = (era: Era): Exchange => ({
  client: {
    era,
    protocolVersion: era === "stateless" ? "2026-07-28" : "2025-11-25",
    info: undefined,
    capabilities: {},
    principal: undefined,
    caller: Callers.make(undefined, {})
  },
  streams: false,
  notify: () => {},
  logLevel: undefined
})

/** The part over instances and offers by hand. Sources: `one` first, heard at 5,000, and `two`, lost at 3,000. */
const discoveries = Effect.fnUntraced(function*(given: {
  readonly instances: ReadonlyArray<Instance>
  readonly offers: ReadonlyArray<Offering>
  readonly pageSize?: number
}) {
  const keys = new Map(given.instances.map(({ id, source = "one" }) => [id, Catalog.key(source, id)]))
  const statuses = new Map(given.instances.map(({ id, status = "healthy" }) => [keys.get(id), status]))
  const entries = HashMap.fromIterable(given.instances.map((
    { changedAt = 1_000, id, missingSince, service = "svc", source = "one", tags = [], version = "1.0.0" }
  ): readonly [Catalog.InstanceKey, Catalog.CatalogEntry] => [Catalog.key(source, id), {
    key: Catalog.key(source, id),
    instance: ServiceInstance.make({
      id,
      service,
      version,
      tags,
      endpoint: { transport: "streamable-http", url: `http://${id}.invalid/mcp` },
      metadata: { password: "hunter2" }
    }),
    source,
    alsoIn: [],
    firstSeen: 1_000,
    changedAt,
    missingSince
  }]))
  const listed = (kind: OfferKind): ReadonlyArray<Offer> =>
    given.offers.filter((offer) => (offer.kind ?? "tools") === kind).map((
      { definition, name, of, service = "svc" }
    ) => ({
      publicName: name,
      name,
      service,
      definition: {
        [kind === "resources" ? "uri" : kind === "resourceTemplates" ? "uriTemplate" : "name"]: name,
        ...definition
      },
      target: {},
      repeatable: false,
      readOnly: false,
      instances: () => of.flatMap((id) => keys.get(id) ?? []),
      has: () => true
    })).sort((a, b) => a.publicName < b.publicName ? -1 : 1)
  const settings = { pageSize: given.pageSize ?? 1_000 }
  const updates = yield* PubSub.unbounded<Catalog.CatalogUpdate>()
  const changes = yield* PubSub.unbounded<ReadonlySet<ListKind>>()
  const fleet: Catalog.Catalog = {
    ...Catalog.empty,
    revision: 7,
    entries,
    sources: new Map([["one", source("one", 5_000)], ["two", source("two", 3_000, "stale")]])
  }
  const part = yield* Discoveries.make({
    discovery: { catalog: () => fleet, updates: Stream.fromPubSub(updates) },
    health: { status: (key) => statuses.get(key) ?? "unknown" },
    catalog: { version: () => 3, changes: Stream.fromPubSub(changes) },
    destination: {
      settledFor: () => Effect.void,
      offersFor: () => ({ list: listed, find: () => undefined, revision: () => 0 })
    },
    settings,
    identity: { who: "us" }
  })
  const ask = (params: Fields = {}, era: Era = "handshake") =>
    part.methods["discovery/discover"]!.answer(
      { jsonrpc: "2.0", id: 1, method: "discovery/discover", params },
      exchange(era)
    )
  return {
    ask,
    settings,
    part,
    changed: PubSub.publish(changes, new Set<ListKind>(["tools"])),
    found: (params: Fields = {}) =>
      Effect.map(ask(params), (reply) => {
        assert.isTrue("result" in reply, JSON.stringify(reply))
        return "result" in reply ? reply.result : {}
      })
  }
})

const nameOf = (item: Fields) => item["name"] ?? item["uri"] ?? item["uriTemplate"]

const itemsOf = (result: Fields, kind: OfferKind): ReadonlyArray<Fields> => {
  const items = result[kind]
  assert.isTrue(Array.isArray(items))
  return Array.isArray(items) ? items : []
}

const namesOf = (result: Fields, kind: OfferKind = "tools") => itemsOf(result, kind).map(nameOf)

const weather = {
  instances: [
    { id: "w1", service: "weather", version: "1.2.0", tags: ["prod", "eu"], changedAt: 2_000 },
    { id: "w2", service: "weather", version: "1.10.0", tags: ["prod", "us"], source: "two", status: "down" as const },
    { id: "f1", service: "files", tags: ["prod"], status: "unhealthy" as const, missingSince: 4_000 }
  ],
  offers: [
    { name: "weather__forecast", service: "weather", definition: { description: "Tells RAIN" }, of: ["w1", "w2"] },
    { name: "weather__history", service: "weather", of: ["w2"] },
    { name: "files__read", service: "files", definition: { inputSchema: { type: "object" } }, of: ["f1"] },
    {
      kind: "resources" as const,
      name: "file:///a",
      service: "files",
      definition: { title: "Rain records" },
      of: ["f1"]
    },
    { kind: "resourceTemplates" as const, name: "file:///{path}", service: "files", of: ["f1"] },
    { kind: "prompts" as const, name: "weather__ask", service: "weather", of: ["w1"] },
    { name: "gone__tool", service: "gone", of: [] }
  ]
}

const kinds = ["tools", "resources", "resourceTemplates", "prompts"] as const

describe("discovery/discover", () => {
  it.effect("tells of all that is offered where it comes from", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(9_000)
      const { ask, found } = yield* discoveries(weather)
      const result = yield* found()
      assert.deepStrictEqual(namesOf(result), ["files__read", "weather__forecast", "weather__history"])
      assert.deepStrictEqual(itemsOf(result, "tools")[0], {
        name: "files__read",
        inputSchema: { type: "object" },
        service: "files",
        available: false,
        lastSeen: "1970-01-01T00:00:04.000Z",
        source: "one",
        tags: ["prod"],
        lastUpdate: "1970-01-01T00:00:01.000Z",
        version: "1.0.0",
        instances: 1
      })
      assert.deepStrictEqual(itemsOf(result, "tools")[1], {
        name: "weather__forecast",
        description: "Tells RAIN",
        service: "weather",
        available: true,
        lastSeen: "1970-01-01T00:00:09.000Z",
        source: "one",
        tags: ["eu", "prod", "us"],
        lastUpdate: "1970-01-01T00:00:02.000Z",
        version: "1.10.0",
        instances: 2
      })
      assert.deepStrictEqual(itemsOf(result, "tools")[2]?.["lastSeen"], "1970-01-01T00:00:03.000Z")
      assert.deepStrictEqual(namesOf(result, "resources"), ["file:///a"])
      assert.deepStrictEqual(namesOf(result, "resourceTemplates"), ["file:///{path}"])
      assert.deepStrictEqual(namesOf(result, "prompts"), ["weather__ask"])
      assert.strictEqual(result["version"], "7.3")
      assert.strictEqual(result["lastUpdate"], "1970-01-01T00:00:09.000Z")
      assert.notInclude(JSON.stringify(result), "hunter2")
      const other = yield* discoveries({ ...weather, offers: [{ name: "t", service: "weather", of: ["w2", "w1"] }] })
      assert.strictEqual(itemsOf(yield* other.found(), "tools")[0]?.["source"], "one")
      assert.notProperty(result, "resultType")
      const modern = yield* ask({}, "stateless")
      assert.deepInclude("result" in modern ? modern.result : {}, {
        resultType: "complete",
        ttlMs: 0,
        cacheScope: "private",
        _meta: { who: "us" }
      })
    }))

  it.effect("filters by what the instances are, and tells of those alone", () =>
    Effect.gen(function*() {
      const { found } = yield* discoveries(weather)
      const names = (params: Fields) => Effect.map(found(params), (result) => namesOf(result))
      assert.deepStrictEqual(yield* names({ tags: ["prod", "us"] }), ["weather__forecast", "weather__history"])
      assert.deepStrictEqual(yield* names({ tags: "us" }), ["weather__forecast", "weather__history"])
      assert.deepStrictEqual(yield* names({ tags: ["eu", "us"] }), [])
      assert.deepStrictEqual(yield* names({ filters: { source: "two" } }), ["weather__forecast", "weather__history"])
      assert.deepStrictEqual(yield* names({ source: ["o*", "none"] }), ["files__read", "weather__forecast"])
      // One can be called although the other can't; in the other registry none can.
      assert.deepStrictEqual(yield* names({ available: true }), ["weather__forecast"])
      assert.deepStrictEqual(yield* names({ available: false }), ["files__read", "weather__history"])
      assert.deepStrictEqual(yield* names({ available: false, source: "two" }), [
        "weather__forecast",
        "weather__history"
      ])
      const [forecast] = itemsOf(yield* found({ source: "two", search: "forecast" }), "tools")
      assert.deepInclude(forecast, { available: false, source: "two", tags: ["prod", "us"], instances: 1 })
    }))

  it.effect("searches in what it shows, all words, in any case", () =>
    Effect.gen(function*() {
      const { found } = yield* discoveries(weather)
      const rain = yield* found({ search: " rain " })
      assert.deepStrictEqual([namesOf(rain), namesOf(rain, "resources")], [["weather__forecast"], ["file:///a"]])
      assert.deepStrictEqual(namesOf(yield* found({ filters: { search: "Rain EU" } })), ["weather__forecast"])
      assert.deepStrictEqual(namesOf(yield* found({ search: "rain history" })), [])
      assert.deepStrictEqual(namesOf(yield* found({ search: "hunter2" })), [])
      assert.strictEqual(namesOf(yield* found({ search: "" })).length, 3)
    }))

  it.effect.each<readonly [params: Fields, message: string]>([
    [{ tag: "prod" }, "tag: unknown filter; did you mean \"tags\"?"],
    [{ filters: { metadata: {} } }, "filters.metadata: unknown filter"],
    [{ filters: [] }, "filters: expected an object"],
    [{ available: "yes" }, "available: expected boolean"],
    [{ filters: { available: 1 } }, "filters.available: expected boolean"],
    [{ tags: [1] }, "tags.0: expected string"],
    [{ search: 7 }, "search: expected string"],
    [{ search: "x".repeat(257) }, "search: expected at most 256 characters"],
    [{ tags: Array(65).fill("x") }, "tags: expected at most 64 patterns"],
    [{ tags: ["a"], filters: { tags: ["b"] } }, "filters.tags: it is given twice"],
    [{ cursor: 5 }, "cursor: expected the nextCursor of an earlier page"],
    [{ cursor: "e30" }, "cursor: expected the nextCursor of an earlier page"],
    [{ cursor: "!" }, "cursor: expected the nextCursor of an earlier page"]
  ])("refuses %j with a line that says what is wrong", ([params, message]) =>
    Effect.gen(function*() {
      const { ask } = yield* discoveries(weather)
      for (const era of ["handshake", "stateless"] as const) {
        assert.deepStrictEqual(yield* ask(params, era), { error: { code: -32602, message } })
      }
    }))

  it.effect("a cursor belongs to its filters", () =>
    Effect.gen(function*() {
      const { ask, found, settings } = yield* discoveries({ ...weather, pageSize: 1 })
      const { nextCursor: cursor } = yield* found({ tags: ["prod"], available: false })
      assert.deepStrictEqual(namesOf(yield* found({ available: false, filters: { tags: ["prod"] }, cursor })), [
        "weather__history"
      ])
      assert.deepStrictEqual(yield* ask({ tags: ["prod"], cursor }), {
        error: { code: -32602, message: "cursor: it belongs to a page of other filters" }
      })
      // The size of a page may change between two.
      settings.pageSize = 100
      assert.notProperty(yield* found({ tags: ["prod"], available: false, cursor }), "nextCursor")
    }))

  it.effect("tells when something changed", () =>
    Effect.gen(function*() {
      const { changed, found } = yield* discoveries(weather)
      yield* TestClock.setTime(60_000)
      assert.strictEqual((yield* found())["lastUpdate"], "1970-01-01T00:00:00.000Z")
      yield* changed
      yield* Effect.yieldNow
      assert.strictEqual((yield* found())["lastUpdate"], "1970-01-01T00:01:00.000Z")
    }))

  const offers = fc.uniqueArray(
    fc.record({
      kind: fc.constantFrom<OfferKind>(...kinds),
      name: fc.string({ minLength: 1, maxLength: 6 }),
      of: fc.constant(["a"])
    }),
    { selector: ({ kind, name }) => `${kind} ${name}`, maxLength: 20 }
  )

  it("gives each item once in pages of any size", () =>
    fc.assert(
      fc.asyncProperty(offers, fc.integer({ min: 1, max: 6 }), (offers, pageSize) =>
        Effect.gen(function*() {
          const { found } = yield* discoveries({ instances: [{ id: "a" }], offers, pageSize })
          const seen: Array<string> = []
          let cursor: unknown
          for (let page = 0; page <= offers.length; page++) {
            const result = yield* found(cursor === undefined ? {} : { cursor })
            const items = kinds.flatMap((kind) => namesOf(result, kind).map((name) => `${kind} ${String(name)}`))
            seen.push(...items)
            cursor = result["nextCursor"]
            if (cursor === undefined) break
            assert.strictEqual(items.length, pageSize)
          }
          assert.isUndefined(cursor)
          assert.deepStrictEqual(seen.toSorted(), offers.map(({ kind, name }) => `${kind} ${name}`).toSorted())
        }).pipe(Effect.scoped, Effect.runPromise)),
      { numRuns: 200 }
    ))

  it.live("is announced and answered in both eras", () =>
    Effect.gen(function*() {
      const { initialize, mark, post, stateless } = yield* harness({
        servers: [{ id: "a", answer: () => Effect.succeed(text("")) }],
        offers: [{ name: "one" }, { kind: "resources", name: "file:///x" }]
      })
      const { answer, headers } = yield* initialize()
      assert.deepInclude(answer.messages[0]?.result?.["capabilities"], {
        experimental: { "dev.portolan/discovery": {} }
      })
      const discover = yield* stateless("server/discover")
      assert.deepInclude(discover.messages[0]?.result?.["capabilities"], {
        extensions: { "dev.portolan/discovery": {} }
      })
      const ask = (params: Fields) =>
        Effect.map(
          post({ jsonrpc: "2.0", id: 2, method: "discovery/discover", params }, headers),
          ({ messages }) => messages[0]?.result ?? {}
        )
      assert.deepStrictEqual(namesOf(yield* ask({ available: true })), ["svc__one"])
      yield* mark("a", "draining")
      assert.deepStrictEqual(namesOf(yield* ask({ available: true })), [])
      assert.deepStrictEqual(namesOf(yield* ask({ available: false }), "resources"), ["file:///x"])
      const modernly = yield* stateless("discovery/discover", { filters: { source: "memory" } })
      assert.deepInclude(itemsOf(modernly.messages[0]?.result ?? {}, "tools")[0], {
        name: "svc__one",
        source: "memory",
        available: false
      })
      const wrong = yield* stateless("discovery/discover", { filters: { available: "no" } })
      assert.strictEqual(wrong.messages[0]?.error?.code, -32602)
      const mismatch = yield* post(
        { jsonrpc: "2.0", id: 1, method: "discovery/discover", params: {} },
        { ...both, ...modern("tools/list") }
      )
      assert.strictEqual(mismatch.status, 400)
    }))
})

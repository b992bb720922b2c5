import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Clock, Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Listing from "../src/catalog/Listing.ts"
import * as Merging from "../src/catalog/Merging.ts"
import * as Naming from "../src/catalog/Naming.ts"
import * as UriTemplate from "../src/catalog/UriTemplate.ts"
import type { Era } from "../src/Era.ts"
import type { Fields } from "../src/JsonRpc.ts"

import type { Upstream } from "../src/upstream/Upstream.ts"
import { harness, instance, names, profile, scripted, toolsOnly } from "./Catalogs.ts"

describe("ToolCatalog", () => {
  it.effect("named otherwise, lists one change, and still finds the names of before", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      yield* open(scripted(instance("w1", "weather"), toolsOnly(() => ["now"])).upstream)
      const before = catalog.find("tools", "weather__now")
      const revision = catalog.revision("tools")
      const rename = (separator: string) => catalog.reconfigure({ naming: { separator } })
      yield* rename("-")
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(catalog), ["weather-now"])
      assert.strictEqual(catalog.revision("tools"), revision + 1)
      assert.strictEqual(catalog.find("tools", "weather__now")?.target, before?.target)
      // At no moment is a name of now or just before unknown.
      yield* rename("__")
      for (let ms = 0; ms < 50; ms++) {
        assert.isDefined(catalog.find("tools", "weather__now"), `${ms} ms`)
        assert.isDefined(catalog.find("tools", "weather-now"), `${ms} ms`)
        yield* TestClock.adjust(1)
      }
      assert.deepStrictEqual(names(catalog), ["weather__now"])
      yield* catalog.reconfigure({ naming: { separator: "__" } })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(catalog.revision("tools"), revision + 2)
    }))

  it.effect("keeps what an instance offers that moves from one registry to another", () =>
    Effect.gen(function*() {
      const { catalog, close, emit, open } = yield* harness()
      const record = instance("w1", "weather")
      const old = scripted(record, toolsOnly(() => ["now"])).upstream
      yield* open(old)
      const offer = catalog.find("tools", "weather__now")
      const revision = catalog.revision("tools")
      const moved = (id: string, url: string): Upstream => {
        const made = scripted(
          ServiceInstance.make({ ...record, id, endpoint: { transport: "streamable-http", url } }),
          () => Effect.never
        )
        return { ...made.upstream, key: Catalog.key("other", id) }
      }
      const same = moved("w1", "http://w1/mcp")
      const accepts = (upstream: Upstream) =>
        offer?.target.accepts?.({
          key: upstream.key,
          instance: upstream.instance(),
          source: "other",
          alsoIn: [],
          firstSeen: 0,
          changedAt: 0,
          missingSince: undefined
        })
      // Routable at once, though nobody has asked it anything; another address is another server.
      assert.isTrue(accepts(same))
      assert.isFalse(accepts(moved("w1", "http://elsewhere/mcp")))
      assert.isFalse(accepts(moved("w2", "http://w1/mcp")))
      yield* emit(same)
      yield* close(old)
      assert.deepStrictEqual(names(catalog), ["weather__now"])
      assert.strictEqual(catalog.revision("tools"), revision)
      assert.strictEqual(catalog.find("tools", "weather__now"), offer)
      assert.deepStrictEqual(offer?.instances(), [same.key])
    }))

  it.effect("merges replicas, and routes to exactly those that list a tool", () =>
    Effect.gen(function*() {
      const { catalog, close, open } = yield* harness()
      const one = scripted(instance("w1", "weather"), toolsOnly(() => ["get_forecast"])).upstream
      const two = scripted(instance("w2", "weather", "1.1.0"), toolsOnly(() => ["get_forecast", "get_alerts"])).upstream
      yield* open(one)
      yield* open(two)
      assert.deepStrictEqual(names(catalog), ["weather__get_alerts", "weather__get_forecast"])
      assert.deepStrictEqual(catalog.find("tools", "weather__get_forecast")?.instances().toSorted(), [one.key, two.key])
      assert.deepStrictEqual(catalog.find("tools", "weather__get_alerts")?.instances(), [two.key])
      assert.isUndefined(catalog.find("tools", "get_alerts"))
      yield* close(two)
      assert.deepStrictEqual(names(catalog), ["weather__get_forecast"])
    }))

  it.effect("takes an offer to be what all say of it who list it", () =>
    Effect.gen(function*() {
      const { catalog, close, open } = yield* harness({ groups: { all: ["one", "two"] } })
      const hinted = (id: string, service: string, version: string, annotations: Fields) =>
        scripted(instance(id, service, version), (request) =>
          Effect.succeed({
            result: request.method === "tools/list"
              ? { tools: [{ name: "t", inputSchema: { type: "object" }, annotations }] }
              : {}
          })).upstream
      const told = () => {
        const { readOnly, repeatable } = catalog.list("tools")[0]!
        return { readOnly, repeatable }
      }
      yield* open(hinted("a", "one", "1.1.0", { readOnlyHint: true }))
      assert.deepStrictEqual(told(), { readOnly: true, repeatable: true })
      // In the middle of an upgrade to a version that promises more.
      const old = hinted("b", "one", "1.0.0", {})
      yield* open(old)
      assert.deepStrictEqual(told(), { readOnly: false, repeatable: false })
      yield* close(old)
      assert.deepStrictEqual(told(), { readOnly: true, repeatable: true })
      // Another member of its group.
      yield* open(hinted("c", "two", "1.0.0", { idempotentHint: true }))
      assert.deepStrictEqual(told(), { readOnly: false, repeatable: true })
    }))

  it.effect("keeps the target of an offer while it lives, and its revision tells of new replicas", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      yield* open(scripted(instance("w1", "weather"), toolsOnly(() => ["a"])).upstream)
      const target = catalog.find("tools", "weather__a")?.target
      const revision = target?.revision?.()
      yield* open(scripted(instance("w2", "weather"), toolsOnly(() => ["a"])).upstream)
      assert.strictEqual(catalog.find("tools", "weather__a")?.target, target)
      assert.notStrictEqual(target?.revision?.(), revision)
    }))

  it.effect("tells of a change once, and not of what changes no list", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      const told: Array<ReadonlyArray<string>> = []
      yield* catalog.changes.pipe(
        Stream.runForEach((kinds) => Effect.sync(() => told.push(Array.from(kinds)))),
        Effect.forkScoped
      )
      yield* TestClock.adjust("1 second")
      let tools = ["a"]
      const one = scripted(instance("w1", "weather"), toolsOnly(() => tools))
      yield* open(one.upstream)
      assert.deepStrictEqual(told, [["tools"]])
      const list = catalog.list("tools")
      // A second replica, and a notice after which the list is the same.
      yield* open(scripted(instance("w2", "weather"), toolsOnly(() => ["a"])).upstream)
      const listChanged = { jsonrpc: "2.0", method: "notifications/tools/list_changed" } as const
      yield* publish({ _tag: "Notified", upstream: one.upstream, notification: listChanged })
      assert.deepStrictEqual(told, [["tools"]])
      assert.strictEqual(catalog.list("tools"), list)
      tools = ["a", "b"]
      yield* publish({ _tag: "Notified", upstream: one.upstream, notification: listChanged })
      assert.deepStrictEqual(told, [["tools"], ["tools"]])
      assert.deepStrictEqual(names(catalog), ["weather__a", "weather__b"])
    }))

  it.effect("tells once of servers that come together and answer at different times", () =>
    Effect.gen(function*() {
      const { catalog, emit } = yield* harness()
      const told: Array<number> = []
      yield* catalog.changes.pipe(
        Stream.runForEach(() => Effect.map(Clock.currentTimeMillis, (now) => void told.push(now))),
        Effect.forkScoped
      )
      yield* TestClock.adjust("1 second")
      const answering = (id: string, ms: number) =>
        scripted(instance(id, id), (request) =>
          Effect.delay(toolsOnly(() => [id])(request), request.method === "tools/list" ? ms : 0)).upstream
      // Within 100 ms of the change, whoever is slower.
      for (const [id, ms] of [["a", 1], ["b", 30], ["c", 60], ["slow", 300]] as const) {
        yield* emit(answering(id, ms))
      }
      for (let at = 0; at < 100; at += 5) {
        yield* TestClock.adjust(5)
      }
      assert.deepStrictEqual(names(catalog), ["a__a", "b__b", "c__c"])
      assert.strictEqual(told.length, 1)
      assert.isBelow((told[0] ?? 0) - 1_000, 100)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(catalog), ["a__a", "b__b", "c__c", "slow__slow"])
      assert.strictEqual(told.length, 2)
      // Of one that is there already nobody waits for anything.
      yield* emit(answering("d", 1))
      for (let at = 0; at < 40; at += 5) {
        yield* TestClock.adjust(5)
      }
      assert.strictEqual(told.length, 3)
    }))

  it.effect("joins the services of a group, each by its own highest line", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness({ groups: { weather: ["met-office", "weather-eu"] } })
      const eu =
        scripted(instance("e1", "weather-eu", "3.0.0"), toolsOnly(() => ["get_forecast", "get_alerts"])).upstream
      const met = scripted(instance("m1", "met-office", "1.0.0"), toolsOnly(() => ["get_forecast"])).upstream
      const old = scripted(instance("m0", "met-office", "0.9.0"), toolsOnly(() => ["get_forecast"])).upstream
      const other = scripted(instance("o1", "other"), toolsOnly(() => ["get_forecast"])).upstream
      for (const upstream of [eu, met, old, other]) yield* open(upstream)
      assert.deepStrictEqual(names(catalog), ["other__get_forecast", "weather__get_alerts", "weather__get_forecast"])
      const forecast = catalog.find("tools", "weather__get_forecast")
      assert.deepStrictEqual(forecast?.instances().toSorted(), [eu.key, met.key])
      // The router looks at all services for it, and its rules may name the group or a member.
      assert.isUndefined(forecast?.target.service)
      assert.deepStrictEqual(forecast?.target.services, ["weather", "met-office", "weather-eu"])
      assert.deepStrictEqual(forecast?.target.names, [
        "weather.get_forecast",
        "met-office.get_forecast",
        "weather-eu.get_forecast",
        "get_forecast"
      ])
      const alerts = catalog.find("tools", "weather__get_alerts")
      assert.strictEqual(alerts?.target.service, "weather-eu")
      assert.deepStrictEqual(alerts?.target.services, ["weather", "weather-eu"])
      assert.deepStrictEqual(catalog.named("tools", "get_forecast").map(({ service }) => service), ["other", "weather"])
    }))

  it.effect("groups and aliases change under way", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness({ groups: { weather: ["a"] } })
      const upstream = scripted(instance("a1", "a"), toolsOnly(() => ["get_forecast"])).upstream
      yield* open(upstream)
      yield* open(scripted(instance("w1", "weather"), toolsOnly(() => ["get_forecast"])).upstream)
      assert.deepStrictEqual(names(catalog), ["weather__get_forecast"])
      assert.strictEqual(catalog.find("tools", "weather__get_forecast")?.instances().length, 2)
      assert.deepStrictEqual(catalog.offering("weather.forecast"), [])
      yield* catalog.reconfigure({ aliases: { "weather.forecast": ["get_forecast"] } })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(catalog), ["a__get_forecast", "weather__get_forecast"])
      const weather = catalog.find("tools", "weather__get_forecast")
      assert.strictEqual(weather?.target.service, "weather")
      assert.strictEqual(weather?.instances().length, 1)
      assert.deepStrictEqual(catalog.offering("weather.forecast").map(({ service }) => service), ["a", "weather"])
      // The name before is still understood.
      yield* catalog.reconfigure({ groups: { sky: ["a"] } })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(names(catalog), ["sky__get_forecast", "weather__get_forecast"])
      assert.strictEqual(catalog.find("tools", "a__get_forecast")?.publicName, "sky__get_forecast")
      assert.deepStrictEqual(catalog.offering("weather.forecast"), [])
      yield* catalog.reconfigure({ aliases: { "weather.forecast": ["get_forecast"] } })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(catalog.offering("weather.*").length, 2)
      assert.strictEqual(catalog.offering("get_forecast").length, 2)
    }))

  it.effect("asks a server only when it is connected or says that something changed", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      const { asked, upstream } = scripted(instance("w1", "weather"), toolsOnly(() => ["a"]))
      yield* open(upstream)
      const before = asked.length
      for (let i = 0; i < 20; i++) {
        yield* catalog.settled
        assert.strictEqual(catalog.list("tools").length, 1)
      }
      assert.strictEqual(asked.length, before)
    }))

  it.effect("tells what is listed upstream and not offered, and why", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness({ naming: { naming: "none" } })
      const answer = toolsOnly(() => ["search"])
      yield* open(scripted(instance("a1", "a"), answer).upstream)
      yield* open(scripted(instance("b1", "b"), answer).upstream)
      assert.deepStrictEqual(names(catalog), ["search"])
      assert.strictEqual(catalog.find("tools", "search")?.service, "a")
      // Programs that choose by what a server can do still find both.
      assert.deepStrictEqual(catalog.named("tools", "search").map(({ service }) => service), ["a", "b"])
      assert.deepStrictEqual(
        catalog.hidden().map(({ publicName, reason, service }) => [publicName, service, reason]),
        [["search", "b", "a has the name"]]
      )
    }))

  it.effect("announced is listed: a lost connection takes nothing away", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      const { upstream } = scripted(instance("w1", "weather"), toolsOnly(() => ["a"]))
      yield* open(upstream)
      yield* publish({ _tag: "Failed", upstream, reason: "connection refused" })
      assert.deepStrictEqual(names(catalog), ["weather__a"])
    }))

  it.effect("offers the highest line only, once one of its servers was asked", () =>
    Effect.gen(function*() {
      const { announce, catalog, open } = yield* harness()
      yield* open(scripted(instance("w1", "weather", "1.9.0"), toolsOnly(() => ["old"])).upstream)
      const next = scripted(instance("w2", "weather", "2.0.0"), toolsOnly(() => ["new"])).upstream
      yield* announce(next)
      assert.deepStrictEqual(names(catalog), ["weather__old"])
      yield* open(next)
      assert.deepStrictEqual(names(catalog), ["weather__new"])
    }))

  it.effect("the first list waits for servers that connect, but not for ever", () =>
    Effect.gen(function*() {
      const { announce, catalog, open } = yield* harness({ settleTimeout: 2_000 })
      yield* open(scripted(instance("w1", "weather"), toolsOnly(() => ["a"])).upstream)
      yield* announce(scripted(instance("w2", "slow"), toolsOnly(() => ["a"])).upstream)
      const wait = yield* Effect.forkChild(catalog.settled, { startImmediately: true })
      yield* TestClock.adjust("1900 millis")
      assert.isUndefined(wait.pollUnsafe())
      yield* TestClock.adjust("200 millis")
      yield* Fiber.join(wait)
      // Nor does any later one wait for it.
      const later = yield* Effect.forkChild(catalog.settled, { startImmediately: true })
      assert.isDefined(later.pollUnsafe())
    }))

  it.effect("a broken list is reported, and the last good one stays", () =>
    Effect.gen(function*() {
      const { catalog, open, publish } = yield* harness()
      let cursor: string | undefined
      const { upstream } = scripted(instance("w1", "weather"), (request) =>
        Effect.succeed({
          result: request.method === "tools/list"
            ? { tools: [{ name: "a" }], ...(cursor === undefined ? {} : { nextCursor: cursor }) }
            : { resources: [], resourceTemplates: [], prompts: [] }
        }))
      yield* open(upstream)
      cursor = "again"
      yield* publish({
        _tag: "Notified",
        upstream,
        notification: { jsonrpc: "2.0", method: "notifications/tools/list_changed" }
      })
      assert.deepStrictEqual(names(catalog), ["weather__a"])
      assert.deepStrictEqual(catalog.problems().map((problem) => problem.reason), [
        "tools/list: the server repeats its cursor"
      ])
    }))

  it.effect("tells in one line what a server says of its list in many", () =>
    Effect.gen(function*() {
      const { catalog, open } = yield* harness()
      yield* open(
        scripted(
          instance("w1", "weather"),
          () => Effect.succeed({ error: { code: 7, message: `a\n\u001b b${"c".repeat(10_000)}` } })
        ).upstream
      )
      const [problem] = catalog.problems()
      assert.match(problem?.reason ?? "", /^tools\/list: error 7: a bc{50}/)
      assert.isBelow(problem?.reason.length ?? Infinity, 3 * 400)
    }))
})

describe("Listing", () => {
  const paged = (total: number, size: number) => {
    const all = Array.from({ length: total }, (_, index) => ({ name: `tool-${index}` }))
    return scripted(instance("p", "paged"), (request) => {
      const start = Number(request.params?.["cursor"] ?? 0)
      const next = start + size
      return Effect.succeed({
        result: { tools: all.slice(start, next), ...(next < total ? { nextCursor: String(next) } : {}) }
      })
    })
  }

  it.effect("follows pages to their end", () =>
    Effect.gen(function*() {
      const { asked, upstream } = paged(250, 100)
      assert.strictEqual((yield* Listing.read(upstream, "tools")).items.size, 250)
      assert.strictEqual(asked.length, 3)
    }))

  it.effect("takes an empty cursor for one in the stateless era, and for the end before", () =>
    Effect.gen(function*() {
      const read = (era: Era, next: (cursor: unknown) => string | undefined) => {
        const { upstream } = scripted(instance("p", "paged"), ({ params: { cursor } = {} }) => {
          const nextCursor = next(cursor)
          const tools = [{ name: `after ${String(cursor)}` }]
          return Effect.succeed({ result: { tools, ...(nextCursor === undefined ? {} : { nextCursor }) } })
        }, { ...profile, era })
        return Effect.map(Listing.read(upstream, "tools"), ({ items }) => Array.from(items.keys()))
      }
      const once = (cursor: unknown) => cursor === undefined ? "" : undefined
      assert.deepStrictEqual(yield* read("stateless", once), ["after undefined", "after "])
      assert.deepStrictEqual(yield* read("handshake", once), ["after undefined"])
      for (const again of ["", "x"]) {
        assert.include((yield* Effect.flip(read("stateless", () => again))).reason, "repeats its cursor")
      }
    }))

  it.effect("refuses more pages and more items than its limits", () =>
    Effect.gen(function*() {
      const { upstream } = paged(1_000, 10)
      const pages = yield* Effect.flip(Listing.read(upstream, "tools", { pages: 5, items: 9_999, timeout: 1_000 }))
      assert.include(pages.reason, "more than 5 pages")
      const items = yield* Effect.flip(Listing.read(upstream, "tools", { pages: 999, items: 99, timeout: 1_000 }))
      assert.include(items.reason, "more than 99 items")
    }))

  it.effect("gives up on a page that doesn't come", () =>
    Effect.gen(function*() {
      const { upstream } = scripted(instance("h", "hangs"), () => Effect.never)
      const reading = yield* Effect.forkChild(Effect.flip(Listing.read(upstream, "tools")), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      assert.include((yield* Fiber.join(reading)).reason, "no answer within 10s")
    }))
})

describe("Naming", () => {
  const named = (service: string, name: string, precedence = 0) => ({ service, name, precedence })
  const table = (items: ReadonlyArray<Naming.Named>, naming: Naming.NamingOptions["naming"]) =>
    Naming.assign(items, { ...Naming.defaults, naming }).map(({ item, publicName, winner }) => [
      item.service,
      publicName,
      winner?.service
    ])

  it("prefix, conflict and none", () => {
    const items = [named("b", "search", 1), named("a", "search", 2), named("a", "we ird/name")]
    assert.deepStrictEqual(table(items, "prefix"), [
      ["a", "a__search", undefined],
      ["a", "a__we_ird_name", undefined],
      ["b", "b__search", undefined]
    ])
    assert.deepStrictEqual(table(items, "conflict"), [
      ["a", "a__search", undefined],
      ["b", "b__search", undefined],
      ["a", "we_ird_name", undefined]
    ])
    assert.deepStrictEqual(table(items, "none"), [
      ["b", "search", undefined],
      ["a", "search", "b"],
      ["a", "we_ird_name", undefined]
    ])
  })

  it("public names are unique, allowed and short enough, in any order of the items", () => {
    const item = fc.record({
      service: fc.string({ minLength: 1, maxLength: 8 }),
      name: fc.string({ minLength: 1, maxLength: 40 }),
      precedence: fc.nat(3)
    })
    fc.assert(fc.property(
      fc.uniqueArray(item, { selector: ({ name, service }) => JSON.stringify([service, name]) }),
      fc.constantFrom("prefix", "conflict", "none"),
      fc.integer({ min: 16, max: 64 }),
      (items, naming, maxLength) => {
        const options = { naming, separator: "__", maxLength } as const
        const assigned = Naming.assign(items, options)
        const won = assigned.filter(({ winner }) => winner === undefined).map(({ publicName }) => publicName)
        assert.strictEqual(new Set(won).size, won.length)
        assert.strictEqual(assigned.length, items.length)
        for (const { publicName } of assigned) assert.match(publicName, /^[A-Za-z0-9_.-]{1,64}$/)
        for (const { publicName } of assigned) assert.isAtMost(publicName.length, maxLength)
        assert.deepStrictEqual(Naming.assign(items.toReversed(), options), assigned)
      }
    ))
  })
})

describe("Merging", () => {
  const listed = (
    id: string,
    version: string,
    tools: Record<string, Fields>,
    precedence = 0
  ): Merging.ListedInstance => ({
    key: Catalog.key("r", id),
    instance: instance(id, "s", version),
    precedence,
    lists: new Map([["tools", new Map(Object.entries(tools))]])
  })
  const view = (instances: ReadonlyArray<Merging.ListedInstance>) =>
    Object.fromEntries(
      Merging.merge(Merging.lines(instances), "tools").map(({ definition, keys, name }) => [
        name,
        [definition["from"], keys.size]
      ])
    )

  it("a definition comes from the highest version that has it", () => {
    assert.deepStrictEqual(
      view([
        listed("a", "1.2.0", { x: { from: "1.2" }, y: { from: "1.2" } }),
        listed("b", "1.10.0", { x: { from: "1.10" } }),
        listed("c", "1.10.0-rc.1", { x: { from: "rc" }, z: { from: "rc" } })
      ]),
      { x: ["1.10", 3], y: ["1.2", 1], z: ["rc", 1] }
    )
  })

  it("lines are majors, and minors below 1.0", () => {
    assert.deepStrictEqual(view([listed("a", "0.2.0", { x: {} }), listed("b", "0.3.1", { y: {} })]), {
      y: [undefined, 1]
    })
    assert.deepStrictEqual(view([listed("a", "latest", { x: {} }), listed("b", "v2", { y: {} })]), {
      y: [undefined, 1]
    })
  })
})

describe("Merging.lines", () => {
  const listed = (service: string, id: string, over: Partial<Merging.ListedInstance> = {}): Merging.ListedInstance => ({
    key: Catalog.key("r", id),
    instance: instance(id, service, "1.0.0"),
    precedence: 0,
    lists: lists.get(id) ?? new Map(),
    ...over
  })
  const lists = new Map(["a", "b", "c"].map((id) => [id, new Map([["tools" as const, new Map([[id, {}]])]])]))

  it("those are kept of which no server differs, and say what they would say anew", () => {
    const before = Merging.lines([listed("s", "a"), listed("s", "b"), listed("t", "c")])
    const rows: ReadonlyArray<readonly [string, ReadonlyArray<Merging.ListedInstance>, ReadonlyArray<boolean>]> = [
      ["the same", [listed("s", "a"), listed("s", "b"), listed("t", "c")], [true, true]],
      ["one less", [listed("s", "a"), listed("t", "c")], [false, true]],
      ["asked anew", [listed("s", "a"), listed("s", "b", { lists: new Map() }), listed("t", "c")], [false, true]],
      ["another place", [listed("s", "a"), listed("s", "b", { precedence: 1 }), listed("t", "c")], [false, true]],
      [
        "another version",
        [listed("s", "a"), listed("s", "b", { instance: instance("b", "s", "2.0.0") }), listed("t", "c")],
        [false, true]
      ],
      ["another service", [listed("s", "a"), listed("t", "b"), listed("t", "c")], [false, false]]
    ]
    for (const [what, instances, kept] of rows) {
      const lines = Merging.lines(instances, before)
      assert.deepStrictEqual(lines.map((line) => before.includes(line)), kept, what)
      assert.deepStrictEqual(Merging.merge(lines, "tools"), Merging.merge(Merging.lines(instances), "tools"), what)
    }
  })
})

describe("UriTemplate", () => {
  it("recognises what a template makes", () => {
    const rows: ReadonlyArray<readonly [string, string, boolean]> = [
      ["demo://item/{id}", "demo://item/7", true],
      ["demo://item/{id}", "demo://item/7/x", false],
      ["file:///{+path}", "file:///a/b/c", true],
      ["demo://{a}{b}/end", "demo://xy/end", true],
      ["demo://search{?q,limit}", "demo://search?q=1", true],
      ["demo://search{?q,limit}", "demo://search", true],
      ["demo://a.b/{x}", "demo://aXb/1", false]
    ]
    for (const [template, uri, expected] of rows) {
      assert.strictEqual(UriTemplate.compile(template)?.(uri), expected, `${template} ${uri}`)
    }
    assert.isUndefined(UriTemplate.compile("demo://{open"))
    assert.isUndefined(UriTemplate.compile("{a}-".repeat(40)))
  })

  it("reads the values of variables", () => {
    const rows: ReadonlyArray<readonly [string, string, Record<string, string> | undefined]> = [
      ["demo://plain", "demo://plain", {}],
      ["demo://item/{id}", "demo://item/7%20a", { id: "7 a" }],
      ["demo://item/{id}", "demo://item/7%zz", { id: "7%zz" }],
      ["demo://item/{id}", "demo://other/7", undefined],
      ["file:///{+path}", "file:///a/b/c.txt", { path: "a/b/c.txt" }],
      ["x:{city}/{day}{.format}", "x:Faro/2026-05-01.json", { city: "Faro", day: "2026-05-01", format: "json" }],
      ["x:{a,b}", "x:1,2,3", { a: "1", b: "2,3" }],
      ["x:{a,b}", "x:1", { a: "1" }],
      ["x{/path*}", "x/a/b%2Fc", { path: "a/b/c" }],
      ["x{/a,b:3}{#part}", "x/1/2#end", { a: "1", b: "2", part: "end" }],
      ["x{?q,limit}{&more}", "x?limit=3&q=a%26b&other=1", { q: "a&b", limit: "3" }],
      ["x{;lat,long}", "x;lat=1;long=2", { lat: "1", long: "2" }],
      ["x{?q}", "x", {}]
    ]
    for (const [template, uri, expected] of rows) {
      assert.deepStrictEqual(UriTemplate.reader(template)?.(uri), expected, `${template} ${uri}`)
    }
    assert.isUndefined(UriTemplate.reader("demo://{open"))
  })

  it("reads back what it expands, wherever the parts end", () => {
    const value = fc.stringMatching(/^[a-z]{1,8}$/)
    fc.assert(fc.property(value, value, value, (a, b, c) => {
      const read = UriTemplate.reader("x:/{a}/mid-{b}{?c}")
      assert.deepStrictEqual(read?.(`x:/${a}/mid-${b}?c=${c}`), { a, b, c })
    }))
  })

  it("takes linear time on hostile input", () => {
    const template = "x:{a}{+b}{c}-{d}-{+e}-{f}-{a}-{b}-{c}/"
    const started = performance.now()
    UriTemplate.compile(template)?.(`x:${"-".repeat(2_000)}`)
    UriTemplate.reader(template)?.(`x:${"-".repeat(2_000)}/`)
    assert.isBelow(performance.now() - started, 1_000)
  })
})

/**
 * What the servers of a registry may offer, by its allow-list, over scripted servers.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import type { AllowList } from "@portolan/core/Registry"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import type * as Merging from "../src/catalog/Merging.ts"
import * as Naming from "../src/catalog/Naming.ts"
import * as Offers from "../src/catalog/Offers.ts"
import type { Fields } from "../src/JsonRpc.ts"
import type { Caller, Upstream } from "../src/upstream/Upstream.ts"
import { harness, instance, names, profile, registry, scripted, toolsOnly } from "./Catalogs.ts"

const reason = "not in `allow.tools` of registry \"scripted\""

/** A server that is announced in this registry. */
const served = (source: string, id: string, service: string, tools: () => ReadonlyArray<string>) => {
  const { asked, upstream } = scripted(instance(id, service), toolsOnly(tools))
  return { asked, upstream: { ...upstream, key: Catalog.key(source, id) } satisfies Upstream }
}

const entryOf = ({ instance, key }: Upstream): Catalog.CatalogEntry => ({
  key,
  instance: instance(),
  source: Catalog.sourceOf(key),
  alsoIn: [],
  firstSeen: 0,
  changedAt: 0,
  missingSince: undefined
})

const listChanged = (upstream: Upstream) => ({
  _tag: "Notified" as const,
  upstream,
  notification: { jsonrpc: "2.0" as const, method: "notifications/tools/list_changed" }
})

describe("a tool that its registry may not offer", () => {
  it.effect("is neither listed nor found, by whatever name, and the catalog says why", () =>
    Effect.gen(function*() {
      const { add, catalog, open, publish } = yield* harness({ aliases: { payments: ["pay"] } })
      yield* add(registry("scripted", { tools: ["get_*"] }))
      let tools = ["get_forecast", "pay"]
      const { upstream } = served("scripted", "w1", "weather", () => tools)
      yield* open(upstream)
      const bounded = () => {
        assert.deepStrictEqual(names(catalog), ["weather__get_forecast"])
        assert.isUndefined(catalog.find("tools", "weather__pay"))
        for (const capability of ["pay", "payments", "pay*"]) assert.deepStrictEqual(catalog.offering(capability), [])
        assert.deepStrictEqual(catalog.named("tools", "pay"), [])
      }
      bounded()
      assert.deepStrictEqual(catalog.hidden(), [{ kind: "tools", publicName: "pay", service: "weather", reason }])
      // Nor once it lists more.
      tools = ["get_forecast", "pay", "refund"]
      yield* publish(listChanged(upstream))
      bounded()
      assert.deepStrictEqual(catalog.hidden().map(({ publicName }) => publicName), ["pay", "refund"])
    }))

  it.effect("is offered by instances of other registries, of the same service too, and by those alone", () =>
    Effect.gen(function*() {
      const { add, catalog, open } = yield* harness()
      yield* add(registry("scripted", { tools: ["get_*"] }))
      const tools = () => ["get_forecast", "pay"]
      const partners = served("scripted", "w1", "weather", tools).upstream
      const ours = served("other", "w2", "weather", tools).upstream
      yield* open(partners)
      yield* open(ours)
      yield* open(served("other", "b1", "bank", tools).upstream)
      assert.deepStrictEqual(names(catalog), [
        "bank__get_forecast",
        "bank__pay",
        "weather__get_forecast",
        "weather__pay"
      ])
      const pay = catalog.find("tools", "weather__pay")
      assert.deepStrictEqual(pay?.instances(), [ours.key])
      assert.isFalse(pay?.target.accepts?.(entryOf(partners)))
      assert.isTrue(pay?.target.accepts?.(entryOf(ours)))
      assert.deepStrictEqual(catalog.find("tools", "weather__get_forecast")?.instances().toSorted(), [
        ours.key,
        partners.key
      ])
      assert.deepStrictEqual(catalog.hidden().map((offer) => [offer.service, offer.reason]), [["weather", reason]])
    }))

  it.effect("takes nobody's name, and has no say in what a tool is", () =>
    Effect.gen(function*() {
      const { add, catalog, open } = yield* harness({ naming: { naming: "none" } })
      yield* add(registry("scripted", { tools: [] }))
      const hinted = (source: string, id: string, service: string, version: string, annotations: Fields) => {
        const { upstream } = scripted(instance(id, service, version), (request) =>
          Effect.succeed({
            result: request.method === "tools/list"
              ? { tools: [{ name: "search", inputSchema: { type: "object" }, description: id, annotations }] }
              : {}
          }))
        return { ...upstream, key: Catalog.key(source, id) } satisfies Upstream
      }
      // First in precedence and in the alphabet, and of a later version.
      yield* open(hinted("scripted", "a1", "a", "1.0.0", {}))
      yield* open(hinted("scripted", "b1", "b", "1.9.0", {}))
      const theirs = hinted("other", "b2", "b", "1.0.0", { readOnlyHint: true })
      yield* open(theirs)
      const [offer] = catalog.list("tools")
      assert.deepInclude(offer, { publicName: "search", service: "b", readOnly: true })
      assert.strictEqual(offer?.definition["description"], "b2")
      assert.deepStrictEqual(offer?.instances(), [theirs.key])
    }))

  it.effect("is told of beside those that nobody may offer", () =>
    Effect.gen(function*() {
      const { add, catalog, open } = yield* harness()
      yield* add(registry("scripted", { tools: ["get_*"] }))
      const mirrored = { type: "object", properties: { a: { type: "number", "x-mcp-header": "A" } } }
      const tools = ["get_forecast", "get_broken", "pay"].map((name) => ({
        name,
        inputSchema: name === "get_broken" ? mirrored : { type: "object" }
      }))
      const { upstream } = scripted(
        instance("w1", "weather"),
        () => Effect.succeed({ result: { tools } }),
        { ...profile, era: "stateless", capabilities: { tools: {} } }
      )
      yield* open(upstream)
      assert.deepStrictEqual(names(catalog), ["weather__get_forecast"])
      assert.deepStrictEqual(catalog.hidden().map(({ publicName }) => publicName), ["get_broken", "pay"])
    }))

  it.effect("isn't offered to those either to whom its server lists more", () =>
    Effect.gen(function*() {
      const { add, catalog, open } = yield* harness()
      yield* add(registry("scripted", { tools: ["get_*"] }))
      const { upstream } = scripted(instance("w1", "weather"), (request) =>
        toolsOnly(() =>
          request.caller?.capabilities["sampling"] === undefined
            ? ["get_forecast"]
            : ["get_forecast", "get_summary", "pay"]
        )(request))
      yield* open(upstream)
      const sampler: Caller = { principal: undefined, capabilities: { sampling: {} }, session: undefined }
      yield* Effect.forkChild(catalog.audiences.settled(sampler), { startImmediately: true })
      yield* TestClock.adjust("10 seconds")
      const theirs = catalog.audiences.of(sampler)
      assert.deepStrictEqual(
        theirs?.list("tools").map(({ publicName }) =>
          publicName
        ),
        [
          "weather__get_forecast",
          "weather__get_summary"
        ]
      )
      assert.isUndefined(theirs?.find("tools", "weather__pay"))
      assert.isFalse(catalog.audiences.isOffered("tools", "weather__pay"))
    }))

  it.effect("is no resource and no prompt: those aren't bounded", () =>
    Effect.gen(function*() {
      const { add, catalog, close, emit, open } = yield* harness()
      yield* add(registry("scripted", { tools: [] }))
      const everything = {
        tools: [{ name: "pay", inputSchema: { type: "object" } }],
        resources: [{ uri: "pay://x", name: "pay" }],
        resourceTemplates: [{ uriTemplate: "pay://{id}", name: "pay" }],
        prompts: [{ name: "pay" }]
      }
      const free = {
        ...scripted(instance("w1", "weather"), () => Effect.succeed({ result: everything })).upstream,
        key: Catalog.key("other", "w1")
      }
      const bound = { ...free, key: Catalog.key("scripted", "w1") }
      yield* open(free)
      for (const kind of ["resources", "resourceTemplates", "prompts"] as const) {
        assert.isTrue(catalog.list(kind)[0]?.target.accepts?.(entryOf(bound)))
      }
      yield* emit(bound)
      yield* close(free)
      assert.deepStrictEqual(names(catalog), [])
      assert.deepStrictEqual(names(catalog, "resources"), ["pay://x"])
      assert.deepStrictEqual(names(catalog, "resourceTemplates"), ["pay://{id}"])
      assert.deepStrictEqual(names(catalog, "prompts"), ["weather__pay"])
    }))
})

describe("the bound of a registry", () => {
  it.effect("holds from when its configuration changed, and nobody is asked again", () =>
    Effect.gen(function*() {
      const { add, catalog, open } = yield* harness()
      const { asked, upstream } = served("scripted", "w1", "weather", () => ["get_forecast", "pay"])
      yield* open(upstream)
      const before = asked.length
      const allowed: ReadonlyArray<readonly [AllowList | undefined, ReadonlyArray<string>]> = [
        [{ tools: ["get_*"] }, ["weather__get_forecast"]],
        [{ tools: ["pay"] }, ["weather__pay"]],
        [{ tools: [] }, []],
        [{ services: ["weather"] }, ["weather__get_forecast", "weather__pay"]],
        [undefined, ["weather__get_forecast", "weather__pay"]]
      ]
      for (const [allow, offered] of allowed) {
        yield* add(registry("scripted", allow))
        assert.deepStrictEqual(names(catalog), offered)
      }
      assert.deepStrictEqual(catalog.hidden(), [])
      assert.strictEqual(asked.length, before)
    }))

  it.effect("holds until its last instance is gone, when the registry is removed", () =>
    Effect.gen(function*() {
      const { add, catalog, close, open } = yield* harness()
      const scope = yield* Scope.make()
      yield* Scope.provide(add(registry("partners", { tools: ["get_*"] })), scope)
      const { upstream } = served("partners", "w1", "weather", () => ["get_forecast", "pay"])
      yield* open(upstream)
      yield* Scope.close(scope, Exit.void)
      for (let ms = 0; ms < 1_000; ms += 10) {
        yield* TestClock.adjust(10)
        assert.deepStrictEqual(names(catalog), ["weather__get_forecast"])
      }
      // Whatever else has the offers made anew.
      yield* open(served("other", "b1", "bank", () => ["pay"]).upstream)
      assert.deepStrictEqual(names(catalog), ["bank__pay", "weather__get_forecast"])
      yield* close(upstream)
      assert.deepStrictEqual(names(catalog), ["bank__pay"])
      // One of the same name afterwards is another one.
      yield* add(registry("partners"))
      yield* open(upstream)
      assert.deepStrictEqual(names(catalog), ["bank__pay", "weather__get_forecast", "weather__pay"])
    }))

  it.effect("holds at once for an instance that comes under it, and no longer for one that leaves it", () =>
    Effect.gen(function*() {
      const { add, catalog, close, emit, open } = yield* harness()
      yield* add(registry("other", { tools: ["get_*"] }))
      const tools = () => ["get_forecast", "pay"]
      const free = served("scripted", "w1", "weather", tools).upstream
      const bound = served("other", "w1", "weather", tools).upstream
      yield* open(free)
      const [forecast, pay] = catalog.list("tools")
      assert.isTrue(forecast?.target.accepts?.(entryOf(bound)))
      assert.isFalse(pay?.target.accepts?.(entryOf(bound)))
      yield* emit(bound)
      yield* close(free)
      assert.deepStrictEqual(names(catalog), ["weather__get_forecast"])
      yield* emit(free)
      yield* close(bound)
      assert.deepStrictEqual(names(catalog), ["weather__get_forecast", "weather__pay"])
    }))

  it("is kept whatever its servers list", () => {
    const name = fc.constantFrom("get_a", "get_b", "pay", "pay_all")
    const allow = fc.option(fc.record({ tools: fc.array(fc.constantFrom("get_*", "pay", "*", "pay_*", "x")) }), {
      nil: undefined
    })
    const server = fc.record({
      source: fc.constantFrom("one", "two"),
      service: fc.constantFrom("a", "b"),
      tools: fc.array(name)
    })
    const isAllowed = (tools: ReadonlyArray<string> | undefined, tool: string): boolean =>
      tools === undefined ||
      tools.some((text) => text === tool || (text.endsWith("*") && tool.startsWith(text.slice(0, -1))))
    fc.assert(fc.property(allow, allow, fc.array(server), (one, two, servers) => {
      const registries = { one: registry("one", one), two: registry("two", two) }
      const offers = Offers.make(Naming.defaults, (source) => source === "one" ? registries.one : registries.two)
      const listed = servers.map(({ service, source, tools }, index): Merging.ListedInstance => ({
        key: Catalog.key(source, `i${index}`),
        instance: instance(`i${index}`, service),
        precedence: 0,
        lists: new Map([["tools", new Map(tools.map((name) => [name, { name }]))]])
      }))
      offers.rebuild(listed)
      const offered = offers.list("tools").flatMap((offer) =>
        offer.instances().map((key) => `${key} ${offer.service} ${offer.name}`)
      )
      const expected = servers.flatMap(({ service, source, tools }, index) =>
        Array.from(new Set(tools))
          .filter((tool) => isAllowed((source === "one" ? one : two)?.tools, tool))
          .map((tool) => `${Catalog.key(source, `i${index}`)} ${service} ${tool}`)
      )
      assert.deepStrictEqual(offered.toSorted(), expected.toSorted())
      const refused = new Set(
        servers.flatMap(({ service, source, tools }) =>
          tools.filter((tool) => !isAllowed((source === "one" ? one : two)?.tools, tool))
            .map((tool) => `${service} ${tool} not in \`allow.tools\` of registry "${source}"`)
        )
      )
      assert.deepStrictEqual(
        offers.hidden().map(({ publicName, reason, service }) => `${service} ${publicName} ${reason}`).toSorted(),
        Array.from(refused).toSorted()
      )
    }))
  })
})

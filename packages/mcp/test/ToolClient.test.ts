/**
 * Calls of programs, to servers made with the official SDK and to handlers in this process.
 */
import { assert, describe, it } from "@effect/vitest"
import { toNodeHandler } from "@modelcontextprotocol/node"
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server"
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Registries from "@portolan/core/Registries"
import type * as Registry from "@portolan/core/Registry"
import { Router } from "@portolan/core/Router"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as StaticRegistry from "@portolan/core/StaticRegistry"
import { Deferred, Effect, Exit, Fiber, HashMap, Layer, Schema, Scope, Stream } from "effect"
import type { RequestListener } from "node:http"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import * as z from "zod"
import { ToolCatalog } from "../src/catalog/ToolCatalog.ts"
import * as InProcess from "../src/InProcess.ts"
import * as ToolClient from "../src/ToolClient.ts"
import { Upstreams } from "../src/upstream/Upstreams.ts"
import { serve, Served } from "./Clients.ts"
import { eventually } from "./upstream/Harness.ts"
import { listen } from "./upstream/Servers.ts"

/** A server of the official SDK with one tool that says who it is. */
const official = (name: string, tool = "get_forecast"): RequestListener => {
  const handler = createMcpHandler(() => {
    const server = new McpServer({ name, version: "1.0.0" }, { capabilities: { tools: { listChanged: true } } })
    server.registerTool(
      tool,
      { inputSchema: z.object({ city: z.string() }), annotations: { readOnlyHint: true } },
      ({ city }) => ({ content: [{ type: "text", text: `${name}: sunny in ${city}` }] })
    )
    return server
  })
  const serve = toNodeHandler(handler)
  return (request, response) =>
    void serve(Object.assign(request, { method: request.method ?? "", url: request.url ?? "" }), response)
}

const announced = Effect.fnUntraced(function*(
  id: string,
  given: { readonly service?: string; readonly capabilities?: ReadonlyArray<string>; readonly tool?: string } = {}
) {
  const running = yield* listen(official(id, given.tool))
  const instance = ServiceInstance.make({
    id,
    service: given.service ?? id,
    capabilities: given.capabilities ?? [],
    endpoint: { transport: "streamable-http", url: running.url }
  })
  return { ...running, instance }
})

/** A client of these instances and of what is registered in this process. */
const Alone = (instances: ReadonlyArray<ServiceInstance.ServiceInstance>, options: ToolClient.ToolClientOptions = {}) =>
  ToolClient.layerWith(options).pipe(
    Layer.provideMerge(MemoryRegistry.layer({ instances })),
    Layer.provideMerge(Portolan.layer())
  )

/** A client of registries, each with its instances, that bound what their servers may offer. */
const Bounded = (
  registries: Readonly<
    Record<string, Registry.AllowList & { readonly instances: ReadonlyArray<ServiceInstance.ServiceInstance> }>
  >,
  options: ToolClient.ToolClientOptions = {}
) =>
  ToolClient.layerWith(options).pipe(
    Layer.provideMerge(Layer.mergeAll(
      Layer.empty,
      ...Object.entries(registries).map(([name, { instances, ...allow }]) =>
        Registries.layerOf(
          Effect.map(StaticRegistry.make({ name, instances }), ({ registry }) => ({ ...registry, allow }))
        )
      )
    )),
    Layer.provideMerge(Portolan.layer())
  )

class Lost extends Schema.TaggedError<Lost>()("Lost", { place: Schema.String }) {
  override get message(): string {
    return `no such place: ${this.place}`
  }
}

const echo = (service: string, more: Partial<InProcess.ServerOptions> = {}) =>
  InProcess.make({
    ...more,
    service,
    tools: [{
      name: "search",
      annotations: { readOnlyHint: true },
      handler: (args) => Effect.succeed({ service, ...args })
    }]
  })

/** The services that answered until there were so many, and in a few calls more. */
const usedBy = Effect.fnUntraced(function*(
  call: Effect.Effect<ToolClient.CallResult, ToolClient.ToolCallError>,
  count: number
) {
  const seen = new Set<string>()
  const once = Effect.map(call, ({ routing }) => seen.add(routing.service))
  // Once all are known to be healthy.
  yield* Effect.repeat(once, { until: () => seen.size >= count }).pipe(Effect.timeout("10 seconds"))
  for (let round = 0; round < 10; round++) yield* once
  return Array.from(seen).toSorted()
})

setFlagsFromString("--expose-gc")
const collect: unknown = runInNewContext("gc")

describe("ToolClient", () => {
  it.live(
    "calls no tool that the registry of its server may not offer, by whatever name",
    () =>
      Effect.gen(function*() {
        const given = { service: "bank", tool: "pay", capabilities: ["billing"] }
        const [theirs, ours] = [yield* announced("theirs", given), yield* announced("ours", given)]
        const partners = { tools: ["get_*"], instances: [theirs.instance] }
        const options = { catalog: { aliases: { payments: ["pay"] } } }
        const answers = Effect.gen(function*() {
          const tools = yield* ToolClient.ToolClient
          const args = { city: "Lisbon" }
          return [
            tools.callTool("pay", args),
            tools.callTool("bank__pay", args),
            tools.callTool("pay", args, { service: "bank" }),
            tools.callTool("pay", args, { capabilities: ["billing"] }),
            tools.callTool("pay", args, { query: {} }),
            // Its name, its alias, and the only tool of an instance that announces it.
            ...["pay", "payments", "billing"].map((capability) => tools.callCapability(capability, args))
          ]
        })
        yield* Effect.gen(function*() {
          for (const answer of yield* answers) {
            for (let round = 0; round < 5; round++) assert.strictEqual((yield* answer).value, "ours: sunny in Lisbon")
          }
        }).pipe(Effect.provide(Bounded({ partners, ours: { instances: [ours.instance] } }, options)))
        yield* Effect.gen(function*() {
          for (const answer of yield* answers) assert.strictEqual((yield* Effect.flip(answer))._tag, "NoTool")
          assert.deepStrictEqual(yield* (yield* ToolClient.ToolClient).listTools(), [])
        }).pipe(Effect.provide(Bounded({ partners }, options)))
      }),
    30_000
  )

  it.live("balances over real servers, and goes on when one of them is killed", () =>
    Effect.gen(function*() {
      const one = yield* announced("w1", { service: "weather", capabilities: ["weather.forecast"] })
      const two = yield* announced("w2", { service: "weather", capabilities: ["weather.forecast"] })
      yield* Effect.gen(function*() {
        const tools = yield* ToolClient.ToolClient
        const call = tools.callTool("get_forecast", { city: "Lisbon" }, {
          capabilities: ["weather.forecast"],
          strategy: "round-robin"
        })
        const first = yield* call
        assert.match(String(first.value), /^w[12]: sunny in Lisbon$/)
        assert.deepInclude(first.routing, { service: "weather", source: "memory", attempts: 1, failovers: 0 })
        assert.deepStrictEqual(first.server, {
          service: "weather",
          instance: first.routing.instance,
          version: "0.0.0",
          source: "memory"
        })
        // Both are used, once both are known to be healthy.
        const other = yield* Effect.repeat(call, {
          until: ({ routing }) => routing.instance !== first.routing.instance
        })
          .pipe(Effect.timeout("10 seconds"))
        assert.match(other.routing.instance, /^w[12]$/)
        yield* one.stop
        let failovers = 0
        for (let round = 0; round < 20; round++) {
          const { routing, value } = yield* call
          assert.strictEqual(value, "w2: sunny in Lisbon")
          failovers += routing.failovers
        }
        assert.isAbove(failovers, 0)
        yield* two.stop
        // The first may still have found a socket open.
        yield* Effect.flip(tools.callTool("weather__get_forecast", { city: "Lisbon" }))
        const error = yield* Effect.flip(tools.callTool("weather__get_forecast", { city: "Lisbon" }))
        assert.strictEqual(error._tag, "CallUnavailable")
        assert.match(error.message, /weather.*get_forecast/)
      }).pipe(Effect.provide(Alone([one.instance, two.instance])))
    }), 30_000)

  it.live("capabilities choose among differently named services", () =>
    Effect.gen(function*() {
      const eu = yield* announced("eu", { service: "weather-eu", capabilities: ["weather.forecast", "eu"] })
      const met = yield* announced("met", { service: "met-office", capabilities: ["weather.forecast"] })
      const other = yield* announced("stocks", { service: "stocks" })
      yield* Effect.gen(function*() {
        const tools = yield* ToolClient.ToolClient
        const args = { city: "Porto" }
        const ambiguous = yield* Effect.flip(tools.callTool("get_forecast", args))
        assert.strictEqual(ambiguous._tag, "AmbiguousTool")
        assert.include(
          ambiguous.message,
          "met-office__get_forecast or stocks__get_forecast or weather-eu__get_forecast"
        )
        const seen = yield* usedBy(
          tools.callTool("get_forecast", args, { capabilities: ["weather.*"], strategy: "round-robin" }),
          2
        )
        assert.deepStrictEqual(seen, ["met-office", "weather-eu"])
        const only = (options: ToolClient.CallOptions) =>
          Effect.map(tools.callTool("get_forecast", args, options), ({ server }) => server.instance)
        assert.strictEqual(yield* only({ capabilities: ["weather.forecast", "eu"] }), "eu")
        assert.strictEqual(yield* only({ service: "stocks" }), "stocks")
        assert.strictEqual(yield* only({ query: { id: "m*" } }), "met")
        const none = yield* Effect.flip(only({ capabilities: ["weather.radar"] }))
        assert.strictEqual(none._tag, "NoTool")
        assert.include(none.message, "no instance with capability weather.radar")
        const unmet = yield* Effect.flip(only({ query: { region: "moon" } }))
        assert.strictEqual(unmet.message, "get_forecast: no instance that offers it meets the query")
        const typo = yield* Effect.flip(tools.callTool("get_forcast", args))
        assert.strictEqual(typo.message, "get_forcast: nobody offers this tool; did you mean \"get_forecast\"?")
      }).pipe(Effect.provide(Alone([eu.instance, met.instance, other.instance])))
    }), 30_000)

  it.live("a capability alone finds its tool: by alias, by name, or as the only one", () =>
    Effect.gen(function*() {
      const tools = yield* ToolClient.ToolClient
      yield* InProcess.make({
        service: "met",
        tools: [
          { name: "forecast_v2", handler: () => Effect.succeed("v2") },
          { name: "other", handler: () => Effect.succeed("other") }
        ]
      })
      yield* InProcess.make({
        service: "named",
        tools: [
          { name: "sky.colour", handler: () => Effect.succeed("blue") },
          { name: "other", handler: () => Effect.succeed("other") }
        ]
      })
      yield* InProcess.make({
        service: "single",
        capabilities: ["time.now"],
        tools: [{ name: "clock", handler: () => Effect.succeed("noon") }]
      })
      yield* InProcess.make({
        service: "double",
        capabilities: ["time.zone"],
        tools: [
          { name: "a", handler: () => Effect.succeed("a") },
          { name: "b", handler: () => Effect.succeed("b") }
        ]
      })
      const value = (capability: string) => Effect.map(tools.callCapability(capability, {}), ({ value }) => value)
      yield* Effect.repeat(tools.listTools(), { until: (list) => list.length === 7 })
      assert.strictEqual(yield* value("weather.forecast"), "v2")
      assert.strictEqual(yield* value("sky.colour"), "blue")
      assert.strictEqual(yield* value("time.now"), "noon")
      for (const capability of ["time.zone", "nothing.at.all"]) {
        const error = yield* Effect.flip(value(capability))
        assert.strictEqual(error._tag, "NoTool")
        assert.include(error.message, "catalog.aliases")
      }
      // An alias makes an instance that announces nothing have the capability.
      const narrowed = yield* tools.callTool("other", {}, { capabilities: ["weather.forecast"] })
      assert.strictEqual(narrowed.routing.service, "met")
    }).pipe(
      Effect.provide(Alone([], { catalog: { aliases: { "weather.forecast": ["get_forecast", "forecast_v2"] } } }))
    ), 30_000)

  it.live("calls of a group go to all of its members", () =>
    Effect.gen(function*() {
      yield* echo("weather-eu")
      yield* echo("met-office")
      const tools = yield* ToolClient.ToolClient
      yield* Effect.repeat(tools.listTools(), { until: ([tool]) => tool?.instances.length === 2 })
      assert.deepStrictEqual((yield* tools.listTools()).map(({ name }) => name), ["weather__search"])
      const seen = yield* usedBy(tools.callTool("weather__search", {}, { strategy: "round-robin" }), 2)
      assert.deepStrictEqual(seen, ["met-office", "weather-eu"])
      // Its own name means one service then, and a member can still be chosen.
      assert.strictEqual((yield* tools.callTool("search", {}, { service: "met-office" })).routing.service, "met-office")
      yield* tools.callTool("search")
    }).pipe(Effect.provide(Alone([], { catalog: { groups: { weather: ["weather-eu", "met-office"] } } }))), 30_000)

  it.live("routing rules hold for a group by its name, and by that of a member", () =>
    Effect.gen(function*() {
      yield* echo("weather-eu")
      yield* echo("met-office")
      const tools = yield* ToolClient.ToolClient
      const router = yield* Router
      yield* Effect.repeat(tools.listTools(), { until: ([tool]) => tool?.instances.length === 2 })
      for (const service of ["weather", "met-office", "weather-eu"]) {
        yield* router.reconfigure({ rules: [{ name: service, match: { service } }] })
        for (const name of ["weather__search", "search"]) {
          assert.include((yield* tools.callTool(name)).routing.why, `rule "${service}"`)
        }
        const narrowed = yield* tools.callTool("search", {}, { query: { service: "*" } })
        assert.include(narrowed.routing.why, `rule "${service}"`)
      }
    }).pipe(Effect.provide(Alone([], { catalog: { groups: { weather: ["weather-eu", "met-office"] } } }))), 30_000)

  it.live("gives values, decodes them, and says what failed", () =>
    Effect.gen(function*() {
      const tools = yield* ToolClient.ToolClient
      const Place = Schema.Struct({ name: Schema.String, since: Schema.DateFromString })
      const block = { type: "image", data: "AA==", mimeType: "image/png" }
      const started = yield* Deferred.make<void>()
      const cancelled = yield* Deferred.make<void>()
      yield* InProcess.make({
        service: "house",
        tools: [
          { name: "structured", handler: () => Effect.succeed({ name: "Lisbon", since: "1147-10-25T00:00:00.000Z" }) },
          {
            name: "json",
            handler: () => Effect.succeed("{\"name\":\"Porto\",\"since\":\"1123-01-01T00:00:00.000Z\"}")
          },
          { name: "image", handler: () => Effect.succeed([block]) },
          { name: "fail", handler: () => Effect.fail(new Lost({ place: "Atlantis" })) },
          {
            name: "failWith",
            handler: ({ content }) =>
              Effect.succeed(InProcess.result({ content, structuredContent: { code: 7 }, isError: true }))
          },
          InProcess.tool({
            name: "strict",
            inputSchema: Schema.Struct({ n: Schema.Int }),
            handler: ({ n }) => Effect.succeed(n + 1)
          }),
          {
            name: "steps",
            handler: (_, { meta, progress }) =>
              progress(1, { total: 3 }).pipe(
                Effect.andThen(progress(1)),
                Effect.andThen(progress(2, { message: "two" })),
                Effect.as(meta)
              )
          },
          {
            name: "never",
            handler: () =>
              Deferred.succeed(started, undefined).pipe(
                Effect.andThen(Effect.never),
                Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined))
              )
          }
        ],
        resources: [{ uriTemplate: "house://rooms/{id}", handler: (uri) => Effect.succeed(uri) }],
        prompts: [{ name: "hi", arguments: [{ name: "who" }], handler: ({ who }) => Effect.succeed(`Hi ${who}`) }]
      })
      yield* Effect.repeat(tools.listTools(), { until: (list) => list.length === 8 })
      const place = yield* tools.callTool("structured", {}, { schema: Place })
      assert.strictEqual(place.value.since.getUTCFullYear(), 1147)
      assert.strictEqual((yield* tools.callTool("json", {}, { schema: Place })).value.name, "Porto")
      assert.strictEqual((yield* tools.callTool("json", {}, { schema: Schema.String })).value.length, 51)
      const odd = yield* Effect.flip(
        tools.callTool("structured", {}, { schema: Schema.Struct({ name: Schema.Finite }) })
      )
      assert.strictEqual(odd.message, "structured: house answered what isn't expected: name: expected number")
      assert.deepStrictEqual((yield* tools.callTool("image")).value, [block])

      const failed = yield* Effect.flip(tools.callTool("house__fail"))
      assert.deepInclude(failed, { _tag: "ToolFailed", reason: "no such place: Atlantis", instance: "house" })
      const text = { type: "text", text: "no room" }
      const full = yield* Effect.flip(tools.callTool("failWith", { content: [text, block] }))
      assert.deepInclude(full, { _tag: "ToolFailed", reason: "no room", instance: "house" })
      const mute = yield* Effect.flip(tools.callTool("failWith", { content: [block] }))
      assert.deepInclude(mute, { reason: "it failed and doesn't say why" })
      const refused = yield* Effect.flip(tools.callTool("strict", { n: "x" }))
      assert.deepInclude(refused, { _tag: "CallRefused", code: -32602 })
      assert.include(refused.message, "Invalid arguments for strict: n: expected")
      assert.strictEqual((yield* Effect.flip(tools.callTool("strict", { n: 1n })))._tag, "CallRefused")

      const told: Array<ToolClient.Progress> = []
      const steps = yield* tools.callTool("steps", {}, {
        onProgress: (at) => told.push(at),
        meta: { "example.com/a": 1 }
      })
      assert.deepStrictEqual(told, [{ progress: 1, total: 3 }, { progress: 2, message: "two" }])
      assert.deepStrictEqual(steps.value, { "example.com/a": 1 })
      const broken = yield* Effect.exit(tools.callTool("steps", {}, {
        onProgress: () => {
          throw new Error("mine")
        }
      }))
      assert.isTrue(Exit.hasDies(broken))

      const late = yield* Effect.flip(tools.callTool("never", {}, { timeout: 50 }))
      assert.strictEqual(late._tag, "CallInterrupted")
      assert.include(late.message, "no answer within 50 ms")
      const waiting = yield* Effect.forkChild(tools.callTool("never"))
      yield* Deferred.await(started)
      yield* Fiber.interrupt(waiting)
      yield* Effect.timeout(Deferred.await(cancelled), "5 seconds")

      const room = yield* tools.readResource("house://rooms/7")
      assert.deepStrictEqual(room.contents, [{ uri: "house://rooms/7", text: "house://rooms/7" }])
      assert.strictEqual((yield* Effect.flip(tools.readResource("other://x")))._tag, "NoTool")
      const hi = yield* tools.getPrompt("hi", { who: "Ann" })
      assert.deepStrictEqual(hi.messages, [{ role: "user", content: { type: "text", text: "Hi Ann" } }])
    }).pipe(Effect.provide(Alone([]))), 30_000)

  it.live("waits for servers that are still connecting, and tells what changes", () =>
    Effect.gen(function*() {
      const tools = yield* ToolClient.ToolClient
      const registries = yield* Registries.Registries
      const { registry, set } = yield* StaticRegistry.make()
      yield* registries.add(registry)
      const changes: Array<string> = []
      yield* tools.changes.pipe(
        Stream.runForEach(({ instance, source, type }) =>
          Effect.sync(() => void changes.push(`${type} ${instance.id} in ${source}`))
        ),
        Effect.forkScoped({ startImmediately: true })
      )
      assert.deepStrictEqual(yield* tools.listTools(), [])
      const { instance } = yield* announced("late")
      yield* set([instance])
      yield* eventually("it is announced", () => changes.length > 0 ? true : undefined)
      const { value } = yield* tools.callTool("get_forecast", { city: "Faro" })
      assert.strictEqual(value, "late: sunny in Faro")
      yield* set([])
      yield* eventually("it is gone", () => changes.length > 1 ? true : undefined)
      assert.deepStrictEqual(changes, ["added late in static", "removed late in static"])
    }).pipe(Effect.provide(Alone([]))), 30_000)

  it.live(
    "waits longer than it does for a choice where nobody has the tool and a server still starts",
    () =>
      Effect.gen(function*() {
        const tools = yield* ToolClient.ToolClient
        const registries = yield* Registries.Registries
        const handle = official("slow")
        const begun = performance.now()
        const running = yield* listen((request, response) => {
          setTimeout(() => handle(request, response), Math.max(0, 3_000 - (performance.now() - begun)))
        })
        const endpoint = { transport: "streamable-http", url: running.url } as const
        const { registry, set } = yield* StaticRegistry.make()
        yield* registries.add(registry)
        yield* set([ServiceInstance.make({ id: "slow", service: "slow", endpoint })])
        const { value } = yield* tools.callTool("get_forecast", { city: "Faro" })
        assert.strictEqual(value, "slow: sunny in Faro")
        const began = performance.now()
        assert.strictEqual((yield* Effect.flip(tools.callTool("nobody has it")))._tag, "NoTool")
        assert.isBelow(performance.now() - began, 1_500, "nothing is connecting any more")
      }).pipe(Effect.provide(Alone([]))),
    30_000
  )

  it.live("calls go on while an instance moves from one registry to another", () =>
    Effect.gen(function*() {
      const tools = yield* ToolClient.ToolClient
      const registries = yield* Registries.Registries
      const discovery = yield* Discovery
      const one = yield* StaticRegistry.make({ name: "one" })
      const other = yield* StaticRegistry.make({ name: "other" })
      yield* registries.add(one.registry)
      yield* registries.add(other.registry)
      const { instance } = yield* announced("mover")
      yield* one.set([instance])
      const call = tools.callTool("get_forecast", { city: "Faro" })
      yield* call
      // At the moment that the catalog has it, which is before anybody can have been told.
      for (let move = 0; move < 10; move++) {
        const [from, to] = move % 2 === 0 ? [one, other] : [other, one]
        const moved = Catalog.key(to.registry.name, "mover")
        const following = yield* Effect.yieldNow.pipe(
          Effect.repeat({ until: () => HashMap.has(discovery.catalog().entries, moved) }),
          Effect.andThen(call),
          Effect.forkChild({ startImmediately: true })
        )
        yield* Effect.all([from.set([]), to.set([instance])], { concurrency: "unbounded" })
        yield* Fiber.join(following)
        yield* Effect.sleep(20)
      }
    }).pipe(Effect.provide(Alone([]))), 30_000)

  it.live("shares the connections of a gateway, and follows what comes and goes", () =>
    Effect.gen(function*() {
      yield* serve
      const tools = yield* ToolClient.ToolClient
      const scope = yield* Scope.make()
      yield* Scope.provide(echo("a", { capabilities: ["find"] }), scope)
      yield* Scope.provide(echo("b", { capabilities: ["find"] }), scope)
      yield* Effect.repeat(tools.listTools(), { until: (list) => list.length === 2 })
      const upstreams = yield* Upstreams
      assert.strictEqual(upstreams.all().length, 2)
      const catalog = yield* ToolCatalog
      assert.strictEqual(catalog.list("tools").length, 2)
      assert.deepStrictEqual((yield* tools.listTools({ service: "a" })).map(({ tool }) => tool), ["search"])
      assert.strictEqual((yield* Effect.flip(tools.listTools({ metadata: { a: { $regex: "(" } } })))._tag, "QueryError")
      const find = tools.callTool("search", {}, { capabilities: ["find"] })
      yield* find
      yield* Scope.close(scope, Exit.void)
      yield* Effect.repeat(tools.listTools(), { until: (list) => list.length === 0 })
      assert.strictEqual((yield* Effect.flip(find))._tag, "NoTool")
      yield* echo("c", { capabilities: ["find"] })
      yield* Effect.repeat(tools.listTools(), { until: (list) => list.length === 1 })
      assert.strictEqual((yield* find).routing.service, "c")
    }).pipe(
      Effect.provide(
        ToolClient.layerNoDeps.pipe(Layer.provideMerge(Served), Layer.provideMerge(Portolan.layer()))
      )
    ), 30_000)

  it.live("keeps a bounded memory of what was asked for", () =>
    Effect.gen(function*() {
      const tools = yield* ToolClient.ToolClient
      yield* echo("a", { capabilities: ["find"] })
      yield* Effect.repeat(tools.listTools(), { until: (list) => list.length === 1 })
      const call = (index: number) => tools.callTool("search", {}, { query: { $not: { id: `other-${index}` } } })
      const measured = Effect.fnUntraced(function*(from: number, to: number) {
        for (let index = from; index < to; index++) yield* call(index)
        if (typeof collect === "function") collect()
        return process.memoryUsage().heapUsed
      })
      const before = yield* measured(0, 2_000)
      const after = yield* measured(2_000, 8_000)
      assert.isBelow(after - before, 6 * 1024 * 1024)
    }).pipe(Effect.provide(Alone([]))), 60_000)
})

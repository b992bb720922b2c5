/**
 * Handlers in this process, seen through the endpoint by the official clients.
 */
import { assert, describe, it } from "@effect/vitest"
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import * as Portolan from "@portolan/core/Portolan"
import { Registries } from "@portolan/core/Registries"
import { Context, Deferred, Effect, Exit, Fiber, HashMap, Layer, Logger, Ref, Schema, Scope } from "effect"
import * as fc from "fast-check"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { ToolCatalog } from "../src/catalog/ToolCatalog.ts"
import * as InProcess from "../src/InProcess.ts"
import * as Schemas from "../src/inprocess/Schemas.ts"
import * as McpHealthCheck from "../src/upstream/McpHealthCheck.ts"
import { clients, connected, serve, Served } from "./Clients.ts"
import { eventually } from "./upstream/Harness.ts"

const Live = Layer.provideMerge(Served, Portolan.layer())
const promise = <A>(evaluate: () => Promise<A>) => Effect.promise(evaluate)

setFlagsFromString("--expose-gc")
const gc: unknown = runInNewContext("gc")
const collect = () => typeof gc === "function" && gc()

const handler = () => Effect.void

class Greetings extends Context.Service<Greetings, { readonly word: string }>()("test/Greetings") {}
class Places extends Context.Service<Places, { readonly city: string }>()("test/Places") {}

class TooFar extends Schema.TaggedError<TooFar>()("TooFar", { km: Schema.Finite }) {
  override get message(): string {
    return `${this.km} km is too far`
  }
}

/** What a call is refused with: code and message. */
const refused = (call: () => Promise<unknown>) =>
  promise(() =>
    call().then(
      String,
      (error: unknown) =>
        error instanceof Error && "code" in error ? `${String(error.code)} ${error.message}` : String(error)
    )
  )

const names = Effect.map(ToolCatalog, (catalog) => catalog.list("tools").map(({ publicName }) => publicName))

const listed = (wanted: ReadonlyArray<string>) =>
  Effect.flatMap(ToolCatalog, (catalog) =>
    eventually(`the tools ${wanted.join(", ")}`, () => {
      const there = catalog.list("tools").map(({ publicName }) => publicName)
      return there.join() === wanted.toSorted().join() ? there : undefined
    }))

describe("InProcess", () => {
  for (const [name, connect] of clients) {
    it.live(`${name} sees and uses what handlers offer`, () =>
      Effect.gen(function*() {
        const url = yield* serve
        const client = yield* connected(connect, url)
        const started = yield* Deferred.make<void>()
        const cancelled = yield* Deferred.make<void>()
        yield* InProcess.make({
          service: "house",
          version: "1.2.0",
          capabilities: ["greeting"],
          tools: [
            { name: "motd", description: "The message of the day", handler: () => Effect.succeed("hello") },
            InProcess.tool({
              name: "greet",
              inputSchema: Schema.Struct({ who: Schema.String, at: Schema.DateFromString }),
              outputSchema: Schema.Struct({ text: Schema.String, year: Schema.Finite }),
              handler: ({ at, who }) =>
                Effect.map(Greetings, ({ word }) => ({ text: `${word} ${who}`, year: at.getUTCFullYear() }))
            }),
            {
              name: "work",
              handler: (_, { log, meta, progress }) =>
                Effect.gen(function*() {
                  yield* progress(1, { total: 2 })
                  yield* log("debug", "low")
                  yield* log("error", "high")
                  yield* progress(2, { total: 2, message: "done" })
                  return [{ type: "text", text: JSON.stringify(meta) }]
                })
            },
            {
              name: "wait",
              handler: () =>
                Deferred.succeed(started, undefined).pipe(
                  Effect.andThen(Effect.never),
                  Effect.onInterrupt(() => Deferred.succeed(cancelled, undefined))
                )
            },
            { name: "fail", handler: () => Effect.fail(new TooFar({ km: 7 })) },
            { name: "die", handler: () => Effect.die(new Error("secret detail")) },
            { name: "twist", handler: () => Effect.succeed({ big: 10n }) },
            {
              name: "raw",
              handler: () =>
                Effect.succeed(InProcess.result({ content: [{ type: "text", text: "no" }], isError: true }))
            },
            {
              name: "strict",
              inputSchema: { type: "object", properties: { n: { type: "integer", minimum: 1 } }, required: ["n"] },
              handler: ({ n }) => Effect.succeed({ n })
            }
          ],
          resources: [
            { uri: "house://plan", mimeType: "text/plain", handler: () => Effect.succeed("a plan") },
            { uri: "house://photo", mimeType: "image/png", handler: () => Effect.succeed(Uint8Array.of(1, 2, 3)) },
            { uri: "house://lost", handler: () => Effect.fail(new TooFar({ km: 9 })) },
            { uri: "house://broken", handler: () => Effect.die(new Error("secret detail")) },
            {
              uriTemplate: "house://rooms/{id}",
              handler: (uri, { variables }) => Effect.map(Places, ({ city }) => `${uri}: ${variables["id"]} in ${city}`)
            }
          ],
          prompts: [{
            name: "welcome",
            arguments: [{ name: "who", required: true }],
            handler: ({ who }) => Effect.succeed(`Welcome ${who}`)
          }]
        }).pipe(Effect.provideService(Greetings, { word: "Hello" }), Effect.provideService(Places, { city: "Lisbon" }))
        yield* listed(
          ["motd", "greet", "work", "wait", "fail", "die", "twist", "raw", "strict"].map((tool) => `house__${tool}`)
        )

        const tools = yield* promise(client.tools)
        assert.strictEqual(tools.find((tool) => tool.name === "house__motd")?.description, "The message of the day")
        const schema = tools.find((tool) => tool.name === "house__greet")?.inputSchema
        assert.deepInclude(schema, { type: "object", required: ["who", "at"] })

        const motd = yield* promise(() => client.call("house__motd"))
        assert.deepStrictEqual(motd["content"], [{ type: "text", text: "hello" }])
        const greet = yield* promise(() => client.call("house__greet", { who: "Ann", at: "2026-05-01T00:00:00.000Z" }))
        assert.deepStrictEqual(greet["structuredContent"], { text: "Hello Ann", year: 2026 })
        assert.deepStrictEqual(greet["content"], [{ type: "text", text: "{\"text\":\"Hello Ann\",\"year\":2026}" }])
        const wrong = yield* refused(() => client.call("house__greet", { who: 7 }))
        assert.match(wrong, /-32602.*Invalid arguments for greet: who: expected string.*at: /)
        const below = yield* refused(() => client.call("house__strict", { n: 0 }))
        assert.match(below, /-32602.*Invalid arguments for strict: n: /)
        assert.deepStrictEqual((yield* promise(() => client.call("house__strict", { n: 2 })))["structuredContent"], {
          n: 2
        })

        yield* promise(() => client.setLevel("error"))
        const progress: Array<number> = []
        const work = yield* promise(() =>
          client.call("house__work", {}, { onProgress: (value) => progress.push(value), meta: { "example.com/a": 1 } })
        )
        assert.deepStrictEqual(progress, [1, 2])
        assert.deepStrictEqual(work["content"], [{ type: "text", text: "{\"example.com/a\":1}" }])
        yield* eventually("the log message", () => client.logs.length > 0 ? true : undefined)
        assert.deepStrictEqual(client.logs, ["high"])

        const failed = yield* promise(() => client.call("house__fail"))
        assert.deepStrictEqual([failed["isError"], failed["content"]], [true, [{
          type: "text",
          text: "7 km is too far"
        }]])
        for (const tool of ["die", "twist"]) {
          const died = yield* promise(() => client.call(`house__${tool}`))
          assert.strictEqual(died["isError"], true)
          assert.notInclude(JSON.stringify(died["content"]), "secret")
          assert.include(JSON.stringify(died["content"]), "the reason is in the log")
        }
        assert.strictEqual((yield* promise(() => client.call("house__raw")))["isError"], true)

        const controller = new AbortController()
        const waiting = client.call("house__wait", {}, { signal: controller.signal }).catch(() => "cancelled")
        yield* Deferred.await(started)
        controller.abort()
        yield* Effect.timeout(Deferred.await(cancelled), "5 seconds")
        assert.strictEqual(yield* promise(() => waiting), "cancelled")

        assert.deepStrictEqual(yield* promise(client.resources), [
          "house://broken",
          "house://lost",
          "house://photo",
          "house://plan"
        ])
        assert.match(yield* refused(() => client.read("house://lost")), /^-31002 .*house:\/\/lost: 9 km is too far$/)
        assert.match(yield* refused(() => client.read("house://broken")), /^-32603 .*the reason is in the log/)
        assert.deepStrictEqual(yield* promise(client.templates), ["house://rooms/{id}"])
        assert.deepInclude(yield* promise(() => client.read("house://plan")), {
          contents: [{ uri: "house://plan", mimeType: "text/plain", text: "a plan" }]
        })
        assert.deepInclude(yield* promise(() => client.read("house://photo")), {
          contents: [{ uri: "house://photo", mimeType: "image/png", blob: "AQID" }]
        })
        assert.deepInclude(yield* promise(() => client.read("house://rooms/7%20a")), {
          contents: [{ uri: "house://rooms/7%20a", text: "house://rooms/7%20a: 7 a in Lisbon" }]
        })
        assert.deepStrictEqual(yield* promise(client.prompts), ["house__welcome"])
        assert.deepInclude(yield* promise(() => client.prompt("house__welcome", { who: "Ann" })), {
          messages: [{ role: "user", content: { type: "text", text: "Welcome Ann" } }]
        })
        assert.match(
          yield* refused(() => client.prompt("house__welcome", {})),
          /Invalid arguments for welcome: who: expected a text/
        )
      }).pipe(Effect.provide(Layer.merge(Live, Logger.layer([])))), 30_000)

    it.live(`${name} hears of each change once, within 100 ms`, () =>
      Effect.gen(function*() {
        const server = yield* InProcess.make({
          service: "house",
          tools: [{ name: "motd", handler: () => Effect.succeed(1) }]
        })
        yield* listed(["house__motd"])
        const client = yield* connected(connect, yield* serve)
        assert.strictEqual((yield* promise(client.tools)).length, 1)
        // The stream for notices is open once one came.
        const warm = yield* Scope.make()
        yield* Scope.provide(server.register({ tools: [{ name: "warm", handler: () => Effect.void }] }), warm)
        yield* listed(["house__motd", "house__warm"])
        yield* Effect.sleep(150)
        const before = client.notices.length
        const latencies: Array<number> = []
        const changed = Effect.fnUntraced(function*(count: number, change: Effect.Effect<unknown>) {
          const began = performance.now()
          yield* change
          yield* eventually(`notice ${count}`, () => client.notices.length >= before + count ? true : undefined)
          yield* Effect.sleep(150)
          assert.strictEqual(client.notices.length, before + count)
          latencies.push((client.notices.at(-1) ?? Infinity) - began)
        })
        const scope = yield* Scope.make()
        const many = Array.from({ length: 20 }, (_, index) => ({ name: `t${index}`, handler: () => Effect.void }))
        yield* changed(1, Effect.orDie(Scope.provide(server.register({ tools: many }), scope)))
        assert.strictEqual((yield* promise(client.tools)).length, 22)
        yield* changed(2, server.unregister({ tools: ["warm"] }))
        yield* changed(3, Scope.close(scope, Exit.void))
        assert.deepStrictEqual((yield* promise(client.tools)).map(({ name }) => name), ["house__motd"])
        // Other processes have the machine too: one that had its way tells.
        assert.isBelow(Math.min(...latencies), 100)
      }).pipe(Effect.provide(Live)), 30_000)
  }

  it.live(
    "is a registry like any other: announced, checked, listed with nothing of its handlers",
    () =>
      Effect.gen(function*() {
        yield* listed(["house__a", "house__b", "other__a"])
        const { catalog } = yield* Discovery
        const health = yield* Health
        const entries = Array.from(HashMap.values(catalog().entries))
        assert.deepStrictEqual(
          entries.map(({ instance, source }) => [source, instance.id, instance.service]).toSorted(),
          [
            ["in-process:house", "house", "house"],
            ["in-process:house-2", "house-2", "house"],
            ["in-process:other", "other", "other"]
          ]
        )
        for (const { instance } of entries) {
          assert.deepStrictEqual(JSON.parse(JSON.stringify(instance.endpoint)), { transport: "in-process" })
        }
        assert.isTrue(
          Array.from(catalog().sources.values()).every(({ state, type }) =>
            state === "connected" && type === "in-process"
          )
        )
        yield* eventually(
          "it is checked",
          () => entries.every(({ key }) => health.status(key) === "healthy") ? true : undefined
        )
        const registries = yield* Registries
        assert.deepStrictEqual(registries.members().map(({ registry }) => registry.trust), ["full", "full", "full"])
      }).pipe(
        Effect.provide(
          Layer.mergeAll(McpHealthCheck.layer).pipe(
            Layer.provideMerge(Served),
            // One after the other: the second takes the number.
            Layer.provideMerge(
              InProcess.tools({ service: "house", tools: [{ name: "b", handler: () => Effect.succeed("b") }] })
            ),
            Layer.provideMerge(
              InProcess.layer({ service: "house", tools: [{ name: "a", handler: () => Effect.succeed("a") }] })
            ),
            Layer.provideMerge(
              InProcess.tools({ service: "other", tools: [{ name: "a", handler: () => Effect.succeed("a") }] })
            ),
            Layer.provideMerge(Portolan.layer())
          )
        )
      ),
    20_000
  )

  it.live(
    "calls under way finish when their handler is taken away, and new ones are told",
    () =>
      Effect.gen(function*() {
        const url = yield* serve
        const client = yield* connected(clients[0][1], url)
        const gate = yield* Deferred.make<void>()
        const entered = yield* Deferred.make<void>()
        const server = yield* InProcess.make({ service: "house" })
        const scope = yield* Scope.make()
        yield* server.register({
          tools: [{
            name: "slow",
            handler: () =>
              Deferred.succeed(entered, undefined).pipe(Effect.andThen(Deferred.await(gate)), Effect.as("done"))
          }]
        }).pipe(Scope.provide(scope))
        yield* listed(["house__slow"])
        const call = client.call("house__slow")
        yield* Deferred.await(entered)
        const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
        yield* listed([])
        const late = yield* promise(() => client.call("house__slow").catch(String))
        assert.match(String(late), /Unknown tool: house__slow/)
        assert.isUndefined(closing.pollUnsafe())
        yield* Deferred.succeed(gate, undefined)
        assert.deepStrictEqual((yield* promise(() => call))["content"], [{ type: "text", text: "done" }])
        yield* Fiber.join(closing)
      }).pipe(Effect.provide(Live)),
    20_000
  )

  it.live("a handler that takes too long to finish is interrupted with its server", () =>
    Effect.gen(function*() {
      const url = yield* serve
      const client = yield* connected(clients[0][1], url)
      const entered = yield* Deferred.make<void>()
      const interrupted = yield* Ref.make(false)
      const scope = yield* Scope.make()
      yield* InProcess.make({
        service: "house",
        drainTimeout: "50 millis",
        tools: [{
          name: "stuck",
          handler: () =>
            Deferred.succeed(entered, undefined).pipe(
              Effect.andThen(Effect.never),
              Effect.onInterrupt(() => Ref.set(interrupted, true))
            )
        }]
      }).pipe(Scope.provide(scope))
      yield* listed(["house__stuck"])
      const call = client.call("house__stuck").catch(String)
      yield* Deferred.await(entered)
      yield* Scope.close(scope, Exit.void)
      assert.isTrue(yield* Ref.get(interrupted))
      assert.match(String(yield* promise(() => call)), /taken away while it ran.*It may have run/)
      yield* listed([])
      const registries = yield* Registries
      assert.deepStrictEqual(registries.members(), [])
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("messages are isolated: what a handler changes stays its own", () =>
    Effect.gen(function*() {
      const seen: Array<unknown> = []
      const answer = { list: [1] }
      yield* InProcess.make({
        service: "house",
        tools: [{
          name: "mutate",
          annotations: { readOnlyHint: true },
          handler: (args) =>
            Effect.sync(() => {
              seen.push(structuredClone(args))
              Object.assign(args, { changed: true })
              return answer
            })
        }]
      })
      yield* listed(["house__mutate"])
      const client = yield* connected(clients[1][1], yield* serve)
      const first = yield* promise(() => client.call("house__mutate", { a: 1 }))
      answer.list.push(2)
      assert.deepStrictEqual(first["structuredContent"], { list: [1] })
      yield* promise(() => client.call("house__mutate", { a: 1 }))
      assert.deepStrictEqual(seen, [{ a: 1 }, { a: 1 }])
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("holds nothing of what was taken away", () =>
    Effect.gen(function*() {
      const client = yield* connected(clients[0][1], yield* serve)
      const server = yield* InProcess.make({ service: "house" })
      const registered = Effect.scoped(Effect.gen(function*() {
        const held = { big: Array.from({ length: 1_000 }, () => 1) }
        yield* server.register({ tools: [{ name: "hold", handler: () => Effect.succeed(held.big.length) }] })
        yield* listed(["house__hold"])
        assert.deepStrictEqual((yield* promise(() => client.call("house__hold")))["content"], [{
          type: "text",
          text: "1000"
        }])
        return new WeakRef(held)
      }))
      const held = yield* registered
      yield* listed([])
      yield* eventually("it is collected", () => {
        collect()
        return held.deref() === undefined ? true : undefined
      })
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("ids of servers in one process are their own", () =>
    Effect.gen(function*() {
      const one = yield* InProcess.make({ service: "house", name: "one" })
      const two = yield* InProcess.make({ service: "house", name: "two" })
      assert.deepStrictEqual([one.instance.id, two.instance.id], ["house", "house-2"])
      const taken = yield* Effect.flip(InProcess.make({ service: "other", id: "house" }))
      assert.strictEqual(taken.message, "other: house: another server of this process has this id")
      const named = yield* Effect.flip(InProcess.make({ service: "other", name: "one" }))
      assert.include(named.message, "there is a registry of this name already")
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("refuses what can't be offered, and offers nothing of it", () =>
    Effect.gen(function*() {
      const server = yield* InProcess.make({ service: "house", tools: [{ name: "a", handler: () => Effect.void }] })
      const reason = (offering: InProcess.Offering) =>
        Effect.map(Effect.flip(server.register(offering)), ({ message }) => message)
      assert.strictEqual(
        yield* reason({ tools: [{ name: "b", handler }, { name: "a", handler }] }),
        "house: a: it is registered already"
      )
      assert.strictEqual(
        yield* reason({ tools: [{ name: "b", handler }, { name: "b", handler }] }),
        "house: b: it is registered already"
      )
      assert.include(yield* reason({ tools: [{ name: "no way", handler }] }), "A-Z a-z 0-9")
      assert.include(
        yield* reason({ tools: [{ name: "b", inputSchema: { type: "string" }, handler }] }),
        "inputSchema must be"
      )
      assert.include(yield* reason({ resources: [{ handler }] }), "either a uri or a uriTemplate")
      assert.include(yield* reason({ resources: [{ uri: "no uri", handler }] }), "uri must be a URI")
      assert.include(yield* reason({ resources: [{ uriTemplate: "x:{", handler }] }), "must be a URI template")
      yield* listed(["house__a"])
      assert.deepStrictEqual(yield* names, ["house__a"])
      // The name is free again.
      assert.strictEqual(yield* server.unregister({ tools: ["a", "never"] }), 1)
      yield* server.register({ tools: [{ name: "a", handler: () => Effect.succeed("new") }] })
      yield* listed(["house__a"])
    }).pipe(Effect.provide(Live)), 20_000)

  it.live("a server that closes and comes again at once is found again", () =>
    Effect.gen(function*() {
      const client = yield* connected(clients[0][1], yield* serve)
      for (const word of ["one", "two", "three"]) {
        yield* Effect.scoped(Effect.gen(function*() {
          yield* InProcess.make({
            service: "house",
            tools: [{ name: `say_${word}`, handler: () => Effect.succeed(word) }]
          })
          yield* listed([`house__say_${word}`])
          const said = yield* promise(() => client.call(`house__say_${word}`))
          assert.deepStrictEqual(said["content"], [{ type: "text", text: word }])
        }))
      }
    }).pipe(Effect.provide(Live)), 30_000)

  it.live("random registrations: what is listed is what is registered", () =>
    Effect.gen(function*() {
      const server = yield* InProcess.make({ service: "s" })
      const context = yield* Effect.context<ToolCatalog>()
      const run = Effect.runPromiseWith(context)
      const name = fc.constantFrom("a", "b", "c", "d")
      const command = fc.oneof(
        fc.record({
          _tag: fc.constant("register" as const),
          names: fc.uniqueArray(name, { minLength: 1, maxLength: 3 })
        }),
        fc.record({ _tag: fc.constant("unregister" as const), names: fc.array(name, { maxLength: 3 }) }),
        fc.record({ _tag: fc.constant("close" as const), which: fc.nat(5) })
      )
      yield* promise(() =>
        fc.assert(
          fc.asyncProperty(fc.array(command, { maxLength: 12 }), (commands) =>
            run(Effect.gen(function*() {
              // The model: who registered each name.
              const model = new Map<string, Scope.Closeable>()
              const scopes: Array<Scope.Closeable> = []
              for (const each of commands) {
                if (each._tag === "register") {
                  const scope = yield* Scope.make()
                  scopes.push(scope)
                  const exit = yield* Effect.exit(
                    server.register({
                      tools: each.names.map((name) => ({ name, handler: () => Effect.succeed(name) }))
                    })
                      .pipe(Scope.provide(scope))
                  )
                  const free = each.names.every((name) => !model.has(name))
                  assert.strictEqual(Exit.isSuccess(exit), free)
                  if (free) { for (const name of each.names) model.set(name, scope) }
                } else if (each._tag === "unregister") {
                  const there = new Set(each.names.filter((name) => model.delete(name)))
                  assert.strictEqual(yield* server.unregister({ tools: each.names }), there.size)
                } else {
                  const scope = scopes[each.which]
                  if (scope === undefined) continue
                  yield* Scope.close(scope, Exit.void)
                  for (const [name, owner] of model) if (owner === scope) model.delete(name)
                }
              }
              yield* listed(Array.from(model.keys(), (name) => `s__${name}`))
              for (const scope of scopes) yield* Scope.close(scope, Exit.void)
              yield* server.unregister({ tools: ["a", "b", "c", "d"] })
            }))),
          { numRuns: 40 }
        )
      )
    }).pipe(Effect.provide(Live)), 60_000)
})

describe("schemas of handlers", () => {
  it("JSON Schema of a schema is one of an object, complete in itself", () => {
    class Place extends Schema.Class<Place>("Place")({ name: Schema.String }) {}
    assert.deepInclude(Schemas.jsonSchema(Schema.Struct({})), { type: "object" })
    assert.deepInclude(Schemas.jsonSchema(Place), { type: "object", required: ["name"] })
    assert.notProperty(Schemas.jsonSchema(Place), "$defs")
    const two = Schemas.jsonSchema(Schema.Struct({ from: Place, to: Place }))
    assert.deepInclude(two, { type: "object", required: ["from", "to"] })
    assert.property(two, "$defs")
    assert.deepInclude(Schemas.jsonSchema(Schema.String), { type: "string" })
  })

  it("arguments are checked as far as the schema can be read", () => {
    const rows: ReadonlyArray<readonly [Readonly<Record<string, unknown>>, unknown, RegExp | undefined]> = [
      [{ type: "object" }, { any: 1 }, undefined],
      [{ type: "object", properties: { n: { type: "integer", minimum: 1, default: 3 } } }, {}, undefined],
      [{ type: "object", properties: { n: { type: "integer", minimum: 1 } } }, { n: 0 }, /^n: expected .* 1$/],
      [{ type: "object", properties: { n: { type: "integer" } } }, { n: 1, more: true }, undefined],
      [
        { type: "object", properties: { n: {} }, additionalProperties: false },
        { more: true },
        /^more: expected no excess/
      ],
      [{ type: "object", required: ["a", "b"], properties: { a: {}, b: {} } }, {}, /^a: missing key; b: missing key$/],
      // What can't be read is the handler's own to check.
      [{ type: "object", properties: { a: { $ref: "https://example.com/a" } } }, { a: 1 }, undefined]
    ]
    for (const [schema, input, expected] of rows) {
      const reason = Schemas.checker(schema)(input)
      if (expected === undefined) assert.isUndefined(reason)
      else assert.match(reason ?? "nothing", expected)
    }
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import * as Announcement from "@portolan/core/Announcement"
import * as Discovery from "@portolan/core/Discovery"
import * as Registries from "@portolan/core/Registries"
import type { RegistryEvent } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as ConsulBackend from "./ConsulBackend.ts"
import * as ScriptedConsul from "./ScriptedConsul.ts"

const instance = (n: number, service = "weather") =>
  ServiceInstance.make({
    id: `${service}-${n}`,
    service,
    endpoint: { transport: "streamable-http", url: `http://10.0.0.${n}:8080/mcp` },
    metadata: { seq: "0" }
  })

const discovered = (options: ConsulRegistry.ConsulRegistryOptions) =>
  Layer.build(
    ConsulRegistry.layer(options).pipe(
      Layer.provideMerge(Discovery.layer({ debounce: 0 })),
      Layer.provideMerge(Registries.layer)
    )
  ).pipe(Effect.map(Context.get(Discovery.Discovery)))

const entries = (discovery: Discovery.Discovery["Service"]) =>
  Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance)

const ids = (discovery: Discovery.Discovery["Service"]) => entries(discovery).map(({ id }) => id).sort()

const until = (discovery: Discovery.Discovery["Service"], holds: () => boolean) =>
  discovery.updates.pipe(
    Stream.filter(holds),
    Stream.runHead,
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () => Effect.die(new Error(`after 10 s: ${ids(discovery).join(", ")}`))
    })
  )

const eventually = (holds: () => boolean) =>
  Effect.gen(function*() {
    while (!holds()) yield* Effect.sleep(10)
  }).pipe(Effect.timeout("10 seconds"))

/** A running session, and what it said so far. */
const session = (options: ConsulRegistry.ConsulRegistryOptions) =>
  Effect.gen(function*() {
    const registry = yield* ConsulRegistry.make(options)
    const said: Array<RegistryEvent> = []
    yield* registry.watch.pipe(
      Stream.runForEach((event) => Effect.sync(() => void said.push(event))),
      Effect.forkScoped
    )
    return said
  })

const services = { index: 3, body: { consul: [], weather: ["mcp"] } }
const onlyFirst = (query: ScriptedConsul.Query) => query.index === undefined ? services : undefined
const told = (said: ReadonlyArray<RegistryEvent>) =>
  said.flatMap((event) => event._tag === "Snapshot" ? [event.instances.map(({ id }) => id).join()] : [])

const unavailable = await Effect.runPromise(Consul.unavailable)
if (unavailable !== undefined) console.log(`consul skipped: ${unavailable}`)

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "consul" : `consul [skipped: ${unavailable}]`,
  () => {
    it.live("C6 a service that isn't there yet is seen as soon as it is", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const backend = yield* ConsulBackend.make(server)
        const discovery = yield* discovered({ url: server.url, services: ["weather"] })
        yield* discovery.ready
        yield* backend.add(instance(1, "climate"))
        const before = Date.now()
        yield* backend.add(instance(1))
        yield* until(discovery, () => ids(discovery).join() === "weather-1")
        assert.isBelow(Date.now() - before, 1000)
      }))

    it.live("C10 an agent that lost its data is announced to again", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const registry = yield* ConsulRegistry.make({ url: server.url, name: "announcer" })
        yield* Announcement.announce(registry, instance(1), { ttl: "2 seconds", drain: 0 })
        yield* server.restartEmpty
        const discovery = yield* discovered({ url: server.url })
        yield* until(discovery, () => ids(discovery).join() === "weather-1" && entries(discovery)[0]?.status === "up")
      }))

    it.live("C12 several tags must all be there, and announcing adds them", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const register = (id: string, Tags: ReadonlyArray<string>) =>
          ConsulBackend.ask(server.url, "PUT", "agent/service/register", {
            ID: id,
            Name: "weather",
            Address: "10.0.0.1",
            Port: 1,
            Tags
          })
        yield* register("both", ["prod", "mcp"])
        yield* register("one", ["mcp"])
        yield* register("other", ["prod"])
        const options = { url: server.url, tag: ["mcp", "prod"] }
        yield* Announcement.announce(yield* ConsulRegistry.make(options), instance(1), { drain: 0 })
        const discovery = yield* discovered(options)
        yield* until(discovery, () => ids(discovery).join() === "both,weather-1")
      }))

    it.live("checks and maintenance are the status", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const put = (path: string, body?: object) => ConsulBackend.ask(server.url, "PUT", `agent/${path}`, body)
        yield* put("service/register", {
          ID: "w",
          Name: "weather",
          Address: "10.0.0.1",
          Port: 1,
          Check: { CheckID: "c", TTL: "1h", Status: "passing" }
        })
        const discovery = yield* discovered({ url: server.url })
        const status = (expected: string) => until(discovery, () => entries(discovery)[0]?.status === expected)
        yield* status("up")
        yield* put("check/fail/c")
        yield* status("down")
        yield* put("check/pass/c")
        yield* status("up")
        yield* put("service/maintenance/w?enable=true")
        yield* status("draining")
        yield* put("service/maintenance/w?enable=false")
        yield* status("up")
      }))

    it.live("what Consul has no field for survives the trip", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const announced = ServiceInstance.make({
          ...instance(1),
          endpoint: { transport: "a2a", card: "https://agents.example.com/card.json" },
          limits: { maxConcurrency: 4 },
          metadata: { gpu: true, note: "Übung ".repeat(300) }
        })
        const registry = yield* ConsulRegistry.make({ url: server.url })
        yield* Announcement.announce(registry, announced, { drain: 0 })
        const discovery = yield* discovered({ url: server.url })
        yield* until(discovery, () => ids(discovery).length === 1)
        assert.deepStrictEqual(entries(discovery), [announced])
      }))
  }
)

describe("a scripted consul", () => {
  it.live("C1 an index that goes back: asked anew from the beginning, its answer dropped", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* ScriptedConsul.make((query, earlier) => {
        if (query.path === "catalog/services") return onlyFirst(query)
        switch (earlier.length) {
          case 0:
            return { index: 15, body: [ScriptedConsul.entry("a")] }
          case 1:
            return { index: 14, body: [] }
          case 2:
            return { index: 14, body: [ScriptedConsul.entry("a"), ScriptedConsul.entry("b")] }
        }
        return undefined
      })
      const said = yield* session({ url })
      yield* eventually(() => queries.length === 6)
      assert.deepStrictEqual(
        queries.filter(({ path }) => path === "health/service/weather").map(({ index }) => index),
        [undefined, "15", undefined, "14"]
      )
      assert.deepStrictEqual(told(said), ["a", "a,b"])
    }))

  it.live("C2 an index of 0 is never sent back", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* ScriptedConsul.make((query) =>
        query.index === undefined ? { ...services, index: 0, body: {} } : undefined
      )
      yield* session({ url })
      yield* eventually(() => queries.length === 2)
      assert.deepStrictEqual(queries.map(({ index }) => index), [undefined, "1"])
    }))

  it.live("C3 a query that waited in vain says that Consul is there, and nothing else", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedConsul.make((query, earlier) =>
        query.path === "catalog/services"
          ? onlyFirst(query)
          : earlier.length < 3
          ? { index: 7, body: [ScriptedConsul.entry("a")] }
          : undefined
      )
      const said = yield* session({ url })
      yield* eventually(() => said.length === 4)
      assert.deepStrictEqual(said.map(({ _tag }) => _tag), ["Groups", "Snapshot", "Alive", "Alive"])
    }))

  it.live("C4 an index that grows without a change: nothing published, no hot loop", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* ScriptedConsul.make((query, earlier) => ({
        index: 10 + earlier.length,
        body: query.path === "catalog/services" ? services.body : [ScriptedConsul.entry("a")]
      }))
      const discovery = yield* discovered({ url })
      yield* until(discovery, () => ids(discovery).join() === "a")
      const revision = discovery.catalog().revision
      const before = queries.length
      yield* Effect.sleep("2 seconds")
      assert.strictEqual(discovery.catalog().revision, revision)
      assert.isAtMost(queries.length - before, 25)
      assert.isAtLeast(queries.length - before, 4)
    }))

  it.live("C5 an empty answer of an index that went back never empties the view", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedConsul.make((query, earlier) => {
        if (query.path === "catalog/services") return onlyFirst(query)
        if (earlier.length === 0) return { index: 400, body: [ScriptedConsul.entry("a"), ScriptedConsul.entry("b")] }
        if (earlier.length === 1) return { index: 1, body: [] }
        return earlier.length === 2
          ? { index: 500, body: [ScriptedConsul.entry("a"), ScriptedConsul.entry("b")] }
          : undefined
      })
      const said = yield* session({ url })
      yield* eventually(() => told(said).length === 2)
      assert.deepStrictEqual(told(said), ["a,b", "a,b"])
    }))

  it.live("C7, C8 an error, or a server without leader, ends a session and not the watch", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedConsul.make((query, earlier) => {
        if (query.path !== "catalog/services") {
          return query.index === undefined ? { index: 7, body: [ScriptedConsul.entry("a")] } : undefined
        }
        switch (earlier.length) {
          case 0:
            return { index: 1, status: 400, body: "bad request" }
          case 1:
            return { index: 1, status: 500, body: "No cluster leader" }
          case 2:
            return { index: 1, leader: false, body: {} }
          case 3:
            return { index: 1, body: "<html>" }
        }
        return onlyFirst(query)
      })
      const discovery = yield* discovered({ url })
      yield* until(discovery, () => ids(discovery).join() === "a")
    }))

  it.live("puts its token into no trace", () => {
    const made: Array<string> = []
    const tracer = Tracer.make({
      span: (options) => {
        made.push(options.name)
        return new Tracer.NativeSpan(options)
      }
    })
    return Effect.gen(function*() {
      const registry = yield* ConsulRegistry.make({ url: "http://127.0.0.1:9", token: "s3cret" })
      yield* Effect.exit(Effect.timeout(registry.list, "2 seconds"))
      assert.deepStrictEqual(made, [])
    }).pipe(Effect.provideService(Tracer.Tracer, tracer))
  })

  it.live("refused credentials are told apart", () =>
    Effect.gen(function*() {
      const { url } = yield* ScriptedConsul.make(() => ({ index: 1, status: 403, body: "ACL not found" }))
      const registry = yield* ConsulRegistry.make({ url, token: "wrong" })
      const error = yield* Effect.flip(registry.list)
      assert.strictEqual(error.message, "consul: list: Consul answered HTTP 403: ACL not found")
      assert.strictEqual(error.unauthorized, true)
    }))
})

describe("settings", () => {
  it.effect("a wrong URL is named", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(ConsulRegistry.make({ url: "localhost:8500" }))
      assert.strictEqual(
        error.message,
        "consul: open: url: expected the http(s) URL of a Consul agent, not \"localhost:8500\""
      )
    }))

  it.live("a dead agent is named", () =>
    Effect.gen(function*() {
      const registry = yield* ConsulRegistry.make({ url: "http://127.0.0.1:1" })
      const { message } = yield* Effect.flip(registry.list)
      assert.strictEqual(
        message,
        "consul: list: Consul at http://127.0.0.1:1 can't be reached: connect ECONNREFUSED 127.0.0.1:1"
      )
    }))
})

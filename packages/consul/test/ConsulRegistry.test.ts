import { assert, describe, it } from "@effect/vitest"
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import * as Announcement from "@portolan/core/Announcement"
import * as Certificates from "@portolan/tooling/backends/Certificates"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import * as Catalogs from "./Catalogs.ts"
import * as ConsulBackend from "./ConsulBackend.ts"
import * as ScriptedConsul from "./ScriptedConsul.ts"

const { instance } = Catalogs

const unavailable = await Effect.runPromise(Consul.unavailable)
if (unavailable !== undefined) console.log(`consul skipped: ${unavailable}`)

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "consul" : `consul [skipped: ${unavailable}]`,
  () => {
    it.live("C6 a service that isn't there yet is seen as soon as it is", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const backend = yield* ConsulBackend.make(server)
        const catalog = yield* Catalogs.make({ url: server.url, services: ["weather"] })
        yield* catalog.discovery.ready
        yield* backend.add(instance(1, "climate"))
        const before = Date.now()
        yield* backend.add(instance(1))
        yield* catalog.until(() => catalog.ids() === "weather-1")
        assert.isBelow(Date.now() - before, 1000)
      }))

    it.live("C7 without a leader stale reads go on, others end", () =>
      Effect.gen(function*() {
        const { leader, members } = yield* Consul.cluster()
        const left = (yield* leader) === members[0] ? members[1]! : members[0]!
        yield* ConsulBackend.ask(left.url, "PUT", "agent/service/register", { Name: "weather", Port: 1 })
        const stale = yield* Catalogs.make({ url: left.url, name: "stale", stale: true, wait: "1 second" })
        const strict = yield* Catalogs.make({ url: left.url, name: "strict", wait: "1 second" })
        yield* stale.until(() => stale.ids() === "weather")
        yield* strict.until(() => strict.ids() === "weather")
        yield* Effect.forEach(members.filter((member) => member !== left), (member) => member.kill)
        yield* strict.until(() => strict.source()?.state === "stale")
        const heard = stale.source()?.lastHeard ?? 0
        yield* Catalogs.eventually(() => (stale.source()?.lastHeard ?? 0) > heard + 2000)
        assert.strictEqual(stale.source()?.state, "connected")
        assert.strictEqual(stale.source()?.reconnects, 0)
        assert.strictEqual(strict.ids(), "weather")
      }), 30_000)

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
        yield* register("both", ["prod \"mcp\"", "mcp"])
        yield* register("one", ["mcp"])
        yield* register("other", ["prod \"mcp\""])
        const options = { url: server.url, tag: ["mcp", "prod \"mcp\""] }
        yield* Announcement.announce(yield* ConsulRegistry.make(options), instance(1), { drain: 0 })
        const catalog = yield* Catalogs.make(options)
        yield* catalog.until(() => catalog.ids() === "both,weather-1")
        // Once no instance has both tags, and again.
        yield* ConsulBackend.ask(server.url, "PUT", "agent/service/deregister/both")
        yield* catalog.until(() => catalog.ids() === "weather-1")
        yield* register("one", ["mcp", "prod \"mcp\""])
        yield* catalog.until(() => catalog.ids() === "one,weather-1")
      }))

    it.live("a service that Consul can't be asked for is rejected, and the others go on", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const good = ["weather", "a/", "a b?c", "...", "ü"]
        const bad = ["..", ".", "/a", "a//b", "a/../b", "a\nb", "a\u00a0b"]
        yield* Effect.forEach(
          [...good, ...bad],
          (Name, n) => ConsulBackend.ask(url, "PUT", "agent/service/register", { ID: `s${n}`, Name, Port: 1 })
        )
        const catalog = yield* Catalogs.make({ url })
        yield* catalog.until(() => catalog.source()?.state === "connected")
        assert.deepStrictEqual(catalog.entries().map(({ service }) => service).sort(), good.sort())
        assert.deepStrictEqual(catalog.source()?.rejected.map(({ id }) => id).sort(), bad.sort())
        // Told of other changes, it asks for none of them.
        for (const Name of ["climate", "seasons"]) {
          yield* ConsulBackend.ask(url, "PUT", "agent/service/register", { Name, Port: 1 })
          yield* catalog.until(() => catalog.ids().includes(Name))
        }
        assert.strictEqual(catalog.source()?.reconnects, 0)

        const registry = yield* ConsulRegistry.make({ url })
        const { put } = Option.getOrThrow(registry.registrar)
        const { message } = yield* Effect.flip(
          put(instance(1, "a//b"), { ttl: Duration.seconds(30), incarnation: "first" })
        )
        assert.strictEqual(message, "consul: put: Consul can't be asked for \"a//b-1\"; take another name")
      }))

    it.live("checks and maintenance are the status", () =>
      Effect.gen(function*() {
        const server = yield* Consul.make
        const put = (path: string, body?: object) => ConsulBackend.ask(server.url, "PUT", path, body)
        yield* put("agent/service/register", {
          ID: "w",
          Name: "weather",
          Address: "10.0.0.1",
          Port: 1,
          Check: { CheckID: "c", TTL: "1h", Status: "passing" }
        })
        const catalog = yield* Catalogs.make({ url: server.url })
        const status = (expected: string) => catalog.until(() => catalog.entries()[0]?.status === expected)
        const node = (Status: string) =>
          put("catalog/register", {
            Node: "one",
            Address: "127.0.0.1",
            SkipNodeUpdate: true,
            Check: { CheckID: "disk", Name: "disk", Status }
          })
        yield* status("up")
        yield* put("agent/check/fail/c")
        yield* status("down")
        yield* put("agent/check/pass/c")
        yield* status("up")
        yield* node("critical")
        yield* status("down")
        yield* node("passing")
        yield* status("up")
        yield* put("agent/service/maintenance/w?enable=true")
        yield* status("draining")
        yield* put("agent/service/maintenance/w?enable=false")
        yield* status("up")
        // Its check keeps the name that the service had.
        yield* put("agent/check/fail/c")
        yield* put("agent/service/register", { ID: "w", Name: "climate", Address: "10.0.0.1", Port: 1 })
        yield* catalog.until(() =>
          catalog.entries()[0]?.service === "climate" && catalog.entries()[0]?.status === "down"
        )
        yield* put("agent/check/pass/c")
        yield* status("up")
      }))

    it.live(
      "a hundred services take a dozen connections, and next to no requests while nothing happens",
      () =>
        Effect.gen(function*() {
          const { add, proxy, requests, url } = yield* ConsulBackend.make(yield* Consul.make)
          const services = Array.from({ length: 100 }, (_, n) => instance(n, `s${n}`))
          yield* Effect.forEach(services, add, { concurrency: 8 })
          const catalog = yield* Catalogs.make({ url })
          let most = 0
          yield* catalog.discovery.updates.pipe(
            Stream.runForEach(() => Effect.sync(() => most = Math.max(most, proxy.connections().open))),
            Effect.forkScoped
          )
          yield* catalog.until(() => catalog.entries().length === 100)
          yield* add(instance(1, "late"))
          yield* catalog.until(() => catalog.entries().length === 101)
          assert.isAtLeast(most, 2)
          assert.isAtMost(most, 12)
          // What the last change led to comes to its end first.
          for (let last = -1; last !== (yield* requests); yield* Effect.sleep("500 millis")) last = yield* requests
          const before = yield* requests
          yield* Effect.sleep("2 seconds")
          assert.isAtMost((yield* requests) - before, 2)
        }),
      30_000
    )

    it.live(
      "a token that loses its rights takes nothing away, and the catalog goes on once it has them again",
      () =>
        Effect.gen(function*() {
          const token = "4c8b2a5e-6d1f-4e0a-9b3c-7f1e2d3c4b5a"
          const { url } = yield* Consul.single({ token })
          const ask = (method: "GET" | "PUT", path: string, body: object) =>
            ConsulBackend.ask(url, method, path, body, token)
          // Access control begins a while after there is a leader.
          const Rules = (service: string, node: string) =>
            `service_prefix "" { policy = "${service}" } node_prefix "" { policy = "${node}" }`
          const { ID } = yield* ask("PUT", "acl/policy", { Name: "reader", Rules: Rules("read", "read") }).pipe(
            Effect.retry(Schedule.spaced("50 millis")),
            Effect.timeout("10 seconds"),
            Effect.map((answer): { readonly ID: string } => JSON.parse(answer))
          )
          const reader: { readonly SecretID: string } = JSON.parse(
            yield* ask("PUT", "acl/token", { Policies: [{ ID }] })
          )
          const allow = (service: string, node: string) =>
            ask("PUT", `acl/policy/${ID}`, { Name: "reader", Rules: Rules(service, node) })
          let port = 1
          // The rights change nothing that a query waits for.
          const change = Effect.suspend(() => ask("PUT", "agent/service/register", { Name: "weather", Port: port++ }))
          yield* change

          const catalog = yield* Catalogs.make({ url, token: reader.SecretID, wait: "1 second" })
          yield* catalog.until(() => catalog.ids() === "weather")
          for (
            const [service, node, error] of [
              ["deny", "read", "the token may not read service \"weather\" any more"],
              ["read", "deny", "the token may not read the nodes of service \"weather\": it needs node:read"]
            ] as const
          ) {
            yield* allow(service, node)
            yield* change
            yield* catalog.until(() => catalog.source()?.state === "stale")
            assert.strictEqual(catalog.source()?.lastError, error)
            yield* allow("read", "read")
            yield* catalog.until(() => catalog.source()?.state === "connected")
          }
          assert.deepStrictEqual(catalog.changes().filter((change) => change.startsWith("Removed")), [])
        }),
      30_000
    )

    it.live("TLS with certificates of our own, and a token", () =>
      Effect.gen(function*() {
        const authority = yield* Certificates.authority("Portolan's tests")
        const server = yield* authority.issue("server.dc1.consul")
        const client = yield* authority.issue("portolan")
        const token = "4c8b2a5e-6d1f-4e0a-9b3c-7f1e2d3c4b5a"
        const { url } = yield* Consul.single({ tls: { ca: authority.cert, ...server, clients: true }, token })
        const registry = yield* ConsulRegistry.make({ url, token, tls: { ca: authority.cert, ...client } })
        yield* Announcement.announce(registry, instance(1), { drain: 0 })
        assert.deepStrictEqual((yield* registry.list).instances.map(({ id }) => id), ["weather-1"])

        const refused = (options: Partial<ConsulRegistry.ConsulRegistryOptions>) =>
          ConsulRegistry.make({ url, token, tls: { ca: authority.cert, ...client }, ...options }).pipe(
            Effect.flatMap(({ list }) => Effect.flip(list))
          )
        assert.include((yield* refused({ tls: client })).message, "can't be reached: unable to verify")
        assert.include((yield* refused({ tls: { ca: authority.cert } })).message, "can't be reached")
        assert.include(
          (yield* refused({ tls: { ca: authority.cert, ...client, serverName: "other" } })).message,
          "Hostname/IP does not match certificate's altnames"
        )
        const stranger = yield* refused({ token: "11111111-6d1f-4e0a-9b3c-7f1e2d3c4b5a" })
        assert.strictEqual(stranger.unauthorized, true)
        assert.notInclude(stranger.message, "11111111")
      }), 30_000)
  }
)

describe("secrets and settings", () => {
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

  it.effect("a wrong URL is named, without its password", () =>
    Effect.gen(function*() {
      for (const url of ["localhost:8500", "me:s3/cr@et@localhost:8500"]) {
        const error = yield* Effect.flip(ConsulRegistry.make({ url }))
        assert.strictEqual(
          error.message,
          "consul: open: url: expected the http(s) URL of a Consul agent, not \"localhost:8500\""
        )
      }
    }))

  it.live("a dead agent is named, without its password", () =>
    Effect.gen(function*() {
      const registry = yield* ConsulRegistry.make({ url: "http://me:s3cr@et@127.0.0.1:1" })
      const { message } = yield* Effect.flip(registry.list)
      assert.strictEqual(
        message,
        "consul: list: Consul at http://127.0.0.1:1 can't be reached: connect ECONNREFUSED 127.0.0.1:1"
      )
    }))
})

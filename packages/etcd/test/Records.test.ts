import { assert, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as HashMap from "effect/HashMap"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import * as fc from "fast-check"
import { randomBytes } from "node:crypto"
import * as EtcdBackend from "./EtcdBackend.ts"
import { onRealEtcd } from "./Real.ts"
import { discovered, instance, shown, source, until } from "./Watched.ts"

const services = (discovery: Parameters<typeof source>[0]) =>
  Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => instance.service)

onRealEtcd("records in etcd", () => {
  it.live("records that start processes, are not JSON, or lie about their key are rejected by id", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const { write } = yield* EtcdBackend.make(server)
      const stdio = { id: "tool", service: "tools", endpoint: { transport: "stdio", command: "sh" } }
      yield* write("/portolan/tools/tool", JSON.stringify(stdio))
      yield* write("/portolan/weather/broken", "{")
      yield* write("/portolan/weather/other", JSON.stringify(instance(1)))
      yield* write("/portolan/stray", "")
      yield* write(EtcdBackend.keyOf(instance(2)), JSON.stringify(instance(2)))
      const discovery = yield* discovered({ endpoints: [server.url] })
      yield* until(discovery, () => (source(discovery)?.rejected.length ?? 0) === 4)
      assert.deepStrictEqual(shown(discovery), ["weather-2 #0"])
      assert.deepStrictEqual(
        source(discovery)?.rejected.map(({ id }) => id).sort(),
        ["broken", "other", "stray", "tool"]
      )
    }))

  it.live("whatever is announced comes back as it was", () =>
    Effect.gen(function*() {
      const registry = yield* EtcdRegistry.make({ endpoints: [(yield* Etcd.make).url] })
      const registrar = Option.getOrThrow(registry.registrar)
      const trip = Effect.fnUntraced(function*(instance: ServiceInstance.ServiceInstance) {
        const lease = yield* registrar.put(instance, { ttl: Duration.minutes(1), incarnation: "one" })
        const { instances, rejected } = yield* registry.list
        const lost = yield* registrar.renew([lease])
        yield* registrar.remove(lease)
        return { instances, rejected, lost, left: (yield* registry.list).instances }
      })
      const text = fc.string({ minLength: 1, maxLength: 20, unit: "grapheme" })
      const arbitrary = fc.record({
        id: fc.oneof(text, fc.constantFrom("a/b", "a/", "/", "%2f")),
        service: text.filter((service) => !service.includes("/")),
        tags: fc.array(text),
        metadata: fc.dictionary(text, fc.jsonValue())
      }).map((fields) => ServiceInstance.make({ ...instance(1), ...fields }))
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(arbitrary, async (instance) => {
            const { instances, left, lost, rejected } = await Effect.runPromise(trip(instance))
            assert.deepStrictEqual([rejected, lost, left], [[], [], []])
            assert.isTrue(
              instances.length === 1 && ServiceInstance.equals(instances[0], instance),
              JSON.stringify(instances)
            )
          }),
          { numRuns: 50 }
        )
      )
    }))

  it.live("what others write who know nothing of Portolan is understood, or rejected with its reason", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const { write } = yield* EtcdBackend.make(server)
      yield* write(
        "/microservices/orders/7f3a",
        JSON.stringify({
          id: "7f3a",
          name: "orders",
          version: "2.1.0",
          metadata: { team: "shop" },
          endpoints: ["grpc://10.0.0.5:9000", "http://10.0.0.5:8000"]
        })
      )
      yield* write("/microservices/weather/10.0.0.6:8080", "10.0.0.6:8080")
      yield* write("/microservices/maps/a", JSON.stringify({ Op: 0, Addr: "10.0.0.7:8080", Metadata: null }))
      yield* write("/microservices/locks/a", "held by 7")
      yield* write("/microservices/10.0.0.8:8080", "10.0.0.8:8080")
      yield* write("/microservices/weather/", "")
      const registry = yield* EtcdRegistry.make({ endpoints: [server.url], prefix: "/microservices" })
      const { instances, rejected } = yield* registry.list
      assert.deepStrictEqual(
        instances.map(({ endpoint, id, service }) => [service, id, "url" in endpoint ? endpoint.url : undefined])
          .sort(),
        [
          ["maps", "a", "http://10.0.0.7:8080/mcp"],
          ["orders", "7f3a", "http://10.0.0.5:8000/mcp"],
          ["weather", "10.0.0.6:8080", "http://10.0.0.6:8080/mcp"]
        ]
      )
      assert.deepStrictEqual(rejected.map(({ id }) => id).sort(), [
        "/microservices/locks/a",
        "/microservices/weather/",
        "10.0.0.8:8080"
      ])
    }))

  it.live("of two keys with one id the last written counts, and the other is rejected as long as it is there", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const backend = yield* EtcdBackend.make(server)
      const moved = { ...instance(1), service: "climate" }
      const options = { endpoints: [server.url] }
      const reasons = (discovery: Parameters<typeof source>[0]) =>
        source(discovery)?.rejected.map(({ id, reason }) => `${id}: ${reason}`)
      const discovery = yield* discovered(options)
      yield* until(discovery, () => source(discovery)?.state === "connected")
      yield* backend.add(instance(1))
      yield* backend.add(moved)
      yield* until(discovery, () => source(discovery)?.rejected.length === 1)
      const expected = [
        "/portolan/weather/weather-1: id: \"weather-1\" is that of \"/portolan/climate/weather-1\" too, written later"
      ]
      assert.deepStrictEqual(reasons(discovery), expected)
      const later = yield* discovered(options)
      yield* until(later, () => shown(later).length === 1)
      assert.deepStrictEqual(reasons(later), expected)
      yield* backend.remove(instance(1))
      for (const each of [discovery, later]) {
        yield* until(each, () => source(each)?.rejected.length === 0)
        assert.deepStrictEqual(services(each), ["climate"])
      }
    }))

  it.live("of two keys with one id the other counts again when the one that took the id is gone, or is written again", () =>
    Effect.gen(function*() {
      const backend = yield* EtcdBackend.make(yield* Etcd.make)
      const moved = { ...instance(1), service: "climate" }
      const discovery = yield* discovered({ endpoints: backend.endpoints })
      yield* backend.add(instance(1))
      yield* backend.add(moved)
      yield* until(discovery, () => services(discovery).join() === "climate")
      const firstSeen = () => Array.from(HashMap.values(discovery.catalog().entries), ({ firstSeen }) => firstSeen)
      const before = firstSeen()
      yield* backend.update(instance(1, 1))
      yield* until(discovery, () => services(discovery).join() === "weather")
      assert.deepStrictEqual(firstSeen(), before)
      assert.deepStrictEqual(source(discovery)?.rejected.map(({ id }) => id), ["/portolan/climate/weather-1"])
      yield* backend.remove(instance(1))
      yield* until(discovery, () => services(discovery).join() === "climate")
      assert.deepStrictEqual(source(discovery)?.rejected, [])
      assert.strictEqual(source(discovery)?.reconnects, 0)
    }))

  it.live("records of others with one id in two services are two: the later one is known as <id>@<service>", () =>
    Effect.gen(function*() {
      const backend = yield* EtcdBackend.make(yield* Etcd.make)
      const address = "10.0.0.6:8080"
      const key = (service: string) => `/portolan/${service}/${address}`
      const options = { endpoints: backend.endpoints }
      const named = (discovery: Parameters<typeof source>[0]) =>
        Array.from(HashMap.values(discovery.catalog().entries), ({ instance }) => `${instance.service} ${instance.id}`)
          .sort()
      const discovery = yield* discovered(options)
      yield* until(discovery, () => source(discovery)?.state === "connected")
      for (const service of ["weather", "news", "maps"]) yield* backend.write(key(service), address)
      const all = [`maps ${address}@maps`, `news ${address}@news`, `weather ${address}`]
      yield* until(discovery, () => named(discovery).length === 3)
      assert.deepStrictEqual(named(discovery), all)
      // A new session names them alike, whichever was written last.
      yield* backend.write(key("weather"), `http://${address}/other`)
      const later = yield* discovered(options)
      yield* until(later, () => named(later).length === 3)
      assert.deepStrictEqual(named(later), all)
      yield* backend.erase(key("maps"))
      yield* until(discovery, () => named(discovery).length === 2)
      yield* backend.erase(key("weather"))
      for (const each of [discovery, later, yield* discovered(options)]) {
        yield* until(each, () => named(each).join() === `news ${address}`)
        assert.deepStrictEqual(source(each)?.rejected, [])
      }
    }))

  it.live("an instance that moves to another service doesn't keep its old record alive", () =>
    Effect.gen(function*() {
      const registry = yield* EtcdRegistry.make({ endpoints: [(yield* Etcd.make).url] })
      const { put } = Option.getOrThrow(registry.registrar)
      const lease = { ttl: Duration.minutes(1), incarnation: "one" }
      const before = yield* put(instance(1), lease)
      const after = yield* put({ ...instance(1), service: "climate" }, lease)
      assert.notStrictEqual(after.handle, before.handle)
    }))

  it.live("sealed records are read by who has the key, and no other record counts then", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const { write } = yield* EtcdBackend.make(server)
      const sealed = RecordFormat.sealed({
        keys: [{ id: "2026-11", key: Redacted.make(randomBytes(32).toString("base64")) }]
      })
      const options = { endpoints: [server.url], format: yield* sealed }
      yield* Announcement.announce(yield* EtcdRegistry.make(options), instance(1), { drain: 0 })
      yield* write(EtcdBackend.keyOf(instance(2)), JSON.stringify(instance(2)))
      const discovery = yield* discovered(options)
      yield* until(discovery, () => shown(discovery).length === 1)
      assert.deepStrictEqual(source(discovery)?.rejected.map(({ id }) => id), ["weather-2"])

      const { instances, rejected } = yield* (yield* EtcdRegistry.make({ endpoints: [server.url] })).list
      assert.deepStrictEqual(instances.map(({ id }) => id), ["weather-2"])
      assert.deepStrictEqual(rejected, [{
        id: "weather-1",
        reason: "it is sealed, and this registry was given no keys"
      }])
    }))
})

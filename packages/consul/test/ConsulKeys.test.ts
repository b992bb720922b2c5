import { assert, describe, it } from "@effect/vitest"
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"
import { eventually, instance } from "./Catalogs.ts"
import * as ConsulBackend from "./ConsulBackend.ts"
import { ids, registry, session, writing } from "./Keys.ts"
import * as ScriptedConsul from "./ScriptedConsul.ts"

const ttl = Duration.seconds(2)

const text = (value: object | string) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value))

/** What `kv/portolan/?recurse` answers. */
const stored = (...ids: ReadonlyArray<string>) =>
  ids.map((id, index) => ({
    Key: `portolan/weather/${id}`,
    Value: text("10.0.0.1:80").toString("base64"),
    ModifyIndex: index + 1
  }))

const unavailable = await Effect.runPromise(Consul.unavailable)
if (unavailable !== undefined) console.log(`consul's keys skipped: ${unavailable}`)

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "consul's keys" : `consul's keys [skipped: ${unavailable}]`,
  () => {
    it.live("what ran out has expired, what was removed has not", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const consul = yield* registry({ url })
        const { said } = yield* session(consul)
        const { put, remove } = writing(consul)
        const incarnation = "one"
        yield* put(instance(1), { ttl, incarnation })
        const lease = yield* put(instance(2), { ttl: Duration.minutes(1), incarnation })
        yield* eventually(() => ids(said.at(-1)) === "weather-1,weather-2")
        yield* remove(lease)
        yield* eventually(() => ids(said.at(-1)) === "weather-1")
        assert.deepStrictEqual(said.at(-1)?.expired, [])
        yield* eventually(() => ids(said.at(-1)) === "")
        assert.deepStrictEqual(said.at(-1)?.expired, ["weather-1"])
      }))

    it.live("a lease is as long as the servers want it, twice the TTL of its session", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.single({ settings: { session_ttl_min: "10s" } })
        const { put } = writing(yield* registry({ url }))
        const granted = (ttl: Duration.Input) =>
          Effect.map(put(instance(1), { ttl: Duration.fromInputUnsafe(ttl), incarnation: String(ttl) }), (lease) =>
            Duration.toSeconds(lease.ttl))
        assert.strictEqual(yield* granted("2 seconds"), 20)
        assert.strictEqual(yield* granted("30 seconds"), 30)
        assert.strictEqual(yield* granted("31 seconds"), 32)
        const error = yield* Effect.flip(granted("3 days"))
        assert.include(error.message, "consul: put: Consul answered HTTP 500: Invalid Session TTL")
      }))

    it.live("writing again takes the same session, and many are renewed at once", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const consul = yield* registry({ url })
        const { put, remove, renew } = writing(consul)
        const lease = { ttl: Duration.minutes(1), incarnation: "mine" }
        const leases = yield* Effect.forEach(
          Array.from({ length: 130 }, (_, n) => instance(n)),
          (one) => put(one, lease)
        )
        assert.strictEqual((yield* put(instance(7), lease)).handle, leases[7]?.handle)
        assert.deepStrictEqual(yield* renew(leases), [])

        yield* ConsulBackend.ask(url, "PUT", "txn", [{ KV: { Verb: "delete", Key: "portolan/weather/weather-3" } }])
        yield* ConsulBackend.ask(url, "PUT", `session/destroy/${leases[99]?.handle}`)
        yield* writing(yield* registry({ url })).put(instance(129), { ...lease, incarnation: "theirs" })
        assert.deepStrictEqual(
          (yield* renew(leases)).map(({ lease, reason, taken }) => [lease.instance.id, reason, taken]),
          [
            ["weather-3", "its record is gone", false],
            ["weather-99", "its record is gone", false],
            ["weather-129", "another process took its id", true]
          ]
        )
        yield* remove(leases[129]!)
        const { instances } = yield* consul.list
        assert.isTrue(instances.some(({ id }) => id === "weather-129"))
      }))

    it.live("reads what others wrote, and says why where it can't", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const set = (Key: string, value: object | string) => ({
          KV: { Verb: "set", Key, Value: text(value).toString("base64") }
        })
        yield* ConsulBackend.ask(url, "PUT", "txn", [
          set("portolan/", ""),
          set("portolan/weather/", ""),
          set("portolan/weather/address", "10.0.0.1:8080"),
          set("portolan/weather/json", { host: "10.0.0.2", port: 8080, tags: ["prod"] }),
          set("portolan/weather/with/slash/", { url: "https://10.0.0.3/mcp" }),
          set("portolan/lonely", { service: "climate", url: "http://10.0.0.4/mcp" }),
          set("portolan/nobody", "10.0.0.5:8080"),
          set("portolan/weather/broken", "{"),
          set("portolan2/weather/other", "10.0.0.6:8080")
        ])
        const { instances, rejected } = yield* (yield* registry({ url })).list
        assert.deepStrictEqual(
          instances.map(({ endpoint, id, service }) => [service, id, "url" in endpoint ? endpoint.url : ""]).sort(),
          [
            ["climate", "lonely", "http://10.0.0.4/mcp"],
            ["weather", "address", "http://10.0.0.1:8080/mcp"],
            ["weather", "json", "http://10.0.0.2:8080/mcp"],
            ["weather", "with/slash/", "https://10.0.0.3/mcp"]
          ]
        )
        assert.deepStrictEqual(rejected.map(({ id }) => id).sort(), ["broken", "nobody"])
        for (const { id, reason } of rejected) {
          assert.include(reason, id === "broken" ? "not JSON" : "service: neither its key nor its value names one")
        }
      }))

    it.live("an id under two services is where it was written last, and one that moves leaves nothing behind", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const consul = yield* registry({ url })
        const { put, remove } = writing(consul)
        const moved = (service: string) => ServiceInstance.make({ ...instance(1), id: "moving", service })
        const services = Effect.map(consul.list, ({ instances }) => instances.map(({ service }) => service))
        const lease = { ttl: Duration.minutes(1), incarnation: "one" }
        const other = yield* put(moved("weather"), { ...lease, incarnation: "other" })
        yield* put(moved("climate"), lease)
        assert.deepStrictEqual(yield* services, ["climate"])
        yield* remove(other)
        const last = yield* put(moved("seasons"), lease)
        assert.deepStrictEqual(yield* services, ["seasons"])
        yield* remove(last)
        assert.deepStrictEqual(yield* services, [])
      }))

    it.live("sealed records can't be read in Consul", () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.make
        const format = yield* RecordFormat.sealed({
          keys: [{ id: "2026-11", key: Redacted.make(Buffer.alloc(32, 7).toString("base64")) }]
        })
        const consul = yield* registry({ url, format })
        yield* writing(consul).put(instance(1), { ttl: Duration.minutes(1), incarnation: "one" })
        const plain = yield* registry({ url })
        yield* writing(plain).put(instance(2), { ttl: Duration.minutes(1), incarnation: "one" })
        const raw = yield* ConsulBackend.ask(url, "GET", "kv/portolan/weather/weather-1?raw")
        assert.notInclude(raw, "10.0.0.1")
        const opened = yield* consul.list
        assert.deepStrictEqual(opened.instances, [instance(1)])
        assert.deepStrictEqual(opened.rejected.map(({ id }) => id), ["weather-2"])
        assert.deepStrictEqual((yield* plain.list).rejected, [
          { id: "weather-1", reason: "it is sealed, and this registry was given no keys" }
        ])
      }))
  }
)

describe("the keys of a scripted consul", () => {
  it.live("C1, C5 an index that goes back: asked anew, and nobody witnessed what is missing then", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* ScriptedConsul.make(({ path }, earlier) => {
        if (path !== "kv/portolan/") return { index: 20, status: 404, body: "" }
        switch (earlier.length) {
          case 0:
            return { index: 15, body: stored("a", "b", "c") }
          case 1:
            return { index: 14, body: [] }
          case 2:
            return { index: 14, body: stored("a", "b") }
          case 3:
            return { index: 16, body: stored("a") }
        }
        return undefined
      })
      const { said } = yield* session(yield* registry({ url }))
      const followed = () => queries.filter(({ path }) => path === "kv/portolan/").map(({ index }) => index)
      yield* eventually(() => followed().length === 5)
      assert.deepStrictEqual(followed(), [undefined, "15", undefined, "14", "16"])
      assert.deepStrictEqual(said.map((snapshot) => [ids(snapshot), snapshot.expired]), [
        ["a,b,c", []],
        ["a,b", ["c"]],
        ["a", []]
      ])
    }))

  for (
    const [title, index, modified, lost] of [
      ["written before what was heard last, and never seen", 20, 12, true],
      ["written since", 16, 16, false],
      ["as it was", 15, 1, false]
    ] as const
  ) {
    it.live(`C5 a session that begins with an entry ${title}: ${lost ? "data were lost" : "nothing was lost"}`, () =>
      Effect.gen(function*() {
        const [a] = stored("a")
        const { url } = yield* ScriptedConsul.make(({ path }, earlier) => {
          if (path !== "kv/portolan/") return { index: 20, status: 404, body: "" }
          switch (earlier.length) {
            case 0:
              return { index: 15, body: stored("a", "b") }
            case 1:
              return { index: 15, status: 500, body: "No cluster leader" }
            case 2:
              return { index, body: [{ ...a, ModifyIndex: modified }] }
          }
          return undefined
        })
        const consul = yield* registry({ url })
        yield* Effect.flip(Stream.runDrain(consul.watch))
        const first = yield* Effect.flatMap(Stream.runHead(consul.watch), Effect.fromOption)
        assert.strictEqual(first._tag === "Snapshot" && first.dataLost, lost)
      }))
  }

  it.live("C4 an index that grows without a change: no hot loop", () =>
    Effect.gen(function*() {
      const { queries, url } = yield* ScriptedConsul.make((_, earlier) => ({
        index: 10 + earlier.length,
        body: stored("a")
      }))
      yield* session(yield* registry({ url }))
      yield* eventually(() => queries.length > 0)
      yield* Effect.sleep("2 seconds")
      assert.isAtMost(queries.length, 45)
      assert.isAtLeast(queries.length, 10)
    }))
})

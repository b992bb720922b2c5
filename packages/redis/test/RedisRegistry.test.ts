/** The registry's settings, and what it makes of what is in Redis. Failures of servers are in the other files. */
import { assert, describe, it } from "@effect/vitest"
import type * as Registry from "@portolan/core/Registry"
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as RedisBackend from "./RedisBackend.ts"
import { instance, watch } from "./Watched.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)

/** What is only found by what is told, not by reading everything again. */
const never = { every: "1 hour" } as const

const lease: Registry.LeaseOptions = { ttl: Duration.seconds(30), incarnation: "one" }

const writer = (options: RedisRegistry.RedisRegistryOptions) =>
  Effect.map(
    RedisRegistry.make({ ...options, name: "writer" }),
    ({ registrar }) => Option.getOrThrow(registrar)
  )

describe("settings of a registry in Redis", () => {
  const refused = (options: RedisRegistry.RedisRegistryOptions) =>
    Effect.map(Effect.flip(RedisRegistry.make(options)), ({ message }) => message)

  it.effect("one place, and what belongs to it", () =>
    Effect.gen(function*() {
      const one = "redis: open: expected one of url, sentinels (with master) and cluster"
      assert.strictEqual(yield* refused({}), one)
      assert.strictEqual(yield* refused({ url: "redis://a", cluster: ["b:1"] }), one)
      assert.include(yield* refused({ sentinels: ["a:1"] }), "master: expected the name")
      assert.include(yield* refused({ url: "redis://a", master: "b" }), "master: only sentinels know one")
      assert.include(yield* refused({ cluster: ["a:1"], database: 2 }), "database: a cluster has none but 0")
      assert.include(yield* refused({ cluster: [] }), "cluster: expected host:port of at least one node")
    }))

  it.effect("addresses are checked, and no password is told", () =>
    Effect.gen(function*() {
      for (const url of ["redis:", "http://:hunter2@host", "redis://:hunter2@host/tools", "hunter2"]) {
        const message = yield* refused({ url })
        assert.include(message, "url: expected redis://")
        assert.notInclude(message, "hunter2")
      }
      for (const node of ["redis://:hunter2@host", ":hunter2@host:1", "host:port", ""]) {
        const message = yield* refused({ cluster: ["[::1]:6379", "host", node] })
        assert.include(message, "cluster: expected host:port of each node")
        assert.notInclude(message, "hunter2")
      }
    }))
})

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "a registry in Redis" : `a registry in Redis [skipped: ${unavailable}]`,
  () => {
    it.live("nothing is connected before it is used; who can't connect is told why, and no secret", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ password: "right" })
        const listed = (options: Partial<RedisRegistry.RedisRegistryOptions>) =>
          Effect.flip(Effect.flatMap(RedisRegistry.make({ url: node.url, ...options }), ({ list }) => list))
        assert.include(yield* listed({}), { unauthorized: true })
        const wrong = yield* listed({ password: "hunter2" })
        assert.include(wrong, { unauthorized: true })
        assert.notInclude(JSON.stringify(wrong), "hunter2")
        assert.include(wrong.message, "WRONGPASS")
        assert.include((yield* listed({ password: "right", database: 99 })).message, "DB index is out of range")
        yield* node.stop
        assert.match((yield* listed({ password: "right" })).message, /^redis: open: connect ECONNREFUSED/)
        assert.include((yield* listed({ url: "redis://nowhere.invalid" })).message, "nowhere.invalid")
      }))

    it.live("a node that holds only a part of the records doesn't stand for all of them", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ config: { "cluster-enabled": "yes" } })
        const error = yield* Effect.flip(Effect.flatMap(RedisRegistry.make({ url: node.url }), ({ list }) => list))
        assert.strictEqual(error.detail, "this is a node of a cluster; name it in `cluster`")
        const alone = yield* Redis.single()
        const none = yield* Effect.flip(
          Effect.flatMap(RedisRegistry.make({ cluster: [alone.address] }), ({ list }) => list)
        )
        assert.include(none.detail, "cluster support disabled")
      }))

    it.live(
      "sentinels that can't be asked, know no such primary or name a replica are told of",
      () =>
        Effect.gen(function*() {
          const { master, nodes, sentinels } = yield* Redis.replicated()
          const options = { sentinels: sentinels.map(({ address }) => address), master }
          const refused = (changed: RedisRegistry.RedisRegistryOptions) =>
            Effect.map(
              Effect.flip(Effect.flatMap(RedisRegistry.make({ ...options, ...changed }), ({ list }) => list)),
              ({ detail }) => detail
            )
          const unknown = yield* refused({ master: "nobody" })
          assert.strictEqual(unknown, "the sentinels know no primary of this name; is `master` right?")
          const behind = yield* refused({ nodeAddresses: { [nodes[0]!.address]: nodes[1]!.address } })
          assert.strictEqual(behind, "the node that the sentinels name isn't the primary")
          yield* Effect.forEach(sentinels, (sentinel) => sentinel.kill)
          assert.match(yield* refused({}), /^no sentinel can be asked: connect ECONNREFUSED/)
        }),
      30_000
    )

    it.live("needs no permissions but those that the README names", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single({ config: { ...RedisBackend.config, "notify-keyspace-events": "K$gx" } })
        const options = { url: node.url, ...RedisBackend.user, ...never }
        const registrar = yield* writer(options)
        const catalog = yield* watch(options)
        const first = yield* registrar.put(instance(1), lease)
        yield* catalog.shows("weather-1 #0")
        assert.deepStrictEqual(yield* registrar.renew([first]), [])
        // Nobody but Redis tells of this one.
        yield* node.cli("SET", "portolan:instance:weather-2", JSON.stringify(instance(2)))
        yield* catalog.shows("weather-1 #0", "weather-2 #0")
        yield* registrar.remove(first)
        yield* catalog.shows("weather-2 #0")
        const log = yield* node.cli("ACL", "LOG")
        assert.strictEqual(log, "")
        assert.strictEqual(catalog.source()?.reconnects, 0)
      }))

    it.live(
      "a record whose slot is about to move is followed; where that is refused it is an error, and no more",
      () =>
        Effect.gen(function*() {
          const cluster = yield* Redis.cluster({ config: RedisBackend.config })
          const options = { cluster: cluster.nodes.map(({ address }) => address), ...RedisBackend.user }
          const key = "portolan:instance:weather-1"
          const primaries = yield* cluster.primaries
          const [holder] = yield* Effect.filter(primaries, (node) => Effect.isSuccess(node.cli("GET", key)))
          const other = primaries.find((node) => node !== holder)
          if (holder === undefined || other === undefined) return assert.fail("no two primaries")
          const slot = yield* holder.cli("CLUSTER", "KEYSLOT", key)
          yield* other.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", yield* holder.cli("CLUSTER", "MYID"))
          yield* holder.cli("CLUSTER", "SETSLOT", slot, "MIGRATING", yield* other.cli("CLUSTER", "MYID"))
          const registrar = yield* writer(options)
          yield* other.cli("ACL", "SETUSER", RedisBackend.user.username, "-asking")
          yield* Effect.flip(registrar.put(instance(1), lease))
          yield* other.cli("ACL", "SETUSER", RedisBackend.user.username, "+asking")
          const put = yield* registrar.put(instance(1), lease)
          assert.deepStrictEqual(yield* registrar.renew([put]), [])
        }),
      30_000
    )

    it.live("who may not hear Redis's own messages hears ours", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single()
        yield* node.cli("ACL", "SETUSER", "fleet", "on", ">of-ships", "~portolan:*", "&portolan:*", "+@all")
        const options = { url: node.url, username: "fleet", password: "of-ships", ...never }
        const catalog = yield* watch(options)
        yield* (yield* writer(options)).put(instance(1), lease)
        yield* catalog.shows("weather-1 #0")
      }))

    it.live("reads what others wrote who know nothing of us", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single()
        const set = (id: string, value: string) => node.cli("SET", `portolan:instance:${id}`, value)
        yield* set(
          "kratos-1",
          JSON.stringify({ name: "time", version: "v2", endpoints: ["grpc://a:1", "http://a:2/mcp"] })
        )
        yield* set("moleculer-1", JSON.stringify({ service: "time", address: "10.0.0.9", port: 8080 }))
        yield* set("half-1", JSON.stringify({ service: "time" }))
        yield* set("cut-1", "{\"id\":")
        yield* node.cli("HSET", "portolan:instance:hash-1", "url", "http://b")
        const { instances, rejected } = yield* Effect.flatMap(
          RedisRegistry.make({ url: node.url }),
          ({ list }) => list
        )
        assert.deepStrictEqual(
          instances.map(({ endpoint, id, service, version }) => ({ id, service, version, endpoint })).sort((a, b) =>
            a.id.localeCompare(b.id)
          ),
          [
            {
              id: "kratos-1",
              service: "time",
              version: "v2",
              endpoint: { transport: "streamable-http", url: "http://a:2/mcp" }
            },
            {
              id: "moleculer-1",
              service: "time",
              version: "0.0.0",
              endpoint: { transport: "streamable-http", url: "http://10.0.0.9:8080/mcp" }
            }
          ]
        )
        assert.deepStrictEqual(rejected.map(({ id }) => id).sort(), ["cut-1", "half-1", "hash-1"])
        for (const { reason } of rejected) assert.notInclude(reason, "\n")
      }))

    it.live("writes what others can read; the incarnation shows nowhere else", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single()
        const registrar = yield* writer({ url: node.url })
        const put = yield* registrar.put(instance(1), lease)
        assert.strictEqual(Duration.toMillis(put.ttl), 30_000)
        assert.deepStrictEqual(JSON.parse(yield* node.cli("GET", "portolan:instance:weather-1")), {
          ...instance(1),
          "portolan-incarnation": "one"
        })
        const { instances } = yield* Effect.flatMap(RedisRegistry.make({ url: node.url }), ({ list }) => list)
        assert.deepStrictEqual(instances, [instance(1)])
        // A record of somebody who knows nothing of incarnations is not ours, and is left alone.
        yield* node.cli("SET", "portolan:instance:weather-1", "10.0.0.9:80")
        assert.deepStrictEqual((yield* registrar.renew([put])).map(({ taken }) => taken), [true])
        yield* registrar.remove(put)
        assert.strictEqual(yield* node.cli("GET", "portolan:instance:weather-1"), "10.0.0.9:80")
      }))

    it.live("a connection that hung until its write was given up is not used again", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single()
        const proxy = yield* FaultProxy.make(node)
        const registrar = yield* writer({ url: `redis://127.0.0.1:${proxy.port}` })
        yield* registrar.put(instance(1), lease)
        yield* proxy.halfOpen()
        const second = registrar.put(instance(1, 1), lease)
        assert.isTrue(Option.isNone(yield* Effect.timeoutOption(second, "100 millis")))
        yield* second
        assert.include(yield* node.cli("GET", "portolan:instance:weather-1"), "\"seq\":\"1\"")
      }))

    it.live("renewing writes back what a failover undid", () =>
      Effect.gen(function*() {
        const node = yield* Redis.single()
        const registrar = yield* writer({ url: node.url })
        const catalog = yield* watch({ url: node.url, ...never })
        yield* registrar.put(instance(1), lease)
        const before = yield* node.cli("GET", "portolan:instance:weather-1")
        const second = yield* registrar.put(instance(1, 1), lease)
        yield* catalog.shows("weather-1 #1")
        yield* node.cli("SET", "portolan:instance:weather-1", before, "PX", "900")
        assert.deepStrictEqual(yield* registrar.renew([second]), [])
        assert.include(yield* node.cli("GET", "portolan:instance:weather-1"), "\"seq\":\"1\"")
        assert.isAbove(Number(yield* node.cli("PTTL", "portolan:instance:weather-1")), 20_000)
      }))
  }
)

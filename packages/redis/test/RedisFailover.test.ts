/** Primaries that die, hang or move while a registry is watched, under Sentinel and in a cluster. */
import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { Cluster } from "ioredis"
import * as RedisBackend from "./RedisBackend.ts"
import { instance, watch } from "./Watched.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)
if (unavailable !== undefined) console.log(`failover of redis skipped: ${unavailable}`)
const titled = (title: string) => unavailable === undefined ? title : `${title} [skipped: ${unavailable}]`

const { config, user } = RedisBackend

const now = Effect.clockWith((clock) => clock.currentTimeMillis)

/** Asks again and again, and answers once it succeeds. */
const eventually = <A, E>(ask: Effect.Effect<A, E>) =>
  ask.pipe(Effect.retry(Schedule.spaced("50 millis")), Effect.timeout("20 seconds"))

const removed = (log: ReadonlyArray<string>) => log.filter((line) => line.startsWith("Removed"))

const sentinel = Effect.gen(function*() {
  const deployment = yield* Redis.replicated({ config })
  const { master, primary, sentinels } = deployment
  return { ...deployment, options: { ...user, sentinels: sentinels.map(({ address }) => address), master }, primary }
})

const write = (node: Redis.Node, n: number, seq = 0) =>
  Effect.gen(function*() {
    const record = instance(n, seq)
    yield* node.cli("SET", RedisBackend.keyOf(record), JSON.stringify(record))
    yield* node.cli("PUBLISH", "portolan:changes", JSON.stringify({ id: record.id }))
  })

/** Until the sentinels name another primary that takes writes. */
const successor = (primary: Effect.Effect<Redis.Node, unknown>, former: Redis.Node) =>
  eventually(Effect.gen(function*() {
    const node = yield* primary
    if (node === former) return yield* Effect.fail("still the former one")
    yield* Effect.filterOrFail(node.cli("ROLE"), (role) => role.startsWith("master"))
    return node
  }))

describe.skipIf(unavailable !== undefined)(titled("redis under sentinel"), () => {
  it.live(
    "R6 a primary that dies is replaced: what was written to the new one is seen, nothing is removed",
    () =>
      Effect.gen(function*() {
        const { options, primary, sentinels } = yield* sentinel
        const former = yield* primary
        yield* write(former, 1)
        yield* write(former, 2)
        const catalog = yield* watch(options)
        yield* catalog.shows("weather-1 #0", "weather-2 #0")
        yield* RedisBackend.caughtUp(former, 2)
        // A sentinel goes with it, as if both were on one machine.
        yield* sentinels[0]!.kill
        yield* former.kill
        yield* catalog.until(() => catalog.source()?.state === "stale")
        assert.deepStrictEqual(catalog.shown(), ["weather-1 #0", "weather-2 #0"])
        const latter = yield* successor(primary, former)
        const from = yield* now
        yield* write(latter, 3)
        yield* catalog.shows("weather-1 #0", "weather-2 #0", "weather-3 #0")
        assert.isBelow((yield* now) - from, 5000)
        assert.deepStrictEqual(Array.from(catalog.log).sort(), [
          "Added weather-1",
          "Added weather-2",
          "Added weather-3"
        ])
        // The former one comes back as a replica, which nobody reads.
        yield* former.start
        yield* write(latter, 3, 1)
        yield* catalog.shows("weather-1 #0", "weather-2 #0", "weather-3 #1")
      }),
    60_000
  )

  it.live("R6 an announcement that the failover lost is back within a heartbeat", () =>
    Effect.gen(function*() {
      const { nodes, options, primary } = yield* sentinel
      const former = yield* primary
      const replicas = nodes.filter((node) => node !== former)
      const registry = yield* RedisRegistry.make({ ...options, name: "announcer" })
      const announcer = yield* Announcement.announcer(registry, { ttl: "3 seconds", drain: 0 })
      const catalog = yield* watch(options)
      yield* catalog.connected
      // The replicas hear nothing of what the primary acknowledges last.
      yield* Effect.forEach(replicas, (node) => node.pause)
      yield* announcer.announce(instance(1))
      yield* catalog.shows("weather-1 #0")
      yield* former.kill
      yield* Effect.forEach(replicas, (node) => node.resume)
      const latter = yield* successor(primary, former)
      const from = yield* now
      yield* eventually(
        Effect.filterOrFail(latter.cli("EXISTS", RedisBackend.keyOf(instance(1))), (answer) => answer === "1")
      )
      // A heartbeat, and the longest wait before a write is tried again.
      assert.isBelow((yield* now) - from, 1000 + 3000)
      yield* catalog.connected
      yield* catalog.shows("weather-1 #0")
    }), 60_000)

  it.live("R7 a primary that hangs is left for its successor", () =>
    Effect.gen(function*() {
      const { options, primary } = yield* sentinel
      const former = yield* primary
      yield* write(former, 1)
      const catalog = yield* watch(options)
      yield* catalog.shows("weather-1 #0")
      yield* RedisBackend.caughtUp(former, 2)
      yield* former.pause
      const latter = yield* successor(primary, former)
      yield* write(latter, 2)
      yield* catalog.shows("weather-1 #0", "weather-2 #0")
      // It still takes itself for the primary when it wakes.
      yield* former.resume
      yield* write(latter, 3)
      yield* catalog.shows("weather-1 #0", "weather-2 #0", "weather-3 #0")
      assert.deepStrictEqual(removed(catalog.log), [])
    }), 60_000)

  it.live("R6 a primary that is demoted is not read any more", () =>
    Effect.gen(function*() {
      const { master, options, primary, sentinels } = yield* sentinel
      const former = yield* primary
      yield* write(former, 1)
      const registry = yield* RedisRegistry.make({ ...options, name: "announcer" })
      // Until the sentinels tell of the successor, its lease is renewed at the former one: it must last longer than that.
      yield* Announcement.announce(registry, instance(2), { ttl: "20 seconds", drain: 0 })
      const catalog = yield* watch(options)
      yield* catalog.shows("weather-1 #0", "weather-2 #0")
      yield* RedisBackend.caughtUp(former, 2)
      yield* sentinels[0]!.cli("SENTINEL", "FAILOVER", master)
      const latter = yield* successor(primary, former)
      yield* write(latter, 1, 1)
      yield* catalog.shows("weather-1 #1", "weather-2 #0")
      assert.deepStrictEqual(removed(catalog.log), [])
    }), 60_000)

  it.live("sentinels that hang are left for another one", () =>
    Effect.gen(function*() {
      const { options, primary, sentinels } = yield* sentinel
      const former = yield* primary
      yield* write(former, 1)
      const catalog = yield* watch(options)
      yield* catalog.shows("weather-1 #0")
      const clients = yield* Effect.forEach(sentinels, (sentinel) => sentinel.cli("CLIENT", "LIST"))
      const listened = clients.findIndex((list) => / sub=1 /.test(list))
      const before = catalog.source()?.reconnects ?? 0
      // They must not use up the time that connecting may take.
      const hung = [sentinels[listened]!, sentinels[(listened + 1) % 3]!]
      yield* Effect.forEach(hung, (sentinel) => sentinel.pause)
      yield* catalog.until(() =>
        (catalog.source()?.reconnects ?? 0) > before && catalog.source()?.state === "connected"
      )
      yield* Effect.forEach(hung, (sentinel) => sentinel.kill)
      yield* write(former, 2)
      yield* catalog.shows("weather-1 #0", "weather-2 #0")
      assert.deepStrictEqual(removed(catalog.log), [])
    }), 60_000)
})

const cluster = Effect.gen(function*() {
  const deployment = yield* Redis.cluster({ config: { ...config, "notify-keyspace-events": "KA" } })
  const client = yield* RedisBackend.neighbour(() =>
    new Cluster(deployment.nodes.map(({ host, port }) => ({ host, port })), {
      clusterRetryStrategy: () => 50,
      retryDelayOnClusterDown: 50,
      retryDelayOnFailover: 50,
      redisOptions: { maxRetriesPerRequest: null }
    })
  )
  return { ...deployment, client, options: { ...user, cluster: deployment.nodes.map(({ address }) => address) } }
})

const many = Array.from({ length: 30 }, (_, n) => instance(n))

/** A record that the node's own slots hold. */
const held = (node: Redis.Node) =>
  Effect.map(
    node.cli("--scan", "--pattern", "portolan:instance:*"),
    (keys) => Number(/weather-(\d+)$/m.exec(keys)?.[1])
  )

describe.skipIf(unavailable !== undefined)(titled("a redis cluster"), () => {
  it.live(
    "R4 the keys of all primaries are seen, and what each of them tells of its own",
    () =>
      Effect.gen(function*() {
        const { client, options, primaries } = yield* cluster
        yield* Effect.forEach(many, (each) => RedisBackend.write(client, each), { discard: true })
        const catalog = yield* watch({ ...options, every: "1 hour" })
        yield* catalog.until(() => catalog.shown().length === many.length)
        for (const node of yield* primaries) {
          // Of a program that publishes nothing: only this node tells.
          const n = yield* held(node)
          yield* node.cli("SET", RedisBackend.keyOf(instance(n)), JSON.stringify(instance(n, 1)))
          yield* catalog.until(() => catalog.shown().includes(`weather-${n} #1`))
        }
        assert.strictEqual(catalog.source()?.reconnects, 0)
      }),
    60_000
  )

  it.live(
    "R5 slots that move to another primary while it is watched take no record with them",
    () =>
      Effect.gen(function*() {
        const { client, nodes, options, primaries } = yield* cluster
        const crowd = Array.from({ length: 500 }, (_, n) => instance(n))
        yield* Effect.forEach(crowd, (each) => RedisBackend.write(client, each), { concurrency: 50, discard: true })
        // Everything is read all the time: keys move from nodes that are still to be read to those that were read already.
        const catalog = yield* watch({ ...options, every: "1 millis" })
        yield* catalog.until(() => catalog.shown().length === crowd.length)
        const [first, second] = yield* primaries
        const move = Effect.fnUntraced(function*(from: Redis.Node, to: Redis.Node) {
          const before = Number(yield* to.cli("DBSIZE"))
          const ids = { from: yield* from.cli("CLUSTER", "MYID"), to: yield* to.cli("CLUSTER", "MYID") }
          const command = `--cluster reshard ${nodes[0]!.address} --cluster-yes --cluster-slots 700`
          yield* nodes[0]!.cli(...command.split(" "), "--cluster-from", ids.from, "--cluster-to", ids.to)
          assert.isAbove(Number(yield* to.cli("DBSIZE")), before)
        })
        yield* move(first!, second!)
        yield* move(second!, first!)
        // A primary hands over to its replica and stays: its connections are as good as before, and nobody tells of a change.
        yield* Effect.forEach(nodes, (node) => node.cli("CONFIG", "SET", "notify-keyspace-events", ""))
        const before = yield* primaries
        const latter = nodes.find((node) => !before.includes(node))!
        yield* latter.cli("CLUSTER", "FAILOVER")
        yield* eventually(Effect.filterOrFail(primaries, (now) => now.includes(latter)))
        yield* Effect.firstSuccessOf(Array.from({ length: 50 }, (_, n) => {
          const newcomer = instance(900 + n)
          return latter.cli("SET", RedisBackend.keyOf(newcomer), JSON.stringify(newcomer))
        }))
        yield* catalog.until(() => catalog.shown().length === crowd.length + 1)
        assert.deepStrictEqual(removed(catalog.log), [])
      }),
    60_000
  )

  it.live(
    "R5 a primary that dies is replaced: nothing is removed, and its successor is heard",
    () =>
      Effect.gen(function*() {
        const { client, options, primaries } = yield* cluster
        yield* Effect.forEach(many, (each) => RedisBackend.write(client, each), { discard: true })
        const catalog = yield* watch({ ...options, every: "1 hour" })
        yield* catalog.until(() => catalog.shown().length === many.length)
        const before = yield* primaries
        const former = before[0]!
        yield* RedisBackend.caughtUp(former, 1)
        yield* former.kill
        const latter = yield* eventually(Effect.gen(function*() {
          const node = (yield* primaries).find((node) => !before.includes(node))
          return node ?? (yield* Effect.fail("none yet"))
        }))
        const from = yield* now
        const n = yield* held(latter)
        yield* latter.cli("SET", RedisBackend.keyOf(instance(n)), JSON.stringify(instance(n, 1)))
        yield* catalog.until(() => catalog.shown().includes(`weather-${n} #1`))
        assert.isBelow((yield* now) - from, 5000)
        assert.lengthOf(catalog.shown(), many.length)
        assert.deepStrictEqual(removed(catalog.log), [])
      }),
    60_000
  )

  it.live("R5 records of a slot that nobody serves are not taken for gone", () =>
    Effect.gen(function*() {
      const { client, nodes, options, primaries } = yield* cluster
      yield* Effect.forEach(many, (each) => RedisBackend.write(client, each), { discard: true })
      // It has read nothing before, so nothing is known that it could ask for by name.
      const list = Effect.scoped(Effect.flatMap(RedisRegistry.make(options), ({ list }) => list))
      assert.lengthOf((yield* list).instances, many.length)
      const owner = (yield* primaries)[0]!
      const slot = yield* owner.cli("CLUSTER", "KEYSLOT", RedisBackend.keyOf(instance(yield* held(owner))))
      yield* Effect.forEach(nodes, (node) => node.cli("CONFIG", "SET", "cluster-require-full-coverage", "no"))
      // The others would believe its owner.
      yield* owner.cli("CLUSTER", "DELSLOTS", slot)
      yield* Effect.forEach(nodes.filter((node) => node !== owner), (node) => node.cli("CLUSTER", "DELSLOTS", slot))
      const failure = yield* Effect.flip(list)
      assert.strictEqual(failure.message, "redis: read: no primary serves 1 of the cluster's slots")
      yield* owner.cli("CLUSTER", "ADDSLOTS", slot)
      const { instances } = yield* eventually(list)
      assert.lengthOf(instances, many.length)
    }), 60_000)

  it.live("R7 a primary that hangs is left for its successor", () =>
    Effect.gen(function*() {
      const { client, options, primaries } = yield* cluster
      yield* Effect.forEach(many, (each) => RedisBackend.write(client, each), { discard: true })
      const catalog = yield* watch(options)
      yield* catalog.until(() => catalog.shown().length === many.length)
      const before = yield* primaries
      const former = before[0]!
      const n = yield* held(former)
      yield* RedisBackend.caughtUp(former, 1)
      yield* former.pause
      const latter = yield* eventually(Effect.gen(function*() {
        const node = (yield* primaries).find((node) => !before.includes(node))
        return node ?? (yield* Effect.fail("none yet"))
      }))
      const changed = instance(n, 1)
      yield* latter.cli("SET", RedisBackend.keyOf(changed), JSON.stringify(changed))
      yield* catalog.until(() => catalog.shown().includes(`weather-${n} #1`))
      yield* former.resume
      assert.lengthOf(catalog.shown(), many.length)
      assert.deepStrictEqual(removed(catalog.log), [])
    }), 60_000)
})

/**
 * Real Redis, broken in every way.
 */
import * as RedisRegistry from "@portolan/redis/RedisRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as Network from "@portolan/tooling/backends/Network"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as Outages from "./outages.ts"

const unavailable = await Effect.runPromise(Redis.unavailable)
const networkless = unavailable ?? await Effect.runPromise(Network.unavailable)

const one = Effect.gen(function*() {
  const server = yield* Redis.single()
  const proxy = yield* FaultProxy.make(server)
  return {
    server,
    proxy,
    read: RedisRegistry.make({ url: `redis://${proxy.host}:${proxy.port}`, every: "1 second" }),
    announce: RedisRegistry.make({ url: server.url }),
    works: server.cli("SET", "probe", "1")
  }
})

Outages.suite("Redis with one node", unavailable, one, [
  { title: "killed, started with its data", lost: "all", begin: ({ server }) => Effect.as(server.kill, server.start) },
  { title: "wiped", lost: "all", wiped: true, begin: ({ server }) => Effect.as(server.kill, server.restartEmpty) },
  {
    title: "flushed",
    lost: "part",
    wiped: true,
    begin: ({ server }) => Effect.as(server.cli("FLUSHALL"), Effect.void)
  },
  { title: "frozen", lost: "all", begin: ({ server }) => Effect.as(server.pause, server.resume) },
  { title: "silent to its reader", lost: "all", begin: ({ proxy }) => Effect.as(proxy.stall, proxy.restore) }
])

const replicatedAt = (hosts?: ReadonlyArray<Network.Host>) =>
  Effect.gen(function*() {
    const redis = yield* Redis.replicated({ places: hosts })
    const sentinels = redis.sentinels.map(({ address }) => address)
    return {
      ...redis,
      hosts: hosts ?? [],
      read: RedisRegistry.make({ sentinels, master: redis.master, every: "1 second" }),
      // A failover that is under way takes back what is written meanwhile.
      works: Effect.forEach(redis.sentinels, ({ cli }) => cli("SENTINEL", "MASTER", redis.master)).pipe(
        Effect.filterOrFail((states) => states.every((state) => /^flags\nmaster$/m.test(state))),
        Effect.andThen(redis.primary),
        Effect.flatMap((primary) => primary.cli("SET", "probe", "1"))
      )
    }
  })

Outages.suite("Redis with Sentinel", unavailable, replicatedAt(), [
  {
    title: "primary killed",
    lost: "part",
    begin: ({ primary }) => Effect.flatMap(primary, (primary) => Effect.as(primary.kill, primary.start))
  },
  {
    title: "primary frozen",
    lost: "part",
    begin: ({ primary }) => Effect.flatMap(primary, (primary) => Effect.as(primary.pause, primary.resume))
  },
  {
    title: "wiped",
    lost: "all",
    wiped: true,
    begin: ({ nodes }) =>
      Effect.as(Outages.each(nodes, ({ kill }) => kill), Outages.each(nodes, ({ restartEmpty }) => restartEmpty))
  }
])

Outages.suite("Redis with Sentinel in a network", networkless, Effect.flatMap(Network.make(6), replicatedAt), [
  {
    title: "primary cut off",
    lost: "part",
    begin: ({ hosts, primary }) => Effect.flatMap(primary, (primary) => Outages.cut(hosts, primary))
  }
])

const clusterAt = (hosts?: ReadonlyArray<Network.Host>) =>
  Effect.gen(function*() {
    const redis = yield* Redis.cluster({ places: hosts })
    const primary = Effect.flatMap(redis.primaries, ([first]) => Effect.fromNullishOr(first))
    return {
      ...redis,
      primary,
      hosts: hosts ?? [],
      read: RedisRegistry.make({ cluster: redis.nodes.map(({ address }) => address), every: "1 second" }),
      // Each of these is of another third of the slots; the client follows to where they are.
      works: Effect.flatMap(primary, (primary) =>
        Outages.each(["a", "b", "c"], (third) => primary.cli("-c", "SET", `{${third}}probe`, "1")))
    }
  })

Outages.suite("Redis Cluster", unavailable, clusterAt(), [
  {
    title: "a primary killed",
    lost: "part",
    begin: ({ primary }) => Effect.flatMap(primary, (primary) => Effect.as(primary.kill, primary.start))
  },
  {
    title: "a primary frozen",
    lost: "part",
    begin: ({ primary }) => Effect.flatMap(primary, (primary) => Effect.as(primary.pause, primary.resume))
  },
  {
    title: "all killed, started with their data",
    lost: "all",
    begin: ({ nodes }) => Effect.as(Outages.each(nodes, ({ kill }) => kill), Outages.each(nodes, ({ start }) => start))
  }
])

Outages.suite("Redis Cluster in a network", networkless, Effect.flatMap(Network.make(6), clusterAt), [
  {
    title: "a primary cut off",
    lost: "part",
    begin: ({ hosts, primary }) => Effect.flatMap(primary, (primary) => Outages.cut(hosts, primary))
  }
])

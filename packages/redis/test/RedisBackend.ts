/** Real Redis, each node behind a proxy that breaks connections, as a backend of the laws. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type { RedisRegistryOptions } from "@portolan/redis/RedisRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import type * as Redis from "@portolan/tooling/backends/Redis"
import * as RedisFaults from "@portolan/tooling/backends/RedisFaults"
import type { ServerError } from "@portolan/tooling/backends/Server"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Cluster, Redis as Client } from "ioredis"
import { readFileSync } from "node:fs"

// The README's own line: what it grants is all that the registry under test may do.
const acl = /^ACL SETUSER (?<username>\S+) on >(?<password>\S+) (?<rights>[^`]+)^```$/m
  .exec(readFileSync(new URL("../README.md", import.meta.url), "utf8"))?.groups
if (acl === undefined) throw new Error("README.md: no ACL SETUSER")
const { password = "", rights = "", username = "" } = acl

/** Who the registry is in Redis. */
export const user = { username, password }

export const config: NonNullable<Redis.RedisOptions["config"]> = {
  user: `${username} on >${password} ${rights.replaceAll("\n", " ")}`
}

export const keyOf = (instance: ServiceInstance): string => `portolan:instance:${instance.id}`

export type Neighbour = Client | Cluster

/** Another program's connection, which comes back by itself when the server does. */
export const neighbour = (connect: () => Neighbour): Effect.Effect<Neighbour, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => connect().on("error", () => undefined)),
    (client) => Effect.sync(() => client.disconnect())
  )

export const portal = (node: Redis.Node): Client =>
  new Client({ host: node.host, port: node.port, retryStrategy: () => 50, maxRetriesPerRequest: null })

/** Writes the text of a record and tells so, as a program does that knows the README. */
export const write = (client: Neighbour, instance: ServiceInstance, text = JSON.stringify(instance)) =>
  Effect.tryPromise(async () => {
    await client.set(keyOf(instance), text)
    await client.publish("portolan:changes", JSON.stringify({ id: instance.id }))
  })

/** Waits until so many replicas have all that was written to a primary. (`WAIT` is of what its own connection wrote.) */
export const caughtUp = (primary: Redis.Node, replicas: number) =>
  Effect.filterOrFail(primary.cli("INFO", "replication"), (info) => {
    const written = /^master_repl_offset:(\d+)/m.exec(info)?.[1]
    const acknowledged = Array.from(info.matchAll(/^slave\d+:.*\bstate=online,offset=(\d+)/gm), ([, offset]) => offset)
    return acknowledged.filter((offset) => offset === written).length >= replicas
  }).pipe(Effect.retry(Schedule.spaced("50 millis")), Effect.timeout("20 seconds"))

export const remove = (client: Neighbour, { id, ...instance }: ServiceInstance) =>
  Effect.tryPromise(async () => {
    await client.del(keyOf({ id, ...instance }))
    await client.publish("portolan:changes", JSON.stringify({ id, deregistered: true }))
  })

export interface RedisBackend extends RegistryLaws.Controls {
  /** Where Redis is behind the proxies, for the registry under test. */
  readonly options: RedisRegistryOptions
  readonly neighbour: Neighbour
}

interface Door {
  readonly node: Redis.Node
  readonly faults: RedisFaults.RedisFaults
  readonly proxy: FaultProxy.FaultProxy
  readonly address: string
}

const door = Effect.fnUntraced(function*(node: Redis.Node) {
  const faults = yield* RedisFaults.make(node)
  const proxy = yield* FaultProxy.make(faults)
  return { node, faults, proxy, address: `127.0.0.1:${proxy.port}` }
})

const addresses = (doors: ReadonlyArray<Door>) =>
  Object.fromEntries(doors.map(({ address, node }) => [node.address, address]))

const make = Effect.fnUntraced(function*(
  doors: ReadonlyArray<Door>,
  deployment: {
    readonly nodes: ReadonlyArray<Redis.Node>
    readonly primaries: Effect.Effect<ReadonlyArray<Redis.Node>, ServerError>
    readonly connect: () => Neighbour
    readonly options: RedisRegistryOptions
  }
): Effect.fn.Return<RedisBackend, never, Scope.Scope> {
  const { nodes, primaries } = deployment
  const client = yield* neighbour(deployment.connect)
  const everywhere = <A, E>(act: (door: Door) => Effect.Effect<A, E>) => Effect.forEach(doors, act, { discard: true })
  const onNodes = <A, E>(nodes: ReadonlyArray<Redis.Node>, act: (node: Redis.Node) => Effect.Effect<A, E>) =>
    Effect.forEach(nodes, act, { concurrency: "unbounded", discard: true })
  const sum = <E>(count: (door: Door) => Effect.Effect<number, E>) =>
    Effect.map(Effect.forEach(doors, count), (counts) => counts.reduce((total, each) => total + each, 0))
  return {
    options: { ...deployment.options, ...user },
    neighbour: client,
    add: (instance) => write(client, instance),
    update: (instance) => write(client, instance),
    remove: (instance) => remove(client, instance),
    corrupt: (instance) => write(client, instance, "{\"id\":"),
    outside: (instance) =>
      Effect.tryPromise(() => client.set(`portolan-other:instance:${instance.id}`, JSON.stringify(instance))),
    wipeBackend: Effect.flatMap(primaries, (nodes) => onNodes(nodes, (node) => node.cli("FLUSHALL"))),
    stopBackend: everywhere(({ proxy }) => proxy.refuse),
    startBackend: everywhere(({ proxy }) => proxy.restore),
    restartBackend: Effect.andThen(onNodes(nodes, (node) => node.kill), onNodes(nodes, (node) => node.start)),
    cutConnections: everywhere(({ proxy }) => proxy.cut),
    pauseConnections: everywhere(({ proxy }) => proxy.halfOpen()),
    resumeConnections: everywhere(({ proxy }) => proxy.restore),
    slowWrites: (time) => everywhere(({ faults }) => faults.slowWrites(Duration.toMillis(time))),
    garble: everywhere(({ faults }) => faults.answer("<html>\r\n")),
    ungarble: everywhere(({ faults }) => faults.pass),
    // One that is off keeps the connections it has.
    revoke: onNodes(nodes, (node) =>
      Effect.andThen(
        node.cli("ACL", "SETUSER", user.username, "off"),
        node.cli("CLIENT", "KILL", "USER", user.username)
      )),
    grant: onNodes(nodes, (node) => node.cli("ACL", "SETUSER", user.username, "on")),
    requests: sum(({ faults }) => faults.requests),
    open: sum(({ proxy }) => Effect.sync(() => proxy.connections().open)),
    now: Effect.map(
      Effect.tryPromise(() => client.time()),
      ([seconds, micros]) => Number(seconds) * 1000 + Number(micros) / 1000
    )
  }
})

export const single = Effect.fnUntraced(function*(node: Redis.Node) {
  const only = yield* door(node)
  return yield* make([only], {
    nodes: [node],
    primaries: Effect.succeed([node]),
    connect: () => portal(node),
    options: { url: `redis://${only.address}` }
  })
})

export const replicated = Effect.fnUntraced(function*({ master, nodes, primary, sentinels }: Redis.Replicated) {
  const doors = yield* Effect.forEach([...nodes, ...sentinels], door)
  const first = yield* primary
  return yield* make(doors, {
    nodes,
    primaries: Effect.map(primary, (node) => [node]),
    connect: () => portal(first),
    options: {
      sentinels: doors.slice(nodes.length).map(({ address }) => address),
      master,
      nodeAddresses: addresses(doors)
    }
  })
})

export const cluster = Effect.fnUntraced(function*({ nodes, primaries }: Redis.Cluster) {
  const doors = yield* Effect.forEach(nodes, door)
  return yield* make(doors, {
    nodes,
    primaries,
    connect: () =>
      new Cluster(nodes.map(({ host, port }) => ({ host, port })), {
        clusterRetryStrategy: () => 50,
        redisOptions: { maxRetriesPerRequest: null }
      }),
    options: { cluster: doors.map(({ address }) => address), nodeAddresses: addresses(doors) }
  })
})

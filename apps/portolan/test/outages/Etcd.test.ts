/**
 * Real etcd, broken in every way.
 */
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Network from "@portolan/tooling/backends/Network"
import * as Effect from "effect/Effect"
import * as Outages from "./outages.ts"

const unavailable = await Effect.runPromise(Etcd.unavailable)
const networkless = unavailable ?? await Effect.runPromise(Network.unavailable)

/** Writes a key that is no record. */
const write = ({ url }: { readonly url: string }) =>
  Effect.tryPromise(async (signal) => {
    const body = JSON.stringify({ key: "cHJvYmU=", value: "MQ==" })
    const response = await fetch(`${url}/v3/kv/put`, { method: "POST", body, signal })
    if (!response.ok) throw new Error(await response.text())
  })

const one = Effect.gen(function*() {
  const server = yield* Etcd.single()
  const proxy = yield* FaultProxy.make(server)
  return {
    server,
    proxy,
    read: EtcdRegistry.make({ endpoints: [`http://${proxy.host}:${proxy.port}`], wait: "1 second" }),
    announce: EtcdRegistry.make({ endpoints: [server.url] }),
    works: write(server)
  }
})

Outages.suite("etcd with one member", unavailable, one, [
  { title: "killed, started with its data", lost: "all", begin: ({ server }) => Effect.as(server.kill, server.start) },
  { title: "wiped", lost: "all", wiped: true, begin: ({ server }) => Effect.as(server.kill, server.restartEmpty) },
  { title: "frozen", lost: "all", begin: ({ server }) => Effect.as(server.pause, server.resume) },
  { title: "silent to its reader", lost: "all", begin: ({ proxy }) => Effect.as(proxy.stall, proxy.restore) }
])

const threeAt = (hosts?: ReadonlyArray<Network.Host>) =>
  Effect.gen(function*() {
    const cluster = yield* Etcd.cluster({ places: hosts })
    return {
      ...cluster,
      hosts: hosts ?? [],
      // A write that was lost on its way to a dead leader, and then was sent to that one, has waited for two of them.
      read: EtcdRegistry.make({ endpoints: cluster.endpoints, wait: "1 second", timeout: "1500 millis" }),
      works: Effect.raceAll(cluster.members.map(write))
    }
  })

Outages.suite("etcd with three members", unavailable, threeAt(), [
  {
    title: "leader killed",
    lost: "part",
    begin: ({ leader }) => Effect.flatMap(leader, (leader) => Effect.as(leader.kill, leader.start))
  },
  {
    title: "leader frozen",
    lost: "part",
    begin: ({ leader }) => Effect.flatMap(leader, (leader) => Effect.as(leader.pause, leader.resume))
  },
  {
    title: "majority frozen",
    lost: "all",
    begin: ({ members: [, ...most] }) =>
      Effect.as(Outages.each(most, ({ pause }) => pause), Outages.each(most, ({ resume }) => resume))
  },
  {
    title: "wiped",
    lost: "all",
    wiped: true,
    begin: ({ members, restartEmpty }) => Effect.as(Outages.each(members, ({ kill }) => kill), restartEmpty)
  }
])

Outages.suite("etcd in a network", networkless, Effect.flatMap(Network.make(3), threeAt), [
  {
    title: "leader cut off",
    lost: "part",
    begin: ({ hosts, leader }) => Effect.flatMap(leader, (leader) => Outages.cut(hosts, leader))
  }
])

/**
 * Real Consul, broken in every way.
 */
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Network from "@portolan/tooling/backends/Network"
import * as Effect from "effect/Effect"
import * as Outages from "./outages.ts"

const unavailable = await Effect.runPromise(Consul.unavailable)
const networkless = unavailable ?? await Effect.runPromise(Network.unavailable)

/** Registers a service that the gateway doesn't look for; done once the agent has told its servers. */
const write = ({ url }: { readonly url: string }) =>
  Effect.tryPromise(async (signal) => {
    const body = JSON.stringify({ Name: "probe" })
    const response = await fetch(`${url}/v1/agent/service/register`, { method: "PUT", body, signal })
    if (!response.ok) throw new Error(await response.text())
  })

const one = Effect.gen(function*() {
  const server = yield* Consul.single()
  const proxy = yield* FaultProxy.make(server)
  return {
    server,
    proxy,
    read: ConsulRegistry.make({ url: `http://${proxy.host}:${proxy.port}`, tag: "mcp", wait: "1 second" }),
    announce: ConsulRegistry.make({ url: server.url, tag: "mcp" }),
    works: write(server)
  }
})

Outages.suite("Consul with one server", unavailable, one, [
  { title: "killed, started with its data", lost: "all", begin: ({ server }) => Effect.as(server.kill, server.start) },
  { title: "wiped", lost: "all", wiped: true, begin: ({ server }) => Effect.as(server.kill, server.restartEmpty) },
  { title: "frozen", lost: "all", begin: ({ server }) => Effect.as(server.pause, server.resume) },
  { title: "silent to its reader", lost: "all", begin: ({ proxy }) => Effect.as(proxy.stall, proxy.restore) }
])

/** The gateway and its servers are on the host of a member that follows. */
const threeAt = (hosts?: ReadonlyArray<Network.Host>) =>
  Effect.gen(function*() {
    const cluster = yield* Consul.cluster({ places: hosts })
    const leader = yield* cluster.leader
    const others = cluster.members.filter((member) => member !== leader)
    const [agent = leader] = others
    return {
      ...cluster,
      agent,
      others,
      hosts: hosts ?? [],
      read: ConsulRegistry.make({ url: agent.url, tag: "mcp", wait: "1 second" }),
      works: write(agent)
    }
  })

Outages.suite("Consul with three servers", unavailable, threeAt(), [
  {
    title: "leader killed",
    lost: "part",
    begin: ({ leader }) => Effect.flatMap(leader, (leader) => Effect.as(leader.kill, leader.start))
  },
  {
    title: "majority killed",
    lost: "all",
    begin: ({ agent, members }) => {
      const most = members.filter((member) => member !== agent)
      return Effect.as(Outages.each(most, ({ kill }) => kill), Outages.each(most, ({ start }) => start))
    }
  },
  {
    title: "wiped",
    lost: "all",
    wiped: true,
    begin: ({ members, restartEmpty }) => Effect.as(Outages.each(members, ({ kill }) => kill), restartEmpty)
  }
])

/** s. Agents notice only after 40 s that a connection to a leader is dead, and take no renewals until then. */
const longer = 90

Outages.suite("Consul in a network", networkless, Effect.flatMap(Network.make(3), threeAt), [
  {
    title: "leader cut off",
    lost: "part",
    ttl: longer,
    begin: ({ hosts, leader }) => Effect.flatMap(leader, (leader) => Outages.cut(hosts, leader))
  },
  {
    title: "agent cut off from the other servers",
    lost: "all",
    ttl: longer,
    begin: ({ agent, hosts }) => Outages.isolate(hosts, agent)
  }
])

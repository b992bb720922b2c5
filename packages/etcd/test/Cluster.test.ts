import { assert, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Network from "@portolan/tooling/backends/Network"
import * as Effect from "effect/Effect"
import { describe } from "vitest"
import * as EtcdBackend from "./EtcdBackend.ts"
import { onRealEtcd } from "./Real.ts"
import { changes, discovered, eventually, instance, shown, source, until } from "./Watched.ts"

const begin = Effect.fnUntraced(function*(options?: Parameters<typeof Etcd.cluster>[0]) {
  const cluster = yield* Etcd.cluster(options)
  const [first, ...others] = cluster.members
  if (first === undefined) return yield* Effect.die("a cluster without members")
  const backend = yield* EtcdBackend.make(first, others)
  const registry = yield* EtcdRegistry.make({ endpoints: cluster.endpoints, name: "direct" })
  /** The place of the member that a registry behind the proxies is connected to. */
  const used = Effect.sync(() => backend.proxies.findIndex((proxy) => proxy.connections().open > 0))
  return { ...cluster, backend, registry, used }
})

onRealEtcd("etcd of three members", () => {
  it.live("has a leader, and another one when that is killed, frozen, or all is wiped", () =>
    Effect.gen(function*() {
      const { leader, members, restartEmpty } = yield* Etcd.cluster()
      const first = yield* leader
      yield* first.kill
      const second = yield* leader
      assert.notStrictEqual(second, first)
      yield* first.start
      yield* second.pause
      const third = yield* leader
      assert.notStrictEqual(third, second)
      yield* second.resume
      yield* restartEmpty
      assert.include(members, yield* leader)
    }), 60_000)

  it.live("E7 a leader that is killed takes no record with it", () =>
    Effect.gen(function*() {
      const { endpoints, leader, registry } = yield* begin()
      const announcement = yield* Announcement.announce(registry, instance(1), { ttl: "3 seconds", drain: 0 })
      const discovery = yield* discovered({ endpoints })
      yield* until(discovery, () => shown(discovery).length === 1)
      const seen = yield* changes(discovery)
      for (let round = 1; round <= 2; round++) {
        const killed = yield* leader
        yield* killed.kill
        yield* announcement.update((instance) => ({ ...instance, metadata: { seq: String(round) } }))
        yield* until(discovery, () => shown(discovery).join() === `weather-1 #${round}`, "20 seconds")
        yield* killed.start
      }
      yield* until(discovery, () => source(discovery)?.state === "connected")
      assert.deepStrictEqual(seen, ["Updated weather-1", "Updated weather-1"])
    }), 60_000)

  it.live("the next member is taken when the one in use hangs", () =>
    Effect.gen(function*() {
      const { backend, members, registry, used } = yield* begin()
      yield* Announcement.announce(registry, instance(1), { ttl: "1 minute", drain: 0 })
      const discovery = yield* discovered({ endpoints: backend.endpoints })
      yield* until(discovery, () => shown(discovery).length === 1)
      const seen = yield* changes(discovery)
      const hung = members[yield* used]
      assert.isDefined(hung)
      yield* hung?.pause ?? Effect.void
      yield* Announcement.announce(registry, instance(2), { drain: 0 })
      yield* until(discovery, () => shown(discovery).length === 2, "20 seconds")
      assert.deepStrictEqual(seen, ["Added weather-2"])
      assert.strictEqual(source(discovery)?.state, "connected")
    }), 60_000)

  it.live("E8 renewals go on over new connections when the old ones are silent", () =>
    Effect.gen(function*() {
      const { backend, endpoints } = yield* begin()
      const registry = yield* EtcdRegistry.make({ endpoints: backend.endpoints, timeout: "500 millis" })
      const discovery = yield* discovered({ endpoints })
      const requests = backend.requests ?? Effect.succeed(0)
      yield* Announcement.announce(registry, instance(1), { ttl: "3 seconds", drain: 0 })
      yield* until(discovery, () => shown(discovery).length === 1)
      const seen = yield* changes(discovery)
      for (let round = 0; round < 4; round++) {
        const before = yield* requests
        yield* backend.pauseConnections ?? Effect.void
        // A heartbeat that was answered: it renews, and asks who holds the key.
        yield* eventually(Effect.map(requests, (now) => now >= before + 2))
      }
      assert.deepStrictEqual(seen, [])
    }), 60_000)
})

const noNetwork = await Effect.runPromise(Network.unavailable)
if (noNetwork !== undefined) {
  console.log(`etcd in a network skipped: ${noNetwork}`)
  describe.skip(`etcd in a network [skipped: ${noNetwork}]`)
} else {
  onRealEtcd("etcd in a network", () => {
    it.live("E10 a member that is cut off from the others is left for one that isn't", () =>
      Effect.gen(function*() {
        const places = yield* Network.make(3)
        const { backend, endpoints, used } = yield* begin({ places })
        // So long that the quiet of a watch tells nothing.
        const discovery = yield* discovered({ endpoints: backend.endpoints, wait: "1 minute" })
        yield* until(discovery, () => source(discovery)?.state === "connected")
        const lonely = yield* used
        yield* places[lonely]?.cutFromPeers ?? Effect.void
        yield* until(discovery, () => source(discovery)?.lastError === "etcdserver: no leader", "20 seconds")
        const others = endpoints.filter((_, index) => index !== lonely)
        const registry = yield* EtcdRegistry.make({ endpoints: others, name: "others" })
        yield* Announcement.announce(registry, instance(1), { drain: 0 })
        yield* until(discovery, () => shown(discovery).length === 1, "20 seconds")
      }), 60_000)
  })
}

import { assert, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as EtcdBackend from "./EtcdBackend.ts"
import { onRealEtcd } from "./Real.ts"
import { discovered, eventually, instance, shown, source, until } from "./Watched.ts"

onRealEtcd("etcd", () => {
  it.live("E1 what was compacted away while it was disconnected is found by reading anew", () =>
    Effect.gen(function*() {
      const backend = yield* EtcdBackend.make(yield* Etcd.make)
      yield* backend.add(instance(1))
      yield* backend.add(instance(2))
      const discovery = yield* discovered({ endpoints: backend.endpoints })
      yield* until(discovery, () => shown(discovery).length === 2)
      yield* backend.proxy.refuse
      yield* backend.remove(instance(1))
      yield* backend.update(instance(2, 1))
      yield* backend.add(instance(3))
      yield* backend.compact
      yield* backend.proxy.restore
      yield* until(discovery, () => shown(discovery).join() === "weather-2 #1,weather-3 #0")
    }))

  it.live("E2 a quiet prefix outlives the compaction of what happens elsewhere", () =>
    Effect.gen(function*() {
      const backend = yield* EtcdBackend.make(yield* Etcd.make)
      yield* backend.add(instance(1))
      const discovery = yield* discovered({ endpoints: backend.endpoints, wait: "100 millis" })
      yield* until(discovery, () => shown(discovery).length === 1)
      for (let round = 0; round < 5; round++) {
        yield* Effect.replicateEffect(backend.write("/elsewhere", ""), 20)
        // Two watches begin after the writes.
        const { accepted } = backend.proxy.connections()
        yield* eventually(Effect.sync(() => backend.proxy.connections().accepted >= accepted + 2))
        yield* backend.compact
      }
      yield* backend.update(instance(1, 1))
      yield* until(discovery, () => shown(discovery).join() === "weather-1 #1")
      assert.strictEqual(source(discovery)?.reconnects, 0)
    }))

  it.live("E5 a lease that ran out in an outage is granted anew", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const backend = yield* EtcdBackend.make(server)
      const direct = yield* EtcdRegistry.make({ endpoints: [server.url], name: "direct" })
      const count = (expected: number) =>
        eventually(Effect.map(direct.list, ({ instances }) => instances.length === expected))
      yield* Announcement.announce(yield* EtcdRegistry.make({ endpoints: backend.endpoints }), instance(1), {
        ttl: "2 seconds",
        drain: 0
      })
      const discovery = yield* discovered({ endpoints: backend.endpoints })
      yield* until(discovery, () => shown(discovery).length === 1)
      yield* backend.proxy.stall
      yield* count(0)
      yield* backend.proxy.restore
      yield* count(1)
      yield* until(discovery, () => shown(discovery).length === 1)
    }))

  it.live("a removal says how it came about", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const backend = yield* EtcdBackend.make(server)
      const registry = yield* EtcdRegistry.make({ endpoints: [server.url] })
      const registrar = Option.getOrThrow(registry.registrar)
      const lease = { ttl: Duration.minutes(1), incarnation: "one" }
      const seen: Array<string> = []
      yield* registry.watch.pipe(
        Stream.runForEach((event) =>
          Effect.sync(() => {
            if (event._tag !== "Delta") return
            for (const change of event.changes) if (change._tag === "Removed") seen.push(`${change.id} ${change.how}`)
          })
        ),
        Effect.forkScoped
      )
      const removed = yield* registrar.put(instance(1), lease)
      const revoked = yield* registrar.put(instance(2), lease)
      yield* backend.add(instance(3))
      yield* registrar.remove(removed)
      // What the end of its time does too: etcd revokes the lease, and its keys go.
      yield* EtcdBackend.ask(server.url, "lease/revoke", { ID: revoked.handle })
      yield* backend.remove(instance(3))
      yield* eventually(Effect.sync(() => seen.length === 3))
      assert.deepStrictEqual(seen, ["weather-1 deregistered", "weather-2 expired", "weather-3 deregistered"])
    }))

  it.live("E6 a TTL that etcd raises is the lease's", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const registry = yield* EtcdRegistry.make({ endpoints: [server.url] })
      const registrar = Option.getOrThrow(registry.registrar)
      const { handle, ttl } = yield* registrar.put(instance(1), { ttl: Duration.millis(500), incarnation: "one" })
      const { grantedTTL } = yield* EtcdBackend.ask(server.url, "lease/timetolive", { ID: handle })
      assert.strictEqual(String(Duration.toSeconds(ttl)), grantedTTL)
      assert.isAbove(Duration.toSeconds(ttl), 1)
    }))

  it.live("E11 a cluster that lost its data and counts from the beginning is believed", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const backend = yield* EtcdBackend.make(server)
      const discovery = yield* discovered({ endpoints: backend.endpoints, wait: "200 millis" })
      for (let n = 1; n <= 3; n++) yield* backend.add(instance(n))
      yield* until(discovery, () => shown(discovery).length === 3)
      yield* server.restartEmpty
      yield* backend.add(instance(2, 7))
      yield* until(discovery, () => shown(discovery).join() === "weather-2 #7")
      yield* backend.update(instance(2, 8))
      yield* until(discovery, () => shown(discovery).join() === "weather-2 #8")
    }))

  it.live("the next endpoint is taken when one is dead", () =>
    Effect.gen(function*() {
      const { url } = yield* Etcd.make
      // Each begins with one of them at random.
      yield* Effect.forEach(Array.from({ length: 10 }), () =>
        Effect.gen(function*() {
          const { list } = yield* EtcdRegistry.make({ endpoints: ["http://127.0.0.1:1", url] })
          yield* Effect.retry(list, { times: 1 })
        }), { discard: true })
    }))
})

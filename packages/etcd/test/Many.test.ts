import { assert, it } from "@effect/vitest"
import * as EtcdClient from "@portolan/etcd/Etcd"
import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import * as EtcdBackend from "./EtcdBackend.ts"
import { onRealEtcd } from "./Real.ts"
import { instance } from "./Watched.ts"

onRealEtcd("many records in etcd", () => {
  it.live("E13 4,000 records are kept alive in few requests, and each is heard of", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const backend = yield* EtcdBackend.make(server)
      const registrarAt = (endpoints: ReadonlyArray<string>) =>
        Effect.map(EtcdRegistry.make({ endpoints }), ({ registrar }) => Option.getOrThrow(registrar))
      const registrar = yield* registrarAt([server.url])
      const lease = { ttl: Duration.minutes(5), incarnation: "one" }
      const leases = yield* Effect.forEach(
        Array.from({ length: 4000 }, (_, n) => ({ ...instance(0), id: `weather-${n}` })),
        (instance) => registrar.put(instance, lease),
        { concurrency: 64 }
      )
      const gone = leases.filter((_, n) => n % 1000 === 999)
      yield* Effect.forEach(gone, ({ instance }) => backend.remove(instance), { discard: true })
      const requests = backend.requests ?? Effect.succeed(0)
      const before = yield* requests
      const lost = yield* (yield* registrarAt(backend.endpoints)).renew(leases)
      assert.deepStrictEqual(lost.map(({ lease, reason }) => [lease.instance.id, reason]), [
        ["weather-999", "its record is gone"],
        ["weather-1999", "its record is gone"],
        ["weather-2999", "its record is gone"],
        ["weather-3999", "its record is gone"]
      ])
      // 32 transactions of 128 operations; the renewals are at least 4, and more where etcd lost some of a request.
      assert.isBelow((yield* requests) - before, 100)
      const { instances } = yield* (yield* EtcdRegistry.make({ endpoints: [server.url] })).list
      assert.strictEqual(instances.length, 3996)
      assert.strictEqual(new Set(instances.map(({ id }) => id)).size, 3996)
    }), 60_000)

  it.live("E3 a real etcd breaks large answers into fragments, which are one batch each", () =>
    Effect.gen(function*() {
      const server = yield* Etcd.make
      const backend = yield* EtcdBackend.make(server)
      const large = (n: number) => ({ ...instance(n), metadata: { seq: String(n), text: "x".repeat(500_000) } })
      yield* backend.add(instance(0))
      const etcd = yield* EtcdClient.make({ endpoints: [server.url] })
      const from = (yield* etcd.now("/portolan/")).revision ?? 0
      for (let n = 1; n <= 8; n++) yield* backend.add(large(n))
      const answers = yield* etcd.watch("/portolan/", from + 1).pipe(
        Stream.takeUntil(({ events = [], fragment }) => fragment !== true && events.length > 0),
        Stream.runCollect,
        Effect.timeout("10 seconds")
      )
      assert.isAbove(answers.filter(({ fragment }) => fragment === true).length, 0)
      assert.strictEqual(answers.flatMap(({ events = [] }) => events).length, 8)
    }))
})

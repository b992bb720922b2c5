import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll } from "vitest"
import * as EtcdBackend from "./EtcdBackend.ts"
import { onRealEtcd } from "./Real.ts"

/** Servers are started once; each law gets proxies of its own. */
const suite = <A, E>(
  name: string,
  start: Effect.Effect<A, E, Scope.Scope>,
  controls: (servers: A) => ReturnType<typeof EtcdBackend.make>
) =>
  onRealEtcd(name, () => {
    const scope = Scope.makeUnsafe()
    let servers: A
    beforeAll(async () => {
      servers = await Effect.runPromise(Scope.provide(start, scope))
    }, 60_000)
    afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

    RegistryLaws.suite(
      name,
      ({ endpoints }) => EtcdRegistry.make({ endpoints, wait: "300 millis" }),
      { controls: Effect.suspend(() => controls(servers)) }
    )
  })

suite("etcd", Etcd.make, (server) => EtcdBackend.make(server))

suite("etcd of three members", Etcd.cluster(), ({ leader, members: [first, ...others] }) => {
  if (first === undefined) throw new Error("a cluster without members")
  return EtcdBackend.make(first, others, leader)
})

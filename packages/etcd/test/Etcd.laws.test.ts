import * as EtcdRegistry from "@portolan/etcd/EtcdRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe } from "vitest"
import * as EtcdBackend from "./EtcdBackend.ts"

const unavailable = await Effect.runPromise(Etcd.unavailable)

if (unavailable !== undefined) {
  console.log(`laws of etcd skipped: ${unavailable}`)
  describe.skip(`laws of etcd [skipped: ${unavailable}]`)
} else {
  const scope = Scope.makeUnsafe()
  let server: Server
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(Etcd.make, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  RegistryLaws.suite(
    "etcd",
    (backend) => EtcdRegistry.make({ endpoints: [backend.url], wait: "300 millis" }),
    { controls: Effect.suspend(() => EtcdBackend.make(server)) }
  )
}

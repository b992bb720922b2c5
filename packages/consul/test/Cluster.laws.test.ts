/** The laws on three servers: the registry speaks with one of them, and it is the leader that dies. */
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe } from "vitest"
import * as ConsulBackend from "./ConsulBackend.ts"
import * as ConsulKeysBackend from "./ConsulKeysBackend.ts"

const unavailable = await Effect.runPromise(Consul.unavailable)

if (unavailable !== undefined) {
  console.log(`laws of consul with three servers skipped: ${unavailable}`)
  describe.skip(`laws of consul with three servers [skipped: ${unavailable}]`)
} else {
  const scope = Scope.makeUnsafe()
  let cluster: Consul.Cluster
  beforeAll(async () => {
    cluster = await Effect.runPromise(Scope.provide(Consul.cluster(), scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  const of = (make: typeof ConsulBackend.make) =>
    Effect.suspend(() => make(cluster.members[0]!)).pipe(Effect.map((backend): ConsulBackend.ConsulBackend => ({
      ...backend,
      restartBackend: Effect.flatMap(
        cluster.leader,
        (leader) => leader.kill.pipe(Effect.andThen(cluster.leader), Effect.andThen(leader.start))
      )
    })))
  // A record is read a while after it was written; a damping must be longer than that to mean anything.
  const times = { damping: "2 seconds" } as const
  // Three servers take their time for a write.
  const sizes = { storm: 300 }

  RegistryLaws.suite(
    "consul with three servers",
    ({ url }) => ConsulRegistry.make({ url, tag: "mcp", wait: "1 second" }),
    {
      controls: of(ConsulBackend.make),
      lacks: ["order", "batch"],
      // An agent may tell its servers of a check that lapsed that late.
      times: { ...times, lapse: "30 seconds" },
      sizes
    }
  )

  RegistryLaws.suite(
    "consul's keys with three servers",
    ({ url }) => ConsulRegistry.make({ url, kv: ConsulKeysBackend.prefix, wait: "1 second" }),
    { controls: of(ConsulKeysBackend.make), times, sizes }
  )
}

import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Consul from "@portolan/tooling/backends/Consul"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"
import { afterAll, beforeAll, describe } from "vitest"
import * as ConsulBackend from "./ConsulBackend.ts"

const unavailable = await Effect.runPromise(Consul.unavailable)

if (unavailable !== undefined) {
  console.log(`laws of consul skipped: ${unavailable}`)
  describe.skip(`laws of consul [skipped: ${unavailable}]`)
} else {
  const scope = Scope.makeUnsafe()
  let server: Server
  beforeAll(async () => {
    server = await Effect.runPromise(Scope.provide(Consul.make, scope))
  })
  afterAll(() => Effect.runPromise(Scope.close(scope, Exit.void)))

  RegistryLaws.suite(
    "consul",
    (backend) => ConsulRegistry.make({ url: backend.url, tag: "mcp", wait: "1 second" }),
    {
      controls: Effect.suspend(() => ConsulBackend.make(server)),
      lacks: ["order", "batch"],
      // It is read a while after it was written; a damping must be longer than that to mean anything. And an agent may
      // tell its servers of a check that lapsed up to 30 s late.
      times: { damping: "2 seconds", lapse: "30 seconds" }
    }
  )
}

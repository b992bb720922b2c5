/**
 * How long the first list waits.
 */
import { assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import { Effect, Layer } from "effect"
import * as ToolCatalog from "../src/catalog/ToolCatalog.ts"
import * as Upstreams from "../src/upstream/Upstreams.ts"
import { handshakeServer } from "./relay/WatchedServers.ts"
import { listen } from "./upstream/Servers.ts"

describe("the first list", () => {
  it.live("waits no longer than the servers take", () =>
    Effect.gen(function*() {
      const { url } = yield* listen(handshakeServer(["doc://a"]).handler)
      const instance = ServiceInstance.make({
        id: "docs",
        service: "docs",
        endpoint: { transport: "streamable-http", url }
      })
      // Once in a few dozen times the offers are made in the very moment in which a server is done.
      for (let round = 0; round < 60; round++) {
        yield* Effect.scoped(Effect.gen(function*() {
          const context = yield* Layer.build(
            ToolCatalog.layer({ settleTimeout: 15_000 }).pipe(
              Layer.provideMerge(Upstreams.layer()),
              Layer.provideMerge(MemoryRegistry.layer({ instances: [instance] })),
              Layer.provideMerge(Portolan.layer())
            )
          )
          const catalog = yield* Effect.provide(ToolCatalog.ToolCatalog, context)
          const from = performance.now()
          yield* catalog.settled
          assert.isBelow(performance.now() - from, 10_000)
          assert.strictEqual(catalog.list("resources").length, 1)
        }))
      }
    }), 60_000)
})

import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import { createServer, type Server } from "node:http"
import * as ListingRegistry from "../src/ListingRegistry.ts"

/** A list served over HTTP behind a proxy, and what the laws may do to it. Each law gets a new one. */
const backend = Effect.gen(function*() {
  const records = new Map<string, unknown>()
  let garbled = false
  const server = yield* Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer((_, response) => {
        response.end(garbled ? "<html>" : JSON.stringify(Array.from(records.values())))
      })
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))
    }),
    (server) => Effect.callback<void>((resume) => void server.close(() => resume(Effect.void)))
  )
  const address = server.address()
  const proxy = yield* FaultProxy.make({ port: typeof address === "object" && address !== null ? address.port : 0 })
  const write = (instance: ServiceInstance) => Effect.sync(() => void records.set(instance.id, instance))
  return {
    url: `http://127.0.0.1:${proxy.port}/`,
    add: write,
    update: write,
    remove: ({ id }: ServiceInstance) => Effect.sync(() => void records.delete(id)),
    batch: (instances: ReadonlyArray<ServiceInstance>) =>
      Effect.sync(() => {
        for (const instance of instances) records.set(instance.id, instance)
      }),
    corrupt: ({ id }: ServiceInstance) => Effect.sync(() => void records.set(id, { id, service: "" })),
    wipeBackend: Effect.sync(() => records.clear()),
    stopBackend: proxy.refuse,
    startBackend: proxy.restore,
    cutConnections: proxy.cut,
    garble: Effect.sync(() => void (garbled = true)),
    ungarble: Effect.sync(() => void (garbled = false))
  }
})

RegistryLaws.suite("listing", ({ url }) => ListingRegistry.make({ url, every: "50 millis" }), {
  controls: backend,
  lacks: ["lease", "order", "push", "revoke", "restartBackend", "open"],
  sizes: { runs: 5 }
})

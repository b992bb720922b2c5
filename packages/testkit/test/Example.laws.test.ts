import * as Registry from "@portolan/core/Registry"
import { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { createServer, type Server } from "node:http"

/** The adapter: instances listed at a URL, polled. */
const listing = (url: string) =>
  Registry.fromPoll({
    name: url,
    every: "50 millis",
    poll: Effect.tryPromise({
      try: async (signal): Promise<unknown> => (await fetch(url, { signal })).json(),
      catch: (cause) => cause
    }).pipe(
      Effect.flatMap(Schema.decodeUnknownEffect(Schema.Array(ServiceInstance))),
      Effect.mapError((cause) => new Registry.RegistryError({ registry: url, operation: "poll", cause }))
    )
  })

/** Its backend, behind a proxy, and what the laws may do to it. Each law gets a new one. */
const backend = Effect.gen(function*() {
  const records = new Map<string, ServiceInstance>()
  const server = yield* Effect.acquireRelease(
    Effect.callback<Server>((resume) => {
      const server = createServer((_, response) => response.end(JSON.stringify(Array.from(records.values()))))
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
    remove: (instance: ServiceInstance) => Effect.sync(() => void records.delete(instance.id)),
    wipeBackend: Effect.sync(() => records.clear()),
    stopBackend: proxy.refuse,
    startBackend: proxy.restore,
    cutConnections: proxy.cut
  }
})

RegistryLaws.suite("listing", (backend) => listing(backend.url), {
  controls: backend,
  lacks: ["lease", "order", "push", "corrupt", "garble", "revoke", "restartBackend", "open"],
  sizes: { runs: 5 }
})

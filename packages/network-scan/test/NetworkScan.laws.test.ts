import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as NetworkScanRegistry from "@portolan/network-scan/NetworkScanRegistry"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Host, layer, listen, says, type Word } from "./fixtures/hosts.ts"

// The laws' records are known before their backends are.
const port = await Effect.runPromise(Effect.scoped(listen("0.0.0.0", 0, says({ name: "none" })))).then(({ port }) =>
  port
)

/** A host for each record: a server that listens is announced, and what it says of itself is what was written. */
const network = Effect.gen(function*() {
  const scope = yield* Effect.scope
  const hosts = new Map<string, Host & { word: Word | undefined }>()
  const put = (instance: ServiceInstance, word: Word | undefined) =>
    Effect.gen(function*() {
      const known = hosts.get(instance.id)
      if (known !== undefined) {
        known.word = word
        return
      }
      const { hostname } = new URL("url" in instance.endpoint ? String(instance.endpoint.url) : "http://nowhere")
      const host = yield* listen(hostname, port, (request, response) => {
        const word = hosts.get(instance.id)?.word
        if (word === undefined) response.writeHead(401).end()
        else says(word)(request, response)
      })
      hosts.set(instance.id, { ...host, word })
    }).pipe(Scope.provide(scope))
  // The version of a law's record stands in the title.
  const write = (instance: ServiceInstance) =>
    put(instance, { name: instance.service, version: instance.version, title: String(instance.metadata["seq"]) })
  return {
    add: write,
    update: write,
    remove: ({ id }: ServiceInstance) =>
      Effect.suspend(() => {
        const host = hosts.get(id)
        hosts.delete(id)
        return host?.close ?? Effect.void
      }),
    corrupt: (instance: ServiceInstance) => put(instance, undefined),
    open: Effect.sync(() => Array.from(hosts.values()).reduce((sum, host) => sum + host.open(), 0))
  } satisfies RegistryLaws.Controls
})

const lawful = (registry: Registry.Registry): Registry.Registry => {
  const read = (snapshot: Registry.Snapshot): Registry.Snapshot => ({
    ...snapshot,
    instances: snapshot.instances.map((instance) => ({ ...instance, metadata: { seq: instance.metadata["title"] } }))
  })
  return {
    ...registry,
    list: Effect.map(registry.list, read),
    watch: Stream.map(registry.watch, (event) => event._tag === "Snapshot" ? read(event) : event)
  }
}

const registry = NetworkScanRegistry.make({
  networks: ["127.77.0.0/24"],
  ports: [port],
  rate: 100_000,
  interval: "30 millis",
  fall: 2
}).pipe(Effect.map(lawful), Effect.provide(layer))

RegistryLaws.suite("network-scan", registry, {
  controls: network,
  offers: ["corrupt", "open"],
  lacks: ["lease", "order", "wipe", "push"],
  sizes: { storm: 120, rewrites: 20, runs: 3, commands: 8 },
  instance: (n, base) => {
    const host = `127.77.0.${n < 1_000 ? n : n - 900}`
    return {
      ...base,
      id: `${host}:${port}/mcp`,
      endpoint: { transport: "streamable-http", url: `http://${host}:${port}/mcp` }
    }
  }
})

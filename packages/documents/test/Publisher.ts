/** The laws for what a publisher has. */
import type { Registry, RegistryEvent } from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as HttpFaults from "@portolan/tooling/backends/HttpFaults"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as Host from "./Host.ts"
import { remote } from "./StandIn.ts"

/** What the laws keep in the metadata of a record stands in the version of a document. */
const document = (instance: ServiceInstance, change: object = {}) =>
  remote(
    instance.id,
    `1.0.${String(instance.metadata["seq"])}`,
    "url" in instance.endpoint ? String(instance.endpoint.url) : "",
    change
  )

const withSeq = (registry: Registry): Registry => {
  const read = <E extends RegistryEvent>(event: E): E =>
    event._tag === "Snapshot" ? { ...event, instances: event.instances.map(seqOf) } : event
  return { ...registry, list: Effect.map(registry.list, read), watch: Stream.map(registry.watch, read) }
}

const seqOf = (instance: ServiceInstance): ServiceInstance => ({
  ...instance,
  metadata: { ...instance.metadata, seq: instance.version.replace("1.0.", "") }
})

export interface Publisher {
  readonly answer: (asked: Host.Asked) => Host.Answer
  readonly put: (server: ReturnType<typeof document>) => void
  readonly delete: (name: string) => void
  readonly clear: () => void
}

/** A publisher behind a proxy that breaks connections. */
const behindProxy = (begin: () => Publisher) =>
  Effect.gen(function*() {
    const publisher = begin()
    const host = yield* Host.make(publisher.answer)
    const http = yield* HttpFaults.make({ host: "127.0.0.1", port: host.port })
    const proxy = yield* FaultProxy.make({ port: http.port })
    const put = (instance: ServiceInstance, change?: object) =>
      Effect.sync(() => publisher.put(document(instance, change)))
    return {
      url: `http://127.0.0.1:${proxy.port}`,
      add: (instance) => put(instance),
      update: (instance) => put(instance),
      remove: ({ id }) => Effect.sync(() => publisher.delete(id)),
      batch: (instances) => Effect.sync(() => instances.forEach((instance) => publisher.put(document(instance)))),
      corrupt: (instance) => put(instance, { remotes: [{ type: "pigeon", url: "" }] }),
      wipeBackend: Effect.sync(() => publisher.clear()),
      stopBackend: proxy.refuse,
      startBackend: proxy.restore,
      restartBackend: Effect.andThen(proxy.refuse, proxy.restore),
      cutConnections: proxy.cut,
      garble: http.answer({ status: 200, body: "<html>" }),
      ungarble: http.pass,
      revoke: http.answer({ status: 403, body: "no" }),
      grant: http.pass,
      requests: http.requests,
      open: Effect.sync(() => proxy.connections().open)
    } satisfies RegistryLaws.Controls & { readonly url: string }
  })

export const suite = (
  name: string,
  begin: () => Publisher,
  options: (url: string) => DocumentsRegistry.Document
) =>
  RegistryLaws.suite(
    name,
    ({ url }) => Effect.map(DocumentsRegistry.make({ ...options(url), every: "150 millis" }), withSeq),
    {
      controls: behindProxy(begin),
      lacks: ["lease", "order", "push"],
      // In a published document a server is its own service.
      instance: (n, base) => {
        const name = base.service === "lawful" ? `test.lawful/server-${n}` : base.service
        return { ...base, id: name, service: name }
      }
    }
  )

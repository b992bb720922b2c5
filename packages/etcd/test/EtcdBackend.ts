/** A real etcd behind a proxy that breaks connections, as a backend of the laws. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as HttpFaults from "@portolan/tooling/backends/HttpFaults"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"

/** Asks etcd itself, as another program would: fails with what it answers. */
export const ask = (url: string, path: string, body: object): Effect.Effect<Record<string, unknown>, Error> =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(`${url}/v3/${path}`, { method: "POST", body: JSON.stringify(body), signal })
      const answer = await response.text()
      if (!response.ok) throw new Error(answer)
      return JSON.parse(answer)
    },
    catch: (cause) => cause instanceof Error ? cause : new Error(String(cause))
  })

export const base64 = (text: string): string => Buffer.from(text).toString("base64")

export const keyOf = (instance: ServiceInstance): string => `/portolan/${instance.service}/${instance.id}`

const request = (instance: ServiceInstance, value = JSON.stringify(instance), key = keyOf(instance)) => ({
  key: base64(key),
  value: base64(value)
})

const everything = { key: "AA==", range_end: "AA==" }

export interface EtcdBackend extends RegistryLaws.Controls {
  /** The address behind the proxy, for the registry under test. */
  readonly url: string
  readonly proxy: FaultProxy.FaultProxy
  /** Forgets the history up to now. */
  readonly compact: Effect.Effect<void, unknown>
}

export const make = (server: Server): Effect.Effect<EtcdBackend, FaultProxy.FaultProxyError, Scope.Scope> =>
  Effect.gen(function*() {
    const http = yield* HttpFaults.make(server)
    const proxy = yield* FaultProxy.make(http)
    const put = (what: object) => Effect.asVoid(ask(server.url, "kv/put", what))
    return {
      url: `http://127.0.0.1:${proxy.port}`,
      proxy,
      add: (instance) => put(request(instance)),
      update: (instance) => put(request(instance)),
      remove: (instance) => Effect.asVoid(ask(server.url, "kv/deleterange", { key: base64(keyOf(instance)) })),
      batch: (instances) =>
        Effect.asVoid(
          ask(server.url, "kv/txn", { success: instances.map((instance) => ({ request_put: request(instance) })) })
        ),
      corrupt: (instance) => put(request(instance, "{\"id\":")),
      outside: (instance) => put(request(instance, undefined, `/portolan-other/${instance.service}/${instance.id}`)),
      wipeBackend: Effect.asVoid(ask(server.url, "kv/deleterange", everything)),
      stopBackend: proxy.refuse,
      startBackend: proxy.restore,
      restartBackend: Effect.andThen(server.kill, server.start),
      cutConnections: proxy.cut,
      pauseConnections: proxy.halfOpen(),
      resumeConnections: proxy.restore,
      // A write is two requests, and each is delayed on its way there and back.
      slowWrites: (time) => proxy.delay(Duration.toMillis(time) / 4),
      garble: http.answer({ status: 200, body: "<html>" }),
      ungarble: http.pass,
      revoke: http.answer({ status: 401, body: JSON.stringify({ error: "etcdserver: invalid auth token", code: 16 }) }),
      grant: http.pass,
      requests: http.requests,
      open: Effect.sync(() => proxy.connections().open),
      compact: Effect.gen(function*() {
        const { header } = yield* ask(server.url, "kv/range", everything)
        const revision = typeof header === "object" && header !== null && "revision" in header ? header.revision : "0"
        yield* ask(server.url, "kv/compaction", { revision, physical: true })
      })
    }
  })

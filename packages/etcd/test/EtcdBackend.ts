/** A real etcd, each member behind a proxy that breaks connections, as a backend of the laws. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as HttpFaults from "@portolan/tooling/backends/HttpFaults"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Data from "effect/Data"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { Buffer } from "node:buffer"

class Refused extends Data.TaggedError("Refused")<{ readonly cause: unknown }> {
  override get message(): string {
    return this.cause instanceof Error ? this.cause.message : String(this.cause)
  }
}

/** Asks etcd itself, as another program would: fails with what it answers. */
export const ask = (
  url: string,
  path: string,
  body: object,
  headers: Readonly<Record<string, string>> = {}
): Effect.Effect<Record<string, unknown>, Refused> =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(`${url}/v3/${path}`, { method: "POST", body: JSON.stringify(body), headers, signal })
      const answer = await response.text()
      if (!response.ok) throw new Error(answer)
      return JSON.parse(answer)
    },
    catch: (cause) => new Refused({ cause })
  })

export const base64 = (text: string): string => Buffer.from(text).toString("base64")

export const keyOf = (instance: ServiceInstance): string => `/portolan/${instance.service}/${instance.id}`

const request = (instance: ServiceInstance, value = JSON.stringify(instance), key = keyOf(instance)) => ({
  key: base64(key),
  value: base64(value)
})

const everything = { key: "AA==", range_end: "AA==" }

export interface EtcdBackend extends RegistryLaws.Controls {
  /** The addresses behind the proxies, for the registry under test. */
  readonly endpoints: ReadonlyArray<string>
  /** Of the first member. */
  readonly proxy: FaultProxy.FaultProxy
  /** Of all members, in their order. */
  readonly proxies: ReadonlyArray<FaultProxy.FaultProxy>
  /** Writes any key, past the proxies. */
  readonly write: (key: string, value: string) => Effect.Effect<void, Refused>
  readonly erase: (key: string) => Effect.Effect<void, Refused>
  /** Forgets the history up to now. */
  readonly compact: Effect.Effect<void, unknown>
}

/** Controls that write go to the first member; a restart is that of the member that it names. */
export const make = (
  first: Server,
  others: ReadonlyArray<Server> = [],
  restarted: Effect.Effect<Server, unknown> = Effect.succeed(first)
): Effect.Effect<EtcdBackend, FaultProxy.FaultProxyError, Scope.Scope> =>
  Effect.gen(function*() {
    const https = yield* Effect.forEach([first, ...others], HttpFaults.make)
    const proxy = yield* FaultProxy.make(https[0] ?? first)
    const proxies = [proxy, ...yield* Effect.forEach(https.slice(1), FaultProxy.make)]
    const all = <E>(act: (proxy: FaultProxy.FaultProxy) => Effect.Effect<void, E>) =>
      Effect.forEach(proxies, act, { discard: true })
    const answerAll = (answer: Parameters<HttpFaults.HttpFaults["answer"]>[0]) =>
      Effect.forEach(https, (http) => http.answer(answer), { discard: true })
    const passAll = Effect.forEach(https, ({ pass }) => pass, { discard: true })
    const put = (what: object) => Effect.asVoid(ask(first.url, "kv/put", what))
    const erase = (key: string) => Effect.asVoid(ask(first.url, "kv/deleterange", { key: base64(key) }))
    return {
      endpoints: proxies.map(({ port }) => `http://127.0.0.1:${port}`),
      proxy,
      proxies,
      write: (key, value) => put({ key: base64(key), value: base64(value) }),
      add: (instance) => put(request(instance)),
      update: (instance) => put(request(instance)),
      erase,
      remove: (instance) => erase(keyOf(instance)),
      batch: (instances) =>
        Effect.asVoid(
          ask(first.url, "kv/txn", { success: instances.map((instance) => ({ request_put: request(instance) })) })
        ),
      corrupt: (instance) => put(request(instance, "{\"id\":")),
      outside: (instance) => put(request(instance, undefined, `/portolan-other/${instance.service}/${instance.id}`)),
      wipeBackend: Effect.asVoid(ask(first.url, "kv/deleterange", everything)),
      stopBackend: all((proxy) => proxy.refuse),
      startBackend: all((proxy) => proxy.restore),
      restartBackend: Effect.flatMap(restarted, (server) => Effect.andThen(server.kill, server.start)),
      cutConnections: all((proxy) => proxy.cut),
      pauseConnections: all((proxy) => proxy.halfOpen()),
      resumeConnections: all((proxy) => proxy.restore),
      // A write is two requests, and each is delayed on its way there and back.
      slowWrites: (time) => all((proxy) => proxy.delay(Duration.toMillis(time) / 4)),
      garble: answerAll({ status: 200, body: "<html>" }),
      ungarble: passAll,
      revoke: answerAll({ status: 401, body: JSON.stringify({ error: "etcdserver: invalid auth token", code: 16 }) }),
      grant: passAll,
      requests: Effect.map(
        Effect.forEach(https, ({ requests }) => requests),
        (counts) => counts.reduce((sum, count) => sum + count, 0)
      ),
      open: Effect.sync(() => proxies.reduce((sum, proxy) => sum + proxy.connections().open, 0)),
      compact: Effect.gen(function*() {
        const { header } = yield* ask(first.url, "kv/range", everything)
        const revision = typeof header === "object" && header !== null && "revision" in header ? header.revision : "0"
        yield* ask(first.url, "kv/compaction", { revision, physical: true })
      })
    }
  })

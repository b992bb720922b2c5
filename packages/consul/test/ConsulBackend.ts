/** A real Consul behind a proxy that breaks connections, as a backend of the laws. */
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as FaultProxy from "@portolan/testkit/FaultProxy"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as HttpFaults from "@portolan/tooling/backends/HttpFaults"
import type { Server } from "@portolan/tooling/backends/Server"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"

/** Asks Consul itself, as another program would: fails with what it answers. */
export const ask = (
  url: string,
  method: "GET" | "PUT",
  path: string,
  body?: object,
  token?: string
): Effect.Effect<string, Error> =>
  Effect.tryPromise({
    try: async (signal) => {
      const response = await fetch(`${url}/v1/${path}`, {
        method,
        signal,
        ...(token === undefined ? {} : { headers: { "x-consul-token": token } }),
        ...(body === undefined ? {} : { body: JSON.stringify(body) })
      })
      const answer = await response.text()
      if (!response.ok) throw new Error(`${path}: ${answer}`)
      return answer
    },
    catch: (cause) => cause instanceof Error ? cause : new Error(String(cause))
  })

/** A service as an operator would write it by hand. */
const service = (instance: ServiceInstance, change: object = {}) => {
  const url = new URL("url" in instance.endpoint ? String(instance.endpoint.url) : "")
  return {
    ID: instance.id,
    Name: instance.service,
    Tags: ["mcp"],
    Address: url.hostname,
    Port: Number(url.port),
    Meta: { version: instance.version, seq: String(instance.metadata["seq"]) },
    ...change
  }
}

export interface ConsulBackend extends RegistryLaws.Controls {
  /** The address behind the proxy, for the registry under test. */
  readonly url: string
  readonly proxy: FaultProxy.FaultProxy
  readonly requests: Effect.Effect<number>
}

export const make = (server: Server): Effect.Effect<ConsulBackend, FaultProxy.FaultProxyError, Scope.Scope> =>
  Effect.gen(function*() {
    const http = yield* HttpFaults.make(server)
    const proxy = yield* FaultProxy.make(http)
    const put = (what: object) => Effect.asVoid(ask(server.url, "PUT", "agent/service/register", what))
    const remove = (id: string) => Effect.asVoid(ask(server.url, "PUT", `agent/service/deregister/${id}`))
    return {
      url: `http://127.0.0.1:${proxy.port}`,
      proxy,
      add: (instance) => put(service(instance)),
      update: (instance) => put(service(instance)),
      remove: (instance) => remove(instance.id),
      corrupt: (instance) => put(service(instance, { Meta: { weight: "heavy" } })),
      outside: (instance) => put(service(instance, { Tags: ["mcp2"] })),
      wipeBackend: Effect.gen(function*() {
        const services: Record<string, unknown> = JSON.parse(yield* ask(server.url, "GET", "agent/services"))
        yield* Effect.forEach(Object.keys(services), remove, { discard: true })
      }),
      stopBackend: proxy.refuse,
      startBackend: proxy.restore,
      restartBackend: Effect.andThen(server.kill, server.start),
      cutConnections: proxy.cut,
      pauseConnections: proxy.halfOpen(),
      resumeConnections: proxy.restore,
      // A request is delayed on its way there and back.
      slowWrites: (time) => proxy.delay(Duration.toMillis(time) / 2),
      garble: http.answer({ status: 200, body: "<html>" }),
      ungarble: http.pass,
      revoke: http.answer({ status: 403, body: "ACL not found" }),
      grant: http.pass,
      requests: http.requests,
      open: Effect.sync(() => proxy.connections().open)
    }
  })

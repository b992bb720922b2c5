/**
 * The registries that are measured, by name. Their adapters are named by path: their tests need this workspace package, so
 * it can't depend on them.
 */
import type { Registry, RegistryError } from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as ConsulRegistry from "../../../packages/consul/src/ConsulRegistry.ts"
import * as EtcdRegistry from "../../../packages/etcd/src/EtcdRegistry.ts"
import * as RedisRegistry from "../../../packages/redis/src/RedisRegistry.ts"

type Open = (url: string) => Effect.Effect<Registry, RegistryError, Scope.Scope>

export const targets = {
  "Consul, services": (url) => ConsulRegistry.make({ url, tag: "mcp" }),
  "Consul, keys": (url) => ConsulRegistry.make({ url, kv: "portolan/" }),
  Redis: (url) => RedisRegistry.make({ url }),
  etcd: (url) => EtcdRegistry.make({ endpoints: [url] })
} satisfies Record<string, Open>

export type Name = keyof typeof targets

export const names: ReadonlyArray<Name> = ["Consul, services", "Consul, keys", "Redis", "etcd"]

export const open = (name: string, url: string): ReturnType<Open> => {
  const found = names.find((known) => known === name)
  if (found === undefined) throw new Error(`unknown registry ${name}`)
  return targets[found](url)
}

export const serviceCount = 200

/** An instance of medium size. */
export const instance = (index: number): ServiceInstance.ServiceInstance =>
  ServiceInstance.make({
    id: `service-${index % serviceCount}-${index}`,
    service: `service-${index % serviceCount}`,
    version: "1.4.0",
    endpoint: { transport: "streamable-http", url: `http://10.0.${index >> 8}.${index & 255}:8080/mcp` },
    tags: ["production"],
    capabilities: ["weather.forecast"],
    metadata: { region: "eu-west" }
  })

/** Those that are there from the beginning. */
export const instances: ReadonlyArray<ServiceInstance.ServiceInstance> = Array.from(
  { length: 5_000 },
  (_, index) => instance(index)
)

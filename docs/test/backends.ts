/**
 * Real backends in the place of what pages name.
 */
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

const address = ({ host, port }: { readonly host: string; readonly port: number }) => `${host}:${port}`

/** What pages name, and what is in its place here. */
const backends = [
  {
    named: "127.0.0.1:8500",
    make: Effect.map(Consul.make, address),
    lacks: await Effect.runPromise(Consul.unavailable)
  },
  { named: "127.0.0.1:2379", make: Effect.map(Etcd.make, address), lacks: await Effect.runPromise(Etcd.unavailable) },
  {
    named: "127.0.0.1:6379",
    make: Effect.map(Redis.single(), address),
    lacks: await Effect.runPromise(Redis.unavailable)
  },
  {
    named: "/home/me/.kube/config",
    make: Effect.map(KubernetesApi.make(), ({ kubeconfig }) => kubeconfig),
    lacks: undefined
  }
]

/** Why a program that names a backend can't be run on this machine. */
export const missing = (code: string): string | undefined =>
  backends.find(({ lacks, named }) => lacks !== undefined && code.includes(named))?.lacks

let scope = Scope.makeUnsafe()

/** The program with real backends in it, which run until `end`. */
export const real = async (code: string): Promise<string> => {
  let text = code
  for (const { make, named } of backends) {
    if (code.includes(named)) text = text.replaceAll(named, await Effect.runPromise(Scope.provide(make, scope)))
  }
  return text
}

/** Ends the backends. */
export const end = async (): Promise<void> => {
  const ending = scope
  scope = Scope.makeUnsafe()
  await Effect.runPromise(Scope.close(ending, Exit.void))
}

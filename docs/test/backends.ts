/**
 * Real backends in the place of the addresses that pages name.
 */
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Redis from "@portolan/tooling/backends/Redis"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

const backends = [
  { address: "127.0.0.1:8500", make: Consul.make, lacks: await Effect.runPromise(Consul.unavailable) },
  { address: "127.0.0.1:2379", make: Etcd.make, lacks: await Effect.runPromise(Etcd.unavailable) },
  { address: "127.0.0.1:6379", make: Redis.single(), lacks: await Effect.runPromise(Redis.unavailable) }
]

/** Why a program that names a backend can't be run on this machine. */
export const missing = (code: string): string | undefined =>
  backends.find(({ address, lacks }) => lacks !== undefined && code.includes(address))?.lacks

let scope = Scope.makeUnsafe()

/** The program with the addresses of real backends, which run until `end`. */
export const real = async (code: string): Promise<string> => {
  let text = code
  for (const { address, make } of backends) {
    if (!code.includes(address)) continue
    const { host, port } = await Effect.runPromise(Scope.provide(make, scope))
    text = text.replaceAll(address, `${host}:${port}`)
  }
  return text
}

/** Ends the backends. */
export const end = async (): Promise<void> => {
  const ending = scope
  scope = Scope.makeUnsafe()
  await Effect.runPromise(Scope.close(ending, Exit.void))
}

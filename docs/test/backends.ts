/**
 * Real backends in the place of the addresses that pages name.
 */
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Scope from "effect/Scope"

const backends = [["127.0.0.1:8500", Consul], ["127.0.0.1:2379", Etcd]] as const

const lacking = new Map([
  ["127.0.0.1:8500", await Effect.runPromise(Consul.unavailable)],
  ["127.0.0.1:2379", await Effect.runPromise(Etcd.unavailable)]
])

/** Why a program that names a backend can't be run on this machine. */
export const missing = (code: string): string | undefined =>
  backends.flatMap(([address]) => code.includes(address) ? lacking.get(address) ?? [] : [])[0]

let scope = Scope.makeUnsafe()

/** The program with the addresses of real backends, which run until `end`. */
export const real = async (code: string): Promise<string> => {
  let text = code
  for (const [address, { make }] of backends) {
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

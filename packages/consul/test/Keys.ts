/** Registries in the key-value store of Consul, for tests. */
import * as ConsulRegistry from "@portolan/consul/ConsulRegistry"
import type { Registrar, Registry, Snapshot } from "@portolan/core/Registry"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import { prefix } from "./ConsulKeysBackend.ts"

export const registry = (options: ConsulRegistry.ConsulRegistryOptions) =>
  ConsulRegistry.make({ kv: prefix, ...options })

export const writing = ({ registrar }: Registry): Registrar => Option.getOrThrow(registrar)

/** A running session: the snapshots that it gave so far, and the fiber that fails with it. */
export const session = Effect.fnUntraced(function*(registry: Registry) {
  const said: Array<Snapshot> = []
  const running = yield* registry.watch.pipe(
    Stream.runForEach((event) => Effect.sync(() => void (event._tag === "Snapshot" && said.push(event)))),
    Effect.forkScoped
  )
  return { said, running }
})

export const ids = (snapshot: Snapshot | undefined) =>
  snapshot?.instances.map(({ id }) => id).sort().join() ?? "nothing yet"

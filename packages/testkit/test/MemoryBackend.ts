/** The memory registry as a backend of the laws: its neighbours write past it, and `FaultyRegistry` stands before it. */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import type * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as FaultyRegistry from "../src/FaultyRegistry.ts"

export interface MemoryBackend extends RegistryLaws.Controls {
  readonly registry: Registry.Registry
  readonly faults: FaultyRegistry.FaultyRegistry
}

export const offers: ReadonlyArray<keyof RegistryLaws.Controls> = [
  "wipeBackend",
  "stopBackend",
  "startBackend",
  "cutConnections",
  "pauseConnections",
  "resumeConnections",
  "revoke",
  "grant",
  "garble",
  "ungarble",
  "slowWrites",
  "open",
  "requests"
]

export const make = (
  change: (registry: Registry.Registry) => Registry.Registry = (registry) => registry
): Effect.Effect<MemoryBackend, never, Scope.Scope> =>
  Effect.gen(function*() {
    const memory = yield* MemoryRegistry.make()
    // As if it lay behind a network: its silence means something.
    const faults = FaultyRegistry.make(change({ ...memory, idleTimeout: Option.none() }))
    const registrar = Option.getOrThrow(memory.registrar)
    const neighbour: Registry.LeaseOptions = { ttl: Duration.infinity, incarnation: "neighbour" }
    const write = (instance: ServiceInstance) => Effect.asVoid(registrar.put(instance, neighbour))
    const remove = (instance: ServiceInstance) => Effect.flatMap(registrar.put(instance, neighbour), registrar.remove)
    return {
      registry: faults.registry,
      faults,
      add: write,
      update: write,
      remove,
      wipeBackend: Effect.flatMap(memory.list, ({ instances }) => Effect.forEach(instances, remove, { discard: true })),
      stopBackend: faults.stop,
      startBackend: faults.start,
      cutConnections: faults.cut,
      pauseConnections: faults.pause,
      resumeConnections: faults.resume,
      revoke: faults.revoke,
      grant: faults.grant,
      garble: faults.garble,
      ungarble: faults.ungarble,
      slowWrites: faults.slowWrites,
      open: Effect.sync(() => faults.counters().open),
      requests: Effect.sync(() => faults.counters().sessions + faults.counters().lists)
    }
  })

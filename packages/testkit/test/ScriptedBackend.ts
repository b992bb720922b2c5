/** A scripted registry as a backend of the laws: it speaks in deltas, or in whole groups, one per service. */
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as RegistryLaws from "@portolan/testkit/RegistryLaws"
import * as ScriptedRegistry from "@portolan/testkit/ScriptedRegistry"
import * as Effect from "effect/Effect"
import * as FaultyRegistry from "../src/FaultyRegistry.ts"

export interface ScriptedBackend extends RegistryLaws.Controls {
  readonly registry: Registry.Registry
}

export const make = (speech: "deltas" | "groups"): Effect.Effect<ScriptedBackend> =>
  Effect.gen(function*() {
    const good = new Map<string, ServiceInstance>()
    const bad = new Map<string, { readonly service: string; readonly rejected: Registry.Rejected }>()
    const group = (service: string) =>
      Registry.snapshot(
        Array.from(good.values()).filter((instance) => instance.service === service),
        Array.from(bad.values()).filter((entry) => entry.service === service).map(({ rejected }) => rejected),
        service
      )
    const services = () => Array.from(new Set([...good.values(), ...bad.values()].map(({ service }) => service)))
    const groups = (): Registry.Groups => ({ _tag: "Groups", groups: services() })
    const list = Effect.sync(() =>
      Registry.snapshot(Array.from(good.values()), Array.from(bad.values(), ({ rejected }) => rejected))
    )
    const scripted = yield* ScriptedRegistry.make({
      list,
      ...(speech === "groups" ? { begin: Effect.sync(() => [groups(), ...services().map(group)]) } : {})
    })

    /** Applies a change and tells it the way this backend speaks. */
    const change = (changes: ReadonlyArray<Registry.Change>, apply: () => ReadonlyArray<string>) =>
      Effect.suspend(() => {
        const before = services().join()
        const touched = apply()
        if (speech === "deltas") return scripted.emit(Registry.delta(changes))
        const tell = Effect.forEach(
          services().filter((service) => touched.includes(service)),
          (service) => scripted.emit(group(service)),
          {
            discard: true
          }
        )
        return services().join() === before ? tell : Effect.andThen(scripted.emit(groups()), tell)
      })
    const put = (instances: ReadonlyArray<ServiceInstance>) =>
      change(instances.map((instance) => ({ _tag: "Put", instance })), () => {
        for (const instance of instances) {
          good.set(instance.id, instance)
          bad.delete(instance.id)
        }
        return instances.map(({ service }) => service)
      })
    const remove = (instance: ServiceInstance) =>
      change([{ _tag: "Removed", id: instance.id, how: "deregistered" }], () => {
        good.delete(instance.id)
        bad.delete(instance.id)
        return [instance.service]
      })
    const faults = FaultyRegistry.make(scripted.registry)
    return {
      registry: faults.registry,
      add: (instance) => put([instance]),
      update: (instance) => put([instance]),
      remove,
      batch: put,
      corrupt: (instance) => {
        const rejected = { id: instance.id, reason: "endpoint.url: expected an http(s) URL" }
        return change([{ _tag: "Reject", rejected }], () => {
          good.delete(instance.id)
          bad.set(instance.id, { service: instance.service, rejected })
          return [instance.service]
        })
      },
      wipeBackend: Effect.suspend(() => Effect.forEach(Array.from(good.values()), remove, { discard: true })),
      stopBackend: faults.stop,
      startBackend: faults.start,
      cutConnections: faults.cut,
      pauseConnections: faults.pause,
      resumeConnections: faults.resume,
      garble: faults.garble,
      ungarble: faults.ungarble,
      revoke: faults.revoke,
      grant: faults.grant,
      open: Effect.sync(() => scripted.counters().open),
      requests: Effect.sync(() => faults.counters().sessions + faults.counters().lists)
    }
  })

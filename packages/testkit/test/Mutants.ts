/** Registries that are broken on purpose, and for each the law that must notice. */
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"

export type Mutation = (registry: Registry.Registry) => Registry.Registry

export const withWatch = (f: (registry: Registry.Registry) => Registry.Registry["watch"]): Mutation => (registry) => ({
  ...registry,
  watch: f(registry)
})

const withRegistrar = (f: (registrar: Registry.Registrar) => Partial<Registry.Registrar>): Mutation => (registry) => ({
  ...registry,
  registrar: Option.map(registry.registrar, (registrar) => ({ ...registrar, ...f(registrar) }))
})

/** Applies a function to every event, with the events before it in its session. */
export const events = (
  f: (
    event: Registry.RegistryEvent,
    index: number,
    before: ReadonlyArray<Registry.RegistryEvent>
  ) => ReadonlyArray<Registry.RegistryEvent>
) =>
  withWatch(({ watch }) =>
    Stream.mapAccum(
      watch,
      (): ReadonlyArray<Registry.RegistryEvent> => [],
      (before, event) => [[...before, event], f(event, before.length, before)]
    )
  )

const onInstances =
  (f: (instance: ServiceInstance.ServiceInstance) => ServiceInstance.ServiceInstance) =>
  (event: Registry.RegistryEvent): Registry.RegistryEvent => {
    switch (event._tag) {
      case "Snapshot":
        return { ...event, instances: event.instances.map(f) }
      case "Delta":
        return Registry.delta(
          event.changes.map((change) => change._tag === "Put" ? { ...change, instance: f(change.instance) } : change)
        )
      default:
        return event
    }
  }

/** Timers that a mutant left running. */
export const timers = new Set<NodeJS.Timeout>()
let stamps = 0
const stamp = onInstances((instance) => ({ ...instance, metadata: { ...instance.metadata, readAt: stamps++ } }))

/** What some session of a registry knew last, kept from session to session. */
const remembering = (): {
  readonly known: Map<string, ServiceInstance.ServiceInstance>
  readonly hear: (event: Registry.RegistryEvent) => void
} => {
  const known = new Map<string, ServiceInstance.ServiceInstance>()
  return {
    known,
    hear: (event) => {
      if (event._tag === "Snapshot") { for (const instance of event.instances) known.set(instance.id, instance) }
      if (event._tag === "Delta") {
        for (const change of event.changes) {
          if (change._tag === "Put") known.set(change.instance.id, change.instance)
          if (change._tag === "Removed") known.delete(change.id)
        }
      }
    }
  }
}

export interface Mutant {
  readonly name: string
  readonly law: string
  /** What the failure must speak of. */
  readonly reason: RegExp
  readonly mutate: Mutation
}

export const mutants: ReadonlyArray<Mutant> = [
  {
    name: "tells a snapshot of nothing before the true one",
    law: "G1",
    reason: /first snapshot/,
    mutate: events((event, index) => index === 0 ? [Registry.snapshot([]), event] : [event])
  },
  {
    name: "begins with a delta",
    law: "G1",
    reason: /delta came before/,
    mutate: events((event) =>
      event._tag === "Snapshot"
        ? [Registry.delta(event.instances.map((instance) => ({ _tag: "Put", instance })))]
        : [event]
    )
  },
  {
    name: "replays the past to who comes late",
    law: "G2",
    reason: /told of the past/,
    mutate: events((event, index) =>
      index > 0 ? [event] : [onInstances((instance) => ({ ...instance, metadata: { seq: "0" } }))(event), event]
    )
  },
  {
    name: "loses what changes between the snapshot and the first delta",
    law: "G3",
    reason: /what the backend holds|the marker/,
    mutate: withWatch(({ list, watch }) =>
      Stream.concat(
        Stream.fromEffect(list),
        Stream.unwrap(Effect.as(Effect.sleep(20), Stream.filter(watch, ({ _tag }) => _tag !== "Snapshot")))
      )
    )
  },
  {
    name: "drops a delta now and then",
    law: "G3",
    reason: /what the backend holds/,
    mutate: events((event, index) => event._tag === "Delta" && index % 5 === 4 ? [] : [event])
  },
  {
    name: "drops a delta now and then",
    law: "model",
    reason: /after .*(add|update|remove) \d/,
    mutate: events((event, index) => event._tag === "Delta" && index % 3 === 2 ? [] : [event])
  },
  {
    name: "makes every reading of a record look new",
    law: "G4",
    reason: /rewriting equal records published/,
    mutate: events((event) => [stamp(event)])
  },
  {
    name: "says a delta twice, the second time late",
    law: "G5",
    reason: /went back|what the backend holds/,
    mutate: events((event, _, before) =>
      event._tag === "Delta" ? [event, ...before.slice(-2).filter(({ _tag }) => _tag === "Delta")] : [event]
    )
  },
  {
    name: "tells records anew after a reconnection",
    law: "G6",
    reason: /after an outage without change the catalog published .*Updated/,
    mutate: events((event) => event._tag === "Snapshot" ? [stamp(event)] : [event])
  },
  {
    name: "empties the view when its session fails",
    law: "G6",
    reason: /as the backend went: missing|instead of/,
    mutate: withWatch(({ watch }) =>
      Stream.catch(watch, (error) => Stream.concat(Stream.succeed(Registry.snapshot([])), Stream.fail(error)))
    )
  },
  {
    name: "never forgets what it knew before a reconnection",
    law: "G7",
    reason: /not what the backend holds: too many/,
    mutate: (registry) => {
      const { hear, known } = remembering()
      return events((event) => {
        hear(event)
        return event._tag === "Snapshot" ? [Registry.snapshot(Array.from(known.values()))] : [event]
      })(registry)
    }
  },
  {
    name: "takes what it doesn't find any more for deregistered",
    law: "G8",
    reason: /removals held|before the grace/,
    mutate: (registry) => {
      const { hear, known } = remembering()
      return events((event) => {
        if (event._tag !== "Snapshot") {
          hear(event)
          return [event]
        }
        const gone = Array.from(known.values()).filter(({ id }) =>
          !event.instances.some((instance) => instance.id === id)
        )
        known.clear()
        hear(event)
        return [
          Registry.snapshot([...event.instances, ...gone]),
          Registry.delta(gone.map(({ id }) => ({ _tag: "Removed", id, how: "deregistered" })))
        ]
      })(registry)
    }
  },
  {
    name: "protects itself from an empty set",
    law: "G9",
    reason: /too many: lawful/,
    mutate: (registry) => {
      const { hear, known } = remembering()
      return events((event) => {
        hear(event)
        return known.size === 0 && event._tag === "Delta" ? [] : [event]
      })(registry)
    }
  },
  {
    name: "says that it was heard, whatever its connection does",
    law: "G10",
    reason: /silence was noticed/,
    // In front of the faults, where a timer of the adapter's own would be.
    mutate: withWatch(({ watch }) =>
      Stream.merge(watch, Stream.fromEffectRepeat(Effect.as(Effect.sleep(50), Registry.alive)))
    )
  },
  {
    name: "takes garbage for an empty backend",
    law: "G11b",
    reason: /garbage published .*Removed|stale source/,
    mutate: withWatch(({ watch }) =>
      Stream.concat(Stream.catch(watch, () => Stream.succeed(Registry.snapshot([]))), Stream.never)
    )
  },
  {
    name: "leaves a timer behind",
    law: "G13",
    reason: /Timeout \+/,
    mutate: withWatch(({ watch }) =>
      Stream.unwrap(Effect.sync(() => {
        timers.add(setInterval(() => undefined, 1000))
        return watch
      }))
    )
  },
  {
    name: "takes its time to close",
    law: "G13",
    reason: /closing took/,
    mutate: withWatch(({ watch }) => Stream.ensuring(watch, Effect.sleep(250)))
  },
  {
    name: "expires records early",
    law: "G14",
    reason: /before its TTL/,
    mutate: withRegistrar(({ put }) => ({
      put: (instance, lease) =>
        Effect.map(
          put(instance, { ...lease, ttl: Duration.times(lease.ttl, 0.5) }),
          (granted) => ({ ...granted, ttl: lease.ttl })
        )
    }))
  },
  {
    name: "never expires records",
    law: "G14",
    reason: /did not show the expiry|of slack/,
    mutate: withRegistrar(({ put }) => ({
      put: (instance, lease) =>
        Effect.map(put(instance, { ...lease, ttl: Duration.infinity }), (granted) => ({ ...granted, ttl: lease.ttl }))
    }))
  },
  {
    name: "does nothing when it renews",
    law: "G14b",
    reason: /renewing published Removed|lease is lost/,
    mutate: withRegistrar(() => ({ renew: () => Effect.succeed([]) }))
  },
  {
    name: "never tells that a lease is lost",
    law: "G15",
    reason: /not announced again/,
    mutate: withRegistrar(({ renew }) => ({ renew: (leases) => Effect.as(renew(leases), []) }))
  },
  {
    name: "never tells that a lease is lost",
    law: "G15b",
    reason: /said lost: none/,
    mutate: withRegistrar(({ renew }) => ({ renew: (leases) => Effect.as(renew(leases), []) }))
  },
  {
    name: "leaves the record of a process that ended",
    law: "G16",
    reason: /did not show the removal/,
    mutate: withRegistrar(() => ({ remove: () => Effect.void }))
  },
  {
    name: "keeps the first record for good",
    law: "G16",
    reason: /did not show the draining record/,
    mutate: withRegistrar(({ put }) => ({
      put: (instance, lease) => put(ServiceInstance.make({ ...instance, status: "up" }), lease)
    }))
  },
  {
    name: "removes the record of another incarnation",
    law: "G17",
    reason: /the old process's end published Removed/,
    mutate: withRegistrar(({ put, remove }) => ({
      remove: ({ incarnation, instance, ttl }) => Effect.flatMap(put(instance, { ttl, incarnation }), remove)
    }))
  },
  {
    name: "doesn't tell whose the record is now",
    law: "G17",
    reason: /lost: first$/,
    mutate: withRegistrar(({ renew }) => ({
      renew: (leases) => Effect.map(renew(leases), (lost) => lost.map((lost) => ({ ...lost, taken: false })))
    }))
  },
  {
    name: "finds services by prefix",
    law: "G18",
    reason: /foobar/,
    mutate: events((
      event
    ) => [
      onInstances((instance) => instance.service.startsWith("foo") ? { ...instance, service: "foo" } : instance)(event)
    ])
  },
  {
    name: "loses the end of a storm",
    law: "G19",
    reason: /not what the backend holds/,
    mutate: events((event, index) => index > 3 ? [] : [event])
  },
  {
    name: "ends its session whenever it was read",
    law: "G21",
    reason: /new sessions while nothing happened/,
    mutate: withWatch(({ watch }) => Stream.concat(Stream.take(watch, 1), Stream.fromEffectDrain(Effect.sleep(20))))
  },
  {
    name: "tries again by itself, and for ever",
    law: "G21b",
    reason: /stale source/,
    mutate: withWatch(({ watch }) => Stream.retry(watch, Schedule.spaced("5 millis")))
  },
  {
    name: "tries often before it gives up",
    law: "G21b",
    reason: /requests in 1000 ms to a backend that is away/,
    mutate: withWatch(({ watch }) => Stream.retry(watch, Schedule.recurs(20)))
  },
  {
    name: "doesn't say that its credentials are refused",
    law: "G22",
    reason: /does not say that it is one of credentials/,
    mutate: withWatch(({ watch }) =>
      Stream.mapError(
        watch,
        ({ operation, registry }) => new Registry.RegistryError({ registry, operation, reason: "no" })
      )
    )
  }
]

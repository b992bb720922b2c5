/**
 * Instances listed at a URL, as a JSON array that is polled.
 */
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Result from "effect/Result"

export interface ListingRegistryOptions {
  readonly url: string
  /** Time between two polls. Default 5 s. */
  readonly every?: Duration.Input | undefined
}

/** Makes the registry. When to poll, what changed, and what becomes of a list that is lost is core's. */
export const make = ({ every = "5 seconds", url }: ListingRegistryOptions): Effect.Effect<Registry.Registry> =>
  Registry.fromPoll({
    name: url,
    type: "listing",
    every,
    poll: Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(url, { signal })
        if (!response.ok) throw new Error(`status ${response.status}`)
        const records: unknown = await response.json()
        if (!Array.isArray(records)) throw new Error("not an array")
        return snapshot(records)
      },
      catch: (cause) => new Registry.RegistryError({ registry: url, operation: "poll", cause })
    })
  })

/** Adds the registry to a program. */
export const layer = (
  options: ListingRegistryOptions
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options))

/** A wrong record is rejected with its reason; the others go on. */
const snapshot = (records: ReadonlyArray<unknown>): Registry.Snapshot => {
  const instances: Array<ServiceInstance.ServiceInstance> = []
  const rejected: Array<Registry.Rejected> = []
  for (const [index, record] of records.entries()) {
    const decoded = ServiceInstance.decode(record)
    if (Result.isSuccess(decoded)) instances.push(decoded.success)
    else rejected.push({ id: idOf(record) ?? `#${index}`, reason: decoded.failure })
  }
  return Registry.snapshot(instances, rejected)
}

const idOf = (record: unknown): string | undefined =>
  typeof record === "object" && record !== null && "id" in record ? String(record.id) : undefined

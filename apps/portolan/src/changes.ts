/**
 * What changed in a fleet, read from the events of a gateway.
 */
import type { Event, Snapshot } from "@portolan/gateway/rest/Events"
import type { InstanceView, SourceView } from "@portolan/gateway/rest/Representations"

/** One change, as a line tells it. */
export type Change =
  | { readonly type: "watching"; readonly instances: number | undefined; readonly sources: number | undefined }
  | { readonly type: "added"; readonly instance: InstanceView }
  | { readonly type: "updated"; readonly instance: InstanceView; readonly fields: ReadonlyArray<string> }
  | { readonly type: "removed"; readonly id: string; readonly service: string; readonly source: string }
  | {
    readonly type: "health"
    readonly id: string
    readonly service: string
    readonly source: string
    readonly previous: string
    readonly status: string
    readonly reason: string
  }
  | { readonly type: "source"; readonly source: SourceView; readonly previous: SourceView | undefined }
  | { readonly type: "sourceRemoved"; readonly name: string }
  | {
    readonly type: "figures"
    readonly calls: number
    readonly failures: number
    readonly inFlight: number
    readonly p50: number | undefined
    readonly p95: number | undefined
  }

interface Identity {
  readonly id: string
  readonly service: string
  readonly source: string
}

const keyOf = ({ id, source }: Identity): string => `${source}\u0000${id}`

// What other events tell, or what moves by itself.
const told = new Set(["health", "upstream", "stale", "firstSeen", "changedAt"])

const changedFields = (before: InstanceView, now: InstanceView): ReadonlyArray<string> =>
  Array.from(new Set([...Object.keys(before), ...Object.keys(now)]))
    .filter((key) => !told.has(key) && JSON.stringify(before[key]) !== JSON.stringify(now[key]))

/**
 * Follows the events of a gateway and says what each of them changed. It knows what was before, so that a snapshot after
 * a lost connection tells what was missed and nothing else.
 */
export const follow = (): (event: Event) => ReadonlyArray<Change> => {
  const instances = new Map<string, InstanceView>()
  const statuses = new Map<string, string>()
  const sources = new Map<string, SourceView>()
  let begun = false

  const putInstance = (instance: InstanceView): ReadonlyArray<Change> => {
    const key = keyOf(instance)
    const before = instances.get(key)
    instances.set(key, instance)
    if (before === undefined) return [{ type: "added", instance }]
    const fields = changedFields(before, instance)
    return fields.length === 0 ? [] : [{ type: "updated", instance, fields }]
  }

  const removeInstance = (identity: Identity): ReadonlyArray<Change> => {
    statuses.delete(keyOf(identity))
    return instances.delete(keyOf(identity))
      ? [{ type: "removed", id: identity.id, service: identity.service, source: identity.source }]
      : []
  }

  const putHealth = (
    { id, service, source }: Identity,
    { reason, status }: InstanceView["health"],
    previous: string | undefined
  ): ReadonlyArray<Change> => {
    const key = keyOf({ id, service, source })
    const before = previous ?? statuses.get(key)
    const known = statuses.get(key)
    statuses.set(key, status)
    return before === undefined || before === status || known === status
      ? []
      : [{ type: "health", id, service, source, previous: before, status, reason }]
  }

  const putSource = (source: SourceView): ReadonlyArray<Change> => {
    const previous = sources.get(source.name)
    sources.set(source.name, source)
    // The rest moves all the time.
    const same = previous !== undefined && previous.state === source.state && previous.error === source.error &&
      previous.held === source.held && previous.rejected.length === source.rejected.length
    // A new one says more when it is connected.
    const begins = previous === undefined && source.state === "connecting"
    return same || begins ? [] : [{ type: "source", source, previous }]
  }

  const removeSource = (name: string): ReadonlyArray<Change> =>
    sources.delete(name) ? [{ type: "sourceRemoved", name }] : []

  const snapshot = ({ catalog, health, sources: found }: Snapshot): ReadonlyArray<Change> => {
    const changes: Array<Change> = []
    if (catalog !== undefined) {
      const now = new Set(catalog.map(keyOf))
      for (const [key, instance] of Array.from(instances)) if (!now.has(key)) changes.push(...removeInstance(instance))
      for (const instance of catalog) changes.push(...putInstance(instance))
    }
    for (const each of health ?? []) changes.push(...putHealth(each, each.health, undefined))
    if (found !== undefined) {
      const now = new Set(found.map((source) => source.name))
      for (const name of Array.from(sources.keys())) if (!now.has(name)) changes.push(...removeSource(name))
      for (const source of found) changes.push(...putSource(source))
    }
    if (begun) return changes
    begun = true
    return [{ type: "watching", instances: catalog?.length, sources: found?.length }]
  }

  return (event) => {
    switch (event.event) {
      case "snapshot":
        return snapshot(event.data)
      case "catalog":
        return event.data.changes.flatMap((change) =>
          change.type === "removed" ? removeInstance(change) : putInstance(change.instance)
        )
      case "health":
        return event.data.changes.flatMap((change) => putHealth(change, change.health, change.previous))
      case "sources":
        return [...event.data.removed.flatMap(removeSource), ...event.data.changed.flatMap(putSource)]
      case "figures": {
        const { calls, failures, inFlight, p50, p95 } = event.data.totals
        return [{ type: "figures", calls, failures, inFlight, p50, p95 }]
      }
      default:
        return []
    }
  }
}

/**
 * What is known of the Services in scope and their slices, and what it comes to: a group of instances for each Service.
 *
 * **Mental model**: a plain state machine. Objects go in, in any order; out come the groups that are different now. It
 * knows no fiber and no clock.
 *
 * **Details**: the controller moves endpoints between slices in two writes, and between them there may be none. So an
 * endpoint that is missed stays for a moment, but for one that was terminating: whatever ends says that first.
 *
 * @since 0.2.0
 */
import type { Leases } from "@portolan/core/Leases"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Result from "effect/Result"
import * as KubernetesRecord from "../KubernetesRecord.ts"
import * as Objects from "./objects.ts"

/** How instances are made of what there is. */
export interface Reading {
  readonly portName: string | undefined
  readonly instances: "endpoints" | "services"
  readonly leases: Leases
  /** Where it is noted which group an instance is of. */
  readonly groups: WeakMap<ServiceInstance.ServiceInstance, string>
}

export type Kind = "services" | "endpointslices"

/** A Service and the slices that name it, which may be there before it is. */
interface Group {
  /** A text: what is wrong with it. */
  service: Objects.Service | string | undefined
  readonly slices: Map<string, Held>
  /** What it came to last. */
  snapshot: Registry.Snapshot | undefined
  /** Endpoints that weren't about to end then. */
  lasting: ReadonlyArray<KubernetesRecord.Found>
  /** Since when those are missed that stay for a moment, by id. */
  readonly missed: Map<string, number>
}

interface Held {
  readonly slice: Objects.EndpointSlice | string
  /** What it was read as; none: it hasn't been read yet. */
  found: ReadonlyArray<KubernetesRecord.Found> | undefined
}

/** ms for which an endpoint that is missed may be on its way to another slice. */
const settle = 1000

export class View {
  private readonly reading: Reading
  private readonly groups = new Map<string, Group>()
  /** Of the Services. */
  private readonly uids = new Map<string, string>()
  /** The group of each slice. */
  private readonly slices = new Map<string, string>()
  private readonly touched = new Set<string>()
  /** Groups in which something ends by itself. */
  private readonly pending = new Set<string>()
  /** Whether there are other groups than were told. */
  private regrouped = false

  constructor(reading: Reading) {
    this.reading = reading
  }

  /** Takes an object as it is now, or as it was when it was deleted; whether it is an object. */
  take(kind: Kind, object: unknown, deleted = false): boolean {
    const known = Objects.knownOf(object)
    if (known === undefined) return false
    const { key, service, uid } = known
    if (kind === "services") {
      if (deleted) this.uids.delete(key)
      else this.uids.set(key, uid)
      this.takeService(key, deleted ? undefined : Objects.readService(object))
    } else if (deleted) this.removeSlice(key)
    else this.takeSlice(key, service, Objects.readSlice(object))
    return true
  }

  /** Whether a Service is one of those that were taken, and not a new one of the same name. */
  has({ key, uid }: Objects.Known): boolean {
    return this.uids.get(key) === uid
  }

  /** All objects that there are were taken. */
  complete(): this {
    this.reading.leases.keep(this.slices)
    return this
  }

  /** The groups of slices. */
  servicesOf(slices: ReadonlyArray<string>): ReadonlySet<string> {
    return new Set(slices.flatMap((slice) => this.slices.get(slice) ?? []))
  }

  /** All groups. */
  everything(): ReadonlyArray<Registry.RegistryEvent> {
    this.regrouped = true
    return this.tell(this.groups.keys(), true)
  }

  /** The groups that are different since this was last asked, but for what ended by itself. */
  news(): ReadonlyArray<Registry.RegistryEvent> {
    return this.tell(this.touched, false)
  }

  /** What ended by itself too. */
  newsInTime(): ReadonlyArray<Registry.RegistryEvent> {
    return this.tell(new Set([...this.touched, ...this.pending]), false)
  }

  private tell(keys: Iterable<string>, always: boolean): ReadonlyArray<Registry.RegistryEvent> {
    const events: Array<Registry.RegistryEvent> = []
    if (this.regrouped) {
      const groups = Array.from(this.groups).flatMap(([key, { service }]) => service === undefined ? [] : [key])
      events.push({ _tag: "Groups", groups })
    }
    for (const key of keys) {
      const group = this.groups.get(key)
      if (group?.service === undefined) continue
      const snapshot = this.judge(key, group)
      if (!always && ServiceInstance.equals(snapshot, group.snapshot)) continue
      group.snapshot = snapshot
      events.push(snapshot)
    }
    this.regrouped = false
    this.touched.clear()
    return events
  }

  private takeService(key: string, service: Group["service"]): void {
    if (key === apiServer) return
    const group = this.groupAt(key)
    if (ServiceInstance.equals(group.service, service)) return this.prune(key, group)
    if (group.service === undefined || service === undefined) this.regrouped = true
    group.service = service
    if (service === undefined) {
      group.snapshot = undefined
      group.lasting = []
      group.missed.clear()
    }
    for (const held of group.slices.values()) {
      if (!isWhole(held.slice)) held.found = undefined
    }
    this.touched.add(key)
    this.prune(key, group)
  }

  private takeSlice(key: string, service: string, slice: Held["slice"]): void {
    if (this.slices.get(key) !== service) this.removeSlice(key)
    const group = this.groupAt(service)
    const before = group.slices.get(key)
    const isSame = before !== undefined && ServiceInstance.equals(essence(before.slice), essence(slice))
    group.slices.set(key, { slice, found: isSame ? before.found : undefined })
    this.slices.set(key, service)
    this.reading.leases.see(key, typeof slice === "string" ? undefined : KubernetesRecord.leaseOf(slice))
    this.touched.add(service)
  }

  private removeSlice(key: string): void {
    const service = this.slices.get(key)
    const group = service === undefined ? undefined : this.groups.get(service)
    if (service === undefined || group === undefined) return
    group.slices.delete(key)
    this.slices.delete(key)
    this.reading.leases.see(key, undefined)
    this.touched.add(service)
    this.prune(service, group)
  }

  private groupAt(key: string): Group {
    const group = this.groups.get(key) ??
      { service: undefined, slices: new Map(), snapshot: undefined, lasting: [], missed: new Map() }
    this.groups.set(key, group)
    return group
  }

  private prune(key: string, group: Group): void {
    if (group.service !== undefined || group.slices.size > 0) return
    this.groups.delete(key)
    this.pending.delete(key)
  }

  private judge(key: string, group: Group): Registry.Snapshot {
    const { groups } = this.reading
    const { expired, found } = this.read(key, group)
    const known = KubernetesRecord.unique(found)
    const instances: Array<ServiceInstance.ServiceInstance> = []
    const rejected: Array<Registry.Rejected> = []
    const lasting: Array<KubernetesRecord.Found> = []
    // What is wrong about a Service or a slice is wrong about all that it held: they stay in their last good form.
    const wrong = known.find(({ id, read }) => Result.isFailure(read) && (id === key || group.slices.has(id)))
    const more = wrong === undefined
      ? this.stay(group, known)
      : this.lastIds(group, known).map((id) => ({ ...wrong, id }))
    for (const one of [...known, ...more]) {
      if (Result.isFailure(one.read)) rejected.push({ id: one.id, reason: one.read.failure })
      else {
        instances.push(one.read.success)
        groups.set(one.read.success, key)
        if (one.place !== undefined && one.read.success.status !== "draining") lasting.push(one)
      }
    }
    group.lasting = lasting
    const ends = group.missed.size > 0 ||
      Array.from(group.slices.keys()).some((slice) => this.reading.leases.has(slice))
    if (ends) this.pending.add(key)
    else this.pending.delete(key)
    return { ...Registry.snapshot(instances, rejected, key), expired }
  }

  private read(key: string, { service, slices }: Group) {
    const { instances, leases, portName } = this.reading
    const reject = (id: string, reason: string) => [{ id, rank: 0, read: Result.fail(reason) }]
    if (service === undefined) return { found: [], expired: [] }
    if (typeof service === "string") return { found: reject(key, service), expired: [] }
    if (instances === "services") return { found: KubernetesRecord.readService(service, portName), expired: [] }
    const found: Array<KubernetesRecord.Found> = []
    const expired: Array<string> = []
    for (const [name, held] of slices) {
      const { slice } = held
      held.found ??= typeof slice === "string"
        ? reject(name, slice)
        : KubernetesRecord.readSlice(service, slice, portName)
      if (leases.isOver(name)) expired.push(...held.found.map(({ id }) => id))
      else found.push(...held.found)
    }
    return { found, expired }
  }

  /** Ids that it had last, and hasn't now. */
  private lastIds({ snapshot }: Group, known: ReadonlyArray<KubernetesRecord.Found>): ReadonlyArray<string> {
    const ids = new Set(known.map(({ id }) => id))
    return [...snapshot?.instances ?? [], ...snapshot?.rejected ?? []].flatMap(({ id }) => ids.has(id) ? [] : [id])
  }

  /** Those that are missed, and may be in another slice in a moment. */
  private stay(
    { lasting, missed }: Group,
    known: ReadonlyArray<KubernetesRecord.Found>
  ): ReadonlyArray<KubernetesRecord.Found> {
    const now = this.reading.leases.listened()
    const ids = new Set(known.map(({ id }) => id))
    const places = new Set(known.map(({ place }) => place))
    const before = new Map(missed)
    missed.clear()
    return lasting.filter(({ id, place }) => {
      const since = before.get(id) ?? now
      if (ids.has(id) || places.has(place) || now - since >= settle) return false
      missed.set(id, since)
      return true
    })
  }
}

/** The API server's own Service, which every cluster has. */
const apiServer = "default/kubernetes"

/** A slice that has nothing from its Service. */
const isWhole = (slice: Held["slice"]) =>
  typeof slice === "string" || slice.metadata.annotations?.[KubernetesRecord.annotations.record] !== undefined

/** A slice but for its renewal, which says nothing of its endpoints. */
const essence = (slice: Held["slice"]) => {
  if (typeof slice === "string") return slice
  const { [KubernetesRecord.annotations.renewed]: _, ...annotations } = slice.metadata.annotations ?? {}
  return { ...slice, metadata: { ...slice.metadata, annotations } }
}

/**
 * What one registry said: its records, from the events of its sessions.
 *
 * **Mental model**: a plain state machine. Events go in; ids of records that are different now come out, by `settle`. It
 * knows no fiber and no clock: the time is handed in.
 *
 * @since 0.1.0
 */
import type { SourceState } from "../../Catalog.ts"
import type { Change, Registry, RegistryEvent, Rejected, Snapshot } from "../../Registry.ts"
import * as ServiceInstance from "../../ServiceInstance.ts"
import { refusal } from "./trust.ts"

/** What the catalog needs of a record. Never changed: a change makes a new one. */
export interface SourceRecord {
  readonly instance: ServiceInstance.ServiceInstance
  readonly firstSeen: number
  readonly changedAt: number
  readonly missingSince: number | undefined
}

export interface Limits {
  /** ms for which unwitnessed mass removals are held. */
  readonly grace: number
  /** ms for which every removal is held. */
  readonly damping: number
}

interface Held {
  readonly until: number
  /** By self-preservation; else by damping. */
  readonly preserved: boolean
}

/** Self-preservation speaks up only where at least this many are known: with fewer, one or two deaths are a majority. */
const smallestFleet = 5

/** Records compared in one go, before others on the event loop have their turn. */
const slice = 500

export class Source {
  readonly registry: Registry
  readonly records = new Map<string, SourceRecord>()
  private readonly limits: Limits
  private readonly touched = new Set<string>()
  private readonly groups = new Map<string, string>()
  private readonly rejections = new Map<string, { readonly rejected: Rejected; readonly group: string | undefined }>()
  private readonly held = new Map<string, Held>()
  private preserved = 0
  /** Unwitnessed removals that were acted on, with their time, for as long as the grace time. */
  private readonly lost = new Map<string, number>()
  /** Ids that the session spoke of since a `list` began: what it says of them is newer. */
  private spokenOf: Set<string> | undefined

  private state: SourceState["state"] = "connecting"
  private since: number
  private lastHeard: number | undefined
  private lastError: string | undefined
  private reconnects = 0
  private rejected: ReadonlyArray<Rejected> | undefined = []
  /** Whether the session under way has said all there is. */
  private complete = false
  /** Groups of the session under way that have not given their first snapshot; none: it hasn't said which there are. */
  private awaited: Set<string> | undefined
  private readonly heard = new Set<string>()
  /** Records that the session under way has not confirmed, until it is complete. */
  private readonly unconfirmed = new Set<string>()
  /** Whether the records are those of a registry that this one replaced. */
  private inherited = false

  /** With `before`, the source of a registry that this one replaces: its records stay until this one has said all. */
  constructor(registry: Registry, limits: Limits, now: number, before?: Source) {
    this.registry = registry
    this.limits = limits
    this.since = now
    for (const [id, record] of before?.records ?? []) {
      if (refusal(registry, record.instance) !== undefined) continue
      this.inherited = true
      this.records.set(id, record.missingSince === undefined ? record : { ...record, missingSince: undefined })
    }
  }

  get summary(): SourceState {
    return {
      name: this.registry.name,
      type: this.registry.type,
      state: this.state,
      since: this.since,
      lastHeard: this.lastHeard,
      instances: this.records.size,
      rejected: this.rejected ??= Array.from(this.rejections.values(), ({ rejected }) => rejected),
      reconnects: this.reconnects,
      held: this.preserved,
      lastError: this.lastError
    }
  }

  /** Whether the session under way has said all there is. */
  get live(): boolean {
    return this.complete
  }

  /** Whether any session ever was. */
  get known(): boolean {
    return this.state !== "connecting"
  }

  begin(): void {
    this.complete = false
    this.awaited = undefined
    this.heard.clear()
    this.unconfirmed.clear()
  }

  failed(reason: string, now: number): void {
    this.begin()
    this.lastError = reason
    if (this.state === "connected" || this.inherited) this.move("stale", now)
  }

  /**
   * Takes an event. Yields now and then, so that the caller can let others run. The answer is what was wrong about the
   * event itself; none: nothing.
   */
  *take(event: RegistryEvent, now: number): Generator<void, string | undefined> {
    this.lastHeard = now
    switch (event._tag) {
      case "Alive":
        return undefined
      case "Groups":
        return this.takeGroups(event.groups, now)
      case "Snapshot":
        if (event.group !== undefined && this.awaited === undefined && !this.complete) {
          return `spoke of group "${event.group}" before it said which groups there are`
        }
        return yield* this.takeSnapshot(event, now)
      case "Delta":
        if (!this.complete && this.awaited === undefined) return "gave a change before its first snapshot"
        for (const change of event.changes) this.takeChange(change, now)
        this.expire(event.changes, now)
        return undefined
    }
  }

  /** A `list` begins; what the session says meanwhile is newer than its answer. */
  listing(): void {
    this.spokenOf = new Set()
  }

  listed(): void {
    this.spokenOf = undefined
  }

  /** Takes the answer of a `list`: everything there is, of all groups. */
  *takeList(snapshot: Snapshot, now: number): Generator<void, undefined> {
    this.lastHeard = now
    const newer = this.spokenOf ?? new Set()
    this.spokenOf = undefined
    const known = yield* this.putAll(snapshot, now, newer)
    for (const id of this.rejections.keys()) {
      if (!known.has(id) && !newer.has(id)) this.unreject(id)
    }
    const missing = Array.from(this.records.keys()).filter((id) => !known.has(id) && !newer.has(id))
    if (this.complete) this.remove(missing, now)
    else this.removeUnwitnessed(missing, now)
    return undefined
  }

  /** Lets go of what has been held long enough. What self-preservation holds goes only if a live session lacks it. */
  release(now: number): void {
    for (const [id, { preserved, until }] of this.held) {
      if (until <= now && (this.complete || !preserved)) this.drop(id)
    }
  }

  /** When `release` has something to do; none: nothing is held. */
  get due(): number | undefined {
    let due: number | undefined
    for (const { preserved, until } of this.held.values()) {
      if ((this.complete || !preserved) && (due === undefined || until < due)) due = until
    }
    return due
  }

  /** Tells which records are different since this was last asked. */
  settle(touched: Set<string>): void {
    for (const id of this.touched) touched.add(id)
    this.touched.clear()
  }

  private takeGroups(groups: ReadonlyArray<string>, now: number): undefined {
    const present = new Set(groups)
    const isGone = (group: string | undefined) => group === undefined || !present.has(group)
    const gone = Array.from(this.records.keys()).filter((id) => isGone(this.groups.get(id)))
    for (const [id, { group }] of this.rejections) {
      if (isGone(group)) this.unreject(id)
    }
    if (this.complete) {
      this.remove(gone, now)
      return
    }
    for (const id of gone) this.unconfirmed.add(id)
    this.awaited = new Set(groups.filter((group) => !this.heard.has(group)))
    this.completeIfAll(now)
  }

  private *takeSnapshot(event: Snapshot, now: number): Generator<void, undefined> {
    const group = event.group
    const known = yield* this.putAll(event, now, undefined)
    const missing: Array<string> = []
    for (const id of this.records.keys()) {
      if (!known.has(id) && (group === undefined || this.groups.get(id) === group)) missing.push(id)
    }
    for (const [id, rejection] of this.rejections) {
      if (!known.has(id) && (group === undefined || rejection.group === group)) this.unreject(id)
    }
    if (this.complete) {
      this.remove(missing, now)
      return
    }
    for (const id of missing) this.unconfirmed.add(id)
    if (group === undefined) this.awaited = new Set()
    else {
      this.heard.add(group)
      this.awaited?.delete(group)
    }
    this.completeIfAll(now)
  }

  private completeIfAll(now: number): void {
    if (this.awaited === undefined || this.awaited.size > 0) return
    this.complete = true
    this.lastError = undefined
    if (this.state === "stale") this.reconnects++
    this.move("connected", now)
    const missing = Array.from(this.unconfirmed)
    // That another registry knew them says nothing about this one.
    if (this.inherited) this.remove(missing, now)
    else this.removeUnwitnessed(missing, now)
    this.inherited = false
    this.unconfirmed.clear()
    this.release(now)
  }

  /** Puts and rejects what a snapshot holds, except what is newer; answers the ids it speaks of. */
  private *putAll(
    { group, instances, rejected }: Snapshot,
    now: number,
    newer: ReadonlySet<string> | undefined
  ): Generator<void, ReadonlySet<string>> {
    const known = new Set<string>()
    let count = 0
    for (const instance of instances) {
      if (++count % slice === 0) yield
      if (newer?.has(instance.id)) continue
      if (known.has(instance.id)) this.reject({ id: instance.id, reason: "id: another record has it too" }, group)
      else this.put(instance, group ?? this.groupOf(instance), now)
      known.add(instance.id)
    }
    for (const rejection of rejected) {
      if (newer?.has(rejection.id)) continue
      this.reject(rejection, group)
      known.add(rejection.id)
    }
    return known
  }

  /** The group of a record that came in none; a backend without groups has none. */
  private groupOf(instance: ServiceInstance.ServiceInstance): string | undefined {
    return this.registry.groupOf?.(instance) ?? this.groups.get(instance.id)
  }

  private takeChange(change: Change, now: number): void {
    switch (change._tag) {
      case "Put":
        return this.put(change.instance, this.groupOf(change.instance), now)
      case "Reject":
        return this.reject(change.rejected, this.groups.get(change.rejected.id))
      case "Removed": {
        this.spokenOf?.add(change.id)
        this.unconfirmed.delete(change.id)
        this.unreject(change.id)
        if (change.how === "deregistered") this.removeProven(change.id, now)
        else if (change.how === "unknown") this.remove([change.id], now)
      }
    }
  }

  /** The expired ones of a batch are judged together. */
  private expire(changes: ReadonlyArray<Change>, now: number): void {
    const last = new Map<string, Change>()
    for (const change of changes) {
      if (change._tag !== "Reject") last.set(change._tag === "Put" ? change.instance.id : change.id, change)
    }
    const expired: Array<string> = []
    for (const [id, change] of last) if (change._tag === "Removed" && change.how === "expired") expired.push(id)
    this.removeUnwitnessed(expired, now)
  }

  private put(instance: ServiceInstance.ServiceInstance, group: string | undefined, now: number): void {
    const id = instance.id
    const reason = refusal(this.registry, instance)
    if (reason !== undefined) return this.reject({ id, reason }, group)
    this.unreject(id)
    this.confirm(id, group)
    const record = this.records.get(id)
    if (record === undefined) {
      this.write(id, { instance, firstSeen: now, changedAt: now, missingSince: undefined })
    } else if (!ServiceInstance.equals(record.instance, instance)) {
      this.write(id, { instance, firstSeen: record.firstSeen, changedAt: now, missingSince: undefined })
    }
  }

  private reject(rejected: Rejected, group: string | undefined): void {
    const { id } = rejected
    // The record is there, though not in a form that can be used: its last good form stays.
    if (this.records.has(id)) this.confirm(id, group)
    else this.spokenOf?.add(id)
    this.rejections.set(id, { rejected, group: group ?? this.groups.get(id) ?? this.rejections.get(id)?.group })
    this.rejected = undefined
  }

  private unreject(id: string): void {
    if (this.rejections.delete(id)) this.rejected = undefined
  }

  /** The registry has it: whatever was thought of its absence is over. */
  private confirm(id: string, group: string | undefined): void {
    this.spokenOf?.add(id)
    this.unconfirmed.delete(id)
    this.lost.delete(id)
    if (group !== undefined) this.groups.set(id, group)
    this.unhold(id)
    const record = this.records.get(id)
    if (record?.missingSince !== undefined) this.write(id, { ...record, missingSince: undefined })
  }

  /** Removals that are witnessed: a live session said so. */
  private remove(ids: ReadonlyArray<string>, now: number): void {
    for (const id of ids) {
      if (!this.held.has(id)) this.letGo(id, now)
    }
  }

  /** A proven removal ends whatever self-preservation thought of it. */
  private removeProven(id: string, now: number): void {
    const held = this.held.get(id)
    if (held === undefined) this.letGo(id, now)
    else if (held.preserved) {
      this.unhold(id)
      this.letGo(id, now)
    }
  }

  /** Removals that nobody witnessed: held for the grace time when more than half of the fleet went that way. */
  private removeUnwitnessed(ids: ReadonlyArray<string>, now: number): void {
    const gone = ids.filter((id) => this.records.has(id) && !this.held.has(id))
    if (gone.length === 0) return
    if (this.registry.authoritative) return this.remove(gone, now)
    for (const [id, time] of this.lost) {
      if (time + this.limits.grace <= now) this.lost.delete(id)
    }
    const lost = this.preserved + this.lost.size + gone.length
    const fleet = this.records.size - this.held.size - gone.length + lost
    const preserve = fleet >= smallestFleet && lost * 2 > fleet
    for (const id of gone) {
      if (preserve) this.hold(id, { until: now + this.limits.grace, preserved: true }, now)
      else {
        this.lost.set(id, now)
        this.letGo(id, now)
      }
    }
  }

  private letGo(id: string, now: number): void {
    this.spokenOf?.add(id)
    if (!this.records.has(id)) return
    if (this.limits.damping > 0) this.hold(id, { until: now + this.limits.damping, preserved: false }, now)
    else this.drop(id)
  }

  private hold(id: string, held: Held, now: number): void {
    const record = this.records.get(id)
    if (record === undefined) return
    this.held.set(id, held)
    if (held.preserved) this.preserved++
    this.write(id, { ...record, missingSince: now })
  }

  private unhold(id: string): void {
    if (this.held.get(id)?.preserved) this.preserved--
    this.held.delete(id)
  }

  private write(id: string, record: SourceRecord): void {
    this.records.set(id, record)
    this.touched.add(id)
  }

  private drop(id: string): void {
    this.unhold(id)
    this.groups.delete(id)
    this.records.delete(id)
    this.touched.add(id)
  }

  private move(state: SourceState["state"], now: number): void {
    if (this.state !== state) this.since = now
    this.state = state
  }
}

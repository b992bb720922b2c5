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
import { Holds, type Limits } from "./holds.ts"
import { Rejections } from "./rejections.ts"
import { refusal } from "./trust.ts"

/** What the catalog needs of a record. Never changed: a change makes a new one. */
export interface SourceRecord {
  readonly instance: ServiceInstance.ServiceInstance
  readonly firstSeen: number
  readonly changedAt: number
  readonly missingSince: number | undefined
}

/** Records compared in one go, before others on the event loop have their turn. */
const slice = 500

export class Source {
  readonly registry: Registry
  readonly records = new Map<string, SourceRecord>()
  private readonly touched = new Set<string>()
  private readonly groups = new Map<string, string>()
  /** Records whose id is that of another group's: they have it next. By id and their own group. */
  private readonly waiting = new Map<string, Map<string, ServiceInstance.ServiceInstance>>()
  private readonly rejections = new Rejections()
  private readonly holds: Holds
  /** Ids that the session spoke of since a `list` began: what it says of them is newer. */
  private spokenOf: Set<string> | undefined

  private state: SourceState["state"] = "connecting"
  private since: number
  private lastHeard: number | undefined
  private lastError: string | undefined
  private reconnects = 0
  /** Whether the session under way has said all there is. */
  private complete = false
  /** Groups of the session under way that have not given their first snapshot; none: it hasn't said which there are. */
  private awaited: Set<string> | undefined
  private readonly heard = new Set<string>()
  /** Whether the session under way began with less than the backend once had. */
  private dataLost = false
  /** Records that the session under way has not confirmed, until it is complete. */
  private readonly unconfirmed = new Set<string>()
  /** Whether the records are those of a registry that this one replaced. */
  private inherited = false

  /** With `before`, the source of a registry that this one replaces: its records stay until this one has said all. */
  constructor(registry: Registry, limits: Limits, now: number, before?: Source) {
    this.registry = registry
    this.holds = new Holds(limits)
    this.since = now
    for (const [id, record] of before?.records ?? []) {
      if (refusal(registry, record.instance) !== undefined) continue
      this.inherited = true
      this.records.set(id, record.missingSince === undefined ? record : { ...record, missingSince: undefined })
    }
    if (this.inherited) this.lastHeard = before?.lastHeard
  }

  get summary(): SourceState {
    return {
      name: this.registry.name,
      type: this.registry.type,
      state: this.state,
      since: this.since,
      lastHeard: this.lastHeard,
      instances: this.records.size,
      rejected: this.rejections.list,
      reconnects: this.reconnects,
      held: this.holds.preserved,
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
    this.dataLost = false
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
        this.dataLost ||= event.dataLost === true
        return this.takeGroups(event.groups, now)
      case "Snapshot":
        if (event.group !== undefined && this.awaited === undefined && !this.complete) {
          return `spoke of group "${event.group}" before it said which groups there are`
        }
        this.dataLost ||= event.dataLost === true
        return yield* this.takeSnapshot(event, now)
      case "Delta":
        if (!this.complete && this.awaited === undefined) return "gave a change before its first snapshot"
        for (const change of event.changes) this.takeChange(change, now)
        this.takeUnproven(event.changes, now)
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
    this.rejections.removeWhere((id) => !known.has(id) && !newer.has(id))
    this.endWaiting((id, group) => !known.has(waitingName(id, group)) && !newer.has(id))
    const missing = Array.from(this.records.keys()).filter((id) => !known.has(id) && !newer.has(id))
    // Whoever asked wants what there is now, and nothing of what is held. A lost registry may be another one.
    if (this.complete) { for (const id of missing) this.removeProven(id, now) }
    else this.removeUnwitnessed(missing, now, this.dataLost)
    return undefined
  }

  /** Lets go of what has been held long enough. */
  release(now: number): void {
    const { gone, toJudge } = this.holds.over(this.complete, now)
    for (const id of gone) this.drop(id)
    if (toJudge) this.removeUnwitnessed([], now)
  }

  /** When `release` has something to do; none: nothing is held. */
  get due(): number | undefined {
    return this.holds.due(this.complete)
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
    this.rejections.removeWhere((_, group) => isGone(group))
    this.endWaiting((_, group) => isGone(group))
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
    this.endWaiting((id, its) => (group === undefined || its === group) && !known.has(waitingName(id, its)))
    const missing: Array<string> = []
    for (const id of this.records.keys()) {
      if (!known.has(id) && (group === undefined || this.groups.get(id) === group)) missing.push(id)
    }
    this.rejections.removeWhere((id, its) => !known.has(id) && (group === undefined || its === group))
    if (this.complete) {
      const expired = new Set(event.expired)
      this.remove(missing.filter((id) => !expired.has(id)), now)
      this.expire(missing.filter((id) => expired.has(id)), now)
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
    else this.removeUnwitnessed(missing, now, this.dataLost)
    this.inherited = false
    this.unconfirmed.clear()
    // What was held long enough goes in the same step.
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
      const its = group ?? this.groupOf(instance)
      if (its !== undefined && this.isTaken(instance.id, its)) known.add(this.wait(instance, its))
      else {
        if (known.has(instance.id)) this.reject({ id: instance.id, reason: "id: another record has it too" }, group)
        else this.put(instance, its, now)
        known.add(instance.id)
      }
    }
    for (const rejection of rejected) {
      if (newer?.has(rejection.id)) continue
      this.reject(rejection, group)
      known.add(rejection.id)
    }
    return known
  }

  /** Whether a record of another group has the id. */
  private isTaken(id: string, group: string): boolean {
    const owner = this.groups.get(id) ?? group
    const record = this.records.get(id)
    return owner !== group && record !== undefined && record.missingSince === undefined
  }

  private wait(instance: ServiceInstance.ServiceInstance, group: string): string {
    const { id } = instance
    const name = waitingName(id, group)
    this.waiting.set(id, (this.waiting.get(id) ?? new Map()).set(group, instance))
    this.rejections.add({ id: name, reason: `id: group "${this.groups.get(id)}" has it too` }, group)
    return name
  }

  private endWaiting(isOver: (id: string, group: string) => boolean): void {
    for (const [id, others] of this.waiting) {
      for (const group of others.keys()) if (isOver(id, group)) others.delete(group)
      if (others.size === 0) this.waiting.delete(id)
    }
  }

  /** Gives the id of a record that is gone to one that waited for it; whether there is one. */
  private handOver(id: string, now: number): boolean {
    const [next] = this.waiting.get(id) ?? []
    if (next === undefined) return false
    const [group, instance] = next
    this.waiting.get(id)?.delete(group)
    this.rejections.remove(waitingName(id, group))
    this.put(instance, group, now)
    return true
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
        this.rejections.remove(change.id)
        if (change.how === "deregistered") this.removeProven(change.id, now)
      }
    }
  }

  /** The removals of a batch that nothing proves are judged together. */
  private takeUnproven(changes: ReadonlyArray<Change>, now: number): void {
    const last = new Map<string, Change>()
    for (const change of changes) {
      if (change._tag !== "Reject") last.set(change._tag === "Put" ? change.instance.id : change.id, change)
    }
    const gone: Array<string> = []
    for (const [id, change] of last) if (change._tag === "Removed" && change.how !== "deregistered") gone.push(id)
    this.expire(gone, now)
  }

  private put(instance: ServiceInstance.ServiceInstance, group: string | undefined, now: number): void {
    const id = instance.id
    const reason = refusal(this.registry, instance)
    if (reason !== undefined) return this.reject({ id, reason }, group)
    this.rejections.remove(id)
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
    // What another registry took is no form that is good by the rules of this one.
    if (this.inherited && this.records.has(id)) this.unconfirmed.add(id)
    // The record is there, though not in a form that can be used: its last good form stays.
    else if (this.records.has(id)) this.confirm(id, group)
    else this.spokenOf?.add(id)
    this.rejections.add(rejected, group ?? this.groups.get(id))
  }

  /** The registry has it: whatever was thought of its absence is over. */
  private confirm(id: string, group: string | undefined): void {
    this.spokenOf?.add(id)
    this.unconfirmed.delete(id)
    if (group !== undefined) this.groups.set(id, group)
    this.holds.found(id)
    const record = this.records.get(id)
    if (record?.missingSince !== undefined) this.write(id, { ...record, missingSince: undefined })
  }

  /** Removals that are witnessed: a live session said so. */
  private remove(ids: ReadonlyArray<string>, now: number): void {
    for (const id of this.leaving(ids, now)) this.letGo(id, now)
  }

  /** A proven removal ends whatever self-preservation thought of it. */
  private removeProven(id: string, now: number): void {
    if (this.holds.isUnwitnessed(id)) this.holds.end(id)
    this.remove([id], now)
  }

  /** Leases that ran out, or may have: more of them may be told in a moment. */
  private expire(ids: ReadonlyArray<string>, now: number): void {
    const gone = this.leaving(ids, now)
    if (gone.length === 0) return
    if (this.registry.authoritative || !this.holds.gathers(this.records.size, now)) {
      return this.removeUnwitnessed(gone, now)
    }
    for (const id of gone) {
      this.spokenOf?.add(id)
      this.holds.gather(id, now)
      this.miss(id, now)
    }
  }

  /** Removals that nobody witnessed, with what was gathered of them: held where they are most of the fleet, or any of it. */
  private removeUnwitnessed(ids: ReadonlyArray<string>, now: number, anyway = false): void {
    if (this.registry.authoritative) return this.remove(ids, now)
    const gone = this.leaving(new Set([...this.holds.takeGathered(), ...ids]), now)
    const areHeld = anyway
      ? this.holds.isFleet(this.records.size, now)
      : this.holds.isMost(gone.length, this.records.size, now)
    for (const id of gone) {
      if (areHeld) {
        this.holds.preserve(id, now)
        this.miss(id, now)
      } else {
        this.holds.lose(id, now)
        this.letGo(id, now)
      }
    }
  }

  private leaving(ids: Iterable<string>, now: number): ReadonlyArray<string> {
    return Array.from(ids).filter((id) => this.records.has(id) && !this.holds.has(id) && !this.handOver(id, now))
  }

  private letGo(id: string, now: number): void {
    this.spokenOf?.add(id)
    if (this.holds.damp(id, now)) this.miss(id, now)
    else this.drop(id)
  }

  private miss(id: string, now: number): void {
    const record = this.records.get(id)
    if (record !== undefined && record.missingSince === undefined) this.write(id, { ...record, missingSince: now })
  }

  private write(id: string, record: SourceRecord): void {
    this.records.set(id, record)
    this.touched.add(id)
  }

  private drop(id: string): void {
    this.holds.end(id)
    this.groups.delete(id)
    this.records.delete(id)
    this.touched.add(id)
  }

  private move(state: SourceState["state"], now: number): void {
    if (this.state !== state) this.since = now
    this.state = state
  }
}

/** What a record that waits for its id is rejected as. */
const waitingName = (id: string, group: string) => `${group}/${id}`

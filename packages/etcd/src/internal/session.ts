/**
 * One watching session: what there is under the prefix, then what happens to it.
 *
 * **Mental model**: a session reads the prefix at a revision and watches from the next one on, so nothing falls between
 * the two. A watch that is quiet for a while is opened anew where it was: that proves that etcd is still there, and
 * replaces a connection that died without a word. Whatever can't be gone on from (history that was compacted away with
 * changes of ours in it, a cluster restored from a backup, another cluster) ends the session; the next one begins with
 * everything there is.
 *
 * **Details**: a cluster may be busy while the prefix is quiet. etcd reads through all that happened since the revision
 * that a watch begins with, and forgets it some time; so once much happened elsewhere, or etcd forgot it, the session
 * asks whether anything under the prefix is different, and if not, goes on from there.
 *
 * @since 0.2.0
 */
import type { Place, RecordFormat } from "@portolan/core/RecordFormat"
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Etcd } from "../Etcd.ts"
import { EtcdError, explain } from "./etcdError.ts"
import { Names } from "./names.ts"
import { decode, type Header, type KeyValue, type WatchAnswer } from "./wire.ts"

/** Where the records of a registry are, and how they are written down. */
export interface Location {
  readonly etcd: Etcd
  /** Ends with a slash. */
  readonly prefix: string
  readonly format: RecordFormat
}

type Events = NonNullable<WatchAnswer["events"]>

/** Revisions that a watch may begin in the past. */
const far = 1000

/** Questions asked at a time. */
const concurrency = 16

/** What a session knows: how far it is, and which keys there are. */
export class Session {
  private readonly location: Location
  private readonly cluster: string
  private readonly names = new Names()
  /** Everything up to here was handed over. */
  private revision: number
  private fragments: Array<Events[number]> = []
  /** Whether etcd wouldn't have the last watch, because of who asked. */
  private refused = false

  private constructor(location: Location, header: Header) {
    this.location = location
    this.cluster = header.cluster_id
    this.revision = header.revision ?? 0
  }

  /** Reads everything. */
  static readonly begin = Effect.fnUntraced(function*(
    location: Location
  ): Effect.fn.Return<readonly [Session, Registry.Snapshot], EtcdError> {
    const { header, kvs = [] } = yield* location.etcd.list(location.prefix)
    const session = new Session(location, header)
    const instances = new Map<string, ServiceInstance>()
    const rejected = new Map<string, Registry.Rejected>()
    for (const kv of byAge(kvs)) {
      for (const change of yield* session.put(kv)) {
        if (change._tag === "Put") {
          instances.set(change.instance.id, change.instance)
          rejected.delete(change.instance.id)
        } else if (change._tag === "Reject") rejected.set(change.rejected.id, change.rejected)
      }
    }
    return [session, Registry.snapshot(Array.from(instances.values()), Array.from(rejected.values()))]
  })

  /**
   * Whether etcd lost what another session of the same registry once heard of: it was wiped, or restored. A new cluster
   * at the same addresses has the same id, and its revision may be beyond that one by now.
   */
  lacksWhatWas(heard: Session): boolean {
    return this.cluster !== heard.cluster || this.revision < heard.revision ||
      this.names.contradicts(heard.names, heard.revision)
  }

  /** What happens from here on; a watch that is quiet for as long as `wait` is opened anew. */
  changes(wait: Duration.Duration): Stream.Stream<Registry.RegistryEvent, EtcdError> {
    const { etcd, prefix } = this.location
    const untilQuiet = Stream.suspend(() => etcd.watch(prefix, this.revision + 1)).pipe(
      Stream.concat(Stream.fromEffectDrain(failed("etcd ended the watch"))),
      Stream.takeUntil(({ canceled }) => canceled === true),
      Stream.timeout(wait),
      Stream.concat(Stream.fromEffectDrain(Effect.suspend(() => this.catchUp)))
    )
    // What a watch that was given up had not handed over comes again, as the revision moves only here.
    return Stream.forever(untilQuiet).pipe(Stream.mapEffect((answer) => this.take(answer)))
  }

  /** Between two watches: whether this is still the same cluster, and how far it is. */
  private get catchUp(): Effect.Effect<void, EtcdError> {
    const { etcd, prefix } = this.location
    return Effect.gen({ self: this }, function*() {
      const header = yield* etcd.now(prefix)
      yield* this.recognise(header)
      const { revision = 0 } = header
      if (revision - this.revision > far) yield* this.skipTo(revision)
    })
  }

  /** Goes on from the revision if nothing is different under the prefix there: no key was written, and none is missing. */
  private skipTo(revision: number): Effect.Effect<boolean, EtcdError> {
    const { etcd, prefix } = this.location
    return Effect.map(etcd.written(prefix, this.revision, revision), ({ count = 0, kvs = [] }) => {
      const same = kvs.length === 0 && count === this.names.size
      if (same) this.revision = revision
      return same
    })
  }

  /** Fails unless this is the cluster that the session began with, and it has all that it had then. */
  private recognise({ cluster_id, revision = 0 }: Header): Effect.Effect<void, EtcdError> {
    if (cluster_id !== this.cluster) return anotherCluster
    if (revision >= this.revision) return Effect.void
    const how = `from ${this.revision} to ${revision}`
    return failed(`the revision went back ${how}: the cluster was restored or lost its data`)
  }

  private take(answer: WatchAnswer): Effect.Effect<Registry.RegistryEvent, EtcdError> {
    // One message can both create and cancel.
    if (answer.canceled === true) return Effect.as(this.cancelled(answer), Registry.alive)
    if (answer.header.cluster_id !== this.cluster) return anotherCluster
    if (answer.created === true) {
      this.fragments = []
      this.refused = false
    }
    this.fragments.push(...answer.events ?? [])
    if (answer.fragment === true) return Effect.succeed(Registry.alive)
    const events = this.fragments
    this.fragments = []
    // A note of progress vouches for everything up to its revision; the beginning of a watch doesn't.
    const progress = answer.created === true ? 0 : answer.header.revision ?? 0
    const revision = Math.max(this.revision, events.at(-1)?.kv.mod_revision ?? progress)
    // Not before all that happened up to there is known.
    return Effect.tap(
      events.length === 0 ? Effect.succeed(Registry.alive) : this.judge(events, revision),
      () => Effect.sync(() => this.revision = revision)
    )
  }

  private cancelled(answer: WatchAnswer): Effect.Effect<void, EtcdError> {
    const { cancel_reason = "no reason given", compact_revision } = answer
    if (compact_revision === undefined) {
      const refusal = explain(cancel_reason)
      if (refusal.unauthorized !== true || this.refused) return Effect.fail(refusal)
      // Its token ran out on the way: what is asked before the next watch replaces it.
      this.refused = true
      return Effect.void
    }
    const reason = `revision ${this.revision + 1} is gone, etcd compacted its history up to ${compact_revision}`
    return Effect.flatMap(this.skipTo(compact_revision), (same) => same ? Effect.void : failed(reason))
  }

  /** Turns a batch of events into what happened to instances. */
  private judge(events: Events, revision: number): Effect.Effect<Registry.RegistryEvent, EtcdError> {
    const { etcd } = this.location
    return Effect.gen({ self: this }, function*() {
      const endings = yield* endingsOf(etcd, events)
      const changes: Array<Registry.Change> = []
      const next: Array<string> = []
      for (const { kv, prev_kv, type } of events) {
        if (type !== "DELETE") changes.push(...yield* this.put(kv))
        else {
          const { id, rivals } = this.names.remove(decode(kv.key))
          changes.push({ _tag: "Removed", id, how: endings(prev_kv) })
          next.push(...rivals)
        }
      }
      // One of those that wanted its id has it now.
      for (const kv of byAge(yield* etcd.read(next, revision))) changes.push(...yield* this.put(kv))
      return Registry.delta(changes)
    })
  }

  private put(
    { create_revision, key, mod_revision, value = "" }: KeyValue
  ): Effect.Effect<ReadonlyArray<Registry.Change>> {
    const { format, prefix } = this.location
    const name = decode(key)
    const text = decode(value)
    const revisions = { created: create_revision ?? mod_revision, written: mod_revision }
    return this.names.put(name, placeOf(prefix, name), revisions, (place) => Effect.result(format.read(text, place)))
  }
}

/** As a session that was there all along saw them come. */
const byAge = (kvs: ReadonlyArray<KeyValue>): ReadonlyArray<KeyValue> =>
  kvs.toSorted((self, that) => (self.create_revision ?? 0) - (that.create_revision ?? 0))

/** How keys went that events delete: one whose lease is still there, or had none, was deleted by somebody. */
const endingsOf = Effect.fnUntraced(function*(etcd: Etcd, events: Events) {
  const leases = new Set(events.flatMap(({ prev_kv, type }) => type === "DELETE" ? prev_kv?.lease ?? [] : []))
  const asked = yield* Effect.forEach(
    leases,
    // A question without an answer leaves open how it went, nothing else.
    (lease) =>
      Effect.map(Effect.option(etcd.isAlive(lease)), (alive) => [lease, Option.getOrUndefined(alive)] as const),
    { concurrency }
  )
  const alive = new Map(asked)
  return (before: KeyValue | undefined) => {
    if (before === undefined) return "unknown"
    const left = before.lease === undefined ? true : alive.get(before.lease)
    return left === undefined ? "unknown" : left ? "deregistered" : "expired"
  }
})

const failed = (reason: string) => Effect.fail(new EtcdError({ reason }))
const anotherCluster = failed("another cluster answers at this address")

/** What a key says of its record. One that names no id is known by its whole name. */
const placeOf = (prefix: string, key: string): Place => {
  const rest = key.slice(prefix.length)
  const slash = rest.indexOf("/")
  if (slash === -1 && rest !== "") return { id: rest }
  const id = rest.slice(slash + 1)
  return slash < 1 || id === "" ? { id: key } : { id, service: rest.slice(0, slash) }
}

/**
 * Instances announced in etcd: each is the JSON of its record at `<prefix><service>/<id>`, under a lease.
 *
 * **Mental model**: a session reads the prefix at a revision and watches from the next one on, so nothing falls between
 * the two. A watch that is quiet for a while is opened anew where it was: that proves that etcd is still there, and
 * replaces a connection that died without a word. Where nothing was written in the meantime it goes on from now, so that
 * the history it would need isn't compacted away. Whatever can't be gone on from (a compaction all the same, a cluster
 * restored from a backup) ends the session; the next one begins with everything there is.
 *
 * **Gotchas**: etcd does not say why a key is gone. It counts as deregistered while the lease that held it is alive or it
 * had none, and as expired when the lease is gone too; so a record is removed without revoking its lease, which then ends
 * by itself.
 *
 * @since 0.1.0
 */
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import * as Etcd from "./Etcd.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface EtcdRegistryOptions {
  /** Addresses of members, such as `http://127.0.0.1:2379`; the next is taken when one is dead. */
  readonly endpoints: ReadonlyArray<string>
  /** Where the records are. A slash at its end is added. Default `/portolan/`. */
  readonly prefix?: string | undefined
  /** Default `etcd`. */
  readonly name?: string | undefined
  /** Default `limited`. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** How long a watch may be quiet before it is opened anew. Default 10 s. */
  readonly wait?: Duration.Input | undefined
}

/** Operations that etcd takes in one transaction, unless it is told otherwise. */
const transactionLimit = 128

/**
 * Makes a registry in etcd. Nothing is connected before it is used; its connections close with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: EtcdRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const name = options.name ?? "etcd"
    const prefix = (options.prefix ?? "/portolan/").replace(/\/*$/, "/")
    const wait = Duration.fromInputUnsafe(options.wait ?? "10 seconds")
    const wrong = options.endpoints.find((endpoint) => !/^https?:$/.test(URL.parse(endpoint)?.protocol ?? ""))
    if (wrong !== undefined || options.endpoints.length === 0) {
      const reason = `endpoints: expected http(s) URLs of etcd members${wrong === undefined ? "" : `, not "${wrong}"`}`
      return yield* new Registry.RegistryError({ registry: name, operation: "open", reason })
    }
    const etcd = yield* Etcd.make(options.endpoints)

    const failed = (operation: string) => (cause: Etcd.EtcdError) =>
      new Registry.RegistryError({
        registry: name,
        operation,
        reason: cause.reason,
        ...(cause.unauthorized === true ? { unauthorized: true } : {}),
        cause
      })

    const watch = Stream.unwrap(Effect.gen(function*() {
      const begun = yield* etcd.list(prefix)
      const session = new Session(prefix, begun)
      const ended = Stream.fail(new Etcd.EtcdError({ reason: "etcd ended the watch" }))
      const untilQuiet = Stream.suspend(() => etcd.watch(prefix, session.revision + 1)).pipe(
        Stream.concat(ended),
        Stream.timeout(wait),
        Stream.concat(Stream.fromEffectDrain(
          Effect.flatMap(Effect.suspend(() => etcd.written(prefix, session.revision)), (answer) =>
            session.confirm(answer))
        ))
      )
      return Stream.concat(
        Stream.succeed<Registry.RegistryEvent>(session.snapshot),
        // What a watch that was given up had not handed over comes again, as the revision moves only here.
        Stream.forever(untilQuiet).pipe(Stream.mapEffect((answer) =>
          Effect.flatMap(session.take(answer), (events) =>
            judge(etcd, prefix, session, events))
        ))
      )
    })).pipe(Stream.mapError(failed("watch")))

    const keyOf = (instance: ServiceInstance.ServiceInstance) =>
      `${prefix}${instance.service}/${instance.id}`

    const registrar: Registry.Registrar = {
      put: (instance, { incarnation, ttl }) =>
        Effect.gen(function*() {
          if (instance.service.includes("/")) {
            return yield* new Etcd.EtcdError({
              reason: `service: "${instance.service}" can't be part of a key with its slash`
            })
          }
          const seconds = Math.max(1, Math.ceil(Duration.toSeconds(ttl)))
          const handle = leaseId(prefix, instance.id, incarnation, seconds)
          const granted = yield* etcd.grant(handle, seconds)
          yield* etcd.put(keyOf(instance), JSON.stringify(instance), handle)
          return { instance, incarnation, ttl: Duration.seconds(granted), handle }
        }).pipe(Effect.mapError(failed("put"))),
      renew: (leases) =>
        Effect.gen(function*() {
          if (leases.length === 0) {
            return []
          }
          const parts = chunks(
            leases.map((lease) =>
              keyOf(lease.instance)
            ),
            transactionLimit
          )
          const [alive, holders] = yield* Effect.all([
            etcd.keepAlive(leases.map(({ handle }) => handle)),
            Effect.forEach(parts, etcd.holders)
          ], { concurrency: 2 })
          const held = new Map(holders.flatMap((holder) => Array.from(holder)))
          return leases.flatMap((lease) => {
            const holder = held.get(keyOf(lease.instance))
            if (holder === undefined) return [{ lease, reason: "its record is gone", taken: false }]
            if (holder !== lease.handle) return [{ lease, reason: "another process took its id", taken: true }]
            return alive.has(lease.handle) ? [] : [{ lease, reason: "its lease is over", taken: false }]
          })
        }).pipe(Effect.mapError(failed("renew"))),
      remove: (lease) => Effect.mapError(etcd.deleteIf(keyOf(lease.instance), lease.handle), failed("remove"))
    }

    return Registry.make({
      name,
      type: "etcd",
      list: Effect.mapBoth(etcd.list(prefix), {
        onFailure: failed("list"),
        onSuccess: (answer) => new Session(prefix, answer).snapshot
      }),
      watch,
      registrar: Option.some(registrar),
      trust: options.trust ?? "limited",
      idleTimeout: Option.some(Duration.times(wait, 3))
    })
  })

/**
 * Layer that adds a registry in etcd to `Registries`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: EtcdRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

type Events = NonNullable<Etcd.WatchAnswer["events"]>

/** What a session knows: how far it is, and which key holds each id. */
class Session {
  readonly snapshot: Registry.Snapshot
  /** Everything up to here was handed over. */
  revision: number
  private readonly prefix: string
  private readonly cluster: string
  private readonly holders = new Map<string, string>()
  private fragments: Array<Events[number]> = []

  constructor(prefix: string, { header, kvs = [] }: Etcd.RangeAnswer) {
    this.prefix = prefix
    this.cluster = header.cluster_id
    this.revision = header.revision ?? 0
    // The last written wins where two keys hold the same id: an instance may move to another service.
    const changes = new Map(kvs.map((kv) => [this.hold(Etcd.decode(kv.key)), this.read(kv)]))
    this.snapshot = Registry.snapshot(
      Array.from(changes.values()).flatMap((change) => change._tag === "Put" ? [change.instance] : []),
      Array.from(changes.values()).flatMap((change) => change._tag === "Reject" ? [change.rejected] : [])
    )
  }

  /** Takes one answer; the events that are whole now, none where it only says that etcd is there. */
  take(answer: Etcd.WatchAnswer): Effect.Effect<Events, Etcd.EtcdError> {
    const { revision } = answer.header
    // One message can both create and cancel, and one that cancels may have no revision.
    const reason = answer.canceled === true ? this.cancelled(answer) : this.mistrust(answer.header)
    if (reason !== undefined) return Effect.fail(new Etcd.EtcdError({ reason }))
    if (answer.created === true) this.fragments = []
    if (answer.events === undefined || answer.events.length === 0) {
      // The note of progress vouches for everything up to its revision; the beginning of a watch doesn't.
      if (answer.created !== true && revision !== undefined) this.revision = revision
      return Effect.succeed([])
    }
    this.fragments.push(...answer.events)
    if (answer.fragment === true) return Effect.succeed([])
    const events = this.fragments
    this.fragments = []
    this.revision = events.at(-1)?.kv.mod_revision ?? this.revision
    return Effect.succeed(events)
  }

  /**
   * Goes on from the revision of the answer if it proves that nothing happened before: no key was written after ours,
   * and none is missing.
   */
  confirm({ count = 0, header, kvs = [] }: Etcd.RangeAnswer): Effect.Effect<void, Etcd.EtcdError> {
    const reason = this.mistrust(header)
    if (reason !== undefined) return Effect.fail(new Etcd.EtcdError({ reason }))
    if (kvs.length === 0 && count === this.holders.size) this.revision = header.revision ?? this.revision
    return Effect.void
  }

  private cancelled(answer: Etcd.WatchAnswer): string {
    return answer.compact_revision === undefined
      ? `etcd cancelled the watch: ${answer.cancel_reason ?? "no reason given"}`
      : `revision ${this.revision + 1} is gone, etcd compacted its history up to ${answer.compact_revision}`
  }

  /** Why the answer isn't of the cluster that the session began with. */
  private mistrust({ cluster_id, revision = 0 }: Etcd.RangeAnswer["header"]): string | undefined {
    if (cluster_id !== this.cluster) return "another cluster answers at this address"
    return revision < this.revision
      ? `the revision went back from ${this.revision} to ${revision}: the cluster was restored or lost its data`
      : undefined
  }

  /** Notes that the key holds its id; answers the id. */
  hold(key: string): string {
    const id = idOf(this.prefix, key)
    this.holders.set(id, key)
    return id
  }

  /** Notes that the key is gone; whether it was the one that held its id. */
  release(key: string): boolean {
    const id = idOf(this.prefix, key)
    return this.holders.get(id) === key && this.holders.delete(id)
  }

  read(kv: Etcd.KeyValue): Exclude<Registry.Change, { readonly _tag: "Removed" }> {
    const key = Etcd.decode(kv.key)
    const reject = (reason: string) => ({ _tag: "Reject", rejected: { id: idOf(this.prefix, key), reason } } as const)
    const record = parse(Etcd.decode(kv.value ?? ""))
    if (Result.isFailure(record)) return reject(record.failure)
    const { id, service } = record.success
    if (key !== `${this.prefix}${service}/${id}`) {
      return reject(`its key "${key}" is not that of "${id}" of service "${service}"`)
    }
    return { _tag: "Put", instance: record.success }
  }
}

/** Turns a batch of events into what happened to instances. */
const judge = Effect.fnUntraced(function*(
  etcd: Etcd.Etcd,
  prefix: string,
  session: Session,
  events: Events
): Effect.fn.Return<Registry.RegistryEvent> {
  if (events.length === 0) return Registry.alive
  const leases = new Set(events.flatMap(({ prev_kv, type }) => type === "DELETE" ? prev_kv?.lease ?? [] : []))
  const alive = new Map(
    yield* Effect.forEach(
      leases,
      // A question without an answer leaves open how it went, nothing else.
      (lease) =>
        Effect.map(Effect.option(etcd.isAlive(lease)), (alive) => [lease, Option.getOrUndefined(alive)] as const),
      { concurrency: 16 }
    )
  )
  const how = (before: Etcd.KeyValue | undefined) => {
    if (before === undefined) return "unknown"
    const left = before.lease === undefined ? true : alive.get(before.lease)
    return left === undefined ? "unknown" : left ? "deregistered" : "expired"
  }
  const changes: Array<Registry.Change> = []
  for (const { kv, prev_kv, type } of events) {
    const key = Etcd.decode(kv.key)
    if (type !== "DELETE") {
      session.hold(key)
      changes.push(session.read(kv))
    } else if (session.release(key)) changes.push({ _tag: "Removed", id: idOf(prefix, key), how: how(prev_kv) })
  }
  return changes.length === 0 ? Registry.alive : Registry.delta(changes)
})

// A key that has no slash after the prefix is nobody's; it is known by its whole name.
const idOf = (prefix: string, key: string): string => {
  const slash = key.indexOf("/", prefix.length)
  return slash === -1 || slash === key.length - 1 ? key : key.slice(slash + 1)
}

const parse = (text: string): Result.Result<ServiceInstance.ServiceInstance, string> =>
  Result.flatMap(
    Result.try({ try: (): unknown => JSON.parse(text), catch: () => "the value is not JSON" }),
    ServiceInstance.decode
  )

/**
 * The lease of an announcement is known by what it is for, so a grant whose answer was lost is found again instead of
 * left behind, and holding a key proves the incarnation. 63 bits: etcd's ids are signed.
 */
const leaseId = (...of: ReadonlyArray<string | number>): string =>
  BigInt.asUintN(63, createHash("sha256").update(JSON.stringify(of)).digest().readBigUInt64BE()).toString()

const chunks = <A>(all: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size))

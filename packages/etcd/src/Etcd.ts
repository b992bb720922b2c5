/**
 * The part of etcd that a registry needs, over etcd's own HTTP JSON gateway (`/v3/…`).
 *
 * **Mental model**: one function a call of the API. Nothing is retried; a call that finds its endpoint dead, hung or cut
 * off makes the next endpoint the one for the calls after it.
 *
 * **Gotchas**: a write whose answer was lost may have happened, so writes are made such that doing them again changes
 * nothing.
 *
 * @since 0.1.0
 */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { type EtcdError, failure, garbled } from "./internal/etcdError.ts"
import * as Members from "./internal/members.ts"
import * as Wire from "./internal/wire.ts"

export { EtcdError } from "./internal/etcdError.ts"
export type { EtcdOptions } from "./internal/members.ts"
export type { Header, KeyValue, LeaseAnswer, RangeAnswer, WatchAnswer } from "./internal/wire.ts"

/**
 * A client of one cluster.
 *
 * @category models
 * @since 0.1.0
 */
export interface Etcd {
  /** How long a member may take to answer. */
  readonly timeout: Duration.Duration
  /** All keys under a prefix, as they were at the revision of the answer. */
  readonly list: (prefix: string) => Effect.Effect<Wire.RangeAnswer, EtcdError>
  /** How far the cluster is, by the word of most of its members. Needs the right to read the prefix. */
  readonly now: (prefix: string) => Effect.Effect<Wire.Header, EtcdError>
  /** One of the keys under a prefix that were written after a revision up to another, and how many there were then. */
  readonly written: (prefix: string, after: number, upTo: number) => Effect.Effect<Wire.RangeAnswer, EtcdError>
  /** What happens under a prefix from a revision on. Ends only with its connection. */
  readonly watch: (prefix: string, from: number) => Stream.Stream<Wire.WatchAnswer, EtcdError>
  /** Begins a lease of at least this many seconds; answers what was granted. One that exists is renewed. */
  readonly grant: (lease: string, seconds: number) => Effect.Effect<number, EtcdError>
  /** Renews leases in few requests; answers the seconds that each has, and leaves out those that are gone. */
  readonly keepAlive: (leases: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, number>, EtcdError>
  /** Whether the lease is still there. */
  readonly isAlive: (lease: string) => Effect.Effect<boolean, EtcdError>
  readonly put: (key: string, value: string, lease: string) => Effect.Effect<void, EtcdError>
  /** Deletes the key if it is held by the lease. */
  readonly deleteIf: (key: string, lease: string) => Effect.Effect<void, EtcdError>
  /** Keys as they were at a revision, in few requests; leaves out those that weren't there. */
  readonly read: (
    keys: ReadonlyArray<string>,
    revision: number
  ) => Effect.Effect<ReadonlyArray<Wire.KeyValue>, EtcdError>
  /** The leases that hold these keys, in few requests; leaves out keys that are gone. */
  readonly holders: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, string>, EtcdError>
}

/** Records of one answer: none takes long to read, and others have their turn between two. */
const pageSize = 500

/** Leases renewed in one request. */
const mostRenewals = 1000

/** Operations that etcd takes in one transaction, unless it is told otherwise. */
const mostOperations = 128

/**
 * Makes a client. Its connections are closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: Members.EtcdOptions
): Effect.fn.Return<Etcd, never, Scope.Scope> {
  const members = yield* Members.make(options)

  const call = <A, I>(path: string, schema: Schema.Codec<A, I>) => {
    const read = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
    return (body: object) =>
      Effect.flatMap(
        members.text(path, JSON.stringify(body)),
        (answer) => Effect.mapError(read(answer), () => garbled(path))
      )
  }
  const lineOf = <A, I>(path: string, schema: Schema.Codec<Line<A>, I>) => {
    const read = Schema.decodeUnknownEffect(schema)
    return (line: unknown) =>
      Effect.flatMap(Effect.mapError(read(line), () => garbled(path)), ({ error, result }) =>
        result === undefined
          ? Effect.fail(error === undefined ? garbled(path) : failure(error))
          : Effect.succeed(result))
  }

  const rangeOf = call("kv/range", Wire.RangeAnswer)
  const grantOf = call("lease/grant", Wire.LeaseAnswer)
  const timeToLiveOf = call("lease/timetolive", Wire.LeaseAnswer)
  const transact = call("kv/txn", Wire.TransactionAnswer)
  const watchLine = lineOf("watch", Wire.WatchLine)
  const leaseLine = lineOf("lease/keepalive", Wire.LeaseLine)

  const list = Effect.fnUntraced(function*(prefix: string) {
    const asked = { ...Wire.range(prefix), limit: pageSize }
    const first = yield* rangeOf(asked)
    const kvs = Array.from(first.kvs ?? [])
    for (let page = first; page.more === true;) {
      const last = page.kvs?.at(-1)
      if (last === undefined) return yield* garbled("kv/range")
      page = yield* rangeOf({ ...asked, key: Wire.following(last.key), revision: first.header.revision })
      kvs.push(...page.kvs ?? [])
    }
    return { ...first, kvs, more: false }
  })

  const rangesOf = (keys: ReadonlyArray<string>, how: object) =>
    Effect.map(
      Effect.forEach(chunks(keys, mostOperations), (some) =>
        transact({ success: some.map((key) => ({ request_range: { key: Wire.encode(key), ...how } })) })),
      (answers) =>
        answers.flatMap(({ responses = [] }) =>
          responses
        ).flatMap(({ response_range }) => response_range?.kvs ?? [])
    )

  // etcd loses what it hasn't read of a long request once it has begun to answer: the rest is asked again.
  const keepAlive = Effect.fnUntraced(function*(leases: ReadonlyArray<string>) {
    const seconds = new Map<string, number>()
    let rest = leases
    while (rest.length > 0) {
      const asked = rest.slice(0, mostRenewals).map((ID) => JSON.stringify({ ID })).join("\n")
      const answers = yield* Effect.forEach(lines(yield* members.text("lease/keepalive", asked)), leaseLine)
      for (const { ID, TTL = 0 } of answers) seconds.set(ID, TTL)
      const before = rest.length
      rest = rest.filter((lease) => !seconds.has(lease))
      if (rest.length === before) return yield* garbled("lease/keepalive")
    }
    return new Map(Array.from(seconds).filter(([, left]) => left > 0))
  })

  return {
    timeout: members.timeout,
    list,
    now: (prefix) => Effect.map(rangeOf({ key: Wire.encode(prefix), keys_only: true }), ({ header }) => header),
    written: (prefix, after, upTo) =>
      rangeOf({ ...Wire.range(prefix), revision: upTo, min_mod_revision: after + 1, keys_only: true, limit: 1 }),
    watch: (prefix, from) =>
      members.stream(
        "watch",
        JSON.stringify({
          create_request: {
            ...Wire.range(prefix),
            start_revision: from,
            progress_notify: true,
            prev_kv: true,
            fragment: true
          }
        })
      ).pipe(
        Stream.decodeText,
        Stream.splitLines,
        Stream.filter((line) => line.trim() !== ""),
        Stream.mapEffect(watchLine)
      ),
    grant: (lease, seconds) => {
      const granted = Effect.map(grantOf({ ID: lease, TTL: seconds }), ({ TTL }) => TTL ?? seconds)
      return Effect.catchIf(
        granted,
        (error) => error.reason.includes("lease already exists"),
        () =>
          Effect.flatMap(keepAlive([lease]), (alive) => {
            const left = alive.get(lease)
            // It may have been in its last moment.
            return left === undefined ? granted : Effect.succeed(left)
          })
      )
    },
    keepAlive,
    isAlive: (lease) => Effect.map(timeToLiveOf({ ID: lease }), ({ TTL }) => TTL !== undefined && TTL > 0),
    put: (key, value, lease) =>
      Effect.asVoid(transact({
        success: [{ request_put: { key: Wire.encode(key), value: Wire.encode(value), lease } }]
      })),
    deleteIf: (key, lease) =>
      Effect.asVoid(transact({
        compare: [{ key: Wire.encode(key), target: "LEASE", result: "EQUAL", lease }],
        success: [{ request_delete_range: { key: Wire.encode(key) } }]
      })),
    read: (keys, revision) => rangesOf(keys, { revision }),
    holders: (keys) =>
      Effect.map(
        rangesOf(keys, { keys_only: true }),
        (kvs) => new Map(kvs.map((kv) => [Wire.decode(kv.key), kv.lease ?? "0"]))
      )
  }
})

interface Line<A> {
  readonly result?: A
  readonly error?: typeof Wire.Failure.Type
}

const lines = (text: string): ReadonlyArray<string> => text.split("\n").filter((line) => line.trim() !== "")

const chunks = <A>(all: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(all.length / size) }, (_, index) => all.slice(index * size, (index + 1) * size))

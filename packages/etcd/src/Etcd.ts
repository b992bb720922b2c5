/**
 * The part of etcd that a registry needs, over etcd's own HTTP JSON gateway (`/v3/…`).
 *
 * **Mental model**: one function a call of the API. Nothing is retried; a call that finds its endpoint dead makes the
 * next endpoint the one for the calls after it.
 *
 * **Gotchas**: on the wire keys and values are base64 and 64-bit numbers are text; fields with a zero value are left
 * out. A write whose answer was lost may have happened, so writes are made such that doing them again changes nothing.
 *
 * @since 0.1.0
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as HttpClient from "effect/http/HttpClient"
import type * as HttpClientError from "effect/http/HttpClientError"
import * as HttpClientRequest from "effect/http/HttpClientRequest"
import type * as HttpClientResponse from "effect/http/HttpClientResponse"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Buffer } from "node:buffer"

/**
 * Error raised when etcd can't be reached or refuses: one line for a person.
 *
 * @category errors
 * @since 0.1.0
 */
export class EtcdError extends Data.TaggedError("EtcdError")<{
  readonly reason: string
  /** The gRPC status that etcd gave; 9 is a failed precondition. */
  readonly code?: number | undefined
  readonly unauthorized?: boolean | undefined
  readonly cause?: unknown
}> {
  override get message(): string {
    return this.reason
  }
}

// Numbers of 64 bits come as text. Revisions stay far below 2^53; ids don't, and remain text.
const Revision = Schema.FiniteFromString

const Header = Schema.Struct({ cluster_id: Schema.String, revision: Schema.optionalKey(Revision) })

const KeyValue = Schema.Struct({
  key: Schema.String,
  value: Schema.optionalKey(Schema.String),
  mod_revision: Revision,
  lease: Schema.optionalKey(Schema.String)
})

const Failure = Schema.Struct({
  error: Schema.optionalKey(Schema.Unknown),
  message: Schema.optionalKey(Schema.String),
  code: Schema.optionalKey(Schema.Finite),
  grpc_code: Schema.optionalKey(Schema.Finite)
})

const RangeAnswer = Schema.Struct({
  header: Header,
  kvs: Schema.optionalKey(Schema.Array(KeyValue)),
  /** How many keys there are, whatever was asked of them. */
  count: Schema.optionalKey(Revision)
})

const WatchAnswer = Schema.Struct({
  header: Header,
  created: Schema.optionalKey(Schema.Boolean),
  canceled: Schema.optionalKey(Schema.Boolean),
  cancel_reason: Schema.optionalKey(Schema.String),
  compact_revision: Schema.optionalKey(Revision),
  fragment: Schema.optionalKey(Schema.Boolean),
  events: Schema.optionalKey(Schema.Array(Schema.Struct({
    type: Schema.optionalKey(Schema.String),
    kv: KeyValue,
    prev_kv: Schema.optionalKey(KeyValue)
  })))
})

const LeaseAnswer = Schema.Struct({ ID: Schema.String, TTL: Schema.optionalKey(Revision) })

const TransactionAnswer = Schema.Struct({
  responses: Schema.optionalKey(Schema.Array(Schema.Struct({
    response_range: Schema.optionalKey(Schema.Struct({
      kvs: Schema.optionalKey(Schema.Array(KeyValue))
    }))
  })))
})

// What streams, a watch and the renewals of leases, comes a line an answer.
const line = <S extends Schema.Constraint>(result: S) =>
  Schema.fromJsonString(Schema.Struct({ result: Schema.optionalKey(result), error: Schema.optionalKey(Failure) }))

const WatchLine = line(WatchAnswer)
const LeaseLine = line(LeaseAnswer)

/**
 * Answer to a reading.
 *
 * @category models
 * @since 0.1.0
 */
export type RangeAnswer = typeof RangeAnswer.Type
/**
 * One answer of a watch.
 *
 * @category models
 * @since 0.1.0
 */
export type WatchAnswer = typeof WatchAnswer.Type
/**
 * A key and its value, both in base64.
 *
 * @category models
 * @since 0.1.0
 */
export type KeyValue = typeof KeyValue.Type

/** Writes a key or value as the wire wants it. */
export const encode = (text: string): string => Buffer.from(text, "utf8").toString("base64")

/** Reads a key or value. */
export const decode = (base64: string): string => Buffer.from(base64, "base64").toString("utf8")

// Every key that begins with the prefix: up to the first that doesn't, which has its last byte one higher.
const range = (prefix: string) => {
  const end = Buffer.from(prefix, "utf8")
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1
  return { key: encode(prefix), range_end: end.toString("base64") }
}

/**
 * A client of one cluster.
 *
 * @category models
 * @since 0.1.0
 */
export interface Etcd {
  /** All keys under a prefix, oldest change first. */
  readonly list: (prefix: string) => Effect.Effect<RangeAnswer, EtcdError>
  /** The keys under a prefix that were written after a revision, and how many there are in all. Names no values. */
  readonly written: (prefix: string, after: number) => Effect.Effect<RangeAnswer, EtcdError>
  /** What happens under a prefix from a revision on. Ends only with its connection. */
  readonly watch: (prefix: string, from: number) => Stream.Stream<WatchAnswer, EtcdError>
  /** Begins a lease of at least this many seconds; answers what was granted. One that exists is renewed. */
  readonly grant: (lease: string, seconds: number) => Effect.Effect<number, EtcdError>
  /** Renews leases in one request; answers the seconds that each has, and leaves out those that are gone. */
  readonly keepAlive: (leases: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, number>, EtcdError>
  /** Whether the lease is still there. */
  readonly isAlive: (lease: string) => Effect.Effect<boolean, EtcdError>
  readonly put: (key: string, value: string, lease: string) => Effect.Effect<void, EtcdError>
  /** Deletes the key if it is held by the lease. */
  readonly deleteIf: (key: string, lease: string) => Effect.Effect<void, EtcdError>
  /** The leases that hold these keys, in one request; leaves out keys that are gone. */
  readonly holders: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, string>, EtcdError>
}

/**
 * Makes a client. Its connections are closed with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  endpoints: ReadonlyArray<string>
): Effect.fn.Return<Etcd, never, Scope.Scope> {
  const dispatcher = yield* NodeHttpClient.makeDispatcher
  const client = HttpClient.transformResponse(
    yield* Effect.provideService(NodeHttpClient.makeUndici, NodeHttpClient.Dispatcher, dispatcher),
    // A span would carry the address, which may hold a password.
    Effect.withTracerEnabled(false)
  )
  let current = 0

  const send = (path: string, body: string): Effect.Effect<HttpClientResponse.HttpClientResponse, EtcdError> =>
    Effect.suspend(() => {
      const at = current
      const endpoint = (endpoints[at % endpoints.length] ?? "").replace(/\/+$/, "")
      return HttpClientRequest.post(`${endpoint}/v3/${path}`).pipe(
        HttpClientRequest.bodyText(body, "application/json"),
        client.execute,
        Effect.mapError((error) => {
          if (current === at) current = at + 1
          return unreachable(endpoint, error)
        }),
        Effect.flatMap((response) =>
          response.status === 200 ? Effect.succeed(response) : Effect.flatMap(
            Effect.mapError(response.text, (error) => unreachable(endpoint, error)),
            (text) => Effect.fail(refused(response.status, text))
          )
        )
      )
    })

  const text = (path: string, body: string) =>
    Effect.flatMap(
      send(path, body),
      (response) =>
        Effect.mapError(response.text, (cause) => new EtcdError({ reason: "etcd closed the connection", cause }))
    )

  const call = <A, I>(path: string, schema: Schema.Codec<A, I>) => {
    const read = Schema.decodeUnknownEffect(Schema.fromJsonString(schema))
    return (body: object) =>
      Effect.flatMap(text(path, JSON.stringify(body)), (answer) => Effect.mapError(read(answer), () => garbled(path)))
  }

  const readWatch = Schema.decodeUnknownEffect(WatchLine)
  const readLease = Schema.decodeUnknownEffect(LeaseLine)
  const resultOf = <A>(path: string) => (answer: { readonly result?: A; readonly error?: typeof Failure.Type }) =>
    answer.result === undefined
      ? Effect.fail(answer.error === undefined ? garbled(path) : failure(answer.error))
      : Effect.succeed(answer.result)

  const rangeOf = call("kv/range", RangeAnswer)
  const grantOf = call("lease/grant", LeaseAnswer)
  const timeToLiveOf = call("lease/timetolive", LeaseAnswer)
  const transact = call("kv/txn", TransactionAnswer)

  const keepAlive = (leases: ReadonlyArray<string>) =>
    text("lease/keepalive", leases.map((ID) => JSON.stringify({ ID })).join("\n")).pipe(
      Effect.flatMap((answer) =>
        Effect.forEach(answer.split("\n").filter((line) => line.trim() !== ""), (line) =>
          Effect.flatMap(
            Effect.mapError(readLease(line), () => garbled("lease/keepalive")),
            resultOf<typeof LeaseAnswer.Type>("lease/keepalive")
          ))
      ),
      Effect.map((answers) =>
        new Map(answers.flatMap(({ ID, TTL }) => TTL === undefined || TTL <= 0 ? [] : [[ID, TTL]]))
      )
    )

  return {
    list: (prefix) => rangeOf({ ...range(prefix), sort_target: "MOD", sort_order: "ASCEND" }),
    written: (prefix, after) => rangeOf({ ...range(prefix), min_mod_revision: after + 1, keys_only: true, limit: 1 }),
    watch: (prefix, from) =>
      Effect.map(
        send(
          "watch",
          JSON.stringify({
            create_request: {
              ...range(prefix),
              start_revision: from,
              progress_notify: true,
              prev_kv: true,
              fragment: true
            }
          })
        ),
        (response) => response.stream
      ).pipe(
        Stream.unwrap,
        Stream.mapError((error) =>
          error._tag === "EtcdError"
            ? error
            : new EtcdError({ reason: "etcd closed the connection of the watch", cause: error })
        ),
        Stream.decodeText,
        Stream.splitLines,
        Stream.filter((line) => line.trim() !== ""),
        Stream.mapEffect((line) =>
          Effect.flatMap(
            Effect.mapError(readWatch(line), () => garbled("watch")),
            resultOf<WatchAnswer>("watch")
          )
        )
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
      Effect.asVoid(transact({ success: [{ request_put: { key: encode(key), value: encode(value), lease } }] })),
    deleteIf: (key, lease) =>
      Effect.asVoid(transact({
        compare: [{ key: encode(key), target: "LEASE", result: "EQUAL", lease }],
        success: [{ request_delete_range: { key: encode(key) } }]
      })),
    holders: (keys) =>
      Effect.map(
        transact({ success: keys.map((key) => ({ request_range: { key: encode(key), keys_only: true } })) }),
        ({ responses }) =>
          new Map((responses ?? []).flatMap(({ response_range }) =>
            (response_range?.kvs ?? []).map((kv) => [decode(kv.key), kv.lease ?? "0"])
          ))
      )
  }
})

const garbled = (path: string) =>
  new EtcdError({ reason: `etcd's answer to ${path} can't be read; is this an etcd of version 3.4 or newer?` })

const unreachable = (endpoint: string, error: HttpClientError.HttpClientError): EtcdError => {
  const cause = "cause" in error.reason ? error.reason.cause : undefined
  // A name with several addresses fails with the failures of all of them.
  const first = cause instanceof AggregateError ? cause.errors[0] : cause
  const what = first instanceof Error && first.message !== "" ? first.message : error.message
  return new EtcdError({ reason: `etcd at ${withoutSecrets(endpoint)} can't be reached: ${what}`, cause: error })
}

const withoutSecrets = (endpoint: string) => endpoint.replace(/\/\/[^@/]*@/, "//")

const refused = (status: number, body: string): EtcdError => {
  const parsed = Schema.decodeUnknownOption(Schema.fromJsonString(Failure))(body)
  return parsed._tag === "Some"
    ? failure(parsed.value, status)
    : new EtcdError({ reason: `etcd answered HTTP ${status}`, unauthorized: status === 401 || status === 403 })
}

const failure = (failure: typeof Failure.Type, status?: number): EtcdError => {
  const code = failure.code ?? failure.grpc_code
  const reason = failure.message ??
    (typeof failure.error === "string" ? failure.error : "etcd refused without a reason")
  // 16 is unauthenticated, 7 permission denied; without a user name it is an invalid argument.
  const unauthorized = status === 401 || status === 403 || code === 16 || code === 7 ||
    reason.includes("user name is empty")
  return new EtcdError({
    reason: status === 404 && code === undefined ? `${reason} (HTTP 404)` : reason,
    code,
    unauthorized
  })
}

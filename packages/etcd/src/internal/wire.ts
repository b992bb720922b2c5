/**
 * What etcd's JSON gateway says, and how keys are written for it.
 *
 * **Gotchas**: keys and values are base64 and 64-bit numbers are text; fields with a zero value are left out.
 *
 * @since 0.2.0
 */
import * as Schema from "effect/Schema"
import { Buffer } from "node:buffer"

// Revisions stay far below 2^53; ids don't, and remain text.
const Revision = Schema.FiniteFromString

const Header = Schema.Struct({ cluster_id: Schema.String, revision: Schema.optionalKey(Revision) })

const KeyValue = Schema.Struct({
  key: Schema.String,
  value: Schema.optionalKey(Schema.String),
  /** Of a key that is there. */
  create_revision: Schema.optionalKey(Revision),
  mod_revision: Revision,
  lease: Schema.optionalKey(Schema.String)
})

export const Failure = Schema.Struct({
  error: Schema.optionalKey(Schema.Unknown),
  message: Schema.optionalKey(Schema.String),
  code: Schema.optionalKey(Schema.Finite),
  grpc_code: Schema.optionalKey(Schema.Finite)
})

export const RangeAnswer = Schema.Struct({
  header: Header,
  kvs: Schema.optionalKey(Schema.Array(KeyValue)),
  /** Whether there are more than were asked for. */
  more: Schema.optionalKey(Schema.Boolean),
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

export const LeaseAnswer = Schema.Struct({ ID: Schema.String, TTL: Schema.optionalKey(Revision) })

export const TransactionAnswer = Schema.Struct({
  responses: Schema.optionalKey(Schema.Array(Schema.Struct({
    response_range: Schema.optionalKey(Schema.Struct({
      kvs: Schema.optionalKey(Schema.Array(KeyValue))
    }))
  })))
})

export const TokenAnswer = Schema.Struct({ token: Schema.String })

// What streams, a watch and the renewals of leases, comes a line an answer.
const line = <S extends Schema.Constraint>(result: S) =>
  Schema.fromJsonString(Schema.Struct({ result: Schema.optionalKey(result), error: Schema.optionalKey(Failure) }))

export const WatchLine = line(WatchAnswer)
export const LeaseLine = line(LeaseAnswer)

/**
 * What every answer begins with: which cluster, and how far it is.
 *
 * @category models
 * @since 0.2.0
 */
export type Header = typeof Header.Type
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
/**
 * A lease and the seconds that it has left; none: it is gone.
 *
 * @category models
 * @since 0.2.0
 */
export type LeaseAnswer = typeof LeaseAnswer.Type

/** Writes a key or value as the wire wants it. */
export const encode = (text: string): string => Buffer.from(text, "utf8").toString("base64")

/** Reads a key or value. */
export const decode = (base64: string): string => Buffer.from(base64, "base64").toString("utf8")

/** Every key that begins with the prefix: up to the first that doesn't, which has its last byte one higher. */
export const range = (prefix: string): { readonly key: string; readonly range_end: string } => {
  const end = Buffer.from(prefix, "utf8")
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1
  return { key: encode(prefix), range_end: end.toString("base64") }
}

/** The first key that comes after this one. */
export const following = (base64: string): string =>
  Buffer.concat([Buffer.from(base64, "base64"), Buffer.of(0)]).toString("base64")

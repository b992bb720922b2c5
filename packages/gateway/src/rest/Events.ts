/**
 * What `GET /api/v1/events` sends: schemas of its events, for whoever watches.
 *
 * **Mental model**: a watcher gets a snapshot and then what differs from it. Applying each event to what it has leaves it
 * with what a fresh snapshot would say.
 *
 * **Details**: the stream is server-sent events. `event:` is the name, `data:` the JSON of the payload, `id:` the
 * revision: `<run>.<number>`. The run is another one each time that the gateway starts; the number rises by one with each
 * event of the stream, of whatever topics, so that a watcher of all of them knows one that is late or doubled by its number,
 * and one that is missing by the gap. A watcher that comes back with `Last-Event-ID`, for the same topics, goes on from
 * there, or gets `resync` and a new snapshot where that is too long ago. The rules by which events are applied:
 *
 * - An instance is known by `source` and `id`. `catalog` adds, replaces and removes instances.
 * - `health` replaces the health of an instance, in the catalog too, where `path` and `interval` stay. Its score moves with
 *   every call; `figures` tell it.
 * - An instance is stale while its source is; `sources` tell that, and `catalog` doesn't repeat it.
 * - When a source was last heard moves all the time, and is told with its other changes.
 * - Rows of `figures` are replaced by rows of the same instance, or the same service. What they count began with the
 *   process, so that rates are differences.
 *
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"
import { HealthStatus, HealthView, InstanceView, SourceView } from "./Representations.ts"

const Time = Schema.String.annotate({ description: "ISO 8601" })
const Count = Schema.Int.pipe(Schema.check(Schema.isGreaterThanOrEqualTo(0)))
const Revision = Schema.String.annotate({
  description: "The `id:` to come back with: `<run>.<number>`, of which the number rises by one with each event"
})

const identity = {
  id: Schema.String,
  service: Schema.String,
  source: Schema.String
}

/**
 * What a watcher may ask for.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Topic = Schema.Literals(["catalog", "health", "figures", "sources"])
export type Topic = typeof Topic.Type

/**
 * What a webhook may tell of: figures move all the time, and are left to those who watch.
 *
 * @category schemas
 * @since 0.1.0
 */
export const WebhookTopic = Schema.Literals(["catalog", "health", "sources"])
export type WebhookTopic = typeof WebhookTopic.Type

/**
 * Every topic: what a watcher gets that names none.
 *
 * @category schemas
 * @since 0.1.0
 */
export const topics: ReadonlyArray<Topic> = Topic.literals

const counts = {
  /** Attempts that ended, but for cancelled ones and the caller's mistakes; since the process began. */
  calls: Count,
  /** Those of them that failed. */
  failures: Count,
  /** Attempts under way. */
  inFlight: Count
}

const percentiles = {
  /** Median of the latest latencies, ms. Absent: none yet. */
  p50: Schema.optionalKey(Schema.Finite),
  /** 95th percentile of the latest latencies, ms. Absent: none yet. */
  p95: Schema.optionalKey(Schema.Finite)
}

/**
 * Figures of one instance.
 *
 * @category schemas
 * @since 0.1.0
 */
export const InstanceFigures = Schema.Struct({
  type: Schema.Literal("instance"),
  ...identity,
  ...counts,
  /** Median of calls and checks of the last 60 s that succeeded, ms. Absent: there were none. */
  latency: Schema.optionalKey(Schema.Finite),
  /** Share of calls and checks of the last 60 s that succeeded. Absent: there were none. */
  successRate: Schema.optionalKey(Schema.Finite),
  score: Schema.Finite
}).annotate({ identifier: "InstanceFigures" })
export type InstanceFigures = typeof InstanceFigures.Type

/**
 * Figures of one service: of all its instances together, those that are gone too.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceFigures = Schema.Struct({
  type: Schema.Literal("service"),
  service: Schema.String,
  ...counts,
  ...percentiles
}).annotate({ identifier: "ServiceFigures" })
export type ServiceFigures = typeof ServiceFigures.Type

/**
 * Row of figures.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FigureRow = Schema.Union([InstanceFigures, ServiceFigures])
export type FigureRow = typeof FigureRow.Type

/**
 * Figures of the whole gateway.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Totals = Schema.Struct({
  /** Calls of clients, since the process began. */
  calls: Count,
  /** Those of them that failed. */
  failures: Count,
  /** Calls of clients under way. */
  inFlight: Count,
  /** Attempts at instances: more than calls where one was tried at another instance too. */
  attempts: Count,
  failedAttempts: Count,
  /** Attempts that followed a failed one of the same call; hedges aren't. */
  failovers: Count,
  ...percentiles,
  /** Sessions of handshake clients. */
  sessions: Count,
  /** Open streams to clients. */
  streams: Count
}).annotate({ identifier: "Totals" })
export type Totals = typeof Totals.Type

/**
 * Everything of the topics asked for, as it is at a revision.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Snapshot = Schema.Struct({
  at: Time,
  revision: Revision,
  catalog: Schema.optionalKey(Schema.Array(InstanceView)),
  health: Schema.optionalKey(Schema.Array(Schema.Struct({ ...identity, health: HealthView }))),
  figures: Schema.optionalKey(Schema.Struct({ totals: Totals, rows: Schema.Array(FigureRow) })),
  sources: Schema.optionalKey(Schema.Array(SourceView))
}).annotate({ identifier: "Snapshot" })
export type Snapshot = typeof Snapshot.Type

/**
 * Changes of the catalog. An `updated` instance is told whole.
 *
 * @category schemas
 * @since 0.1.0
 */
export const CatalogChanges = Schema.Struct({
  at: Time,
  changes: Schema.Array(Schema.Union([
    Schema.Struct({ type: Schema.Literal("added"), instance: InstanceView }),
    Schema.Struct({ type: Schema.Literal("updated"), instance: InstanceView }),
    Schema.Struct({ type: Schema.Literal("removed"), ...identity })
  ]))
}).annotate({ identifier: "CatalogChanges" })
export type CatalogChanges = typeof CatalogChanges.Type

/**
 * Changes of status, of a circuit or of a mark, each with its reason. An instance that is new was `unknown` before.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HealthChanges = Schema.Struct({
  at: Time,
  changes: Schema.Array(Schema.Struct({ ...identity, previous: HealthStatus, health: HealthView })),
  /** Instances that are gone. */
  removed: Schema.optionalKey(Schema.Array(Schema.Struct(identity)))
}).annotate({ identifier: "HealthChanges" })
export type HealthChanges = typeof HealthChanges.Type

/**
 * Figures that changed.
 *
 * @category schemas
 * @since 0.1.0
 */
export const FigureChanges = Schema.Struct({
  at: Time,
  totals: Totals,
  rows: Schema.Array(FigureRow),
  /** Rows to drop: of instances that are gone, and of services without any. */
  removed: Schema.optionalKey(Schema.Array(Schema.Union([
    Schema.Struct({ type: Schema.Literal("instance"), ...identity }),
    Schema.Struct({ type: Schema.Literal("service"), service: Schema.String })
  ])))
}).annotate({ identifier: "FigureChanges" })
export type FigureChanges = typeof FigureChanges.Type

/**
 * Sources that changed or are there no more.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SourceChanges = Schema.Struct({
  at: Time,
  changed: Schema.Array(SourceView),
  removed: Schema.Array(Schema.String)
}).annotate({ identifier: "SourceChanges" })
export type SourceChanges = typeof SourceChanges.Type

/**
 * Says every 2 s that the stream lives.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Beat = Schema.Struct({ at: Time, revision: Revision }).annotate({ identifier: "Beat" })
export type Beat = typeof Beat.Type

/**
 * Says why what the watcher knows can't be gone on from. A snapshot follows.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Resync = Schema.Struct({ reason: Schema.String }).annotate({ identifier: "Resync" })
export type Resync = typeof Resync.Type

const event = <const Name extends string, S extends Schema.Top>(name: Name, data: S) =>
  Schema.Struct({ event: Schema.Literal(name), id: Schema.optionalKey(Schema.String), data })

const sent = <const Name extends string, S extends Schema.Top>(name: Name, data: S) =>
  event(name, Schema.fromJsonString(data))

/**
 * One event as it is sent: `data` is text.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Sent = Schema.Union([
  sent("snapshot", Snapshot),
  sent("catalog", CatalogChanges),
  sent("health", HealthChanges),
  sent("figures", FigureChanges),
  sent("sources", SourceChanges),
  sent("beat", Beat),
  sent("resync", Resync)
])

/**
 * One event with its parsed `data`.
 *
 * **Gotchas**: a later version may send events of other names: leave those aside before decoding.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Event = Schema.Union([
  event("snapshot", Snapshot),
  event("catalog", CatalogChanges),
  event("health", HealthChanges),
  event("figures", FigureChanges),
  event("sources", SourceChanges),
  event("beat", Beat),
  event("resync", Resync)
])
export type Event = typeof Event.Type

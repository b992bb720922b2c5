/**
 * What the REST API shows, as schemas: programs that ask a gateway decode its answers with them.
 *
 * @since 0.1.0
 */
import * as Schema from "effect/Schema"

const Rest = Schema.Record(Schema.String, Schema.Unknown)
const Time = Schema.String.annotate({ description: "ISO 8601" })

/**
 * Status of an instance.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HealthStatus = Schema.Literals(["healthy", "degraded", "unhealthy", "draining", "down", "unknown"])

/**
 * A mark that an operator made by hand.
 *
 * @category schemas
 * @since 0.2.0
 */
export const MarkView = Schema.Struct({
  as: Schema.Literals(["up", "draining", "down"]),
  reason: Schema.String,
  at: Time
}).annotate({ identifier: "MarkView" })
export type MarkView = typeof MarkView.Type

/**
 * Health of an instance.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HealthView = Schema.Struct({
  status: HealthStatus,
  score: Schema.Finite,
  reason: Schema.String,
  changedAt: Time,
  /** Its circuit breaker, where that isn't closed: calls took it out of traffic. */
  circuit: Schema.optionalKey(Schema.Struct({
    state: Schema.Literals(["open", "half-open"]),
    until: Time.annotate({ description: "ISO 8601: from when trial calls are taken" })
  })),
  /** The mark that an operator made: it wins over all else. */
  mark: Schema.optionalKey(MarkView)
}).annotate({ identifier: "Health" })
export type HealthView = typeof HealthView.Type

/**
 * Health of an instance, with what it follows from.
 *
 * @category schemas
 * @since 0.1.0
 */
export const HealthDetail = Schema.Struct({
  id: Schema.String,
  service: Schema.String,
  source: Schema.String,
  stale: Schema.Boolean,
  ...HealthView.fields,
  /** End of the last check. */
  checkedAt: Schema.optionalKey(Time),
  /** Median latency of the checks and calls that succeeded in the last 60 s, ms. */
  latency: Schema.optionalKey(Schema.Finite),
  /** Share of checks and calls of the last 60 s that succeeded. */
  successRate: Schema.optionalKey(Schema.Finite)
}).annotate({ identifier: "HealthDetail" })
export type HealthDetail = typeof HealthDetail.Type

/**
 * Health of a service: how many instances are in which status, and each of them.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceHealth = Schema.Struct({
  service: Schema.String,
  /** Instances that calls may go to. */
  available: Schema.Int,
  statuses: Schema.Record(HealthStatus, Schema.Int),
  instances: Schema.Array(HealthDetail)
}).annotate({ identifier: "ServiceHealth" })
export type ServiceHealth = typeof ServiceHealth.Type

/**
 * An announced instance: its record, where it was announced, and how it is.
 *
 * @category schemas
 * @since 0.1.0
 */
export const InstanceView = Schema.StructWithRest(
  Schema.Struct({
    id: Schema.String,
    service: Schema.String,
    source: Schema.String,
    alsoIn: Schema.Array(Schema.String),
    /** How it is; `path` and `interval` are what its record says of checks. */
    health: Schema.Struct({
      ...HealthView.fields,
      path: Schema.optionalKey(Schema.String),
      interval: Schema.optionalKey(Schema.String)
    }),
    /** Epoch of its first announcement, and of the last change of its record. */
    firstSeen: Schema.optionalKey(Time),
    changedAt: Schema.optionalKey(Time),
    /** Whether its source is lost, so that this is its last known state. */
    stale: Schema.Boolean,
    /** The connection to it, where it is an MCP server. */
    upstream: Schema.optionalKey(Schema.Struct({
      state: Schema.Literals(["idle", "connecting", "connected", "failed"]),
      since: Time,
      error: Schema.optionalKey(Schema.String),
      protocolVersion: Schema.optionalKey(Schema.String),
      server: Schema.optionalKey(Rest)
    }))
  }),
  [Rest]
).annotate({ identifier: "Instance" })
export type InstanceView = typeof InstanceView.Type

/**
 * A service: the instances of one name.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceView = Schema.Struct({
  name: Schema.String,
  kind: Schema.String,
  versions: Schema.Array(Schema.String),
  instances: Schema.Int,
  /** Instances that calls may go to. */
  available: Schema.Int,
  tools: Schema.Int,
  capabilities: Schema.Array(Schema.String),
  tags: Schema.Array(Schema.String),
  sources: Schema.Array(Schema.String)
}).annotate({ identifier: "Service" })
export type ServiceView = typeof ServiceView.Type

/**
 * A service with its instances.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ServiceDetail = Schema.Struct({ ...ServiceView.fields, instances: Schema.Array(InstanceView) })
  .annotate({ identifier: "ServiceDetail" })

/**
 * A tool under its public name, with the definition that its servers gave.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ToolView = Schema.StructWithRest(
  Schema.Struct({
    name: Schema.String,
    service: Schema.String,
    instances: Schema.Array(Schema.String),
    readOnly: Schema.Boolean,
    /** Whether a call that may have run may be sent again. */
    repeatable: Schema.Boolean
  }),
  [Rest]
).annotate({ identifier: "Tool" })
export type ToolView = typeof ToolView.Type

/**
 * A registry and the state of its session.
 *
 * @category schemas
 * @since 0.1.0
 */
export const SourceView = Schema.Struct({
  name: Schema.String,
  type: Schema.String,
  state: Schema.Literals(["connecting", "connected", "stale"]),
  since: Time.annotate({ description: "ISO 8601: when it came into this state" }),
  lastHeard: Schema.optionalKey(
    Time.annotate({ description: "ISO 8601: when the backend was last heard, and so how old what is known of it is" })
  ),
  instances: Schema.Int,
  rejected: Schema.Array(Schema.Struct({ id: Schema.String, reason: Schema.String }))
    .annotate({ description: "Records that can't be used, and why" }),
  reconnects: Schema.Int.annotate({ description: "How often it was lost and came back" }),
  held: Schema.Int.annotate({ description: "Removals that nobody witnessed and that aren't believed yet" }),
  error: Schema.optionalKey(Schema.String.annotate({ description: "Why it isn't connected" }))
}).annotate({ identifier: "Source" })
export type SourceView = typeof SourceView.Type

/**
 * One mistake in a configuration and its place; lines and columns count from 1.
 *
 * @category schemas
 * @since 0.2.0
 */
export const ConfigurationMistake = Schema.Struct({
  path: Schema.String.annotate({ description: "`registries[1].url`; empty for the file as a whole" }),
  line: Schema.Int,
  column: Schema.Int,
  message: Schema.String
}).annotate({ identifier: "ConfigurationMistake" })
export type ConfigurationMistake = typeof ConfigurationMistake.Type

/**
 * What is told of the text of a configuration.
 *
 * @category schemas
 * @since 0.2.0
 */
export const ValidationView = Schema.Struct({
  /** None: it can be taken. */
  mistakes: Schema.Array(ConfigurationMistake),
  /** Keys whose new values would take effect at the next start. */
  pending: Schema.Array(Schema.String)
}).annotate({ identifier: "Validation" })
export type ValidationView = typeof ValidationView.Type

/**
 * The configuration file: when it was last applied, and what is wrong with it now.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ConfigurationStatusView = Schema.Struct({
  file: Schema.String,
  loadedAt: Time,
  revision: Schema.Int,
  /** Why the file as it is now is not in use. */
  error: Schema.optionalKey(Schema.Struct({
    at: Time,
    mistakes: Schema.Array(ConfigurationMistake)
  })),
  /** Keys whose new values take effect at the next start. */
  pending: Schema.Array(Schema.String)
}).annotate({ identifier: "ConfigurationStatus" })
export type ConfigurationStatusView = typeof ConfigurationStatusView.Type

/**
 * The configuration in effect. Secrets are hidden.
 *
 * @category schemas
 * @since 0.1.0
 */
export const ConfigurationView = Schema.Struct({
  ...ConfigurationStatusView.fields,
  /** Without registries and servers, which are in the lists of sources and instances. */
  settings: Schema.Array(Schema.Struct({
    path: Schema.String.annotate({ description: "`gateway.port`" }),
    value: Schema.Unknown,
    origin: Schema.Literals(["default", "file", "flag"])
  }))
}).annotate({ identifier: "Configuration" })
export type ConfigurationView = typeof ConfigurationView.Type

/**
 * Everything that `portolan status` tells.
 *
 * @category schemas
 * @since 0.1.0
 */
export const StatusView = Schema.Struct({
  version: Schema.String,
  ready: Schema.Boolean,
  sources: Schema.Array(SourceView),
  services: Schema.Int,
  instances: Schema.Int,
  tools: Schema.Int,
  resources: Schema.Int,
  prompts: Schema.Int,
  /** Instances that can't be reached or listed, and why. */
  problems: Schema.Array(
    Schema.Struct({ instance: Schema.String, service: Schema.String, source: Schema.String, reason: Schema.String })
  ),
  /** What servers list and clients don't see, and why. */
  hidden: Schema.Array(
    Schema.Struct({ kind: Schema.String, name: Schema.String, service: Schema.String, reason: Schema.String })
  ),
  /** Services whose calls suffer, and from what. */
  strained: Schema.Array(Schema.Struct({
    service: Schema.String,
    available: Schema.Int.annotate({ description: "Instances that calls may go to" }),
    ejected: Schema.Int.annotate({ description: "Instances that calls keep out of traffic" }),
    waiting: Schema.Int.annotate({ description: "Calls that wait for room" }),
    shedding: Schema.Boolean.annotate({ description: "Whether calls were shed in the last minute" }),
    budgetSpent: Schema.Boolean.annotate({ description: "Whether the retry budget is spent" })
  })),
  /** The configuration file, where there is one. */
  configuration: Schema.optionalKey(ConfigurationStatusView)
}).annotate({ identifier: "Status" })
export type StatusView = typeof StatusView.Type

/**
 * Whether whoever asks may write.
 *
 * @category schemas
 * @since 0.2.0
 */
export const AccessView = Schema.Struct({
  /** `token`: with the gateway's token, which wasn't sent or was another one. */
  writes: Schema.Literals(["allowed", "token", "refused"]),
  reason: Schema.String
}).annotate({ identifier: "Access" })
export type AccessView = typeof AccessView.Type

/**
 * Shape of the configuration file.
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { BalancingEntry } from "../configuration/BalancingEntry.ts"
import { CallsEntry } from "../configuration/CallsEntry.ts"
import { HealthEntry } from "../configuration/HealthEntry.ts"
import { RoutingEntry } from "../configuration/RoutingEntry.ts"
import { ServerEntry } from "../configuration/ServerEntry.ts"
import { UpstreamsEntry } from "../configuration/UpstreamsEntry.ts"
import { WebhookTopic } from "../rest/Events.ts"
import { formats, levels } from "../telemetry/Telemetry.ts"
import { bytes, count, defaulted, duration, optional, pattern, text, time } from "./fields.ts"

const Origin = text("an origin such as https://app.example.com", (value) => URL.parse(value)?.origin === value)

const HostName = pattern("a host name, with or without a port", /^[^\s/@]+$/)

const Tls = Schema.Struct({
  cert: Schema.NonEmptyString.annotate({ description: "PEM file with the certificate and its chain" }),
  key: Schema.NonEmptyString.annotate({ description: "PEM file with the private key" }),
  ca: optional(Schema.NonEmptyString, "PEM file with the authorities of client certificates, which are required then"),
  passphrase: optional(Schema.NonEmptyString, "Passphrase of the private key")
})

const Limits = Schema.Struct({
  sessions: defaulted(
    count(1, 1_000_000),
    10_000,
    "Sessions of clients that are kept; where there are more, the one idle longest makes room"
  ),
  sessionsPerClient: defaulted(count(1, 1_000_000), 1_000, "Those of one client"),
  requests: defaulted(count(1, 1_000_000), 10_000, "Requests at the same time; further ones are refused"),
  requestsPerSession: defaulted(count(1, 1_000_000), 256, "Those of one session"),
  streams: defaulted(count(1, 1_000_000), 10_000, "Open event streams; further ones are refused"),
  subscriptions: defaulted(
    count(1, 1_000_000),
    1_000,
    "Resources that one session, or one stream of the stateless era, may watch"
  ),
  parked: defaulted(
    count(1, 1_000_000),
    1_000,
    "Calls that wait for a client to come back with what their server asked of it"
  ),
  parkedPerClient: defaulted(count(1, 1_000_000), 64, "Those of one client"),
  replay: bytes(
    "256kb",
    "What is kept of a session's events for a client that lost its stream and comes back; 0b keeps nothing"
  )
})

const Gateway = Schema.Struct({
  host: Schema.NonEmptyString.annotate({ description: "Address to listen on", default: "127.0.0.1" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed("127.0.0.1"))),
  port: count(0, 65_535).annotate({ description: "Port to listen on; 0 takes a free one", default: 7420 })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed(7420))),
  publicUrl: Schema.optionalKey(text(
    "an http(s) URL",
    (value) => ["http:", "https:"].includes(URL.parse(value)?.protocol ?? ""),
    { description: "How clients reach the gateway, where that differs from host and port" }
  )),
  tls: optional(Tls, "Serves HTTPS with these files; relative paths start at the configuration file"),
  sse: Schema.Boolean.annotate({
    description: "Whether /sse and /messages serve clients of protocol version 2024-11-05",
    default: false
  }).pipe(Schema.withDecodingDefaultKey(Effect.succeed(false))),
  documents: defaulted(
    Schema.Boolean,
    true,
    "Whether the gateway publishes what it is: /mcp/server-card, /.well-known/ai-catalog.json and /v0.1/servers"
  ),
  dashboard: defaulted(Schema.Boolean, true, "Whether browsers get the dashboard, where the program brings one"),
  naming: Schema.Literals(["prefix", "conflict", "none"])
    .annotate({
      description: "Whether the service stands before a tool's name: always, where names collide, never",
      default: "prefix"
    })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed("prefix" as const))),
  separator: pattern("one to four of A-Z a-z 0-9 _ - .", /^[A-Za-z0-9_.-]{1,4}$/, {
    description: "Stands between service and tool",
    default: "__"
  }).pipe(Schema.withDecodingDefaultKey(Effect.succeed("__"))),
  token: optional(
    Schema.NonEmptyString,
    "What writes through the REST API must carry as a bearer token; without one they come from this machine only"
  ),
  sessionKey: optional(Schema.NonEmptyString, "Secret that seals session ids; random for each process by default"),
  pageSize: count(1, 10_000).annotate({ description: "Entries of a page of an MCP list", default: 1000 })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed(1000))),
  listTtl: time(
    "0s",
    "How long clients of the stateless era may keep lists where a server in them doesn't say; by default they are told of changes"
  ),
  resourceCache: bytes("16mb", "What is kept of resources for as long as their servers allow; 0b keeps nothing"),
  showRouting: defaulted(Schema.Boolean, true, "Whether results say in their _meta how they were routed"),
  bodyLimit: bytes("4mb", "Largest body of a request"),
  allowedHosts: Schema.Array(HostName)
    .annotate({ description: "Host names that requests may use, beside loopback names and publicUrl", default: [] })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  allowedOrigins: Schema.Array(Origin)
    .annotate({ description: "Origins of web pages that may use the gateway, beside its own", default: [] })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  sessions: Schema.Literals(["sticky", "strict", "free"])
    .annotate({
      description: "How calls of one session stay with one server where that keeps state: as long as it lives, or fail "
        + "(strict), or not at all (free)",
      default: "sticky"
    })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed("sticky" as const))),
  sessionLifetime: time("24h", "Time after which a session has to be begun anew"),
  sessionIdleTimeout: time(
    "30m",
    "Time without a request and without a stream after which a session is no longer kept"
  ),
  inputTimeout: time("10m", "How long a client has to answer what a server asks of it"),
  limits: Limits.annotate({ description: "How much clients may have at the same time" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  shutdownTimeout: time("10s", "Longest wait for calls in flight at the end")
})

const Telemetry = Schema.Struct({
  otlp: Schema.optionalKey(
    Schema.Struct({
      url: text("an http(s) URL", (value) => ["http:", "https:"].includes(URL.parse(value)?.protocol ?? ""), {
        description: "Address of the collector, without the path of a signal: http://127.0.0.1:4318"
      }),
      headers: optional(Schema.Record(Schema.String, Schema.String), "Headers of each export, tokens among them"),
      interval: duration({ description: "Time between two exports", default: "10s" })
        .pipe(Schema.withDecodingDefaultKey(Effect.succeed("10s")))
    }).annotate({ description: "An OpenTelemetry collector that takes metrics, traces and logs; none by default" })
  ),
  log: Schema.Struct({
    level: Schema.Literals(levels).annotate({ description: "The least that is logged", default: "info" })
      .pipe(Schema.withDecodingDefaultKey(Effect.succeed("info" as const))),
    format: Schema.Literals(formats).annotate({ description: "How log lines are written", default: "logfmt" })
      .pipe(Schema.withDecodingDefaultKey(Effect.succeed("logfmt" as const)))
  }).annotate({ description: "The log on standard error" }).pipe(Schema.withDecodingDefaultKey(Effect.succeed({})))
})

const Names = Schema.Array(Schema.NonEmptyString)

const Catalog = Schema.Struct({
  groups: Schema.Record(Schema.String, Names)
    .annotate({ description: "Services that are one to clients: name of the group to the services in it", default: {} })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  aliases: Schema.Record(Schema.String, Names)
    .annotate({ description: "Tools that stand for capabilities: capability to names of tools", default: {} })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  maxAge: time(
    "30s",
    "How old a list may be whose server neither says how long it holds nor tells of changes; used after that, it is read again"
  )
})

const Webhook = Schema.Struct({
  url: text("an http(s) URL", (value) => ["http:", "https:"].includes(URL.parse(value)?.protocol ?? ""), {
    description: "Where events are posted to"
  }),
  topics: optional(Schema.Array(WebhookTopic), "What it is told of; all by default"),
  headers: optional(Schema.Record(Schema.String, Schema.String), "Headers of each delivery, tokens among them"),
  secret: optional(Schema.NonEmptyString, "Signs each delivery: a text, or bytes as whsec_ and base64")
})

const Servers = Schema.Record(Schema.String, ServerEntry)

/** What each entry of `registries` has beside the options of its type. */
export const RegistryEntry = Schema.Struct({
  type: Schema.NonEmptyString,
  name: optional(Schema.NonEmptyString, "Name in reports; the path of a file, else the type, by default"),
  trust: optional(
    Schema.Literals(["full", "limited"]),
    "full: its records may start processes and name secrets. Default: full for local files, limited for the rest"
  ),
  allow: optional(
    Schema.Struct({
      services: optional(Names, "Names of services, such as weather; `*` stands for anything"),
      capabilities: optional(Names, "Capabilities, such as weather.*"),
      tools: optional(Names, "Tools, as servers call them, such as get_*; what a server lists besides isn't offered")
    }),
    "What may be announced here; a record that says more is rejected. Default: everything"
  )
})

export const Document = Schema.Struct({
  $schema: optional(Schema.String, "Address of the JSON Schema, for editors"),
  gateway: Gateway.annotate({ description: "The listener and the names it shows" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  registries: Schema.Array(Schema.Record(Schema.String, Schema.Unknown))
    .annotate({ description: "Where instances are announced; earlier entries win" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  mcpServers: Servers.annotate({ description: "Servers as Claude Desktop and Cursor write them" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  servers: Servers.annotate({ description: "Servers as VS Code writes them" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  health: HealthEntry.annotate({ description: "Health checks, and what calls say of the health of instances" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  balancing: BalancingEntry.annotate({ description: "Choice among instances" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  upstreams: UpstreamsEntry.annotate({ description: "Connections to servers" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  calls: CallsEntry.annotate({ description: "Time, retries and limits of calls" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  catalog: Catalog.annotate({ description: "How what servers offer is put together" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  telemetry: Telemetry.annotate({ description: "Metrics, traces and logs" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed({}))),
  webhooks: Schema.Array(Webhook)
    .annotate({ description: "Addresses that are told of changes, as Standard Webhooks", default: [] })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed([]))),
  routing: Schema.Array(RoutingEntry)
    .annotate({ description: "Rules for calls; the first one that matches holds" })
    .pipe(Schema.withDecodingDefaultKey(Effect.succeed([])))
})
export type Document = typeof Document.Type

/**
 * The REST API under `/api/v1`, and the documents about the gateway: the declaration from which the handlers, OpenAPI and
 * typed clients follow.
 *
 * **Details**: lists answer `{"items": […], "nextCursor": …}`. A cursor names the last item of its page, so that items
 * which come or go between two pages shift nothing. Errors are problems (RFC 9457). Answers to GET carry an ETag.
 *
 * @since 0.1.0
 */
import { strategyNames } from "@portolan/core/Balancer"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { Documents } from "../documents/DocumentsApi.ts"
import { Filter, filterNote, Page } from "../internal/lists.ts"
import { documented } from "../internal/openapi.ts"
import { Change } from "./Changes.ts"
import * as Conduct from "./Conduct.ts"
import { Sent, Topic } from "./Events.ts"
import { ExplanationView } from "./ExplanationView.ts"
import { FleetHealth } from "./FleetHealth.ts"
import { InstanceHealth } from "./InstanceHealth.ts"
import { Conflict, NotFound, Overloaded, PreconditionFailed, RegistryFailed, TooLarge } from "./Problems.ts"
import { ReportView } from "./ReportView.ts"
import {
  AccessView,
  ConfigurationView,
  HealthDetail,
  InstanceView,
  ServiceDetail,
  ServiceHealth,
  ServiceView,
  SourceView,
  StatusView,
  ToolView,
  ValidationView
} from "./Representations.ts"
import { Report } from "./Series.ts"
import { WriteAccess } from "./WriteAccess.ts"

const list = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.optionalKey(Schema.String) })

const described = (summary: string, description?: string) => OpenApi.annotations({ summary, description })

const source = {
  source: Schema.optionalKey(
    Schema.String.annotate({ description: "The registry, where several announce an instance of this id" })
  )
}
const named = { service: Schema.String.annotate({ description: "Name of the service" }) }
const identified = { id: Schema.String.annotate({ description: "Id of the instance" }) }
const Tag = Schema.String.annotate({ description: "Of the record and of this representation of it" })

/**
 * What is there: services, instances, tools, sources.
 *
 * @category models
 * @since 0.1.0
 */
export class Fleet extends HttpApiGroup.make("fleet").add(
  HttpApiEndpoint.get("status", "/status", { success: StatusView }).annotateMerge(described("The gateway at a glance")),
  HttpApiEndpoint.get("access", "/access", {
    query: {
      origin: Schema.optionalKey(Schema.String).annotate({
        description: "Origin of the page that asks: browsers send it with writes, and not with this"
      })
    },
    success: AccessView
  }).annotateMerge(
    described("Whether you may write", "Takes the token as writes do, and tells who doesn't send it what is missing.")
  ),
  HttpApiEndpoint.get("configuration", "/configuration", { success: ConfigurationView, error: NotFound })
    .annotateMerge(described(
      "The configuration in effect",
      "Each value with where it comes from; those that are secret as `***`. Registries and servers are in the lists " +
        "of sources and instances."
    )),
  HttpApiEndpoint.get("services", "/services", { query: { ...Page, ...Filter }, success: list(ServiceView) })
    .annotateMerge(described("Services of which an instance matches", filterNote)),
  HttpApiEndpoint.get("service", "/services/:service", { params: named, success: ServiceDetail, error: NotFound })
    .annotateMerge(described("A service and its instances")),
  HttpApiEndpoint.get("serviceHealth", "/services/:service/health", {
    params: named,
    success: ServiceHealth,
    error: NotFound
  }).annotateMerge(described("Health of the instances of a service")),
  HttpApiEndpoint.get("serviceTools", "/services/:service/tools", {
    params: named,
    query: { ...Page, ...Filter },
    success: list(ToolView),
    error: NotFound
  }).annotateMerge(described("Tools of a service", filterNote)),
  HttpApiEndpoint.get("instances", "/instances", { query: { ...Page, ...Filter }, success: list(InstanceView) })
    .annotateMerge(described("Instances that match", filterNote)),
  HttpApiEndpoint.get("instance", "/instances/:id", {
    params: identified,
    query: source,
    success: HttpApiSchema.WithHeaders(InstanceView, { etag: Tag }),
    error: NotFound
  }).annotateMerge(described("An instance")),
  HttpApiEndpoint.get("instanceHealth", "/instances/:id/health", {
    params: identified,
    query: source,
    success: HttpApiSchema.WithHeaders(InstanceHealth, { etag: Tag }),
    error: NotFound
  }).annotateMerge(described("Health of an instance, and what it follows from")),
  HttpApiEndpoint.get("tools", "/tools", { query: { ...Page, ...Filter }, success: list(ToolView) })
    .annotateMerge(described("Tools that an instance offers that matches", `${filterNote} Words search in tools.`)),
  HttpApiEndpoint.get("tool", "/tools/:name", {
    params: { name: Schema.String.annotate({ description: "Name under which clients see it" }) },
    success: ToolView,
    error: NotFound
  }).annotateMerge(described("A tool")),
  HttpApiEndpoint.get("sources", "/sources", { query: { ...Page, ...Filter }, success: list(SourceView) })
    .annotateMerge(described("Registries; with a filter, those that announce an instance that matches", filterNote))
).prefix("/api/v1").annotateMerge(OpenApi.annotations({ description: "What is there" })) {}

const registry = {
  registry: Schema.optionalKey(
    Schema.String.annotate({
      description: "Registry that is written to; default `memory`, which ends with the gateway"
    })
  )
}
const ttl = {
  ttl: Schema.optionalKey(
    ServiceInstance.DurationText.annotate({
      description: "How long the gateway keeps it announced, unless a PUT renews it: `90s`, 1 s to 24 h; default `60s`"
    })
  )
}
const ifMatch = {
  "if-match": Schema.optionalKey(
    Schema.String.annotate({ description: "ETag of the instance as it was read; if its record changed since: 412" })
  )
}
/**
 * A mark that an operator makes; it wins over checks, calls and what the announcer says.
 *
 * @category schemas
 * @since 0.1.0
 */
export const Mark = Schema.Struct({
  as: Schema.Literals(["up", "draining", "down"]).annotate({ description: "`up` takes the mark away" }),
  reason: Schema.optionalKey(
    Schema.String.annotate({ description: "Shown to whoever asks why" }).pipe(Schema.check(Schema.isMaxLength(200)))
  )
}).annotate({ identifier: "Mark" })

/**
 * An instance that was written, and its lease.
 *
 * @category schemas
 * @since 0.1.0
 */
export const WrittenView = Schema.StructWithRest(
  Schema.Struct({
    ...InstanceView.schema.fields,
    lease: Schema.Struct({
      registry: Schema.String,
      /** s */
      ttl: Schema.Finite,
      expiresAt: Schema.String.annotate({ description: "ISO 8601" })
    })
  }),
  [Schema.Record(Schema.String, Schema.Unknown)]
).annotate({ identifier: "WrittenInstance" })
export type WrittenView = typeof WrittenView.Type

const created = HttpApiSchema.WithHeaders(WrittenView.pipe(HttpApiSchema.status(201)), {
  etag: Tag,
  location: Schema.String
})

/**
 * What changes something. Protected by the token; without one, for programs on the gateway's machine.
 *
 * @category models
 * @since 0.1.0
 */
export class Writes extends HttpApiGroup.make("writes").add(
  HttpApiEndpoint.post("create", "/instances", {
    query: { ...registry, ...ttl },
    payload: ServiceInstance.ServiceInstance,
    success: created,
    error: [NotFound, Conflict, TooLarge, RegistryFailed, Overloaded]
  }).annotateMerge(described("Announces an instance", "The gateway holds its lease. Renew it with PUT.")),
  HttpApiEndpoint.put("replace", "/instances/:id", {
    params: identified,
    query: { ...registry, ...ttl },
    headers: ifMatch,
    payload: ServiceInstance.ServiceInstance,
    success: [HttpApiSchema.WithHeaders(WrittenView, { etag: Tag }), created],
    error: [NotFound, Conflict, PreconditionFailed, TooLarge, RegistryFailed, Overloaded]
  }).annotateMerge(described("Announces an instance, or announces it changed, and begins its lease anew")),
  HttpApiEndpoint.delete("remove", "/instances/:id", {
    params: identified,
    query: registry,
    headers: ifMatch,
    success: HttpApiSchema.NoContent,
    error: [NotFound, Conflict, PreconditionFailed]
  }).annotateMerge(described("Takes back what was announced here")),
  HttpApiEndpoint.put("mark", "/instances/:id/mark", {
    params: identified,
    query: source,
    headers: {
      "if-match": Schema.optionalKey(
        Schema.String.annotate({ description: "ETag of its health as it was read; if it was marked since: 412" })
      )
    },
    payload: Mark,
    success: HttpApiSchema.WithHeaders(HealthDetail, { etag: Tag }),
    error: [NotFound, Conflict, PreconditionFailed]
  }).annotateMerge(described("Marks an instance by hand; `up` takes the mark away")),
  HttpApiEndpoint.post("check", "/instances/:id/check", {
    params: identified,
    query: source,
    success: HealthDetail,
    error: [NotFound, Conflict]
  }).annotateMerge(described("Checks an instance now")),
  HttpApiEndpoint.post("refresh", "/refresh", {
    query: {
      source: Schema.optionalKey(Schema.String.annotate({ description: "The registry to read anew; default all" }))
    },
    success: list(SourceView),
    error: [NotFound, RegistryFailed]
  }).annotateMerge(described("Reads registries anew")),
  HttpApiEndpoint.post("validate", "/configuration/validate", {
    payload: Schema.Struct({ text: Schema.String.annotate({ description: "YAML or JSON, up to 128 KiB" }) }),
    success: ValidationView,
    error: [NotFound, TooLarge]
  }).annotateMerge(described(
    "Looks for mistakes in the text of a configuration",
    "Changes nothing. What stands in environment variables isn't told."
  ))
).prefix("/api/v1").middleware(WriteAccess)
  .annotateMerge(OpenApi.annotations({
    description: "What changes something. It takes the token of the configuration (`gateway.token`); without a " +
      "configured token it is for programs on the gateway's machine."
  }))
{}

const top = Schema.optionalKey(
  Schema.Int.annotate({ description: "Most items of each list, 1 to 1000; default 20" })
    .pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 1000 })))
)

/**
 * How calls are routed, and what became of them.
 *
 * @category models
 * @since 0.1.0
 */
export class Calls extends HttpApiGroup.make("calls").add(
  HttpApiEndpoint.get("report", "/report", {
    query: { top, service: Schema.optionalKey(Schema.String.annotate({ description: "Only of this service" })) },
    success: ReportView,
    error: NotFound
  }).annotateMerge(described(
    "What became of calls",
    "Counted since the gateway began. Services, instances, tools and callers with the most calls, and all others together."
  )),
  HttpApiEndpoint.get("health", "/health", { query: { top }, success: FleetHealth })
    .annotateMerge(described("Health of the fleet", "A verdict, the services, and the instances that are worst off.")),
  HttpApiEndpoint.get("explain", "/explain", {
    query: {
      top,
      tool: Schema.String.annotate({
        description: "Name of a tool as clients see it; else of a service, or a capability"
      }),
      caller: Schema.optionalKey(
        Schema.String.annotate({ description: "Who calls: `tenant:<name>` or `principal:<name>`; default anybody" })
      ),
      hashKey: Schema.optionalKey(
        Schema.String.annotate({ description: "What `consistent-hash` hashes; default the principal" })
      ),
      strategy: Schema.optionalKey(Schema.Literals(strategyNames))
    },
    success: ExplanationView,
    error: NotFound
  }).annotateMerge(described(
    "Where a call would go now, and why",
    "Who would be picked, who was considered, and who is left out for which reason. Asking changes nothing. It is that of a " +
      "call without a session: one that is bound to an instance keeps to it."
  ))
).prefix("/api/v1").annotateMerge(
  OpenApi.annotations({ description: "How calls are routed, and what became of them" })
) {}

/**
 * What happens: events and series.
 *
 * @category models
 * @since 0.1.0
 */
export class Watching extends HttpApiGroup.make("watching").add(
  HttpApiEndpoint.get("events", "/events", {
    query: {
      topics: Schema.optionalKey(Schema.String.annotate({
        description: `Some of ${Topic.literals.join(", ")}, with commas between them; default all`
      }))
    },
    headers: {
      "last-event-id": Schema.optionalKey(
        Schema.String.annotate({ description: "`id` of the last event that was read, to go on from there" })
      )
    },
    success: HttpApiSchema.StreamSse({ events: Sent }),
    error: Overloaded
  }).annotateMerge(described(
    "A snapshot, then what changes",
    "Server-sent events. The first is `snapshot`; then come `catalog`, `health`, `figures` and `sources`, as asked for, " +
      "and `beat` every 2 s. Whoever reads too slowly loses events and gets `resync` and a new `snapshot`; so does " +
      "whoever comes back after too long."
  )),
  HttpApiEndpoint.get("changes", "/changes", {
    query: {
      limit: Page.limit,
      service: Schema.optionalKey(Schema.String.annotate({ description: "Only of instances of this service" })),
      source: Schema.optionalKey(Schema.String.annotate({ description: "Only of this source" })),
      before: Schema.optionalKey(
        Schema.String.annotate({ description: "Only those before the one of this id; `nextCursor` of the page before" })
      )
    },
    success: list(Change)
  }).annotateMerge(described(
    "What changed last",
    "The newest first. The gateway keeps the last 1,000 since it began. What happens to many instances of a source at " +
      "once is one change."
  )),
  HttpApiEndpoint.get("series", "/reports/series", {
    query: {
      service: Schema.optionalKey(
        Schema.Array(Schema.String).annotate({ description: "Services to tell of; default all" })
      ),
      window: Schema.optionalKey(
        ServiceInstance.DurationText.annotate({ description: "How far back, at most and by default `15m`" })
      ),
      step: Schema.optionalKey(
        ServiceInstance.DurationText.annotate({ description: "Time of one point, a multiple of `10s`, the default" })
      )
    },
    success: Report
  }).annotateMerge(described(
    "Figures of the last minutes",
    "Columns of equal length, oldest first; `null` where nothing was counted."
  ))
).prefix("/api/v1").annotateMerge(OpenApi.annotations({ description: "What happens" })) {}

/**
 * The declaration of the API.
 *
 * @category models
 * @since 0.1.0
 */
export class Api
  extends HttpApi.make("portolan").add(Fleet).add(Calls).add(Writes).add(Watching).add(Documents).middleware(
    Conduct.Conduct
  )
    .annotate(HttpApi.ParseOptions, { errors: "all" })
    .annotateMerge(OpenApi.annotations({
      title: "Portolan",
      version: "1",
      description: "The gateway's REST API. Errors are problems (RFC 9457).",
      license: { name: "MIT", identifier: "MIT" },
      transform: documented
    }))
{}

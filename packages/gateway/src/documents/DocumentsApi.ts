/**
 * Where the documents about the gateway are: its server card beside its endpoint, the catalog where its domain is asked
 * for one, and the reading part of the API of MCP registries, with the gateway as the only server.
 *
 * @since 0.2.0
 */
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiSchema from "effect/http-api/HttpApiSchema"
import * as OpenApi from "effect/http-api/OpenApi"
import * as Schema from "effect/Schema"
import { NotFound } from "../rest/Problems.ts"
import { AiCatalog, catalogType, RegistryEntry, RegistryPage, ServerCard, serverCardType } from "./SelfDescription.ts"

const described = (summary: string, description?: string) => OpenApi.annotations({ summary, description })

const named = { name: Schema.String.annotate({ description: "Name of the server, with its slash as `%2F`" }) }

const time = { expected: "an ISO 8601 time", message: "expected an ISO 8601 time" }

const Time = Schema.String.pipe(
  Schema.check(Schema.makeFilter((text: string) => Number.isNaN(Date.parse(text)) ? time.message : undefined, time))
)

const includeDeleted = {
  include_deleted: Schema.optionalKey(Schema.Boolean.annotate({ description: "Nothing here is ever deleted" }))
}

/**
 * The documents about the gateway. They are for everybody who may reach it.
 *
 * @category models
 * @since 0.2.0
 */
export class Documents extends HttpApiGroup.make("documents").add(
  HttpApiEndpoint.get("card", "/mcp/server-card", {
    success: ServerCard.pipe(HttpApiSchema.asJson({ contentType: serverCardType })),
    error: NotFound
  }).annotateMerge(described("Server card", "How to connect to the gateway's MCP endpoint (SEP-2127).")),
  HttpApiEndpoint.get("catalog", "/.well-known/ai-catalog.json", {
    success: AiCatalog.pipe(HttpApiSchema.asJson({ contentType: catalogType })),
    error: NotFound
  }).annotateMerge(described("AI catalog", "Leads to the server card.")),
  HttpApiEndpoint.get("servers", "/v0.1/servers", {
    query: {
      limit: Schema.optionalKey(
        Schema.Int.annotate({ description: "Items of a page" }).pipe(Schema.check(Schema.isGreaterThanOrEqualTo(1)))
      ),
      cursor: Schema.optionalKey(Schema.String.annotate({ description: "There is one page, and nothing after it" })),
      search: Schema.optionalKey(Schema.String.annotate({ description: "Part of the name" })),
      version: Schema.optionalKey(Schema.String.annotate({ description: "A version, or `latest`" })),
      updated_since: Schema.optionalKey(Time.annotate({ description: "ISO 8601: only servers that changed since" })),
      ...includeDeleted
    },
    success: RegistryPage,
    error: NotFound
  }).annotateMerge(described("The gateway, as an MCP registry lists servers")),
  HttpApiEndpoint.get("versions", "/v0.1/servers/:name/versions", {
    params: named,
    query: includeDeleted,
    success: RegistryPage,
    error: NotFound
  }).annotateMerge(described("Its version, which is the only one")),
  HttpApiEndpoint.get("version", "/v0.1/servers/:name/versions/:version", {
    params: { ...named, version: Schema.String.annotate({ description: "A version, or `latest`" }) },
    query: includeDeleted,
    success: RegistryEntry,
    error: NotFound
  }).annotateMerge(described("The gateway, as an MCP registry tells of a server"))
).annotateMerge(
  OpenApi.annotations({
    description:
      "What the gateway publishes about itself, unless `gateway.documents` is `false`. Addresses in it are " +
      "under `gateway.publicUrl`, else under the host that was asked."
  })
) {}

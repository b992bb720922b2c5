/**
 * The REST API under `/api/v1`: its declaration, from which OpenAPI and typed clients follow, and its handlers.
 *
 * **Details**: lists answer `{"items": […], "nextCursor": …}`. A cursor names the last item of its page, so that items
 * which come or go between two pages shift nothing. Errors are problems (RFC 9457).
 *
 * @since 0.1.0
 */
import * as Catalog from "@portolan/core/Catalog"
import { Discovery } from "@portolan/core/Discovery"
import { Health } from "@portolan/core/Health"
import * as Query from "@portolan/core/Query"
import * as Effect from "effect/Effect"
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as HttpApiGroup from "effect/http-api/HttpApiGroup"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { About } from "./About.ts"
import { InstanceView, ServiceDetail, ServiceView, SourceView, StatusView, ToolView, Views } from "./Views.ts"

/**
 * Problem answered when nothing has this name.
 *
 * @category errors
 * @since 0.1.0
 */
export class NotFound extends HttpApiError.Problem<NotFound>()("NotFound", {
  type: "about:blank",
  title: "Not found",
  status: 404
}) {}

/**
 * Problem answered when a parameter can't be used.
 *
 * @category errors
 * @since 0.1.0
 */
export class BadParameter extends HttpApiError.Problem<BadParameter>()("BadParameter", {
  type: "about:blank",
  title: "Wrong parameter",
  status: 400
}) {}

const Page = {
  limit: Schema.optionalKey(
    Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 1000 })))
      .annotate({ description: "Items of a page, 1 to 1000; default 100" })
  ),
  cursor: Schema.optionalKey(Schema.String.annotate({ description: "nextCursor of the page before" }))
}

const list = <S extends Schema.Top>(item: S) =>
  Schema.Struct({ items: Schema.Array(item), nextCursor: Schema.optionalKey(Schema.String) })

class Fleet extends HttpApiGroup.make("fleet").add(
  HttpApiEndpoint.get("status", "/status", { success: StatusView }),
  HttpApiEndpoint.get("services", "/services", { query: Page, success: list(ServiceView), error: BadParameter }),
  HttpApiEndpoint.get("service", "/services/:service", {
    params: { service: Schema.String },
    success: ServiceDetail,
    error: NotFound
  }),
  HttpApiEndpoint.get("instances", "/instances", { query: Page, success: list(InstanceView), error: BadParameter }),
  HttpApiEndpoint.get("instance", "/instances/:id", {
    params: { id: Schema.String },
    query: { source: Schema.optionalKey(Schema.String) },
    success: InstanceView,
    error: NotFound
  }),
  HttpApiEndpoint.get("tools", "/tools", {
    query: { ...Page, service: Schema.optionalKey(Schema.String) },
    success: list(ToolView),
    error: BadParameter
  }),
  HttpApiEndpoint.get("sources", "/sources", { query: Page, success: list(SourceView), error: BadParameter })
).prefix("/api/v1") {}

/**
 * The declaration of the API.
 *
 * @category models
 * @since 0.1.0
 */
export class Api extends HttpApi.make("portolan").add(Fleet).middleware(HttpApiMiddleware.ProblemDetails) {}

/** A page of items that are in the order of their keys. */
const paginate = <A>(
  items: ReadonlyArray<A>,
  keyOf: (item: A) => string,
  page: { readonly limit?: number; readonly cursor?: string }
): Effect.Effect<{ readonly items: ReadonlyArray<A>; readonly nextCursor?: string }, BadParameter> =>
  Effect.suspend(() => {
    let start = 0
    if (page.cursor !== undefined) {
      const after = Buffer.from(page.cursor, "base64url").toString("utf8")
      if (Buffer.from(after, "utf8").toString("base64url") !== page.cursor) {
        return Effect.fail(new BadParameter({ detail: "cursor: expected the nextCursor of an earlier page" }))
      }
      const next = items.findIndex((item) => keyOf(item) > after)
      start = next === -1 ? items.length : next
    }
    const shown = items.slice(start, start + (page.limit ?? 100))
    const last = shown.at(-1)
    return Effect.succeed(
      last === undefined || start + shown.length >= items.length
        ? { items: shown }
        : { items: shown, nextCursor: Buffer.from(keyOf(last), "utf8").toString("base64url") }
    )
  })

/** The parameters of the URL that belong to the query. */
const queryOf = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<Query.Query, BadParameter> =>
  Effect.suspend(() => {
    const mark = request.url.indexOf("?")
    const parameters = new URLSearchParams(mark === -1 ? "" : request.url.slice(mark))
    parameters.delete("limit")
    parameters.delete("cursor")
    return Effect.fromResult(
      Result.mapError(Query.fromUrlParameters(parameters), (error) => new BadParameter({ detail: error.message }))
    )
  })

const entryKey = (entry: Catalog.CatalogEntry): string =>
  `${entry.instance.service}\u0000${entry.instance.id}\u0000${entry.source}`

const Handlers = HttpApiBuilder.group(
  Api,
  "fleet",
  Effect.fnUntraced(function*(handlers) {
    const views = yield* Views
    const discovery = yield* Discovery
    const health = yield* Health
    const about = yield* About

    const matching = (query: Query.Query) =>
      Effect.fromResult(
        Result.mapBoth(Query.compile(query), {
          onFailure: (error) => new BadParameter({ detail: error.message }),
          onSuccess: (matches) => {
            const catalog = discovery.catalog()
            return views.entries().filter((entry) => {
              const { score, status } = health.get(entry.key)
              return matches({ entry, health: status, score, stale: Option.isSome(Catalog.staleSince(catalog, entry)) })
            })
          }
        })
      )

    return handlers.handleAll({
      status: () => Effect.sync(() => ({ version: about.version, ready: about.ready(), ...views.status() })),
      services: ({ query }) => paginate(views.services(), (service) => service.name, query),
      service: ({ params }) =>
        Effect.suspend(() => {
          const found = views.service(params.service)
          return found === undefined
            ? Effect.fail(new NotFound({ detail: `no service is called ${params.service}` }))
            : Effect.succeed(found)
        }),
      instances: Effect.fnUntraced(function*({ query, request }) {
        const found = yield* matching(yield* queryOf(request))
        const page = yield* paginate(found, entryKey, query)
        return { ...page, items: page.items.map(views.instance) }
      }),
      instance: ({ params, query }) =>
        Effect.suspend(() => {
          const found = views.entries().find((entry) =>
            entry.instance.id === params.id && (query.source === undefined || entry.source === query.source)
          )
          return found === undefined
            ? Effect.fail(new NotFound({ detail: `no instance has the id ${params.id}` }))
            : Effect.succeed(views.instance(found))
        }),
      tools: ({ query }) =>
        paginate(
          views.tools().filter((tool) => query.service === undefined || tool.service === query.service)
            .sort((a, b) => a.name < b.name ? -1 : 1),
          (tool) => tool.name,
          query
        ),
      sources: ({ query }) =>
        paginate(views.sources().toSorted((a, b) => a.name < b.name ? -1 : 1), (source) => source.name, query)
    })
  })
)

/**
 * Layer that serves the API on a router, with its OpenAPI description at `/api/v1/openapi.json`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = HttpApiBuilder.layer(Api, { openapiPath: "/api/v1/openapi.json" }).pipe(
  Layer.provide(Handlers),
  Layer.provide(HttpApiMiddleware.layerProblemDetails({ includeDetails: true }))
)

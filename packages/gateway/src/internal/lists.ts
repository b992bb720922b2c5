/**
 * Parameters of lists: pages, and the query of core.
 */
import * as NearestName from "@portolan/core/NearestName"
import * as Query from "@portolan/core/Query"
import * as Effect from "effect/Effect"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import { type BadRequest, mistaken } from "../rest/Problems.ts"

export const Page = {
  limit: Schema.optionalKey(
    Schema.Int.annotate({ description: "Items of a page, 1 to 1000; default 100" })
      .pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: 1000 })))
  ),
  cursor: Schema.optionalKey(Schema.String.annotate({ description: "`nextCursor` of the page before" }))
}

const text = (description: string) => Schema.optionalKey(Schema.Array(Schema.String).annotate({ description }))

/** What instances are asked for by. Each may be repeated; those of metadata can't be listed. */
export const Filter = {
  q: Schema.optionalKey(Schema.String.annotate({
    description: "As a person types it: words to search for, and conditions: `weather tag=prod metadata.priority>=8`"
  })),
  id: text("Pattern; `*` is any text"),
  service: text("Pattern; `*` is any text"),
  name: text("The same as `service`"),
  kind: text("`mcp-server`, `agent` or `tool-provider`"),
  version: Schema.optionalKey(Schema.String.annotate({ description: "Range as npm writes it: `^1.2`" })),
  tags: text("Patterns that must all be among the tags; also `tag`"),
  anyTags: text("Patterns of which one must be among the tags"),
  capabilities: text("Patterns that must all be offered; also `capability`"),
  anyCapabilities: text("Patterns of which one must be offered"),
  tools: text("Patterns of announced tools, all of them; also `tool`"),
  anyTools: text("Patterns of announced tools, one of them"),
  health: text("`healthy`, `degraded`, `unhealthy`, `draining`, `down` or `unknown`"),
  available: text("`true`: calls may go to it"),
  stale: text("`true`: its registry is lost"),
  status: text("What its announcer says: `up`, `draining` or `down`"),
  source: text("Registry; `*` is any text"),
  region: text("Pattern"),
  zone: text("Pattern"),
  tenant: Schema.optionalKey(Schema.String.annotate({ description: "A tenant that may see it" })),
  weight: text("Number, or operators: `weight[$gte]=1`"),
  priority: text("Number, or operators"),
  score: text("Number, or operators: `score[$lt]=0.5`"),
  "endpoint.transport": text("Pattern"),
  "endpoint.url": text("Pattern"),
  "limits.maxConcurrency": text("Number, or operators"),
  "cost.perCall": text("Number, or operators"),
  search: Schema.optionalKey(Schema.String.annotate({ description: "Words that all occur in the record" }))
}

/** What the description of an operation says of parameters that can't be listed. */
export const filterNote =
  "Takes the query of core as parameters. Beside those that are listed: `metadata.<key>` for a key of the metadata, " +
  "`[$eq]`, `[$ne]`, `[$gt]`, `[$gte]`, `[$lt]`, `[$lte]`, `[$in]`, `[$nin]`, `[$exists]` and `[$regex]` after any name " +
  "(`metadata.priority[$gte]=8`), and `$and`, `$or`, `$not` with JSON."

const singular = ["tag", "anyTag", "capability", "anyCapability", "tool", "anyTool"]
const filters = [...Object.keys(Filter), ...Object.keys(Page), ...singular, "metadata", "$and", "$or", "$not"]

/** The problem of a parameter that nobody knows. */
export const unknownParameter = (name: string, known: Iterable<string>): BadRequest =>
  mistaken([{ path: name, message: `unknown parameter${NearestName.hint(name, known)}` }])

const wrong = (error: Query.QueryError, typed: boolean): BadRequest => {
  const path = typed ? error.path === "" ? "q" : `q: ${error.path}` : error.path
  if (error.reason === "unknown key") {
    const key = error.path.slice(error.path.lastIndexOf(".") + 1)
    return typed
      ? mistaken([{ path, message: `unknown key${NearestName.hint(key, filters)}` }])
      : unknownParameter(error.path, filters)
  }
  return mistaken([{ path, message: error.reason }])
}

export interface Asked {
  /** What instances must be; none: everything is asked for. */
  readonly query: Query.Query | undefined
  /** The same without the words of `q`. */
  readonly conditions: Query.Query | undefined
  /** The words of `q`, for lists that search in something else too. */
  readonly words: ReadonlyArray<string>
}

const all = (queries: ReadonlyArray<Query.Query>): Query.Query | undefined => {
  const parts = queries.filter((part) => Object.keys(part).length > 0)
  return parts.length > 1 ? { $and: parts } : parts[0]
}

/** The parameters of the URL that ask for instances. */
export const asked = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<Asked, BadRequest> =>
  Effect.suspend(() => {
    const mark = request.url.indexOf("?")
    const parameters = new URLSearchParams(mark === -1 ? "" : request.url.slice(mark))
    const typed = parameters.getAll("q").join(" ").trim()
    for (const name of ["limit", "cursor", "q"]) parameters.delete(name)
    const read = Query.fromUrlParameters(parameters)
    if (Result.isFailure(read)) return Effect.fail(wrong(read.failure, false))
    const written = Query.parse(typed)
    if (Result.isFailure(written)) return Effect.fail(wrong(written.failure, true))
    const { search = "", ...conditions } = written.success
    return Effect.succeed({
      query: all([read.success, written.success]),
      conditions: all([read.success, conditions]),
      words: search.toLowerCase().split(/\s+/).filter((word) => word !== "")
    })
  })

/** Makes the test of a query. */
export const compile = (
  query: Query.Query
): Effect.Effect<(subject: Query.QuerySubject) => boolean, BadRequest> =>
  Effect.fromResult(Result.mapError(Query.compile(query), (error) => wrong(error, false)))

export interface PageOf<A> {
  readonly items: ReadonlyArray<A>
  readonly nextCursor?: string
}

/**
 * A page of items that are in the order of their keys. A cursor names the last item of its page, so that items which come
 * or go between two pages shift nothing.
 */
export const paginate = <A>(
  items: ReadonlyArray<A>,
  keyOf: (item: A) => string,
  page: { readonly limit?: number; readonly cursor?: string }
): Effect.Effect<PageOf<A>, BadRequest> =>
  Effect.suspend(() => {
    let start = 0
    if (page.cursor !== undefined) {
      const after = Buffer.from(page.cursor, "base64url").toString("utf8")
      if (Buffer.from(after, "utf8").toString("base64url") !== page.cursor) {
        return Effect.fail(
          mistaken([{ path: "cursor", message: "expected the nextCursor of an earlier page" }])
        )
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

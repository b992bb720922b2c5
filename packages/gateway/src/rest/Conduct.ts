/**
 * What holds for every request of the REST API: no unknown parameter, mistakes told as problems, ETags.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import type * as HttpApiEndpoint from "effect/http-api/HttpApiEndpoint"
import * as HttpApiError from "effect/http-api/HttpApiError"
import * as HttpApiMiddleware from "effect/http-api/HttpApiMiddleware"
import type * as HttpBody from "effect/http/HttpBody"
import * as HttpServerError from "effect/http/HttpServerError"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import type { unhandled } from "effect/Types"
import { STATUS_CODES } from "node:http"
import { catalogType, serverCardType } from "../documents/SelfDescription.ts"
import { matches, strong } from "../internal/etag.ts"
import { type Filter, unknownParameter } from "../internal/lists.ts"
import { BadRequest, Internal, mistaken, NotAcceptable } from "./Problems.ts"

/**
 * Middleware of every endpoint.
 *
 * @category services
 * @since 0.1.0
 */
export class Conduct extends HttpApiMiddleware.Service<Conduct>()("@portolan/gateway/rest/Conduct", {
  error: [BadRequest, NotAcceptable, Internal]
}) {}

const issues = SchemaIssue.makeFormatterStandardSchemaV1()

const tell = (error: HttpApiError.HttpApiSchemaError): BadRequest => {
  const seen = new Map<string, { readonly path: string; readonly message: string }>()
  for (const { message, path } of issues(error.cause.issue).issues) {
    const where = (path ?? []).map((key) => String(typeof key === "object" ? key.key : key)).join(".")
    const what = message.replace(/\s+/g, " ").replace(/^([EM])/, (letter) => letter.toLowerCase())
    seen.set(`${where} ${what}`, { path: where, message: what })
  }
  return mistaken(Array.from(seen.values()))
}

/** Names of the parameters that an endpoint declares. */
const declared = (endpoint: HttpApiEndpoint.Top): ReadonlySet<string> => {
  const ast = endpoint.query?.ast
  return new Set(
    ast !== undefined && SchemaAST.isObjects(ast) ? ast.propertySignatures.map(({ name }) => String(name)) : []
  )
}

/** What endpoints answer with, where that isn't plain JSON. */
const types: ReadonlyMap<string, string> = new Map([
  ["events", "text/event-stream"],
  ["card", serverCardType],
  ["catalog", catalogType]
])

/** Whether an `Accept` header lets this type through; who takes JSON takes what is made of it (RFC 6839). */
const accepts = (header: string | undefined, type: string): boolean => {
  if (header === undefined || header.trim() === "") return true
  return header.split(",").some((range) => {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase())
    if (parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter))) return false
    return name === "*/*" || name === type || name === `${type.slice(0, type.indexOf("/"))}/*` ||
      name === "application/json" && type.endsWith("+json")
  })
}

const bytesOf = (body: HttpBody.HttpBody): Uint8Array | undefined => body._tag === "Uint8Array" ? body.body : undefined

/** Gives the answer its ETag, or answers that the client has it already. */
const conditional = (
  request: HttpServerRequest.HttpServerRequest,
  response: HttpServerResponse.HttpServerResponse
): HttpServerResponse.HttpServerResponse => {
  const bytes = bytesOf(response.body)
  const reads = request.method === "GET" || request.method === "HEAD"
  if (!reads || response.status !== 200 || bytes === undefined) return response
  const etag = response.headers["etag"] ?? strong(bytes)
  const headers = { etag, "cache-control": "no-cache" }
  return matches(request.headers["if-none-match"], etag)
    ? HttpServerResponse.empty({ status: 304, headers })
    : HttpServerResponse.setHeaders(response, headers)
}

/**
 * Layer with the conduct of the API.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Conduct> = Layer.sync(Conduct, () => {
  const parameters = new WeakMap<HttpApiEndpoint.Top, ReadonlySet<string>>()
  return (handler, { endpoint }) =>
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      let known = parameters.get(endpoint)
      if (known === undefined) parameters.set(endpoint, known = declared(endpoint))
      // Lists that take the query know more than can be declared, and say themselves what they don't.
      if (!known.has("anyCapabilities" satisfies keyof typeof Filter)) {
        for (const name of Object.keys(yield* HttpServerRequest.ParsedSearchParams)) {
          if (!known.has(name)) return yield* unknownParameter(name, known)
        }
      }
      const type = types.get(endpoint.identifier) ?? "application/json"
      if (!accepts(request.headers["accept"], type)) {
        return yield* new NotAcceptable({ detail: `this is answered as ${type}` })
      }
      const answered = Effect.catch(
        handler,
        (error): Effect.Effect<never, BadRequest | Internal | unhandled> =>
          HttpApiError.HttpApiSchemaError.is(error) ? unsound(endpoint, error) : Effect.fail(error)
      )
      return conditional(request, yield* answered)
    })
})

/** The problem of a request that doesn't fit its schema, or of an answer that doesn't. */
const unsound = (
  endpoint: HttpApiEndpoint.Top,
  error: HttpApiError.HttpApiSchemaError
): Effect.Effect<never, BadRequest | Internal> =>
  error.kind === "Body" || error.kind === "ResponseHeaders"
    ? Effect.andThen(
      Effect.logError(`the answer of ${endpoint.path} can't be written`, error.cause),
      Effect.fail(new Internal({ detail: "the gateway made an answer that it can't write; its log tells more" }))
    )
    : Effect.fail(tell(error))

const details: Readonly<Record<number, string>> = {
  413: "the body is larger than gateway.bodyLimit",
  415: "the body must be application/json"
}

const problem = (status: number, headers: Readonly<Record<string, string | undefined>>) =>
  HttpServerResponse.jsonUnsafe(
    {
      type: "about:blank",
      title: STATUS_CODES[status] ?? "Error",
      status,
      ...details[status] === undefined ? {} : { detail: details[status] }
    },
    {
      status,
      contentType: "application/problem+json",
      headers: Object.fromEntries(
        Object.entries(headers).filter(([name]) => !name.startsWith("content-"))
      )
    }
  )

/**
 * Makes a problem of every error of the API that is none yet, whoever answered it.
 *
 * @category combinators
 * @since 0.1.0
 */
export const problems = <E, R>(
  answer: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R | HttpServerRequest.HttpServerRequest> =>
  Effect.flatMap(HttpServerRequest.HttpServerRequest, (request) => {
    if (!/^\/(api|v0\.1)\//.test(request.url)) return answer
    return answer.pipe(
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause)
          : Effect.flatMap(HttpServerError.causeResponse(cause), ([response]) =>
            response.status < 500
              ? Effect.succeed(response)
              : Effect.as(Effect.logError(`${request.method} ${request.url} failed`, cause), response))
      ),
      Effect.map((response) => {
        const { headers, status } = response
        if (status < 400) return response
        const told = headers["content-type"]?.startsWith("application/problem+json") === true
          ? response
          : problem(status, headers)
        return status === 401
          ? HttpServerResponse.setHeader(told, "www-authenticate", "Bearer realm=\"portolan\"")
          : told
      })
    )
  })

/**
 * The REST API, served.
 *
 * @since 0.1.0
 */
import * as HttpApi from "effect/http-api/HttpApi"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import * as Layer from "effect/Layer"
import * as calls from "../internal/calls.ts"
import * as documents from "../internal/documents.ts"
import * as reads from "../internal/reads.ts"
import * as watching from "../internal/watching.ts"
import * as writes from "../internal/writes.ts"
import { Api } from "./Api.ts"
import * as Conduct from "./Conduct.ts"

/**
 * Layer that serves the API on a router, with its OpenAPI description at `/api/v1/openapi.json`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = HttpApiBuilder.layer(Api, { openapiPath: "/api/v1/openapi.json" }).pipe(
  Layer.provide([reads.layer, calls.layer, writes.layer, watching.layer, documents.layer]),
  Layer.provide(Conduct.layer)
)

/** Methods by path, where a segment that may be anything is `*`. */
const table: ReadonlyMap<string, ReadonlyArray<string>> = (() => {
  const found = new Map<string, Array<string>>()
  HttpApi.reflect(Api, {
    onGroup: () => {},
    onEndpoint: ({ endpoint }) => {
      const path = endpoint.path.replace(/:[^/]+/g, "*")
      found.set(path, [...found.get(path) ?? [], endpoint.method])
    }
  })
  return found
})()

/**
 * The methods that a path of the API answers; none where there is no such path.
 *
 * @category getters
 * @since 0.1.0
 */
export const methods = (path: string): ReadonlyArray<string> => {
  const segments = path.split("/")
  const known = Array.from(table).filter(([pattern]) => {
    const parts = pattern.split("/")
    return parts.length === segments.length && parts.every((part, at) => part === "*" || part === segments[at])
  })
  return Array.from(new Set(known.flatMap(([, methods]) => methods)))
}

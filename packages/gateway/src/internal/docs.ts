/**
 * The API's documentation as a page.
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Scope from "effect/Scope"
import { Api } from "../rest/Api.ts"

// The page is one file that needs nothing from elsewhere, and its browser is told to see to that.
const policy = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; " +
  "img-src 'self' data: blob:; font-src data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'"

/** Layer that serves the page. */
export const layer = Layer.unwrap(Effect.gen(function*() {
  // Three megabytes that most gateways never show: loaded by the first reader.
  const page = yield* Effect.cached(
    Effect.promise(() => import("effect/http-api/HttpApiScalar")).pipe(
      Effect.flatMap((HttpApiScalar) =>
        HttpRouter.toHttpEffect(
          HttpApiScalar.layer(Api, { path: "/api/docs", scalar: { withDefaultFonts: false } })
        )
      ),
      Scope.provide(yield* Effect.scope)
    )
  )
  return HttpRouter.add(
    "GET",
    "/api/docs",
    Effect.map(Effect.flatten(page), HttpServerResponse.setHeader("content-security-policy", policy))
  )
}))

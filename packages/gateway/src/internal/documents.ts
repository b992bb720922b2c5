/**
 * Answers with the documents about the gateway.
 */
import * as Effect from "effect/Effect"
import * as HttpApiBuilder from "effect/http-api/HttpApiBuilder"
import type * as HttpServerRequest from "effect/http/HttpServerRequest"
import { type Documents, type RegistryEntry, SelfDescription } from "../documents/SelfDescription.ts"
import { Api } from "../rest/Api.ts"
import { NotFound } from "../rest/Problems.ts"

const official = "io.modelcontextprotocol.registry/official"

const isVersion = (version: string, { server }: RegistryEntry): boolean =>
  version === "latest" || version === server.version

const page = (servers: ReadonlyArray<RegistryEntry>) => ({ servers, metadata: { count: servers.length } })

export const layer = HttpApiBuilder.group(
  Api,
  "documents",
  Effect.fnUntraced(function*(handlers) {
    const self = yield* SelfDescription

    const published = (request: HttpServerRequest.HttpServerRequest): Effect.Effect<Documents, NotFound> => {
      // Nothing but a host was looked at when it was let in.
      const documents = self.documents(new URL(`http://${request.headers["host"]}`).host)
      return documents === undefined
        ? Effect.fail(new NotFound({ detail: "this gateway publishes nothing about itself (gateway.documents)" }))
        : Effect.succeed(documents)
    }

    const entry = (request: HttpServerRequest.HttpServerRequest, name: string) =>
      Effect.flatMap(published(request), ({ entry }) =>
        name === entry.server.name
          ? Effect.succeed(entry)
          : Effect.fail(new NotFound({ detail: `the only server here is ${entry.server.name}` })))

    return handlers.handleAll({
      card: ({ request }) => Effect.map(published(request), ({ card }) => card),
      catalog: ({ request }) => Effect.map(published(request), ({ catalog }) => catalog),
      servers: ({ query, request }) =>
        Effect.map(published(request), ({ entry }) => {
          const { cursor = "", search = "", updated_since: since, version = "latest" } = query
          const asked = cursor === "" &&
            entry.server.name.toLowerCase().includes(search.toLowerCase()) &&
            isVersion(version, entry) &&
            (since === undefined || Date.parse(entry._meta[official].updatedAt) >= Date.parse(since))
          return page(asked ? [entry] : [])
        }),
      versions: ({ params, request }) => Effect.map(entry(request, params.name), (entry) => page([entry])),
      version: ({ params, request }) =>
        Effect.flatMap(entry(request, params.name), (entry) =>
          isVersion(params.version, entry)
            ? Effect.succeed(entry)
            : Effect.fail(new NotFound({ detail: `its only version is ${entry.server.version}` })))
    })
  })
)

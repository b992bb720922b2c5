import { assert, describe, it } from "@effect/vitest"
import { Gateway } from "@portolan/gateway/Gateway"
import { Validator } from "@seriousme/openapi-schema-validator"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import { ask, fleet } from "./fleet.ts"

const Operation = Schema.Struct({
  operationId: Schema.String,
  summary: Schema.String,
  parameters: Schema.Array(Schema.Struct({ name: Schema.String, in: Schema.String })),
  responses: Schema.Record(Schema.String, Schema.Unknown),
  security: Schema.Array(Schema.Unknown)
})
const Document = Schema.Struct({
  openapi: Schema.String,
  paths: Schema.Record(Schema.String, Schema.Record(Schema.String, Operation)),
  components: Schema.Struct({ securitySchemes: Schema.Record(Schema.String, Schema.Unknown) })
})

describe("OpenAPI", () => {
  it.live("describes every operation, its parameters and its problems", () =>
    Effect.gen(function*() {
      const { port } = yield* Gateway
      const { json } = yield* ask(port, "/api/v1/openapi.json")
      const result = yield* Effect.promise(() => new Validator().validate(Object(json)))
      assert.isTrue(result.valid, JSON.stringify(result.errors, null, 2))

      const { components, openapi, paths } = Schema.decodeUnknownSync(Document)(json)
      assert.match(openapi, /^3\.1/)
      const operations = Object.entries(paths).flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, operation]) => ({
          name: `${method} ${path.replace(/^\/api\/v1/, "")}`,
          ...operation
        }))
      )
      assert.sameMembers(operations.map(({ name }) => name), [
        "get /status",
        "get /access",
        "get /configuration",
        "get /services",
        "get /services/{service}",
        "get /services/{service}/health",
        "get /services/{service}/tools",
        "get /instances",
        "post /instances",
        "get /instances/{id}",
        "put /instances/{id}",
        "delete /instances/{id}",
        "get /instances/{id}/health",
        "put /instances/{id}/mark",
        "post /instances/{id}/check",
        "get /tools",
        "get /tools/{name}",
        "get /sources",
        "get /report",
        "get /health",
        "get /explain",
        "post /refresh",
        "post /configuration/validate",
        "get /events",
        "get /changes",
        "get /reports/series",
        "get /mcp/server-card",
        "get /.well-known/ai-catalog.json",
        "get /v0.1/servers",
        "get /v0.1/servers/{name}/versions",
        "get /v0.1/servers/{name}/versions/{version}"
      ])
      assert.deepEqual(components.securitySchemes, { token: { type: "http", scheme: "Bearer" } })
      for (const { name, parameters, responses, security } of operations) {
        const read = name.startsWith("get ")
        assert.deepEqual(security, read ? [] : [{ token: [] }], name)
        const expected = read ? ["400", "406", "500"] : ["400", "401", "403", "406", "500"]
        assert.includeMembers(Object.keys(responses), expected, name)
        // Each name in the path is a parameter.
        for (const [, key] of name.matchAll(/\{(\w+)\}/g)) {
          assert.isTrue(parameters.some((parameter) => parameter.in === "path" && parameter.name === key), name)
        }
      }
      const names = (name: string) =>
        operations.find((operation) => operation.name === name)?.parameters.map((parameter) => parameter.name)
      assert.includeMembers(names("get /instances") ?? [], ["limit", "cursor", "q", "service", "tags", "health"])
      assert.includeMembers(names("put /instances/{id}") ?? [], ["id", "registry", "ttl", "if-match"])
      assert.includeMembers(names("get /events") ?? [], ["topics", "last-event-id"])
      const events = operations.find(({ name }) => name === "get /events")
      assert.include(JSON.stringify(events?.responses["200"]), "text/event-stream")
    }).pipe(Effect.provide(fleet({}))))

  it.live("is browsable without a network", () =>
    Effect.gen(function*() {
      const { port } = yield* Gateway
      const { headers, text } = yield* ask(port, "/api/docs")
      const policy = String(headers["content-security-policy"])
      assert.match(policy, /^default-src 'none';/)
      assert.notMatch(policy, /https?:|\*/)
      assert.include(text, "\"withDefaultFonts\":false")
      // Tags that would load something; the script itself stands in the page.
      const head = text.replace(/<script[^>]*>[^]*?<\/script>/g, (script) => script.slice(0, script.indexOf(">") + 1))
      const loaded = Array.from(
        head.matchAll(/<(?:script|link|img|iframe)[^>]*\s(?:src|href)\s*=\s*["']?([^"'\s>]+)/g),
        ([, url]) => url
      )
      assert.deepEqual(loaded, [])
      assert.isAbove(text.length, 1_000_000)
    }).pipe(Effect.provide(fleet({}))))
})

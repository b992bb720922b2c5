/**
 * What the gateway publishes about itself, as a client finds it that knows nothing but an address.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Gateway from "@portolan/gateway/Gateway"
import * as Effect from "effect/Effect"
import { ask, fleet, type FleetOptions } from "./fleet.ts"
import { fields, problem } from "./rest.ts"

const withGateway = <A, E>(options: FleetOptions, use: (gateway: Gateway.Gateway["Service"]) => Effect.Effect<A, E>) =>
  Effect.provide(Effect.flatMap(Gateway.Gateway, use), fleet(options))

const list = (value: unknown): ReadonlyArray<Readonly<Record<string, unknown>>> =>
  Array.isArray(value) ? value.map(fields) : assert.fail("expected a list")

const paths = ["/mcp/server-card", "/.well-known/ai-catalog.json", "/v0.1/servers"]

/** The patterns of `server.schema.json` of 2025-12-11, which the server card shares. */
const assertServer = (server: Readonly<Record<string, unknown>>): void => {
  assert.match(String(server["name"]), /^[a-zA-Z0-9.-]+\/[a-zA-Z0-9._-]+$/)
  assert.isAtMost(String(server["description"]).length, 100)
  assert.match(String(server["$schema"]), /^https:\/\/static\.modelcontextprotocol\.io\/schemas\//)
  for (const { url } of list(server["remotes"])) assert.isTrue(URL.canParse(String(url)))
}

describe("documents about the gateway", () => {
  it.live("lead from its domain over the card to its endpoint", () =>
    withGateway(
      { publicUrl: "https://mcp.example.com/tools/", version: "1.2.3" },
      ({ port }) =>
        Effect.gen(function*() {
          const catalog = yield* ask(port, "/.well-known/ai-catalog.json")
          assert.strictEqual(catalog.headers["content-type"], "application/ai-catalog+json")
          const { entries, specVersion } = fields(catalog.json)
          assert.match(String(specVersion), /^\d+\.\d+$/)
          assert.deepStrictEqual(list(entries), [{
            identifier: "urn:air:mcp.example.com:mcp:portolan",
            displayName: "Portolan",
            type: "application/mcp-server-card+json",
            mediaType: "application/mcp-server-card+json",
            url: "https://mcp.example.com/tools/mcp/server-card"
          }])

          const headers = { accept: "application/mcp-server-card+json" }
          const card = yield* ask(port, "/mcp/server-card", { headers })
          assert.strictEqual(card.headers["content-type"], "application/mcp-server-card+json")
          const said = fields(card.json)
          assertServer(said)
          assert.strictEqual(said["name"], "com.example.mcp/portolan")
          assert.strictEqual(said["version"], "1.2.3")
          assert.deepStrictEqual(list(said["remotes"]), [{
            type: "streamable-http",
            url: "https://mcp.example.com/tools/mcp",
            supportedProtocolVersions: ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
          }])
        })
    ))

  it.live("are an MCP registry with one server", () =>
    withGateway(
      { publicUrl: "https://example.com", version: "1.2.3", sse: true },
      ({ port }) =>
        Effect.gen(function*() {
          const page = yield* ask(port, "/v0.1/servers?limit=30&version=latest")
          assert.strictEqual(page.headers["content-type"], "application/json")
          const { metadata, servers } = fields(page.json)
          assert.deepStrictEqual(metadata, { count: 1 })
          const [entry] = list(servers)
          const server = fields(entry?.["server"])
          assertServer(server)
          assert.strictEqual(server["name"], "com.example/portolan")
          assert.deepStrictEqual(server["remotes"], [
            { type: "streamable-http", url: "https://example.com/mcp" },
            { type: "sse", url: "https://example.com/sse" }
          ])
          const { isLatest, status, updatedAt } = fields(
            fields(entry?.["_meta"])["io.modelcontextprotocol.registry/official"]
          )
          assert.deepStrictEqual([isLatest, status], [true, "active"])

          const versions = "/v0.1/servers/com.example%2Fportolan/versions"
          assert.deepStrictEqual((yield* ask(port, versions)).json, page.json)
          for (const version of ["latest", "1.2.3"]) {
            assert.deepStrictEqual((yield* ask(port, `${versions}/${version}`)).json, entry, version)
          }
          const other = problem(yield* ask(port, "/v0.1/servers/com.example%2Fother/versions"), 404)
          assert.strictEqual(other.detail, "the only server here is com.example/portolan")
          assert.strictEqual(problem(yield* ask(port, `${versions}/9.9.9`), 404).detail, "its only version is 1.2.3")

          problem(yield* ask(port, "/v0.1/servers/%ZZ/versions"), 404)

          const count = (query: string) =>
            Effect.map(ask(port, `/v0.1/servers?${query}`), ({ json }) => fields(fields(json)["metadata"])["count"])
          for (
            const query of [
              "search=PORT",
              "version=1.2.3",
              "include_deleted=true",
              "cursor=",
              `updated_since=${updatedAt}`
            ]
          ) {
            assert.strictEqual(yield* count(query), 1, query)
          }
          for (const query of ["search=weather", "version=1.2.4", "cursor=x", "updated_since=2999-01-01T00:00:00Z"]) {
            assert.strictEqual(yield* count(query), 0, query)
          }
          for (const query of ["limit=0", "limit=x", "updated_since=yesterday", "sort=name"]) {
            problem(yield* ask(port, `/v0.1/servers?${query}`), 400)
          }
        })
    ))

  it.live("name the host that was asked, where no address is configured", () =>
    withGateway({ allowedHosts: ["gateway.internal", "mcp_gateway"] }, ({ port }) =>
      Effect.gen(function*() {
        const card = (host: string) =>
          Effect.map(ask(port, "/mcp/server-card", { headers: { host } }), ({ json, text }) => {
            const { name, remotes } = fields(json ?? assert.fail(text))
            assertServer(fields(json))
            return [name, list(remotes)[0]?.["url"]]
          })
        for (const host of ["127.0.0.1", "localhost", "[::1]"]) {
          assert.deepStrictEqual(yield* card(`${host}:${port}`), ["localhost/portolan", `http://${host}:${port}/mcp`])
        }
        assert.deepStrictEqual(yield* card("gateway.internal"), [
          "internal.gateway/portolan",
          "http://gateway.internal/mcp"
        ])
        assert.deepStrictEqual(yield* card("mcp_gateway"), ["mcp-gateway/portolan", "http://mcp_gateway/mcp"])
        // Of what somebody writes beside it nothing is repeated.
        for (const host of [`evil@localhost:${port}`, `localhost:${port}/evil?#`]) {
          assert.deepStrictEqual(yield* card(host), ["localhost/portolan", `http://localhost:${port}/mcp`])
        }
        // Nobody's DNS makes them name somebody else.
        problem(yield* ask(port, "/mcp/server-card", { headers: { host: "evil.example" } }), 403)
      })))

  it.live("say nothing that is secret of the gateway's address", () =>
    withGateway(
      { publicUrl: "https://user:hush@mcp.example.com/tools?key=hush" },
      ({ port }) =>
        Effect.gen(function*() {
          for (const path of paths) {
            const { text } = yield* ask(port, path)
            assert.include(text, "https://mcp.example.com/tools/mcp", path)
            assert.notInclude(text, "hush", path)
          }
        })
    ))

  it.live("are answered as the rest of the API is", () =>
    withGateway(
      { publicUrl: "https://mcp.example.com", allowedOrigins: ["https://app.example.com"] },
      ({ port }) =>
        Effect.gen(function*() {
          for (const path of paths) {
            const first = yield* ask(port, path, { headers: { origin: "https://app.example.com" } })
            assert.strictEqual(first.headers["access-control-allow-origin"], "https://app.example.com", path)
            const etag = String(first.headers["etag"])
            const again = yield* ask(port, path, { headers: { "if-none-match": etag } })
            assert.deepStrictEqual([again.status, again.text], [304, ""], path)
            const head = yield* ask(port, path, { method: "HEAD" })
            assert.deepStrictEqual([head.status, head.text, head.headers["etag"]], [200, "", etag], path)
            for (const accept of ["*/*", "application/*", "application/json", "text/html, application/json;q=0.5"]) {
              assert.strictEqual((yield* ask(port, path, { headers: { accept } })).status, 200, `${path} ${accept}`)
            }
            problem(yield* ask(port, path, { headers: { accept: "text/html" } }), 406)
            const posted = yield* ask(port, path, { method: "POST" })
            problem(posted, 405)
            assert.strictEqual(posted.headers["allow"], "GET", path)
          }
        })
    ))

  it.live("can be kept back, while it runs too", () =>
    withGateway({ documents: false }, (gateway) =>
      Effect.gen(function*() {
        const told = (path: string) => Effect.map(ask(gateway.port, path), ({ status }) => status)
        for (const path of [...paths, "/v0.1/servers/localhost%2Fportolan/versions/latest"]) {
          assert.match(problem(yield* ask(gateway.port, path), 404).detail, /gateway\.documents/)
        }
        yield* gateway.reconfigure({ port: 0, documents: true, publicUrl: "https://example.com" })
        assert.deepStrictEqual(yield* Effect.forEach(paths, told), [200, 200, 200])
        yield* gateway.reconfigure({ port: 0, documents: false })
        assert.deepStrictEqual(yield* Effect.forEach(paths, told), [404, 404, 404])
      })))
})

import { assert, describe, it } from "@effect/vitest"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Result from "effect/Result"
import { redact } from "../src/internal/redact.ts"

const parse = (text: string, env: Record<string, string> = {}) =>
  Configuration.parse(text, { adapters: [], env, directory: "/work", file: "portolan.yaml" })

const endpointOf = (entry: string, env: Record<string, string> = {}) =>
  Result.getOrThrowWith(parse(`mcpServers: {a: ${entry}}`, env), (error) => new Error(error.message)).servers[0]
    ?.endpoint

const mistakes = (entry: string): ReadonlyArray<string> => {
  const result = parse(`mcpServers: {a: ${entry}}`)
  return Result.isFailure(result)
    ? result.failure.mistakes.map(({ column, line, message, path }) => `${line}:${column} ${path}: ${message}`)
    : []
}

const url = "https://example.test/mcp"

describe("the types of a server", () => {
  it.each([
    ["http", url, "streamable-http"],
    ["streamable-http", url, "streamable-http"],
    ["sse", url, "sse"],
    ["ws", "wss://example.test", "websocket"],
    ["websocket", "wss://example.test", "websocket"]
  ])("%s", (type, url, transport) => {
    assert.strictEqual(JSON.stringify(endpointOf(`{type: ${type}, url: "${url}"}`)), JSON.stringify({ transport, url }))
  })
})

describe("tls", () => {
  it("names files of the configuration's directory, and references", () => {
    assert.deepStrictEqual(
      endpointOf(
        `{url: "${url}", tls: {ca: ca.pem, cert: {file: c.pem}, key: {env: KEY}, passphrase: "\${P}", serverName: x}}`,
        { P: "secret" }
      ),
      {
        transport: "streamable-http",
        url,
        tls: {
          serverName: "x",
          ca: "/work/ca.pem",
          cert: { file: "/work/c.pem" },
          key: { env: "KEY" },
          passphrase: "secret"
        }
      }
    )
  })

  it.each([
    [`{url: "${url}", tls: {cert: a.pem}}`, "{cert", "tls: `cert` and `key` belong together"],
    [`{url: "${url}", tls: {cer: a.pem}}`, "cer:", "tls.cer: unknown key; did you mean \"cert\"?"],
    [`{url: "${url}", tls: {ca: 3}}`, "3}", "tls.ca: expected a text, {env: …} or {file: …}"],
    [`{url: "http://x.test", tls: {ca: a.pem}}`, "{ca", "tls: `tls` needs a URL that begins with https or wss"],
    [`{command: x, tls: {ca: a.pem}}`, "{ca", "tls: `tls` has no meaning for a stdio server"]
  ])("refuses %s", (entry, at, expected) => {
    const column = "mcpServers: {a: ".length + entry.indexOf(at) + 1
    assert.strictEqual(mistakes(entry)[0], `1:${column} mcpServers.a.${expected}`)
  })
})

describe("secrets", () => {
  it("aren't shown: a text is hidden, a reference stays", () => {
    const shown = (clientSecret: string) => {
      const entry = `{url: "${url}", auth: {type: client-credentials, clientId: me, clientSecret: ${clientSecret}}, ` +
        "tls: {ca: a, passphrase: s3cr3t}}"
      const { servers } = Result.getOrThrowWith(parse(`mcpServers: {a: ${entry}}`), (error) => new Error(error.message))
      const [server] = servers
      return server === undefined ? "" : JSON.stringify(redact(server))
    }
    assert.notInclude(shown("s3cr3t"), "s3cr3t")
    assert.include(shown("s3cr3t"), "\"clientId\":\"me\"")
    assert.include(shown("{env: MAIL}"), "{\"env\":\"MAIL\"}")
  })
})

describe("auth", () => {
  it("is by client credentials, or by a person", () => {
    assert.deepStrictEqual(
      endpointOf(`{url: "${url}", auth: {type: client-credentials, clientId: me, clientSecret: {file: s.txt}}}`),
      {
        transport: "streamable-http",
        url,
        auth: { type: "client-credentials", clientId: "me", clientSecret: { file: "/work/s.txt" } }
      }
    )
    assert.deepStrictEqual(
      endpointOf(`{type: sse, url: "${url}", auth: {type: authorization-code, scope: read, store: t.json}}`),
      {
        transport: "sse",
        url,
        auth: { type: "authorization-code", scope: "read", store: "/work/t.json" }
      }
    )
  })

  it.each([
    [
      `{url: "${url}", auth: {type: client-credential}}`,
      "mcpServers.a.auth: expected type client-credentials (with clientId and clientSecret) or authorization-code"
    ],
    [`{url: "${url}", auth: {type: client-credentials, clientSecret: x}}`, "mcpServers.a.auth.clientId: missing"],
    [
      `{url: "${url}", auth: {type: authorization-code, stor: x}}`,
      "mcpServers.a.auth.stor: unknown key; did you mean \"store\"?"
    ],
    [
      `{url: "${url}", auth: {type: client-credentials, clientId: a, clientSecret: b, tokenUrl: c}}`,
      "mcpServers.a.auth.tokenUrl: expected an http(s) URL"
    ],
    [
      `{url: "${url}", headers: {authorization: x}, auth: {type: authorization-code}}`,
      "mcpServers.a.auth: expected either `auth` or a header Authorization, not both"
    ]
  ])("refuses %s", (entry, expected) => {
    const [first = ""] = mistakes(entry)
    assert.include(first, expected)
    assert.match(first, /^1:\d+ /)
  })
})

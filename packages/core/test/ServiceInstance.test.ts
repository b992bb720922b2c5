import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as ServiceInstance from "../src/ServiceInstance.ts"

const url = "http://10.0.0.7:8080/mcp"
const http = { transport: "streamable-http", url }
const minimal = { id: "w1", service: "weather", endpoint: http }

const reason = (input: unknown) => {
  const result = ServiceInstance.decode(input)
  return Result.isFailure(result) ? result.failure : "accepted"
}

describe("ServiceInstance", () => {
  it("fills in the defaults", () => {
    assert.deepStrictEqual(Result.getOrThrow(ServiceInstance.decode(minimal)), {
      id: "w1",
      service: "weather",
      kind: "mcp-server",
      version: "0.0.0",
      endpoint: { transport: "streamable-http", url },
      capabilities: [],
      tags: [],
      tools: [],
      status: "up",
      weight: 1,
      priority: 0,
      tenants: ["*"],
      metadata: {}
    })
  })

  it("names every wrong field in one line", () => {
    const rows: ReadonlyArray<readonly [unknown, string]> = [
      [3, "expected object"],
      [{}, "id: missing key; service: missing key; endpoint: missing key"],
      [{ ...minimal, id: "half \ud800" }, "id: expected whole characters"],
      [{ ...minimal, endpoint: { ...http, url: "ftp://x" } }, "endpoint.url: expected an http(s) URL"],
      [{ ...minimal, weight: -1 }, "weight: expected a value greater than or equal to 0"],
      [{ ...minimal, status: "gone" }, `status: expected "up" | "draining" | "down"`],
      [{ ...minimal, health: { interval: "3x" } }, "health.interval: expected a duration such as 250ms, 30s or 5m"],
      [{ ...minimal, limits: { maxConcurrency: 0 } }, "limits.maxConcurrency: expected a value greater than 0"]
    ]
    for (const [input, expected] of rows) assert.include(reason(input), expected)
    assert.include(reason({ ...minimal, endpoint: { transport: "carrier-pigeon" } }), "transport streamable-http")
  })

  it("accepts every transport and secret references", () => {
    const endpoints: ReadonlyArray<unknown> = [
      { ...http, headers: { Authorization: { env: "TOKEN" }, "X-Plain": "a" } },
      { transport: "sse", url },
      { transport: "websocket", url: "wss://example.com/mcp" },
      { transport: "stdio", command: "node", args: ["server.js"], env: { KEY: { file: "/run/secret" } }, cwd: "/tmp" },
      { transport: "a2a", card: "https://example.com/.well-known/agent-card.json" },
      { transport: "in-process" }
    ]
    for (const endpoint of endpoints) assert.strictEqual(reason({ ...minimal, endpoint }), "accepted")
  })

  it("TLS and authorisation are kept as they stand, and checked", () => {
    const tls = { ca: "ca.pem", cert: { file: "c.pem" }, key: { env: "KEY" }, serverName: "x", "x-mine": 1 }
    const auths = [
      { type: "client-credentials", clientId: "me", clientSecret: { env: "S" }, scope: "a b", "x-mine": 1 },
      { type: "authorization-code", store: "token.json" }
    ] as const
    for (const transport of ["streamable-http", "sse", "websocket"] as const) {
      for (const auth of auths) {
        const endpoint = { transport, url, tls, auth }
        const decoded = Result.getOrThrow(ServiceInstance.decode({ ...minimal, endpoint }))
        assert.isTrue(ServiceInstance.equals(decoded.endpoint, endpoint))
      }
    }
    const wrong = (more: object) => reason({ ...minimal, endpoint: { transport: "sse", url, ...more } })
    assert.match(wrong({ tls: { cert: "c.pem" } }), /^endpoint\.tls: .*`cert` and `key`/)
    assert.match(wrong({ tls: { ca: 3 } }), /^endpoint\.tls\.ca: expected the path of a PEM file/)
    assert.match(wrong({ auth: { type: "basic" } }), /^endpoint\.auth: expected type client-credentials/)
    assert.match(
      wrong({ auth: { type: "client-credentials", clientId: "me" } }),
      /^endpoint\.auth\.clientSecret: missing/
    )
  })

  it("fields that Portolan does not know survive, at every level", () => {
    const json = fc.dictionary(fc.stringMatching(/^x[a-z]{1,6}$/), fc.jsonValue(), { maxKeys: 4 })
    fc.assert(fc.property(json, json, json, (top, endpoint, health) => {
      const decoded = ServiceInstance.make({
        ...top,
        ...minimal,
        endpoint: { ...endpoint, transport: "streamable-http", url },
        health: { ...health, path: "/health" }
      })
      const again = Result.getOrThrow(ServiceInstance.decode(JSON.parse(JSON.stringify(decoded))))
      assert.isTrue(ServiceInstance.equals(again, JSON.parse(JSON.stringify(decoded))))
      for (const key of Object.keys(top)) assert.isTrue(Object.hasOwn(decoded, key))
      for (const key of Object.keys(endpoint)) assert.isTrue(Object.hasOwn(decoded.endpoint, key))
      for (const key of Object.keys(health)) assert.isTrue(Object.hasOwn(decoded.health ?? {}, key))
    }))
  })

  it("equality looks at values, not at the order of keys", () => {
    fc.assert(fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      assert.isTrue(ServiceInstance.equals(a, structuredClone(a)))
      assert.strictEqual(ServiceInstance.equals(a, b), ServiceInstance.equals(b, a))
    }))
    assert.isTrue(ServiceInstance.equals({ a: 1, b: [{ c: 2, d: 3 }] }, { b: [{ d: 3, c: 2 }], a: 1 }))
    assert.isFalse(ServiceInstance.equals({ a: undefined }, { b: undefined }))
    assert.isFalse(ServiceInstance.equals([1, 2], [2, 1]))
    assert.isFalse(ServiceInstance.equals([], {}))
    // JSON writes both as 0, so a record that was stored and read again is the same record.
    assert.isTrue(ServiceInstance.equals({ a: [-0] }, JSON.parse(JSON.stringify({ a: [-0] }))))
  })

  it("two endpoints share a key exactly when a call to the one is a call to the other", () => {
    const key = (endpoint: typeof ServiceInstance.Endpoint.Encoded, id = "a") =>
      ServiceInstance.endpointKey(ServiceInstance.make({ id, service: "s", endpoint }))
    assert.strictEqual(key({ transport: "streamable-http", url }), key({ transport: "streamable-http", url }, "b"))
    assert.notStrictEqual(key({ transport: "streamable-http", url }), key({ transport: "sse", url }))
    assert.notStrictEqual(
      key({ transport: "stdio", command: "node", args: ["a b"] }),
      key({ transport: "stdio", command: "node", args: ["a", "b"] })
    )
    assert.notStrictEqual(key({ transport: "in-process" }), key({ transport: "in-process" }, "b"))
  })
})

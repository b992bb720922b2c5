import { assert, describe, it } from "@effect/vitest"
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import { documentsRegistry } from "@portolan/documents/promise"
import * as Effect from "effect/Effect"
import * as Host from "./Host.ts"

const serverCard = {
  $schema: "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
  name: "com.example/weather",
  version: "1.2.0",
  description: "Tells the weather",
  remotes: [{
    type: "streamable-http",
    url: "https://weather.example.com/mcp",
    supportedProtocolVersions: ["2025-11-25"]
  }]
}

describe("a server card", () => {
  it.live("is beside its MCP endpoint, or where its address says", () =>
    Effect.gen(function*() {
      const host = yield* Host.serve({
        "/mcp/server-card": serverCard,
        "/cards/weather.json": serverCard,
        "/server-card": serverCard
      })
      for (const path of ["/mcp", "/mcp/", "/mcp/server-card", "/cards/weather.json", ""]) {
        const { list } = yield* DocumentsRegistry.make({ serverCard: host.url + path })
        const { instances } = yield* list
        assert.deepStrictEqual(
          instances.map(({ endpoint, id, metadata, service, version }) => ({
            endpoint,
            id,
            metadata,
            service,
            version
          })),
          [{
            id: "com.example/weather",
            service: "com.example/weather",
            version: "1.2.0",
            endpoint: { transport: "streamable-http", url: "https://weather.example.com/mcp" },
            metadata: { description: "Tells the weather", protocolVersions: ["2025-11-25"] }
          }]
        )
      }
    }))

  it.live("that can't be reached is a failure in one line", () =>
    Effect.gen(function*() {
      const host = yield* Host.serve({})
      const { list } = yield* DocumentsRegistry.make({ serverCard: host.url.replace("http:", "https:") })
      assert.match((yield* Effect.flip(list)).detail, /server-card can't be reached: [^\n]*wrong version number[^\n]*$/)
    }))

  it.live("that is none is a failure that tells why", () =>
    Effect.gen(function*() {
      const host = yield* Host.serve({ "/server-card": { ...serverCard, name: undefined, remotes: [{ type: "sse" }] } })
      const { list } = yield* DocumentsRegistry.make({ serverCard: host.url })
      const { detail } = yield* Effect.flip(list)
      assert.match(detail, /server-card can't be read: .*name: missing.*; .*remotes\.0\.url: missing/i)
    }))
})

/** As version 1.0 of the protocol has it. */
const card1 = {
  name: "Recipe Agent",
  description: "Helps to cook",
  version: "1.0.0",
  provider: { url: "https://example.com", organization: "Example" },
  documentationUrl: "https://example.com/docs",
  capabilities: { streaming: true },
  securitySchemes: {},
  defaultInputModes: ["text/plain"],
  defaultOutputModes: ["text/plain"],
  skills: [
    { id: "cook", name: "Cook", description: "Cooks", tags: ["kitchen", "food"] },
    { id: "shop", name: "Shop", description: "Shops", tags: ["food"] }
  ],
  supportedInterfaces: [
    { url: "grpc.example.com:443", protocolBinding: "GRPC", protocolVersion: "1.0" },
    { url: "https://example.com/a2a", protocolBinding: "HTTP+JSON", protocolVersion: "1.0" },
    { url: "https://example.com/rpc", protocolBinding: "JSONRPC", protocolVersion: "1.0" }
  ],
  signatures: [{ protected: "x", signature: "y" }]
}

/** As version 0.3 has it. */
const card03 = {
  protocolVersion: "0.3.0",
  name: "Recipe Agent",
  description: "Helps to cook",
  url: "https://example.com/rpc",
  preferredTransport: "JSONRPC",
  additionalInterfaces: [{ url: "https://example.com/a2a", transport: "HTTP+JSON" }],
  version: "1.0.0",
  capabilities: {},
  defaultInputModes: [],
  defaultOutputModes: [],
  skills: []
}

const read = Effect.fnUntraced(function*(documents: Record<string, unknown>, path = "") {
  const host = yield* Host.serve(documents)
  const { list } = yield* DocumentsRegistry.make({ agentCard: host.url + path })
  return { host, ...(yield* list) }
})

describe("an agent card", () => {
  const wellKnown = "/.well-known/agent-card.json"

  it.live("of version 1.0 becomes an agent with its skills, at its first interface over HTTP", () =>
    Effect.gen(function*() {
      const { host, instances: [instance] } = yield* read({ [wellKnown]: card1 })
      assert.deepStrictEqual({ ...instance, metadata: { ...instance?.metadata } }, {
        id: "recipe-agent",
        service: "recipe-agent",
        kind: "agent",
        version: "1.0.0",
        endpoint: { transport: "a2a", card: host.url + wellKnown, interface: "https://example.com/a2a" },
        capabilities: ["cook", "shop"],
        tags: ["kitchen", "food"],
        tools: [],
        status: "up",
        weight: 1,
        priority: 0,
        tenants: ["*"],
        metadata: {
          title: "Recipe Agent",
          description: "Helps to cook",
          provider: "Example",
          websiteUrl: "https://example.com/docs",
          protocolVersion: "1.0"
        }
      })
    }))

  it.live("of version 0.3 says the same with other words", () =>
    Effect.gen(function*() {
      const endpoint = (change: object) =>
        Effect.map(read({ [wellKnown]: { ...card03, ...change } }), ({ instances: [instance], rejected: [rejected] }) =>
          instance === undefined
            ? rejected?.reason
            : [instance.endpoint["interface"], instance.metadata["protocolVersion"]])
      assert.deepStrictEqual(yield* endpoint({}), ["https://example.com/rpc", "0.3.0"])
      assert.deepStrictEqual(yield* endpoint({ preferredTransport: undefined }), ["https://example.com/rpc", "0.3.0"])
      assert.deepStrictEqual(yield* endpoint({ preferredTransport: "GRPC" }), ["https://example.com/a2a", "0.3.0"])
      // A card for clients of both versions.
      assert.deepStrictEqual(
        yield* endpoint({ supportedInterfaces: card1.supportedInterfaces }),
        ["https://example.com/a2a", "1.0"]
      )
      const none = "it has no interface that is JSONRPC or HTTP+JSON at an http(s) URL"
      assert.strictEqual(yield* endpoint({ url: undefined, additionalInterfaces: [] }), none)
      assert.strictEqual(yield* endpoint({ url: "ftp://example.com", additionalInterfaces: undefined }), none)
      assert.match(String(yield* endpoint({ url: "https://a:b@example.com" })), /user name or password/)
    }))

  it.live("is at the well-known place of a host, at the older one, or where its address says", () =>
    Effect.gen(function*() {
      const older = yield* read({ "/.well-known/agent.json": card03 })
      assert.strictEqual(older.instances[0]?.endpoint["card"], `${older.host.url}/.well-known/agent.json`)
      const own = yield* read({ "/agents/recipes": card1 }, "/agents/recipes")
      assert.strictEqual(own.instances.length, 1)
      const none = yield* Host.serve({})
      const { list } = yield* DocumentsRegistry.make({ agentCard: none.url })
      assert.match((yield* Effect.flip(list)).detail, /agent\.json answered HTTP 404$/)
    }))

  it.live("that is none is a failure that tells why", () =>
    Effect.gen(function*() {
      const host = yield* Host.serve({ [wellKnown]: { ...card1, name: "", skills: [{ id: 5 }] } })
      const { list } = yield* DocumentsRegistry.make({ agentCard: host.url })
      assert.match((yield* Effect.flip(list)).detail, /can't be read: name: .*; skills\.0\.id: /)
    }))
})

describe("the settings", () => {
  for (
    const [what, options, expected] of [
      ["no URL", { catalog: "example.com" }, /catalog: expected an http\(s\) URL$/],
      ["another kind of URL", { agentCard: "ftp://example.com" }, /agentCard: expected an http\(s\) URL$/],
      [
        "a password",
        { serverCard: "https://me:pa55@example.com" },
        /serverCard: a user name or password can't be part/
      ],
      ["TLS without it", { mcpRegistry: "http://x.example.com", tls: {} }, /tls: expected an https address/],
      [
        "no network",
        { catalog: "https://x.example.com", allowNetworks: ["10.0.0.0/33"] },
        /allowNetworks: expected a network/
      ]
    ] as const
  ) {
    it.effect(`are refused with a line: ${what}`, () =>
      Effect.gen(function*() {
        const error = yield* Effect.flip(DocumentsRegistry.make(options))
        assert.match(error.message, expected)
        assert.notInclude(error.message, "pa55")
      }))
  }

  it.effect("name the registry by what it reads", () =>
    Effect.gen(function*() {
      const name = (options: DocumentsRegistry.DocumentsRegistryOptions) =>
        Effect.map(DocumentsRegistry.make(options), ({ name }) => name)
      assert.deepStrictEqual(
        yield* Effect.all([
          name({ mcpRegistry: "https://registry.example.com/v1" }),
          name({ catalog: "https://example.com:8443" }),
          name({ serverCard: "https://example.com/mcp", name: "ours" })
        ]),
        ["mcp-registry registry.example.com", "catalog example.com:8443", "ours"]
      )
      const { name: plain, open } = documentsRegistry({ agentCard: "https://agents.example.com" })
      assert.deepStrictEqual([plain, (yield* open).name], Array(2).fill("agent-card agents.example.com"))
    }))
})

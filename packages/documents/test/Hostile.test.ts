import { assert, describe, it } from "@effect/vitest"
import * as IpSet from "@portolan/core/IpSet"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as AgentCard from "../src/internal/agentCard.ts"
import * as AiCatalog from "../src/internal/aiCatalog.ts"
import type { Get } from "../src/internal/http.ts"
import * as McpRegistry from "../src/internal/mcpRegistry.ts"
import * as Reach from "../src/internal/reach.ts"
import * as ServerCard from "../src/internal/serverCard.ts"

const home = new URL("https://example.com/document.json")
const source = {
  home,
  terms: {
    given: { tenant: "acme" },
    reach: Reach.make({ allow: IpSet.empty, everywhere: false }),
    mayRun: true
  }
}

const card = {
  name: "com.example/weather",
  version: "1.0.0",
  title: "Weather",
  repository: { url: "https://git.example.com", source: "git" },
  remotes: [{
    type: "streamable-http",
    url: "https://{tenant}.example.com/mcp",
    variables: { tenant: { isRequired: true, choices: ["acme"] } },
    headers: [{ name: "X-A", value: "{b}", variables: { b: { default: "c" } } }]
  }]
}
const run = {
  ...card,
  remotes: [],
  packages: [{
    registryType: "npm",
    identifier: "weather",
    version: "1.0.0",
    transport: { type: "stdio" },
    packageArguments: [{ type: "named", name: "--a", value: "b" }, { type: "positional", valueHint: "tenant" }],
    environmentVariables: [{ name: "KEY", isRequired: true, isSecret: true }]
  }]
}
const agent = {
  name: "Weather",
  version: "1.0.0",
  skills: [{ id: "tell", tags: ["weather"] }],
  supportedInterfaces: [{ url: "https://example.com/a2a", protocolBinding: "JSONRPC", protocolVersion: "1.0" }],
  url: "https://example.com/a2a",
  additionalInterfaces: [{ url: "https://example.com", transport: "HTTP+JSON" }]
}
const _meta = { "io.modelcontextprotocol.registry/official": { status: "active", updatedAt: "2026-01-01T00:00:00Z" } }

const documents = [
  ["an MCP registry", McpRegistry.reader, { servers: [{ server: card, _meta }, { server: run, _meta }], metadata: {} }],
  ["a catalog", AiCatalog.reader, {
    specVersion: "1.0",
    entries: [
      { identifier: "urn:x:a", type: ServerCard.mediaType, data: card },
      { identifier: "urn:x:b", mediaType: AgentCard.mediaType, data: agent, version: "1", tags: ["a"] },
      { identifier: "urn:x:c", type: AiCatalog.mediaType, data: { specVersion: "1.0", entries: [] } },
      { identifier: "urn:x:d", type: AiCatalog.mediaType, url: "/nested.json" }
    ]
  }],
  ["a server card", ServerCard.reader, card],
  ["an agent card", AgentCard.reader, agent]
] as const

const texts = [
  ["{constructor}", "{__proto__}", "{tenant}", "{}", "{{tenant}}", "\u0000", "../..", "//", "http://[", "javascript:1"],
  ["http://169.254.169.254/", "https://user:pass@example.com", "2026-13-01", "-271821-04-20T00:00:00.000Z"]
].flat()

const poison = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.string({ unit: "binary" }),
  fc.constantFrom(...texts, "x".repeat(5000)),
  fc.constant(JSON.parse(`{"__proto__": {"isSecret": true}, "constructor": {"value": "x"}, "toString": 1}`))
)

/** The value with its nth part, counted from the outside, replaced. */
const replaced = (value: unknown, nth: number, by: unknown): unknown => {
  let left = nth
  const copy = (part: unknown): unknown => {
    if (left-- === 0) return by
    if (Array.isArray(part)) return part.map(copy)
    if (!Predicate.isObject(part)) return part
    return Object.fromEntries(Object.entries(part).map(([key, inner]) => [key, copy(inner)]))
  }
  return copy(value)
}

const partsOf = (value: unknown): number =>
  1 + (typeof value === "object" && value !== null
    ? Object.values(value).reduce((sum: number, part) => sum + partsOf(part), 0)
    : 0)

describe("a document with anything in the place of any part", () => {
  for (const [what, reader, document] of documents) {
    it(`is read, or refused with a line: ${what}`, () =>
      fc.assert(
        fc.property(fc.nat(partsOf(document) - 1), poison, (nth, by) => {
          const text = JSON.stringify(replaced(document, nth, by)) ?? "null"
          const get: Get = ({ url }) => Effect.succeed({ url, etag: undefined, text })
          const once = reader(source)
          // Twice: what was read decides how it is read again.
          const read = Effect.runSync(Effect.result(Effect.andThen(once(get), once(get))))
          if (Result.isFailure(read)) {
            assert.isFalse(/\n/.test(read.failure.reason), read.failure.reason)
            return
          }
          for (const instance of read.success.instances) {
            assert.isTrue(Result.isSuccess(ServiceInstance.decode(instance)))
            if (!("url" in instance.endpoint)) continue
            assert.isUndefined(source.terms.reach.refusal(home, new URL(String(instance.endpoint.url))))
          }
          for (const { reason } of read.success.rejected) assert.isAbove(reason.length, 0)
        }),
        { numRuns: 1000 }
      ))
  }
})

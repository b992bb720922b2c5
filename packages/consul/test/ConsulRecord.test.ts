import { assert, describe, it } from "@effect/vitest"
import * as ConsulRecord from "@portolan/consul/ConsulRecord"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as ScriptedConsul from "./ScriptedConsul.ts"

const text = fc.string({ minLength: 1, maxLength: 40, unit: "grapheme" })
const key = fc.oneof(
  fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/),
  text,
  fc.constantFrom("version", "weight", "consul-x", "portolan-record-0")
)
const url = fc.tuple(
  fc.constantFrom("http", "https"),
  fc.constantFrom("10.0.0.7", "weather.example.com", "[2001:db8::1]"),
  fc.constantFrom("", ":8080", ":443"),
  fc.constantFrom("", "/mcp", "/a/b?c=d", "/%20")
).map(([scheme, host, port, path]) => `${scheme}://${host}${port}${path}`)

const instances = fc.record({
  id: text,
  service: text,
  endpoint: fc.oneof(
    fc.record({ transport: fc.constantFrom("streamable-http", "sse", "websocket"), url }),
    fc.record({ transport: fc.constant("stdio"), command: text, args: fc.array(text, { maxLength: 3 }) }),
    fc.record({ transport: fc.constant("a2a"), card: url })
  ),
  kind: fc.constantFrom("mcp-server", "agent", "tool-provider"),
  version: fc.constantFrom("0.0.0", "1.4.0", ""),
  capabilities: fc.array(text, { maxLength: 40 }),
  tools: fc.array(text, { maxLength: 3 }),
  tags: fc.array(text, { maxLength: 3 }),
  status: fc.constantFrom("up", "draining", "down"),
  weight: fc.constantFrom(0, 1, 2.5),
  metadata: fc.dictionary(
    key,
    fc.oneof(text, fc.string({ minLength: 500, maxLength: 700 }), fc.integer(), fc.boolean()),
    { maxKeys: 5 }
  )
}, { requiredKeys: ["id", "service", "endpoint"] }).map((input) => Result.getOrThrow(ServiceInstance.decode(input)))

/** What Consul would answer after it was given this; fails where Consul would refuse. */
const stored = (instance: ServiceInstance.ServiceInstance) => {
  const registration = Result.getOrThrow(ConsulRecord.write(instance))
  assert.isAtMost(Object.keys(registration.Meta).length, 63)
  for (const [key, value] of Object.entries(registration.Meta)) {
    assert.match(key, /^(?!consul-)[A-Za-z0-9_-]{1,128}$/)
    assert.isAtMost(Buffer.byteLength(value), 512)
  }
  return {
    Node: { Node: "one", Address: "10.0.0.1" },
    Service: { ...registration, Service: registration.Name },
    Checks: []
  }
}

describe("ConsulRecord", () => {
  it("whatever is announced comes back as it was", () => {
    fc.assert(fc.property(instances, (instance) => {
      const back = Result.getOrThrow(ConsulRecord.read(stored(instance)))
      assert.isTrue(ServiceInstance.equals(back, instance), JSON.stringify(back))
    }))
  })

  it("a usual instance is written in plain fields", () => {
    const instance = ServiceInstance.make({
      id: "weather-1",
      service: "weather",
      version: "1.4.0",
      endpoint: { transport: "streamable-http", url: "https://10.0.0.7:8443/mcp" },
      capabilities: ["weather.forecast"],
      tags: ["prod"],
      zone: "a",
      metadata: { team: "sky" }
    })
    assert.deepStrictEqual(Result.getOrThrow(ConsulRecord.write(instance)), {
      ID: "weather-1",
      Name: "weather",
      Tags: ["prod"],
      Address: "10.0.0.7",
      Port: 8443,
      Meta: {
        "mcp-scheme": "https",
        "mcp-path": "/mcp",
        "mcp-transport": "streamable-http",
        kind: "mcp-server",
        version: "1.4.0",
        capabilities: "[\"weather.forecast\"]",
        zone: "a",
        team: "sky"
      }
    })
  })

  it("reads what an operator writes by hand", () => {
    const Meta = {
      "mcp-path": "tools",
      "mcp-transport": "sse",
      version: "2.0.0",
      kind: "agent",
      capabilities: "weather.current, weather.forecast",
      tools: "[\"get_forecast\"]",
      region: "eu",
      zone: "eu-1",
      weight: "0.5",
      team: "sky"
    }
    assert.deepStrictEqual(
      Result.getOrThrow(ConsulRecord.read(ScriptedConsul.entry("w", { Service: { Meta } }))),
      ServiceInstance.make({
        id: "w",
        service: "weather",
        endpoint: { transport: "sse", url: "http://10.0.0.9:8080/tools" },
        version: "2.0.0",
        kind: "agent",
        capabilities: ["weather.current", "weather.forecast"],
        tools: ["get_forecast"],
        tags: ["mcp"],
        region: "eu",
        zone: "eu-1",
        weight: 0.5,
        metadata: { team: "sky" }
      })
    )
  })

  it("C11 the node's address stands in for the one a service doesn't have", () => {
    const read = (Service: object, Node = {}) =>
      Result.map(ConsulRecord.read(ScriptedConsul.entry("w", { Service, Node })), ({ endpoint }) => endpoint)
    assert.deepStrictEqual(
      Result.getOrThrow(read({ Address: "" })),
      { transport: "streamable-http", url: "http://10.0.0.1:8080/mcp" }
    )
    assert.deepStrictEqual(
      Result.getOrThrow(read({ Address: "" }, { Address: "2001:db8::1" })),
      { transport: "streamable-http", url: "http://[2001:db8::1]:8080/mcp" }
    )
  })

  it("the checks say the status", () => {
    const status = (...Checks: ReadonlyArray<readonly [string, string]>) =>
      Result.getOrThrow(
        ConsulRecord.read(
          ScriptedConsul.entry("w", { Checks: Checks.map(([CheckID, Status]) => ({ CheckID, Status })) })
        )
      ).status
    assert.strictEqual(status(), "up")
    assert.strictEqual(status(["serfHealth", "passing"], ["service:w", "warning"]), "up")
    assert.strictEqual(status(["serfHealth", "passing"], ["service:w", "critical"]), "down")
    assert.strictEqual(status(["serfHealth", "critical"], ["service:w", "passing"]), "down")
    assert.strictEqual(status(["service:w", "critical"], ["_service_maintenance:w", "critical"]), "draining")
    assert.strictEqual(status(["_node_maintenance", "critical"]), "draining")
  })

  it("what can't be mapped is rejected with its reason", () => {
    const reason = (Service: object) =>
      Result.match(ConsulRecord.read(ScriptedConsul.entry("w", { Service })), {
        onFailure: (reason) => reason,
        onSuccess: () => ""
      })
    assert.strictEqual(reason({ Port: 0 }), "Port: the service has none")
    assert.include(reason({ Meta: { weight: "heavy" } }), "weight: ")
    assert.include(reason({ Meta: { kind: "cat" } }), "kind: ")
    assert.include(reason({ Meta: { "mcp-transport": "carrier-pigeon" } }), "endpoint")
    assert.strictEqual(reason({ Meta: { tools: "[1" } }), "tools: not JSON")
    assert.include(reason({ Meta: { tools: "[1]" } }), "tools.0: ")
    assert.strictEqual(reason({ Meta: { "portolan-record-0": "{" } }), "portolan-record-0: not JSON")
    assert.strictEqual(reason({ Meta: { "portolan-record-0": "null" } }), "portolan-record-0: not a record")
  })

  it("what can't be written down says why", () => {
    const reason = (input: Parameters<typeof ServiceInstance.make>[0]) =>
      Result.match(ConsulRecord.write(ServiceInstance.make(input)), {
        onFailure: (reason) => reason,
        onSuccess: () => ""
      })
    const endpoint = { transport: "in-process" } as const
    assert.include(reason({ id: "w", service: "weather", endpoint }), "in-process")
    assert.include(
      reason({
        id: "w",
        service: "weather",
        endpoint: { transport: "streamable-http", url: "http://10.0.0.1:1/mcp" },
        metadata: { big: "x".repeat(30_000) }
      }),
      "Consul holds no more than 24576"
    )
  })

  it("the same id on two nodes is two instances, and the older keeps it", () => {
    const on = (node: string, CreateIndex: number) =>
      ScriptedConsul.entry("weather", { Node: { Node: node, Address: "10.0.0.1" }, Service: { CreateIndex } })
    const { instances, rejected } = ConsulRecord.readAll([on("b", 9), on("a", 12), on("c", 7)])
    assert.deepStrictEqual(instances.map(({ id }) => id), ["weather", "weather@b", "weather@a"])
    assert.deepStrictEqual(rejected, [])
  })
})

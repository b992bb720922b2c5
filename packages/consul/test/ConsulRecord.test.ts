import { assert, describe, it } from "@effect/vitest"
import * as ConsulRecord from "@portolan/consul/ConsulRecord"
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Redacted from "effect/Redacted"
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
const stored = (instance: ServiceInstance.ServiceInstance, options?: ConsulRecord.WriteOptions) =>
  Effect.map(ConsulRecord.write(instance, options), (registration) => {
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
  })

const roundTrip = (options?: ConsulRecord.WriteOptions) =>
  Effect.promise(() =>
    fc.assert(fc.asyncProperty(instances, (instance) =>
      Effect.runPromise(Effect.gen(function*() {
        const found = yield* ConsulRecord.readAll([yield* stored(instance, options)], options?.format)
        assert.deepStrictEqual(found.rejected, [])
        assert.isTrue(ServiceInstance.equals(found.instances[0]!, instance), JSON.stringify(found.instances))
      }))))
  )

const keys = (...ids: ReadonlyArray<string>) =>
  ids.map((id) => ({ id, key: Redacted.make(Buffer.alloc(32, id).toString("base64")) }))

const check = (CheckID: string, Status: string) => ({ CheckID, Status })

describe("ConsulRecord", () => {
  it.effect("whatever is announced comes back as it was", () => roundTrip())

  it.effect("whatever is sealed comes back as it was", () =>
    Effect.flatMap(RecordFormat.sealed({ keys: keys("one") }), (format) => roundTrip({ format })))

  it.effect("a sealed record shows its id, its service and the tags that are asked for, nothing else", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: keys("one") })
      const instance = ServiceInstance.make({
        id: "weather-1",
        service: "weather",
        endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/secret" },
        tags: ["secret"],
        metadata: { note: "secret" }
      })
      const { Meta, ...fields } = yield* ConsulRecord.write(instance, { format, tags: ["mcp"] })
      assert.deepStrictEqual(fields, { ID: "weather-1", Name: "weather", Tags: ["mcp"], Address: "", Port: 0 })
      assert.isTrue(Object.keys(Meta).every((key) => key.startsWith("portolan-record-")))
      assert.notInclude(JSON.stringify(Meta), "secret")
    }))

  it.effect("where records are sealed, others are rejected, unless they need not be", () =>
    Effect.gen(function*() {
      const plain = ScriptedConsul.entry("plain")
      const sealed = yield* RecordFormat.sealed({ keys: keys("one") })
      const lax = yield* RecordFormat.sealed({ keys: keys("one"), required: false })
      const mine = ServiceInstance.make({
        id: "mine",
        service: "weather",
        endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }
      })
      const own = yield* stored(mine, { format: sealed })
      const stolen = { ...own, Service: { ...own.Service, ID: "stolen" } }
      const read = (format: RecordFormat.RecordFormat) => ConsulRecord.readAll([plain, own, stolen], format)
      const strict = yield* read(sealed)
      assert.deepStrictEqual(strict.instances, [mine])
      assert.deepStrictEqual(strict.rejected.map(({ id }) => id), ["plain", "stolen"])
      assert.deepStrictEqual((yield* read(lax)).instances.map(({ id }) => id), ["plain", "mine"])
    }))

  it.effect("a usual instance is written in plain fields", () => {
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
    return Effect.map(ConsulRecord.write(instance, { tags: ["mcp"] }), (written) =>
      assert.deepStrictEqual(written, {
        ID: "weather-1",
        Name: "weather",
        Tags: ["prod", "mcp"],
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
      }))
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

  it.effect("what can't be written down says why", () =>
    Effect.gen(function*() {
      const reason = (input: Parameters<typeof ServiceInstance.make>[0]) =>
        Effect.flip(ConsulRecord.write(ServiceInstance.make(input)))
      const endpoint = { transport: "in-process" } as const
      assert.include(yield* reason({ id: "w", service: "weather", endpoint }), "in-process")
      assert.include(
        yield* reason({
          id: "w",
          service: "weather",
          endpoint: { transport: "streamable-http", url: "http://10.0.0.1:1/mcp" },
          metadata: { big: "x".repeat(30_000) }
        }),
        "Consul holds no more than 24576"
      )
    }))

  it.effect("the same id on two nodes is two instances, and the older keeps it", () =>
    Effect.gen(function*() {
      const on = (node: string, CreateIndex: number) =>
        ScriptedConsul.entry("weather", { Node: { Node: node, Address: "10.0.0.1" }, Service: { CreateIndex } })
      const { instances, rejected } = yield* ConsulRecord.readAll([on("b", 9), on("a", 12), on("c", 7)])
      assert.deepStrictEqual(instances.map(({ id }) => id), ["weather", "weather@b", "weather@a"])
      assert.deepStrictEqual(rejected, [])
    }))

  it.effect("a record of ours whose own check is critical has expired, whatever the other checks say", () =>
    Effect.gen(function*() {
      const Meta = { [ConsulRecord.incarnationKey]: "first" }
      const found = (Checks: ReadonlyArray<{ readonly CheckID: string; readonly Status: string }>, Service = {}) =>
        Effect.map(
          ConsulRecord.readAll([ScriptedConsul.entry("w", { Service: { Meta, ...Service }, Checks })]),
          ({ expired, instances }) => [...instances.map(({ status }) => status), ...expired]
        )
      assert.deepStrictEqual(yield* found([check("portolan:w:first", "passing")]), ["up"])
      assert.deepStrictEqual(yield* found([check("portolan:w:first", "critical")]), ["w"])
      assert.deepStrictEqual(
        yield* found([check("serfHealth", "critical"), check("portolan:w:first", "critical")]),
        ["w"]
      )
      // Of somebody else, of another process, of somebody who only copied the name: all of them say that it is down.
      assert.deepStrictEqual(yield* found([check("service:w", "critical")]), ["down"])
      assert.deepStrictEqual(yield* found([check("portolan:w:second", "critical")]), ["down"])
      assert.deepStrictEqual(yield* found([check("portolan:w:first", "critical")], { Meta: {} }), ["down"])
    }))

  it.effect("an expired record gives up its id to one that lives", () =>
    Effect.gen(function*() {
      const on = (node: string, CreateIndex: number, Status: string) =>
        ScriptedConsul.entry("w", {
          Node: { Node: node, Address: "10.0.0.1" },
          Service: { CreateIndex, Meta: { [ConsulRecord.incarnationKey]: node } },
          Checks: [check(`portolan:w:${node}`, Status)]
        })
      const { expired, instances } = yield* ConsulRecord.readAll([on("a", 7, "critical"), on("b", 9, "passing")])
      assert.deepStrictEqual(instances.map(({ id }) => id), ["w"])
      assert.deepStrictEqual(expired, ["w@a"])
    }))
})

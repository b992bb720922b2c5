import { assert, describe, it } from "@effect/vitest"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as DnsSdRecord from "@portolan/dns-sd/DnsSdRecord"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { Buffer } from "node:buffer"

const announced = (txt: ReadonlyArray<string>, rest: Partial<DnsSdRecord.Announced> = {}): DnsSdRecord.Announced => ({
  instance: "Weather 1.0",
  host: "10.0.0.7",
  port: 8080,
  priority: 0,
  weight: 0,
  txt: txt.map((text) => Buffer.from(text)),
  ...rest
})

const identity = { name: "Weather Server", version: "2.0.0", protocolVersion: "2026-07-28" }
const instance = (fields: Partial<typeof ServiceInstance.ServiceInstance.Encoded> = {}) =>
  ServiceInstance.make({
    id: "weather-1",
    service: "weather",
    endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" },
    ...fields
  })

const read = (...args: Parameters<typeof DnsSdRecord.read>) =>
  Result.getOrThrowWith(DnsSdRecord.read(...args), (reason) => new Error(reason))
const write = (instance: ServiceInstance.ServiceInstance) =>
  Result.getOrThrowWith(DnsSdRecord.write(instance), (reason) => new Error(reason))
const reason = <A>(result: Result.Result<A, string>) =>
  Result.match(result, { onFailure: (reason) => reason, onSuccess: () => "taken" })
const texts = ({ txt }: DnsSdRecord.Announced) => txt.map((text) => Buffer.from(text).toString())

describe("what others announce", () => {
  it("is an MCP server at its host and port, of the name that it gives itself", () => {
    assert.deepStrictEqual(
      read(announced([])),
      instance({ id: "Weather 1.0", service: "weather-1.0" })
    )
    assert.deepStrictEqual(
      read(announced([]), identity),
      instance({ id: "Weather 1.0", service: "weather-server", version: "2.0.0" })
    )
  })

  it("is of the service of those that it was renamed to be beside", () => {
    for (const name of ["weather (2)", "weather #12"]) {
      assert.strictEqual(read(announced([], { instance: name })).service, "weather")
    }
  })

  it("says the rest in texts, in whatever case, of which the first counts", () => {
    const said = [
      "txtvers=1",
      "PATH=api/mcp",
      "path=/other",
      "proto=https",
      "version=1.2.3",
      "service=weather",
      "secure"
    ]
    assert.deepStrictEqual(
      read(announced([...said, "tags=prod, eu", "tools=[\"a,b\"]", "=nothing"], { priority: 2, weight: 10 }), identity),
      instance({
        id: "Weather 1.0",
        version: "1.2.3",
        endpoint: { transport: "streamable-http", url: "https://10.0.0.7:8080/api/mcp" },
        tags: ["prod", "eu"],
        tools: ["a,b"],
        priority: 2,
        weight: 10,
        metadata: { txtvers: "1", secure: "" }
      })
    )
  })

  it.each([
    ["proto=sse", { transport: "sse", url: "http://10.0.0.7:8080/mcp" }],
    ["transport=websocket", { transport: "websocket", url: "ws://10.0.0.7:8080/mcp" }],
    ["transport=a2a", { transport: "a2a", card: "http://10.0.0.7:8080/mcp" }],
    ["proto=mcp", { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }],
    ["path=//evil.example/mcp", { transport: "streamable-http", url: "http://10.0.0.7:8080//evil.example/mcp" }],
    ["path=@evil.example/mcp", { transport: "streamable-http", url: "http://10.0.0.7:8080/@evil.example/mcp" }]
  ])("with %s is reached at its own host", (text, endpoint) => {
    assert.deepStrictEqual<unknown>(read(announced([text])).endpoint, endpoint)
  })

  it("is reached with the name of its certificate", () => {
    const tls = {
      transport: "streamable-http",
      url: "https://10.0.0.7:8080/mcp",
      tls: { serverName: "weather.example" }
    }
    assert.deepStrictEqual<unknown>(read(announced(["proto=https", "host=weather.example"])).endpoint, tls)
    const written = write(instance({ endpoint: { transport: "streamable-http", url: "https://weather.example/mcp" } }))
    assert.deepStrictEqual(texts(written), ["path=/mcp", "proto=https", "host=weather.example", "service=weather"])
  })

  it("is at an IPv6 address too", () => {
    const { endpoint } = read(announced([], { host: "fd00::7" }))
    assert.deepStrictEqual<unknown>(endpoint, { transport: "streamable-http", url: "http://[fd00::7]:8080/mcp" })
  })

  it.each<[string, DnsSdRecord.Announced]>([
    ["port: there is none", announced([], { port: 0 })],
    ["its name holds control characters", announced([], { instance: "a\u001b[2J" })],
    ["transport: expected one of streamable-http, sse, websocket, a2a", announced(["transport=stdio"])],
    ["transport: expected one of streamable-http, sse, websocket, a2a", announced(["transport=in-process"])],
    ["tools: not JSON", announced(["tools=[x"])],
    ["portolan0: not JSON", announced(["portolan0={"])],
    ["portolan0: not a record", announced(["portolan0=7"])],
    ["status: expected", announced(["status=sideways"])]
  ])("is rejected: %s", (expected, announced) => {
    assert.include(reason(DnsSdRecord.read(announced)), expected)
  })

  it("can't say another address in a record that it carries", () => {
    const carried = JSON.stringify({ id: "other", endpoint: { transport: "stdio", command: "sh" }, zone: "a" })
    assert.deepStrictEqual(
      read(announced([`portolan0=${carried}`, "service=weather"])),
      instance({ id: "Weather 1.0", zone: "a" })
    )
  })
})

describe("what we announce", () => {
  it("is said in texts that others read", () => {
    const written = write(instance({ version: "1.4.0", capabilities: ["weather.current"], metadata: { gpu: "yes" } }))
    assert.deepStrictEqual(texts(written), [
      "path=/mcp",
      "proto=http",
      "service=weather",
      "version=1.4.0",
      "capabilities=[\"weather.current\"]",
      "gpu=yes"
    ])
    assert.strictEqual(`${written.instance} ${written.host}:${written.port}`, "weather-1 10.0.0.7:8080")
  })

  it("is carried whole where texts don't give it back", () => {
    for (
      const fields of [
        { tenants: ["acme"] },
        { limits: { maxConcurrency: 3 } },
        { weight: 0 },
        { weight: 1.5 },
        { priority: -1 },
        { metadata: { gpu: true } },
        { metadata: { GPU: "x", path: "y", "a=b": "z", "": "w" } },
        { metadata: { long: "ü".repeat(300) } },
        { tools: Array.from({ length: 40 }, (_, n) => `tool_${n}`) },
        { unheard: { of: 1 } }
      ]
    ) {
      const record = instance(fields)
      const written = write(record)
      assert.isTrue(written.txt.every((text) => text.length <= 255))
      assert.deepStrictEqual(read(written), record)
    }
  })

  it("comes back as it was", () => {
    const text = fc.string({ unit: "grapheme", maxLength: 40 })
    const words = fc.array(text, { maxLength: 4 })
    fc.assert(fc.property(
      fc.record({
        id: text.filter((id) => /^\P{Cc}+$/u.test(id) && id.isWellFormed() && Buffer.byteLength(id) <= 63),
        service: text.filter((service) => service !== "" && service.isWellFormed()),
        transport: fc.constantFrom("streamable-http" as const, "sse" as const),
        url: fc.webUrl({ withQueryParameters: true, validSchemes: ["http", "https"] }).map((url) => new URL(url).href),
        capabilities: words,
        tags: words,
        tools: words,
        zone: text,
        weight: fc.double({ min: 0, noNaN: true, max: 1e6 }),
        priority: fc.integer(),
        metadata: fc.dictionary(text, fc.oneof(text, fc.integer(), fc.boolean()))
      }),
      ({ transport, url, ...fields }) => {
        const record = ServiceInstance.make({ ...fields, endpoint: { transport, url } })
        const written = DnsSdRecord.write(record)
        if (Result.isFailure(written)) return assert.match(written.failure, /too long/)
        assert.isTrue(ServiceInstance.equals(read(written.success), record))
      }
    ))
  })

  it.each<[string, Partial<typeof ServiceInstance.ServiceInstance.Encoded>]>([
    ["id: as a name", { id: "x".repeat(64) }],
    ["id: as a name", { id: "a\tb" }],
    ["endpoint.transport: stdio is reached by nobody", { endpoint: { transport: "stdio", command: "sh" } }],
    ["endpoint.headers: it would be told to everybody", {
      endpoint: { transport: "sse", url: "http://10.0.0.7/", headers: { Authorization: "Bearer secret" } }
    }],
    ["endpoint.url: its user and password", { endpoint: { transport: "sse", url: "http://me:secret@10.0.0.7/" } }],
    ["too long for the network", { metadata: { long: "x".repeat(7000) } }]
  ])("is refused without a secret in the reason: %s", (expected, fields) => {
    const why = reason(DnsSdRecord.write(instance(fields)))
    assert.include(why, expected)
    assert.notInclude(why, "secret")
  })
})

import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Base64 from "effect/encoding/Base64"
import * as Base64Url from "effect/encoding/Base64Url"
import * as Predicate from "effect/Predicate"
import * as Redacted from "effect/Redacted"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import { Buffer } from "node:buffer"
import { createCipheriv, createDecipheriv } from "node:crypto"
import * as RecordFormat from "../src/RecordFormat.ts"
import type { ServiceInstance } from "../src/ServiceInstance.ts"
import * as ServiceInstances from "../src/ServiceInstance.ts"
import { instance } from "./fixtures/scripted.ts"

const place: RecordFormat.Place = { id: "weather-1", service: "weather" }

const read = (value: unknown, at: RecordFormat.Place = place) =>
  RecordFormat.plain.read(typeof value === "string" ? value : JSON.stringify(value), at)

/** What an instance of others is: where it is, and what differs from the defaults. */
const at = (url: string, more: Partial<typeof ServiceInstances.ServiceInstance.Encoded> = {}) =>
  instance(place.id, { service: "weather", endpoint: { transport: "streamable-http", url }, ...more })

const endpoint = { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" } as const

describe("plain: what it reads", () => {
  const table: ReadonlyArray<readonly [what: string, written: unknown, expected: ServiceInstance]> = [
    ["a record of ours", { id: "weather-1", service: "weather", endpoint, weight: 2 }, at(endpoint.url, { weight: 2 })],
    ["that leaves id and service to its key", { endpoint }, at(endpoint.url)],
    ["Kratos", {
      id: "weather-1",
      name: "weather",
      version: "v1.2.0",
      metadata: null,
      priority: null,
      endpoints: ["grpc://10.0.0.7:9000?isSecure=false", "http://10.0.0.7:8000?isSecure=false"]
    }, at("http://10.0.0.7:8000/mcp", { version: "v1.2.0" })],
    ["Kratos with TLS", { endpoints: ["http://10.0.0.7:8000?isSecure=true"] }, at("https://10.0.0.7:8000/mcp")],
    [
      "Kratos with labels",
      {
        endpoints: ["http://10.0.0.7:8000"],
        metadata: { "mcp-path": "/tools", weight: "3", zone: "b", capabilities: "a, b", tools: "[\"c\",\"d\"]" }
      },
      at("http://10.0.0.7:8000/tools", {
        weight: 3,
        zone: "b",
        capabilities: ["a", "b"],
        tools: ["c", "d"],
        metadata: { "mcp-path": "/tools", weight: "3", zone: "b", capabilities: "a, b", tools: "[\"c\",\"d\"]" }
      })
    ],
    ["gRPC naming", { Op: 0, Addr: "10.0.0.7:8080", Metadata: null }, at(endpoint.url, { op: 0 })],
    ["Spring", { serviceId: "weather", host: "10.0.0.7", port: 8443, secure: true }, {
      ...at("https://10.0.0.7:8443/mcp"),
      serviceId: "weather"
    }],
    ["go-kit: an address", "10.0.0.7:8080", at(endpoint.url)],
    ["go-kit: a URL", " http://10.0.0.7:8080/mcp\n", at(endpoint.url)],
    ["a URL with another path", "https://tools.example/a/b?c=%20d", at("https://tools.example/a/b?c=%20d")],
    ["a URL whose path is the root", "https://tools.example/", at("https://tools.example/")],
    ["a URL without a path", "https://tools.example", at("https://tools.example/mcp")],
    [
      "a WebSocket",
      { url: "wss://tools.example/ws" },
      at("", {
        endpoint: { transport: "websocket", url: "wss://tools.example/ws" }
      })
    ],
    [
      "another transport",
      { url: "http://h.test/sse", transport: "sse" },
      at("", {
        endpoint: { transport: "sse", url: "http://h.test/sse" }
      })
    ],
    ["an endpoint that is a text", { endpoint: endpoint.url }, at(endpoint.url)],
    ["address and port", { address: "10.0.0.7", port: "8080" }, at(endpoint.url)],
    ["an address with its port", { address: "10.0.0.7:8080" }, at(endpoint.url)],
    ["an address that is a URL", { address: "https://h.test/x", port: 1 }, at("https://h.test/x")],
    ["IPv6", { host: "fd00::7", port: 8080 }, at("http://[fd00::7]:8080/mcp")],
    ["IPv6 in brackets", "[fd00::7]:8080", at("http://[fd00::7]:8080/mcp")],
    ["scheme and path", { scheme: "https", host: "h.test", port: 8443, path: "/x" }, at("https://h.test:8443/x")],
    [
      "a scheme told by a label",
      { address: "h.test:1", meta: { "mcp-scheme": "https" } },
      at("https://h.test:1/mcp", {
        metadata: { "mcp-scheme": "https" }
      })
    ],
    ["TLS told by a flag", { address: "h.test:1", tls: "true" }, at("https://h.test:1/mcp")],
    [
      "headers",
      { url: endpoint.url, headers: { "x-team": "a" } },
      at("", {
        endpoint: { ...endpoint, headers: { "x-team": "a" } }
      })
    ],
    ["who may see it, and all other fields of ours", {
      url: endpoint.url,
      tenants: ["acme"],
      status: "draining",
      priority: 1,
      region: "eu",
      tags: ["a"]
    }, at(endpoint.url, { tenants: ["acme"], status: "draining", priority: 1, region: "eu", tags: ["a"] })],
    [
      "names with a capital; the one without counts",
      { url: endpoint.url, Url: "http://a.test/", Tenants: ["acme"] },
      at(
        endpoint.url,
        { tenants: ["acme"] }
      )
    ],
    [
      "what isn't there hides nothing that is",
      { url: endpoint.url, tenants: null, Tenants: ["acme"] },
      at(endpoint.url, {
        tenants: ["acme"]
      })
    ]
  ]
  for (const [what, written, expected] of table) {
    it.effect(what, () => Effect.map(read(written), (instance) => assert.deepStrictEqual(instance, expected)))
  }

  it.effect("where the key holds no service, the value names it", () =>
    Effect.gen(function*() {
      const { id } = place
      assert.deepStrictEqual(yield* read({ name: "weather", url: endpoint.url }, { id }), at(endpoint.url))
      assert.deepStrictEqual(
        yield* read({ service: "weather", name: "W", url: endpoint.url }, { id }),
        at(endpoint.url)
      )
      assert.deepStrictEqual(yield* read({ service: "weather", endpoint }, { id }), at(endpoint.url))
      assert.match(yield* Effect.flip(read({ url: endpoint.url }, { id })), /^service: /)
      assert.match(yield* Effect.flip(read({ endpoint }, { id })), /^service: /)
      assert.match(yield* Effect.flip(read("h.test:80", { id })), /^service: /)
    }))

  it.effect("of a value of others the key says id and service", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* read({ id: 7, service: "x", name: "y", url: endpoint.url }), at(endpoint.url))
    }))
})

describe("plain: what it rejects", () => {
  const nothing = /^(not JSON; )?expected a record of Portolan, JSON with `url`/
  const table: ReadonlyArray<readonly [what: string, written: unknown, reason: RegExp]> = [
    ["nothing", "", nothing],
    ["words", "hello world", nothing],
    ["an array", ["10.0.0.7:8080"], nothing],
    ["a JSON text", "\"10.0.0.7:8080\"", nothing],
    ["half a record", "{\"id\":\"weather-1\"", nothing],
    ["an object that says nothing", {}, nothing],
    ["a command", { command: "rm", args: ["-rf", "/"] }, nothing],
    ["a host without a port", "10.0.0.7", nothing],
    ["a host field without a port", { host: "10.0.0.7" }, /^host: expected a URL, or a host with its port$/],
    ["a port that is none", { host: "10.0.0.7", port: "http" }, /^host: expected a URL, or a host with its port$/],
    ["a port out of range", { host: "10.0.0.7", port: 99_999 }, /^host: expected an http\(s\) or ws\(s\) URL$/],
    ["another scheme", { url: "grpc://10.0.0.7:9000" }, /^url: expected an http\(s\) or ws\(s\) URL$/],
    ["only endpoints of other schemes", { endpoints: ["grpc://10.0.0.7:9000"] }, /^endpoints: none is an http\(s\)/],
    ["no endpoints", { endpoints: [] }, /^endpoints: none/],
    ["a scheme that isn't known", { host: "h", port: 1, scheme: "grpc" }, /^host: its scheme is none of http, https/],
    ["a host that is more than a host", { host: "h.test/x?", port: 1 }, /^host: expected a URL/],
    ["TLS settings", { host: "h", port: 1, tls: { ca: "x" } }, /^host: whether TLS is spoken there must be true or/],
    ["a flag that isn't known", "http://h.test?isSecure=maybe", /^whether TLS is spoken there must be true or false$/],
    ["where it listens", "0.0.0.0:8080", /^that is where it listens/],
    ["where it listens, IPv6", { host: "::", port: 80 }, /^host: that is where it listens/],
    ["no port at all", "10.0.0.7:0", /^that is where it listens/],
    ["a password", { url: "http://user:hunter2@h.test/" }, /^url: a user name or password can't be part of it/],
    ["tenants that aren't a list", { url: endpoint.url, tenants: "acme" }, /^tenants: expected array/],
    ["a status of others", { url: endpoint.url, status: "DOWN" }, /^status: expected "up" \| "draining" \| "down"/],
    ["a weight that is no number", { url: endpoint.url, weight: "heavy" }, /^weight: expected number/],
    ["metadata that aren't an object", { url: endpoint.url, metadata: "x" }, /^metadata: expected object/],
    ["a list that isn't JSON", { url: endpoint.url, tools: "[a" }, /^tools: not JSON$/],
    ["a transport that isn't known", { url: endpoint.url, transport: "carrier-pigeon" }, /^endpoint: expected an endp/],
    ["a process", { url: endpoint.url, transport: "stdio" }, /^endpoint.command: missing key$/],
    ["handlers of a process", { endpoint: { transport: "in-process" } }, /^endpoint: an in-process endpoint is not wr/],
    ["the same, of others", { url: endpoint.url, transport: "in-process" }, /^endpoint: an in-process endpoint is not/],
    [
      "a record of another id",
      { id: "weather-2", endpoint },
      /^id: "weather-2" is not "weather-1", which its key says$/
    ],
    ["a record of another service", { service: "news", endpoint }, /^service: "news" is not "weather", which its key/],
    ["an id of two lines", { id: "a\nb", endpoint }, /^id: "a\\nb" is not "weather-1"/],
    ["a service of two lines", { service: "a\nb", endpoint }, /^service: "a\\nb" is not "weather"/],
    ["a wrong record of ours", { endpoint: { ...endpoint, url: "ftp://h" } }, /^endpoint/],
    ["a sealed record", { protected: "", ciphertext: "" }, /^it is sealed, and this registry was given no keys$/]
  ]
  for (const [what, written, reason] of table) {
    it.effect(what, () =>
      Effect.map(Effect.flip(read(written)), (told) => {
        assert.match(told, reason)
        assert.notInclude(told, "\n")
        assert.notInclude(told, "hunter2")
      }))
  }

  it.effect("whatever it is given, it answers with an instance of the place or with a line", () =>
    Effect.promise(() =>
      fc.assert(fc.asyncProperty(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.record({
            url: fc.oneof(fc.webUrl(), fc.jsonValue()),
            host: fc.oneof(fc.domain(), fc.ipV6(), fc.jsonValue()),
            port: fc.oneof(fc.nat(70_000), fc.jsonValue()),
            endpoints: fc.jsonValue(),
            metadata: fc.jsonValue(),
            tls: fc.jsonValue(),
            endpoint: fc.jsonValue()
          }, { requiredKeys: [] }).map((fields) => JSON.stringify(fields))
        ),
        async (text) => {
          const result = await Effect.runPromise(Effect.result(read(text)))
          if (result._tag === "Failure") return assert.match(result.failure, /^[^\n]+$/)
          assert.include(result.success, { id: place.id, service: "weather" })
          assert.deepStrictEqual(ServiceInstances.decode(result.success)._tag, "Success")
        }
      ))
    ))
})

describe("plain: what it writes", () => {
  it.effect("is read as it was", () =>
    Effect.gen(function*() {
      const record = at(endpoint.url, { metadata: { a: [1, { b: null }] }, limits: { maxConcurrency: 2 }, later: "x" })
      assert.deepStrictEqual(yield* read(yield* RecordFormat.plain.write(record, place)), record)
    }))

  it.effect("an endpoint in this process is not written down", () =>
    Effect.gen(function*() {
      const record = at("", { endpoint: { transport: "in-process" } })
      assert.match(yield* Effect.flip(RecordFormat.plain.write(record, place)), /^endpoint: /)
    }))
})

describe("sealed", () => {
  const key = (id: string, fill: number) => ({ id, key: Redacted.make(Base64.encode(new Uint8Array(32).fill(fill))) })
  const [old, current] = [key("2026-10", 1), key("2026-11", 2)]
  const record = at(endpoint.url, { metadata: { team: "hail" } })

  it.effect("can't be read, and is read as it was", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: [current] })
      const text = yield* format.write(record, place)
      assert.isTrue(Predicate.isObject(JSON.parse(text)))
      for (const part of text.match(/[\w-]{8,}/g) ?? []) {
        assert.notMatch(Result.getOrElse(Base64Url.decodeString(part), () => ""), /10\.0\.0\.7|hail/)
      }
      assert.deepStrictEqual(yield* format.read(text, place), record)
    }))

  it.effect("is opened by what RFC 7516 says", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: [current] })
      const envelope: Record<string, string> = JSON.parse(yield* format.write(record, place))
      const part = (name: string) => Buffer.from(envelope[name] ?? "", "base64url")
      assert.deepStrictEqual(JSON.parse(part("protected").toString()), { alg: "dir", enc: "A256GCM", kid: "2026-11" })
      const decipher = createDecipheriv("aes-256-gcm", new Uint8Array(32).fill(2), part("iv"))
      decipher.setAAD(Buffer.from(`${envelope["protected"]}.${envelope["aad"]}`))
      decipher.setAuthTag(part("tag"))
      const opened = Buffer.concat([decipher.update(part("ciphertext")), decipher.final()])
      assert.deepStrictEqual(JSON.parse(opened.toString()), record)
    }))

  it.effect("the same value is the same text, another one has another nonce", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: [current] })
      const first = yield* format.write(record, place)
      assert.strictEqual(yield* format.write(record, place), first)
      const nonces = yield* Effect.forEach(Array.from({ length: 50 }), () =>
        Effect.map(format.write({ ...record }, place), (text) => String(JSON.parse(text).iv)))
      assert.strictEqual(new Set(nonces).size, 50)
      const elsewhere = { id: place.id }
      assert.deepStrictEqual(yield* format.read(yield* format.write(record, elsewhere), elsewhere), record)
    }))

  it.effect("keys are rotated: the first seals, all of them open", () =>
    Effect.gen(function*() {
      const before = yield* RecordFormat.sealed({ keys: [old] })
      const learning = yield* RecordFormat.sealed({ keys: [old, current] })
      const changed = yield* RecordFormat.sealed({ keys: [current, old] })
      const after = yield* RecordFormat.sealed({ keys: [current] })
      for (
        const [writer, readers] of [
          [before, [before, learning, changed]],
          [learning, [before, learning, changed]],
          [changed, [learning, changed, after]],
          [after, [learning, changed, after]]
        ] as const
      ) {
        const text = yield* writer.write({ ...record }, place)
        for (const reader of readers) assert.deepStrictEqual(yield* reader.read(text, place), record)
      }
      const told = yield* Effect.flip(after.read(yield* before.write(record, place), place))
      assert.strictEqual(told, "it is sealed with key \"2026-10\"; this registry has \"2026-11\"")
      const strange = yield* RecordFormat.sealed({ keys: [{ ...old, id: "a\nb" }] })
      assert.strictEqual(
        yield* Effect.flip(after.read(yield* strange.write(record, place), place)),
        "it is sealed with key \"a\\nb\"; this registry has \"2026-11\""
      )
    }))

  it.effect("a record that was changed, anywhere, is rejected", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: [current], required: false })
      const envelope: Record<string, string> = JSON.parse(yield* format.write(record, place))
      yield* Effect.promise(() =>
        fc.assert(
          fc.asyncProperty(
            fc.constantFrom(...Object.keys(envelope)),
            fc.nat(),
            fc.constantFrom("A", "z", "_", ""),
            async (name, index, by) => {
              const value = envelope[name] ?? ""
              const at = index % value.length
              const changed = value.slice(0, at) + by + value.slice(at + 1)
              // The last letters of base64 may hold bits that are none of its bytes.
              fc.pre(!Buffer.from(changed, "base64url").equals(Buffer.from(value, "base64url")))
              const text = JSON.stringify({ ...envelope, [name]: changed })
              const result = await Effect.runPromise(Effect.result(format.read(text, place)))
              assert.isTrue(Result.isFailure(result), name)
            }
          ),
          { numRuns: 500 }
        )
      )
      for (const name of Object.keys(envelope)) {
        const { [name]: _, ...rest } = envelope
        yield* Effect.flip(format.read(JSON.stringify(rest), place))
      }
    }))

  it.effect("a record that was copied to another key is rejected", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: [current] })
      const text = yield* format.write(record, place)
      for (const at of [{ ...place, id: "weather-2" }, { ...place, service: "news" }, { id: place.id }]) {
        assert.match(yield* Effect.flip(format.read(text, at)), /^it was sealed for another key of the registry/)
      }
      // Whoever has the key is held to the place too.
      const lie = yield* format.write(record, { ...place, id: "weather-2" })
      assert.match(yield* Effect.flip(format.read(lie, { ...place, id: "weather-2" })), /^id: "weather-1" is not/)
    }))

  it.effect("what the key holder sealed otherwise is not half understood", () =>
    Effect.gen(function*() {
      const format = yield* RecordFormat.sealed({ keys: [current] })
      const sealed = (header: object) => {
        const protectedHeader = Base64Url.encode(JSON.stringify(header))
        const aad = Base64Url.encode(JSON.stringify([place.service, place.id]))
        const iv = new Uint8Array(12)
        const cipher = createCipheriv("aes-256-gcm", new Uint8Array(32).fill(2), iv)
        cipher.setAAD(Buffer.from(`${protectedHeader}.${aad}`))
        const ciphertext = Buffer.concat([cipher.update(JSON.stringify(record)), cipher.final()])
        const parts = { iv, ciphertext, tag: cipher.getAuthTag() }
        return JSON.stringify({
          protected: protectedHeader,
          aad,
          ...Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, Base64Url.encode(bytes)]))
        })
      }
      const header = { kid: "2026-11", enc: "A256GCM", alg: "dir" }
      assert.deepStrictEqual(yield* format.read(sealed(header), place), record)
      assert.deepStrictEqual(yield* format.read(sealed({ ...header, typ: "JSON" }), place), record)
      for (const more of [{ zip: "DEF" }, { crit: ["exp"], exp: 1 }, { enc: "A128GCM" }, { alg: "A256KW" }]) {
        const told = yield* Effect.flip(format.read(sealed({ ...header, ...more }), place))
        assert.match(told, /^it is sealed in a way that is not known/)
      }
    }))

  it.effect("the same id with another key is told", () =>
    Effect.gen(function*() {
      const text = yield* (yield* RecordFormat.sealed({ keys: [current] })).write(record, place)
      const format = yield* RecordFormat.sealed({ keys: [key("2026-11", 3)] })
      const told = yield* Effect.flip(format.read(text, place))
      assert.strictEqual(told, "it was changed, or its key \"2026-11\" is not ours of this id")
    }))

  it.effect("what isn't sealed is rejected, unless it needn't be", () =>
    Effect.gen(function*() {
      const strict = yield* RecordFormat.sealed({ keys: [current] })
      const lenient = yield* RecordFormat.sealed({ keys: [current], required: false })
      for (const text of [JSON.stringify(record), endpoint.url]) {
        assert.match(yield* Effect.flip(strict.read(text, place)), /^it is not sealed; this registry takes sealed/)
        assert.strictEqual((yield* lenient.read(text, place)).id, place.id)
      }
      assert.match(yield* lenient.write(record, place), /^{"protected"/)
    }))

  it.effect("says what is wrong about keys, and never a key", () =>
    Effect.gen(function*() {
      const wrong = (text: string) => [{ id: "a", key: Redacted.make(text) }]
      for (
        const [keys, reason] of [
          [[], /^keys: expected at least one$/],
          [[old, old], /^keys: "2026-10" is there twice$/],
          [wrong("hunter2"), /^keys: "a" is not 32 bytes in base64; `openssl rand -base64 32` prints such$/],
          [wrong(Base64.encode(new Uint8Array(16))), /^keys: "a" is not 32 bytes/],
          [wrong(""), /^keys: "a" is not 32 bytes/]
        ] as const
      ) {
        const told = yield* Effect.flip(RecordFormat.sealed({ keys }))
        assert.match(told, reason)
        assert.notInclude(told, "hunter2")
      }
    }))
})

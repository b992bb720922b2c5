import { assert, describe, it } from "@effect/vitest"
import * as IpSet from "@portolan/core/IpSet"
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import * as Certificates from "@portolan/tooling/backends/Certificates"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import { Lookup } from "../src/internal/http.ts"
import * as Reach from "../src/internal/reach.ts"
import * as Host from "./Host.ts"

const server = "application/mcp-server-card+json"
const catalogType = "application/ai-catalog+json"
const card = (url: string) => ({
  name: "com.example/weather",
  version: "1.0.0",
  remotes: [{ type: "streamable-http", url }]
})

/** Hosts of these names are on loopback, as a name that leads to a private address is. */
const known = Host.names({
  "public.example": ["127.0.0.1"],
  "other.example": ["127.0.0.1"],
  "mixed.example": ["10.0.0.1", "127.0.0.1", "::ffff:10.0.0.1"]
})

const reading = (options: DocumentsRegistry.DocumentsRegistryOptions) =>
  Effect.provideService(
    Effect.flatMap(DocumentsRegistry.make(options), ({ list }) => list),
    Lookup,
    known
  )

const refusal = (from: string, to: string, allow: ReadonlyArray<string> = [], everywhere = false) =>
  Reach.make({ allow: IpSet.of(...allow), everywhere }).refusal(new URL(from), new URL(to))

describe("a public document", () => {
  const inside = [
    ["10.1.2.3", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "169.254.169.254", "172.16.0.1", "192.168.1.1"],
    ["0.0.0.0", "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1]"],
    ["[fd00::1]", "[ff02::fb]", "[::ffff:10.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::10.0.0.1]", "[2002:a00:1::]"],
    ["[2001:db8::1]", "localhost", "LOCALHOST.", "a.localhost", "redis", "printer.local", "metadata.google.internal"],
    ["nas.home.arpa", "x.internal."]
  ].flat()
  const outside = [
    ["example.com", "8.8.8.8", "172.32.0.1", "100.128.0.1", "192.0.1.1", "[2606:4700::1]", "[64:ff9b::8.8.8.8]"],
    ["[::ffff:8.8.8.8]", "internal.example.com", "local.example"]
  ].flat()

  const home = "https://example.com"

  for (const host of inside) {
    it(`may not point at ${host}`, () => {
      assert.match(refusal(home, `http://${host}/mcp`) ?? "", /^a public document may not/)
    })
  }
  for (const host of outside) {
    it(`may point at ${host}`, () => {
      assert.isUndefined(refusal(home, `https://${host}/mcp`))
    })
  }

  it("may point at the networks that it is allowed, and at nothing beside them", () => {
    const allow = ["10.0.0.0/8", "fd00::/8", "192.168.7.7"]
    for (const host of ["10.9.9.9", "[::ffff:10.0.0.1]", "[fd00::1]", "192.168.7.7", "8.8.4.4"]) {
      assert.isUndefined(refusal(home, `http://${host}/`, allow))
    }
    for (const host of ["192.168.7.8", "127.0.0.1", "[fe80::1]", "redis"]) {
      assert.isString(refusal(home, `http://${host}/`, allow))
    }
  })

  it("that is a private one, or trusted in full, may point anywhere", () => {
    for (const from of ["http://10.0.0.1", "http://localhost:3000", "http://registry", "https://registry.internal"]) {
      for (const host of inside) assert.isUndefined(refusal(from, `http://${host}/`))
    }
    for (const host of inside) assert.isUndefined(refusal(home, `http://${host}/`, [], true))
  })

  it.live("announces nothing there", () =>
    Effect.gen(function*() {
      const host = yield* Host.serve({
        "/c.json": {
          specVersion: "1.0",
          entries: [
            { identifier: "urn:x:in", type: server, data: card("http://169.254.169.254/latest") },
            { identifier: "urn:x:out", type: server, data: card("https://example.com/mcp") }
          ]
        }
      })
      const catalog = `http://public.example:${host.port}/c.json`
      const { instances, rejected } = yield* reading({ catalog })
      assert.deepStrictEqual(instances.map(({ id }) => id), ["urn:x:out"])
      assert.match(rejected[0]?.reason ?? "", /may not point at 169\.254\.169\.254; add its network to `allowNetworks`/)
      const allowed = yield* reading({ catalog, allowNetworks: ["169.254.169.254"] })
      assert.strictEqual(allowed.instances.length, 2)
    }))

  it.live("isn't followed there: not by its address, not by a name, not by a redirect", () =>
    Effect.gen(function*() {
      const secret = yield* Host.serve({ "/card": card("https://example.com/mcp") })
      const port = secret.port
      const entry = (n: number, url: string) => ({ identifier: `urn:x:${n}`, type: server, url })
      const host = yield* Host.make(({ path }) =>
        path === "/c.json"
          ? {
            body: {
              specVersion: "1.0",
              entries: [
                entry(1, secret.url + "/card"),
                entry(2, `http://localhost:${port}/card`),
                entry(3, `//other.example:${port}/card`),
                entry(4, "/to?address"),
                entry(5, "/to-name"),
                entry(6, "/to-mapped"),
                entry(7, "/away")
              ]
            }
          }
          : path === "/away"
          ? { status: 302, headers: { location: "gopher://example.com" } }
          : {
            status: 307,
            headers: {
              location: path === "/to"
                ? secret.url + "/card"
                : path === "/to-name"
                ? `http://other.example:${port}/card`
                : `http://[::ffff:127.0.0.1]:${port}/card`
            }
          }
      )
      const catalog = `http://public.example:${host.port}/c.json`
      const { instances, rejected } = yield* reading({ catalog })
      assert.deepStrictEqual(instances, [])
      assert.deepStrictEqual(secret.asked, [], "nobody was asked")
      assert.deepStrictEqual(rejected.map(({ reason }) => reason.replace(/;.*/, "")), [
        "a public document may not point at 127.0.0.1",
        "a public document may not point at localhost, a name of this network",
        `http://other.example:${port}/card can't be reached: a public document may not point there`,
        "a public document may not point at 127.0.0.1",
        `http://other.example:${port}/card can't be reached: a public document may not point there`,
        "a public document may not point at [::ffff:7f00:1]",
        `http://public.example:${host.port}/away redirects to gopher:`
      ])
      const allowed = yield* reading({ catalog, allowNetworks: ["127.0.0.0/8"] })
      assert.deepStrictEqual(allowed.instances.map(({ id }) => id), [
        "urn:x:1",
        "urn:x:3",
        "urn:x:4",
        "urn:x:5",
        "urn:x:6"
      ])
    }))

  it.live("is followed to those addresses of a name only that it may point at", () =>
    Effect.gen(function*() {
      const other = yield* Host.serve({ "/card.json": card("https://example.com/mcp") })
      const home = yield* Host.make(() => ({
        status: 302,
        headers: { location: `http://mixed.example:${other.port}/card.json` }
      }))
      const serverCard = `http://public.example:${home.port}/card.json`
      const { instances } = yield* reading({ serverCard, allowNetworks: ["127.0.0.0/8"] })
      assert.strictEqual(instances.length, 1)
      assert.match((yield* Effect.flip(reading({ serverCard }))).detail, /may not point there/)
    }))
})

describe("a private document", () => {
  it.live("that names a public one gives it no more than others get", () =>
    Effect.gen(function*() {
      const entry = (n: number, url: string) => ({ identifier: `urn:x:${n}`, type: server, url })
      let port = 0
      const secret = yield* Host.serve({ "/card": card("https://example.com/mcp") })
      const host = yield* Host.make(({ path }) => ({
        body: path === "/public-card"
          ? card("http://10.0.0.2/mcp")
          : path === "/own.json"
          ? {
            specVersion: "1.0",
            entries: [
              { identifier: "urn:x:nested", type: catalogType, url: `http://public.example:${port}/nested.json` },
              entry(1, `${secret.url}/card`),
              entry(5, `http://public.example:${port}/public-card`)
            ]
          }
          : {
            specVersion: "1.0",
            entries: [
              entry(2, `${secret.url}/card`),
              // The operator's own host: what it is asked is not for others to say.
              entry(3, `http://127.0.0.1:${port}/delete`),
              { identifier: "urn:x:4", type: server, data: card("http://10.0.0.1/mcp") }
            ]
          }
      }))
      port = host.port
      const token = Redacted.make("s3cret")
      const { instances, rejected } = yield* reading({ catalog: `${host.url}/own.json`, token })
      assert.deepStrictEqual(instances.map(({ id }) => id), ["urn:x:1"])
      assert.deepStrictEqual(rejected.map(({ id, reason }) => `${id} ${reason.replace(/;.*/, "")}`).sort(), [
        "urn:x:2 a public document may not point at 127.0.0.1",
        "urn:x:3 a public document may not point at 127.0.0.1",
        "urn:x:4 url: a public document may not point at 10.0.0.1",
        "urn:x:5 url: a public document may not point at 10.0.0.2"
      ])
      assert.deepStrictEqual(
        host.asked.map(({ headers, path }) => [path, headers.authorization]),
        [["/own.json", "Bearer s3cret"], ["/nested.json", undefined], ["/public-card", undefined]]
      )
    }))
})

describe("a fetch", () => {
  it.live("sends the token home, and nowhere else", () =>
    Effect.gen(function*() {
      const other = yield* Host.serve({ "/card": card("https://example.com/mcp") })
      const home = yield* Host.make(({ path }) =>
        path === "/first.json"
          ? { status: 301, headers: { location: "/second" } }
          : { status: 308, headers: { location: `${other.url}/card` } }
      )
      const { instances } = yield* reading({ serverCard: `${home.url}/first.json`, token: Redacted.make("s3cret") })
      assert.strictEqual(instances.length, 1)
      assert.deepStrictEqual(home.asked.map(({ headers }) => headers.authorization), ["Bearer s3cret", "Bearer s3cret"])
      assert.deepStrictEqual(other.asked.map(({ headers }) => headers.authorization), [undefined])
    }))

  it.live("ends a circle of redirects", () =>
    Effect.gen(function*() {
      const host = yield* Host.make(() => ({ status: 302, headers: { location: "/again" } }))
      const { detail } = yield* Effect.flip(reading({ catalog: `${host.url}/c` }))
      assert.strictEqual(detail, `${host.url}/c redirects more than 5 times`)
      assert.strictEqual(host.asked.length, 6)
    }))

  it.live("trusts whom it is told to, shows its certificate, and follows nobody from TLS to plain HTTP", () =>
    Effect.gen(function*() {
      const authority = yield* Certificates.authority("Portolan's tests")
      const issued = yield* authority.issue("server", ["public.example"])
      const plain = yield* Host.serve({ "/card": card("https://example.com/mcp") })
      const host = yield* Host.make(({ path }) =>
        path === "/down.json"
          ? { status: 302, headers: { location: `${plain.url}/card` } }
          : { body: card("https://example.com/mcp") }, {
        ...issued,
        ca: authority.cert,
        requestCert: true,
        rejectUnauthorized: true
      })
      const at = (path: string) => `https://public.example:${host.port}${path}`
      const tls = { ca: authority.cert, ...(yield* authority.issue("client")) }
      assert.strictEqual((yield* reading({ serverCard: at("/mcp"), tls })).instances.length, 1)
      assert.match(
        (yield* Effect.flip(reading({ serverCard: at("/down.json"), tls, allowNetworks: ["127.0.0.1"] }))).detail,
        /redirects to plain http$/
      )
      assert.match(
        (yield* Effect.flip(reading({ serverCard: at("/mcp") }))).detail,
        /can't be reached: .*(certificate|issuer)/
      )
    }))

  it.live("is given up after ten seconds, also where the body has begun", () =>
    Effect.gen(function*() {
      for (const body of [() => undefined, (response: NodeJS.WritableStream) => response.write("{")]) {
        const host = yield* Host.make(() => ({ body }))
        const fiber = yield* Effect.forkChild(Effect.flip(reading({ catalog: `${host.url}/c` })))
        while (host.asked.length === 0) yield* TestClock.withLive(Effect.sleep(5))
        yield* TestClock.withLive(Effect.sleep(20))
        yield* TestClock.adjust("10 seconds")
        assert.strictEqual((yield* Fiber.join(fiber)).detail, `${host.url}/c gave no answer within 10s`)
      }
    }).pipe(Effect.provide(TestClock.layer())))

  it.live("that is interrupted closes its connections at once", () =>
    Effect.gen(function*() {
      const host = yield* Host.make(() => ({ body: () => undefined }))
      const fiber = yield* Effect.forkChild(reading({ catalog: `${host.url}/c` }))
      while (host.asked.length === 0) yield* Effect.sleep(5)
      assert.strictEqual(yield* host.open, 1)
      yield* Fiber.interrupt(fiber)
      while ((yield* host.open) > 0) yield* Effect.sleep(1)
    }))
})

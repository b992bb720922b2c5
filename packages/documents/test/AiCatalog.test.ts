import { assert, describe, it } from "@effect/vitest"
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as TestClock from "effect/testing/TestClock"
import * as Host from "./Host.ts"

const wellKnown = "/.well-known/ai-catalog.json"
const types = {
  catalog: "application/ai-catalog+json",
  server: "application/mcp-server-card+json",
  agent: "application/a2a-agent-card+json"
}

const catalogOf = (...entries: ReadonlyArray<object>) => ({ specVersion: "1.0", entries })

const card = (name: string, url = `https://${name.replace("/", ".")}.example.com/mcp`) => ({
  $schema: "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json",
  name,
  version: "1.0.0",
  title: "What the card says",
  description: "What the card says",
  remotes: [{ type: "streamable-http", url }]
})

const agent = {
  name: "Research Assistant",
  description: "Finds things out",
  version: "2.0.0",
  supportedInterfaces: [{ url: "https://agents.example.com/a2a", protocolBinding: "JSONRPC", protocolVersion: "1.0" }],
  capabilities: {},
  defaultInputModes: [],
  defaultOutputModes: [],
  skills: [{ id: "find", name: "Find", description: "Finds", tags: ["search"] }]
}

const begin = Effect.fnUntraced(function*(documents: Record<string, unknown>, path = "") {
  const host = yield* Host.serve(documents)
  const { list } = yield* DocumentsRegistry.make({ catalog: host.url + path })
  return { host, list }
})

describe("an AI catalog", () => {
  it.live("lists servers and agents, by reference and in itself, and other things that aren't ours", () =>
    Effect.gen(function*() {
      const { host, list } = yield* begin({
        [wellKnown]: {
          ...catalogOf(
            { identifier: "urn:air:example.com:mcp:weather", type: types.server, url: "/weather/server-card" },
            { identifier: "urn:air:example.com:mcp:maps", mediaType: types.server, data: card("com.example/maps") },
            {
              identifier: "urn:air:example.com:a2a:research",
              type: `${types.agent}; v=1`,
              url: "agents/research.json"
            },
            {
              identifier: "urn:air:example.com:a2a:inline",
              mediaType: types.agent,
              data: { ...agent, name: "Inline" }
            },
            {
              identifier: "urn:air:example.com:skill:review",
              type: "application/agent-skills+zip",
              url: "/review.zip"
            },
            { identifier: "urn:air:example.com:data:rain", type: "application/parquet", url: "/rain.parquet" }
          ),
          host: { displayName: "Example" }
        },
        "/weather/server-card": card("com.example/weather"),
        "/.well-known/agents/research.json": agent
      })
      const { instances, rejected } = yield* list
      assert.deepStrictEqual(rejected, [])
      assert.deepStrictEqual(
        instances.map(({ endpoint, id, kind, service, version }) => [id, service, kind, version, endpoint]),
        [
          ["urn:air:example.com:mcp:weather", "com.example/weather", "mcp-server", "1.0.0", {
            transport: "streamable-http",
            url: "https://com.example.weather.example.com/mcp"
          }],
          ["urn:air:example.com:mcp:maps", "com.example/maps", "mcp-server", "1.0.0", {
            transport: "streamable-http",
            url: "https://com.example.maps.example.com/mcp"
          }],
          ["urn:air:example.com:a2a:research", "research-assistant", "agent", "2.0.0", {
            transport: "a2a",
            card: `${host.url}/.well-known/agents/research.json`,
            interface: "https://agents.example.com/a2a"
          }],
          ["urn:air:example.com:a2a:inline", "inline", "agent", "2.0.0", {
            transport: "a2a",
            card: "https://agents.example.com/.well-known/agent-card.json",
            interface: "https://agents.example.com/a2a"
          }]
        ]
      )
      const accepted = new Map(host.asked.map(({ headers, path }) => [path, headers.accept]))
      assert.strictEqual(accepted.get(wellKnown), `${types.catalog}, application/json;q=0.9`)
      assert.strictEqual(accepted.get("/weather/server-card"), `${types.server}, application/json;q=0.9`)
    }))

  it.live("says more of an entry than its card, and of several versions each", () =>
    Effect.gen(function*() {
      const entry = { identifier: "urn:x:weather", type: types.server, data: card("com.example/weather") }
      const { list } = yield* begin({
        "/catalog.json": catalogOf(
          { ...entry, version: "2.0.0", displayName: "Weather", description: "Of the entry", tags: ["rain"] },
          { ...entry, version: "1.0.0" }
        )
      }, "/catalog.json")
      const { instances } = yield* list
      assert.deepStrictEqual(
        instances.map((
          { id, metadata, tags, version }
        ) => [id, version, tags, metadata["title"], metadata["description"]]),
        [
          ["urn:x:weather@2.0.0", "2.0.0", ["rain"], "Weather", "Of the entry"],
          ["urn:x:weather@1.0.0", "1.0.0", [], "What the card says", "What the card says"]
        ]
      )
    }))

  it.live("may hold catalogs, by reference and in itself; what is listed twice is there once", () =>
    Effect.gen(function*() {
      const weather = { identifier: "urn:x:weather", type: types.server, data: card("com.example/weather") }
      const maps = { identifier: "urn:x:maps", type: types.server, url: "maps" }
      const { host, list } = yield* begin({
        [wellKnown]: catalogOf(
          { identifier: "urn:x:teams", type: types.catalog, url: "/teams/catalog.json" },
          { identifier: "urn:x:here", type: types.catalog, data: catalogOf(weather) },
          weather
        ),
        "/teams/catalog.json": catalogOf(weather, maps, { identifier: "urn:x:b", type: types.catalog, url: "b.json" }),
        "/teams/b.json": catalogOf({ identifier: "urn:x:again", type: types.catalog, url: "/teams/c.json" }, maps),
        "/teams/c.json": catalogOf({ identifier: "urn:x:last", type: types.server, data: card("com.example/last") }),
        "/teams/maps": card("com.example/maps")
      })
      const { instances, rejected } = yield* list
      assert.deepStrictEqual(rejected, [])
      assert.deepStrictEqual(instances.map(({ service }) => service), [
        "com.example/weather",
        "com.example/maps",
        "com.example/last"
      ])
      assert.strictEqual(host.asked.length, 5)
    }))

  it.live("that leads back to itself ends, and one that is too deep, and one that branches without end", () =>
    Effect.gen(function*() {
      const nested = (identifier: string, url: string) => ({ identifier, type: types.catalog, url })
      const loop = yield* begin({
        [wellKnown]: catalogOf(nested("urn:x:a", "/a.json")),
        "/a.json": catalogOf(nested("urn:x:b", "/b.json"), nested("urn:x:self", "/a.json")),
        "/b.json": catalogOf(nested("urn:x:home", wellKnown))
      })
      const { rejected } = yield* loop.list
      assert.deepStrictEqual(rejected, [
        { id: "urn:x:self", reason: "url: it leads back to a catalog that it is in" },
        { id: "urn:x:home", reason: "url: it leads back to a catalog that it is in" }
      ])
      assert.strictEqual(loop.host.asked.length, 3)

      const inner = (depth: number): object =>
        catalogOf({
          identifier: `urn:x:${depth}`,
          type: types.catalog,
          data: depth === 9 ? catalogOf() : inner(depth + 1)
        })
      const deep = yield* begin({ [wellKnown]: inner(2) })
      assert.deepStrictEqual((yield* deep.list).rejected, [{
        id: "urn:x:5",
        reason: "it is more than 4 catalogs deep"
      }])

      const endless = yield* Host.make(({ path }) => ({
        body: catalogOf(
          ...Array.from({ length: 30 }, (_, n) => nested(`urn:x:${path}/${n}`, `http://127.0.0.1${path}/${n}`))
        )
      }))
      const { list } = yield* DocumentsRegistry.make({ catalog: `${endless.url}/c` })
      // Their addresses are of another port, where nobody listens: each is rejected by itself.
      assert.strictEqual((yield* list).rejected.length, 30)
      const wide = yield* Host.make(({ path }) => ({
        body: catalogOf(...Array.from({ length: 30 }, (_, n) => nested(`urn:x:${path}/${n}`, `${path}/${n}`)))
      }))
      const many = yield* DocumentsRegistry.make({ catalog: `${wide.url}/c` })
      const found = yield* many.list
      assert.strictEqual(wide.asked.length, 500)
      assert.strictEqual(found.rejected[0]?.reason, "it is one of more than 500 documents")
    }))

  it.live("is the same where one of its documents is lost: what was known of it stays", () =>
    Effect.gen(function*() {
      const documents: Record<string, unknown> = {
        [wellKnown]: catalogOf(
          { identifier: "urn:x:team", type: types.catalog, url: "/team.json" },
          { identifier: "urn:x:weather", type: types.server, url: "/weather" },
          { identifier: "urn:x:maps", type: types.server, url: "/maps" }
        ),
        "/team.json": catalogOf({ identifier: "urn:x:inner", type: types.server, data: card("com.example/inner") }),
        "/weather": card("com.example/weather"),
        "/maps": card("com.example/maps")
      }
      const { host, list } = yield* begin(documents)
      assert.strictEqual((yield* list).instances.length, 3)
      delete documents["/team.json"]
      documents["/weather"] = { name: "com.example/weather" }
      const { instances, rejected } = yield* list
      assert.deepStrictEqual(instances.map(({ id }) => id), ["urn:x:maps", "urn:x:inner"])
      assert.deepStrictEqual(rejected.map(({ id, reason }) => [id, reason.replace(/missing.*/i, "missing")]), [
        ["urn:x:team", `${host.url}/team.json answered HTTP 404`],
        ["urn:x:weather", `${host.url}/weather can't be read: version: missing`]
      ])
    }))

  it.live("rejects a card that is lost at each of its addresses: all of them stay", () =>
    Effect.gen(function*() {
      const remotes = ["a", "b"].map((host) => ({ type: "sse", url: `https://${host}.example.com/sse` }))
      const entry = { identifier: "urn:x:weather", type: types.server, url: "/weather" }
      const documents: Record<string, unknown> = {
        [wellKnown]: catalogOf(entry),
        "/weather": { ...card("com.example/weather"), remotes }
      }
      const { list } = yield* begin(documents)
      const all = (yield* list).instances.map(({ id }) => id)
      assert.deepStrictEqual(all, ["urn:x:weather", "urn:x:weather#2"])
      delete documents["/weather"]
      // As often as it is lost.
      for (let n = 0; n < 2; n++) assert.deepStrictEqual((yield* list).rejected.map(({ id }) => id), all)
      documents[wellKnown] = catalogOf({ ...entry, tags: "none" })
      assert.deepStrictEqual((yield* list).rejected.map(({ id }) => id), all)
      documents[wellKnown] = catalogOf()
      assert.deepStrictEqual(yield* list, { _tag: "Snapshot", group: undefined, instances: [], rejected: [] })
    }))

  it.live("is read though hundreds of its documents never come", () =>
    Effect.gen(function*() {
      const waiting = "/waiting/"
      const host = yield* Host.make(({ path }) =>
        path.startsWith(waiting) ? { body: () => undefined } : {
          body: catalogOf(
            { identifier: "urn:x:weather", type: types.server, data: card("com.example/weather") },
            ...Array.from({ length: 400 }, (_, n) => ({
              identifier: `urn:x:${n}`,
              type: types.server,
              url: `${waiting}${n}`
            }))
          )
        }
      )
      const { list } = yield* DocumentsRegistry.make({ catalog: `${host.url}/c` })
      const reading = yield* Effect.forkChild(list)
      for (let asked = 1 + 8; reading.pollUnsafe() === undefined; asked += 8) {
        while (host.asked.length < asked && reading.pollUnsafe() === undefined) {
          yield* TestClock.withLive(Effect.sleep(1))
        }
        yield* TestClock.adjust("10 seconds")
      }
      const { instances, rejected } = yield* Fiber.join(reading)
      assert.deepStrictEqual(instances.map(({ id }) => id), ["urn:x:weather"])
      assert.strictEqual(rejected.length, 400)
      assert.match(rejected[0]?.reason ?? "", /gave no answer within 10s$/)
      assert.strictEqual(rejected.at(-1)?.reason, "the documents before it took too long")
    }).pipe(Effect.provide(TestClock.layer())))

  it.live("is read though its documents are huge, up to a limit", () =>
    Effect.gen(function*() {
      const length = 7 * 2 ** 20
      const entries = Array.from({ length: 40 }, (_, n) => ({
        identifier: `urn:x:${n}`,
        type: types.server,
        url: `/huge/${n}`
      }))
      const huge = JSON.stringify(card("com.example/huge")).padEnd(length)
      const host = yield* Host.make(({ path }) => ({ body: path === "/c" ? catalogOf(...entries) : huge }))
      const { list } = yield* DocumentsRegistry.make({ catalog: `${host.url}/c` })
      const { instances, rejected } = yield* list
      // Eight are on their way when it is reached.
      assert.isAtMost(instances.length, Math.floor(256 / 7))
      assert.isAtLeast(instances.length, Math.floor(256 / 7) - 8)
      assert.match(rejected.at(-1)?.reason ?? "", /\/huge\/\d+ and the documents before it are longer than 256 MiB$/)
    }), 60_000)

  it.live("is fetched anew only where it changed", () =>
    Effect.gen(function*() {
      const documents: Record<string, unknown> = {
        [wellKnown]: catalogOf({ identifier: "urn:x:weather", type: types.server, url: "/weather" }),
        "/weather": card("com.example/weather")
      }
      let sent = 0
      const host = yield* Host.make(({ headers, path }) => {
        const body = JSON.stringify(documents[path])
        const etag = `W/"${body.length}"`
        if (headers["if-none-match"] === etag) return { status: 304, headers: { etag } }
        sent++
        return { headers: { etag }, body }
      })
      const { list } = yield* DocumentsRegistry.make({ catalog: host.url })
      const first = yield* list
      const second = yield* list
      assert.deepStrictEqual([sent, host.asked.length], [2, 4])
      assert.deepStrictEqual(second.instances, first.instances)
      documents["/weather"] = card("com.example/weather", "https://moved.example.com/mcp")
      const { instances: [instance] } = yield* list
      assert.deepInclude(instance?.endpoint, { url: "https://moved.example.com/mcp" })
      assert.strictEqual(sent, 3)
    }))

  for (
    const [what, entry, expected] of [
      ["neither address nor content", { type: types.server }, "expected either `url` or `data`"],
      ["both", { type: types.server, url: "/x", data: {} }, "expected either `url` or `data`"],
      ["a URL of another kind", { type: types.server, url: "data:text/plain,x" }, /^url: expected an http\(s\) URL/],
      ["a card that is none", { type: types.server, data: { name: 5 } }, /^data: name: /],
      ["an agent that is none", { type: types.agent, data: [] }, /^data: /],
      [
        "a catalog that is none",
        { type: types.catalog, data: { specVersion: "7.0", entries: [] } },
        /^data: specVersion/
      ],
      ["tags that are none", { type: types.server, url: "/x", tags: "x" }, /^tags: /]
    ] as const
  ) {
    it.live(`rejects an entry with ${what}, and takes the others`, () =>
      Effect.gen(function*() {
        const good = { identifier: "urn:x:good", type: types.server, data: card("com.example/good") }
        const { list } = yield* begin({ [wellKnown]: catalogOf({ identifier: "urn:x:bad", ...entry }, good) })
        const { instances, rejected } = yield* list
        assert.deepStrictEqual(instances.map(({ id }) => id), ["urn:x:good"])
        assert.deepStrictEqual(rejected.map(({ id }) => id), ["urn:x:bad"])
        const reason = rejected[0]?.reason ?? ""
        if (typeof expected === "string") assert.strictEqual(reason, expected)
        else assert.match(reason, expected)
      }))
  }

  it.live("that can't be read is a failure, and an entry without a name is known by its place", () =>
    Effect.gen(function*() {
      for (
        const body of [[], { entries: [] }, { specVersion: "2.0", entries: [] }, { specVersion: "1.0", entries: {} }]
      ) {
        const { list } = yield* begin({ [wellKnown]: body })
        assert.match((yield* Effect.flip(list)).detail, /ai-catalog\.json can't be read: /)
      }
      const { host, list } = yield* begin({ [wellKnown]: catalogOf({ type: types.server }) })
      assert.deepStrictEqual((yield* list).rejected.map(({ id }) => id), [`${host.url}${wellKnown} entries.0`])
    }))
})

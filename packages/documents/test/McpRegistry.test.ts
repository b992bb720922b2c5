import { assert, describe, it } from "@effect/vitest"
import type { Snapshot } from "@portolan/core/Registry"
import * as DocumentsRegistry from "@portolan/documents/DocumentsRegistry"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Redacted from "effect/Redacted"
import * as TestClock from "effect/testing/TestClock"
import * as Host from "./Host.ts"
import { remote, StandIn } from "./StandIn.ts"

type Settings = Omit<DocumentsRegistry.DocumentsRegistryOptions, "mcpRegistry">

/** A stand-in of a registry, and a reader of it: each `list` is a poll. */
const begin = Effect.fnUntraced(function*(settings: Settings = {}) {
  const registry = new StandIn()
  const host = yield* Host.make(registry.answer)
  const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url, ...settings })
  return { registry, host, list }
})

const ids = (snapshot: Snapshot) => snapshot.instances.map(({ id }) => id).sort()

const weather = (version: string, change: object = {}) =>
  remote("com.example/weather", version, "https://weather.example.com/mcp", change)

/** What one `server.json` becomes. */
const read = Effect.fnUntraced(function*(server: { name: string; version: string }, settings: Settings = {}) {
  const { list, registry } = yield* begin(settings)
  registry.put(server)
  return yield* list
})

/** The reason that it is rejected for. */
const reason = Effect.fnUntraced(function*(server: { name: string; version: string }, settings: Settings = {}) {
  const { instances, rejected } = yield* read(server, settings)
  assert.deepStrictEqual(instances, [])
  return rejected.map(({ id, reason }) => `${id}: ${reason}`).join("\n")
})

describe("the list of an MCP registry", () => {
  it.live("is read page by page, the latest version of each", () =>
    Effect.gen(function*() {
      const { host, list, registry } = yield* begin()
      for (let n = 100; n < 350; n++) {
        registry.put(remote(`com.example/s${n}`, "1.0.0", `https://s${n}.example.com/mcp`))
        registry.put(remote(`com.example/s${n}`, "1.1.0", `https://s${n}.example.com/mcp`))
      }
      const snapshot = yield* list
      assert.strictEqual(snapshot.instances.length, 250)
      assert.isTrue(snapshot.instances.every(({ version }) => version === "1.1.0"))
      assert.strictEqual(host.asked.length, 3)
      assert.isTrue(host.asked.every(({ query }) => query.get("limit") === "100" && query.get("version") === "latest"))
    }))

  it.live("is asked what changed since, by its own clock, and what is deleted is gone", () =>
    Effect.gen(function*() {
      const { host, list, registry } = yield* begin()
      for (let n = 100; n < 350; n++) {
        registry.put(remote(`com.example/s${n}`, "1.0.0", `https://s${n}.example.com/mcp`))
      }
      const first = yield* list
      assert.strictEqual(yield* list, first, "the same value says that nothing changed")
      host.asked.length = 0
      registry.put(weather("1.0.0"))
      registry.delete("com.example/s100")
      registry.put(remote("com.example/s101", "2.0.0", "https://other.example.com/mcp"))
      const second = yield* list
      assert.strictEqual(host.asked.length, 1)
      assert.isNotNull(host.asked[0]!.query.get("updated_since"))
      assert.strictEqual(second.instances.length, 250)
      assert.notInclude(ids(second), "com.example/s100")
      assert.include(ids(second), "com.example/weather")
      assert.strictEqual(second.instances.find(({ id }) => id === "com.example/s101")?.version, "2.0.0")
      const same = (id: string) => [first, second].map(({ instances }) => instances.find((one) => one.id === id))
      assert.strictEqual(...same("com.example/s200") as [unknown, unknown], "what didn't change is held once")
    }))

  it.live("is read whole now and then, for what it took away without a word", () =>
    Effect.gen(function*() {
      const { host, list, registry } = yield* begin()
      registry.put(weather("1.0.0"))
      registry.put(remote("com.example/maps", "1.0.0", "https://maps.example.com/mcp"))
      yield* list
      registry.drop("com.example/maps")
      for (let n = 0; n < 12; n++) assert.strictEqual((yield* list).instances.length, 2)
      assert.deepStrictEqual(ids(yield* list), ["com.example/weather"])
      const whole = host.asked.filter(({ query }) => !query.has("updated_since"))
      assert.strictEqual(whole.length, 2)
    }))

  it.live("is read whole after a reading that failed, and nothing of that counts", () =>
    Effect.gen(function*() {
      const registry = new StandIn()
      let fails = 0
      const host = yield* Host.make((asked) => fails > 0 && --fails === 0 ? { status: 500 } : registry.answer(asked))
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
      for (let n = 100; n < 300; n++) {
        registry.put(remote(`com.example/s${n}`, "1.0.0", `https://s${n}.example.com/mcp`))
      }
      yield* list
      for (let n = 100; n < 300; n++) {
        registry.put(remote(`com.example/s${n}`, "2.0.0", `https://s${n}.example.com/mcp`))
      }
      fails = 2
      const error = yield* Effect.flip(list)
      assert.strictEqual(error.detail, `${host.url}/v0.1/servers answered HTTP 500`)
      registry.clear()
      registry.put(weather("1.0.0"))
      assert.deepStrictEqual(ids(yield* list), ["com.example/weather"])
    }))

  it.live("may change while it is read: what came behind the reader is asked for again", () =>
    Effect.gen(function*() {
      const registry = new StandIn()
      // The second and third page come when they are let go.
      const held: Array<() => void> = []
      const host = yield* Host.make((asked) => {
        if (!asked.query.has("cursor")) return registry.answer(asked)
        const body = (response: NodeJS.WritableStream) =>
          held.push(() => response.end(JSON.stringify(registry.answer(asked).body)))
        return { body }
      })
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
      for (let n = 100; n < 350; n++) {
        registry.put(remote(`com.example/s${n}`, "1.0.0", `https://s${n}.example.com/mcp`))
      }
      registry.pace = 12_000
      const reading = yield* Effect.forkChild(list)
      for (const [page, name] of ["com.example/s100", "com.example/s349"].entries()) {
        while (held.length === page) yield* TestClock.withLive(Effect.sleep(5))
        registry.put(remote(name, "2.0.0", "https://example.com/mcp"))
        yield* TestClock.adjust("9 seconds")
        held[page]!()
      }
      const versionOf = ({ instances }: Snapshot, name: string) => instances.find(({ id }) => id === name)?.version
      const first = yield* Fiber.join(reading)
      assert.strictEqual(versionOf(first, "com.example/s100"), "1.0.0")
      assert.strictEqual(versionOf(first, "com.example/s349"), "2.0.0")
      assert.strictEqual(versionOf(yield* list, "com.example/s100"), "2.0.0")
    }).pipe(Effect.provide(TestClock.layer())))

  it.live("is read whole each time where it doesn't tell when something changed", () =>
    Effect.gen(function*() {
      const { host, list, registry } = yield* begin()
      registry.tellsTimes = false
      registry.put(weather("1.0.0"))
      yield* list
      registry.drop("com.example/weather")
      registry.put(remote("com.example/maps", "1.0.0", "https://maps.example.com/mcp"))
      assert.deepStrictEqual(ids(yield* list), ["com.example/maps"])
      assert.isTrue(host.asked.every(({ query }) => !query.has("updated_since")))
    }))

  it.live("is not sent again where it has an entity tag and didn't change", () =>
    Effect.gen(function*() {
      const registry = new StandIn()
      registry.tellsTimes = false
      const host = yield* Host.make((asked) => {
        const { body } = registry.answer(asked)
        const etag = `"${JSON.stringify(body).length}"`
        return asked.headers["if-none-match"] === etag ? { status: 304 } : { headers: { etag }, body }
      })
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
      registry.put(weather("1.0.0"))
      const first = yield* list
      assert.strictEqual(yield* list, first)
      assert.isString(host.asked[1]!.headers["if-none-match"])
      registry.put(remote("com.example/maps", "1.0.0", "https://maps.example.com/mcp"))
      assert.strictEqual((yield* list).instances.length, 2)
    }))

  it.live("may list all versions: the latest counts, by its flag or by when it was published", () =>
    Effect.gen(function*() {
      for (const tellsLatest of [true, false]) {
        const { list, registry } = yield* begin()
        registry.filtersLatest = false
        registry.tellsLatest = tellsLatest
        registry.put(weather("1.9.0"))
        registry.put(weather("1.10.0"))
        assert.deepStrictEqual((yield* list).instances.map(({ version }) => version), ["1.10.0"])
        registry.put(weather("1.8.7"))
        assert.deepStrictEqual((yield* list).instances.map(({ version }) => version), ["1.8.7"])
        registry.delete("com.example/weather")
        assert.deepStrictEqual(ids(yield* list), [])
      }
    }))

  it.live("may tell times that are none", () =>
    Effect.gen(function*() {
      for (const updatedAt of ["-271821-04-20T00:00:00.000Z", "+275760-09-13T00:00:00.000Z", "soon", ""]) {
        const _meta = { "io.modelcontextprotocol.registry/official": { updatedAt } }
        const host = yield* Host.make(() => ({ body: { servers: [{ server: weather("1.0.0"), _meta }] } }))
        const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
        assert.strictEqual(yield* list, yield* list)
      }
    }))

  it.live("is searched, below any base address", () =>
    Effect.gen(function*() {
      const registry = new StandIn()
      const host = yield* Host.make((asked) =>
        registry.answer({ ...asked, path: asked.path.replace(/^\/acme\/(v0|v0\.1)\//, "/v0.1/") })
      )
      registry.put(weather("1.0.0"))
      registry.put(remote("com.example/maps", "1.0.0", "https://maps.example.com/mcp"))
      for (const base of ["/acme", "/acme/", "/acme/v0/servers"]) {
        const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url + base, search: "weather" })
        assert.deepStrictEqual(ids(yield* list), ["com.example/weather"])
      }
      assert.deepStrictEqual(host.asked.map(({ path }) => path), [
        "/acme/v0.1/servers",
        "/acme/v0.1/servers",
        "/acme/v0/servers"
      ])
    }))

  it.live("is not asked before it wants to be", () =>
    Effect.gen(function*() {
      let busy = true
      const registry = new StandIn()
      registry.put(weather("1.0.0"))
      const host = yield* Host.make((asked) =>
        busy ? { status: 429, headers: { "retry-after": "7200" } } : registry.answer(asked)
      )
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
      const fails = Effect.flip(list)
      assert.include((yield* fails).detail, "answered HTTP 429")
      busy = false
      assert.match((yield* fails).detail, /asked to be left alone for another/)
      assert.strictEqual(host.asked.length, 1)
      // An hour at most.
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(ids(yield* list), ["com.example/weather"])
    }).pipe(Effect.provide(TestClock.layer())))

  for (
    const [what, answer, expected] of [
      ["a page that is no JSON", { body: "<html>" }, /can't be read: not JSON/],
      ["something else", { body: { servers: 5 } }, /is this an MCP registry\?/],
      [
        "the same page again and again",
        { body: { servers: [], metadata: { nextCursor: "x" } } },
        /the same page again/
      ],
      ["a body without end", { body: (response: NodeJS.WritableStream) => endless(response) }, /longer than 8 MiB/],
      ["a refusal", { status: 403 }, /answered HTTP 403; set its token$/],
      ["nothing", { status: 404 }, /answered HTTP 404$/]
    ] as const
  ) {
    it.live(`fails with a line that tells why: ${what}`, () =>
      Effect.gen(function*() {
        const host = yield* Host.make(() => answer)
        const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
        const error = yield* Effect.flip(list)
        assert.match(error.detail, expected)
        assert.strictEqual(error.unauthorized ?? false, what === "a refusal")
      }))
  }

  it.live("gets the token, and nobody sees it", () =>
    Effect.gen(function*() {
      const host = yield* Host.make(() => ({ status: 401 }))
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url, token: Redacted.make("s3cret") })
      const error = yield* Effect.flip(list)
      assert.strictEqual(host.asked[0]!.headers.authorization, "Bearer s3cret")
      assert.match(error.message, /HTTP 401; check its token$/)
      assert.notInclude(JSON.stringify(error), "s3cret")
    }))

  it.live("leaves no connection between two polls", () =>
    Effect.gen(function*() {
      const { host, list, registry } = yield* begin()
      registry.put(weather("1.0.0"))
      yield* list
      while ((yield* host.open) > 0) yield* Effect.sleep(5)
    }))
})

describe("a server.json", () => {
  it.live("becomes an instance at its address", () =>
    Effect.gen(function*() {
      const { instances } = yield* read(weather("1.4.0", {
        title: "Weather",
        websiteUrl: "https://example.com",
        repository: { url: "https://git.example.com/weather", source: "git" },
        icons: [{ src: "https://example.com/icon.png" }],
        _meta: { "com.example/x": { deep: [[[]]] } }
      }))
      assert.deepStrictEqual(instances.map((instance) => ({ ...instance, metadata: { ...instance.metadata } })), [{
        id: "com.example/weather",
        service: "com.example/weather",
        kind: "mcp-server",
        version: "1.4.0",
        endpoint: { transport: "streamable-http", url: "https://weather.example.com/mcp" },
        capabilities: [],
        tags: [],
        tools: [],
        status: "up",
        weight: 1,
        priority: 0,
        tenants: ["*"],
        metadata: {
          title: "Weather",
          description: "What com.example/weather does",
          websiteUrl: "https://example.com",
          repository: "https://git.example.com/weather"
        }
      }])
    }))

  it.live("with several addresses becomes several, SSE only as a last resort; a wrong one harms no other", () =>
    Effect.gen(function*() {
      const { instances, rejected } = yield* read(weather("1.0.0", {
        remotes: [
          { type: "sse", url: "https://a.example.com/sse" },
          { type: "carrier-pigeon", url: "https://b.example.com" },
          { type: "streamable-http", url: "https://c.example.com/mcp", supportedProtocolVersions: ["2025-11-25"] }
        ]
      }))
      assert.deepStrictEqual(
        instances.map(({ endpoint: { transport }, id, metadata, priority }) => [
          id,
          transport,
          priority,
          metadata["protocolVersions"]
        ]),
        [
          ["com.example/weather", "sse", 1, undefined],
          ["com.example/weather#3", "streamable-http", 0, ["2025-11-25"]]
        ]
      )
      assert.deepStrictEqual(rejected, [{
        id: "com.example/weather#2",
        reason: "type: expected streamable-http or sse, not \"carrier-pigeon\""
      }])
    }))

  it.live("has its variables filled in: by itself, by the settings, by a default, by one of a choice", () =>
    Effect.gen(function*() {
      const server = weather("1.0.0", {
        remotes: [{
          type: "streamable-http",
          url: "https://{region}.example.com/{tenant}/{fixed}/mcp",
          variables: {
            region: { default: "eu", choices: ["eu", "us"] },
            tenant: { isRequired: true, description: "Who you are" },
            fixed: { value: "v1" }
          },
          headers: [
            { name: "X-Tenant", value: "t-{tenant}", variables: { tenant: {} } },
            { name: "X-Trace", default: "off", choices: [] },
            { name: "X-Json", value: "{\"a\":{{.b}}}" },
            { name: "X-Optional" },
            { name: "X-Secret-If-You-Like", isSecret: true }
          ]
        }]
      })
      const variables = { tenant: "acme", fixed: "ours", "X-Secret-If-You-Like": "no" }
      const { instances, rejected } = yield* read(server, { variables })
      assert.deepStrictEqual(rejected, [])
      assert.deepStrictEqual(instances[0]?.endpoint, {
        transport: "streamable-http",
        url: "https://eu.example.com/acme/v1/mcp",
        headers: { "X-Tenant": "t-acme", "X-Trace": "off", "X-Json": "{\"a\":{{.b}}}" }
      })
      assert.match(yield* reason(server), /url: \{tenant\}: it has no value; set `variables\.tenant`/)
      assert.match(
        yield* reason(server, { variables: { ...variables, region: "mars" } }),
        /url: \{region\}: expected one of eu, us/
      )
    }))

  const wrong = (remote: object) => weather("1.0.0", { remotes: [{ type: "streamable-http", ...remote }] })

  for (
    const [what, server, expected] of [
      [
        "a secret in its address",
        wrong({ url: "https://x.example.com/{key}", variables: { key: { isSecret: true } } }),
        /url: \{key\}: it is a secret; announce the server with it in a local file/
      ],
      [
        "a secret header",
        wrong({ url: "https://x.example.com", headers: [{ name: "Authorization", isSecret: true, isRequired: true }] }),
        /headers: Authorization: it is a secret/
      ],
      [
        "a secret within a header",
        wrong({
          url: "https://x.example.com",
          headers: [{ name: "Authorization", value: "Bearer {key}", variables: { key: { isSecret: true } } }]
        }),
        /headers: Authorization: \{key\}: it is a secret/
      ],
      [
        "a header that it asks for",
        wrong({ url: "https://x.example.com", headers: [{ name: "X-Team", isRequired: true }] }),
        /headers: X-Team: it has no value; set `variables\.X-Team`/
      ],
      [
        "a header that can't be one",
        wrong({ url: "https://x.example.com", headers: [{ name: "X-A", value: "b\r\nX-C: d" }] }),
        /headers: "X-A" can't be a header/
      ],
      [
        "a variable that it doesn't tell of",
        wrong({ url: "https://{constructor}.example.com" }),
        /set `variables\.con/
      ],
      [
        "a secret header that it doesn't tell the parts of",
        wrong({
          url: "https://x.example.com",
          headers: [{ name: "Authorization", value: "Bearer {k}", isSecret: true }]
        }),
        /headers: Authorization: \{k\}: it is a secret/
      ],
      [
        "a secret header whose parts don't say so",
        wrong({
          url: "https://x.example.com",
          headers: [{ name: "A", value: "Bearer {key}", isSecret: true, variables: { key: { isRequired: true } } }]
        }),
        /headers: A: \{key\}: it is a secret/
      ],
      ["a template that is none", wrong({ url: "https://x.example.com/{?q}" }), /url: expected an http\(s\) URL/],
      ["a URL of another kind", wrong({ url: "file:///etc/passwd" }), /url: expected an http\(s\) URL/],
      ["a relative URL", wrong({ url: "/mcp" }), /url: expected an http\(s\) URL/],
      ["a password in its URL", wrong({ url: "https://a:b@x.example.com" }), /url: a user name or password/],
      ["no address at all", weather("1.0.0", { remotes: undefined }), /remotes: it says no address/],
      [
        "a name of another form",
        remote("weather of \n today", "1", "https://x.example.com"),
        /name: expected a name such/
      ],
      ["no version", { ...weather("1"), version: undefined }, /version: missing/i]
    ] as const
  ) {
    it.live(`is rejected for ${what}`, () =>
      Effect.gen(function*() {
        const variables = { key: "k", Authorization: "a" }
        assert.match(yield* reason(server as { name: string; version: string }, { variables }), expected)
      }))
  }

  it.live("may say null for what isn't there", () =>
    Effect.gen(function*() {
      const remotes = [{ type: "streamable-http", url: "https://x.example.com/mcp", headers: null, variables: null }]
      const server = weather("1.0.0", { title: null, repository: null, packages: null, icons: null, remotes })
      const host = yield* Host.make(() => ({
        body: { servers: [{ server, _meta: null }], metadata: { nextCursor: null } }
      }))
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
      const { instances, rejected } = yield* list
      assert.deepStrictEqual([instances.length, rejected], [1, []])
    }))

  it.live("that is deprecated says so", () =>
    Effect.gen(function*() {
      const { list, registry } = yield* begin()
      registry.put(weather("1.0.0"), "deprecated", "use com.example/climate")
      const { instances: [instance] } = yield* list
      assert.deepStrictEqual(instance?.tags, ["deprecated"])
      assert.strictEqual(instance?.metadata["deprecated"], "use com.example/climate")
    }))

  it.live("that went bad is rejected and harms no other", () =>
    Effect.gen(function*() {
      const { list, registry } = yield* begin()
      registry.put(weather("1.0.0"))
      registry.put(remote("com.example/maps", "1.0.0", "https://maps.example.com/mcp"))
      yield* list
      registry.put({ ...weather("1.0.1"), remotes: "none" } as never)
      const { instances, rejected } = yield* list
      assert.deepStrictEqual(instances.map(({ id }) => id), ["com.example/maps"])
      assert.deepStrictEqual(rejected.map(({ id }) => id), ["com.example/weather"])
    }))

  it.live("that went bad is rejected at each of its addresses: all of them stay", () =>
    Effect.gen(function*() {
      const { list, registry } = yield* begin()
      const remotes = ["a", "b", "c"].map((host) => ({ type: "sse", url: `https://${host}.example.com/sse` }))
      registry.put(weather("1.0.0", { remotes }))
      const all = ids(yield* list)
      assert.strictEqual(all.length, 3)
      for (const change of [{ version: 7 }, { remotes: "none" }, { title: [] }]) {
        registry.put({ ...weather("1.0.1"), ...change } as never)
        assert.deepStrictEqual((yield* list).rejected.map(({ id }) => id), all)
      }
      const packages = [{ registryType: "npm", identifier: "weather", transport: { type: "stdio" } }]
      registry.put(weather("1.0.2", { packages, remotes: remotes.map((remote) => ({ ...remote, url: "none" })) }))
      const { rejected } = yield* list
      assert.deepStrictEqual(rejected.map(({ id }) => id), all)
      assert.match(rejected[0]?.reason ?? "", /^remotes: url: .*; packages: running one starts a process/)
    }))

  it.live("is known by its name, also where what the registry says of it is odd", () =>
    Effect.gen(function*() {
      const _meta = { "io.modelcontextprotocol.registry/official": { publishedAt: 7 } }
      const host = yield* Host.make(() => ({ body: { servers: [{ server: weather("1.0.0"), _meta }] } }))
      const { list } = yield* DocumentsRegistry.make({ mcpRegistry: host.url })
      const { rejected } = yield* list
      assert.deepStrictEqual(rejected.map(({ id }) => id), ["com.example/weather"])
      assert.match(rejected[0]?.reason ?? "", /publishedAt: expected/)
    }))
})

const endless = (response: NodeJS.WritableStream) => {
  const chunk = Buffer.alloc(2 ** 16, " ")
  let written = 0
  const more = () => {
    // Whoever took this much takes all.
    if (written > 2 ** 26) return response.end()
    written += chunk.length
    if (response.writable && response.write(chunk)) more()
  }
  response.on("drain", more)
  more()
}

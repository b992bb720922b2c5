import { assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Gateway from "@portolan/gateway/Gateway"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import { createServer } from "node:http"
import { type Answer, ask, fleet, type FleetOptions, instance, silent } from "./fleet.ts"

const withGateway = <A, E>(options: FleetOptions, use: (gateway: Gateway.Gateway["Service"]) => Effect.Effect<A, E>) =>
  Effect.provide(Effect.flatMap(Gateway.Gateway, use), fleet(options))

const until = <E>(check: Effect.Effect<boolean, E>) =>
  check.pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("20 millis") }),
    Effect.timeout("10 seconds")
  )

const Listed = Schema.Struct({
  items: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)),
  nextCursor: Schema.optionalKey(Schema.String)
})
const listed = (answer: Answer) => Schema.decodeUnknownSync(Listed)(answer.json)
const idsOf = (answer: Answer) => listed(answer).items.map((item) => item["id"] ?? item["name"])
const problem = (answer: Answer) => {
  assert.strictEqual(answer.headers["content-type"], "application/problem+json")
  return Schema.decodeUnknownSync(Schema.Record(Schema.String, Schema.Unknown))(answer.json)
}

describe("Gateway", () => {
  it.live("hands /mcp to the endpoint, and answers the rest", () =>
    withGateway({}, ({ port }) =>
      Effect.gen(function*() {
        assert.strictEqual((yield* ask(port, "/mcp", { method: "POST" })).text, "mcp")
        assert.strictEqual((yield* ask(port, "/mcp?x=1")).text, "mcp")
        assert.strictEqual((yield* ask(port, "/healthz")).text, "ok\n")
        const root = yield* ask(port, "/")
        assert.strictEqual(root.status, 200)
        const missing = yield* ask(port, "/nothing?x=1")
        assert.strictEqual(missing.status, 404)
        assert.strictEqual(problem(missing)["detail"], "nothing answers GET /nothing")
      })))

  describe("access", () => {
    const options: FleetOptions = {
      publicUrl: "https://mcp.example.com/",
      allowedHosts: ["gateway.internal"],
      allowedOrigins: ["https://app.example.com"]
    }
    it.live("answers under its own names only, everywhere", () =>
      withGateway(options, ({ port }) =>
        Effect.gen(function*() {
          for (const path of ["/healthz", "/mcp", "/api/v1/services", "/metrics", "/nothing"]) {
            for (
              const host of [
                "evil.example",
                "evil.example:80",
                "127.0.0.1.evil.example",
                "mcp.example.com.evil",
                "[",
                "a b"
              ]
            ) {
              const answer = yield* ask(port, path, { headers: { host } })
              assert.strictEqual(answer.status, 403, `${path} as ${host}`)
              problem(answer)
            }
          }
          for (
            const host of [
              "localhost",
              "LOCALHOST:9",
              "127.0.0.1:1",
              "[::1]:5",
              "127.1.2.3",
              "mcp.example.com",
              "gateway.internal:8080"
            ]
          ) {
            assert.strictEqual((yield* ask(port, "/healthz", { headers: { host } })).status, 200, host)
          }
        })))

    it.live("answers web pages of its own origins only, and tells their browsers", () =>
      withGateway(options, ({ port }) =>
        Effect.gen(function*() {
          for (
            const origin of [
              "https://evil.example",
              "null",
              "https://app.example.com:444",
              "http://app.example.com",
              "https://localhost.evil"
            ]
          ) {
            const answer = yield* ask(port, "/mcp", { method: "POST", headers: { origin } })
            assert.strictEqual(answer.status, 403, origin)
            assert.isUndefined(answer.headers["access-control-allow-origin"])
          }
          const under = (host: string, origin: string) =>
            Effect.map(ask(port, "/mcp", { method: "POST", headers: { host, origin } }), ({ status }) => status)
          assert.deepStrictEqual(
            [
              yield* under("gateway.internal:8080", "http://gateway.internal:8080"),
              yield* under("gateway.internal:8080", "https://gateway.internal:8080"),
              yield* under("gateway.internal:8080", "http://gateway.internal:8081"),
              yield* under("evil.example", "http://evil.example")
            ],
            [200, 200, 403, 403]
          )
          for (
            const origin of [
              "https://app.example.com",
              "https://mcp.example.com",
              "http://localhost:6274",
              "http://127.0.0.1:3000"
            ]
          ) {
            for (const path of ["/mcp", "/healthz"]) {
              const answer = yield* ask(port, path, { headers: { origin } })
              assert.strictEqual(answer.status, 200, origin)
              assert.strictEqual(answer.headers["access-control-allow-origin"], origin)
            }
            const preflight = yield* ask(port, "/mcp", {
              method: "OPTIONS",
              headers: {
                origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "mcp-method"
              }
            })
            assert.strictEqual(preflight.status, 204)
            assert.strictEqual(preflight.headers["access-control-allow-headers"], "mcp-method")
          }
        })))
  })

  describe("readiness", () => {
    it.live("waits for the first snapshot of each registry, and for nothing else", () =>
      withGateway(
        { instances: [instance("weather-a")] },
        ({ port }) => until(Effect.map(ask(port, "/readyz"), (answer) => answer.status === 200))
      ))

    it.live("gives up on a silent registry after five seconds", () =>
      withGateway({ registries: [silent("mute")] }, ({ port }) =>
        Effect.gen(function*() {
          const start = performance.now()
          assert.strictEqual((yield* ask(port, "/readyz")).status, 503)
          assert.strictEqual((yield* ask(port, "/healthz")).status, 200)
          yield* until(Effect.map(ask(port, "/readyz"), (answer) => answer.status === 200))
          const waited = performance.now() - start
          assert.isTrue(waited > 4000 && waited < 7000, `${waited} ms`)
        })))
  })

  describe("shutdown", () => {
    it.live("is not ready while it drains, lets calls finish, then closes", () =>
      Effect.gen(function*() {
        const drained = yield* Deferred.make<void>()
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(fleet({ endpoint: { drain: Deferred.await(drained) } }), scope)
        yield* Effect.gen(function*() {
          const { port } = yield* Gateway.Gateway
          yield* until(Effect.map(ask(port, "/readyz"), (answer) => answer.status === 200))
          const closing = yield* Effect.forkChild(Scope.close(scope, yield* Effect.exit(Effect.void)))
          yield* until(Effect.map(ask(port, "/readyz"), (answer) => answer.status === 503))
          assert.strictEqual((yield* ask(port, "/healthz")).status, 200)
          yield* Deferred.succeed(drained, undefined)
          yield* Fiber.join(closing)
          assert.isTrue((yield* Effect.exit(ask(port, "/healthz")))._tag === "Failure")
        }).pipe(Effect.provideContext(context))
      }))

    it.live("is bounded, whatever hangs", () =>
      Effect.gen(function*() {
        const start = performance.now()
        yield* Effect.gen(function*() {
          const { port } = yield* Gateway.Gateway
          yield* Effect.forkChild(Effect.exit(ask(port, "/mcp")))
          yield* ask(port, "/healthz")
        }).pipe(
          Effect.provide(fleet({ shutdownTimeout: "200 millis", endpoint: { drain: Effect.never, handle: () => {} } }))
        )
        assert.isBelow(performance.now() - start, 5000)
      }))
  })

  it.live("measures for exporters where it doesn't listen", () =>
    Effect.gen(function*() {
      const registry: Metric.MetricRegistry = new Map()
      yield* Effect.gen(function*() {
        yield* Layer.build(
          Gateway.layer({ listen: false, version: "1.2.3" }).pipe(Layer.provideMerge(Portolan.layer()))
        )
        const metrics = Metric.snapshotUnsafe(yield* Effect.context())
        const info = metrics.find(({ id }) => id === "portolan_info")
        assert.deepInclude(info?.attributes, { version: "1.2.3" })
        assert.include(metrics.map(({ id }) => id), "portolan_ready")
      }).pipe(
        Effect.scoped,
        Effect.provideService(Metric.MetricRegistry, registry)
      )
      assert.strictEqual(registry.size, 0)
    }))

  it.live("says in one line that its port is taken", () =>
    Effect.gen(function*() {
      const port = yield* Effect.acquireRelease(
        Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => {
            const address = server.address()
            resume(Effect.succeed({
              port: typeof address === "object" && address !== null ? address.port : 0,
              close: () => server.close()
            }))
          })
        }),
        ({ close }) => Effect.sync(close)
      )
      const error = yield* Effect.flip(withGateway({ port: port.port }, () => Effect.void))
      assert.instanceOf(error, Gateway.ListenError)
      assert.strictEqual(
        error.message,
        `port ${port.port} on 127.0.0.1 is in use: stop what listens there, or choose another port`
      )
    }))
})

describe("REST", () => {
  const secret = "s3cr3t"
  const instances = [
    instance("weather-a", {
      tags: ["prod"],
      metadata: { priority: 9 },
      endpoint: {
        transport: "streamable-http",
        url: `http://user:${secret}@127.0.0.1:1/mcp?api_key=${secret}`,
        headers: { Authorization: `Bearer ${secret}`, Other: { env: "TOKEN" } }
      }
    }),
    instance("weather-b", { region: "eu", metadata: { priority: 1 } }),
    instance("db-1", {
      endpoint: {
        transport: "stdio",
        command: "db",
        args: [
          "--token",
          secret,
          `--password=${secret}`,
          `postgres://u:${secret}@h/d`,
          `--database-url=postgres://u:${secret}@h/d`,
          "--passphrase",
          secret,
          `--header=Authorization: Bearer ${secret}`,
          "-v",
          "--header",
          `Authorization: Bearer ${secret}`
        ],
        env: { KEY: secret }
      }
    })
  ]
  const populated = (options: FleetOptions, use: (port: number) => Effect.Effect<void, Error>) =>
    withGateway(
      { instances, ...options },
      ({ port }) =>
        Effect.andThen(
          until(Effect.map(ask(port, "/readyz"), (answer) => answer.status === 200)),
          Effect.suspend(() => use(port))
        )
    )

  it.live("lists services, instances, tools and sources", () =>
    populated(
      {},
      Effect.fnUntraced(function*(port) {
        assert.deepStrictEqual(idsOf(yield* ask(port, "/api/v1/services")), ["db", "weather"])
        assert.deepStrictEqual(idsOf(yield* ask(port, "/api/v1/instances")), ["db-1", "weather-a", "weather-b"])
        const [tool] = listed(yield* ask(port, "/api/v1/tools")).items
        assert.deepInclude(tool, {
          name: "weather__tool_0000",
          service: "weather",
          readOnly: true,
          description: "does tool_0000",
          instances: []
        })
        const [source] = listed(yield* ask(port, "/api/v1/sources")).items
        assert.deepInclude(source, { name: "memory", type: "memory", state: "connected", instances: 3, rejected: [] })
        const weather = yield* ask(port, "/api/v1/services/weather")
        assert.deepInclude(weather.json, { name: "weather", versions: ["1.4.0"], available: 2 })
        const one = yield* ask(port, "/api/v1/instances/weather-b")
        assert.deepInclude(one.json, { id: "weather-b", region: "eu", source: "memory", stale: false, alsoIn: [] })
        const status = yield* ask(port, "/api/v1/status")
        assert.deepInclude(status.json, {
          services: 2,
          instances: 3,
          ready: true,
          hidden: [{ kind: "tools", name: "x", service: "b", reason: "a has the name" }]
        })
      })
    ))

  it.live("pages through sources in the order of their names", () =>
    Effect.gen(function*() {
      const registries = yield* Effect.forEach(["z", "a"], (name) => MemoryRegistry.make({ name }))
      yield* populated(
        { registries },
        Effect.fnUntraced(function*(port) {
          const first = listed(yield* ask(port, "/api/v1/sources?limit=2"))
          const second = listed(yield* ask(port, `/api/v1/sources?limit=2&cursor=${first.nextCursor}`))
          assert.deepStrictEqual([...first.items, ...second.items].map((source) => source["name"]), [
            "a",
            "memory",
            "z"
          ])
        })
      )
    }))

  it.live("shows no secret", () =>
    populated(
      {},
      Effect.fnUntraced(function*(port) {
        for (
          const path of [
            "instances",
            "instances/weather-a",
            "instances/db-1",
            "services/weather",
            "services/db",
            "services",
            "sources",
            "status"
          ]
        ) {
          const answer = yield* ask(port, `/api/v1/${path}`)
          assert.strictEqual(answer.status, 200)
          assert.notInclude(answer.text, secret, path)
        }
        const shown = yield* ask(port, "/api/v1/instances/weather-a")
        assert.include(shown.text, "{\"env\":\"TOKEN\"}")
        assert.include((yield* ask(port, "/api/v1/instances/db-1")).text, "\"-v\"")
      })
    ))

  it.live("answers the query of its parameters", () =>
    populated(
      {},
      Effect.fnUntraced(function*(port) {
        const ask1 = (query: string) => Effect.map(ask(port, `/api/v1/instances?${query}`), idsOf)
        assert.deepStrictEqual(yield* ask1("service=weather"), ["weather-a", "weather-b"])
        assert.deepStrictEqual(yield* ask1("service=weath*&region=eu"), ["weather-b"])
        assert.deepStrictEqual(yield* ask1("tags=prod&limit=5"), ["weather-a"])
        assert.deepStrictEqual(yield* ask1("service=nobody"), [])
        for (const wrong of ["servce=weather", "kind=robot", "limit=0", "limit=x", "limit=1001", "cursor=%00"]) {
          const answer = yield* ask(port, `/api/v1/instances?${wrong}`)
          assert.strictEqual(answer.status, 400, wrong)
          problem(answer)
        }
      })
    ))

  it.live("pages through a list, each item once", () =>
    populated(
      { tools: 250 },
      Effect.fnUntraced(function*(port) {
        const seen: Array<unknown> = []
        let path = "/api/v1/tools?limit=100"
        for (let page = 0; page < 10; page++) {
          const { items, nextCursor } = listed(yield* ask(port, path))
          seen.push(...items.map((item) => item["name"]))
          if (nextCursor === undefined) break
          path = `/api/v1/tools?limit=100&cursor=${nextCursor}`
        }
        assert.strictEqual(seen.length, 250)
        assert.strictEqual(new Set(seen).size, 250)
      })
    ))

  it.live("tells what is not there as a problem", () =>
    populated(
      {},
      Effect.fnUntraced(function*(port) {
        for (const path of ["services/nobody", "instances/nobody"]) {
          const answer = yield* ask(port, `/api/v1/${path}`)
          assert.strictEqual(answer.status, 404)
          assert.include(String(problem(answer)["detail"]), "nobody")
        }
      })
    ))

  it.live("describes itself, and counts for Prometheus", () =>
    populated(
      {},
      Effect.fnUntraced(function*(port) {
        const openapi = yield* ask(port, "/api/v1/openapi.json")
        for (const path of ["/api/v1/services/{service}", "/api/v1/instances/{id}", "/api/v1/tools"]) {
          assert.include(openapi.text, `"${path}"`)
        }
        const docs = yield* ask(port, "/api/docs")
        assert.strictEqual(docs.status, 200)
        assert.match(String(docs.headers["content-type"]), /^text\/html/)
        const metrics = yield* ask(port, "/metrics")
        assert.match(String(metrics.headers["content-type"]), /^text\/plain; version=0\.0\.4/)
        assert.include(metrics.text, "portolan_source_connected{source=\"memory\",type=\"memory\"} 1\n")
        assert.include(metrics.text, "portolan_mcp_calls_total 4\n")
        for (const line of metrics.text.trimEnd().split("\n")) {
          assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"\n]*",?)+\})? -?[\d.]+)$/)
        }
      })
    ))
})

import { assert, describe, it } from "@effect/vitest"
import * as Catalog from "@portolan/core/Catalog"
import * as ConfigurationState from "@portolan/gateway/configuration/ConfigurationState"
import { Gateway } from "@portolan/gateway/Gateway"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import { ask, fleet, instance, offer } from "./fleet.ts"
import { fields, instances, Items, names, problem, record, rest } from "./rest.ts"

describe("reads", () => {
  it.live("answers parts of services and instances", () =>
    rest({ instances }, ({ get }) =>
      Effect.gen(function*() {
        const health = fields((yield* get("/services/weather/health")).json)
        assert.deepInclude(health, { service: "weather", available: 2 })
        assert.deepInclude(fields(health["statuses"]), { unknown: 2, healthy: 0 })
        const one = fields((yield* get("/instances/weather-a/health")).json)
        assert.deepInclude(one, { id: "weather-a", source: "memory", stale: false, status: "unknown" })
        assert.deepEqual(names(yield* get("/services/weather/tools")), ["weather__tool_0000", "weather__tool_0001"])
        const tool = fields((yield* get("/tools/weather__tool_0001")).json)
        assert.deepInclude(tool, { service: "weather", description: "does tool_0001" })
        assert.include(problem(yield* get("/services/wether/health"), 404).detail, "did you mean \"weather\"?")
        assert.include(problem(yield* get("/services/nobody/tools"), 404).detail, "no service is called nobody")
        assert.include(problem(yield* get("/instances/weather-c"), 404).detail, "did you mean \"weather-")
        assert.include(problem(yield* get("/instances/weather-a?source=x"), 404).detail, "no instance of x")
        assert.include(problem(yield* get("/tools/weather__tool_001"), 404).detail, "did you mean")
      })))

  it.live("takes the query in every list", () =>
    rest({ instances }, ({ get }) =>
      Effect.gen(function*() {
        assert.deepEqual(names(yield* get("/services?tags=prod")), ["weather"])
        assert.deepEqual(names(yield* get("/services?metadata.priority%5B$gte%5D=8")), ["weather"])
        assert.deepEqual(names(yield* get("/services?q=db")), ["db"])
        assert.deepEqual(names(yield* get("/instances?q=weather%20region%3Deu")), ["weather-b"])
        assert.deepEqual(names(yield* get("/instances?tag=prod&service=weather*")), ["weather-a"])
        assert.deepEqual(names(yield* get("/sources?service=db")), ["memory"])
        assert.deepEqual(names(yield* get("/sources?service=nobody")), [])
        assert.deepEqual(names(yield* get("/tools?q=tool_0001")), ["weather__tool_0001"])
      })))

  const a = Catalog.key("memory", "weather-a")
  const b = Catalog.key("memory", "weather-b")

  it.live("searches tools for words, and holds to the conditions beside them", () =>
    rest(
      { instances, offers: [offer("weather", "forecast", [a]), offer("weather", "tides", [b])] },
      ({ get }) =>
        Effect.gen(function*() {
          const found = (q: string, more = "") => Effect.map(get(`/tools?q=${encodeURIComponent(q)}${more}`), names)
          assert.deepEqual(yield* found("forecast"), ["weather__forecast"])
          assert.deepEqual(yield* found("forecast tag=prod"), ["weather__forecast"])
          assert.deepEqual(yield* found("forecast region=eu"), [])
          assert.deepEqual(yield* found("forecast", "&region=eu"), [])
          assert.deepEqual(yield* found("tides", "&region=eu"), ["weather__tides"])
          // Words that the instance says, and not the tool.
          assert.deepEqual(yield* found("eu weather-b"), ["weather__tides"])
          assert.deepEqual(yield* found("weather-b tag=prod"), [])
        })
    ))

  it.live("shows the tools of a group under it and under its members", () => {
    const members = [a, Catalog.key("memory", "db-1")]
    const grouped = {
      ...offer("everything", "forecast", members),
      target: { services: ["everything", "weather", "db"] }
    }
    return rest({ instances, offers: [grouped] }, ({ get }) =>
      Effect.gen(function*() {
        for (const service of ["everything", "weather", "db"]) {
          assert.deepEqual(names(yield* get(`/services/${service}/tools`)), ["everything__forecast"], service)
        }
        assert.deepInclude(fields((yield* get("/services/db")).json), { tools: 1 })
        problem(yield* get("/services/nobody/tools"), 404)
      }))
  })

  it.live("names what it doesn't know, with a suggestion", () =>
    rest({ instances }, ({ get }) =>
      Effect.gen(function*() {
        for (const list of ["services", "instances", "tools", "sources", "services/weather/tools"]) {
          const told = problem(yield* get(`/${list}?servce=weather`), 400)
          assert.strictEqual(told.detail, "servce: unknown parameter; did you mean \"service\"?", list)
          assert.deepEqual(told.errors, [{ path: "servce", message: "unknown parameter; did you mean \"service\"?" }])
        }
        assert.include(problem(yield* get("/status?x=1"), 400).detail, "x: unknown parameter")
        assert.include(problem(yield* get("/instances/weather-a?sorce=memory"), 400).detail, "did you mean \"source\"?")
        assert.include(problem(yield* get("/instances?q=servce%3Dx"), 400).detail, "did you mean \"service\"?")
        const told = problem(yield* get("/instances?limit=0&cursor=%00&health=fine"), 400)
        assert.include(told.detail, "limit")
      })))

  it.live("tells clients that they have it already", () =>
    rest({ instances }, ({ get }) =>
      Effect.gen(function*() {
        for (const path of ["/services", "/instances", "/instances/weather-a", "/tools", "/openapi.json"]) {
          const first = yield* get(path)
          if (path === "/openapi.json") continue
          const etag = String(first.headers["etag"])
          assert.match(etag, /^"[\w.-]+"$/, path)
          const again = yield* get(path, { "if-none-match": `"x", W/${etag}` })
          assert.strictEqual(again.status, 304, path)
          assert.strictEqual(again.text, "")
          assert.strictEqual(again.headers["etag"], etag)
          assert.strictEqual((yield* get(path, { "if-none-match": "\"x\"" })).status, 200)
        }
      })))

  it.live("answers what is not asked as it should be with problems", () =>
    rest({ instances, bodyLimit: 1000 }, ({ get, send }) =>
      Effect.gen(function*() {
        assert.include(problem(yield* get("/nothing"), 404).detail, "/api/v1/nothing")
        const wrong = yield* send("DELETE", "/services/weather")
        assert.strictEqual(problem(wrong, 405).detail, "/api/v1/services/weather answers GET, not DELETE")
        assert.strictEqual(wrong.headers["allow"], "GET")
        assert.strictEqual((yield* send("PATCH", "/instances/x", {})).headers["allow"], "GET, PUT, DELETE")
        const head = yield* send("HEAD", "/services")
        assert.deepEqual([head.status, head.text], [200, ""])
        assert.strictEqual(head.headers["etag"], (yield* get("/services")).headers["etag"])
        problem(yield* get("/services", { accept: "text/csv" }), 406)
        problem(yield* get("/services", { accept: "application/json;q=0, text/html" }), 406)
        assert.strictEqual((yield* get("/services", { accept: "text/html, application/*;q=0.1" })).status, 200)
        problem(yield* send("POST", "/instances", "x=1", { "content-type": "application/x-www-form-urlencoded" }), 415)
        problem(yield* send("POST", "/instances", record("x", { metadata: { long: "x".repeat(2000) } })), 413)
        assert.include(problem(yield* send("POST", "/instances", "{"), 400).detail, "expected a valid JSON body")
      })))

  it.live("pages on while items come and go", () =>
    rest(
      { instances: Array.from({ length: 30 }, (_, at) => instance(`a-${String(at).padStart(2, "0")}`)) },
      (rest) =>
        Effect.gen(function*() {
          const first = Schema.decodeUnknownSync(Items)((yield* rest.get("/instances?limit=10")).json)
          assert.strictEqual((yield* rest.send("POST", "/instances", record("a-000", { service: "a" }))).status, 201)
          assert.strictEqual((yield* rest.send("POST", "/instances", record("a-105", { service: "a" }))).status, 201)
          const rest_ = yield* rest.get(`/instances?limit=100&cursor=${first.nextCursor}`)
          const seen = [...first.items.map((item) => item["id"]), ...names(rest_)]
          assert.strictEqual(seen.length, 31)
          assert.strictEqual(new Set(seen).size, 31)
          assert.include(seen, "a-105")
        })
    ))
})

describe("status", () => {
  it.live("tells of health that was never looked at without dates of 1970", () =>
    rest({ instances }, ({ get }) =>
      Effect.gen(function*() {
        assert.notInclude((yield* get("/instances")).text, "1970")
        assert.notInclude((yield* get("/services/weather/health")).text, "1970")
        assert.notProperty(fields((yield* get("/status")).json), "configuration")
        assert.include(problem(yield* get("/configuration"), 404).detail, "without a configuration file")
      })))

  it.live("tells the state of the configuration", () =>
    Effect.gen(function*() {
      const mistake = { path: "gateway.prot", line: 2, column: 3, message: "unknown key" }
      const { state } = yield* ConfigurationState.make({
        file: "portolan.yaml",
        loadedAt: 0,
        revision: 3,
        error: { at: 60_000, mistakes: [mistake] },
        pending: ["gateway.naming"],
        settings: [{ path: "gateway.token", value: "***", origin: "file" }]
      })
      const [told, whole] = yield* Effect.flatMap(
        Gateway,
        ({ port }) => Effect.all([ask(port, "/api/v1/status"), ask(port, "/api/v1/configuration")])
      ).pipe(
        Effect.provide(
          fleet({}).pipe(Layer.provide(Layer.succeed(ConfigurationState.ConfigurationState, state)))
        )
      )
      const status = {
        file: "portolan.yaml",
        loadedAt: "1970-01-01T00:00:00.000Z",
        revision: 3,
        error: { at: "1970-01-01T00:01:00.000Z", mistakes: [mistake] },
        pending: ["gateway.naming"]
      }
      assert.deepEqual(fields(told.json)["configuration"], status)
      assert.deepEqual(whole.json, {
        ...status,
        settings: [{ path: "gateway.token", value: "***", origin: "file" }]
      })
    }))
})

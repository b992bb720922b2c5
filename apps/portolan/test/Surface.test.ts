/**
 * The public surface as it is documented, line by line, from outside: what programs and people may rely on.
 */
import { assert, describe, it } from "@effect/vitest"
import { strategyNames } from "@portolan/core/Balancer"
import * as Effect from "effect/Effect"
import { gateway, record, registry } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import { portolan, until } from "./process.ts"

interface Answer {
  readonly status: number
  readonly type: string
  readonly headers: Headers
  readonly text: string
}

const ask = (url: string, init?: RequestInit): Effect.Effect<Answer> =>
  Effect.promise(async () => {
    const response = await fetch(url, init)
    return {
      status: response.status,
      type: response.headers.get("content-type") ?? "",
      headers: response.headers,
      text: await response.text()
    }
  })

const json = (url: string, init?: RequestInit) =>
  Effect.map(ask(url, init), (answer) => {
    const body: Record<string, unknown> = answer.text === "" ? {} : JSON.parse(answer.text)
    return { ...answer, body }
  })

const send = (method: string, body: object): RequestInit => ({
  method,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(body)
})

const itemsOf = (body: Record<string, unknown>): ReadonlyArray<Record<string, unknown>> => {
  const { items } = body
  assert.isArray(items)
  return Array.isArray(items) ? items : []
}

const fleet = (configuration: object = {}) =>
  Effect.gen(function*() {
    const one = yield* served({ tools: [{ name: "get_forecast", readOnly: true, run: () => "fair" }] })
    const two = yield* served({ tools: [{ name: "get_forecast", readOnly: true, run: () => "fair" }] })
    const records = [
      { ...record("weather-a", one.url), service: "weather", region: "us-west-2", tags: ["prod"] },
      { ...record("weather-b", two.url), service: "weather", region: "us-east-1" }
    ]
    const running = yield* gateway(
      { registries: [{ type: "file", path: "services.json" }], ...configuration },
      { "services.json": registry(...records) }
    )
    yield* until(
      Effect.map(json(`${running.url}/api/v1/tools`), ({ body }) => itemsOf(body).length === 1),
      20_000
    )
    return { ...running, one, two, records }
  })

const call = (url: string) =>
  portolan(["call", "weather__get_forecast", "--args", "{\"city\":\"Lisbon\"}", "--url", url])

describe("the command", () => {
  it.live("has every command, and ends with 0, 1 or 2", () =>
    Effect.gen(function*() {
      const help = yield* portolan(["--help"])
      const commands = [
        "up",
        "status",
        "services",
        "instances",
        "tools",
        "call",
        "watch",
        "register",
        "deregister",
        "refresh",
        "mark",
        "validate",
        "config"
      ]
      for (const command of commands) assert.match(help.stdout, new RegExp(`^\\s+${command}\\b`, "m"))
      assert.strictEqual(help.code, 0)
      assert.strictEqual((yield* portolan(["status", "--url", "http://127.0.0.1:9"])).code, 1)
      assert.strictEqual((yield* portolan(["mark", "x", "sideways"])).code, 2)
      assert.strictEqual((yield* portolan(["nonsense"])).code, 2)
      const schema = yield* portolan(["config", "schema"])
      assert.strictEqual(schema.code, 0)
      assert.property(JSON.parse(schema.stdout), "properties")
    }), 120_000)
})

describe("HTTP on one port", () => {
  it.live("answers every documented path", () =>
    Effect.gen(function*() {
      const { url } = yield* fleet()
      const expected: ReadonlyArray<readonly [path: string, status: number, type: RegExp]> = [
        ["/healthz", 200, /^text\/plain/],
        ["/readyz", 200, /^text\/plain/],
        ["/metrics", 200, /^text\/plain; version=0\.0\.4/],
        ["/api/docs", 200, /^text\/html/],
        ["/api/v1/openapi.json", 200, /^application\/json/],
        ["/api/v1/status", 200, /^application\/json/],
        ["/api/v1/services", 200, /^application\/json/],
        ["/api/v1/services/weather", 200, /^application\/json/],
        ["/api/v1/services/weather/health", 200, /^application\/json/],
        ["/api/v1/services/weather/tools", 200, /^application\/json/],
        ["/api/v1/instances", 200, /^application\/json/],
        ["/api/v1/instances/weather-a", 200, /^application\/json/],
        ["/api/v1/instances/weather-a/health", 200, /^application\/json/],
        ["/api/v1/tools", 200, /^application\/json/],
        ["/api/v1/sources", 200, /^application\/json/],
        ["/api/v1/reports/series", 200, /^application\/json/],
        ["/api/v1/services/nobody", 404, /^application\/problem\+json/],
        ["/api/v1/instances/nobody", 404, /^application\/problem\+json/],
        ["/api/v1/instances?limit=0", 400, /^application\/problem\+json/],
        ["/sse", 404, /^application\/problem\+json/],
        ["/nowhere", 404, /^application\/problem\+json/]
      ]
      for (const [path, status, type] of expected) {
        const answer = yield* ask(`${url}${path}`)
        assert.strictEqual(answer.status, status, path)
        assert.match(answer.type, type, path)
      }
      const lists = ["services", "services/weather/tools", "instances", "tools", "sources"]
      for (const list of lists) assert.isNotEmpty(itemsOf((yield* json(`${url}/api/v1/${list}`)).body), list)
      const page = yield* json(`${url}/api/v1/instances?limit=1`)
      assert.lengthOf(itemsOf(page.body), 1)
      const next = yield* json(`${url}/api/v1/instances?limit=1&cursor=${String(page.body["nextCursor"])}`)
      assert.deepStrictEqual([page, next].map(({ body }) => itemsOf(body)[0]?.["id"]), ["weather-a", "weather-b"])
      const detail = yield* json(`${url}/api/v1/services/weather`)
      assert.lengthOf(itemsOf({ items: detail.body["instances"] }), 2)
    }), 120_000)

  it.live("takes the query as parameters of every list", () =>
    Effect.gen(function*() {
      const { url } = yield* fleet()
      const ids = (query: string) =>
        Effect.map(json(`${url}/api/v1/instances?${query}`), ({ body }) => itemsOf(body).map(({ id }) => id))
      assert.deepStrictEqual(yield* ids("region=us-west-2"), ["weather-a"])
      assert.deepStrictEqual(yield* ids("tags=prod"), ["weather-a"])
      assert.deepStrictEqual(yield* ids("service=wea*&id=weather-b"), ["weather-b"])
      assert.deepStrictEqual(yield* ids("service=nobody"), [])
      const wrong = yield* json(`${url}/api/v1/instances?regoin=us-west-2`)
      assert.strictEqual(wrong.status, 400)
      assert.include(wrong.text, "regoin")
    }), 120_000)
})

describe("writes", () => {
  it.live("go to the memory registry for a lease, renewed by PUT, and end with DELETE", () =>
    Effect.gen(function*() {
      const { one, url } = yield* fleet()
      const instances = `${url}/api/v1/instances`
      const extra = { ...record("extra", one.url), service: "extra" }
      const created = yield* json(instances, send("POST", extra))
      assert.strictEqual(created.status, 201, created.text)
      yield* until(Effect.map(ask(`${instances}/extra`), ({ status }) => status === 200), 10_000)
      assert.strictEqual((yield* json(`${instances}/extra`)).body["source"], "memory")
      assert.strictEqual((yield* json(instances, send("POST", extra))).status, 409)
      const renewed = yield* json(`${instances}/extra`, send("PUT", { ...extra, tags: ["new"] }))
      assert.strictEqual(renewed.status, 200, renewed.text)
      yield* until(
        Effect.map(json(`${instances}/extra`), ({ body }) => JSON.stringify(body["tags"]) === "[\"new\"]"),
        10_000
      )
      const removed = yield* ask(`${instances}/extra`, { method: "DELETE" })
      assert.include([200, 204], removed.status, removed.text)
      yield* until(Effect.map(ask(`${instances}/extra`), ({ status }) => status === 404), 10_000)
    }), 120_000)

  it.live("of an instance that another registry announces are a 409 that names it", () =>
    Effect.gen(function*() {
      const { records, url } = yield* fleet()
      const answer = yield* json(`${url}/api/v1/instances`, send("POST", records[0]!))
      assert.strictEqual(answer.status, 409)
      assert.include(answer.text, "services.json")
      assert.match(answer.type, /^application\/problem\+json/)
    }), 120_000)

  it.live("need the token where one is configured", () =>
    Effect.gen(function*() {
      const { one, url } = yield* fleet({ gateway: { token: "open sesame" } })
      const extra = record("extra", one.url)
      const refused = yield* json(`${url}/api/v1/instances`, send("POST", extra))
      assert.strictEqual(refused.status, 401)
      assert.match(refused.headers.get("www-authenticate") ?? "", /^Bearer/)
      const init = send("POST", extra)
      const authorization = { "content-type": "application/json", authorization: "Bearer open sesame" }
      assert.strictEqual((yield* ask(`${url}/api/v1/instances`, { ...init, headers: authorization })).status, 201)
      assert.strictEqual((yield* ask(`${url}/api/v1/instances`)).status, 200)
    }), 120_000)

  it.live("refresh and mark", () =>
    Effect.gen(function*() {
      const { url } = yield* fleet()
      assert.include([200, 204], (yield* ask(`${url}/api/v1/refresh`, { method: "POST" })).status)
      for (const [as, status] of [["draining", "draining"], ["down", "down"], ["up", "healthy"]]) {
        assert.strictEqual((yield* portolan(["mark", "weather-a", as!, "--url", url])).code, 0)
        yield* until(
          Effect.map(
            json(`${url}/api/v1/instances/weather-a/health`),
            ({ body }) => body["status"] === status
          ),
          20_000
        )
      }
    }), 120_000)
})

describe("events", () => {
  it.live("begin with a snapshot and tell every change after it", () =>
    Effect.gen(function*() {
      const { one, url } = yield* fleet()
      yield* Effect.promise(async () => {
        const response = await fetch(`${url}/api/v1/events?topics=catalog`)
        assert.match(response.headers.get("content-type") ?? "", /^text\/event-stream/)
        let text = ""
        let announced = false
        for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
          text += chunk
          if (!announced && /event: ?snapshot/.test(text)) {
            announced = true
            await fetch(`${url}/api/v1/instances`, send("POST", record("late", one.url)))
          }
          if (/event: ?catalog\n(.*\n)*?data:.*"late"/.test(text) && /event: ?beat/.test(text)) break
        }
        assert.match(text, /^id: ?\S+$/m)
      })
    }), 120_000)
})

describe("the configuration", () => {
  it.live("takes every strategy", () =>
    Effect.gen(function*() {
      const server = yield* served({ tools: [{ name: "ask", readOnly: true, run: () => "fair" }] })
      const { url } = yield* gateway(
        {
          registries: [{ type: "file", path: "services.json" }],
          routing: strategyNames.map((strategy) => ({ match: { service: strategy }, strategy }))
        },
        { "services.json": registry(...strategyNames.map((name) => record(name, server.url))) }
      )
      yield* until(
        Effect.map(json(`${url}/api/v1/tools`), ({ body }) => itemsOf(body).length === strategyNames.length),
        20_000
      )
      yield* Effect.forEach(strategyNames, (strategy) =>
        Effect.gen(function*() {
          const answer = yield* portolan(["call", `${strategy}__ask`, "--json", "--url", url])
          assert.include(answer.stdout, `"strategy": "${strategy}"`, answer.stderr)
        }), { concurrency: 2 })
    }), 120_000)

  it.live("takes routing rules", () =>
    Effect.gen(function*() {
      const routing = [
        { match: { tool: "weather.*" }, preferRegions: ["us-east-1"], minHealthScore: 0.8, timeout: "60s" }
      ]
      const { one, two, url } = yield* fleet({ routing })
      for (let times = 0; times < 3; times++) assert.strictEqual((yield* call(url)).code, 0)
      assert.deepStrictEqual([one.asked("tools/call"), two.asked("tools/call")], [0, 3])
    }), 120_000)
})

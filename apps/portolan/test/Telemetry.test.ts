import { assert, describe, it } from "@effect/vitest"
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Gateway from "@portolan/gateway/Gateway"
import * as Telemetry from "@portolan/gateway/telemetry/Telemetry"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import * as Promtool from "@portolan/tooling/backends/Promtool"
import { Duration, Effect, Layer, Metric } from "effect"
import { TestConsole } from "effect/testing"
import * as Fs from "node:fs"
import { fileURLToPath } from "node:url"
import { attribute, collector } from "./collector.ts"
import { gateway as started } from "./fleet.ts"
import { type Served, served, type ServedTool } from "./mcpServer.ts"
import { portolan, until } from "./process.ts"

const tools: ReadonlyArray<ServedTool> = [
  { name: "forecast", readOnly: true },
  {
    name: "fail",
    run: () => {
      throw new Error("it did not work")
    }
  }
]

const record = (id: string, service: string, url: string) =>
  ServiceInstance.make({ id, service, endpoint: { transport: "streamable-http", url } })

/** Two services, one of them with an instance that isn't there, and what else is given, behind a gateway. */
const gateway = (
  telemetry: Telemetry.TelemetryOptions = {},
  given = tools,
  more: ReadonlyArray<ServiceInstance.ServiceInstance> = []
) =>
  Effect.gen(function*() {
    const up = yield* served({ tools: given })
    const registry = new Map()
    const context = yield* Layer.build(
      Gateway.layer({ port: 0 }).pipe(
        Layer.provideMerge(MemoryRegistry.layer({
          instances: [
            record("weather-1", "weather", up.url),
            record("weather-2", "weather", "http://127.0.0.1:9/mcp"),
            record("maps-1", "maps", up.url),
            ...more
          ]
        })),
        Layer.provideMerge(Portolan.layer({ balancing: { strategy: "round-robin" } })),
        Layer.provideMerge(Telemetry.layer(telemetry)),
        // Gateways of other tests have been in this process.
        Layer.provideMerge(Layer.succeed(Metric.MetricRegistry, registry))
      )
    )
    return yield* Effect.gen(function*() {
      const { url } = yield* Gateway.Gateway
      yield* (yield* ToolCatalog).settled
      return { url, up, context }
    }).pipe(Effect.provideContext(context))
  })

let id = 0
const post = (url: string, method: string, params: Record<string, unknown>, headers: Record<string, string> = {}) =>
  Effect.promise(async () => {
    const response = await fetch(`${url}/mcp`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        accept: "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": method,
        ...(typeof params["name"] === "string" ? { "mcp-name": params["name"] } : {}),
        ...headers
      },
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: ++id,
        method,
        params: {
          ...params,
          _meta: {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}
          }
        }
      })
    })
    return await response.text()
  })

const call = (url: string, name: string, headers: Record<string, string> = {}) =>
  post(url, "tools/call", { name, arguments: {} }, headers)

const read = (url: string, path = "/metrics", headers: Record<string, string> = {}) =>
  Effect.promise(async () => (await fetch(`${url}${path}`, { headers })).text())

/** A session of the handshake era, from its beginning to its end. */
const session = (url: string) =>
  Effect.promise(async () => {
    const headers = { "content-type": "application/json", accept: "application/json, text/event-stream" }
    const begun = await fetch(`${url}/mcp`, {
      method: "POST",
      headers,
      body: JSON.stringify({
        jsonrpc: "2.0",
        id: 0,
        method: "initialize",
        params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "test", version: "1" } }
      })
    })
    await begun.text()
    await fetch(`${url}/mcp`, {
      method: "DELETE",
      headers: { ...headers, "mcp-session-id": begun.headers.get("mcp-session-id") ?? "" }
    })
  })

/** Something of everything that is measured. */
const traffic = ({ up, url }: { readonly url: string; readonly up: Served }) =>
  Effect.gen(function*() {
    yield* session(url)
    yield* post(url, "tools/list", {})
    for (let times = 0; times < 4; times++) {
      yield* call(url, "weather__forecast")
      yield* call(url, "maps__forecast")
    }
    yield* call(url, "weather__fail")
    yield* call(url, "weather__nothing")
    yield* post(url, "no/such/method", {})
    // The event loop is measured twice a second.
    yield* until(Effect.map(read(url), (text) => /loop_lag_seconds_count [1-9]/.test(text)), 20_000)
    yield* Effect.promise(up.stop)
    yield* until(Effect.map(read(url), (text) => text.includes("mcp_client_session")), 20_000)
  })

const gatewayFile = (path: string) => fileURLToPath(new URL(`../../../packages/gateway/${path}`, import.meta.url))

/** Name and type of each metric of a text. */
const families = (text: string): Record<string, string> =>
  Object.fromEntries(Array.from(text.matchAll(/^# TYPE (\S+) (\S+)$/gm), ([, name, type]) => [name, type]))

/** Skips a test, and says so, where promtool can't be had. */
const withPromtool = <A, E, R>(test: Effect.Effect<A, E, R>) =>
  Effect.flatMap(
    Promtool.unavailable,
    (reason) => reason === undefined ? test : Effect.sync(() => console.warn(`skipped: ${reason}`))
  )

describe("metrics", () => {
  it.live(
    "pass promtool, after calls, failures, sessions and lost connections",
    () =>
      withPromtool(Effect.gen(function*() {
        const running = yield* gateway()
        yield* traffic(running)
        const text = yield* read(running.url)
        assert.deepStrictEqual(yield* Promtool.run(["check", "metrics"], text), { code: 0, said: "" })
        const wrong = yield* Promtool.run(
          ["check", "metrics"],
          text.replaceAll("portolan_picks_total", "portolan_picks")
        )
        assert.notStrictEqual(wrong.code, 0)
      })),
    60_000
  )

  it.live("are those of the README's table", () =>
    Effect.gen(function*() {
      const running = yield* gateway()
      yield* traffic(running)
      const readme = Fs.readFileSync(gatewayFile("README.md"), "utf8")
      const rows = Object.fromEntries(
        Array.from(
          readme.matchAll(/^\| `([a-z]\w+)` +\| (counter|gauge|histogram) +\|/gm),
          ([, name, type]) => [name, type]
        )
      )
      assert.deepStrictEqual(rows, families(yield* read(running.url)))
    }), 60_000)

  it.live("are seconds in the convention's buckets, labelled as it says", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway()
      yield* call(url, "maps__forecast")
      const text = yield* read(url)
      const labels = "mcp_method_name=\"tools/call\",gen_ai_tool_name=\"maps__forecast\"," +
        "gen_ai_operation_name=\"execute_tool\",mcp_protocol_version=\"2026-07-28\",network_transport=\"tcp\""
      assert.include(text, `mcp_server_operation_duration_seconds_count{${labels}} 1\n`)
      assert.deepStrictEqual(
        Array.from(
          text.matchAll(
            /^mcp_server_operation_duration_seconds_bucket\{mcp_method_name="tools\/call".*le="(.+)"\} [01]$/gm
          ),
          ([, le]) => le
        ),
        ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10", "30", "60", "120", "300", "+Inf"]
      )
      assert.match(
        text,
        /^mcp_client_operation_duration_seconds_count\{[^}]*gen_ai_tool_name="forecast"[^}]*portolan_service="maps"\} 1$/m
      )
      assert.match(
        text,
        /^portolan_instance_attempts_total\{portolan_service="maps",portolan_instance="maps-1",outcome="success"\} 1$/m
      )
    }))

  it.live("as JSON, by parameter, by header and under the API's path", () =>
    Effect.gen(function*() {
      const { url } = yield* gateway()
      yield* call(url, "maps__forecast")
      for (
        const answer of [
          yield* read(url, "/metrics?format=json"),
          yield* read(url, "/metrics", { accept: "application/json" }),
          yield* read(url, "/api/v1/metrics")
        ]
      ) {
        const { metrics }: { readonly metrics: ReadonlyArray<Record<string, unknown>> } = JSON.parse(answer)
        const named = (name: string) => metrics.find((metric) => metric["name"] === name)
        assert.deepInclude(named("portolan_mcp_calls_total"), {
          type: "counter",
          help: "Calls relayed.",
          series: [{ labels: {}, value: 1 }]
        })
        const durations = named("mcp_server_operation_duration_seconds")
        assert.deepInclude(durations, { type: "histogram", unit: "s" })
        assert.include(JSON.stringify(durations), "\"buckets\":[{\"le\":0.01,\"count\":")
      }
      assert.include(yield* read(url, "/metrics?format=prometheus", { accept: "application/json" }), "# TYPE ")
    }))

  it.live("hold no more series than their bounds, whatever clients send", () =>
    Effect.gen(function*() {
      const many = Array.from({ length: 260 }, (_, index) => ({ name: `tool_${index}` }))
      const { url } = yield* gateway({}, many)
      const evil = (index: number) => `evil_${index}_"}\n\\`
      yield* Effect.forEach(
        Array.from({ length: 300 }, (_, index) => index),
        (index) =>
          Effect.gen(function*() {
            yield* call(url, evil(index), { "mcp-name": `=?base64?${Buffer.from(evil(index)).toString("base64")}?=` })
            yield* post(url, `method/${index}`, {})
            yield* post(url, "prompts/get", { name: `prompt_${index}` })
            yield* call(url, `maps__tool_${index}`)
          }),
        { concurrency: 8 }
      )
      const text = yield* read(url)
      assert.notInclude(text, "evil")
      assert.notInclude(text, "method/")
      assert.notInclude(text, "=\"prompt_")
      const counts = text.split("\n").filter((line) => line.startsWith("mcp_server_operation_duration_seconds_count"))
      const tools = new Set(counts.map((line) => /gen_ai_tool_name="([^"]*)"/.exec(line)?.[1]))
      assert.isTrue(tools.has("_OTHER"))
      assert.strictEqual(Array.from(tools, String).filter((name) => name.startsWith("maps__")).length, 200)
      assert.isBelow(counts.length, 210)
      // All were counted: those that are known, and those that aren't.
      const total = counts.reduce((sum, line) => sum + Number(/ (\d+)$/.exec(line)?.[1]), 0)
      assert.isAtLeast(total, 900)
    }), 60_000)

  it.live("of the embedding program stand beside, in text and JSON", () =>
    Effect.gen(function*() {
      const { context, url } = yield* gateway()
      const queue = Metric.gauge("jobs_waiting", { description: "Jobs that wait.", attributes: { queue: "mail" } })
      const sizes = Metric.histogram("job_size_bytes", { description: "Sizes of jobs.", boundaries: [10, 100] })
      yield* Effect.all([Metric.update(queue, 7), Metric.update(sizes, 50)]).pipe(Effect.provideContext(context))
      const text = yield* read(url)
      assert.include(
        text,
        "# HELP jobs_waiting Jobs that wait.\n# TYPE jobs_waiting gauge\njobs_waiting{queue=\"mail\"} 7\n"
      )
      assert.include(text, "job_size_bytes_bucket{le=\"100\"} 1\n")
      const { metrics } = JSON.parse(yield* read(url, "/api/v1/metrics"))
      assert.deepInclude(metrics, {
        name: "jobs_waiting",
        type: "gauge",
        help: "Jobs that wait.",
        series: [{ labels: { queue: "mail" }, value: 7 }]
      })
    }))

  it.live("of what is gone go with it", () =>
    Effect.gen(function*() {
      const registry: Metric.MetricRegistry = new Map()
      yield* gateway().pipe(Effect.scoped, Effect.provideService(Metric.MetricRegistry, registry))
      assert.strictEqual(registry.size, 0)
    }))
})

describe("the Grafana dashboard", () => {
  const dashboard = JSON.parse(Fs.readFileSync(gatewayFile("grafana/portolan.json"), "utf8"))
  const panels: ReadonlyArray<{
    readonly id: number
    readonly type: string
    readonly title: string
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
    readonly datasource?: { readonly uid: string }
    readonly targets?: ReadonlyArray<{ readonly expr: string; readonly refId: string }>
  }> = dashboard.panels

  it("is one: version, unique panels that don't overlap, a data source that is a variable", () => {
    assert.isAtLeast(dashboard.schemaVersion, 39)
    assert.isString(dashboard.title)
    assert.strictEqual(new Set(panels.map(({ id }) => id)).size, panels.length)
    const variables = new Map<string, { type: string }>(
      dashboard.templating.list.map((each: { name: string; type: string }) => [each.name, each])
    )
    assert.strictEqual(variables.get("datasource")?.type, "datasource")
    for (const panel of panels) {
      const { h, w, x, y } = panel.gridPos
      assert.isTrue(x >= 0 && w > 0 && x + w <= 24, panel.title)
      for (const { gridPos: other, id } of panels) {
        const apart = x + w <= other.x || other.x + other.w <= x || y + h <= other.y || other.y + other.h <= y
        assert.isTrue(id === panel.id || apart, `${panel.title} overlaps another`)
      }
      if (panel.type === "row") continue
      assert.strictEqual(panel.datasource?.uid, "${datasource}", panel.title)
      assert.isNotEmpty(panel.targets, panel.title)
      for (const { expr } of panel.targets ?? []) {
        for (const [, variable = ""] of expr.matchAll(/\$(?!__)(\w+)/g)) assert.isTrue(variables.has(variable), expr)
      }
    }
  })

  const expressions = [
    ...panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...dashboard.templating.list.flatMap(({ definition }: { definition?: string }) => definition ?? [])
  ]

  it.live("asks for metrics that exist, all of them", () =>
    Effect.gen(function*() {
      const running = yield* gateway()
      yield* traffic(running)
      const known = families(yield* read(running.url))
      const unknown = (text: string) => {
        // What is left without labels.
        const bare = text.replace(/\{[^{}]*\}|\b(by|on) \([^)]*\)|, \w+\)$/g, "")
        const names = bare.match(/\b(?:mcp|portolan|process|nodejs)_\w+/g) ?? []
        return names.map((name) => name.replace(/_(bucket|count|sum)$/, "")).filter((name) => known[name] === undefined)
      }
      assert.deepStrictEqual(expressions.flatMap(unknown), [])
      assert.deepStrictEqual(unknown("sum by (portolan_x) (portolan_y_bucket{portolan_z=\"1\"})"), ["portolan_y"])
      const alerts = Fs.readFileSync(gatewayFile("prometheus/alerts.yaml"), "utf8")
      assert.deepStrictEqual(unknown(alerts), [])
      // What they name for the next step is there, too.
      const help = (yield* portolan(["--help"])).stdout
      const commands = alerts.matchAll(/\bportolan (?!tells)([a-z]+)/g)
      for (const [, command = ""] of commands) assert.match(help, new RegExp(`^ +${command} `, "m"))
    }), 60_000)

  it.live("has expressions, and the alerts rules, that Prometheus reads", () =>
    withPromtool(Effect.gen(function*() {
      const directory = Fs.mkdtempSync("/tmp/portolan-rules-")
      yield* Effect.addFinalizer(() => Effect.sync(() => Fs.rmSync(directory, { recursive: true })))
      const rules = expressions.filter((expr) => !expr.startsWith("label_values")).map((expr, index) => ({
        record: `panel:${index}`,
        expr: expr.replaceAll("$__rate_interval", "5m").replace(/\$\w+/g, ".*")
      }))
      const file = `${directory}/rules.json`
      Fs.writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }))
      for (const path of [file, gatewayFile("prometheus/alerts.yaml")]) {
        const { code, said } = yield* Promtool.run(["check", "rules", path])
        assert.strictEqual(code, 0, said)
      }
    })))
})

const traceId = "4bf92f3577b34da6a3ce929d0e0e4736"
const clientSpan = "00f067aa0ba902b7"
const everySoOften = "200 millis"

describe("OTLP", () => {
  it.live(
    "takes spans under the client's, one for each attempt, metrics of all kinds, and logs with their trace",
    () =>
      Effect.gen(function*() {
        const received = yield* collector()
        const broken = yield* served({
          tools: [{
            name: "ask",
            readOnly: true,
            run: () => {
              throw new Error("not today")
            }
          }]
        })
        const sound = yield* served({ tools: [{ name: "ask", readOnly: true }] })
        const { context, url } = yield* gateway(
          {
            otlp: { url: received.url, headers: { "x-api-key": "k-1" }, interval: everySoOften },
            log: { level: "off" },
            version: "9.9.9"
          },
          tools,
          [record("twin-1", "twin", broken.url), record("twin-2", "twin", sound.url)]
        )
        // In turn: one of the two begins with the instance that is broken.
        for (let times = 0; times < 2; times++) {
          const answer = yield* call(url, "twin__ask", { traceparent: `00-${traceId}-${clientSpan}-01` })
          assert.include(answer, "\"result\"")
        }
        yield* Metric.update(Metric.gauge("jobs_waiting"), 7).pipe(Effect.provideContext(context))
        // What asks all the time is in no trace.
        for (const path of ["/metrics", "/metrics?format=json", "/healthz", "/readyz"]) yield* read(url, path)

        yield* until(Effect.sync(() => received.spans().length >= 5), 20_000)
        yield* until(Effect.sync(() => received.metrics().some(({ name }) => name === "jobs_waiting")), 20_000)
        const spans = received.spans()
        const servers = spans.filter(({ kind }) => kind === 2)
        assert.deepStrictEqual(servers.map(({ name }) => name), ["tools/call twin__ask", "tools/call twin__ask"])
        for (const span of servers) {
          assert.strictEqual(span.traceId, traceId)
          assert.strictEqual(span.parentSpanId, clientSpan)
          assert.strictEqual(span.status.code, 1)
          assert.strictEqual(attribute(span, "portolan.instance"), "twin-2")
        }
        const failedOver = servers.find((span) => attribute(span, "portolan.failovers") === 1)
        assert.isDefined(failedOver)
        const attempts = spans.filter(({ parentSpanId }) => parentSpanId === failedOver.spanId)
        assert.deepStrictEqual(
          attempts.map((span) => [
            span.name,
            span.kind,
            attribute(span, "portolan.instance"),
            attribute(span, "error.type"),
            span.status.code
          ]),
          [
            ["tools/call ask", 3, "twin-1", "-32603", 2],
            ["tools/call ask", 3, "twin-2", undefined, 1]
          ]
        )

        const durations = received.metrics().find(({ name }) => name === "mcp.server.operation.duration")
        assert.strictEqual(durations?.unit, "s")
        assert.deepStrictEqual(
          durations?.histogram?.dataPoints[0]?.explicitBounds,
          [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
        )
        const calls = received.metrics().find(({ name }) => name === "portolan_mcp_calls_total")
        assert.isTrue(calls?.sum?.isMonotonic)
        assert.strictEqual(calls?.sum?.dataPoints[0]?.asDouble, 2)
        assert.strictEqual(attribute({ attributes: received.resource() }, "service.name"), "portolan")
        assert.strictEqual(attribute({ attributes: received.resource() }, "service.version"), "9.9.9")
        assert.isTrue(received.headers.every((key) => key === "k-1"))
      }),
    60_000
  )

  it.live("takes logs, with the span that they are written in", () =>
    Effect.gen(function*() {
      const received = yield* collector()
      yield* Effect.logWarning("look").pipe(
        Effect.withSpan("work"),
        Effect.provide(
          Telemetry.layer({ otlp: { url: received.url, interval: everySoOften }, log: { level: "warn" } }).pipe(
            Layer.provideMerge(Layer.fresh(TestConsole.layer))
          )
        )
      )
      const [log] = received.logs()
      assert.strictEqual(log?.body.stringValue, "look")
      assert.strictEqual(log?.severityText, "Warn")
      assert.strictEqual(log?.traceId, received.spans()[0]?.traceId)
      assert.strictEqual(log?.spanId, received.spans()[0]?.spanId)
    }))

  for (const answer of ["hangs", "refuses"] as const) {
    it.live(
      `a collector that ${answer} holds nobody up, and is told of once for each kind`,
      () =>
        Effect.gen(function*() {
          const received = yield* collector(answer)
          const lines = yield* Effect.gen(function*() {
            const { url } = yield* gateway({
              otlp: { url: received.url, interval: "50 millis" },
              log: { level: "warn" }
            })
            for (let times = 0; times < 20; times++) assert.include(yield* call(url, "maps__forecast"), "\"result\"")
            yield* until(Effect.sync(() => received.headers.length > 0), 20_000)
            yield* Effect.sleep("300 millis")
            return yield* TestConsole.errorLines
          }).pipe(
            Effect.scoped,
            Effect.provide(Layer.fresh(TestConsole.layer)),
            Effect.timed,
            Effect.map(([time, lines]) => {
              // Each kind of export has 3 s for its last one.
              assert.isBelow(Duration.toMillis(time), 15_000)
              return lines
            })
          )
          const told = lines.filter((line) => String(line).includes("telemetry is not exported"))
          assert.isAtMost(told.length, 3)
          if (answer === "refuses") assert.match(String(told[0]), /HTTP 401/)
        }),
      60_000
    )
  }
})

describe("logs", () => {
  const written = (options: Telemetry.TelemetryOptions["log"], log: Effect.Effect<void>) =>
    Effect.gen(function*() {
      yield* log.pipe(Effect.provide(Telemetry.layer({ log: options })))
      assert.deepStrictEqual(yield* TestConsole.logLines, [])
      return (yield* TestConsole.errorLines).map(String)
    }).pipe(Effect.provide(Layer.fresh(TestConsole.layer)))

  const inside = Effect.currentSpan.pipe(
    Effect.orDie,
    Effect.tap(() => Effect.logInfo("hello there").pipe(Effect.annotateLogs("job", 7))),
    Effect.withSpan("work")
  )

  it.effect("are written as logfmt, JSON or for people, with the ids of the span", () =>
    Effect.gen(function*() {
      for (const format of Telemetry.formats) {
        let ids = { traceId: "", spanId: "" }
        const lines = yield* written(
          { format },
          Effect.map(inside, ({ spanId, traceId }) => {
            ids = { traceId, spanId }
          })
        )
        const text = lines.join("\n")
        if (format === "json") assert.deepInclude(JSON.parse(text), { level: "INFO", message: "hello there", ...ids })
        else {
          assert.include(text, "hello there")
          assert.include(text, ids.traceId, format)
        }
        if (format === "logfmt") {
          assert.match(text, /^timestamp=\S+ level=INFO .*message="hello there" job=7 .*spanId=\w{16}$/)
        }
        const [outside = ""] = yield* written({ format }, Effect.logInfo("alone"))
        assert.notInclude(outside, "trace")
      }
    }))

  it.effect("are those of their level and above", () =>
    Effect.gen(function*() {
      const all = Effect.all([
        Effect.logTrace("1"),
        Effect.logDebug("2"),
        Effect.logInfo("3"),
        Effect.logWarning("4"),
        Effect.logError("5")
      ], { discard: true })
      for (const [index, level] of Telemetry.levels.entries()) {
        assert.strictEqual((yield* written({ level }, all)).length, index, level)
      }
      assert.strictEqual((yield* written(undefined, all)).length, 3)
    }))

  it.live("of the command are as configured, and tell no secret at any level", () =>
    Effect.gen(function*() {
      const received = yield* collector("refuses")
      const secrets = ["s3cret-otlp", "s3cret-header", "s3cret-session", "s3cret-env", "s3cret-url"]
      const running = yield* started({
        gateway: { sessionKey: "s3cret-session" },
        telemetry: {
          otlp: { url: received.url, headers: { authorization: "Bearer s3cret-otlp" }, interval: "100ms" },
          log: { level: "trace", format: "json" }
        },
        mcpServers: {
          gone: {
            type: "http",
            url: "http://127.0.0.1:9/mcp?key=s3cret-url",
            headers: { authorization: "s3cret-header" }
          },
          broken: { command: process.execPath, args: ["-e", "process.exit(3)"], env: { TOKEN: "s3cret-env" } }
        }
      })
      yield* call(running.url, "gone__x")
      yield* until(Effect.sync(() => received.headers.length > 0), 20_000)
      const shown = yield* read(running.url)
      running.kill("SIGTERM")
      const { stderr, stdout } = yield* running.ended
      assert.include(stderr, `telemetry is not exported to ${received.url}/v1/metrics: HTTP 401`)
      for (const line of stderr.trim().split("\n")) assert.isString(JSON.parse(line).level, line)
      for (const secret of secrets) {
        for (const text of [stderr, stdout, shown]) assert.notInclude(text, secret)
      }
      assert.include(received.headers, "Bearer s3cret-otlp")
    }), 60_000)
})

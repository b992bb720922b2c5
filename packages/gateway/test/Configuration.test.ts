import { assert, describe, it } from "@effect/vitest"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { stringify } from "yaml"

const opened: Array<unknown> = []

const adapters = [
  Configuration.adapter({
    type: "file",
    options: Schema.Struct({ path: Schema.NonEmptyString, every: Schema.optionalKey(Schema.Int) }),
    name: ({ path }) => path,
    open: (options, context) => {
      opened.push({ options, context })
      return Effect.never
    }
  }),
  Configuration.adapter({ type: "memory", options: Schema.Struct({}), open: () => Effect.never })
]

const parse = (text: string, env: Record<string, string> = {}) =>
  Configuration.parse(text, { adapters, env, directory: "/work", file: "portolan.yaml" })

const good = (text: string, env: Record<string, string> = {}): Configuration.Configuration =>
  Result.getOrThrowWith(parse(text, env), (error) => new Error(error.message))

/** The mistakes as `line:column path: message`. */
const mistakes = (text: string, env: Record<string, string> = {}): ReadonlyArray<string> => {
  const result = parse(text, env)
  assert.isTrue(Result.isFailure(result), "expected mistakes")
  return Result.isFailure(result)
    ? result.failure.mistakes.map(({ column, line, message, path }) => `${line}:${column} ${path}: ${message}`)
    : []
}

describe("Configuration", () => {
  it("gives every key a default", () => {
    const { balancing, gateway, health, registries, routing, servers, upstreams } = good("")
    assert.deepStrictEqual(gateway, {
      host: "127.0.0.1",
      port: 7420,
      publicUrl: undefined,
      naming: "prefix",
      separator: "__",
      sessionKey: undefined,
      sessions: "sticky",
      pageSize: 1000,
      listTtl: Duration.zero,
      resourceCache: 16 * 1024 * 1024,
      showRouting: true,
      sessionLifetime: Duration.hours(24),
      sessionIdleTimeout: Duration.minutes(30),
      inputTimeout: Duration.minutes(10),
      limits: {
        sessions: 10_000,
        sessionsPerClient: 1_000,
        requests: 10_000,
        requestsPerSession: 256,
        streams: 10_000,
        subscriptions: 1_000,
        parked: 1_000,
        parkedPerClient: 64,
        replay: 256 * 1024
      },
      bodyLimit: 4 * 1024 * 1024,
      allowedHosts: [],
      allowedOrigins: [],
      sse: false,
      documents: true,
      token: undefined,
      tls: undefined,
      shutdownTimeout: Duration.seconds(10)
    })
    assert.deepStrictEqual(upstreams, {
      maxSessions: 64,
      idleTimeout: Duration.minutes(5),
      maxMessageSize: 16 * 1024 * 1024
    })
    assert.deepStrictEqual([registries, servers], [[], []])
    assert.deepStrictEqual(health, {
      interval: Duration.seconds(30),
      unhealthyInterval: Duration.seconds(1),
      idleInterval: undefined,
      timeout: Duration.seconds(10),
      rise: 1,
      fall: 3,
      concurrency: 32,
      ejection: {
        baseTime: Duration.seconds(1),
        maxTime: Duration.minutes(5),
        maxShare: 0.5,
        interval: Duration.seconds(10),
        minInstances: 5,
        minRequests: 100,
        deviations: 1.9,
        trials: 3,
        readmitOnCheck: true
      }
    })
    assert.deepStrictEqual(balancing, { strategy: "peak-ewma", slowStart: Duration.seconds(10) })
    assert.deepStrictEqual(routing, {
      timeout: Duration.seconds(60),
      maxTimeout: Duration.minutes(10),
      attempts: 3,
      retryBudget: { share: 0.2, reserve: 10 },
      backoff: { first: Duration.millis(25), longest: Duration.seconds(1) },
      limits: { perInstance: 1_024, queue: 1_000, wait: Duration.seconds(5) },
      hedging: undefined,
      panicThreshold: 0.5,
      rules: []
    })
    assert.isTrue(good("{}").dashboard)
    assert.isFalse(good("gateway: { dashboard: false }").dashboard)
    for (const empty of ["{}", "# nothing\n", "\uFEFF", "gateway:\nregistries:\n"]) good(empty)
  })

  it("reads YAML and JSON, a BOM, durations and sizes", () => {
    const yaml = "\uFEFFgateway: { port: 1, bodyLimit: 512kb }\nhealth: { interval: 250ms, timeout: 1.5s, fall: 2 }\n"
    const json =
      "\uFEFF{\"gateway\": {\"port\": 1, \"bodyLimit\": \"512kb\"},\n\t\"health\": {\"interval\": \"250ms\", \"timeout\": \"1.5s\", \"fall\": 2}}"
    for (const text of [yaml, json]) {
      const { gateway, health } = good(text)
      assert.strictEqual(gateway.port, 1)
      assert.strictEqual(gateway.bodyLimit, 512 * 1024)
      assert.deepStrictEqual(health.interval, Duration.millis(250))
      assert.deepStrictEqual(health.timeout, Duration.millis(1500))
      assert.strictEqual(health.fall, 2)
    }
  })

  it.each<readonly [what: string, text: string, expected: ReadonlyArray<string>]>([
    ["an unknown key", "gatway: {}", ["1:1 gatway: unknown key; did you mean \"gateway\"?"]],
    ["an unknown key inside", "gateway:\n  prot: 1", ["2:3 gateway.prot: unknown key; did you mean \"port\"?"]],
    ["a wrong type", "gateway:\n  port: high", ["2:9 gateway.port: expected number"]],
    ["a number out of range", "gateway: {port: 70000}", ["1:17 gateway.port: expected a value between 0 and 65535"]],
    [
      "a wrong word",
      "gateway: {naming: prefx}",
      ["1:19 gateway.naming: expected \"prefix\" | \"conflict\" | \"none\"; did you mean \"prefix\"?"]
    ],
    ["a wrong duration", "health: {interval: 5 seconds}", [
      "1:20 health.interval: expected a duration such as 250ms, 30s or 5m"
    ]],
    ["a duration that is a number", "health: {interval: 5}", [
      "1:20 health.interval: expected a duration such as 250ms, 30s or 5m"
    ]],
    ["limits that would let nothing through", "gateway:\n  limits: { sessions: 0, parked: many }", [
      "2:23 gateway.limits.sessions: expected a value between 1 and 1000000",
      "2:34 gateway.limits.parked: expected number"
    ]],
    ["an unknown limit", "gateway: {limits: {session: 5}}", [
      "1:20 gateway.limits.session: unknown key; did you mean \"sessions\"?"
    ]],
    ["a size without its unit", "upstreams:\n  maxMessageSize: 16", [
      "2:19 upstreams.maxMessageSize: expected a size such as 512kb or 4mb"
    ]],
    ["an empty token", "gateway:\n  token: \"\"", ["2:10 gateway.token: expected a value with a length of at least 1"]],
    ["a switch that is none", "gateway: {sse: on please}", ["1:16 gateway.sse: expected boolean"]],
    ["certificates without a key", "gateway:\n  tls: {cert: x}", ["2:8 gateway.tls.key: missing"]],
    [
      "certificates that aren't there",
      "gateway:\n  tls:\n    cert: nowhere.pem\n    key: /nowhere/key.pem\n    ca: ca.pem",
      [
        "3:11 gateway.tls.cert: can't read nowhere.pem: ENOENT: no such file or directory",
        "4:10 gateway.tls.key: can't read /nowhere/key.pem: ENOENT: no such file or directory",
        "5:9 gateway.tls.ca: can't read ca.pem: ENOENT: no such file or directory"
      ]
    ],
    ["a wrong section", "gateway: []", ["1:10 gateway: expected object"]],
    ["service in two groups", "catalog:\n  groups:\n    weather: [a, b]\n    sky: [c, b]", [
      "4:14 catalog.groups.sky[1]: \"b\" is in group \"weather\" already"
    ]],
    ["YAML alias of nothing", "gateway:\n  token: *hush", [
      "2:10 gateway.token: an alias of nothing; write text that begins with * in quotes"
    ]],
    ["alias without a list", "catalog:\n  aliases:\n    weather.forecast: get_forecast", [
      "3:23 catalog.aliases.weather.forecast: expected array"
    ]],
    ["key of catalog", "catalog:\n  group: {}", ["2:3 catalog.group: unknown key; did you mean \"groups\"?"]],
    ["a webhook's address", "webhooks:\n  - url: nowhere", ["2:10 webhooks[0].url: expected an http(s) URL"]],
    ["a webhook's topic", "webhooks:\n  - { url: \"http://a.test\", topics: [healt] }", [
      "2:38 webhooks[0].topics[0]: expected \"catalog\" | \"health\" | \"sources\"; did you mean \"health\"?"
    ]],
    ["rule without a match", "routing:\n  - {}", ["2:5 routing[0].match: missing"]],
    ["rule's key", "routing:\n  - match: { tol: x }", [
      "2:14 routing[0].match.tol: unknown key; did you mean \"tool\"?"
    ]],
    ["rule's score", "routing:\n  - match: {}\n    minHealthScore: 2", [
      "3:21 routing[0].minHealthScore: expected a number from 0 to 1"
    ]],
    ["rule's query", "routing:\n  - match: {}\n    require:\n      version: nonsense\n", [
      "4:16 routing[0].require.version: Invalid SemVer range \"nonsense\": major must be a non-negative integer without leading zeros, received \"nonsense\""
    ]],
    ["a way of sessions", "gateway: {sessions: loose}", [
      "1:21 gateway.sessions: expected \"sticky\" | \"strict\" | \"free\""
    ]],
    ["a share of instances", "health:\n  ejection:\n    maxShare: 50", [
      "3:15 health.ejection.maxShare: expected a number from 0 to 1"
    ]],
    ["a key of ejection", "health:\n  ejection: { baseTim: 1s }", [
      "2:15 health.ejection.baseTim: unknown key; did you mean \"baseTime\"?"
    ]],
    ["a time of ejection", "health:\n  ejection: { maxTime: long }", [
      "2:24 health.ejection.maxTime: expected a duration such as 250ms, 30s or 5m"
    ]],
    ["no trials", "health: {ejection: {trials: 0}}", [
      "1:29 health.ejection.trials: expected a value between 1 and 1000"
    ]],
    ["a slow start that is a number", "balancing: {slowStart: 10}", [
      "1:24 balancing.slowStart: expected a duration such as 250ms, 30s or 5m"
    ]],
    ["a threshold", "balancing:\n  panicThreshold: 50%", [
      "2:19 balancing.panicThreshold: expected number"
    ]],
    ["a key of calls", "calls:\n  retrys: 3", ["2:3 calls.retrys: unknown key; did you mean \"retries\"?"]],
    ["too many retries", "calls: {retries: 11}", ["1:18 calls.retries: expected a value between 0 and 10"]],
    ["a budget", "calls:\n  retryBudget: 20%", ["2:16 calls.retryBudget: expected object"]],
    ["a budget's share", "calls:\n  retryBudget: { share: -1 }", [
      "2:25 calls.retryBudget.share: expected a number from 0 to 10"
    ]],
    ["a pause", "calls:\n  backoff: { first: soon }", [
      "2:21 calls.backoff.first: expected a duration such as 250ms, 30s or 5m"
    ]],
    ["limits", "calls:\n  limits:\n    perInstance: 0\n    perService: many\n    queue: -1\n    wait: 5", [
      "3:18 calls.limits.perInstance: expected a value between 1 and 1000000",
      "4:17 calls.limits.perService: expected number",
      "5:12 calls.limits.queue: expected a value between 0 and 1000000",
      "6:11 calls.limits.wait: expected a duration such as 250ms, 30s or 5m"
    ]],
    ["hedging that is a switch", "calls:\n  hedging: true", ["2:12 calls.hedging: expected object"]],
    ["hedging's percentile", "calls:\n  hedging: { percentile: 95 }", [
      "2:26 calls.hedging.percentile: expected a number from 0.5 to 0.999"
    ]],
    ["a rule's hedging", "routing:\n  - match: {}\n    hedging: {}", ["3:14 routing[0].hedging: expected boolean"]],
    ["a wrong origin", "gateway: {allowedOrigins: [x]}", [
      "1:28 gateway.allowedOrigins[0]: expected an origin such as https://app.example.com"
    ]],
    ["an unknown registry", "registries:\n  - type: fle\n    path: x", [
      "2:11 registries[0].type: expected one of file, memory; did you mean \"file\"?"
    ]],
    ["an unknown option", "registries:\n  - type: file\n    path: x\n    evry: 3", [
      "4:5 registries[0].evry: unknown key; did you mean \"every\"?"
    ]],
    ["a missing option", "registries:\n  - type: file", ["2:5 registries[0].path: missing"]],
    ["a missing type", "registries:\n  - path: x", ["2:5 registries[0].type: missing"]],
    ["a registry that is none", "registries: [3]", ["1:14 registries[0]: expected object"]],
    ["the same name twice", "registries:\n  - {type: memory, name: a}\n  - {type: memory, name: a}", [
      "3:26 registries[1].name: another registry is called a; give this one another name"
    ]],
    ["two of one type without a name", "registries:\n  - {type: memory}\n  - {type: memory}", [
      "3:5 registries[1]: another registry is called memory; give this one another name"
    ]],
    [
      "the same file twice",
      "registries:\n  - {type: file, path: a}\n  - {type: file, path: b}\n  - {type: file, path: a}",
      [
        "4:5 registries[2]: another registry is called a; give this one another name"
      ]
    ],
    ["the name of the servers", "registries:\n  - {type: memory, name: static}\nmcpServers: {a: {command: x}}", [
      "2:26 registries[0].name: another registry is called static; give this one another name"
    ]],
    ["a duplicate key", "gateway: {}\ngateway: {}", ["2:1 : map keys must be unique"]],
    ["text without an end", "gateway: \"x", ["1:12 : missing closing \"quote"]],
    ["the top level", "- 1", ["1:1 : expected object"]]
  ])("tells %s with its place", (_what, text, expected) => {
    assert.deepStrictEqual(mistakes(text), expected)
  })

  it("finds certificates beside the file", () => {
    const directory = mkdtempSync(join(tmpdir(), "portolan-tls-"))
    try {
      for (const name of ["cert.pem", "key.pem"]) writeFileSync(join(directory, name), "")
      const parsed = Configuration.parse("gateway: {tls: {cert: ./cert.pem, key: key.pem, passphrase: x}}", {
        adapters,
        env: {},
        directory
      })
      assert.deepStrictEqual(Result.getOrThrow(parsed).gateway.tls, {
        cert: join(directory, "cert.pem"),
        key: join(directory, "key.pem"),
        ca: undefined,
        passphrase: "x"
      })
    } finally {
      rmSync(directory, { recursive: true })
    }
  })

  it("reads groups, aliases and how old lists may be", () => {
    assert.deepStrictEqual(good("").catalog, { groups: {}, aliases: {}, maxAge: 30_000 })
    const { catalog } = good(`
catalog:
  groups: { weather: [weather-eu, met-office] }
  aliases: { x.y: [z] }
  maxAge: 5m
`)
    assert.deepStrictEqual(catalog, {
      groups: { weather: ["weather-eu", "met-office"] },
      aliases: { "x.y": ["z"] },
      maxAge: 300_000
    })
  })

  it("reads routing rules", () => {
    const { routing } = good(`
routing:
  - match: { tool: "weather.*" }
    preferRegions: [us-west-2]
    minHealthScore: 0.8
    timeout: 60s
  - { name: gpu, match: { capability: image.* }, require: { metadata.gpu: true }, retries: 1, strategy: lowest-cost }
`)
    assert.deepStrictEqual(JSON.parse(JSON.stringify(routing.rules)), [
      {
        match: { name: "weather.*" },
        preferRegions: ["us-west-2"],
        minHealthScore: 0.8,
        timeout: JSON.parse(JSON.stringify(Duration.seconds(60)))
      },
      {
        name: "gpu",
        match: { capability: "image.*" },
        require: { "metadata.gpu": true },
        attempts: 2,
        strategy: "lowest-cost"
      }
    ])
  })

  it("reads what calls may do, and what takes an instance out of traffic", () => {
    const { balancing, gateway, health, routing } = good(`
gateway: { sessions: strict }
balancing: { strategy: p2c, slowStart: 0s, panicThreshold: 0.3 }
health:
  ejection: { consecutiveFailures: 5, baseTime: 500ms, maxTime: 1m, maxShare: 0.2, trials: 1, readmitOnCheck: false }
calls:
  timeout: 5s
  retries: 0
  retryBudget: { share: 0.1 }
  backoff: { first: 10ms }
  limits: { perInstance: 8, perService: 20, queue: 50, wait: 250ms }
  hedging: { percentile: 0.9 }
routing:
  - { match: { service: reports }, hedging: false, retries: 4 }
`)
    assert.strictEqual(gateway.sessions, "strict")
    assert.deepStrictEqual(balancing, { strategy: "p2c", slowStart: Duration.zero })
    assert.deepInclude(health.ejection, {
      consecutiveFailures: 5,
      baseTime: Duration.millis(500),
      maxTime: Duration.minutes(1),
      maxShare: 0.2,
      minInstances: 5,
      trials: 1,
      readmitOnCheck: false
    })
    const { rules, ...rest } = routing
    assert.deepStrictEqual(rest, {
      timeout: Duration.seconds(5),
      maxTimeout: Duration.minutes(10),
      attempts: 1,
      retryBudget: { share: 0.1, reserve: 10 },
      backoff: { first: Duration.millis(10), longest: Duration.seconds(1) },
      limits: { perInstance: 8, perService: 20, queue: 50, wait: Duration.millis(250) },
      hedging: { percentile: 0.9, share: 0.05 },
      panicThreshold: 0.3
    })
    assert.deepInclude(rules?.[0], { hedging: false, attempts: 5 })
    assert.deepStrictEqual(good("calls: { hedging: {} }").routing.hedging, { percentile: 0.95, share: 0.05 })
  })

  it("reads telemetry", () => {
    assert.deepStrictEqual(good("").telemetry, { log: { level: "info", format: "logfmt" } })
    const { log, otlp } = good(
      "telemetry:\n  otlp: { url: 'http://127.0.0.1:4318', headers: { key: '${KEY}' } }\n  log: { level: debug }\n",
      { KEY: "k-1" }
    ).telemetry
    assert.deepStrictEqual(log, { level: "debug", format: "logfmt" })
    assert.deepStrictEqual(otlp, {
      url: "http://127.0.0.1:4318",
      headers: { key: "k-1" },
      interval: Duration.seconds(10)
    })
    assert.deepStrictEqual(mistakes("telemetry:\n  otlp: { url: collector }\n  log: { level: loud, fromat: json }\n"), [
      "2:16 telemetry.otlp.url: expected an http(s) URL",
      "3:17 telemetry.log.level: expected \"off\" | \"error\" | \"warn\" | \"info\" | \"debug\" | \"trace\"",
      "3:23 telemetry.log.fromat: unknown key; did you mean \"format\"?"
    ])
  })

  it("tells all mistakes at once, in the order of the file", () => {
    const text = [
      "registries:",
      "  - {type: etc}",
      "  - {type: file}",
      "mcpServers:",
      "  a: {}",
      "  b: {comand: x}",
      "gateway: {port: x}",
      "health: {rise: 0}"
    ].join("\n")
    assert.deepStrictEqual(mistakes(text).map((line) => line.split(" ")[0]), [
      "2:12",
      "3:5",
      "5:3",
      "6:7",
      "7:17",
      "8:16"
    ])
  })

  describe("environment", () => {
    it("substitutes, with defaults, in keys of every type", () => {
      const text =
        "gateway:\n  host: ${HOST}\n  port: ${PORT:-99}\n  separator: a${S:-}b\nmcpServers:\n  a: { command: x, args: [\"${N}\", \"$${N}\"] }"
      const { gateway, servers } = good(text, { HOST: "::1", N: "17" })
      assert.deepStrictEqual([gateway.host, gateway.port, gateway.separator], ["::1", 99, "ab"])
      const endpoint = servers[0]?.endpoint
      assert.deepStrictEqual(endpoint?.transport === "stdio" ? endpoint.args : undefined, ["17", "${N}"])
    })
    it("substitutes numbers in JSON too", () => {
      assert.strictEqual(good("{\"gateway\": {\"port\": \"${PORT}\"}}", { PORT: "8" }).gateway.port, 8)
      assert.deepStrictEqual(mistakes("{\"gateway\": {\"port\": \"${PORT}\"}}", { PORT: "x" }), [
        "1:22 gateway.port: expected number"
      ])
      assert.deepStrictEqual(mistakes("{\"gateway\": {\"port\": \"8\"}}"), ["1:22 gateway.port: expected number"])
    })
    it("refuses what is unset, once, and what it doesn't understand", () => {
      assert.deepStrictEqual(mistakes("gateway:\n  port: ${PORT}"), [
        "2:9 gateway.port: environment variable PORT is not set; set it or give a default: ${PORT:-default}"
      ])
      assert.match(mistakes("gateway: {host: \"${1}\"}")[0] ?? "", /^1:17 gateway\.host: \$\{1\}: expected \$\{NAME\}/)
      assert.match(mistakes("servers: {a: {command: \"${input:key}\"}}")[0] ?? "", /environment variable/)
    })
    it("reads the names that editors substitute", () => {
      const { servers } = good(
        "{\"servers\": {\"a\": {\"command\": \"${workspaceFolder}/x\", \"env\": {\"T\": \"${env:TOKEN}\"}}}}",
        { TOKEN: "t" }
      )
      assert.deepStrictEqual(servers[0]?.endpoint, { transport: "stdio", command: "/work/x", env: { T: "t" } })
    })
  })

  describe("servers", () => {
    it("takes the objects of Claude Desktop, Cursor and VS Code as they are", () => {
      const { servers } = good(JSON.stringify({
        mcpServers: {
          memory: { command: "npx", args: ["-y", "@modelcontextprotocol/server-memory"], env: { A: "b" } },
          cursor: { url: "https://example.com/mcp", headers: { Authorization: "Bearer x" } },
          old: { type: "sse", url: "https://example.com/sse" },
          off: { command: "x", disabled: true },
          named: { command: "x", service: "y", version: "1.2.3", cwd: "sub", autoApprove: ["a"] }
        },
        servers: {
          github: { type: "http", url: "https://api.githubcopilot.com/mcp" },
          local: { type: "stdio", command: "node", args: ["x.js"], dev: { watch: "x" } },
          socket: { type: "ws", url: "ws://127.0.0.1:1" }
        }
      }))
      assert.deepStrictEqual(servers.map(({ endpoint, id, service }) => [id, service, endpoint]), [
        ["memory", "memory", {
          transport: "stdio",
          command: "npx",
          args: ["-y", "@modelcontextprotocol/server-memory"],
          env: { A: "b" }
        }],
        ["cursor", "cursor", {
          transport: "streamable-http",
          url: "https://example.com/mcp",
          headers: { Authorization: "Bearer x" }
        }],
        ["old", "old", { transport: "sse", url: "https://example.com/sse" }],
        ["named", "y", { transport: "stdio", command: "x", cwd: "/work/sub" }],
        ["github", "github", { transport: "streamable-http", url: "https://api.githubcopilot.com/mcp" }],
        ["local", "local", { transport: "stdio", command: "node", args: ["x.js"] }],
        ["socket", "socket", { transport: "websocket", url: "ws://127.0.0.1:1" }]
      ])
    })

    it.each<readonly [entry: string, expected: string]>([
      ["{}", "1:14 mcpServers.a: expected `command` (a program to start) or `url` (a server to reach)"],
      ["{command: x, url: y}", "1:35 mcpServers.a.url: expected either `command` or `url`, not both"],
      ["{type: http, command: x}", "1:24 mcpServers.a.type: type http needs `url`"],
      ["{url: \"ftp://x\"}", "1:23 mcpServers.a.url: expected an http(s) URL"],
      ["{url: \"http://x\", args: []}", "1:41 mcpServers.a.args: `args` has no meaning for a streamable-http server"],
      ["{comand: x}", "1:18 mcpServers.a.comand: unknown key; did you mean \"command\"?"],
      ["{command: x, type: htpp}", "1:36 mcpServers.a.type"],
      ["3", "1:17 mcpServers.a: expected object"]
    ])("refuses %s", (entry, expected) => {
      assert.include(mistakes(`mcpServers: {a: ${entry}}`)[0] ?? "", expected)
    })

    it("reads an environment file, under what the entry says", () => {
      const directory = mkdtempSync(join(tmpdir(), "portolan-configuration-"))
      try {
        writeFileSync(join(directory, ".env"), "A=1\nB=\"two words\"\n")
        const text = "servers: {a: {command: x, envFile: .env, env: {A: \"3\"}}, b: {command: x, envFile: none}}"
        const result = Configuration.parse(text.replace(", b: {command: x, envFile: none}", ""), {
          adapters,
          env: {},
          directory
        })
        const { servers } = Result.getOrThrow(result)
        assert.deepStrictEqual(servers[0]?.endpoint, {
          transport: "stdio",
          command: "x",
          env: { A: "3", B: "two words" }
        })
        const bad = Configuration.parse(text, { adapters, env: {}, directory })
        assert.match(Result.isFailure(bad) ? bad.failure.message : "", /servers\.b\.envFile: can't read .*none/)
      } finally {
        rmSync(directory, { recursive: true })
      }
    })

    it("refuses the same server twice", () => {
      assert.deepStrictEqual(mistakes("mcpServers: {a: {command: x}}\nservers: {a: {command: y}}"), [
        "2:11 servers.a: stands in mcpServers too"
      ])
    })
  })

  it.effect("hands options and context to the adapter", () =>
    Effect.gen(function*() {
      const [first] = good("registries: [{type: file, path: x, every: 3, name: n, trust: limited}]").registries
      assert.deepStrictEqual([first?.type, first?.name, first?.trust], ["file", "n", "limited"])
      opened.length = 0
      yield* Effect.scoped(Effect.timeoutOption(first?.open ?? Effect.void, 0))
      assert.deepStrictEqual(opened, [{
        options: { path: "x", every: 3 },
        context: { name: "n", trust: "limited", directory: "/work" }
      }])
    }))

  it.effect("names a file that can't be read", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Configuration.load("/nowhere/portolan.yaml", { adapters }))
      assert.match(error.message, /^\/nowhere\/portolan\.yaml:1:1: can't read/)
    }))

  it("makes a JSON Schema with the options of each adapter", () => {
    const schema = Configuration.jsonSchema(adapters)
    const text = JSON.stringify(schema)
    for (
      const word of [
        "shutdownTimeout",
        "mcpServers",
        "\"const\":\"file\"",
        "\"every\"",
        "Longest wait for calls in flight"
      ]
    ) {
      assert.include(text, word)
    }
    assert.isFalse(schema["additionalProperties"])
  })

  it("describes every key of its own", () => {
    const silent: Array<string> = []
    const look = (schema: unknown, path: string): void => {
      if (typeof schema !== "object" || schema === null) return
      for (const [key, inner] of Object.entries(Object(Reflect.get(schema, "properties")))) {
        const own = JSON.stringify(Reflect.get(Object(inner), "allOf") ?? "")
        if (Reflect.get(Object(inner), "description") === undefined && !own.includes("description")) {
          silent.push(`${path}.${key}`)
        }
        look(inner, `${path}.${key}`)
      }
      look(Reflect.get(schema, "items"), `${path}[]`)
      look(Reflect.get(schema, "additionalProperties"), `${path}.*`)
    }
    // What others write, and what adapters say of theirs.
    const { mcpServers: _, registries: __, servers: ___, ...properties } = Object(
      Configuration.jsonSchema(adapters)["properties"]
    )
    look({ properties }, "")
    assert.deepStrictEqual(silent, [])
  })

  describe("laws", () => {
    const duration = fc.tuple(fc.nat(9999), fc.constantFrom("ms", "s", "m", "h")).map(([amount, unit]) =>
      `${amount}${unit}`
    )
    const optional = { requiredKeys: [] }
    const plain = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).map((text) => text.replaceAll("$", "S"))
    const server = fc.oneof(
      fc.record({ command: plain, args: fc.array(plain), disabled: fc.boolean() }, { requiredKeys: ["command"] }),
      fc.record({ url: fc.webUrl().map((url) => url.replaceAll("$", "S")), service: plain }, { requiredKeys: ["url"] })
    )
    const configuration = fc.record({
      gateway: fc.record({
        host: plain,
        port: fc.nat(65_535),
        naming: fc.constantFrom("prefix", "conflict", "none"),
        pageSize: fc.integer({ min: 1, max: 10_000 }),
        shutdownTimeout: duration
      }, optional),
      registries: fc.uniqueArray(
        fc.oneof(
          fc.record({ type: fc.constant("file"), path: plain, every: fc.nat() }, { requiredKeys: ["type", "path"] }),
          fc.record({ type: fc.constant("memory") })
        ),
        { selector: (entry) => "path" in entry ? entry.path : entry.type }
      ),
      mcpServers: fc.dictionary(fc.string({ minLength: 1, maxLength: 8 }), server, {
        maxKeys: 4,
        noNullPrototype: true
      }),
      health: fc.record({ interval: duration, rise: fc.integer({ min: 1, max: 100 }) }, optional)
    }, optional)

    it("any valid configuration means the same in YAML and in JSON", () => {
      fc.assert(
        fc.property(configuration, (value) => {
          const strip = (configuration: Configuration.Configuration) => {
            const { registries, source: _, ...rest } = configuration
            return { ...rest, registries: registries.map(({ name, trust, type }) => ({ name, trust, type })) }
          }
          const json = strip(good(JSON.stringify(value)))
          assert.deepStrictEqual(strip(good(stringify(value))), json)
          assert.strictEqual(json.gateway.port, value.gateway?.port ?? 7420)
          assert.strictEqual(json.registries.length, value.registries?.length ?? 0)
          assert.deepStrictEqual(
            json.servers.map((each) => each.id),
            Object.entries(value.mcpServers ?? {}).filter(([, entry]) =>
              !("disabled" in entry && entry.disabled === true)
            ).map(([id]) => id)
          )
        }),
        { numRuns: 300 }
      )
    })

    it("a mutated configuration never throws, and mistakes have a place in the text", () => {
      const mutation = fc.record({
        at: fc.nat(),
        remove: fc.nat(5),
        insert: fc.string({ unit: "binary", maxLength: 5 })
      })
      fc.assert(
        fc.property(
          configuration,
          fc.boolean(),
          fc.array(mutation, { minLength: 1, maxLength: 4 }),
          (value, asJson, mutations) => {
            const text = mutations.reduce((before, { at, insert, remove }) => {
              const start = at % (before.length + 1)
              return before.slice(0, start) + insert + before.slice(start + remove)
            }, asJson ? JSON.stringify(value) : stringify(value))
            const result = parse(text)
            if (Result.isSuccess(result)) return
            assert.isNotEmpty(result.failure.mistakes)
            const lines = text.split("\n")
            for (const { column, line } of result.failure.mistakes) {
              assert.isAtLeast(line, 1)
              assert.isAtMost(line, lines.length)
              assert.isAtMost(column, (lines[line - 1]?.length ?? 0) + 1)
            }
          }
        ),
        { numRuns: 1000 }
      )
    })
  })
})

/**
 * What the entries of `registries` take, by type, and what is said of mistakes in them.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { adapters } from "../src/adapters.ts"
import { directory, portolan } from "./process.ts"

const parse = (entry: string) => Configuration.parse(`registries:\n  - ${entry}\n`, { adapters, env: { PASS: "hush" } })

const good = (entry: string) => Result.getOrThrowWith(parse(entry), (error) => new Error(error.message)).registries

/** The mistakes without the name of the file and their line. */
const mistakes = (entry: string): ReadonlyArray<string> =>
  Result.match(parse(entry), {
    onSuccess: () => [],
    onFailure: (error) => error.message.split("\n").map((line) => line.replace("portolan.yaml:2:", ""))
  })

const key = Buffer.alloc(32).toString("base64")

describe("registries", () => {
  it.effect("of every type are opened with all their options, and reach for nothing yet", () =>
    Effect.gen(function*() {
      for (
        const [entry, name] of [
          ["{ type: consul, url: \"http://127.0.0.1:1\" }", "consul"],
          [
            "{ type: consul, url: \"https://127.0.0.1:1\", tag: [a, b], services: [x], datacenter: east, token: { env: PASS }, stale: true }",
            "consul"
          ],
          [`{ type: consul, name: keys, url: "http://127.0.0.1:1", kv: portolan/ }`, "keys"],
          ["{ type: redis, url: \"redis://:secret@127.0.0.1:1/2\" }", "redis"],
          [
            "{ type: redis, sentinels: [\"127.0.0.1:1\", \"[::1]:2\"], master: main, username: u, password: { env: PASS }, sentinelUsername: s, sentinelPassword: t, database: 1 }",
            "redis"
          ],
          [
            `{ type: redis, cluster: ["redis-0.redis:6379"], nodeAddresses: { "10.0.0.1:6379": "localhost:1" }, keyPrefix: "p:", tls: {}, encryption: { keys: [{ id: a, key: "${key}" }] } }`,
            "redis"
          ],
          ["{ type: etcd, endpoints: [\"http://127.0.0.1:1\"], prefix: /p/, username: u, password: p }", "etcd"],
          [`{ type: etcd, endpoints: ["https://127.0.0.1:1"], tls: { serverName: etcd } }`, "etcd"],
          ["{ type: kubernetes, kubeconfig: kubeconfig.yaml }", "kubernetes"],
          [
            "{ type: kubernetes, kubeconfig: kubeconfig.yaml, context: main, namespaces: [mcp, tools], labelSelector: \"app=mcp\", portName: mcp, instances: services }",
            "kubernetes"
          ],
          ["{ type: kubernetes, name: cluster, kubeconfig: kubeconfig.yaml, namespaces: all }", "cluster"],
          ["{ type: network-scan, ports: [3000-3010] }", "network-scan"],
          [
            "{ type: network-scan, networks: [10.0.0.0/30, 10.0.0.5-10.0.0.7, \"fd00::1\"], hosts: [localhost], ports: [80, \"3000\"], paths: [/mcp, /], schemes: [http, https], transports: [streamable-http, sse], allowNetworks: [10.0.0.0/8], denyNetworks: [10.0.0.1], concurrency: 8, rate: 100, connectTimeout: 200ms, identifyTimeout: 1s, interval: 5m, rise: 2, fall: 4 }",
            "network-scan"
          ],
          ["{ type: dns-sd }", "dns-sd"],
          [
            "{ type: dns-sd, service: _tools._tcp, interfaces: [lo], port: 5454, allowNetworks: [127.0.0.0/8], denyNetworks: [\"::/0\"], identify: false, identifyTimeout: 1s }",
            "dns-sd"
          ],
          [
            "{ type: documents, mcpRegistry: \"https://127.0.0.1:1\", search: weather, every: 1h, variables: { region: eu }, token: { env: PASS }, tls: {} }",
            "mcp-registry 127.0.0.1:1"
          ],
          ["{ type: documents, catalog: \"http://127.0.0.1:1\" }", "catalog 127.0.0.1:1"],
          ["{ type: documents, serverCard: \"http://127.0.0.1:1/mcp\" }", "server-card 127.0.0.1:1"],
          ["{ type: documents, name: agents, agentCard: \"http://127.0.0.1:1\" }", "agents"],
          ["{ type: memory, allow: { services: [weather] } }", "memory"]
        ] as const
      ) {
        const [first, ...more] = good(entry)
        assert.lengthOf(more, 0)
        const registry = yield* first!.open
        assert.deepStrictEqual([registry.name, registry.trust], [name, "limited"], entry)
      }
    }))

  it.effect("are known by their types; the code of one is loaded when it is opened", () =>
    Effect.gen(function*() {
      const hook = `import { registerHooks } from "node:module"
        registerHooks({ load: (url, context, next) => {
          const [, name] = /packages\\/([\\w-]+)\\/(?:src|dist)\\//.exec(url) ?? []
          if (name !== undefined) console.error("loaded " + name)
          return next(url, context)
        } })`
      const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` }
      const cwd = yield* directory({
        "portolan.yaml":
          "registries:\n  - { type: kubernetes }\n  - { type: dns-sd }\n  - { type: network-scan, ports: [1] }\n"
          + "  - { type: documents, catalog: \"http://127.0.0.1:1\" }\n  - { type: file, path: services.json }\n"
      })
      const loaded = (args: ReadonlyArray<string>) =>
        Effect.map(
          portolan(args, { cwd, env }),
          ({ stderr }) => new Set(Array.from(stderr.matchAll(/^loaded (.*)$/gm), ([, name]) => name))
        )
      assert.deepStrictEqual(Array.from(yield* loaded(["validate"])).sort(), ["core", "gateway"])
      // It can't be written, and is opened to find that out.
      const opened = yield* loaded(["register", "weather", "--url", "http://127.0.0.1:1", "--registry", "documents"])
      assert.deepStrictEqual(Array.from(opened).sort(), ["core", "documents", "gateway"])
    }))

  it("of Consul are as many as it names datacenters", () => {
    const entry = (name: string) => `{ type: consul, ${name}url: "http://127.0.0.1:1", datacenters: [east, west] }`
    assert.deepStrictEqual(good(entry("")).map(({ name }) => name), ["consul-east", "consul-west"])
    assert.deepStrictEqual(good(entry("name: prod, ")).map(({ name }) => name), ["prod-east", "prod-west"])
  })

  it.each([
    ["{ type: consul }", "5: registries[0].url: missing"],
    ["{ type: consul, url: 127.0.0.1 }", "26: registries[0].url: expected an http(s) URL"],
    [
      "{ type: consul, url: \"http://a\", datacenter: a, datacenters: [b] }",
      "66: registries[0].datacenters: expected either `datacenter` or `datacenters`, not both"
    ],
    ["{ type: consul, url: \"http://a\", kv: p/, tag: mcp }", "51: registries[0].tag: has no meaning with `kv`"],
    [
      "{ type: consul, url: \"http://a\", datacenters: [] }",
      "51: registries[0].datacenters[0]: missing"
    ],
    ["{ type: redis }", "5: registries[0]: expected one of `url`, `sentinels` with `master`, and `cluster`"],
    [
      "{ type: redis, url: \"redis://a\", cluster: [\"a:1\"] }",
      "5: registries[0]: expected one of `url`, `sentinels` with `master`, and `cluster`"
    ],
    ...["http://a", "redis://", "redis://a/main", "redis://a?db=2", "rediss://a/1#2"].map((url) => [
      `{ type: redis, url: "${url}" }`,
      "25: registries[0].url: expected a URL such as redis://127.0.0.1:6379, with no more than the number of a database behind it"
    ]),
    ["{ type: redis, cluster: [\"a:65536\"] }", "30: registries[0].cluster[0]: expected host:port"],
    [
      "{ type: consul, url: \"http://a\", datacenters: [a, b, a] }",
      "58: registries[0].datacenters[2]: it is named before"
    ],
    [
      "{ type: etcd, endpoints: [\"http://a\", \"http://u:hush@b\"] }",
      "43: registries[0].endpoints[1]: its user belongs in `username` and `password`"
    ],
    [
      "{ type: memory, encryption: {} }",
      "21: registries[0].encryption: unknown key; expected one of type, name, trust, allow"
    ],
    ["{ type: memory, nmae: a }", "21: registries[0].nmae: unknown key; did you mean \"name\"?"],
    ["{ type: redis, sentinels: [\"a:1\"] }", "31: registries[0].sentinels: needs `master` too"],
    ["{ type: redis, url: \"redis://a\", master: m }", "46: registries[0].master: needs `sentinels` too"],
    ["{ type: redis, cluster: [a] }", "30: registries[0].cluster[0]: expected host:port"],
    ["{ type: redis, cluster: [\"a:1\"], database: 2 }", "48: registries[0].database: a cluster has only one"],
    ["{ type: consul, url: \"http://a\", tls: {} }", "43: registries[0].tls: needs addresses that begin with https"],
    [
      "{ type: etcd, endpoints: [\"https://a\", \"http://b\"], tls: {} }",
      "62: registries[0].tls: needs addresses that begin with https"
    ],
    ["{ type: etcd, endpoints: [] }", "30: registries[0].endpoints[0]: missing"],
    [
      "{ type: etcd, endpoints: [\"http://a\"], password: p }",
      "54: registries[0].password: `username` and `password` belong together"
    ],
    [
      "{ type: kubernetes, namespaces: [My_NS] }",
      "38: registries[0].namespaces[0]: expected the name of a namespace"
    ],
    ["{ type: kubernetes, namespaces: mcp }", "37: registries[0].namespaces: expected all, or a list such as [mcp]"],
    ["{ type: kubernetes, namespace: mcp }", "25: registries[0].namespace: unknown key; did you mean \"namespaces\"?"],
    ["{ type: network-scan }", "5: registries[0].ports: missing"],
    ...["0", "70000", "10-5", "80-", "http"].map((port) => [
      `{ type: network-scan, ports: ["${port}"] }`,
      "35: registries[0].ports[0]: expected a port such as 3000 or ports such as 3000-3010"
    ]),
    ...["10.0.0.0/33", "10.0.0", "10.0.0.9-10.0.0.1", "example.com"].map((network) => [
      `{ type: network-scan, ports: [1], networks: ["${network}"] }`,
      "50: registries[0].networks[0]: expected a network (10.0.0.0/24), a range (10.0.0.5-10.0.0.20) or an address"
    ]),
    [
      "{ type: network-scan, ports: [1], interval: 60 }",
      "49: registries[0].interval: expected a duration such as 250ms, 30s or 5m"
    ],
    [
      "{ type: documents, catalog: \"http://a\", every: 0s }",
      "52: registries[0].every: expected a duration such as 250ms, 30s or 5m"
    ],
    ["{ type: dns-sd, service: mcp }", "30: registries[0].service: expected a type of services such as _mcp._tcp"],
    [
      "{ type: documents }",
      "5: registries[0]: expected one of `mcpRegistry`, `catalog`, `serverCard`, `agentCard`"
    ],
    [
      "{ type: documents, catalog: \"http://a\", serverCard: \"http://a\" }",
      "5: registries[0]: expected one of `mcpRegistry`, `catalog`, `serverCard`, `agentCard`"
    ],
    ["{ type: documents, catalog: \"http://a\", search: x }", "53: registries[0].search: needs `mcpRegistry`"],
    ...["http://u:hush@a", "http:u:hush@a", " http://hush@a"].map((url) => [
      `{ type: documents, catalog: "${url}" }`,
      "33: registries[0].catalog: what is secret of it belongs in `token`"
    ]),
    [
      "{ type: documents, catalog: \"http://a\", tls: {} }",
      "50: registries[0].tls: needs addresses that begin with https"
    ],
    [
      "{ type: rediss }",
      "13: registries[0].type: expected one of file, consul, redis, etcd, kubernetes, dns-sd, network-scan, documents, " +
      "memory; did you mean \"redis\"?"
    ]
  ])("tell what is wrong: %s", (entry, expected) => {
    assert.deepStrictEqual(mistakes(entry), [expected])
  })
})

/**
 * Real backends that ask for certificates and secrets, registries whose records are sealed, and those that may announce
 * only so much.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Certificates from "@portolan/tooling/backends/Certificates"
import * as Consul from "@portolan/tooling/backends/Consul"
import type { Unavailable } from "@portolan/tooling/backends/Debian"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as Redis from "@portolan/tooling/backends/Redis"
import type { ServerError } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Scope from "effect/Scope"
import { randomBytes } from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { gateway, record, registry, status } from "./fleet.ts"
import { served } from "./mcpServer.ts"
import * as Peers from "./peers.ts"
import { background, directory, portolan, until, up } from "./process.ts"

type Starting<A> = Effect.Effect<A, ServerError | Unavailable, Scope.Scope>

const lacking = {
  consul: await Effect.runPromise(Consul.unavailable),
  redis: await Effect.runPromise(Redis.unavailable),
  etcd: await Effect.runPromise(Etcd.unavailable)
}
for (const [name, reason] of Object.entries(lacking)) {
  if (reason !== undefined) console.log(`skipped: ${name} with certificates, secrets and sealed records: ${reason}`)
}

/** Announces through the configuration of a folder, until the scope closes. */
const register = Effect.fnUntraced(function*(cwd: string, id: string, type: string, url: string) {
  const announcer = yield* background(["register", id, "--id", id, "--url", url, "--registry", type, "--ttl", "10s"], {
    cwd,
    env
  })
  yield* until(Effect.sync(() => announcer.out().includes(`announced ${id}`)), 30_000)
})

const password = "a-password-of-some-length"
const env = { REDIS_PASSWORD: password }

describe("a backend that asks for a certificate and a secret", () => {
  const token = "5a8c3a6e-2b9c-4a53-9a0f-2d9d4d7b6a11"

  const backends: Readonly<
    Record<keyof typeof lacking, (authority: Certificates.Authority) => Starting<{ url: string }>>
  > = {
    consul: (authority) =>
      Effect.flatMap(
        authority.issue("consul"),
        (issued) => Consul.single({ tls: { ca: authority.cert, ...issued, clients: true }, token })
      ),
    redis: (authority) => Redis.single({ tls: authority, password }),
    etcd: (authority) => Etcd.single({ tls: authority })
  }
  const configurations = (url: string) => ({
    consul: `url: "${url}", token: { file: token }`,
    redis: `url: "${url}", password: { env: REDIS_PASSWORD }`,
    etcd: `endpoints: ["${url}"]`
  })

  for (const type of ["consul", "redis", "etcd"] as const) {
    it.live.skipIf(lacking[type] !== undefined)(
      `${type}: is reached with those of the configuration`,
      () =>
        Effect.gen(function*() {
          const authority = yield* Certificates.authority("ca")
          const own = yield* authority.issue("portolan")
          const { url } = yield* backends[type](authority)
          const cwd = yield* directory({
            "ca.pem": authority.cert,
            "cert.pem": own.cert,
            "key.pem": own.key,
            token: `${token}\n`,
            "portolan.yaml": `registries:\n  - { type: ${type}, ${
              configurations(url)[type]
            }, tls: { ca: ca.pem, cert: cert.pem, key: key.pem } }\n`
          })
          const server = yield* served({ tools: [{ name: "echo" }] })
          yield* register(cwd, "safe", type, server.url)
          const running = yield* up([], { cwd, env })
          const peer = yield* Peers.stateless(running.url)
          yield* until(
            Effect.map(Effect.promise(peer.tools), (tools) => tools.some(({ name }) => name === "safe__echo")),
            20_000
          )
          assert.strictEqual(Peers.textOf(yield* Effect.promise(() => peer.call("safe__echo", {}))), "echo")
        }),
      60_000
    )
  }

  it.live.skipIf(lacking.consul !== undefined)(
    "is reached as soon as the file has the right secret, and no sooner",
    () =>
      Effect.gen(function*() {
        const { url } = yield* Consul.single({ token })
        const cwd = yield* directory({
          token: "wrong-token-of-some-length",
          "portolan.yaml": `registries:\n  - { type: consul, url: "${url}", token: { file: token } }\n`
        })
        const running = yield* up([], { cwd })
        const source = Effect.map(status(running), ({ sources }) => sources[0])
        yield* until(Effect.map(source, (found) => found?.error !== undefined), 20_000)
        const told = yield* source
        assert.strictEqual(told?.state, "connecting")
        assert.notInclude(JSON.stringify(told), "wrong-token")
        Fs.writeFileSync(Path.join(cwd, "token"), token)
        yield* until(Effect.map(source, (found) => found?.state === "connected"), 20_000)
      }),
    60_000
  )
})

describe("sealed records", () => {
  const base64 = (text: string) => Buffer.from(text).toString("base64")
  const unbase64 = (text: string) => text.replace(/"[\w+/]{20,}={0,2}"/g, (found) => Buffer.from(found, "base64") + "")

  const send = (url: string, init?: { method: "PUT" | "POST"; body: string }) =>
    Effect.promise(async () => {
      const response = await fetch(url, init)
      const text = await response.text()
      assert.isTrue(response.ok, text)
      return text
    })

  /** How a stranger writes a record of its own, and all that there is to be read. */
  interface Backend {
    readonly configuration: string
    readonly write: (service: string, url: string) => Effect.Effect<unknown, unknown>
    readonly read: Effect.Effect<string, unknown>
  }

  const range = { key: base64("/portolan/"), range_end: base64("/portolan0") }
  const backends: Readonly<Record<string, readonly [type: keyof typeof lacking, start: Starting<Backend>]>> = {
    consul: [
      "consul",
      Effect.map(Consul.make, ({ url }) => ({
        configuration: `type: consul, url: "${url}"`,
        write: (service, at) => {
          const { hostname, port } = new URL(at)
          const body = JSON.stringify({ ID: service, Name: service, Address: hostname, Port: Number(port) })
          return send(`${url}/v1/agent/service/register`, { method: "PUT", body })
        },
        read: send(`${url}/v1/agent/services`)
      }))
    ],
    "consul's keys": [
      "consul",
      Effect.map(Consul.make, ({ url }) => ({
        configuration: `type: consul, url: "${url}", kv: portolan/`,
        write: (service, at) =>
          send(`${url}/v1/kv/portolan/${service}/${service}`, {
            method: "PUT",
            body: JSON.stringify(record(service, at))
          }),
        read: Effect.map(send(`${url}/v1/kv/portolan/?recurse`), unbase64)
      }))
    ],
    redis: [
      "redis",
      Effect.map(Redis.single(), ({ cli, url }) => ({
        configuration: `type: redis, url: "${url}"`,
        write: (service, at) => cli("SET", `portolan:instance:${service}`, JSON.stringify(record(service, at))),
        read: Effect.flatMap(cli("KEYS", "*"), (keys) => cli("MGET", ...keys.split("\n")))
      }))
    ],
    etcd: [
      "etcd",
      Effect.map(Etcd.make, ({ url }) => ({
        configuration: `type: etcd, endpoints: ["${url}"]`,
        write: (service, at) => {
          const body = {
            key: base64(`/portolan/${service}/${service}`),
            value: base64(JSON.stringify(record(service, at)))
          }
          return send(`${url}/v3/kv/put`, { method: "POST", body: JSON.stringify(body) })
        },
        read: Effect.map(send(`${url}/v3/kv/range`, { method: "POST", body: JSON.stringify(range) }), unbase64)
      }))
    ]
  }

  for (const [name, [type, start]] of Object.entries(backends)) {
    it.live.skipIf(lacking[type] !== undefined)(
      `${name}: are read by who has a key, and nobody else's are taken`,
      () =>
        Effect.gen(function*() {
          const { configuration, read, write } = yield* start
          const server = yield* served({ tools: [{ name: "echo" }] })
          const key = () => randomBytes(32).toString("base64")
          const written = (...keys: ReadonlyArray<string>) =>
            `registries:\n  - { ${configuration}, encryption: { keys: [${
              keys.map((key) => `{ id: ${key}, key: { file: ${key}.key } }`).join()
            }] } }\n`
          const cwd = yield* directory({ "old.key": key(), "new.key": key(), "portolan.yaml": written("old") })
          yield* register(cwd, "secret", type, server.url)
          assert.notInclude(yield* read, server.url)
          assert.notInclude(yield* read, `${server.port}`)
          yield* write("stranger", server.url)
          assert.include(yield* read, `${server.port}`)

          const running = yield* up([], { cwd })
          const peer = yield* Peers.stateless(running.url)
          const lists = (tool: string) =>
            until(
              Effect.map(Effect.promise(peer.tools), (tools) => tools.some(({ name }) => name === tool)),
              20_000
            )
          yield* lists("secret__echo")
          assert.strictEqual(Peers.textOf(yield* Effect.promise(() => peer.call("secret__echo", {}))), "echo")
          assert.notInclude((yield* Effect.promise(peer.tools)).map(({ name }) => name).join(), "stranger")
          const told = yield* portolan(["status", "--url", running.url])
          assert.match(told.stdout, /connected .* 1 rejected: "stranger" .*sealed/)

          // Another key for whoever comes next: what the old one sealed is read as before.
          Fs.writeFileSync(Path.join(cwd, "portolan.yaml"), written("new", "old"))
          yield* register(cwd, "later", type, server.url)
          yield* lists("later__echo")
          yield* lists("secret__echo")

          // Without the old one what it sealed is named, and isn't taken any more: somebody else may have that key.
          Fs.writeFileSync(Path.join(cwd, "portolan.yaml"), written("new"))
          yield* until(
            Effect.map(
              status(running),
              ({ sources }) => sources[0]?.rejected.some(({ id }) => id === "secret") === true
            ),
            20_000
          )
          const { sources: [source] } = yield* status(running)
          assert.match(source?.rejected.find(({ id }) => id === "secret")?.reason ?? "", /sealed with key "old"/)
          yield* until(
            Effect.map(
              Effect.promise(peer.tools),
              (tools) => tools.map(({ name }) => name).join() === "later__echo"
            ),
            20_000
          )
        }),
      90_000
    )
  }
})

describe("an allow-list", () => {
  it.live("bounds what a registry may announce, and says so", () =>
    Effect.gen(function*() {
      const server = yield* served({ tools: [{ name: "echo" }] })
      const running = yield* gateway(
        {
          registries: [{
            type: "file",
            path: "services.json",
            allow: { services: ["weather"], capabilities: ["weather.*"] }
          }]
        },
        {
          "services.json": registry(
            { ...record("weather", server.url), capabilities: ["weather.forecast"] },
            {
              ...record("greedy", server.url),
              service: "weather",
              capabilities: ["weather.forecast", "payments.send"]
            },
            record("payments", server.url)
          )
        }
      )
      const { sources: [source], tools } = yield* status(running)
      assert.strictEqual(tools, 1)
      const reasons = new Map(source?.rejected.map(({ id, reason }) => [id, reason]))
      assert.deepStrictEqual([...reasons.keys()].sort(), ["greedy", "payments"])
      assert.match(reasons.get("payments") ?? "", /^service: .*payments.*allow/)
      assert.match(reasons.get("greedy") ?? "", /^capabilities.*payments\.send.*allow/)
    }), 30_000)

  it.live("bounds what servers of a registry offer, and nobody else's", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      const server = (who: string) =>
        served({
          tools: ["get_forecast", "pay", "refund"].map((name) => ({
            name,
            run: () => {
              calls.push(`${who} ${name}`)
              return who
            }
          }))
        })
      const [partners, ours, bank] = [yield* server("partners"), yield* server("ours"), yield* server("bank")]
      const configuration = (tools: ReadonlyArray<string>) => ({
        balancing: { strategy: "round-robin" },
        registries: [
          { type: "file", name: "partners", path: "partners.json", allow: { tools } },
          { type: "file", name: "ours", path: "ours.json" }
        ]
      })
      const running = yield* gateway(configuration(["get_*"]), {
        // Its record names one tool, its server lists three.
        "partners.json": registry({ ...record("w1", partners.url), service: "weather", tools: ["get_forecast"] }),
        "ours.json": registry({ ...record("w2", ours.url), service: "weather" }, record("bank", bank.url))
      })
      const clients = yield* Peers.all(running.url)
      for (const client of clients) {
        assert.deepStrictEqual((yield* Effect.promise(client.tools)).map(({ name }) => name).toSorted(), [
          "bank__get_forecast",
          "bank__pay",
          "bank__refund",
          "weather__get_forecast",
          "weather__pay",
          "weather__refund"
        ])
      }
      const used = Effect.gen(function*() {
        for (const client of clients) {
          for (const name of ["weather__pay", "weather__get_forecast"]) {
            yield* Effect.promise(() => client.call(name, {}))
          }
        }
        return [...new Set(calls)].toSorted()
      })
      // Once both are known to be healthy.
      yield* until(Effect.map(used, (used) => used.includes("partners get_forecast")), 20_000)
      for (let round = 0; round < 10; round++) yield* used
      assert.deepStrictEqual(yield* used, ["ours get_forecast", "ours pay", "partners get_forecast"])
      const told = yield* portolan(["status", "--url", running.url])
      assert.include(told.stdout, "pay, refund are not offered: not in `allow.tools` of registry \"partners\"")

      // Where nobody else has it, nobody has it.
      const edit = (file: string, content: string) => Fs.writeFileSync(Path.join(running.cwd, file), content)
      const client = yield* Peers.stateless(running.url)
      const offered = Effect.map(
        Effect.promise(client.tools),
        (tools) => tools.map(({ name }) => name).filter((name) => name.startsWith("weather")).toSorted().join(" ")
      )
      edit("ours.json", registry(record("bank", bank.url)))
      yield* until(Effect.map(offered, (names) => names === "weather__get_forecast"), 20_000)
      assert.isTrue(Exit.isFailure(yield* Effect.exit(Effect.tryPromise(() => client.call("weather__pay", {})))))
      assert.notInclude(calls, "partners pay")

      // The operator changes their mind, and the gateway runs on.
      edit("portolan.json", JSON.stringify(configuration(["get_*", "pay"])))
      yield* until(Effect.map(offered, (names) => names === "weather__get_forecast weather__pay"), 20_000)
      yield* Effect.promise(() => client.call("weather__pay", {}))
      assert.include(calls, "partners pay")
      assert.deepStrictEqual((yield* status(running)).hidden.map(({ name }) => name), ["refund"])
    }), 60_000)
})

/**
 * From `register` to a call, on each real backend: two servers announce themselves, a gateway with a few lines of
 * configuration serves their tool, and one of them is gone from one moment to the next.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Consul from "@portolan/tooling/backends/Consul"
import type { Unavailable } from "@portolan/tooling/backends/Debian"
import * as Etcd from "@portolan/tooling/backends/Etcd"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Redis from "@portolan/tooling/backends/Redis"
import type { ServerError } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createSocket } from "node:dgram"
import * as Path from "node:path"
import { freePort, timed } from "./fleet.ts"
import * as Pair from "./pair.ts"
import { background, directory, portolan, until, up } from "./process.ts"
import { program } from "./replicas.ts"

interface Started {
  /** The whole of a configuration. */
  readonly configuration: string
  /** Keys or ids of what is written in the backend, by its own word. None: nothing is kept anywhere. */
  readonly written?: Effect.Effect<ReadonlyArray<string>, unknown>
}

interface Backend {
  readonly name: string
  readonly unavailable: Effect.Effect<string | undefined>
  readonly start: Effect.Effect<Started, ServerError | Unavailable, Scope.Scope>
}

const ask = (url: string, body?: object): Effect.Effect<unknown> =>
  Effect.promise(async () => {
    const response = await fetch(url, body === undefined ? {} : { method: "POST", body: JSON.stringify(body) })
    return response.ok ? response.json() : []
  })

/** A UDP port that nobody has. */
const freeUdpPort = Effect.callback<number>((resume) => {
  const socket = createSocket("udp4").bind(0, "127.0.0.1", () => {
    const { port } = socket.address()
    socket.close(() => resume(Effect.succeed(port)))
  })
})

const base64 = (text: string) => Buffer.from(text).toString("base64")

const keysOf = ({ cli }: Redis.Node) =>
  Effect.map(cli("KEYS", "*"), (keys) => keys.split("\n").filter((key) => key !== ""))

const addresses = (nodes: ReadonlyArray<Redis.Node>) => JSON.stringify(nodes.map(({ address }) => address))

const backends: ReadonlyArray<Backend> = [
  {
    name: "Consul",
    unavailable: Consul.unavailable,
    start: Effect.map(Consul.make, ({ url }) => ({
      configuration: `registries:\n  - type: consul\n    url: ${url}\n`,
      written: Effect.map(ask(`${url}/v1/agent/services`), (services) => Object.keys(Object(services)))
    }))
  },
  {
    name: "Consul's keys",
    unavailable: Consul.unavailable,
    start: Effect.map(Consul.make, ({ url }) => ({
      configuration: `registries:\n  - { type: consul, url: "${url}", kv: portolan/ }\n`,
      written: Effect.map(ask(`${url}/v1/kv/portolan/?keys`), (keys) => Array.isArray(keys) ? keys.map(String) : [])
    }))
  },
  {
    name: "Redis",
    unavailable: Redis.unavailable,
    start: Effect.map(Redis.single(), (node) => ({
      configuration: `registries:\n  - type: redis\n    url: ${node.url}\n`,
      written: keysOf(node)
    }))
  },
  {
    name: "Redis under Sentinel",
    unavailable: Redis.unavailable,
    start: Effect.map(Redis.replicated(), ({ master, primary, sentinels }) => ({
      configuration: `registries:\n  - { type: redis, sentinels: ${addresses(sentinels)}, master: ${master} }\n`,
      written: Effect.flatMap(primary, keysOf)
    }))
  },
  {
    name: "a cluster of Redis",
    unavailable: Redis.unavailable,
    start: Effect.map(Redis.cluster(), ({ nodes, primaries }) => ({
      configuration: `registries:\n  - type: redis\n    cluster: ${addresses(nodes.slice(0, 2))}\n`,
      written: Effect.flatMap(primaries, (all) => Effect.map(Effect.forEach(all, keysOf), (keys) => keys.flat()))
    }))
  },
  {
    name: "etcd",
    unavailable: Etcd.unavailable,
    start: Effect.map(Etcd.make, ({ url }) => ({
      configuration: `registries:\n  - type: etcd\n    endpoints: [ "${url}" ]\n`,
      written: Effect.map(
        ask(`${url}/v3/kv/range`, { key: base64("/portolan/"), range_end: base64("/portolan0"), keys_only: true }),
        (found) => {
          const kvs: unknown = Reflect.get(Object(found), "kvs")
          return Array.isArray(kvs) ? kvs.map(({ key }) => Buffer.from(String(key), "base64").toString()) : []
        }
      )
    }))
  },
  {
    name: "Kubernetes",
    unavailable: Effect.succeed(undefined),
    // There is no other host here to be announced.
    start: Effect.map(KubernetesApi.make({ allowLoopback: true }), (api) => ({
      configuration: `registries:\n  - type: kubernetes\n    kubeconfig: ${api.kubeconfig}\n`,
      written: Effect.filter(
        ["one", "two"],
        (id) =>
          Effect.map(
            api.read({ kind: "EndpointSlice", namespace: "mcp", name: `portolan-${id}` }),
            (slice) => slice !== undefined
          )
      )
    }))
  },
  {
    name: "the network by DNS-SD",
    unavailable: Effect.succeed(undefined),
    // The usual port belongs to everybody on this machine.
    start: Effect.map(freeUdpPort, (port) => ({
      configuration: `registries:\n  - { type: dns-sd, interfaces: [lo], port: ${port} }\n`
    }))
  }
]

/** ms */
const lease = 5000
/** ms that the end of a lease may take until the catalog tells it. */
const way = 2000

for (const { name, start, unavailable } of backends) {
  const lacking = await Effect.runPromise(unavailable)
  if (lacking !== undefined) console.log(`skipped: servers announced in ${name}: ${lacking}`)

  describe.skipIf(lacking !== undefined)(`servers announced in ${name}`, () => {
    it.live("are called through a gateway, which loses no call with one of them", () =>
      Effect.gen(function*() {
        const { configuration, written } = yield* start
        assert.isAtMost(configuration.trimEnd().split("\n").length, 3)
        const cwd = yield* directory({ "portolan.yaml": configuration })
        const [type = ""] = /(?<=type: )[\w-]+/.exec(configuration) ?? []

        const register = Effect.fnUntraced(function*(id: string) {
          const port = yield* freePort
          const at = `http://127.0.0.1:${port}/mcp`
          const announcer = yield* background(
            ["register", "weather", "--id", id, "--registry", type, "--url", at, "--ttl", `${lease / 1000}s`]
              .concat("--drain", "0ms", "--", process.execPath, program, Path.join(cwd, id), "5", `${port}`),
            { cwd }
          )
          yield* until(Effect.sync(() => announcer.err().includes(`announced ${id}`)), 30_000)
          return announcer
        })
        const announcers = yield* Effect.all({ one: register("one"), two: register("two") }, {
          concurrency: "unbounded"
        })
        const running = yield* up([], { cwd })
        // Both are found, and both are called.
        const pair = yield* Pair.found(running, "weather__look")
        assert.deepStrictEqual(Array.from(pair.pids.keys()).sort(), ["one", "two"])
        if (written !== undefined) {
          const records = yield* written
          assert.deepStrictEqual(records.map((record) => /one$|two$/.exec(record)?.[0]).sort(), ["one", "two"])
        }
        const printed = yield* portolan(
          ["call", "weather__look", "--args", "{\"id\":\"cli\"}", "--url", running.url],
          { cwd }
        )
        assert.match(printed.stdout, /cli by \d+/, printed.stderr)

        const gone = yield* pair.lose(Effect.sync(() => {
          // Who announces it first: it would take the record away.
          announcers.one.kill("SIGKILL")
          process.kill(pair.pids.get("one") ?? 0, "SIGKILL")
        }))
        assert.deepStrictEqual(yield* Pair.listed(running), ["two"])
        assert.isAtMost(gone, lease + way)
        // DNS-SD asks anew when four fifths of a record's time are over (RFC 6762, section 5.2).
        assert.isAbove(gone, lease / 5, "somebody removed it")

        // One that ends on purpose doesn't wait for that.
        announcers.two.kill("SIGTERM")
        const [, left] = yield* timed(until(Effect.map(Pair.listed(running), (ids) => ids.length === 0), 60_000))
        assert.isBelow(left, lease / 2)
        assert.isFalse((yield* written ?? Effect.succeed([])).some((record) => record.endsWith("two")))
      }), 180_000)
  })
}

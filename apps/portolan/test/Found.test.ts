/**
 * From a running server to a call where nobody called `register`: in a cluster, at the addresses of a network, in a
 * published document. One of two servers is killed while clients call.
 */
import { assert, describe, it } from "@effect/vitest"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import type { ServerError } from "@portolan/tooling/backends/Server"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { createServer } from "node:http"
import * as Path from "node:path"
import { freePort, gateway, status } from "./fleet.ts"
import * as Pair from "./pair.ts"
import { background, directory, portolan, type Running, until, up } from "./process.ts"
import { replica } from "./replicas.ts"

interface Place {
  /** The whole of a configuration. */
  readonly configuration: string
  readonly tool: string
  /** What whoever is in charge there does when the first server is dead. */
  readonly notice?: Effect.Effect<unknown>
  /** Whether the gateway knows; default: the instance isn't listed any more. */
  readonly gone?: (running: Running) => Effect.Effect<boolean>
  /** Longest until it is, ms. */
  readonly within: number
}

interface Found {
  readonly name: string
  readonly place: (urls: ReadonlyArray<URL>) => Effect.Effect<Place, ServerError, Scope.Scope>
}

/** Answers with these documents, by their paths. */
const publishing = (documents: Readonly<Record<string, unknown>>) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly url: string; readonly close: () => void }>((resume) => {
      const server = createServer(({ url = "" }, response) => {
        const found = documents[url]
        response.writeHead(found === undefined ? 404 : 200, { "content-type": "application/json" })
          .end(JSON.stringify(found))
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        const port = typeof address === "object" && address !== null ? address.port : 0
        resume(Effect.succeed({
          url: `http://127.0.0.1:${port}`,
          close: () => {
            server.close()
            server.closeAllConnections()
          }
        }))
      })
    }),
    ({ close }) => Effect.sync(close)
  )

/** Whether calls go to one instance alone. */
const oneAvailable = ({ url }: Running): Effect.Effect<boolean> =>
  Effect.promise(async () => {
    const { items }: { readonly items: ReadonlyArray<unknown> } = JSON.parse(
      await (await fetch(`${url}/api/v1/instances?available=true`)).text()
    )
    return items.length === 1
  })

/** ms between two scans */
const interval = 1000

const kinds: ReadonlyArray<Found> = [
  {
    name: "in a cluster",
    place: Effect.fnUntraced(function*(urls) {
      const api = yield* KubernetesApi.make()
      const metadata = { namespace: "mcp", labels: { "kubernetes.io/service-name": "weather" } }
      const port = { name: "mcp", protocol: "TCP" }
      // Pods whose named ports differ are in slices of their own.
      const slice = (url: URL, index: number, alive = true) =>
        api.apply({
          kind: "EndpointSlice",
          metadata: { ...metadata, name: `weather-${index}` },
          addressType: "IPv4",
          endpoints: alive ? [{ addresses: [url.hostname], conditions: { ready: true } }] : [],
          ports: [{ ...port, port: Number(url.port) }]
        })
      yield* api.apply({
        kind: "Service",
        metadata: { name: "weather", namespace: "mcp" },
        spec: { selector: { app: "weather" }, ports: [{ ...port, port: 80, targetPort: "mcp" }] }
      })
      yield* Effect.forEach(urls, (url, index) => slice(url, index))
      return {
        configuration: `registries:\n  - { type: kubernetes, kubeconfig: ${api.kubeconfig} }\n`,
        tool: "weather__look",
        notice: Effect.forEach(urls.slice(0, 1), (url) => slice(url, 0, false)),
        // For a second it may be on its way to another slice.
        within: 5000
      }
    })
  },
  {
    name: "at the addresses of a network",
    place: (urls) =>
      Effect.succeed({
        configuration: "registries:\n" +
          `  - { type: network-scan, ports: [${urls.map(({ port }) => port).join(", ")}], interval: ${interval}ms }\n`,
        tool: "test__look",
        // Each pause is moved by up to a tenth, and one has begun.
        within: 4 * 1.1 * interval + 1000
      })
  },
  {
    name: "in a published document",
    place: (urls) =>
      Effect.map(
        publishing({
          "/.well-known/ai-catalog.json": {
            specVersion: "1.0",
            entries: urls.map((url, index) => ({
              identifier: `urn:air:example.com:mcp:weather-${index}`,
              type: "application/mcp-server-card+json",
              data: {
                name: "com.example/weather",
                version: "1.0.0",
                description: "Weather",
                remotes: [{ type: "streamable-http", url: url.href }]
              }
            }))
          }
        }),
        ({ url }) => ({
          configuration: `registries:\n  - { type: documents, catalog: "${url}" }\n`,
          tool: "com.example_weather__look",
          gone: oneAvailable,
          within: 5000
        })
      )
  }
]

describe("servers found", () => {
  for (const { name, place } of kinds) {
    it.live(`${name} are called through a gateway, which loses no call with one of them`, () =>
      Effect.gen(function*() {
        const log = Path.join(yield* directory(), "log")
        const [one, two] = yield* Effect.all([replica(log, 5), replica(log, 5)], { concurrency: "unbounded" })
        const { configuration, gone, notice = Effect.void, tool, within } = yield* place([
          new URL(one.url),
          new URL(two.url)
        ])
        assert.isAtMost(configuration.trimEnd().split("\n").length, 3)
        const running = yield* up([], { cwd: yield* directory({ "portolan.yaml": configuration }) })
        const pair = yield* Pair.found(running, tool)
        const time = yield* pair.lose(Effect.andThen(one.kill, notice), gone?.(running))
        assert.isAtMost(time, within)
      }), 120_000)
  }

  it.live("are gateways too, by what they publish of themselves", () =>
    Effect.gen(function*() {
      const server = yield* replica(Path.join(yield* directory(), "log"))
      const inner = yield* gateway({ mcpServers: { weather: { url: server.url } } })
      const outer = yield* gateway({
        registries: [
          { type: "documents", mcpRegistry: inner.url },
          { type: "documents", catalog: inner.url },
          { type: "documents", serverCard: `${inner.url}/mcp` }
        ]
      })
      const connected = Effect.map(status(outer), ({ sources }) => sources.every(({ state }) => state === "connected"))
      yield* until(connected, 30_000)
      // The registry and the card call it the same, and so it is one.
      assert.deepStrictEqual(yield* Pair.listed(outer), ["localhost/portolan", "urn:air:localhost:mcp:portolan"])
      const tool = "localhost_portolan__weather__look"
      const printed = yield* portolan(["call", tool, "--args", "{\"id\":\"far\"}", "--url", outer.url])
      assert.match(printed.stdout, /far by \d+/, printed.stderr)
    }), 60_000)

  it.live("are not the gateway itself", () =>
    Effect.gen(function*() {
      const server = yield* replica(Path.join(yield* directory(), "log"))
      const port = yield* freePort
      const registry = { type: "network-scan", ports: [port, Number(new URL(server.url).port)], interval: "200ms" }
      const cwd = yield* directory({ "portolan.json": JSON.stringify({ registries: [registry] }) })
      const running = yield* background(["up", "--json", "--port", String(port)], { cwd })
      yield* until(Effect.sync(() => running.out().includes("\n")), 30_000)
      // The first scan may have come before it listened.
      const refreshed = yield* portolan(["refresh", "--url", `http://127.0.0.1:${port}`])
      assert.strictEqual(refreshed.code, 0, refreshed.stderr)
      assert.lengthOf(yield* Pair.listed({ url: `http://127.0.0.1:${port}` }), 1)
    }), 60_000)
})

import { assert, describe, it } from "@effect/vitest"
import * as Consul from "@portolan/tooling/backends/Consul"
import * as Effect from "effect/Effect"
import * as Catalogs from "./Catalogs.ts"
import { eventually } from "./Catalogs.ts"
import * as ConsulBackend from "./ConsulBackend.ts"

const unavailable = await Effect.runPromise(Consul.unavailable)
if (unavailable !== undefined) console.log(`datacenters of consul skipped: ${unavailable}`)

const modes = [
  {
    title: "services",
    options: {},
    write: (url: string, id: string, version: string) =>
      ConsulBackend.ask(url, "PUT", "agent/service/register", {
        ID: id,
        Name: "weather",
        Address: `${id}.example.com`,
        Port: 8080,
        Meta: { version }
      })
  },
  {
    title: "keys",
    options: { kv: "portolan" },
    write: (url: string, id: string, version: string) =>
      ConsulBackend.ask(url, "PUT", `kv/portolan/weather/${id}`, { url: `http://${id}.example.com:8080/mcp`, version })
  }
]

describe.skipIf(unavailable !== undefined)(
  unavailable === undefined ? "datacenters of consul" : `datacenters of consul [skipped: ${unavailable}]`,
  () => {
    it.live.each(modes)(
      "C14, D12 one that is lost keeps its instances, stale, and costs the others nothing: $title",
      ({ options, write }) =>
        Effect.gen(function*() {
          const { east, west } = yield* Consul.federation
          yield* write(east.url, "one", "east")
          yield* write(west.url, "two", "west")
          // The first datacenter is believed where both announce an instance.
          yield* write(east.url, "both", "east")
          yield* write(west.url, "both", "west")

          const datacenters = ["east", "west"]
          const catalog = yield* Catalogs.make({ ...options, url: east.url, datacenters, wait: "1 second" })
          const seen = () => catalog.entries().map(({ id, version }) => `${id} ${version}`).sort().join(", ")
          const states = () =>
            Array.from(catalog.discovery.catalog().sources.values(), ({ name, state }) => `${name} ${state}`).join(", ")
          yield* eventually(() => states() === "consul-east connected, consul-west connected")
          yield* eventually(() => seen() === "both east, one east, two west")
          const before = catalog.changes().length

          yield* west.kill
          yield* eventually(() => states() === "consul-east connected, consul-west stale")
          yield* write(east.url, "three", "east")
          yield* eventually(() => seen().includes("three"))

          yield* west.start
          yield* eventually(() => states() === "consul-east connected, consul-west connected")
          yield* write(west.url, "four", "west")
          yield* eventually(() => seen() === "both east, four west, one east, three east, two west")
          assert.deepStrictEqual(catalog.changes().slice(before), ["Added three", "Added four"])
        }),
      60_000
    )
  }
)

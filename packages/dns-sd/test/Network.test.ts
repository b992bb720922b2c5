/** Hosts of a network, each in a namespace of its own: a real avahi-daemon, and processes of ours. */
import { assert, describe, it } from "@effect/vitest"
import { Identification } from "@portolan/core/Identification"
import type * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as DnsSdRegistry from "@portolan/dns-sd/DnsSdRegistry"
import * as Avahi from "@portolan/tooling/backends/Avahi"
import * as Network from "@portolan/tooling/backends/Network"
import * as Program from "@portolan/tooling/Program"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as References from "effect/References"
import { fileURLToPath } from "node:url"
import { identification, watch } from "./Watched.ts"

const noNetwork = await Effect.runPromise(Network.unavailable)
const noAvahi = noNetwork ?? await Effect.runPromise(Avahi.unavailable)
if (noAvahi !== undefined) console.log(`multicast DNS between hosts skipped: ${noNetwork ?? noAvahi}`)
const titled = (title: string, why: string | undefined) => why === undefined ? title : `${title} [skipped: ${why}]`

/** Hosts, and a registry of ours on the same network. */
const setUp = Effect.fnUntraced(function*(count: number) {
  const hosts = yield* Network.make(count)
  const ours = hosts[0]?.host.replace(/\d+$/, "1") ?? ""
  const registry = yield* Effect.provideService(
    DnsSdRegistry.make({ interfaces: [ours], allowNetworks: ["198.18.0.0/15"] }),
    Identification,
    identification()
  )
  return { hosts, ours, registry, registrar: Option.getOrThrow(registry.registrar), view: yield* watch(registry) }
})

const lease: Registry.LeaseOptions = { incarnation: "ours", ttl: Duration.seconds(30) }

const instance = (id: string, host: string) =>
  ServiceInstance.make({
    id,
    service: "weather",
    endpoint: { transport: "streamable-http", url: `http://${host}:3000/mcp` }
  })

/** Starts `fixtures/announcer.ts` on a host. */
const announcer = Effect.fnUntraced(function*({ host, launcher }: Network.Host, id: string, seconds: number) {
  const [command = "", ...args] = launcher
  const file = fileURLToPath(new URL("fixtures/announcer.ts", import.meta.url))
  const program = yield* Effect.acquireRelease(
    Effect.sync(() =>
      Program.start(command, [...args, process.execPath, file, id, `http://${host}:3000/mcp`, String(seconds)], {
        cwd: fileURLToPath(new URL("..", import.meta.url))
      })
    ),
    (program) => Effect.promise(() => Promise.resolve(program[Symbol.asyncDispose]()))
  )
  yield* Effect.promise(() => program.until((printed) => printed.includes("announced\n")))
  return program
})

describe.skipIf(noAvahi !== undefined)(titled("avahi-daemon", noAvahi), { concurrent: true }, () => {
  it.live("announces, and we find it; it says goodbye, and we forget it", () =>
    Effect.gen(function*() {
      const { hosts: [host], view } = yield* setUp(1)
      if (host === undefined) return
      const avahi = yield* Avahi.make({
        place: host,
        hostName: "ship",
        services: [
          { name: "Weather 1.0", type: "_mcp._tcp", port: 3000, txt: ["path=/api/mcp", "version=1.2.3", "team=sea"] },
          { name: "Printer", type: "_ipp._tcp", port: 631 }
        ]
      })
      yield* view.there("Weather 1.0")
      assert.deepStrictEqual(
        view.instances.get("Weather 1.0"),
        ServiceInstance.make({
          id: "Weather 1.0",
          service: "weather-server",
          version: "1.2.3",
          endpoint: { transport: "streamable-http", url: `http://${host.host}:3000/api/mcp` },
          metadata: { team: "sea" }
        })
      )
      assert.deepStrictEqual(Array.from(view.instances.keys()), ["Weather 1.0"])
      yield* avahi.stop
      yield* view.gone("Weather 1.0")
      assert.deepStrictEqual(view.removed, ["Weather 1.0 deregistered"])
    }))

  it.live("looks us up, and takes another name where we have it", () =>
    Effect.gen(function*() {
      const { hosts: [host], ours, registrar, view } = yield* setUp(1)
      if (host === undefined) return
      yield* registrar.put(instance("ship", ours), lease)
      const avahi = yield* Avahi.make({
        place: host,
        hostName: "boat",
        services: [{ name: "ship", type: "_mcp._tcp", port: 3001 }]
      })
      const answer = yield* avahi.lookup(`portolan-${ours.replaceAll(".", "-")}.local`)
      assert.match(answer, new RegExp(`^\\+ .* ${ours.replaceAll(".", "\\.")}$`))
      yield* view.there("ship #2")
      assert.deepStrictEqual(
        Array.from(view.instances, ([id, { endpoint }]) => `${id} ${"url" in endpoint ? String(endpoint.url) : ""}`),
        [`ship http://${ours}:3000/mcp`, `ship #2 http://${host.host}:3001/mcp`]
      )
    }))

  it.live("M5 keeps its name, and we take another", () =>
    Effect.gen(function*() {
      const { hosts: [host], ours, registrar, view } = yield* setUp(1)
      if (host === undefined) return
      yield* Avahi.make({
        place: host,
        hostName: "boat",
        services: [{ name: "ship", type: "_mcp._tcp", port: 3001 }]
      })
      yield* view.there("ship")
      const { handle } = yield* registrar.put(instance("ship", ours), lease)
      assert.strictEqual(handle, "ship (2)")
      yield* view.there("ship (2)")
      assert.strictEqual(view.instances.get("ship (2)")?.service, "weather")
    }).pipe(Effect.provideService(References.MinimumLogLevel, "Error")))
})

describe.skipIf(noNetwork !== undefined)(
  titled("processes on hosts of a network", noNetwork),
  { concurrent: true },
  () => {
    it.live("find each other; one that is killed is gone within its lease", () =>
      Effect.gen(function*() {
        const { hosts: [host, other], view } = yield* setUp(2)
        if (host === undefined || other === undefined) return
        const [first] = yield* Effect.all([announcer(host, "ship", 4), announcer(other, "boat", 4)], {
          concurrency: 2
        })
        yield* view.there("ship")
        yield* view.there("boat")
        const from = performance.now()
        yield* Effect.promise(() => first.ended("SIGKILL"))
        yield* view.gone("ship")
        assert.isBelow(performance.now() - from, 6000)
        assert.deepStrictEqual(view.removed, ["ship expired"])
      }))

    it.live("G16 say goodbye when they end in order", () =>
      Effect.gen(function*() {
        const { hosts: [host], view } = yield* setUp(1)
        if (host === undefined) return
        const program = yield* announcer(host, "ship", 60)
        yield* view.there("ship")
        yield* Effect.promise(() => program.ended("SIGTERM"))
        yield* view.gone("ship")
        assert.deepStrictEqual(view.removed, ["ship deregistered"])
      }))

    it.live("M6 are back once their cable is", () =>
      Effect.gen(function*() {
        // The other one keeps our own link up.
        const { hosts: [host], view } = yield* setUp(2)
        if (host === undefined) return
        yield* announcer(host, "ship", 3)
        yield* view.there("ship")
        yield* host.cut
        yield* view.gone("ship")
        assert.deepStrictEqual(view.removed, ["ship expired"])
        yield* host.heal
        yield* view.there("ship")
      }))
  }
)

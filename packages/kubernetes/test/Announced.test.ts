import { assert, describe, it } from "@effect/vitest"
import * as Announcement from "@portolan/core/Announcement"
import { announce } from "@portolan/core/promise"
import type * as Registry from "@portolan/core/Registry"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as KubernetesManifest from "@portolan/kubernetes/KubernetesManifest"
import * as KubernetesRegistry from "@portolan/kubernetes/KubernetesRegistry"
import { kubernetesRegistry } from "@portolan/kubernetes/promise"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import * as KubernetesBackend from "./KubernetesBackend.ts"
import * as Watched from "./Watched.ts"

const weather = ServiceInstance.make({
  id: "weather-1",
  service: "weather",
  endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }
})

/** As another process writes it, whose clock says whatever it likes. */
const written = (renewed: string, ttl = 1_200, record?: string): ReadonlyArray<KubernetesApi.Manifest> => {
  const lease = { incarnation: "first", ttl, renewed }
  const { service, slice } = Result.getOrThrow(KubernetesManifest.write(weather, "mcp", lease))
  const annotations = {
    ...slice.metadata.annotations,
    ...(record === undefined ? {} : { "portolan.dev/record": record })
  }
  return [service, { ...slice, metadata: { ...slice.metadata, annotations } }].map((manifest) =>
    JSON.parse(JSON.stringify(manifest))
  )
}

const opened = Effect.fnUntraced(function*() {
  const wait: Duration.Input = "1 second"
  const api = yield* KubernetesApi.make()
  const apply = (...of: Parameters<typeof written>) => Effect.forEach(written(...of), api.apply, { discard: true })
  return { api, apply, options: { kubeconfig: api.kubeconfig, wait } }
})

/** Every event that speaks of it, in words. */
const told = (event: Registry.RegistryEvent) =>
  event._tag !== "Snapshot" || event.group === undefined
    ? []
    : event.instances.some(({ id }) => id === weather.id)
    ? ["there"]
    : event.expired?.includes(weather.id) === true
    ? ["expired"]
    : []

describe("announced in Kubernetes", () => {
  it.live("the clock of the writer doesn't matter, and what nobody renews has expired", () =>
    Effect.gen(function*() {
      const { apply, options } = yield* opened()
      const discovery = yield* Watched.discovered(options)
      const changes = yield* Watched.changes(discovery)
      for (const renewed of ["1999-12-31T00:00:00Z", "2040-01-01T00:00:00Z", ""]) {
        yield* apply(renewed)
        yield* Effect.sleep(500)
      }
      assert.deepStrictEqual(changes, ["Added weather-1"])
      yield* Watched.untilShown(discovery)
      // Written again, and not renewed.
      yield* apply("")
      const { list, watch } = yield* KubernetesRegistry.make(options)
      assert.deepStrictEqual((yield* list).instances.map(({ id }) => id), ["weather-1"], "a new reader can't know")
      const seen = yield* watch.pipe(
        Stream.flatMap((event) => Stream.fromIterable(told(event))),
        Stream.take(2),
        Stream.runCollect
      )
      assert.deepStrictEqual(seen, ["there", "expired"])
      assert.deepStrictEqual((yield* list).expired, ["weather-1"])
      assert.deepStrictEqual(changes, ["Added weather-1", "Removed weather-1"])
    }))

  it.live("a record that went bad is rejected by its id, and its last good form stays while it is renewed", () =>
    Effect.gen(function*() {
      const { apply, options } = yield* opened()
      const discovery = yield* Watched.discovered(options)
      yield* apply("1")
      yield* Watched.untilShown(discovery, "weather-1")
      const changes = yield* Watched.changes(discovery)
      for (const [renewed, record] of [["2", "{"], ["3", "7"], ["4", "{\"id\":\"weather-1\"}"]] as const) {
        yield* apply(renewed, 1_200, record)
        yield* Watched.until(discovery, () => Watched.source(discovery)?.rejected[0]?.id === "weather-1")
        yield* Effect.sleep(500)
      }
      const elsewhere = { ...weather, endpoint: { transport: "streamable-http", url: "http://127.0.0.1:8080/mcp" } }
      yield* apply("5", 1_200, JSON.stringify(elsewhere))
      yield* Watched.until(discovery, () =>
        Watched.source(discovery)?.rejected[0]?.reason ===
          "portolan.dev/record: its endpoint isn't at the address of the slice")
      assert.deepStrictEqual(changes, [])
    }))

  it.live("a connection that died without a word costs nobody his record", () =>
    Effect.gen(function*() {
      const { api, kubeconfig, pauseConnections = Effect.void } = yield* KubernetesBackend.make
      const writer = yield* KubernetesRegistry.make({ kubeconfig: api.kubeconfig })
      yield* Announcement.announce(writer, weather, { ttl: "1 second", drain: 0 })
      const discovery = yield* Watched.discovered({ kubeconfig, wait: "10 seconds" })
      yield* Watched.untilShown(discovery, "weather-1")
      const changes = yield* Watched.changes(discovery)
      yield* pauseConnections
      // Two leases long nothing is heard of the renewals.
      yield* Effect.sleep("2 seconds")
      assert.deepStrictEqual(changes, [])
    }))

  it.live("a program without Effect announces, and takes it back", () =>
    Effect.gen(function*() {
      const { api, options } = yield* opened()
      const slice = api.read({ kind: "EndpointSlice", namespace: "mcp", name: "portolan-weather-1" })
      const announced = yield* Effect.promise(() => announce(kubernetesRegistry(options), weather))
      assert.deepStrictEqual(announced.state(), { announced: true, lastError: undefined })
      assert.isDefined(yield* slice)
      yield* Effect.promise(announced.close)
      assert.isUndefined(yield* slice)
    }))
})

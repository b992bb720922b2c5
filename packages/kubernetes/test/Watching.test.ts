import { assert, describe, it } from "@effect/vitest"
import type * as Registry from "@portolan/core/Registry"
import * as KubernetesRegistry from "@portolan/kubernetes/KubernetesRegistry"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Queue from "effect/Queue"
import * as Stream from "effect/Stream"
import { asking, changes, discovered, eventually, service, shown, slice, source, until, untilShown } from "./Watched.ts"

/** A cluster with one Service and two endpoints, followed. */
const followed = Effect.fnUntraced(function*(options: KubernetesApi.KubernetesApiOptions = {}) {
  const api = yield* KubernetesApi.make(options)
  yield* api.apply(service("weather"))
  yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }, { address: "10.0.0.2" }]))
  const discovery = yield* discovered({ kubeconfig: api.kubeconfig })
  yield* untilShown(discovery, "mcp/10.0.0.1:3000", "mcp/10.0.0.2:3000")
  yield* eventually(Effect.map(api.watches, (watches) => watches === 2))
  const asked = asking(api)
  yield* asked
  return { api, discovery, asked, seen: yield* changes(discovery) }
})

/** Proves that what comes now is heard. */
const proven = Effect.fnUntraced(function*({ api, discovery }: {
  readonly api: KubernetesApi.KubernetesApi
  readonly discovery: Effect.Success<ReturnType<typeof discovered>>
}) {
  yield* api.apply(slice("weather-z", "weather", [{ address: "10.0.0.99" }]))
  yield* until(discovery, () => shown(discovery).includes("mcp/10.0.0.99:3000"))
})

const added = "Added mcp/10.0.0.99:3000"

describe("watching Kubernetes", () => {
  it.live("a session lists Services and slices, and watches each from its version", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const revision = yield* api.revision
      yield* discovered({ kubeconfig: api.kubeconfig })
      yield* eventually(Effect.map(api.watches, (watches) => watches === 2))
      const requests = yield* api.requests
      assert.deepStrictEqual(
        requests.map(({ namespace, query, resource, verb }) => [
          verb,
          resource,
          namespace,
          query["resourceVersion"],
          query["limit"] ?? query["allowWatchBookmarks"]
        ]),
        [
          // K3: the version of a list is that of the moment, so none can be too old.
          ["list", "services", "mcp", undefined, "500"],
          ["list", "endpointslices", "mcp", undefined, "500"],
          ["watch", "services", "mcp", String(revision), "true"],
          ["watch", "endpointslices", "mcp", String(revision), "true"]
        ]
      )
    }))

  for (const status of [410, 400] as const) {
    it.live(`K1 a watch that is answered with ${status} is begun anew with a list, and nothing is told twice`, () =>
      Effect.gen(function*() {
        const all = yield* followed()
        yield* all.api.refuse({ status, which: { verb: "watch", resource: "endpointslices" } })
        yield* all.api.endWatches
        yield* proven(all)
        assert.include(yield* all.asked, "list endpointslices")
        assert.deepStrictEqual(all.seen, [added])
      }))
  }

  it.live("K2 K10 a watch that is too old ends with an error in it: what was missed is told, and nothing else", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      yield* all.api.stop
      yield* all.api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }, { address: "10.0.0.3" }]))
      yield* all.api.compact
      yield* all.api.start
      yield* untilShown(all.discovery, "mcp/10.0.0.1:3000", "mcp/10.0.0.3:3000")
      assert.include(yield* all.asked, "list endpointslices")
      assert.deepStrictEqual(all.seen.toSorted(), ["Added mcp/10.0.0.3:3000", "Removed mcp/10.0.0.2:3000"])
    }))

  it.live("K4 versions that went back with a restored cluster are noticed", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      yield* all.api.restartEmpty("anew")
      yield* all.api.apply(service("climate"))
      yield* all.api.apply(slice("climate-a", "climate", [{ address: "10.0.0.7" }]))
      yield* untilShown(all.discovery, "mcp/10.0.0.7:3000")
    }))

  it.live("K4 they are noticed too where the server answered all the while that it is busy", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(service("weather"))
      yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }]))
      const discovery = yield* discovered({ kubeconfig: api.kubeconfig, wait: "1 second" })
      yield* untilShown(discovery, "mcp/10.0.0.1:3000")
      yield* eventually(Effect.map(api.watches, (watches) => watches === 2))
      yield* api.refuse({ status: 503, times: Infinity, which: { verb: "watch" } })
      yield* until(discovery, () => source(discovery)?.lastError?.includes("HTTP 503") === true)
      yield* api.restartEmpty("anew")
      yield* api.apply(service("climate"))
      yield* api.apply(slice("climate-a", "climate", [{ address: "10.0.0.7" }]))
      yield* api.heal
      yield* untilShown(discovery, "mcp/10.0.0.7:3000")
    }))

  it.live("K4 they are noticed too where only one of the watches was further than the server is now", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      const before = yield* all.api.revision
      const pile = Array.from({ length: 50 }, (_, n) => slice(`pile-${n}`, "pile", []))
      yield* Effect.forEach(pile, all.api.apply, { discard: true })
      yield* proven(all)
      yield* all.api.refuse({ status: 503, times: Infinity })
      yield* all.api.restartEmpty("anew")
      const others = Array.from({ length: 10 }, (_, n) => service(`other-${n}`, { namespace: "default" }))
      yield* Effect.forEach(others, all.api.apply, { discard: true })
      yield* all.api.apply(service("climate"))
      yield* all.api.apply(slice("climate-a", "climate", [{ address: "10.0.0.7" }]))
      const after = yield* all.api.revision
      assert.isTrue(after > before && after < before + pile.length)
      yield* all.api.heal
      yield* until(all.discovery, () => shown(all.discovery).includes("mcp/10.0.0.7:3000"))
    }))

  it.live("K5 a bookmark moves a quiet watch on: the next one begins there, and nothing is listed", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(service("weather"))
      const registry = yield* KubernetesRegistry.make({ kubeconfig: api.kubeconfig })
      const heard = yield* Queue.unbounded<Registry.RegistryEvent>()
      const follow = Stream.runForEach(registry.watch, (event) => Queue.offer(heard, event))
      const session = yield* Effect.forkChild(Effect.exit(follow))
      // The groups and the only one of them, then that each of two watches is open, then a bookmark for each.
      yield* Queue.takeN(heard, 4)
      const elsewhere = service("elsewhere", { namespace: "default" })
      yield* api.apply(elsewhere)
      yield* api.bookmark
      yield* Queue.takeN(heard, 2)
      yield* api.endWatches
      yield* Fiber.join(session)
      const revision = yield* api.revision
      yield* api.compact
      const asked = asking(api)
      yield* asked
      yield* Effect.forkChild(follow)
      assert.deepStrictEqual((yield* Queue.takeN(heard, 4)).map(({ _tag }) => _tag), [
        "Groups",
        "Snapshot",
        "Alive",
        "Alive"
      ])
      assert.deepStrictEqual((yield* asked).toSorted(), ["watch endpointslices", "watch services"])
      const versions = (yield* api.requests).slice(-2).map(({ query }) => query["resourceVersion"])
      assert.deepStrictEqual(versions, [String(revision), String(revision)])
    }))

  it.live("K5 however quiet it was, a watch goes on where the server is, by the bookmark before its end", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(service("weather"))
      yield* discovered({ kubeconfig: api.kubeconfig, wait: "3 seconds" })
      yield* eventually(Effect.map(api.watches, (watches) => watches === 2))
      yield* api.apply(service("elsewhere", { namespace: "default" }))
      const revision = yield* api.revision
      const watched = Effect.map(api.requests, (requests) => requests.filter(({ verb }) => verb === "watch"))
      yield* eventually(Effect.map(watched, ({ length }) => length >= 4))
      const versions = (yield* watched).slice(2, 4).map(({ query }) => query["resourceVersion"])
      assert.deepStrictEqual(versions, [String(revision), String(revision)])
    }))

  it.live("K6 429 is a wait for as long as the server asks, and nothing is listed again", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      yield* all.api.refuse({ status: 429, retryAfter: 1, times: 2, which: { verb: "watch" } })
      yield* all.api.endWatches
      const from = performance.now()
      yield* proven(all)
      assert.isAtLeast(performance.now() - from, 950)
      assert.notInclude((yield* all.asked).join(), "list")
      assert.deepStrictEqual(all.seen, [added])
    }))

  it.live("K7 K8 a connection that is reset, then 500 and 503, is gone on with where it was", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      yield* all.api.refuse({ status: 500, times: 2 })
      yield* all.api.cut
      yield* until(all.discovery, () => source(all.discovery)?.lastError?.includes("HTTP 500") === true)
      yield* all.api.refuse({ status: 503, times: 2 })
      yield* proven(all)
      assert.notInclude((yield* all.asked).filter((asked) => asked.startsWith("list")).join(), "endpointslices")
      assert.deepStrictEqual(all.seen, [added])
    }))

  for (const how of ["split", "joined"] as const) {
    it.live(`K9 events that arrive ${how} are the same events`, () =>
      Effect.gen(function*() {
        const all = yield* followed()
        yield* all.api.chunks(how)
        for (const n of [3, 4, 5, 6]) {
          yield* all.api.apply(slice(`weather-${n}`, "weather", [{ address: `10.0.0.${n}` }]))
        }
        yield* proven(all)
        assert.deepStrictEqual(all.seen.toSorted(), [3, 4, 5, 6, 99].map((n) => `Added mcp/10.0.0.${n}:3000`))
      }))
  }

  it.live("K9 a line that isn't JSON ends the session, and nothing is lost or told twice", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      yield* all.api.inject(`{"type":"ADDED","object":\n`)
      yield* until(all.discovery, () => source(all.discovery)?.reconnects === 1)
      yield* proven(all)
      assert.deepStrictEqual(all.seen, [added])
    }))

  it.live("K11 a list is read in pages, and as a whole where a page comes too late", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const names = Array.from({ length: 1200 }, (_, n) => `weather-${n}`)
      yield* Effect.forEach(names, (name) => api.apply(service(name)), { discard: true })
      const registry = yield* KubernetesRegistry.make({ kubeconfig: api.kubeconfig, instances: "services" })
      assert.strictEqual((yield* registry.list).instances.length, names.length)
      const pages = (yield* api.requests).map(({ query }) => query["limit"])
      assert.deepStrictEqual(pages, ["500", "500", "500"])

      const second = yield* Effect.forkChild(api.next({ verb: "list" }), { startImmediately: true })
      const list = yield* Effect.forkChild(registry.list, { startImmediately: true })
      yield* Fiber.join(second)
      yield* api.apply(service("another"))
      yield* api.compact
      assert.strictEqual((yield* Fiber.join(list)).instances.length, names.length + 1)
      const again = (yield* api.requests).slice(3).map(({ query, status }) => [query["limit"], status])
      assert.deepStrictEqual(again, [["500", 200], ["500", 410], [undefined, 200]])
    }))

  for (const [order, first, second] of [["leaves first", "a", "b"], ["arrives first", "b", "a"]] as const) {
    it.live(`K12 an endpoint that moves to another slice and ${order} is never away`, () =>
      Effect.gen(function*() {
        const all = yield* followed()
        const after = {
          a: slice("weather-a", "weather", [{ address: "10.0.0.1" }]),
          b: slice("weather-b", "weather", [{ address: "10.0.0.2" }])
        }
        yield* all.api.apply(after[first])
        // As far apart as the writes of a controller.
        yield* Effect.sleep("100 millis")
        yield* all.api.apply(after[second])
        yield* Effect.sleep("1500 millis")
        yield* proven(all)
        assert.deepStrictEqual(all.seen, [added])
      }))
  }

  it.live("an endpoint that is gone for good is gone: at once if it was terminating or its Service is gone", () =>
    Effect.gen(function*() {
      const { api, discovery, seen } = yield* followed()
      yield* api.apply(service("marker"))
      /** What was told by the time that one more is there. */
      const toldUntil = Effect.fnUntraced(function*(n: number) {
        yield* api.apply(slice("marker", "marker", [{ address: `10.0.1.${n}` }]))
        yield* until(discovery, () => seen.includes(`Added mcp/10.0.1.${n}:3000`))
        return seen.filter((told) => told.startsWith("Removed mcp/10.0.0"))
      })
      const terminating = { address: "10.0.0.2", ready: false, serving: true, terminating: true }
      yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }, terminating]))
      yield* until(discovery, () => shown(discovery).includes("mcp/10.0.0.2:3000 draining"))
      yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.1" }]))
      assert.deepStrictEqual(yield* toldUntil(1), ["Removed mcp/10.0.0.2:3000"])
      yield* api.apply(slice("weather-a", "weather", []))
      // It may be on its way to another slice.
      assert.deepStrictEqual(yield* toldUntil(2), ["Removed mcp/10.0.0.2:3000"])
      yield* until(discovery, () => !shown(discovery).includes("mcp/10.0.0.1:3000"))
      yield* api.apply(slice("weather-a", "weather", [{ address: "10.0.0.3" }]))
      yield* until(discovery, () => shown(discovery).includes("mcp/10.0.0.3:3000"))
      yield* api.apply(slice("last", "last", [{ address: "10.0.1.3" }]))
      yield* api.remove({ kind: "Service", name: "weather", namespace: "mcp" })
      yield* api.apply(service("last"))
      yield* until(discovery, () => seen.includes("Added mcp/10.0.1.3:3000"))
      assert.include(seen, "Removed mcp/10.0.0.3:3000")
    }))

  it.live("K13 the endpoints of all slices of a Service are one service", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      const endpoints = Array.from({ length: 101 }, (_, n) => ({ address: `10.0.1.${n}` }))
      yield* all.api.apply(slice("weather-a", "weather", endpoints.slice(0, 100)))
      yield* all.api.apply(slice("weather-b", "weather", endpoints.slice(100)))
      yield* until(all.discovery, () => shown(all.discovery).length === 101)
      assert.strictEqual(source(all.discovery)?.rejected.length, 0)
    }))

  it.live("K18 a watch that ends at once is asked for less and less often", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      yield* all.api.watchSeconds(0)
      yield* all.api.endWatches
      yield* Effect.sleep("2 seconds")
      const watches = (yield* all.asked).filter((asked) => asked === "watch services")
      assert.isBelow(watches.length, 20)
      yield* all.api.heal
      yield* proven(all)
      assert.deepStrictEqual(all.seen, [added])
    }))

  it.live("K19 a server that is started again and again is asked again, and nothing is told twice", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      for (let round = 0; round < 3; round++) {
        yield* all.api.stop
        yield* until(all.discovery, () => source(all.discovery)?.state === "stale")
        yield* all.api.start
        yield* until(all.discovery, () => source(all.discovery)?.state === "connected")
      }
      yield* proven(all)
      const asked = yield* all.asked
      assert.notInclude(asked.join(), "list endpointslices")
      assert.isBelow(asked.length, 20)
      assert.deepStrictEqual(all.seen, [added])
    }))

  it.live("a quiet watch is opened anew where it is, within one session", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(service("weather"))
      const discovery = yield* discovered({ kubeconfig: api.kubeconfig, wait: "1 second" })
      yield* eventually(Effect.map(api.watches, (watches) => watches === 2))
      const asked = asking(api)
      yield* asked
      const log = yield* changes(discovery)
      const from = performance.now()
      const watched = Effect.map(api.requests, (requests) => requests.filter(({ verb }) => verb === "watch").length)
      yield* eventually(Effect.map(watched, (watched) => watched >= 6))
      assert.isAtLeast(performance.now() - from, 1500)
      assert.deepStrictEqual(new Set(yield* asked), new Set(["watch endpointslices", "watch services"]))
      assert.strictEqual(source(discovery)?.reconnects, 0)
      assert.isAtMost(yield* api.watches, 2)
      yield* proven({ api, discovery })
      assert.deepStrictEqual(log, [added])
    }))

  it.live("a Service and its slice may come in any order, and only of these namespaces and labels", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make({ namespaces: ["mcp", "tools", "other"] })
      const discovery = yield* discovered({
        kubeconfig: api.kubeconfig,
        namespaces: ["mcp", "tools"],
        labelSelector: "app=mcp-server,tier in (a, b)"
      })
      const labels = { app: "mcp-server", tier: "b" }
      const apply = (namespace: string, name: string, its: Record<string, string>) =>
        Effect.gen(function*() {
          yield* api.apply(slice(`${name}-a`, name, [{ address: "10.0.0.1", pod: `${name}-0` }], { namespace }))
          yield* api.apply(service(name, { namespace, labels: its }))
        })
      yield* apply("other", "news", labels)
      yield* apply("mcp", "climate", { ...labels, tier: "c" })
      yield* apply("mcp", "weather", labels)
      yield* apply("tools", "weather", labels)
      yield* untilShown(discovery, "mcp/weather-0:3000", "tools/weather-0:3000")
      // Out of the selection is out of scope.
      yield* api.apply(service("weather", { namespace: "tools", labels: {} }))
      yield* untilShown(discovery, "mcp/weather-0:3000")
    }))

  it.live("a pod behind two Services is one instance, and the other has it next", () =>
    Effect.gen(function*() {
      const all = yield* followed()
      const pod = { address: "10.0.0.1", pod: "weather-0" }
      yield* all.api.apply(slice("weather-a", "weather", [pod]))
      yield* until(all.discovery, () => shown(all.discovery).includes("mcp/weather-0:3000"))
      yield* all.api.apply(service("weather-all", { labels: { "app.kubernetes.io/name": "weather" } }))
      yield* all.api.apply(slice("weather-all-a", "weather-all", [pod]))
      yield* until(all.discovery, () => source(all.discovery)?.rejected.length === 1)
      assert.deepStrictEqual(source(all.discovery)?.rejected, [{
        id: "mcp/weather-all/mcp/weather-0:3000",
        reason: `id: group "mcp/weather" has it too`
      }])
      yield* all.api.remove({ kind: "Service", name: "weather", namespace: "mcp" })
      yield* until(all.discovery, () => source(all.discovery)?.rejected.length === 0)
      assert.deepStrictEqual(shown(all.discovery), ["mcp/weather-0:3000"])
    }))

  it.live("a missing right is named with whom to grant it to, and the view stays", () =>
    Effect.gen(function*() {
      const all = yield* followed({ user: "reader" })
      yield* all.api.deny({ verb: "watch", resource: "endpointslices" })
      yield* all.api.endWatches
      yield* until(all.discovery, () => source(all.discovery)?.lastError?.startsWith("can't") === true)
      assert.strictEqual(
        source(all.discovery)?.lastError,
        `can't watch endpointslices in namespace "mcp": grant the verb watch on endpointslices to reader`
      )
      assert.strictEqual(shown(all.discovery).length, 2)
      yield* all.api.heal
      yield* proven(all)
      assert.deepStrictEqual(all.seen, [added])
    }))

  it.live("a right to some namespaces is none to all of them, and that is said", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make({ user: "reader" })
      yield* api.deny({ verb: "list", resource: "services", namespace: "" })
      const { list } = yield* KubernetesRegistry.make({ kubeconfig: api.kubeconfig, namespaces: "all" })
      const { detail } = yield* Effect.flip(list)
      assert.strictEqual(
        detail,
        "can't list services in all namespaces: grant the verb list on services to reader in the whole cluster, " +
          "or set namespaces"
      )
    }))
})

/** The stand-in for Kubernetes: revisions, pages, selectors, writes, faults, and that a list and a watch tell the truth. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { assert, describe, it } from "vitest"
import { at, type Json, type JsonObject, listOf, textOf } from "../src/backends/kubernetes-api/Json.ts"
import * as Patch from "../src/backends/kubernetes-api/Patch.ts"
import { ofKind } from "../src/backends/kubernetes-api/Resource.ts"
import * as KubernetesApi from "../src/backends/KubernetesApi.ts"
import { ask, type Asked, eventsOf, json, nameOf, revisionOf, services, watch } from "./KubernetesClient.ts"

const slices = "/apis/discovery.k8s.io/v1/namespaces/mcp/endpointslices"
const leases = "/apis/coordination.k8s.io/v1/namespaces/mcp/leases"
const deployment = "/apis/apps/v1/namespaces/mcp/deployments/tools"

const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => () => Effect.runPromise(Effect.scoped(effect))

type Api = KubernetesApi.KubernetesApi

const service = (name: string, labels: JsonObject = {}, n = ""): KubernetesApi.Manifest => ({
  kind: "Service",
  metadata: { name, namespace: "mcp", labels, annotations: { n } },
  spec: { ports: [{ port: 80 }] }
})

const namesOf = (list: Json) => listOf(at(list, "items")).map(nameOf)
const typesOf = (events: ReadonlyArray<Json>) => events.map((event) => textOf(at(event, "type")))
const names = (api: Api, query: string) => Effect.map(json(api, { path: `${services}${query}` }), namesOf)
const statusOf = (api: Api, asked: Asked) =>
  Effect.map(ask(api, asked), ({ status, text }) => {
    const body: Json = JSON.parse(text)
    return `${status} ${textOf(at(body, "reason"))}`.trim()
  })

const patched = (path: string, body: Json, type = "application/merge-patch+json"): Asked => ({
  method: "PATCH",
  path,
  body,
  headers: { "content-type": type }
})

describe("a stand-in for Kubernetes", () => {
  it(
    "lists as of a revision, and says when it can't",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(service("a"))
      const then = yield* api.revision
      yield* api.apply(service("a", {}, "changed"))
      yield* api.apply(service("b"))
      // A limit doesn't part what a cache answers.
      assert.deepStrictEqual(yield* names(api, "?resourceVersion=0&limit=1"), ["a", "b"])
      yield* api.remove({ kind: "Service", namespace: "mcp", name: "a" })
      assert.deepStrictEqual(yield* names(api, ""), ["b"])
      assert.deepStrictEqual(yield* names(api, `?resourceVersion=${then}`), ["b"])
      const old = yield* json(api, { path: `${services}?resourceVersion=${then}&resourceVersionMatch=Exact` })
      assert.deepStrictEqual(namesOf(old), ["a"])
      assert.strictEqual(at(listOf(at(old, "items"))[0], "metadata", "annotations", "n"), "")
      assert.strictEqual(revisionOf(old), String(then))
      assert.strictEqual(yield* statusOf(api, { path: `${services}?resourceVersion=9999` }), "504 Timeout")
      assert.strictEqual(yield* statusOf(api, { path: `${services}?resourceVersion=x` }), "400 BadRequest")
      yield* api.compact
      assert.strictEqual(yield* statusOf(api, { path: `${services}?resourceVersion=${then}&limit=5` }), "410 Expired")
    }))
  )

  it(
    "pages through one revision, and goes on without it once that is forgotten",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      for (const name of ["a", "b", "c", "d"]) yield* api.apply(service(name))
      const first = yield* json(api, { path: `${services}?limit=2` })
      assert.deepStrictEqual(at(first, "metadata", "remainingItemCount"), 2)
      const token = textOf(at(first, "metadata", "continue"))
      yield* api.remove({ kind: "Service", namespace: "mcp", name: "c" })
      const second = yield* json(api, { path: `${services}?limit=2&continue=${token}` })
      assert.deepStrictEqual([...namesOf(first), ...namesOf(second)], ["a", "b", "c", "d"])
      assert.strictEqual(revisionOf(second), revisionOf(first))
      yield* api.compact
      const late = yield* json(api, { path: `${services}?limit=2&continue=${token}` })
      assert.strictEqual(at(late, "code"), 410)
      const other = textOf(at(late, "metadata", "continue"))
      assert.deepStrictEqual(yield* names(api, `?limit=2&continue=${other}`), ["d"])
      assert.strictEqual(yield* statusOf(api, { path: `${services}?continue=nonsense` }), "400 BadRequest")
    }))
  )

  it(
    "selects by labels and fields, in one namespace or all",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(service("a", { app: "mcp", tier: "one" }))
      yield* api.apply(service("b", { app: "mcp", tier: "two" }))
      yield* api.apply(service("c", { app: "web" }))
      const found: Record<string, string> = {}
      const asked = [
        "app=mcp",
        "app!=mcp",
        "tier",
        "!tier",
        "tier in (one, x)",
        "tier notin (one)",
        "app=mcp,tier==two"
      ]
      for (const selector of asked) {
        found[selector] = (yield* names(api, `?labelSelector=${encodeURIComponent(selector)}`)).join("")
      }
      assert.deepStrictEqual(Object.values(found), ["ab", "c", "ab", "c", "a", "bc", "b"])
      assert.deepStrictEqual(yield* names(api, "?fieldSelector=metadata.name%3Db"), ["b"])
      assert.strictEqual(yield* statusOf(api, { path: `${services}?labelSelector=%3D` }), "400 BadRequest")
      assert.deepStrictEqual(namesOf(yield* json(api, { path: "/api/v1/services" })), ["kubernetes", "a", "b", "c"])
      assert.deepStrictEqual(yield* statusOf(api, { path: "/api/v1/gadgets" }), "404 NotFound")

      const stream = yield* watch(api, `${services}?watch=1&labelSelector=tier&resourceVersion=${yield* api.revision}`)
      yield* api.apply(service("a", { app: "mcp" }))
      yield* api.apply(service("a", { app: "mcp", tier: "one" }))
      yield* api.remove({ kind: "Service", namespace: "mcp", name: "a" })
      const text = yield* stream.until((text) => text.split("\n").length > 3)
      const events = eventsOf(text)
      assert.deepStrictEqual(typesOf(events), ["DELETED", "ADDED", "DELETED"])
      const last = yield* api.revision
      const revisions = events.map((event) => Number(revisionOf(at(event, "object"))))
      assert.deepStrictEqual(revisions, [last - 2, last - 1, last])

      const removed = yield* json(api, { method: "DELETE", path: `${services}?labelSelector=tier` })
      assert.deepStrictEqual([namesOf(removed), yield* names(api, "")], [["b"], ["c"]])
    }))
  )

  it(
    "begins a watch with what there is, and marks its end",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const before = yield* api.revision
      yield* api.apply(service("a"))
      yield* api.apply(service("b"))
      const initial = `watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersion=${before}`
      assert.strictEqual(yield* statusOf(api, { path: `${services}?${initial}` }), "422 Invalid")
      const marked = yield* watch(api, `${services}?${initial}&resourceVersionMatch=NotOlderThan`)
      yield* marked.until((text) => text.includes("k8s.io/initial-events-end"))
      yield* api.apply(service("c"))
      const all = eventsOf(yield* marked.until((text) => text.includes(`"name":"c"`)))
      assert.deepStrictEqual(typesOf(all), ["ADDED", "ADDED", "BOOKMARK", "ADDED"])
      const since = yield* watch(api, `${services}?watch=1&resourceVersion=${before}`)
      const three = (text: string) => text.split("\n").length > 3
      assert.deepStrictEqual(typesOf(eventsOf(yield* since.until(three))), ["ADDED", "ADDED", "ADDED"])
      const future = yield* watch(api, `${services}?watch=1&resourceVersion=${(yield* api.revision) + 1}`)
      yield* api.apply(service("d"))
      yield* api.apply(service("e"))
      assert.notInclude(yield* future.until((text) => text.includes("\n")), `"name":"d"`)
    }))
  )

  it(
    "writes what is right, and only where nobody wrote before",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const ports = { spec: { ports: [{ port: 1 }] } }
      const create = (path: string, body: Json) => ({ method: "POST", path, body })
      const named = yield* json(
        api,
        create(services, { metadata: { generateName: "a-" }, ...ports })
      )
      const name = textOf(at(named, "metadata", "name"))
      assert.match(name, /^a-[a-z0-9]{5}$/)
      const path = `${services}/${name}`
      const labelled = yield* ask(
        api,
        create(services, { metadata: { name: "l", labels: { z: "1", a: "2" } }, ...ports })
      )
      assert.include(labelled.text, `"labels":{"a":"2","z":"1"}`)
      const put = (metadata: JsonObject) => ({
        method: "PUT",
        path,
        body: { metadata: { name, ...metadata }, ...ports }
      })
      const resourceVersion = revisionOf(named)
      // Nothing new is no write.
      const same = yield* json(api, put({ resourceVersion, generateName: "a-" }))
      assert.strictEqual(revisionOf(same), resourceVersion)
      assert.strictEqual(at(same, "spec", "clusterIP"), at(named, "spec", "clusterIP"))
      assert.strictEqual(yield* statusOf(api, put({ resourceVersion, labels: { a: "b" } })), "200")
      assert.strictEqual(yield* statusOf(api, put({ resourceVersion })), "409 Conflict")
      assert.strictEqual(yield* statusOf(api, put({ uid: "another" })), "409 Conflict")
      const remove = (preconditions: JsonObject) => ({ method: "DELETE", path, body: { preconditions } })
      assert.strictEqual(yield* statusOf(api, remove({ uid: "another" })), "409 Conflict")
      assert.strictEqual(yield* statusOf(api, remove({ resourceVersion })), "409 Conflict")
      assert.strictEqual(yield* statusOf(api, remove({ uid: at(named, "metadata", "uid") })), "200")
      assert.strictEqual(yield* statusOf(api, put({})), "404 NotFound")

      const wrong = ["Capital", "1digit"].map((name) => create(services, { ...service("x"), metadata: { name } }))
      for (const asked of wrong) assert.strictEqual(yield* statusOf(api, asked), "422 Invalid")
      const elsewhere = create("/api/v1/namespaces/none/services", { metadata: { name: "a" }, spec: {} })
      assert.strictEqual(yield* statusOf(api, elsewhere), "404 NotFound")

      const lease = { metadata: { name: "l" }, spec: { holderIdentity: "me" } }
      assert.strictEqual(yield* statusOf(api, { method: "PUT", path: `${leases}/l`, body: lease }), "201")
      assert.strictEqual(yield* statusOf(api, { method: "PUT", path: `${leases}/l`, body: lease }), "422 Invalid")
    }))
  )

  it(
    "counts the generations of slices, and takes loopback addresses of controllers alone",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const objects = KubernetesApi.exposing({ name: "tools", addresses: ["127.0.0.1"], port: 3000 })
      for (const object of objects) yield* api.apply(object)
      const path = `${slices}/tools-0`
      const generation = (asked: Asked) => Effect.map(json(api, asked), (body) => at(body, "metadata", "generation"))
      assert.strictEqual(yield* generation({ path }), 1)
      assert.strictEqual(yield* statusOf(api, patched(path, { metadata: { annotations: { a: "b" } } })), "422 Invalid")
      const endpoints = [{ addresses: ["10.0.0.1"] }]
      assert.strictEqual(yield* generation(patched(path, { endpoints })), 2)
      assert.strictEqual(yield* generation(patched(path, { metadata: { annotations: { a: "b" } } })), 2)
      assert.strictEqual(yield* generation(patched(path, { metadata: { labels: { a: "b" } } })), 3)
      const found = yield* json(api, { path })
      assert.deepStrictEqual(at(found, "endpoints"), [{ addresses: ["10.0.0.1"], conditions: {} }])

      const open = yield* KubernetesApi.make({ allowLoopback: true })
      assert.strictEqual(yield* statusOf(open, { method: "POST", path: slices, body: objects[1] ?? null }), "201")
    }))
  )

  it(
    "scales a Deployment",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const labels = { app: "tools" }
      yield* api.apply({
        kind: "Deployment",
        metadata: { name: "tools", namespace: "mcp" },
        spec: {
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: { containers: [{ name: "tools", image: "tools" }] } }
        }
      })
      const scale = yield* json(api, { path: `${deployment}/scale` })
      assert.deepStrictEqual([at(scale, "kind"), at(scale, "spec")], ["Scale", { replicas: 1 }])
      assert.strictEqual(at(scale, "status", "selector"), "app=tools")
      yield* json(api, patched(`${deployment}/scale`, { spec: { replicas: 3 } }))
      const stale = { method: "PUT", path: `${deployment}/scale`, body: scale }
      assert.strictEqual(yield* statusOf(api, stale), "409 Conflict")
      assert.strictEqual(
        yield* statusOf(api, patched(`${deployment}/scale`, { spec: { replicas: -1 } })),
        "422 Invalid"
      )
      assert.strictEqual(at(yield* json(api, { path: deployment }), "spec", "replicas"), 3)
    }))
  )

  it("patches in three ways", () => {
    const { shape } = ofKind("Service")
    const target: JsonObject = {
      spec: { ports: [{ port: 1, name: "a" }, { port: 2, name: "b" }] },
      a: { b: "c", d: "e" }
    }
    assert.deepStrictEqual(Patch.merged(target, { spec: { ports: [] }, a: { b: null } }), {
      spec: { ports: [] },
      a: { d: "e" }
    })
    const strategic = { spec: { ports: [{ port: 2, name: "x" }, { port: 1, $patch: "delete" }, { port: 3 }] } }
    assert.deepStrictEqual(at(Patch.merged(target, strategic, shape), "spec", "ports"), [
      { port: 2, name: "x" },
      { port: 3 }
    ])
    const operations = [
      { op: "test", path: "/a/b", value: "c" },
      { op: "add", path: "/spec/ports/1", value: { port: 9 } },
      { op: "remove", path: "/spec/ports/0" },
      { op: "move", from: "/a/b", path: "/a/x~1y" }
    ]
    assert.deepStrictEqual(Patch.jsonPatched(target, operations), {
      spec: { ports: [{ port: 9 }, { port: 2, name: "b" }] },
      a: { d: "e", "x/y": "c" }
    })
    assert.isUndefined(Patch.jsonPatched(target, [{ op: "test", path: "/a/b", value: "other" }]))
    assert.isUndefined(Patch.jsonPatched(target, [{ op: "remove", path: "/none" }]))
  })
})

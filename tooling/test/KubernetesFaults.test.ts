/** What goes wrong with the stand-in for Kubernetes on request. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { readFileSync } from "node:fs"
import { assert, describe, it } from "vitest"
import { at, type Json, listOf, textOf } from "../src/backends/kubernetes-api/Json.ts"
import * as KubernetesApi from "../src/backends/KubernetesApi.ts"
import { ask, eventsOf, json, nameOf, revisionOf, service, services, watch } from "./KubernetesClient.ts"

type Api = KubernetesApi.KubernetesApi

const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => () => Effect.runPromise(Effect.scoped(effect))

const watched = (api: Api, query = "") =>
  Effect.flatMap(api.revision, (now) => watch(api, `${services}?watch=1&resourceVersion=${now}${query}`))
const lines = (count: number) => (text: string) => text.split("\n").length > count
const status = (api: Api, path = services) => Effect.map(ask(api, { path }), (answer) => answer.status)

describe("a stand-in for Kubernetes, broken", () => {
  it(
    "refuses as often as it is told, and whom it is told",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.refuse({ status: 429, times: 2, retryAfter: 7, which: { verb: "list" } })
      const refused = yield* ask(api, { path: services })
      assert.deepStrictEqual([refused.status, refused.headers["retry-after"]], [429, "7"])
      assert.strictEqual(yield* status(api, `${services}/none`), 404)
      assert.deepStrictEqual([yield* status(api), yield* status(api)], [429, 200])
      yield* api.refuse({ status: 503, times: Infinity })
      assert.deepStrictEqual([yield* status(api), yield* status(api)], [503, 503])
      yield* api.deny({ verb: "list", namespace: "mcp" })
      yield* api.heal
      assert.strictEqual(yield* status(api), 200)
      yield* api.deny({ verb: "list", namespace: "mcp" })
      assert.deepStrictEqual([yield* status(api), yield* status(api, "/api/v1/services")], [403, 200])
      const asked = yield* api.requests
      assert.deepStrictEqual(asked.slice(-2).map((one) => [one.verb, one.resource, one.namespace, one.status]), [
        ["list", "services", "mcp", 403],
        ["list", "services", "", 200]
      ])
    }))
  )

  it(
    "takes one token, which clients find in their files",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const old = yield* api.token
      const stream = yield* watched(api)
      yield* api.revoke
      assert.strictEqual(yield* status(api), 401)
      const token = yield* api.rotate
      assert.notStrictEqual(token, old)
      assert.strictEqual(yield* status(api), 200)
      assert.strictEqual((yield* ask(api, { path: services, headers: { authorization: `Bearer ${old}` } })).status, 401)
      assert.strictEqual((yield* ask(api, { path: services, headers: { authorization: "" } })).status, 401)
      const pod = `${api.podRoot}/var/run/secrets/kubernetes.io/serviceaccount`
      assert.strictEqual(readFileSync(`${pod}/token`, "utf8"), token)
      assert.strictEqual(readFileSync(`${pod}/namespace`, "utf8"), "mcp")
      assert.include(readFileSync(api.kubeconfig, "utf8"), token)
      yield* api.apply(service("a"))
      assert.include(yield* stream.until(lines(1)), "ADDED")
    }))
  )

  it(
    "lets in whoever reads the files while the token is replaced",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const file = `${api.podRoot}/var/run/secrets/kubernetes.io/serviceaccount/token`
      const seen = new Set<string>()
      const rotating = yield* Effect.forkChild(Effect.repeat(api.rotate, { times: 20 }), { startImmediately: true })
      while (rotating.pollUnsafe() === undefined) {
        const token = readFileSync(file, "utf8")
        seen.add(token)
        const answer = yield* ask(api, { path: services, headers: { authorization: `Bearer ${token}` } })
        // By the time of the answer it may be an old one.
        if (token === readFileSync(file, "utf8")) assert.strictEqual(answer.status, 200)
      }
      assert.isAbove(seen.size, 1)
    }))
  )

  it(
    "speaks TLS, and knows clients by their certificates",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make({ tls: true, credentials: "certificate" })
      assert.match(api.url, /^https:/)
      assert.strictEqual(yield* status(api), 200)
      const config: Json = JSON.parse(readFileSync(api.kubeconfig, "utf8"))
      const user = at(listOf(at(config, "users"))[0], "user")
      const pem = (name: string) => Buffer.from(textOf(at(user, name)), "base64").toString("utf8")
      const client = { cert: pem("client-certificate-data"), key: pem("client-key-data") }
      const answer = yield* ask(api, { path: services, headers: { authorization: "Basic none" }, client })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual((yield* ask(api, { path: services, headers: { authorization: "Basic none" } })).status, 401)
    }))
  )

  it(
    "sends events in any pieces",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const stream = yield* watched(api)
      yield* api.chunks("split")
      yield* api.apply(service("a", "é"))
      yield* stream.until(lines(1))
      assert.deepStrictEqual(stream.chunks.map((chunk) => chunk.endsWith("\n")), [false, true])
      yield* api.chunks("joined")
      yield* api.apply(service("b"))
      yield* api.apply(service("c"))
      const text = yield* stream.until(lines(3))
      assert.strictEqual(stream.chunks[2]?.split("\n").length, 3)
      assert.deepStrictEqual(eventsOf(text).map((event) => nameOf(at(event, "object"))), ["a", "b", "c"])
      yield* api.inject("no JSON\n")
      assert.match(yield* stream.until(lines(4)), /no JSON\n$/)
    }))
  )

  it(
    "ends watches in order, at once, and not in order",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const first = yield* watched(api)
      yield* api.endWatches
      assert.strictEqual(yield* first.ended, "ended")
      const second = yield* watched(api)
      yield* api.cut
      assert.strictEqual(yield* second.ended, "cut")
      yield* api.watchSeconds(0)
      const third = yield* watch(api, `${services}?watch=1`)
      assert.strictEqual(yield* third.ended, "ended")
      assert.deepStrictEqual(third.chunks, [])
      assert.strictEqual(yield* api.watches, 0)
    }))
  )

  it(
    "sends bookmarks with the revision that others reached, to those that ask for them",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const stream = yield* watched(api, "&allowWatchBookmarks=true")
      const without = yield* watched(api)
      yield* api.apply({ kind: "Lease", metadata: { name: "other", namespace: "mcp" } })
      yield* api.bookmark
      const [event] = eventsOf(yield* stream.until(lines(1)))
      assert.strictEqual(textOf(at(event, "type")), "BOOKMARK")
      assert.strictEqual(revisionOf(at(event, "object")), String(yield* api.revision))
      yield* api.apply(service("a"))
      assert.include(yield* without.until(lines(1)), "ADDED")
    }))
  )

  it(
    "sends a bookmark two seconds before a watch ends by its time",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const stream = yield* watched(api, "&allowWatchBookmarks=true&timeoutSeconds=3")
      const short = yield* watched(api, "&allowWatchBookmarks=true&timeoutSeconds=2")
      const without = yield* watched(api, "&timeoutSeconds=3")
      yield* api.apply({ kind: "Lease", metadata: { name: "other", namespace: "mcp" } })
      assert.deepStrictEqual(
        yield* Effect.all([stream.ended, short.ended, without.ended], { concurrency: 3 }),
        ["ended", "ended", "ended"]
      )
      const events = eventsOf(stream.chunks.join(""))
      assert.deepStrictEqual(events.map((event) => [textOf(at(event, "type")), revisionOf(at(event, "object"))]), [
        ["BOOKMARK", String(yield* api.revision)]
      ])
      assert.deepStrictEqual([short.chunks, without.chunks], [[], []])
    }))
  )

  it(
    "answers nothing while it is paused, and all of it afterwards",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const stream = yield* watched(api)
      const short = yield* watched(api, "&timeoutSeconds=1")
      yield* api.pause
      yield* api.apply(service("a"))
      assert.isTrue(Option.isNone(yield* Effect.timeoutOption(short.ended, "1200 millis")))
      const asking = yield* Effect.forkChild(json(api, { path: services }))
      yield* Effect.sleep("50 millis")
      assert.deepStrictEqual([stream.chunks.length, asking.pollUnsafe()], [0, undefined])
      yield* api.resume
      assert.strictEqual(yield* short.ended, "ended")
      assert.include(short.chunks.join(""), "ADDED")
      assert.include(yield* stream.until(lines(1)), "ADDED")
      assert.deepStrictEqual(listOf(at(yield* Fiber.join(asking), "items")).map(nameOf), ["a"])
    }))
  )

  it(
    "comes back with its data or without, and says so by the revision",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const stream = yield* watched(api)
      yield* api.stop
      assert.strictEqual(yield* stream.ended, "cut")
      assert.match(String(yield* Effect.flip(status(api))), /ECONNREFUSED/)
      yield* api.apply(service("a"))
      yield* api.start
      assert.strictEqual(yield* status(api, `${services}/a`), 200)
      const before = yield* api.revision
      yield* api.restartEmpty()
      assert.strictEqual(yield* status(api, `${services}/a`), 404)
      const blind = yield* watch(api, `${services}?watch=1&resourceVersion=${before}`)
      assert.strictEqual(at(eventsOf(yield* blind.until(lines(1)))[0], "object", "code"), 410)
      yield* api.restartEmpty("anew")
      assert.isBelow(yield* api.revision, before)
      assert.strictEqual(yield* status(api, `${services}?resourceVersion=${before}`), 504)
    }))
  )

  it(
    "is filled with 2,000 endpoints in 40 slices at once",
    run(Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const addresses = Array.from({ length: 50 }, (_, index) => `10.0.0.${index + 1}`)
      for (let index = 0; index < 40; index++) {
        for (const object of KubernetesApi.exposing({ name: `s${index}`, addresses, port: 3000 })) {
          yield* api.apply(object)
        }
      }
      const path = "/apis/discovery.k8s.io/v1/namespaces/mcp/endpointslices"
      const found = listOf(at(yield* json(api, { path }), "items"))
      assert.strictEqual(found.length, 40)
      assert.strictEqual(found.flatMap((slice) => listOf(at(slice, "endpoints"))).length, 2000)
    }))
  )
})

/**
 * The stand-in for Kubernetes against what a real API server of version 1.36 answered (`kubernetes-wire/`): the same
 * requests in the same order. Status, headers and bodies are the same byte for byte but for what differs between any two
 * servers: uids, times, and HTTP's own framing.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { readdirSync, readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { assert, beforeAll, describe, it } from "vitest"
import * as KubernetesApi from "../src/backends/KubernetesApi.ts"
import { type Answered, ask, type Asked } from "./KubernetesClient.ts"

const folder = fileURLToPath(new URL("kubernetes-wire/", import.meta.url))
const recordings = readdirSync(folder)

const services = "/api/v1/namespaces/default/services"
const slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"

const tools = {
  apiVersion: "v1",
  kind: "Service",
  metadata: { name: "tools", labels: { mcp: "true" }, annotations: { "mcp/version": "1.2.0" } },
  spec: { ports: [{ name: "http", port: 80 }] }
}

const slice = (address: string) => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name: "m1", labels: { "kubernetes.io/service-name": "tools" } },
  addressType: "IPv4",
  endpoints: [{ addresses: [address], conditions: { ready: true }, zone: "z1" }],
  ports: [{ name: "http", port: 4001 }]
})

const patching = { "content-type": "application/merge-patch+json" }

/** The answers by the names of their recordings. */
const replayed = Effect.gen(function*() {
  const api = yield* KubernetesApi.make({ user: "reader" })
  const answers = new Map<string, Answered>()
  const play = (name: string, asked: Asked) =>
    Effect.map(
      ask(api, { ...asked, headers: { "user-agent": "curl/8.14.1", ...asked.headers } }),
      (answer) => answers.set(name, answer)
    )
  // What other parts of a cluster write, so that the revisions are those of the recordings.
  let others = 0
  const reach = (revision: number): Effect.Effect<void> =>
    Effect.flatMap(api.revision, (now) =>
      now >= revision ? Effect.void : Effect.andThen(
        api.apply({ kind: "Lease", metadata: { name: `other-${++others}` }, spec: {} }),
        reach(revision)
      ))

  yield* api.watchSeconds(0.05)
  yield* reach(211)
  yield* play("create-service.201.txt", { method: "POST", path: services, body: tools })
  yield* play("create-service-again.409.txt", { method: "POST", path: services, body: tools })
  yield* play("watch-services.200.txt", { path: `${services}?watch=1&resourceVersion=211` })
  yield* reach(215)
  yield* play("list-services-limit1.200.txt", { path: `${services}?limit=1` })
  yield* play("watchlist-services.200.txt", {
    path: `${services}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`
  })
  yield* play("create-endpointslice.201.txt", { method: "POST", path: slices, body: slice("10.77.0.11") })
  yield* play("create-endpointslice-loopback.422.txt", { method: "POST", path: slices, body: slice("127.0.0.1") })
  yield* play("get-service.404.txt", { path: `${services}/none` })
  yield* play("list-services.401.txt", { path: services, headers: { authorization: "Bearer wrong" } })
  yield* api.deny({ verb: "list", resource: "services" })
  yield* play("list-services.403.txt", { path: services })
  yield* api.heal
  yield* api.watchSeconds(0.05)
  for (const n of ["1", "2", "3"]) {
    yield* play("", {
      method: "PATCH",
      path: `${services}/tools`,
      headers: patching,
      body: { metadata: { annotations: { n } } }
    })
  }
  yield* play("patch-service-stale-rv.409.txt", {
    method: "PATCH",
    path: `${services}/tools`,
    headers: patching,
    body: { metadata: { resourceVersion: "212", annotations: { n: "4" } } }
  })
  yield* api.compact
  yield* play("list-services-exact-expired.410.txt", {
    path: `${services}?resourceVersion=212&resourceVersionMatch=Exact`
  })
  yield* play("watch-services-expired.200-then-410.txt", { path: `${services}?watch=1&resourceVersion=212` })
  yield* play("watch-services-future-rv.txt", { path: `${services}?watch=1&resourceVersion=99999` })
  yield* play("delete-service.200.txt", { method: "DELETE", path: `${services}/tools` })
  return answers
})

const run = <A, E>(effect: Effect.Effect<A, E, Scope.Scope>) => Effect.runPromise(Effect.scoped(effect))

const uid = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g
const time = /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ/g
const plain = (text: string) => text.replaceAll(uid, "<uid>").replaceAll(time, "<time>")

// Of HTTP/1.1, where the recordings are of HTTP/2.
const framing = ["connection", "date", "keep-alive", "transfer-encoding"]

const told = ({ headers, status, text }: Answered): string => {
  const lines = Object.entries(headers).filter(([name]) => !framing.includes(name))
    .map(([name, value]) => `${name}: ${String(value)}`)
  return plain([String(status), ...lines.sort(), "", text].join("\n"))
}

const recorded = (name: string): string => {
  const text = readFileSync(`${folder}${name}`, "utf8").replaceAll("\r", "")
  const end = text.indexOf("\n\n")
  const [first = "", ...lines] = text.slice(0, end).split("\n")
  const kept = lines.filter((line) => !framing.includes(line.slice(0, line.indexOf(":"))))
  return plain([first.split(" ")[1], ...kept.sort(), "", text.slice(end + 2)].join("\n"))
}

describe("a stand-in for Kubernetes answers what a real one answered", () => {
  let answers: ReadonlyMap<string, Answered> = new Map()
  beforeAll(async () => {
    answers = await run(replayed)
  })

  it.each(recordings)("%s", (name) => {
    const answer = answers.get(name)
    assert.isDefined(answer, "it isn't asked for")
    if (answer !== undefined) assert.strictEqual(told(answer), recorded(name))
  })
})

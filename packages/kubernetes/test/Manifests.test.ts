import { assert, describe, it } from "@effect/vitest"
import { loadAllYaml } from "@kubernetes/client-node"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as KubernetesRegistry from "@portolan/kubernetes/KubernetesRegistry"
import * as KubernetesScale from "@portolan/kubernetes/KubernetesScale"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as fs from "node:fs"
import { fileURLToPath } from "node:url"
import * as Watched from "./Watched.ts"

const manifests = (name: string): ReadonlyArray<unknown> =>
  loadAllYaml(fs.readFileSync(fileURLToPath(new URL(`../manifests/${name}`, import.meta.url)), "utf8"))

const isRole = Schema.is(Schema.Struct({
  kind: Schema.Literal("Role"),
  metadata: Schema.Struct({ name: Schema.String }),
  rules: Schema.Array(Schema.Struct({
    apiGroups: Schema.Array(Schema.String),
    resources: Schema.Array(Schema.String),
    verbs: Schema.Array(Schema.String)
  }))
}))

/** What a role of the shipped manifest allows. */
const allowed = (role: string): ReadonlyArray<string> =>
  manifests("rbac.yaml").filter(isRole).filter(({ metadata }) => metadata.name === role).flatMap(({ rules }) =>
    rules.flatMap(({ resources, verbs }) => resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)))
  ).sort()

/** What is asked of the server meanwhile. */
const asked = <A, E, R>(api: KubernetesApi.KubernetesApi, act: Effect.Effect<A, E, R>) =>
  Effect.gen(function*() {
    const before = (yield* api.requests).length
    yield* act
    const requests = (yield* api.requests).slice(before)
    return Array.from(new Set(requests.map(({ resource, verb }) => `${verb} ${resource}`))).sort()
  })

const weather = ServiceInstance.make({
  id: "weather-1",
  service: "weather",
  endpoint: { transport: "streamable-http", url: "http://10.0.0.7:8080/mcp" }
})

const deployment: KubernetesApi.Manifest = {
  kind: "Deployment",
  metadata: { name: "weather", namespace: "mcp" },
  spec: {
    selector: { matchLabels: { app: "weather" } },
    template: { metadata: { labels: { app: "weather" } }, spec: { containers: [{ name: "a", image: "a" }] } }
  }
}

const isService = Schema.is(Schema.Struct({
  kind: Schema.Literal("Service"),
  metadata: Schema.Struct({ name: Schema.String }),
  spec: Schema.Struct({ ports: Schema.Array(Schema.Struct({ name: Schema.String, targetPort: Schema.String })) })
}))

const isConfigMap = Schema.is(Schema.Struct({
  kind: Schema.Literal("ConfigMap"),
  data: Schema.Struct({ "portolan.yaml": Schema.String })
}))

describe("manifests", () => {
  it.live("the roles allow what is asked for, and nothing else", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const { kubeconfig } = api
      const registry = yield* KubernetesRegistry.make({ kubeconfig })
      const registrar = Option.getOrThrow(registry.registrar)
      yield* registrar.put(weather, { ttl: Duration.seconds(1), incarnation: "before" })
      const reading = Effect.scoped(Effect.gen(function*() {
        yield* registry.list
        yield* Effect.forkScoped(Stream.runDrain(registry.watch))
        yield* Watched.eventually(Effect.map(api.watches, (watches) => watches === 2))
        // Of a lease that is nearly over.
        yield* Effect.timeout(api.next({ verb: "list", resource: "endpointslices" }), "10 seconds")
      }))
      assert.deepStrictEqual(yield* asked(api, reading), allowed("portolan-reader"))
      yield* api.restartEmpty()

      const writing = Effect.gen(function*() {
        const lease = { ttl: Duration.seconds(30), incarnation: "first" }
        const old = yield* registrar.put(weather, lease)
        const current = yield* registrar.put(weather, { ...lease, incarnation: "second" })
        yield* registrar.renew([old, current])
        yield* registrar.remove(current)
      })
      assert.deepStrictEqual(yield* asked(api, writing), allowed("portolan-announcer"))

      yield* api.apply(deployment)
      const scale = yield* KubernetesScale.make({ kubeconfig })
      const scaling = Effect.andThen(scale.get("weather"), scale.set("weather", 2))
      assert.deepStrictEqual(yield* asked(api, scaling), allowed("portolan-scaler"))
    }))

  it.live("the gateway of the example finds the server of the example, and not itself", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const objects = manifests("example.yaml")
      for (const object of objects.filter(isService)) {
        const { name } = object.metadata
        yield* api.apply({ ...JSON.parse(JSON.stringify(object)), metadata: { ...object.metadata, namespace: "mcp" } })
        const ports = object.spec.ports.map(({ name }) => ({ name, port: 3001 }))
        yield* api.apply(Watched.slice(`${name}-x`, name, [{ address: "10.0.0.1", pod: `${name}-1` }], { ports }))
      }
      const [selector] = objects.filter(isConfigMap).flatMap(({ data }) =>
        /type: kubernetes, labelSelector: "([^"]+)"/.exec(data["portolan.yaml"])?.[1] ?? []
      )
      assert.isDefined(selector)
      const { list } = yield* KubernetesRegistry.make({ kubeconfig: api.kubeconfig, labelSelector: selector })
      const { instances, rejected } = yield* list
      assert.deepStrictEqual(rejected, [])
      assert.deepStrictEqual(instances, [
        ServiceInstance.make({
          id: "mcp/everything-1:3001",
          service: "everything",
          version: "2026.8.31",
          endpoint: { transport: "streamable-http", url: "http://10.0.0.1:3001/mcp" },
          capabilities: ["echo", "sampling"]
        })
      ])
    }))
})

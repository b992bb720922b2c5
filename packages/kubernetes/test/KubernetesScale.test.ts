import { assert, describe, it } from "@effect/vitest"
import * as KubernetesScale from "@portolan/kubernetes/KubernetesScale"
import * as KubernetesApi from "@portolan/tooling/backends/KubernetesApi"
import * as Effect from "effect/Effect"

const deployment = (namespace: string, replicas: number, status = {}) => ({
  kind: "Deployment" as const,
  metadata: { name: "weather", namespace },
  spec: {
    replicas,
    selector: { matchLabels: { app: "weather" } },
    template: { metadata: { labels: { app: "weather" } }, spec: { containers: [{ name: "a", image: "a" }] } }
  },
  status
})

describe("KubernetesScale", () => {
  it.effect("tells how many pods there are and shall be, and says so", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      yield* api.apply(deployment("mcp", 3, { replicas: 2 }))
      yield* api.apply(deployment("default", 1))
      const scale = yield* KubernetesScale.make({ kubeconfig: api.kubeconfig })
      assert.deepStrictEqual(yield* scale.get("weather"), { wanted: 3, running: 2 })
      assert.deepStrictEqual(yield* scale.set("weather", 5), { wanted: 5, running: 2 })
      const written = yield* api.read({ kind: "Deployment", namespace: "mcp", name: "weather" })
      assert.deepNestedInclude(written, { "spec.replicas": 5 })
      assert.deepStrictEqual(yield* scale.set("weather", 0), { wanted: 0, running: 2 })
      const other = yield* KubernetesScale.make({ kubeconfig: api.kubeconfig, namespace: "default" })
      assert.deepStrictEqual(yield* other.get("weather"), { wanted: 1, running: 0 })
    }))

  it.effect("what it may not do, or can't find, it says in one line", () =>
    Effect.gen(function*() {
      const api = yield* KubernetesApi.make()
      const scale = yield* KubernetesScale.make({ kubeconfig: api.kubeconfig })
      const missing = yield* Effect.flip(scale.set("nobody", 1))
      assert.strictEqual(missing.message, "deployments.apps \"nobody\" not found")
      yield* api.apply(deployment("mcp", 1))
      const negative = yield* Effect.flip(scale.set("weather", -1))
      assert.include(negative.message, "must be greater than or equal to 0")
      for (const wanted of [NaN, Infinity, 1.5]) {
        const odd = yield* Effect.flip(scale.set("weather", wanted))
        assert.strictEqual(odd.message, `wanted: expected a whole number of pods, got ${wanted}`)
      }
      assert.strictEqual((yield* scale.get("weather")).wanted, 1)
      yield* api.deny({ verb: "patch", resource: "deployments/scale" })
      const denied = yield* Effect.flip(scale.set("weather", 2))
      assert.strictEqual(
        denied.message,
        "can't patch deployments/scale in namespace \"mcp\": grant the verb patch on deployments/scale to portolan"
      )
    }))
})

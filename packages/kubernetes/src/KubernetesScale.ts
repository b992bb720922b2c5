/**
 * How many pods a Deployment has, to be read and set.
 *
 * **Gotchas**: what is set holds until somebody sets something else: a HorizontalPodAutoscaler, or a manifest that names
 * its own number, does so.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as ApiServer from "./internal/apiServer.ts"
import * as Kubernetes from "./Kubernetes.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.2.0
 */
export interface KubernetesScaleOptions {
  /** Of the Deployments. Default: that of the service account or of the context. */
  readonly namespace?: string | undefined
  /** Path of a kubeconfig. Default: the service account inside a cluster, else what `kubectl` would take. */
  readonly kubeconfig?: string | undefined
  /** Context of the kubeconfig. Default: its current one. */
  readonly context?: string | undefined
}

/**
 * Pods of a Deployment.
 *
 * @category models
 * @since 0.2.0
 */
export interface Scale {
  /** As many as there shall be. */
  readonly wanted: number
  /** As many as there are, ready or not. */
  readonly running: number
}

/**
 * Reads and sets the scale of Deployments, by their names.
 *
 * @category models
 * @since 0.2.0
 */
export interface KubernetesScale {
  readonly get: (deployment: string) => Effect.Effect<Scale, Kubernetes.KubernetesError>
  /** Answers when the wish is written, not when it has come true. */
  readonly set: (deployment: string, wanted: number) => Effect.Effect<Scale, Kubernetes.KubernetesError>
}

// Zero is left out.
const Answer = Schema.Struct({
  spec: Schema.Struct({ replicas: Schema.optionalKey(Schema.Int) }),
  status: Schema.Struct({ replicas: Schema.optionalKey(Schema.Int) })
})
const read = Schema.decodeUnknownEffect(Answer)

/**
 * Makes the access to scales. Nothing is connected before it is used; its connections close with the scope.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (options: KubernetesScaleOptions = {}): Effect.Effect<KubernetesScale, never, Scope.Scope> =>
  Effect.map(Kubernetes.make(ApiServer.make(options)), (kubernetes) => {
    const namespace = options.namespace === undefined ? kubernetes.namespace : Effect.succeed(options.namespace)
    const scale = Effect.fnUntraced(function*(verb: "get" | "patch", name: string, body?: unknown) {
      const resource = Kubernetes.deployments
      const answer = yield* kubernetes.send({
        verb,
        resource,
        namespace: yield* namespace,
        name,
        subresource: "scale",
        body
      })
      const { spec, status } = yield* Effect.mapError(
        read(answer),
        () => new Kubernetes.KubernetesError({ reason: `the scale of ${name} can't be read; is this an API server?` })
      )
      return { wanted: spec.replicas ?? 0, running: status.replicas ?? 0 }
    })
    return {
      get: (deployment) => scale("get", deployment),
      set: (deployment, wanted) =>
        // JSON has no NaN: what stands in its place would be taken for zero.
        Number.isInteger(wanted)
          ? scale("patch", deployment, { spec: { replicas: wanted } })
          : Effect.fail(
            new Kubernetes.KubernetesError({ reason: `wanted: expected a whole number of pods, got ${wanted}` })
          )
    }
  })

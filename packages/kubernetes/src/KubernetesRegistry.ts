/**
 * Instances in Kubernetes: Services joined with their EndpointSlices, one instance for each endpoint.
 *
 * @since 0.2.0
 */
import * as Leases from "@portolan/core/Leases"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Sessions from "./internal/sessions.ts"
import * as Kubernetes from "./Kubernetes.ts"
import * as KubernetesRegistrar from "./KubernetesRegistrar.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.2.0
 */
export interface KubernetesRegistryOptions {
  /** Namespaces that are read, or `all`. Default: that of the service account or of the context. */
  readonly namespaces?: ReadonlyArray<string> | "all" | undefined
  /** Of the Services, as Kubernetes writes selectors: `app=mcp-server,tier in (a, b)`. Default: every Service. */
  readonly labelSelector?: string | undefined
  /** Name of the port. Default: `mcp`, else the only port that there is. */
  readonly portName?: string | undefined
  /** An instance for each endpoint, or one for each Service at its own address. Default `endpoints`. */
  readonly instances?: "endpoints" | "services" | undefined
  /** Path of a kubeconfig. Default: the service account inside a cluster, else what `kubectl` would take. */
  readonly kubeconfig?: string | undefined
  /** Context of the kubeconfig. Default: its current one. */
  readonly context?: string | undefined
  /** Default `kubernetes`. */
  readonly name?: string | undefined
  /** Default `limited`. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** How long a watch lasts until it is opened anew, in whole seconds: a lost connection is found within this. Default 20 s. */
  readonly wait?: Duration.Input | undefined
}

/**
 * Makes a registry of Kubernetes. Nothing is connected before it is used; its connections close with the scope.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: KubernetesRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const { instances = "endpoints", labelSelector, name = "kubernetes", namespaces, portName } = options
    const wait = Duration.fromInputUnsafe(options.wait ?? "20 seconds")
    const wrong = mistakeIn(options)
    if (wrong !== undefined) {
      return yield* new Registry.RegistryError({ registry: name, operation: "open", reason: wrong })
    }
    const failed = (operation: string) => (cause: Kubernetes.KubernetesError) =>
      new Registry.RegistryError({
        registry: name,
        operation,
        reason: cause.reason,
        ...(cause.unauthorized ? { unauthorized: true } : {}),
        cause
      })
    const connect = Kubernetes.make(Kubernetes.apiServer(options))
    const groups = new WeakMap<ServiceInstance, string>()
    const reading = { portName, instances, leases: Leases.make(), groups }
    const { list, watch } = Sessions.make({ connect, namespaces, labelSelector, wait, reading })
    return Registry.make({
      name,
      type: "kubernetes",
      list: Effect.mapError(list, failed("list")),
      watch: Stream.mapError(watch, failed("watch")),
      registrar: Option.some(KubernetesRegistrar.make(yield* connect, {
        namespace: typeof namespaces === "object" ? namespaces[0] : undefined,
        labels: labelSelector === undefined ? undefined : KubernetesRegistrar.labelsOf(labelSelector),
        failed
      })),
      trust: options.trust ?? "limited",
      // A watch finds out first.
      idleTimeout: Option.some(Duration.sum(Duration.times(wait, 2), Duration.seconds(10))),
      groupOf: (instance) => groups.get(instance)
    })
  })

/** What is wrong about the settings. */
const mistakeIn = ({ labelSelector, namespaces, wait }: KubernetesRegistryOptions): string | undefined => {
  if (namespaces?.length === 0 || typeof namespaces === "object" && namespaces.includes("")) {
    return "namespaces: expected names of namespaces, or all"
  }
  if (labelSelector?.trim() === "") return "labelSelector: expected a selector such as app=mcp-server"
  return wait === undefined || Duration.toMillis(Duration.fromInputUnsafe(wait)) > 0
    ? undefined
    : "wait: expected a time"
}

/**
 * Layer that adds a registry of Kubernetes to `Registries`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (
  options: KubernetesRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

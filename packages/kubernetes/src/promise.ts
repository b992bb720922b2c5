/**
 * The registry for programs without Effect.
 *
 * @since 0.2.0
 */
import type { RegistryOption } from "@portolan/core/promise"
import * as KubernetesRegistry from "./KubernetesRegistry.ts"

/**
 * A registry of Kubernetes, opened where it is used. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const kubernetesRegistry = (options: KubernetesRegistry.KubernetesRegistryOptions = {}): RegistryOption => ({
  name: options.name ?? "kubernetes",
  open: KubernetesRegistry.make(options)
})

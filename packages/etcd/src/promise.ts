/**
 * The registry for programs without Effect.
 *
 * @since 0.1.0
 */
import type { RegistryOption } from "@portolan/core/promise"
import * as EtcdRegistry from "./EtcdRegistry.ts"

/**
 * A registry in etcd, opened where it is used. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const etcdRegistry = (options: EtcdRegistry.EtcdRegistryOptions): RegistryOption => ({
  name: options.name ?? "etcd",
  open: EtcdRegistry.make(options)
})

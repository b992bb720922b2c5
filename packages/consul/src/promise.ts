/**
 * The registry for programs without Effect.
 *
 * @since 0.1.0
 */
import type { RegistryOption } from "@portolan/core/promise"
import * as ConsulRegistry from "./ConsulRegistry.ts"

/**
 * A registry in Consul, opened where it is used. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const consulRegistry = (options: ConsulRegistry.ConsulRegistryOptions): RegistryOption => ({
  name: options.name ?? "consul",
  open: ConsulRegistry.make(options)
})

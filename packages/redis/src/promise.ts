/**
 * The registry for programs without Effect.
 *
 * @since 0.2.0
 */
import type { RegistryOption } from "@portolan/core/promise"
import * as RedisRegistry from "./RedisRegistry.ts"

/**
 * A registry in Redis, opened where it is used. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const redisRegistry = (options: RedisRegistry.RedisRegistryOptions): RegistryOption => ({
  name: options.name ?? "redis",
  open: RedisRegistry.make(options)
})

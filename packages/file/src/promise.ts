/**
 * The registry for programs without Effect.
 *
 * @since 0.1.0
 */
import type { RegistryOption } from "@portolan/core/promise"
import * as FileRegistry from "./FileRegistry.ts"

/**
 * A registry in a file, opened where it is used. Durations are milliseconds, or text such as `"30 seconds"`.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fileRegistry = (options: FileRegistry.FileRegistryOptions): RegistryOption => ({
  name: options.name ?? options.path,
  open: FileRegistry.make(options)
})

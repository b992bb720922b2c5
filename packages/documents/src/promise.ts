/**
 * The registry for programs without Effect.
 *
 * @since 0.2.0
 */
import type { RegistryOption } from "@portolan/core/promise"
import * as DocumentsRegistry from "./DocumentsRegistry.ts"

/**
 * A registry of published documents, opened where it is used. Durations are milliseconds, or text such as `"5 minutes"`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const documentsRegistry = (options: DocumentsRegistry.DocumentsRegistryOptions): RegistryOption => ({
  name: DocumentsRegistry.nameOf(options),
  open: DocumentsRegistry.make(options)
})

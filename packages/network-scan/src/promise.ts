/**
 * The registry for programs without Effect.
 *
 * @since 0.2.0
 */
import type { Identification } from "@portolan/core/Identification"
import type { RegistryOption } from "@portolan/core/promise"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as NetworkScanRegistry from "./NetworkScanRegistry.ts"

/**
 * A registry of what a scan finds, opened where it is used. Durations are milliseconds, or text such as `"30 seconds"`.
 * `identification` is `Identifying.layer` of `@portolan/mcp`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const networkScanRegistry = (
  { identification, ...options }: NetworkScanRegistry.NetworkScanRegistryOptions & {
    readonly identification: Layer.Layer<Identification>
  }
): RegistryOption => ({
  name: options.name ?? "network-scan",
  open: Effect.flatMap(
    Layer.build(identification),
    (context) => Effect.provide(NetworkScanRegistry.make(options), context)
  )
})

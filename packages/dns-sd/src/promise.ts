/**
 * The registry for programs without Effect.
 *
 * @since 0.2.0
 */
import { Identification, NotIdentified } from "@portolan/core/Identification"
import type { RegistryOption } from "@portolan/core/promise"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as DnsSdRegistry from "./DnsSdRegistry.ts"

/**
 * A registry of what announces itself in the local network, opened where it is used. Announcing needs no
 * `identification`; whoever reads gives that of `@portolan/mcp/upstream/Identifying`, or says `identify: false`. Durations
 * are milliseconds, or text such as `"30 seconds"`.
 *
 * @category constructors
 * @since 0.2.0
 */
export const dnsSdRegistry = (
  { identification = nobody, ...options }: DnsSdRegistry.DnsSdRegistryOptions & {
    readonly identification?: Layer.Layer<Identification> | undefined
  } = {}
): RegistryOption => ({
  name: options.name ?? "dns-sd",
  open: Effect.flatMap(
    Layer.build(identification),
    (services) => Effect.provideContext(DnsSdRegistry.make(options), services)
  )
})

const nobody = Layer.succeed(
  Identification,
  Identification.of({
    identify: () =>
      Effect.fail(new NotIdentified({ kind: "foreign", reason: "no `identification` was given to tell what it is" }))
  })
)

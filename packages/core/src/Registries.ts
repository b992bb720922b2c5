/**
 * The registries that a process listens to. Adapters add themselves here for the life of their layer; `Discovery` runs
 * a session for each.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Registry, RegistryError } from "./Registry.ts"

/**
 * A registry and its place: lower precedence wins where two registries announce the same instance.
 *
 * @category models
 * @since 0.1.0
 */
export interface Member {
  readonly registry: Registry
  readonly precedence: number
}

/**
 * Service that holds the registries.
 *
 * **Details**: without `precedence` a registry comes after those that were added before it.
 *
 * **Gotchas**: layers merged with `Layer.mergeAll` are built side by side; give a precedence where the order matters.
 *
 * @category services
 * @since 0.1.0
 */
export class Registries extends Context.Service<Registries, {
  /** Adds a registry until the scope closes. A name that is taken is an error. */
  readonly add: (
    registry: Registry,
    options?: { readonly precedence?: number | undefined }
  ) => Effect.Effect<void, RegistryError, Scope.Scope>
  /** The members now, in order of precedence. Plain data. */
  readonly members: () => ReadonlyArray<Member>
  /** The members, first as they are now and then after every change. */
  readonly changes: Stream.Stream<ReadonlyArray<Member>>
}>()("@portolan/core/Registries") {}

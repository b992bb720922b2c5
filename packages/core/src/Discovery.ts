/**
 * Runs a session per registry, merges by precedence and publishes the catalog.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Stream from "effect/Stream"
import type { Catalog, CatalogUpdate } from "./Catalog.ts"
import type { RegistryError } from "./Registry.ts"

/**
 * Service that publishes the catalog.
 *
 * @category services
 * @since 0.1.0
 */
export class Discovery extends Context.Service<Discovery, {
  /** The catalog now. Plain data: safe on a hot path. */
  readonly catalog: () => Catalog
  /**
   * The catalog now, then every change. A subscriber that is slow holds up nobody, gets the newest state when it comes
   * back, and its `changes` tell what differs from the value it had before.
   */
  readonly updates: Stream.Stream<CatalogUpdate>
  /** Waits until each registry has given its first snapshot. */
  readonly ready: Effect.Effect<void>
  /** Reads a registry anew, or all of them. Fails with the first that can't be read. */
  readonly refresh: (name?: string) => Effect.Effect<void, RegistryError>
}>()("@portolan/core/Discovery") {}

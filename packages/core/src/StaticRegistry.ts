/**
 * Registry of a list that its owner sets: servers of a configuration file, fixtures.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { Latest } from "./internal/discovery/latest.ts"
import * as Registry from "./Registry.ts"
import type { ServiceInstance } from "./ServiceInstance.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface StaticRegistryOptions {
  /** Default `static`. */
  readonly name?: string | undefined
  /** Default `full`: the list is part of the program or its configuration. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** The list at first. Default empty. */
  readonly instances?: ReadonlyArray<ServiceInstance> | undefined
}

/**
 * A registry, and how its list is set.
 *
 * @category models
 * @since 0.1.0
 */
export interface StaticRegistry {
  readonly registry: Registry.Registry
  /** Replaces the list in one step; what is the same as before is left alone. */
  readonly set: (instances: ReadonlyArray<ServiceInstance>) => Effect.Effect<void>
}

/**
 * Makes a registry of a list. Nobody can announce in it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: StaticRegistryOptions = {}): Effect.Effect<StaticRegistry, never, Scope.Scope> =>
  Effect.gen(function*() {
    const list = new Latest(Registry.snapshot(options.instances ?? []))
    yield* Effect.addFinalizer(() => Effect.sync(() => list.close()))
    return {
      registry: Registry.make({
        name: options.name ?? "static",
        type: "static",
        list: Effect.sync(() => list.value),
        watch: Stream.suspend(() => list.changes),
        trust: options.trust ?? "full",
        authoritative: true,
        // Nothing lies between it and its watchers that could be lost.
        idleTimeout: Option.some(Duration.infinity)
      }),
      set: (instances) => Effect.sync(() => list.set(Registry.snapshot(instances)))
    }
  })

/**
 * The registries that a process listens to. Adapters add themselves here for the life of their layer; `Discovery` runs
 * a session for each.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import { Latest } from "./internal/latest.ts"
import { type Registry, RegistryError } from "./Registry.ts"

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

/**
 * Layer that holds the registries, none at first.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Registries> = Layer.effect(
  Registries,
  Effect.gen(function*() {
    const members = new Latest<ReadonlyArray<Member>>([])
    yield* Effect.addFinalizer(() => Effect.sync(() => members.close()))

    const add = (member: Member) => {
      const at = members.value.findIndex((other) => other.precedence > member.precedence)
      members.set(members.value.toSpliced(at === -1 ? members.value.length : at, 0, member))
    }

    return Registries.of({
      add: (registry, options) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const reason = refusal(registry.name, members.value)
            if (reason !== undefined) {
              return Effect.fail(new RegistryError({ registry: registry.name, operation: "open", reason }))
            }
            const last = members.value.at(-1)
            const member = {
              registry,
              precedence: options?.precedence ?? (last === undefined ? 0 : last.precedence + 1)
            }
            add(member)
            return Effect.succeed(member)
          }),
          (member) => Effect.sync(() => members.set(members.value.filter((other) => other !== member)))
        ).pipe(Effect.asVoid),
      members: () => members.value,
      changes: members.changes
    })
  })
)

const refusal = (name: string, members: ReadonlyArray<Member>): string | undefined => {
  if (name === "") return "a registry needs a name"
  if (name.includes("\u0000")) return "a registry's name can't hold a NUL character"
  if (members.some((member) => member.registry.name === name)) {
    return `there is a registry of this name already; give one of the two another name`
  }
  return undefined
}

/**
 * Makes the layer that every adapter exports: the registry is opened, and is one of `Registries` until the layer closes.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerOf = <E, R>(
  make: Effect.Effect<Registry, E, R>,
  options?: { readonly precedence?: number | undefined }
): Layer.Layer<never, E | RegistryError, Registries | Exclude<R, Scope.Scope>> =>
  Layer.effectDiscard(Effect.gen(function*() {
    const registries = yield* Registries
    yield* registries.add(yield* make, options)
  }))

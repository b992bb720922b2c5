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
import { Latest } from "./internal/discovery/latest.ts"
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
  /**
   * Adds a registry until the scope closes. A name that is taken is an error, unless it is to `replace` the registry that
   * has it: that one goes in the same step, and what it announced stays until the new one has given its first snapshot.
   */
  readonly add: (
    registry: Registry,
    options?: { readonly precedence?: number | undefined; readonly replace?: boolean | undefined }
  ) => Effect.Effect<void, RegistryError, Scope.Scope>
  /** Gives members of these names other precedences, in one step. Nothing is opened or closed. */
  readonly reorder: (precedences: ReadonlyMap<string, number>) => Effect.Effect<void>
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

    const put = (member: Member, others: ReadonlyArray<Member>) => {
      const at = others.findIndex((other) => other.precedence > member.precedence)
      members.set(others.toSpliced(at === -1 ? others.length : at, 0, member))
    }

    return Registries.of({
      add: (registry, options) =>
        Effect.acquireRelease(
          Effect.suspend(() => {
            const replaced = options?.replace === true
              ? members.value.find((member) => member.registry.name === registry.name)
              : undefined
            const others = members.value.filter((member) => member !== replaced)
            const reason = refusal(registry.name, others)
            if (reason !== undefined) {
              return Effect.fail(new RegistryError({ registry: registry.name, operation: "open", reason }))
            }
            const last = others.at(-1)
            const precedence = options?.precedence ?? replaced?.precedence ??
              (last === undefined ? 0 : last.precedence + 1)
            put({ registry, precedence }, others)
            return Effect.void
          }),
          () =>
            Effect.sync(() => {
              const others = members.value.filter((member) => member.registry !== registry)
              if (others.length < members.value.length) members.set(others)
            })
        ),
      reorder: (precedences) =>
        Effect.sync(() => {
          const moved = members.value.map((member) => ({
            ...member,
            precedence: precedences.get(member.registry.name) ?? member.precedence
          }))
          if (moved.every(({ precedence }, index) => precedence === members.value[index]?.precedence)) return
          members.set(moved.sort((left, right) => left.precedence - right.precedence))
        }),
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
 * The member of this name. Fails where there is none.
 *
 * @category accessors
 * @since 0.1.0
 */
export const named = (name: string): Effect.Effect<Registry, RegistryError, Registries> =>
  Effect.gen(function*() {
    const members = (yield* Registries).members()
    const member = members.find(({ registry }) => registry.name === name)
    if (member !== undefined) return member.registry
    const names = members.map(({ registry }) => `"${registry.name}"`).join(", ")
    const reason = `there is no registry of this name; there is ${names === "" ? "none" : names}`
    return yield* new RegistryError({ registry: name, operation: "open", reason })
  })

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

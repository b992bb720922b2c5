/**
 * Tells clients that a list changed, once per client and change, and that a resource did.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ListKind, ToolCatalog } from "../../catalog/ToolCatalog.ts"
import type { Fields } from "../../JsonRpc.ts"
import type { Caller } from "../../upstream/Upstream.ts"

/**
 * The lists there are.
 *
 * @category constants
 * @since 0.1.0
 */
export const listKinds: ReadonlyArray<ListKind> = ["tools", "resources", "prompts"]

/**
 * What a client knows of the lists, which are the revisions it read or was told of, and what it is yet to be told of the
 * resources that it watches. Kept while its streams come and go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Known {
  /** Whose lists they are. None: everybody's. */
  readonly caller: Caller | undefined
  readonly listed: Map<ListKind, number>
  readonly told: Map<ListKind, number>
  /** Parameters of the notice that it missed of a resource, by the URI that it watches. None: it missed nothing. */
  missed: Map<string, Fields> | undefined
  /** How it is told that a resource changed, while it listens. */
  updated: Listener["updated"]
}

/**
 * A client that listens.
 *
 * @category models
 * @since 0.1.0
 */
export interface Listener {
  readonly kinds: ReadonlySet<ListKind>
  readonly known: Known
  /** Plain; must not throw. */
  readonly notify: (kind: ListKind) => void
  /** Gets the parameters of `notifications/resources/updated`. Plain; must not throw. */
  readonly updated?: ((params: Fields) => void) | undefined
}

/**
 * Makes the knowledge of a client that knows nothing yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeKnown = (caller?: Caller): Known => ({
  caller,
  listed: new Map(),
  told: new Map(),
  missed: undefined,
  updated: undefined
})

/**
 * Tells a client that something of what it watches changed, now or as soon as it listens. Plain.
 *
 * @category combinators
 * @since 0.2.0
 */
export const updated = (known: Known, watched: string, params: Fields): void => {
  if (known.updated !== undefined) return known.updated(params)
  const missed = known.missed ??= new Map()
  const before = missed.get(watched)
  // Of several parts of it that changed, it is the one to read again.
  missed.set(watched, before === undefined || before["uri"] === params["uri"] ? params : { uri: watched })
}

/**
 * Those who listen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Notices {
  /** From now on the client misses what it isn't told of. Plain. */
  readonly attend: (known: Known, kinds: Iterable<ListKind>) => void
  /** Adds a listener; a change that it missed since it last read or was told is told at once. Gives what removes it. */
  readonly add: (listener: Listener) => () => void
}

/**
 * Makes the distribution of one catalog's changes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (catalog: ToolCatalog["Service"]): Effect.Effect<Notices, never, Scope.Scope> =>
  Effect.gen(function*() {
    const listeners = new Set<Listener>()

    const revisionOf = ({ caller }: Known, kind: ListKind): number =>
      ((caller === undefined ? undefined : catalog.audiences.of(caller)) ?? catalog).revision(kind)

    const seenOf = ({ listed, told }: Known, kind: ListKind): number =>
      Math.max(listed.get(kind) ?? -1, told.get(kind) ?? -1)

    const tell = (listener: Listener, kind: ListKind) => {
      const revision = revisionOf(listener.known, kind)
      // Several changes before the client heard of the first are one to it.
      if ((listener.known.told.get(kind) ?? -1) >= revision) return
      listener.known.told.set(kind, revision)
      listener.notify(kind)
    }

    yield* catalog.changes.pipe(
      Stream.runForEach((kinds) =>
        Effect.sync(() => {
          for (const listener of listeners) {
            for (const kind of kinds) {
              if (listener.kinds.has(kind)) tell(listener, kind)
            }
          }
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )

    // Who is of no audience sees nothing of these.
    yield* catalog.audiences.changes.pipe(
      Stream.runForEach(() =>
        Effect.sync(() => {
          for (const listener of listeners) {
            if (listener.known.caller === undefined) continue
            for (const kind of listener.kinds) {
              if (seenOf(listener.known, kind) < revisionOf(listener.known, kind)) tell(listener, kind)
            }
          }
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )

    return {
      attend: (known, kinds) => {
        for (const kind of kinds) known.told.set(kind, revisionOf(known, kind))
      },
      add: (listener) => {
        listeners.add(listener)
        for (const kind of listener.kinds) {
          const seen = seenOf(listener.known, kind)
          const revision = revisionOf(listener.known, kind)
          if (seen === -1) listener.known.told.set(kind, revision)
          else if (seen < revision) tell(listener, kind)
        }
        const { known, updated } = listener
        known.updated = updated
        if (updated !== undefined && known.missed !== undefined) {
          const { missed } = known
          known.missed = undefined
          for (const params of missed.values()) updated(params)
        }
        return () => {
          listeners.delete(listener)
          if (known.updated === updated) known.updated = undefined
        }
      }
    }
  })

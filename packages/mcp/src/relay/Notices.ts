/**
 * Tells clients that a list changed: once per client and change.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { ListKind, ToolCatalog } from "../catalog/ToolCatalog.ts"

/**
 * The lists there are.
 *
 * @category constants
 * @since 0.1.0
 */
export const listKinds: ReadonlyArray<ListKind> = ["tools", "resources", "prompts"]

/**
 * What a client knows of the lists: the revisions it read or was told of. Kept while its streams come and go.
 *
 * @category models
 * @since 0.1.0
 */
export interface Known {
  readonly listed: Map<ListKind, number>
  readonly told: Map<ListKind, number>
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
}

/**
 * Makes the knowledge of a client that knows nothing yet.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeKnown = (): Known => ({ listed: new Map(), told: new Map() })

/**
 * Those who listen.
 *
 * @category models
 * @since 0.1.0
 */
export interface Notices {
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

    const tell = (listener: Listener, kind: ListKind) => {
      const revision = catalog.revision(kind)
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

    return {
      add: (listener) => {
        listeners.add(listener)
        for (const kind of listener.kinds) {
          const seen = Math.max(listener.known.listed.get(kind) ?? -1, listener.known.told.get(kind) ?? -1)
          if (seen === -1) listener.known.told.set(kind, catalog.revision(kind))
          else if (seen < catalog.revision(kind)) tell(listener, kind)
        }
        return () => void listeners.delete(listener)
      }
    }
  })

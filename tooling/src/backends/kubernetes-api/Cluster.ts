/**
 * The objects of a cluster, as its own controllers edit them.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type { JsonObject } from "./Json.ts"
import { everywhere, type Manifest } from "./Objects.ts"
import { type Kind, ofKind } from "./Resource.ts"
import type { Entry, Store } from "./Store.ts"
import type { Writing } from "./Writing.ts"

/**
 * Which object is meant.
 *
 * @category models
 * @since 0.2.0
 */
export interface Reference {
  readonly kind: Kind
  readonly name: string
  /** Default `default`. */
  readonly namespace?: string | undefined
}

/**
 * What controllers do.
 *
 * @category models
 * @since 0.2.0
 */
export interface Cluster {
  /** Creates the object or replaces it, without the checks that clients meet; what the object has now. */
  readonly apply: (object: Manifest) => Effect.Effect<JsonObject>
  /** Deletes the object; nothing where there is none. */
  readonly remove: (what: Reference) => Effect.Effect<void>
  /** The object as it is now. */
  readonly read: (what: Reference) => Effect.Effect<JsonObject | undefined>
  /** Revision of the last write. */
  readonly revision: Effect.Effect<number>
  /** Forgets all history: who asks for an older revision gets 410. */
  readonly compact: Effect.Effect<void>
}

/**
 * Makes a cluster with what every cluster has, and with these namespaces. `wipe` leaves nothing else.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  store: Store,
  writing: Writing,
  namespaces: ReadonlyArray<string>
): Cluster & { readonly wipe: (revision?: "anew") => Effect.Effect<void> } => {
  const apply = (object: Manifest, manager: string): Entry => {
    const resource = ofKind(object.kind)
    const { name, namespace = "default" } = object.metadata
    if (resource.namespaced && store.get(ofKind("Namespace"), "", namespace) === undefined) {
      apply({ kind: "Namespace", metadata: { name: namespace } }, manager)
    }
    return writing.apply({ resource, namespace: resource.namespaced ? namespace : "", name }, object, manager)
  }
  const find = ({ kind, name, namespace = "default" }: Reference) => {
    const resource = ofKind(kind)
    return store.get(resource, resource.namespaced ? namespace : "", name)
  }
  const populate = () => {
    const own = namespaces.map((name): Manifest => ({ kind: "Namespace", metadata: { name } }))
    for (const object of [...own, ...everywhere]) apply(object, "kube-apiserver")
  }

  populate()
  return {
    apply: (object) => Effect.sync(() => apply(object, "kube-controller-manager").object),
    remove: (what) =>
      Effect.sync(() => {
        const entry = find(what)
        if (entry !== undefined) store.remove(entry)
      }),
    read: (what) => Effect.sync(() => find(what)?.object),
    revision: Effect.sync(store.revision),
    compact: Effect.sync(store.compact),
    wipe: (revision) =>
      Effect.sync(() => {
        store.wipe(revision)
        populate()
      })
  }
}

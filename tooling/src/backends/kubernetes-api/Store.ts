/**
 * What etcd is to Kubernetes: objects, one revision that every write raises, and a history that is forgotten from time to
 * time.
 *
 * @since 0.2.0
 */
import { at, type JsonObject, objectOf, textOf } from "./Json.ts"
import type { Resource } from "./Resource.ts"

/**
 * An object as it was after a write.
 *
 * @category models
 * @since 0.2.0
 */
export interface Entry {
  readonly resource: Resource
  readonly namespace: string
  readonly name: string
  readonly uid: string
  readonly revision: number
  readonly object: JsonObject
}

/**
 * A write.
 *
 * @category models
 * @since 0.2.0
 */
export interface Change {
  readonly revision: number
  readonly resource: Resource
  readonly before: Entry | undefined
  /** `undefined` for a deletion. */
  readonly after: Entry | undefined
}

/**
 * The store.
 *
 * @category models
 * @since 0.2.0
 */
export interface Store {
  /** Of the last write. */
  readonly revision: () => number
  /** Whether what came after this revision is forgotten. */
  readonly forgot: (revision: number) => boolean
  readonly get: (resource: Resource, namespace: string, name: string) => Entry | undefined
  /** In the order of namespace and name, as of a revision that isn't forgotten; all namespaces where it is empty. */
  readonly list: (resource: Resource, namespace: string, revision?: number) => ReadonlyArray<Entry>
  /** Writes an object; its resourceVersion becomes the new revision. */
  readonly put: (resource: Resource, object: JsonObject) => Entry
  /** Deletes an object: what it was, with the revision of the deletion. */
  readonly remove: (entry: Entry) => Entry
  /** The writes after a revision that isn't forgotten. */
  readonly since: (revision: number) => ReadonlyArray<Change>
  readonly compact: () => void
  /** Forgets everything; the revision goes on, or starts again. */
  readonly wipe: (revision?: "anew") => void
  /** Is told every write at once, until the function that it answers with is called. */
  readonly listen: (listener: (change: Change) => void) => () => void
}

/** Of a store that holds nothing. A real one has made its own objects by then. */
const first = 202

// As etcd's default would have it, by count instead of by minutes.
const remembered = 20_000

const keyOf = (namespace: string, name: string) => `${namespace}/${name}`

const revised = (resource: Resource, object: JsonObject, revision: number): Entry => {
  const text = (name: string) => textOf(at(object, "metadata", name))
  return {
    resource,
    revision,
    namespace: text("namespace"),
    name: text("name"),
    uid: text("uid"),
    object: { ...object, metadata: { ...objectOf(object["metadata"]), resourceVersion: String(revision) } }
  }
}

/**
 * Makes an empty store.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (): Store => {
  let revision = first
  let compacted = first
  let history: Array<Change> = []
  const kept = new Map<Resource, Map<string, Entry>>()
  const listeners = new Set<(change: Change) => void>()

  const of = (resource: Resource) => {
    const entries = kept.get(resource) ?? new Map<string, Entry>()
    kept.set(resource, entries)
    return entries
  }

  const compact = () => {
    compacted = revision
    history = []
  }

  const commit = (change: Change) => {
    history.push(change)
    if (history.length > remembered) {
      history = history.slice(remembered / 2)
      compacted = (history[0]?.revision ?? revision) - 1
    }
    for (const listener of listeners) listener(change)
  }

  const since = (from: number) => {
    let start = history.length
    while (start > 0 && (history[start - 1]?.revision ?? 0) > from) start--
    return history.slice(start)
  }

  return {
    revision: () => revision,
    forgot: (asked) => asked < compacted,
    get: (resource, namespace, name) => of(resource).get(keyOf(namespace, name)),
    list: (resource, namespace, asOf = revision) => {
      const entries = new Map(of(resource))
      if (asOf < revision) {
        for (const { before, after, ...change } of since(asOf).toReversed()) {
          if (change.resource !== resource) continue
          const entry = before ?? after
          if (entry === undefined) continue
          if (before === undefined) entries.delete(keyOf(entry.namespace, entry.name))
          else entries.set(keyOf(entry.namespace, entry.name), before)
        }
      }
      return Array.from(entries)
        .filter(([, entry]) => namespace === "" || entry.namespace === namespace)
        .sort(([a], [b]) => a < b ? -1 : 1)
        .map(([, entry]) => entry)
    },
    put: (resource, object) => {
      const after = revised(resource, object, ++revision)
      const key = keyOf(after.namespace, after.name)
      const before = of(resource).get(key)
      of(resource).set(key, after)
      commit({ revision, resource, before, after })
      return after
    },
    remove: (entry) => {
      of(entry.resource).delete(keyOf(entry.namespace, entry.name))
      const gone = revised(entry.resource, entry.object, ++revision)
      commit({ revision, resource: entry.resource, before: entry, after: undefined })
      return gone
    },
    since,
    compact,
    wipe: (counting) => {
      kept.clear()
      revision = counting === "anew" ? first : revision + 1
      compact()
    },
    listen: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    }
  }
}

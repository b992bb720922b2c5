/**
 * The id that the record of each key is known by.
 *
 * **Mental model**: it is the one in the key. Keys of two services may hold the same one; the first that was there has it.
 * A record that leaves its id to its key, as those of others do, is known as `<id>@<service>` then. One that says its id
 * itself may have moved from another service: it takes the id from what was written before it, and what can't have it is
 * rejected under its whole key.
 *
 * @since 0.2.0
 */
import type { Place } from "@portolan/core/RecordFormat"
import type { Change } from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"

type Read = Result.Result<ServiceInstance, string>

/** The revisions that a key was created and last written with. */
export interface Revisions {
  readonly created: number
  readonly written: number
}

interface Known extends Revisions {
  readonly id: string
  /** The id in its key. */
  readonly wanted: string
  /** One that can't be read keeps an id from nobody. */
  readonly isRead: boolean
}

export class Names {
  private readonly byKey = new Map<string, Known>()
  /** The key of each id. */
  private readonly keys = new Map<string, string>()
  /** The keys that wanted an id which another has. */
  private readonly rivals = new Map<string, Set<string>>()

  /** How many keys there are. */
  get size(): number {
    return this.byKey.size
  }

  /**
   * Whether these can't be of the same history: one was created or written up to a revision that those had heard of, and
   * they never saw that.
   */
  contradicts(before: Names, revision: number): boolean {
    for (const [key, { created, written }] of this.byKey) {
      const known = before.byKey.get(key)
      if (created <= revision && known?.created !== created) return true
      if (written <= revision && known?.written !== written) return true
    }
    return false
  }

  /** A key was written; `read` reads its record as one of another place. Answers what becomes of it, and of others. */
  put(
    key: string,
    place: Place,
    { created, written }: Revisions,
    read: (place: Place) => Effect.Effect<Read>
  ): Effect.Effect<ReadonlyArray<Change>> {
    return Effect.gen({ self: this }, function*() {
      const { id } = place
      const known = (id: string, read: Read) =>
        this.know(key, { id, wanted: place.id, created, written, isRead: Result.isSuccess(read) }, read)
      const holder = this.keys.get(id) ?? key
      if (holder === key) return known(id, yield* read(place))
      const other = `${id}@${place.service}`
      const asOther = yield* read({ ...place, id: other })
      if (Result.isSuccess(asOther) && (this.keys.get(other) ?? key) === key) return known(other, asOther)
      const asItself = yield* read(place)
      if (Result.isFailure(asItself)) return known(key, asItself)
      const held = this.byKey.get(holder) ?? { created: 0, written: 0, isRead: false }
      if (held.isRead && written < held.written) return known(key, Result.fail(takenBy(holder, id)))
      const loser = { ...held, id: holder, wanted: id, isRead: false }
      return [...known(id, asItself), ...this.know(holder, loser, Result.fail(takenBy(key, id)))]
    })
  }

  /** A key is gone: the id that it had, and the keys to be put again, as they want that. */
  remove(key: string): { readonly id: string; readonly rivals: ReadonlyArray<string> } {
    const { id, wanted } = this.byKey.get(key) ?? { id: key, wanted: key }
    this.byKey.delete(key)
    this.keys.delete(id)
    const rivals = this.rivals.get(wanted)
    if (id === wanted) this.rivals.delete(id)
    else rivals?.delete(key)
    return { id, rivals: id === wanted ? Array.from(rivals ?? []) : [] }
  }

  private know(key: string, known: Known, read: Read): ReadonlyArray<Change> {
    const { id, wanted } = known
    const before = this.byKey.get(key)?.id ?? id
    this.byKey.set(key, known)
    this.keys.set(id, key)
    if (id === wanted) this.rivals.get(id)?.delete(key)
    else this.rivals.set(wanted, (this.rivals.get(wanted) ?? new Set()).add(key))
    const change: Change = Result.isSuccess(read)
      ? { _tag: "Put", instance: read.success }
      : { _tag: "Reject", rejected: { id, reason: read.failure } }
    // Its id may have gone over to another key.
    if (before === id || this.keys.get(before) !== key) return [change]
    this.keys.delete(before)
    return [{ _tag: "Removed", id: before, how: "deregistered" }, change]
  }
}

const takenBy = (key: string, id: string) => `id: "${id}" is that of "${key}" too, written later`

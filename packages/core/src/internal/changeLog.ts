/**
 * The last changes among many things, each with the revision that it made: who knew all of them at some revision catches
 * up at the cost of what changed since, and not of all there is. An immutable value.
 *
 * @internal
 */
export interface ChangeLog<A> {
  /** Changes of this revision and before may be missing. */
  readonly since: number
  /** Later values append to the same arrays: of those, only so many are of this one. */
  readonly length: number
  readonly revisions: Array<number>
  readonly changes: Array<A>
}

// Who missed more than this is as well off with a look at everything.
const most = 1_024

/**
 * The log of nothing, begun at a revision.
 *
 * @internal
 */
export const begin = <A>(revision: number): ChangeLog<A> => ({
  since: revision,
  length: 0,
  revisions: [],
  changes: []
})

/**
 * Adds what changed with a revision. When it gets too long, only the last changes are kept.
 *
 * @internal
 */
export const add = <A>(self: ChangeLog<A>, revision: number, changed: ReadonlyArray<A>): ChangeLog<A> => {
  if (changed.length > most) return begin(revision)
  const length = self.length + changed.length
  const full = length > 2 * most
  // Somebody else has appended to the arrays, or they are too long: ours are copied.
  const copied = full || self.revisions.length > self.length
  const from = full ? length - most : 0
  const revisions = copied ? self.revisions.slice(from, self.length) : self.revisions
  const changes = copied ? self.changes.slice(from, self.length) : self.changes
  for (const change of changed) {
    revisions.push(revision)
    changes.push(change)
  }
  const since = from === 0 ? self.since : self.revisions[from - 1]!
  return { since, length: length - from, revisions, changes }
}

/**
 * The revision of the last change that it holds; where it holds none, the one it was begun at.
 *
 * @internal
 */
export const revision = <A>(self: ChangeLog<A>): number =>
  self.length === 0 ? self.since : self.revisions[self.length - 1]!

/**
 * What changed after a revision, some of it perhaps several times; nothing where that isn't known any more.
 *
 * @internal
 */
export const after = <A>(self: ChangeLog<A>, revision: number): ReadonlyArray<A> | undefined => {
  if (revision < self.since) return undefined
  let from = self.length
  while (from > 0 && self.revisions[from - 1]! > revision) from--
  return self.changes.slice(from, self.length)
}

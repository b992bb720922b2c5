/**
 * Tasks that the gateway keeps itself: those whose server answered at once, and those that a client cancelled.
 *
 * @since 0.2.0
 */
import type { Fields, Reply } from "../../JsonRpc.ts"

/**
 * A task that is over, in the form of version 2025-11-25.
 *
 * @category models
 * @since 0.2.0
 */
export interface KeptTask {
  readonly task: Fields
  readonly reply: Reply
}

/**
 * The tasks, by the ids that clients have. Plain.
 *
 * @category models
 * @since 0.2.0
 */
export interface KeptTasks {
  /** Keeps a task for a time, ms; the oldest make room. */
  readonly keep: (id: string, kept: KeptTask, ttl: number) => void
  readonly find: (id: string) => KeptTask | undefined
}

/** ms that a task is kept: at least, at most, and where nobody wishes a certain time. */
const ShortestTime = 60_000
const LongestTime = 3_600_000
const UnnamedTime = 600_000

/**
 * How long a task is kept whose client or server names a time, ms.
 *
 * @category accessors
 * @since 0.2.0
 */
export const timeOf = (ttl: unknown): number =>
  typeof ttl === "number" ? Math.min(Math.max(ttl, ShortestTime), LongestTime) : UnnamedTime

/** Tasks, and characters of JSON of all of them. */
const MaxTasks = 1_000
const MaxSize = 32 * 1_048_576

/**
 * Makes an empty store. `now` in ms.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (now: () => number): KeptTasks => {
  // Oldest first.
  const all = new Map<string, { readonly kept: KeptTask; readonly expires: number; readonly size: number }>()
  let total = 0

  const drop = (id: string): void => {
    total -= all.get(id)?.size ?? 0
    all.delete(id)
  }

  return {
    keep: (id, kept, ttl) => {
      const time = now()
      const size = JSON.stringify(kept).length
      drop(id)
      for (const [other, { expires }] of all) {
        if (expires <= time || all.size >= MaxTasks || total + size > MaxSize) drop(other)
      }
      all.set(id, { kept, expires: time + ttl, size })
      total += size
    },
    find: (id) => {
      const found = all.get(id)
      if (found === undefined || found.expires > now()) return found?.kept
      drop(id)
      return undefined
    }
  }
}

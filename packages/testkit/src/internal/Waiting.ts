/**
 * Waiting for a condition on plain mutable state: checked at once, and again at every `notify`.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

export interface Waiting {
  /** Tells the waiters that the state changed. */
  readonly notify: () => void
  readonly until: (holds: () => boolean) => Effect.Effect<void>
}

export const make = (): Waiting => {
  const waiters = new Set<() => void>()
  return {
    notify: () => {
      for (const waiter of Array.from(waiters)) waiter()
    },
    until: (holds) =>
      Effect.callback<void>((resume) => {
        const waiter = () => {
          if (!holds()) return
          waiters.delete(waiter)
          resume(Effect.void)
        }
        waiters.add(waiter)
        waiter()
        return Effect.sync(() => waiters.delete(waiter))
      })
  }
}

/**
 * Lets a few attempts to connect begin at a time.
 *
 * @since 0.2.0
 */
import * as Effect from "effect/Effect"
import type * as Semaphore from "effect/Semaphore"

/** ms that an attempt holds its place at most: one that hangs must not hold up the others. */
const HoldTime = 1_000

/**
 * Makes what runs an attempt once there is a place for it. The place is free again after a moment.
 *
 * @category combinators
 * @since 0.2.0
 */
export const hold = (gate: Semaphore.Semaphore) => <A, E, R>(attempt: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function*() {
      yield* restore(gate.take(1))
      let held = true
      const release = Effect.suspend(() => {
        if (!held) return Effect.void
        held = false
        return Effect.asVoid(gate.release(1))
      })
      const timer = yield* Effect.forkChild(Effect.andThen(Effect.sleep(HoldTime), release))
      return yield* restore(attempt).pipe(
        Effect.ensuring(Effect.andThen(Effect.sync(() => timer.interruptUnsafe()), release))
      )
    })
  )

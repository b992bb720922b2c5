/**
 * Long plain work in slices: a generator that yields when it is time to let others have their turn.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"

/** Runs the work to its end; between two slices the event loop goes round. */
export const run = Effect.fnUntraced(function*<A>(work: Generator<void, A>): Effect.fn.Return<A> {
  while (true) {
    const step = work.next()
    if (step.done === true) return step.value
    yield* Effect.yieldNow
  }
})

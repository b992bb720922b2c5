import type * as Clock from "effect/Clock"

/**
 * The clock that latencies are measured with: monotonic ms with fractions, from 0 on. It follows the `Clock` service, so
 * that a test's clock drives it.
 *
 * @internal
 */
export const monotonic = (clock: Clock.Clock): () => number => {
  const origin = clock.monotonicTimeNanosUnsafe()
  return () => Number(clock.monotonicTimeNanosUnsafe() - origin) / 1e6
}

import type * as Clock from "effect/Clock"

const origins = new WeakMap<Clock.Clock, bigint>()

/**
 * The clock that latencies are measured with: monotonic ms with fractions, from 0 on. It follows the `Clock` service, so
 * that a test's clock drives it, and all who ask for the same clock count from the same moment.
 *
 * @internal
 */
export const monotonic = (clock: Clock.Clock): () => number => {
  const origin = origins.get(clock) ?? clock.monotonicTimeNanosUnsafe()
  origins.set(clock, origin)
  return () => Number(clock.monotonicTimeNanosUnsafe() - origin) / 1e6
}

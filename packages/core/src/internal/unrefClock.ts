import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

const real = Effect.runSync(Clock.clockWith(Effect.succeed))

/** Longest delay that a timer takes. */
const longest = 2 ** 31 - 1

const sleep = (millis: number): Effect.Effect<void> => {
  if (millis <= 0) return Effect.yieldNow
  if (millis === Infinity) return Effect.never
  return Effect.callback((resume) => {
    const rest = millis > longest ? sleep(millis - longest) : Effect.void
    const timer = setTimeout(() => resume(rest), Math.min(millis, longest)).unref()
    return Effect.sync(() => clearTimeout(timer))
  })
}

/**
 * The clock of the system, whose sleepers don't keep the process alive.
 *
 * @internal
 */
export const unrefClock: Clock.Clock = {
  currentTimeMillisUnsafe: () => real.currentTimeMillisUnsafe(),
  currentTimeMillis: real.currentTimeMillis,
  currentTimeNanosUnsafe: () => real.currentTimeNanosUnsafe(),
  currentTimeNanos: real.currentTimeNanos,
  monotonicTimeNanosUnsafe: () => real.monotonicTimeNanosUnsafe(),
  monotonicTimeNanos: real.monotonicTimeNanos,
  sleep: (duration) => sleep(Duration.toMillis(duration))
}

import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import { failed, type Failure } from "./Failure.ts"

/** Done at the first of these signals, which it names. */
export const untilSignal = (
  signals: ReadonlyArray<NodeJS.Signals> = ["SIGINT", "SIGTERM", "SIGHUP"]
): Effect.Effect<NodeJS.Signals> =>
  Effect.callback((resume) => {
    const came = (signal: NodeJS.Signals) => resume(Effect.succeed(signal))
    for (const signal of signals) process.once(signal, came)
    return Effect.sync(() => {
      for (const signal of signals) process.off(signal, came)
    })
  })

/**
 * Runs a program until it ends or `stop` is done, and then waits until it has closed. Fails when that takes longer than
 * the limit, as where a backend hangs: what isn't closed by then ends with the process.
 */
export const runUntil = <E, R>(
  program: Effect.Effect<void, E, R>,
  stop: Effect.Effect<void>,
  limit: () => Duration.Duration
): Effect.Effect<void, E | Failure, R> =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkDetach(program, { startImmediately: true })
    const stopped = yield* Effect.raceFirst(Effect.as(Fiber.join(fiber), false), Effect.as(stop, true))
    if (!stopped) return
    const closed = yield* Effect.timeoutOption(Fiber.interrupt(fiber), limit())
    if (Option.isNone(closed)) return yield* failed(`not everything was closed within ${Duration.format(limit())}`)
  })

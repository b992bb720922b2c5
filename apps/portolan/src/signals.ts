import * as Effect from "effect/Effect"

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

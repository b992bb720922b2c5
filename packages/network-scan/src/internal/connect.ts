import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { connect as open } from "node:net"
import type { Mistake } from "./plan.ts"
import type { Target } from "./targets.ts"

/** What this machine lacks, so that nobody else can be blamed: files, buffers, memory. */
const ours = new Set(["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"])

/**
 * Whether a port takes connections: tries, and closes at once. The failure is this machine's own.
 *
 * @internal
 */
export const connect = ({ host, port }: Target, timeout: Duration.Duration): Effect.Effect<boolean, Mistake> =>
  Effect.raceFirst(
    Effect.callback<boolean, Mistake>((resume) => {
      const socket = open({ host, port })
      socket.once("connect", () => {
        socket.destroy()
        resume(Effect.succeed(true))
      })
      socket.on("error", (error) => {
        const code = "code" in error ? String(error.code) : ""
        const reason = `this machine can't open so many connections at the same time (${code}): lower the concurrency`
        resume(ours.has(code) ? Effect.fail({ reason }) : Effect.succeed(false))
      })
      return Effect.sync(() => void socket.destroy())
    }),
    // Where our event loop stood still, timers come before answers that have been there for long.
    Effect.as(Effect.andThen(Effect.sleep(timeout), turn), false)
  )

/** Lets what has arrived be read. */
const turn = Effect.callback<void>((resume) => {
  const immediate = setImmediate(() => resume(Effect.void))
  return Effect.sync(() => clearImmediate(immediate))
})

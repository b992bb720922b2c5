/**
 * One writer at a time, among all processes that keep to it.
 */
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import { randomUUID } from "node:crypto"
import * as fs from "node:fs/promises"
import { hostname } from "node:os"
import { codeOf, removeIf } from "./files.ts"

/** ms after which any lock is taken over. One is held for the time of one read and one write. */
const staleAfter = 30_000

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // It runs, and belongs to somebody else.
    return codeOf(error) === "EPERM"
  }
}

// A lock is left behind if its process is dead, or if it is old: then its number belongs to another process by now, or it
// was of a machine that can't be asked.
const isLeft = async (lock: string, now: number): Promise<boolean> => {
  const [host, pid] = (await fs.readFile(lock, "utf8")).split(" ")
  if (host === hostname() && !isAlive(Number(pid))) return true
  const { mtimeMs } = await fs.stat(lock)
  return now - mtimeMs > staleAfter
}

/** The lock can't be had. */
export class LockError extends Data.TaggedError("LockError")<{ readonly cause: unknown }> {}

/** Runs the effect while it holds the lock; fails with a line for a person if it can't get it within 10 s. */
export const withLock = <A, E>(lock: string, effect: Effect.Effect<A, E>): Effect.Effect<A, E | LockError> => {
  const content = `${hostname()} ${process.pid} ${randomUUID()}`
  const attempt = Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.tryPromise({
      try: async () => {
        // Written aside and linked: nobody ever sees a lock without its owner.
        const own = `${lock}.${randomUUID()}`
        try {
          await fs.writeFile(own, content, { flag: "wx" })
          await fs.link(own, lock)
          return true
        } catch (error) {
          if (codeOf(error) !== "EEXIST") throw error
          await removeIf(lock, (file) => isLeft(file, now))
          return false
        } finally {
          await fs.rm(own, { force: true })
        }
      },
      catch: (cause) => new LockError({ cause })
    }))
  const acquire = attempt.pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.jittered(Schedule.spaced("15 millis")) }),
    Effect.timeoutOrElse({
      duration: "10 seconds",
      orElse: () =>
        Effect.fail(new LockError({ cause: `another process holds ${lock}; delete it if that process is gone` }))
    })
  )
  return Effect.acquireUseRelease(
    acquire,
    () => effect,
    () => Effect.promise(() => removeIf(lock, async (file) => await fs.readFile(file, "utf8") === content))
  )
}

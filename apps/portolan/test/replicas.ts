/**
 * Servers as processes that can be ended, killed and stopped.
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

const program = fileURLToPath(new URL("replica.ts", import.meta.url))

/** A process of `replica.ts`, until the scope closes. */
export const replica = (log: string, time = 0, port = 0) =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [program, log, String(time), String(port)], { stdio: ["ignore", "pipe", "inherit"] })
      ),
      (child) => Effect.sync(() => child.kill("SIGKILL"))
    ),
    (child) =>
      Effect.callback<{ readonly url: string; readonly kill: Effect.Effect<void> }>((resume) => {
        child.stdout.setEncoding("utf8").once("data", (line: string) =>
          resume(Effect.succeed({
            url: line.trim(),
            kill: Effect.callback((resume) => {
              child.once("exit", () => resume(Effect.void))
              child.kill("SIGKILL")
            })
          })))
      })
  )

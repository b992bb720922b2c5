/**
 * Prometheus's own checker, for tests of what it is to read.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { spawn } from "node:child_process"
import * as Debian from "./Debian.ts"

const binary = Debian.locate({ package: "prometheus", binary: "promtool" })

/**
 * Why promtool can't be had on this machine; `undefined` where it can. Fetches it the first time.
 *
 * @category accessors
 * @since 0.1.0
 */
export const unavailable: Effect.Effect<string | undefined> = Effect.match(binary, {
  onFailure: (error) => error.reason,
  onSuccess: () => undefined
})

/**
 * Runs promtool: its exit code, and all that it said.
 *
 * @category constructors
 * @since 0.1.0
 */
export const run = (
  args: ReadonlyArray<string>,
  input = ""
): Effect.Effect<{ readonly code: number | null; readonly said: string }, Debian.Unavailable> =>
  Effect.flatMap(binary, (path) =>
    Effect.callback((resume) => {
      const child = spawn(path, args, { stdio: ["pipe", "pipe", "pipe"] })
      let said = ""
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding("utf8").on("data", (chunk: string) => said += chunk)
      }
      child.on("error", (error) => resume(Effect.die(error)))
      child.on("close", (code) => resume(Effect.succeed({ code, said: said.trim() })))
      child.stdin.on("error", () => {})
      child.stdin.end(input)
      return Effect.sync(() => child.kill())
    }))

/**
 * Servers as processes that can be ended, killed and stopped.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

/** The server's program: `replica.ts <log> <ms> [port]`. */
export const program = fileURLToPath(new URL("replica.ts", import.meta.url))

/** They start again and again: Node keeps what it compiled for them. */
const compiled = fileURLToPath(new URL("../node_modules/.cache/replicas", import.meta.url))

const start = (log: string, time: number, port: number) =>
  spawn(process.execPath, [program, log, String(time), String(port)], {
    env: { ...process.env, NODE_COMPILE_CACHE: compiled },
    stdio: ["ignore", "pipe", "inherit"]
  })

/** A process of `replica.ts`, until the scope closes. */
export const replica = (log: string, time = 0, port = 0) =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => start(log, time, port)),
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

/** A server whose process is started again on its port whenever it ends. */
export interface Supervised {
  readonly url: string
  readonly signal: (name: NodeJS.Signals) => void
  /** Whether a process of it listens. */
  readonly isUp: () => boolean
  /** How often its process ended. */
  readonly ends: () => number
}

/** Processes of `replica.ts`, each started again `pause` ms after the one before ended, until the scope closes. */
export const supervised = (
  log: string,
  time: number,
  pause: number
): Effect.Effect<Supervised, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.callback<{ readonly server: Supervised; readonly close: () => void }>((resume) => {
        let child: ChildProcess
        let url = ""
        let up = false
        let ends = 0
        let closed = false
        const run = (port: number) => {
          const running = start(log, time, port)
          child = running
          running.stdout.setEncoding("utf8").once("data", (line: string) => {
            up = true
            if (url !== "") return
            url = line.trim()
            resume(Effect.succeed({
              server: { url, signal: (name) => child.kill(name), isUp: () => up, ends: () => ends },
              close: () => {
                closed = true
                child.kill("SIGKILL")
              }
            }))
          })
          running.once("exit", () => {
            up = false
            ends++
            if (!closed) setTimeout(() => closed || run(Number(new URL(url).port)), pause)
          })
        }
        run(0)
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ server }) => server
  )

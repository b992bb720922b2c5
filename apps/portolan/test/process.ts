/**
 * The command as a process.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"

const bin = fileURLToPath(new URL("../bin/portolan.js", import.meta.url))

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: Record<string, string>
  /** Standard input; none by default. */
  readonly input?: string
}

interface Started {
  readonly child: ChildProcess
  readonly out: () => string
  readonly err: () => string
  readonly ended: Promise<Ended>
}

const start = (args: ReadonlyArray<string>, options: RunOptions): Started => {
  const { FORCE_COLOR: _, NO_COLOR: __, PORTOLAN_URL: ___, PORTOLAN_TOKEN: ____, ...env } = process.env
  const child = spawn(process.execPath, [bin, ...args], {
    cwd: options.cwd ?? Os.tmpdir(),
    env: { ...env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"]
  })
  child.stdin.on("error", () => {})
  child.stdin.end(options.input)
  // A test process that ends without closing its scopes must leave nothing behind.
  const last = () => child.kill("SIGKILL")
  process.once("exit", last)
  child.once("exit", () => process.off("exit", last))
  let stdout = ""
  let stderr = ""
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => stdout += chunk)
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => stderr += chunk)
  return {
    child,
    out: () => stdout,
    err: () => stderr,
    ended: new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr })))
  }
}

/** Runs the command to its end. */
export const portolan = (args: ReadonlyArray<string>, options: RunOptions = {}): Effect.Effect<Ended> =>
  Effect.callback((resume) => {
    const { child, ended } = start(args, options)
    void ended.then((result) => resume(Effect.succeed(result)))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

export interface Background {
  readonly pid: number
  readonly out: () => string
  readonly err: () => string
  readonly kill: (signal: NodeJS.Signals) => void
  readonly ended: Effect.Effect<Ended>
}

/** Runs the command until the scope closes, or until it ends by itself. */
export const background = (
  args: ReadonlyArray<string>,
  options: RunOptions = {}
): Effect.Effect<Background, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => start(args, options)),
      ({ child, ended }) =>
        Effect.promise(() => {
          if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM")
          const last = setTimeout(() => child.kill("SIGKILL"), 15_000)
          return ended.finally(() => clearTimeout(last))
        })
    ),
    ({ child, ended, err, out }) => ({
      pid: child.pid ?? 0,
      out,
      err,
      kill: (signal) => child.kill(signal),
      ended: Effect.promise(() => ended)
    })
  )

export interface Running {
  readonly pid: number
  readonly url: string
  /** What it found, as `up --json` prints it. */
  readonly found: { readonly tools: number; readonly services: number }
  readonly kill: (signal: NodeJS.Signals) => void
  readonly ended: Effect.Effect<Ended>
}

/** Runs `portolan up` on a free port until the scope closes; done when it printed what it found. */
export const up = (args: ReadonlyArray<string>, options: RunOptions = {}): Effect.Effect<Running, never, Scope.Scope> =>
  Effect.flatMap(
    Effect.acquireRelease(
      Effect.sync(() => start(["up", "--json", "--port", "0", ...args], options)),
      ({ child, ended }) =>
        Effect.promise(() => {
          if (child.exitCode === null && child.signalCode === null) child.kill("SIGTERM")
          // It bounds its own end; a test that waits for ever helps nobody.
          const last = setTimeout(() => child.kill("SIGKILL"), 15_000)
          return ended.finally(() => clearTimeout(last))
        })
    ),
    ({ child, ended, out }) =>
      Effect.callback<Running>((resume) => {
        child.stdout?.on("data", () => {
          if (!out().includes("\n")) return
          const { mcp, ...found } = JSON.parse(out())
          resume(Effect.succeed({
            pid: child.pid ?? 0,
            url: new URL(mcp).origin,
            found,
            kill: (signal) => child.kill(signal),
            ended: Effect.promise(() => ended)
          }))
        })
        void ended.then((result) =>
          resume(Effect.die(new Error(`portolan up ended: ${result.stderr}${result.stdout}`)))
        )
      })
  )

/** A directory with these files, for the life of the scope. */
export const directory = (files: Record<string, string> = {}): Effect.Effect<string, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const path = Fs.mkdtempSync(Path.join(Os.tmpdir(), "portolan-cli-"))
      for (const [name, text] of Object.entries(files)) Fs.writeFileSync(Path.join(path, name), text)
      return path
    }),
    (path) => Effect.sync(() => Fs.rmSync(path, { recursive: true, force: true }))
  )

/** Whether the process is there. */
export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/** Waits until it holds; fails after `within` ms. */
export const until = <E>(check: Effect.Effect<boolean, E>, within: number) =>
  check.pipe(
    Effect.repeat({ until: (held) => held, schedule: Schedule.spaced("50 millis") }),
    Effect.timeout(within)
  )

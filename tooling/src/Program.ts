/**
 * A program run as a process: what it prints, and how it ends.
 *
 * @since 0.1.0
 */
import { spawn } from "node:child_process"

/**
 * A running program.
 *
 * @category models
 * @since 0.1.0
 */
export interface Program extends AsyncDisposable {
  /** What it printed so far, its errors too. */
  readonly printed: () => string
  /** Waits until it has printed what is wanted, and answers all of it; rejects when it ends without. */
  readonly until: (wanted: (printed: string) => boolean) => Promise<string>
  /** Sends the signal, if one is given, and waits for the end: the exit code, or the signal that it died of. */
  readonly ended: (signal?: NodeJS.Signals) => Promise<number | NodeJS.Signals | null>
}

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface ProgramOptions {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Longest it may run, ms. Default 60 s. */
  readonly limit?: number | undefined
}

/**
 * Starts a program. It is killed when it is disposed of, and when this process ends.
 *
 * @category constructors
 * @since 0.1.0
 */
export const start = (command: string, args: ReadonlyArray<string>, options: ProgramOptions): Program => {
  const { FORCE_COLOR: _, ...env } = process.env
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { ...env, NO_COLOR: "1", ...options.env },
    stdio: ["ignore", "pipe", "pipe"]
  })
  const kill = () => void child.kill("SIGKILL")
  process.once("exit", kill)
  const alarm = setTimeout(kill, options.limit ?? 60_000)
  let printed = ""
  const heard = new Set<() => void>()
  const keep = (chunk: string) => {
    printed += chunk
    for (const look of heard) look()
  }
  child.stdout.setEncoding("utf8").on("data", keep)
  child.stderr.setEncoding("utf8").on("data", keep)
  const end = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once("error", (error) => {
      keep(error.message)
      resolve(null)
    })
    child.once("close", (code, signal) => resolve(code ?? signal))
  }).finally(() => {
    process.off("exit", kill)
    clearTimeout(alarm)
  })
  return {
    printed: () => printed,
    until: (wanted) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (!wanted(printed)) return
          heard.delete(look)
          resolve(printed)
        }
        heard.add(look)
        look()
        void end.then((how) => reject(new Error(`ended (${how}): ${printed}`)))
      }),
    ended: (signal) => {
      if (signal !== undefined) child.kill(signal)
      return end
    },
    [Symbol.asyncDispose]: async () => {
      kill()
      await end
    }
  }
}

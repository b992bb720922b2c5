/**
 * The command that `register` runs.
 */
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Net from "node:net"
import * as Os from "node:os"
import { failed, type Failure } from "./Failure.ts"

export interface Child {
  /** Its exit status as a shell tells it: 128 and the signal where one ended it. */
  readonly exited: Effect.Effect<number>
  /** Which signal asks it to end when the scope closes. */
  readonly endWith: (signal: NodeJS.Signals) => void
}

/** Signals that are its business alone. */
const forwarded = ["SIGHUP", "SIGUSR1", "SIGUSR2"] as const

/** Its process group: a package runner has the server as a child of its own. */
const signalGroup = (child: ChildProcess, signal: NodeJS.Signals): void => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  try {
    process.kill(-child.pid, signal)
  } catch {
    // It ended a moment ago, or this system has no process groups.
    child.kill(signal)
  }
}

/**
 * Starts a command with our standard streams. When the scope closes it is asked to end and waited for, and a second
 * SIGINT or SIGTERM ends it at once.
 *
 * It has a process group of its own, so that Ctrl-C comes to us alone: first the record goes, then the command.
 */
export const start = (command: string, args: ReadonlyArray<string>): Effect.Effect<Child, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    let running: ChildProcess | undefined
    const signal = (name: NodeJS.Signals) => {
      if (running !== undefined) signalGroup(running, name)
    }
    const on = (name: NodeJS.Signals, listener: () => void) =>
      Effect.acquireRelease(
        Effect.sync(() => process.on(name, listener)),
        () => Effect.sync(() => process.off(name, listener))
      )
    // Before the command, so that they last longer: a signal while it is waited for must not end us alone.
    let asked = 0
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      yield* on(name, () => {
        if (++asked > 1) signal("SIGKILL")
      })
    }
    for (const name of forwarded) yield* on(name, () => signal(name))

    let last: NodeJS.Signals = "SIGTERM"
    const child = yield* Effect.acquireRelease(
      Effect.callback<ChildProcess, Failure>((resume) => {
        const child = spawn(command, args, { stdio: "inherit", detached: true })
        running = child
        child.once("spawn", () => resume(Effect.succeed(child)))
        child.once("error", (error) => resume(Effect.fail(failed(`can't start ${command}: ${error.message}`))))
      }),
      (child) =>
        Effect.callback<void>((resume) => {
          if (child.exitCode !== null || child.signalCode !== null) return resume(Effect.void)
          child.once("exit", () => resume(Effect.void))
          signal(last)
        })
    )
    const statusOf = (code: number | null, signal: NodeJS.Signals | null): number =>
      signal === null ? code ?? 1 : 128 + Os.constants.signals[signal]
    return {
      exited: Effect.callback((resume) => {
        const done = (code: number | null, signal: NodeJS.Signals | null) =>
          resume(Effect.succeed(statusOf(code, signal)))
        if (child.exitCode !== null || child.signalCode !== null) return done(child.exitCode, child.signalCode)
        child.once("exit", done)
        return Effect.sync(() => child.off("exit", done))
      }),
      endWith: (signal) => {
        last = signal
      }
    }
  })

const connects = (host: string, port: number): Effect.Effect<boolean> =>
  Effect.callback((resume) => {
    const socket = Net.connect({ host, port, timeout: 1000 })
    const answer = (connected: boolean) => () => {
      socket.destroy()
      resume(Effect.succeed(connected))
    }
    socket.once("connect", answer(true))
    socket.once("error", answer(false))
    socket.once("timeout", answer(false))
    return Effect.sync(() => socket.destroy())
  })

/** Done as soon as somebody listens at the address. */
export const listening = (url: string): Effect.Effect<void> => {
  const parsed = URL.parse(url)
  if (parsed === null) return Effect.void
  const secure = parsed.protocol === "https:" || parsed.protocol === "wss:"
  const port = parsed.port === "" ? (secure ? 443 : 80) : Number(parsed.port)
  const host = parsed.hostname.replace(/^\[|\]$/g, "")
  return Effect.asVoid(
    Effect.repeat(connects(host, port), { until: (connected) => connected, schedule: Schedule.spaced("100 millis") })
  )
}

/**
 * A server as a child process: one JSON-RPC message a line on its standard input and output.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/stdio
 * @since 0.1.0
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import type { JsonRpcRequest } from "../../JsonRpc.ts"
import { type Connection, dead, type Failure, idOfLong, type Listener, oneLine } from "./Connection.ts"
import * as Lines from "./Lines.ts"
import * as Replies from "./Replies.ts"
import type { Watchdog } from "./Watchdog.ts"

/**
 * How a child is started and bounded.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly command: string
  readonly args: ReadonlyArray<string>
  /** The whole environment of the child. */
  readonly env: Readonly<Record<string, string>>
  readonly cwd?: string | undefined
  /** Bytes of the longest message. */
  readonly maxMessageSize: number
  readonly watchdog: Watchdog
  /** Takes secrets out of what the child wrote. */
  readonly redact: (text: string) => string
}

// What sudo keeps: enough for a program to start, nothing that is a secret.
const inherited = ["HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LANG", "TZ", "TMPDIR"]

/** The environment that every child gets; a record's own `env` comes on top. */
export const defaultEnvironment = (): Record<string, string> => {
  const environment: Record<string, string> = {}
  for (const name of inherited) {
    const value = process.env[name]
    // A shell function exported as a variable is code.
    if (value !== undefined && !value.startsWith("()")) environment[name] = value
  }
  return environment
}

/** Characters of stderr that are kept to explain an exit. */
const TailLength = 4_096
/** Bytes that may wait for a child that doesn't read. */
const MaxUnread = 64 * 1024 * 1024
/** ms that a child is given after its input is closed, and again after SIGTERM. */
const Grace = 1_500
/** ms that the rest of the output may come after an exit. */
const Linger = 200

const signal = (group: number, name: NodeJS.Signals | 0): boolean => {
  try {
    return process.kill(-group, name)
  } catch {
    return false
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

const groupGone = async (group: number, ms: number): Promise<boolean> => {
  for (let waited = 0; waited < ms; waited += 25) {
    if (!signal(group, 0)) return true
    await sleep(25)
  }
  return !signal(group, 0)
}

/**
 * Starts a child and speaks with it. A child that can't be started is a connection that is lost at once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (options: Options, listener: Listener): Connection => {
  const replies = Replies.make(listener)
  let stderr = ""
  let garbage = 0
  let lost: Failure | undefined
  let closing: Promise<void> | undefined
  let told = false

  let child: ChildProcessWithoutNullStreams
  try {
    child = spawn(options.command, options.args, {
      cwd: options.cwd,
      env: options.env,
      detached: true,
      stdio: ["pipe", "pipe", "pipe"],
      windowsHide: true
    })
  } catch (cause) {
    // A NUL in an argument and the like.
    return dead(
      { phase: "notSent", reason: `can't start ${options.command}`, connectionLost: true, cause },
      listener
    )
  }
  const group = child.pid
  if (group !== undefined) options.watchdog.add(group)

  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve())
    child.once("error", () => group === undefined && resolve())
  })

  /** Ends whatever of the group is left once its leader has gone. */
  const sweep = async () => {
    if (group === undefined) return
    if (signal(group, "SIGTERM") && !(await groupGone(group, Grace))) {
      signal(group, "SIGKILL")
      await groupGone(group, Grace)
    }
    options.watchdog.remove(group)
  }

  const lose = (reason: string, cause?: unknown) => {
    if (lost !== undefined) return
    const notes = [
      oneLine(options.redact(stderr.trimEnd().split("\n").at(-1) ?? "")),
      garbage > 0 ? `${garbage} lines on its output were no JSON-RPC` : ""
    ].filter((note) => note !== "")
    lost = { phase: "notSent", reason: [reason, ...notes].join(": "), connectionLost: true, cause }
    if (closing === undefined) {
      closing = end()
      told = true
    }
    replies.lose(lost)
    if (told) listener.onLost(lost)
  }

  /** Closes the input, then SIGTERM, then SIGKILL. */
  const end = async () => {
    child.stdin.end()
    const deadline = sleepUntil(exited, Grace)
    if (!(await deadline) && group !== undefined) {
      signal(group, "SIGTERM")
      if (!(await sleepUntil(exited, Grace))) signal(group, "SIGKILL")
    }
    await sweep()
    child.stdin.destroy()
    child.stdout.destroy()
    child.stderr.destroy()
  }

  const feed = Lines.make({
    limit: options.maxMessageSize,
    onLine: (line) => {
      garbage += replies.read(line.toString("utf8"))
    },
    onTooLong: (head, tail) => {
      garbage++
      const id = idOfLong(head, tail)
      if (id !== undefined) replies.tooLong(id, `the reply is longer than ${options.maxMessageSize} bytes`)
    }
  })

  child.stdout.on("data", feed)
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr = text.length >= TailLength ? text.slice(-TailLength) : (stderr + text).slice(-TailLength)
  })
  child.stdout.on("error", () => {})
  child.stderr.on("error", () => {})
  child.stdin.on("error", () => {})

  let how = "closed its output"
  const finish = () => lose(how)
  let linger: NodeJS.Timeout | undefined
  child.once("error", (cause: NodeJS.ErrnoException) => {
    lose(
      cause.code === "ENOENT"
        ? `command not found: ${options.command}${options.cwd === undefined ? "" : ` (in ${options.cwd})`}`
        : `can't start ${options.command}: ${cause.code ?? cause.message}`,
      cause
    )
  })
  child.once("exit", (code, name) => {
    how = name === null ? `exited with code ${code}` : `killed by ${name}`
    linger ??= setTimeout(finish, Linger)
  })
  child.stdout.once("close", () => {
    linger ??= setTimeout(finish, Linger)
  })
  child.once("close", () => {
    clearTimeout(linger)
    finish()
  })

  const write = (message: object): Failure | undefined => {
    if (lost !== undefined) return lost
    if (closing !== undefined || !child.stdin.writable) {
      return { phase: "notSent", reason: "closed its input", connectionLost: true }
    }
    if (child.stdin.writableLength > MaxUnread) return { phase: "notSent", reason: "the server doesn't read its input" }
    child.stdin.write(`${JSON.stringify(message)}\n`)
    return undefined
  }

  return {
    send: (request: JsonRpcRequest, exchange) => {
      const failure = write(request)
      if (failure !== undefined) {
        exchange.onFailure(failure)
        return () => {}
      }
      const expected = replies.expect(request.id, exchange, () => {})
      // A child that couldn't be started has been sent nothing.
      if (group !== undefined) expected.sent()
      return () => void expected.land()
    },
    post: (message, done) => {
      const failure = write(message)
      done?.(failure)
    },
    negotiated: () => {},
    cancelsByClosing: false,
    close: () => {
      replies.clear()
      return closing ??= end()
    }
  }
}

/** Whether the event came in time. Leaves no timer. */
const sleepUntil = (event: Promise<void>, ms: number): Promise<boolean> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), ms)
    void event.then(() => {
      clearTimeout(timer)
      resolve(true)
    })
  })

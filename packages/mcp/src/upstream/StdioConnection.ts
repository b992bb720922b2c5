/**
 * A server as a child process: one JSON-RPC message a line on its standard input and output.
 *
 * @see https://modelcontextprotocol.io/specification/2026-07-28/basic/transports/stdio
 * @since 0.1.0
 */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process"
import { InFlight } from "../internal/InFlight.ts"
import { isFields, type JsonRpcRequest } from "../JsonRpc.ts"
import {
  type Connection,
  dead,
  type Exchange,
  type Failure,
  idOfLong,
  inboundOf,
  type Listener,
  oneLine,
  replyOf
} from "./Connection.ts"
import * as Lines from "./Lines.ts"
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

interface Pending {
  readonly id: unknown
  readonly exchange: Exchange
  /** It is over; tells whether it wasn't before. */
  readonly land: () => boolean
}

/**
 * Starts a child and speaks with it. A child that can't be started is a connection that is lost at once.
 *
 * @category constructors
 * @since 0.1.0
 */
export const open = (options: Options, listener: Listener): Connection => {
  const pending = new InFlight<Pending>()
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
    const failure: Failure = { ...lost, phase: group === undefined ? "notSent" : "mayHaveRun" }
    const left = pending.all()
    pending.clear()
    if (closing === undefined) {
      closing = end()
      told = true
    }
    for (const { exchange } of left) exchange.onFailure(failure)
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

  /** Takes the request with this id for ended. */
  const landed = (id: unknown): Exchange | undefined => {
    const found = pending.find((each) => each.id === id)
    return found?.land() === true ? found.exchange : undefined
  }

  const take = (line: Buffer) => {
    let message: unknown
    try {
      message = JSON.parse(line.toString("utf8"))
    } catch {
      garbage++
      return
    }
    // 2025-03-26 allows batches.
    for (const one of Array.isArray(message) ? message : [message]) receive(one)
  }

  const receive = (message: unknown) => {
    if (!isFields(message)) return void garbage++
    const id = message["id"]
    if (message["method"] === undefined && (typeof id === "number" || typeof id === "string")) {
      const exchange = landed(id)
      // A reply to nothing we asked, or that we gave up on.
      if (exchange === undefined) return
      const reply = replyOf(message)
      if (reply === undefined) exchange.onFailure({ phase: "answered", reason: "the reply is not JSON-RPC" })
      else exchange.onReply(reply)
      return
    }
    const inbound = inboundOf(message)
    if (inbound === undefined) garbage++
    else listener.onMessage(inbound)
  }

  const feed = Lines.make({
    limit: options.maxMessageSize,
    onLine: take,
    onTooLong: (head, tail) => {
      garbage++
      const id = idOfLong(head, tail)
      const exchange = id === undefined ? undefined : landed(id)
      exchange?.onFailure({ phase: "answered", reason: `the reply is longer than ${options.maxMessageSize} bytes` })
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
      const land = pending.add({ id: request.id, exchange, land: () => land() })
      exchange.onSent?.()
      return land
    },
    post: (message, done) => {
      const failure = write(message)
      done?.(failure)
    },
    negotiated: () => {},
    cancelsByClosing: false,
    close: () => {
      pending.clear()
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

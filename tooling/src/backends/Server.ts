/**
 * A real server run for a test: started, stopped, killed, frozen, started anew with or without its data.
 *
 * **Mental model**: one process at a time on fixed loopback ports with a data folder of its own. It ends with the scope,
 * whatever state it is in.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Net from "node:net"
import * as Os from "node:os"
import * as Path from "node:path"

/**
 * Error raised when the server doesn't start, with the end of what it printed.
 *
 * @category errors
 * @since 0.1.0
 */
export class ServerError extends Data.TaggedError("ServerError")<{ readonly server: string; readonly reason: string }> {
  override get message(): string {
    return `${this.server}: ${this.reason}`
  }
}

/**
 * A running server.
 *
 * @category models
 * @since 0.1.0
 */
export interface Server {
  readonly url: string
  readonly host: string
  readonly port: number
  /** Starts it with the data it had, and waits until it answers; nothing where it runs. */
  readonly start: Effect.Effect<void, ServerError>
  /** SIGTERM, and its end awaited. */
  readonly stop: Effect.Effect<void>
  /** SIGKILL, and its end awaited. */
  readonly kill: Effect.Effect<void>
  /** SIGSTOP: connections stay open, nothing answers. */
  readonly pause: Effect.Effect<void>
  /** SIGCONT. */
  readonly resume: Effect.Effect<void>
  /** Ends it, forgets its data, starts it. */
  readonly restartEmpty: Effect.Effect<void, ServerError>
}

/**
 * What is special about a server.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServerOptions {
  readonly name: string
  readonly binary: string
  /** How many ports it needs; the first serves clients. */
  readonly ports: number
  readonly args: (ports: ReadonlyArray<number>, data: string) => ReadonlyArray<string>
  /** Whether the answer at `path` means that it is ready. */
  readonly ready: { readonly path: string; readonly when: (body: string) => boolean }
}

/** A port of 127.0.0.1 that nobody listens on at this moment. */
const freePorts = (count: number): Promise<Array<number>> =>
  // All are held until all are known, so that no two are the same.
  Promise.all(Array.from({ length: count }, () =>
    new Promise<Net.Server>((resolve, reject) => {
      const holder = Net.createServer()
      holder.once("error", reject).listen(0, "127.0.0.1", () => resolve(holder))
    }))).then((holders) =>
      Promise.all(holders.map((holder) =>
        new Promise<number>((resolve, reject) => {
          const address = holder.address()
          if (typeof address === "object" && address !== null) holder.close(() => resolve(address.port))
          else reject(new Error("no address"))
        })
      ))
    )

/**
 * Starts a server until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: ServerOptions
): Effect.fn.Return<Server, ServerError, Scope.Scope> {
  const failed = (cause: unknown) =>
    new ServerError({ server: options.name, reason: cause instanceof Error ? cause.message : String(cause) })
  const attempt = <A>(what: () => Promise<A>) => Effect.tryPromise({ try: what, catch: failed })

  const ports = yield* attempt(() => freePorts(options.ports))
  const host = "127.0.0.1"
  const url = `http://${host}:${ports[0]}`
  const home = yield* Effect.acquireRelease(
    attempt(() => Fs.mkdtemp(Path.join(Os.tmpdir(), `portolan-${options.name}-`))),
    (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
  )
  const data = Path.join(home, "data")

  let child: ChildProcess | undefined
  let printed = ""
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null
  // A test process that ends without closing its scopes must leave nothing behind.
  const last = () => child?.kill("SIGKILL")
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("exit", last)),
    () => Effect.sync(() => process.off("exit", last))
  )

  const launch = attempt(() =>
    new Promise<void>((resolve, reject) => {
      printed = ""
      const started = spawn(options.binary, options.args(ports, data), { cwd: home, stdio: ["ignore", "pipe", "pipe"] })
      const keep = (chunk: Buffer) => {
        printed = (printed + chunk.toString("utf8")).slice(-2000)
      }
      started.stdout.on("data", keep)
      started.stderr.on("data", keep)
      started.once("error", reject)
      started.once("spawn", resolve)
      child = started
    })
  )

  const answers = attempt(async () => {
    if (!running()) throw new Error(`ended at once: ${printed}`)
    const response = await fetch(`${url}${options.ready.path}`, { signal: AbortSignal.timeout(1000) })
    const body = await response.text()
    if (!options.ready.when(body)) throw new Error(`not ready: ${body}`)
  })

  const start = Effect.suspend(() =>
    running()
      ? Effect.void
      : Effect.andThen(
        launch,
        answers.pipe(
          Effect.retry({ schedule: Schedule.spaced("50 millis"), while: running }),
          Effect.timeoutOrElse({
            duration: "30 seconds",
            orElse: () => Effect.fail(failed(`not ready after 30 s: ${printed}`))
          })
        )
      )
  )

  const end = (signal: NodeJS.Signals) =>
    Effect.callback<void>((done) => {
      const ending = child
      if (ending === undefined || !running()) return done(Effect.void)
      ending.once("exit", () => done(Effect.void))
      ending.kill(signal)
      // One that is frozen can't end in order.
      if (signal === "SIGTERM") ending.kill("SIGCONT")
    })
  const stop = end("SIGTERM").pipe(Effect.timeoutOrElse({ duration: "5 seconds", orElse: () => end("SIGKILL") }))
  const signal = (name: NodeJS.Signals) => Effect.sync(() => void (running() && child?.kill(name)))

  yield* Effect.acquireRelease(start, () => end("SIGKILL"))

  return {
    url,
    host,
    port: ports[0] ?? 0,
    start,
    stop,
    kill: end("SIGKILL"),
    pause: signal("SIGSTOP"),
    resume: signal("SIGCONT"),
    restartEmpty: end("SIGKILL").pipe(
      Effect.andThen(attempt(() => Fs.rm(data, { recursive: true, force: true }))),
      Effect.andThen(start)
    )
  }
})

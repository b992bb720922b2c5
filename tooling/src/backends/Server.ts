/**
 * A real server run for a test: started, stopped, killed, frozen, started anew with or without its data.
 *
 * **Mental model**: one process at a time on fixed ports of one address, with a data folder of its own. It ends with the
 * scope, whatever state it is in.
 *
 * @since 0.1.0
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { type ChildProcess, spawn } from "node:child_process"
import * as Fs from "node:fs/promises"
import * as Http from "node:http"
import * as Https from "node:https"
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
  /** The one that serves clients. */
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
  /** Address of this machine, or of the place that `launcher` leads to. Default 127.0.0.1. */
  readonly host?: string | undefined
  /** Command in front of the binary's, such as one that enters the network of a `Network.Host`. */
  readonly launcher?: ReadonlyArray<string> | undefined
  /** How many ports it needs, or these; the first serves clients. Members that must know each other share `freePorts`. */
  readonly ports: number | ReadonlyArray<number>
  readonly args: (ports: ReadonlyArray<number>, data: string) => ReadonlyArray<string>
  /** What lies in its data folder before it is first started, by file name. */
  readonly files?: ((ports: ReadonlyArray<number>, data: string) => Readonly<Record<string, string>>) | undefined
  /** What its address begins with. Default `http`, with `tls` `https`. */
  readonly scheme?: string | undefined
  /** How its health page is asked over TLS. */
  readonly tls?: { readonly ca: string; readonly cert?: string; readonly key?: string } | undefined
  /** Its health page and whether the answer means that it is ready, or what succeeds once it is. */
  readonly ready:
    | { readonly path: string; readonly when: (body: string) => boolean }
    | ((at: { readonly host: string; readonly port: number }) => Effect.Effect<unknown, unknown>)
}

// Linux gives clients the ports from 32768 on: no connection takes that of a server while it is down. Each process of a
// test run has a share of its own, and goes round in it: nobody is told of a port that another server is about to take.
const share = 2750
const first = 10_000 + share * (Number(process.env["VITEST_POOL_ID"] ?? 0) % 8)
let tried = Math.floor(Math.random() * share)
const anyPort = () => first + tried++ % share

const hold = (host: string, attempts = 100): Promise<{ readonly port: number; readonly holder: Net.Server }> =>
  new Promise((resolve, reject) => {
    const port = anyPort()
    const holder = Net.createServer()
    holder.once("error", (cause) => attempts > 1 ? resolve(hold(host, attempts - 1)) : reject(cause))
    holder.listen(port, host, () => resolve({ port, holder }))
  })

/**
 * Ports of an address of this machine that nobody listens on at this moment.
 *
 * @category constructors
 * @since 0.2.0
 */
export const freePorts = (count: number, host = "127.0.0.1"): Effect.Effect<Array<number>, ServerError> =>
  Effect.tryPromise({
    try: async () => {
      // All are held until all are known, so that no two are the same.
      const held = await Promise.all(Array.from({ length: count }, () => hold(host)))
      await Promise.all(held.map(({ holder }) => new Promise((resolve) => holder.close(resolve))))
      return held.map(({ port }) => port)
    },
    catch: (cause) => new ServerError({ server: host, reason: `no free port: ${tell(cause)}` })
  })

// A test process that ends without closing its scopes must leave nothing behind.
const children = new Set<ChildProcess>()
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL")
})

const tell = (cause: unknown): string => cause instanceof Error ? cause.message : String(cause)

const page = (url: string, tls: ServerOptions["tls"]): Promise<string> =>
  new Promise((resolve, reject) => {
    const options = { ...tls, agent: false, signal: AbortSignal.timeout(1000) }
    const answered = (response: Http.IncomingMessage) => {
      let body = ""
      response.setEncoding("utf8")
      response.on("data", (chunk: string) => body += chunk).on("end", () => resolve(body)).on("error", reject)
    }
    const request = tls === undefined ? Http.get(url, options, answered) : Https.get(url, options, answered)
    request.on("error", reject)
  })

/**
 * Starts a server until the scope closes.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = Effect.fnUntraced(function*(
  options: ServerOptions
): Effect.fn.Return<Server, ServerError, Scope.Scope> {
  const failed = (cause: unknown) => new ServerError({ server: options.name, reason: tell(cause) })
  const attempt = <A>(what: () => Promise<A>) => Effect.tryPromise({ try: what, catch: failed })

  const host = options.host ?? "127.0.0.1"
  // In a network of its own every port is as free as here.
  const ports = typeof options.ports === "number"
    ? yield* freePorts(options.ports, options.launcher === undefined ? host : undefined)
    : options.ports
  const port = ports[0] ?? 0
  const url = `${options.scheme ?? (options.tls === undefined ? "http" : "https")}://${host}:${port}`
  const home = yield* Effect.acquireRelease(
    attempt(() => Fs.mkdtemp(Path.join(Os.tmpdir(), `portolan-${options.name}-`))),
    (folder) => Effect.promise(() => Fs.rm(folder, { recursive: true, force: true }))
  )
  const data = Path.join(home, "data")

  let child: ChildProcess | undefined
  let printed = ""
  let last = ""
  const running = () => child !== undefined && child.exitCode === null && child.signalCode === null

  const layOut = async () => {
    if (await Fs.mkdir(data, { recursive: true, mode: 0o700 }) === undefined) return
    for (const [name, text] of Object.entries(options.files?.(ports, data) ?? {})) {
      await Fs.writeFile(Path.join(data, name), text, { mode: 0o600 })
    }
  }

  const launch = attempt(async () => {
    await layOut()
    printed = ""
    const [command = options.binary, ...before] = [...options.launcher ?? [], options.binary]
    const started = spawn(command, [...before, ...options.args(ports, data)], {
      cwd: home,
      stdio: ["ignore", "pipe", "pipe"]
    })
    const keep = (chunk: Buffer) => {
      printed = (printed + chunk.toString("utf8")).slice(-2000)
    }
    started.stdout.on("data", keep)
    started.stderr.on("data", keep)
    children.add(started)
    started.once("exit", () => children.delete(started))
    child = started
    await new Promise<void>((resolve, reject) => started.once("error", reject).once("spawn", resolve))
  })

  const { ready } = options
  const answers = Effect.suspend(() => {
    if (!running()) return Effect.fail(failed(`ended at once: ${printed}`))
    if (typeof ready === "function") return Effect.mapError(ready({ host, port }), failed)
    return Effect.filterOrFail(
      attempt(() => page(`${url}${ready.path}`, options.tls)),
      ready.when,
      (body) => failed(`not ready: ${body}`)
    )
  })

  const start = Effect.suspend(() =>
    running()
      ? Effect.void
      : Effect.andThen(
        launch,
        answers.pipe(
          Effect.tapError(({ reason }) => Effect.sync(() => last = reason)),
          Effect.retry({ schedule: Schedule.spaced("50 millis"), while: running }),
          Effect.mapError((error) => running() ? error : failed(`ended at once: ${printed}`)),
          Effect.timeoutOrElse({
            duration: "30 seconds",
            orElse: () => Effect.fail(failed(`not ready after 30 s: ${last}\n${printed}`))
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

  // Released even where it never became ready.
  yield* Effect.addFinalizer(() => end("SIGKILL"))
  yield* start

  return {
    url,
    host,
    port,
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

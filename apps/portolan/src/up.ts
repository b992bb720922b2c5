/**
 * `portolan up`: the gateway in the foreground, until a signal ends it. Its configuration is live.
 */
import * as Portolan from "@portolan/core/Portolan"
import { files } from "@portolan/dashboard"
import * as FileHints from "@portolan/file/FileHints"
import * as Configuration from "@portolan/gateway/configuration/Configuration"
import * as ConfigurationChanges from "@portolan/gateway/configuration/ConfigurationChanges"
import * as ConfigurationParts from "@portolan/gateway/configuration/ConfigurationParts"
import * as ConfigurationState from "@portolan/gateway/configuration/ConfigurationState"
import * as ConfiguredRegistries from "@portolan/gateway/configuration/ConfiguredRegistries"
import * as LiveConfiguration from "@portolan/gateway/configuration/LiveConfiguration"
import * as Validation from "@portolan/gateway/configuration/Validation"
import * as Gateway from "@portolan/gateway/Gateway"
import { Views } from "@portolan/gateway/rest/Views"
import * as Telemetry from "@portolan/gateway/telemetry/Telemetry"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import * as StdioEndpoint from "@portolan/mcp/relay/StdioEndpoint"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import type * as Scope from "effect/Scope"
import { Console } from "node:console"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { adapters } from "./adapters.ts"
import { banner, headline } from "./banner.ts"
import { defaultFile } from "./defaults.ts"
import { failed, type Failure, misconfigured } from "./Failure.ts"
import { runUntil } from "./signals.ts"
import { version } from "./version.ts"

export interface UpOptions {
  readonly config: string | undefined
  readonly host: string | undefined
  readonly port: number | undefined
  /** Whether the client that started us is served on standard input and output. */
  readonly stdio: boolean
  readonly json: boolean
}

interface Configured {
  readonly configuration: Configuration.Configuration
  /** None: the demo. */
  readonly file: string | undefined
}

const parseOptions = ({ host, port }: UpOptions) => ({ adapters, flags: { host, port } })

const configure = (options: UpOptions): Effect.Effect<Configured, Failure, Scope.Scope> =>
  Effect.gen(function*() {
    const file = options.config ?? defaultFile()
    if (file !== undefined) {
      const configuration = yield* Effect.mapError(Configuration.load(file, parseOptions(options)), misconfigured)
      return { configuration, file }
    }
    const { make } = yield* Effect.promise(() => import("./demo.ts"))
    const { directory, text } = yield* make
    const configuration = yield* Effect.fromResult(
      Configuration.parse(text, { ...parseOptions(options), directory, file: "the demo" })
    ).pipe(Effect.mapError(misconfigured))
    return { configuration, file: undefined }
  })

/** Whether the terminal that we were started from was closed, which is told by the same signal. */
const isTerminalGone = (): boolean => {
  if (!process.stdin.isTTY) return false
  try {
    Fs.closeSync(Fs.openSync("/dev/tty", "r"))
    return false
  } catch {
    return true
  }
}

/** Its exporters and loggers are around everything else. */
const atStart = ["telemetry"]

/** Reads the configuration again whenever its file changes, and at SIGHUP. */
const keepLive = Effect.fnUntraced(function*(
  file: string,
  initial: Configuration.Configuration,
  status: ConfigurationState.Settable,
  options: UpOptions
) {
  const parts = yield* ConfigurationParts.make({ version, dashboard: files })
  const live = yield* LiveConfiguration.make({
    ...parseOptions(options),
    file,
    initial,
    parts,
    atStart,
    status
  })
  const hangup = Latch.makeUnsafe(false)
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const listener = () => {
        if (isTerminalGone()) process.kill(process.pid, "SIGTERM")
        else hangup.openUnsafe()
      }
      process.on("SIGHUP", listener)
      return listener
    }),
    (listener) => Effect.sync(() => process.off("SIGHUP", listener))
  )
  yield* hangup.await.pipe(
    Effect.andThen(Effect.sync(() => hangup.closeUnsafe())),
    Effect.andThen(live.reload),
    Effect.forever,
    Effect.forkScoped
  )
  yield* Effect.forkScoped(live.follow(FileHints.make({ files: live.files })))
})

/** Done at the first SIGINT or SIGTERM; a second one ends the process at once. */
const untilSignal = Effect.callback<void>((resume) => {
  const first = () => {
    for (const signal of signals) process.once(signal, () => process.exit(1))
    resume(Effect.void)
  }
  for (const signal of signals) process.once(signal, first)
})

const signals = ["SIGINT", "SIGTERM"] as const

/** Standard output belongs to the protocol: what anybody prints goes to standard error. */
const leaveOutput = (): void => {
  globalThis.console = new Console(process.stderr)
  // Its end is the end of the session, and not at once that of the process.
  process.stdout.removeAllListeners("error")
  // A client that closed our standard error wants to hear nothing.
  process.stderr.on("error", () => {})
}

/** Longest that closing may take, besides what calls in flight may. */
const closing = Duration.seconds(10)

/** The gateway of a configuration, with the registries that it names. */
export const layer = (configuration: Configuration.Configuration, listen = true) => {
  const { catalog, gateway, upstreams, webhooks } = configuration
  const dashboard = configuration.dashboard ? files : undefined
  return Gateway.layer({ ...gateway, dashboard, catalog, upstreams, webhooks, version, listen }).pipe(
    Layer.provideMerge(ConfiguredRegistries.layer(configuration)),
    Layer.provideMerge(
      Portolan.layer({
        health: configuration.health,
        balancing: configuration.balancing,
        routing: configuration.routing
      })
    )
  )
}

const serve = (options: UpOptions, configured: (configuration: Configuration.Configuration) => void) =>
  Effect.gen(function*() {
    if (options.stdio) leaveOutput()
    const { configuration, file } = yield* configure(options)
    configured(configuration)
    const status = file === undefined ? undefined : yield* ConfigurationState.make({
      file,
      loadedAt: yield* Clock.currentTimeMillis,
      revision: 1,
      pending: [],
      settings: ConfigurationChanges.effective(configuration)
    }, (text) =>
      Validation.validate(text, {
        ...parseOptions(options),
        file,
        directory: Path.dirname(Path.resolve(file)),
        initial: configuration,
        atStart
      }))
    const State = status === undefined
      ? Layer.empty
      : Layer.succeed(ConfigurationState.ConfigurationState, status.state)
    const listen = !options.stdio || options.host !== undefined || options.port !== undefined
    const Live = Layer.provideMerge(Views.layer, layer(configuration, listen)).pipe(
      Layer.provideMerge(State),
      Layer.provideMerge(Telemetry.layer({ ...configuration.telemetry, version }))
    )
    const context = yield* Effect.mapError(Layer.build(Live), (error) => failed(error.message))
    return yield* Effect.gen(function*() {
      const gateway = yield* Gateway.Gateway
      const views = yield* Views
      if (file !== undefined && status !== undefined) yield* keepLive(file, configuration, status, options)
      const announce = Effect.gen(function*() {
        if (!options.json) console.log(headline(gateway, configuration.dashboard))
        yield* Effect.timeoutOption((yield* ToolCatalog).settled, "3 seconds")
        console.log(
          options.json
            ? JSON.stringify({
              version,
              ...(listen ? { mcp: `${gateway.url}/mcp`, rest: `${gateway.url}/api/v1` } : undefined),
              ...views.status()
            })
            : banner(gateway, views, file === undefined)
        )
      })
      if (options.stdio) {
        yield* Effect.forkScoped(announce)
        const { shutdownTimeout } = configuration.gateway
        return yield* StdioEndpoint.serve({ input: process.stdin, output: process.stdout, shutdownTimeout })
      }
      yield* announce
      return yield* Effect.never
    }).pipe(Effect.provideContext(context))
  }).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
  )

/** Serves until a signal comes. Fails where closing takes too long. */
export const up = (options: UpOptions): Effect.Effect<void, Failure> =>
  Effect.suspend(() => {
    let limit = closing
    const served = serve(options, ({ gateway }) => {
      limit = Duration.sum(gateway.shutdownTimeout, closing)
    })
    return runUntil(served, untilSignal, () => limit)
  })

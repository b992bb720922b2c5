/**
 * `portolan up`: the gateway in the foreground, until a signal ends it.
 */
import * as MemoryRegistry from "@portolan/core/MemoryRegistry"
import * as Portolan from "@portolan/core/Portolan"
import * as Registries from "@portolan/core/Registries"
import type { Registry } from "@portolan/core/Registry"
import * as Configuration from "@portolan/gateway/Configuration"
import * as Gateway from "@portolan/gateway/Gateway"
import { Views } from "@portolan/gateway/Views"
import { ToolCatalog } from "@portolan/mcp/catalog/ToolCatalog"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import { adapters } from "./adapters.ts"
import { banner, headline } from "./banner.ts"
import { defaultFile } from "./defaults.ts"
import { failed, type Failure, misconfigured } from "./Failure.ts"
import { version } from "./version.ts"

export interface UpOptions {
  readonly config: string | undefined
  readonly host: string | undefined
  readonly port: number | undefined
  readonly json: boolean
}

const configure = (path: string | undefined): Effect.Effect<
  { readonly configuration: Configuration.Configuration; readonly demo: boolean },
  Failure,
  Scope.Scope
> =>
  Effect.gen(function*() {
    const found = path ?? defaultFile()
    if (found !== undefined) {
      const configuration = yield* Effect.mapError(Configuration.load(found, { adapters }), misconfigured)
      return { configuration, demo: false }
    }
    const { make } = yield* Effect.promise(() => import("./demo.ts"))
    const { directory, text } = yield* make
    const configuration = yield* Effect.fromResult(Configuration.parse(text, { adapters, directory, file: "the demo" }))
      .pipe(
        Effect.mapError(misconfigured)
      )
    return { configuration, demo: true }
  })

/** The servers of the configuration as a registry, and the configured registries after it. */
const registriesOf = ({ registries, servers }: Configuration.Configuration) =>
  Layer.effectDiscard(Effect.gen(function*() {
    const all = yield* Registries.Registries
    if (servers.length > 0) {
      const own = yield* MemoryRegistry.make({ name: Configuration.serversName, trust: "full", instances: servers })
      // Nobody may write to it: it may start processes.
      const fixed: Registry = { ...own, type: "static", registrar: Option.none() }
      yield* all.add(fixed, { precedence: 0 })
    }
    for (const [index, { open }] of registries.entries()) {
      yield* all.add(yield* open, { precedence: index + 1 })
    }
  }))

/** Done at the first SIGINT or SIGTERM; a second one ends the process at once. */
const untilSignal = Effect.callback<void>((resume) => {
  const first = () => {
    for (const signal of signals) process.once(signal, () => process.exit(1))
    resume(Effect.void)
  }
  for (const signal of signals) process.once(signal, first)
})

const signals = ["SIGINT", "SIGTERM"] as const

const serve = (options: UpOptions) =>
  Effect.gen(function*() {
    const { configuration, demo } = yield* configure(options.config)
    const settings = configuration.gateway
    const Main = Gateway.layer({
      ...settings,
      host: options.host ?? settings.host,
      port: options.port ?? settings.port,
      version
    }).pipe(
      Layer.provideMerge(registriesOf(configuration)),
      Layer.provideMerge(Portolan.layer({ health: configuration.health, balancing: configuration.balancing }))
    )
    const Live = Layer.provideMerge(Views.layer, Main)
    const context = yield* Effect.mapError(Layer.build(Live), (error) => failed(error.message))
    return yield* Effect.gen(function*() {
      const gateway = yield* Gateway.Gateway
      const views = yield* Views
      if (!options.json) console.log(headline(gateway))
      yield* Effect.timeoutOption((yield* ToolCatalog).settled, "3 seconds")
      console.log(
        options.json
          ? JSON.stringify({ version, mcp: `${gateway.url}/mcp`, rest: `${gateway.url}/api/v1`, ...views.status() })
          : banner(gateway, views, demo)
      )
      return yield* Effect.never
    }).pipe(Effect.provideContext(context))
  }).pipe(
    Effect.scoped,
    Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
  )

/** Serves until a signal comes. */
export const up = (options: UpOptions): Effect.Effect<void, Failure> => Effect.raceFirst(serve(options), untilSignal)

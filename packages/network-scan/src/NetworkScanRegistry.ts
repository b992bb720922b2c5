/**
 * MCP servers that nobody announced, found by asking every address of a network.
 *
 * **Mental model**: one scan after the other, each of them everything that answers. A scan may miss a server, so one that
 * was there is gone once a few of them in a row have; how many that are, when the next begins and what a lost event loop
 * means is `Registry.fromPoll`'s. Here is only what the scan found, as records.
 *
 * @since 0.2.0
 */
import type { Identification } from "@portolan/core/Identification"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Plan from "./internal/plan.ts"
import * as Scan from "./Scan.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.2.0
 */
export interface NetworkScanRegistryOptions extends Scan.ScanOptions {
  /** Between the end of a scan and the next, moved by up to a tenth at random. Default 60 s. */
  readonly interval?: Duration.Input | undefined
  /** Scans in a row that must find a server before it is there. Default 1. */
  readonly rise?: number | undefined
  /** Scans in a row that must miss a server before it is gone. Default 3. */
  readonly fall?: number | undefined
  /** Default `network-scan`. */
  readonly name?: string | undefined
}

/**
 * Makes a registry of what a scan finds. Servers that ask for credentials are rejected with their reason.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: NetworkScanRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope | Identification> =>
  Effect.gen(function*() {
    const { fall = 3, interval = "60 seconds", name = "network-scan", rise = 1 } = options
    const failed = (operation: string) => (reason: string) =>
      new Registry.RegistryError({ registry: name, operation, reason })
    const plan = yield* Effect.fromResult(Plan.make(options)).pipe(
      Effect.mapError((mistake) => failed("open")(new Scan.ScanError(mistake).message))
    )
    for (const [option, value] of Object.entries({ rise, fall })) {
      if (!Number.isInteger(value) || value < 1) {
        return yield* failed("open")(`${option}: expected a number of scans from 1 on, not ${value}`)
      }
    }
    return yield* Registry.fromPoll({
      name,
      type: "network-scan",
      every: interval,
      rise,
      fall,
      // Every part of a scan has a time-out of its own; this is all of them together.
      timeout: Plan.longest(plan),
      poll: Effect.mapBoth(Scan.result(options), {
        onFailure: ({ message }) => failed("poll")(message),
        onSuccess: snapshot
      })
    })
  })

/**
 * Layer that adds a registry of what a scan finds to `Registries`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (
  options: NetworkScanRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries | Identification> =>
  Registries.layerOf(make(options), options)

const snapshot = ({ found, guarded }: Scan.Progress): Registry.Snapshot =>
  Registry.snapshot(
    found.map(({ instance }) => instance),
    guarded.map(({ id, reason }) => ({ id, reason: `${reason}; announce it in a file, with the headers it asks for` }))
  )

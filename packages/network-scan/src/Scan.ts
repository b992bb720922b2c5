/**
 * Asks every address of a network whether an MCP server is there.
 *
 * @since 0.2.0
 */
import type { Address, Identification, Identity } from "@portolan/core/Identification"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as Plan from "./internal/plan.ts"
import * as Sweep from "./internal/sweep.ts"
import * as Targets from "./internal/targets.ts"

/**
 * What is asked, and how, with the defaults.
 *
 * @category models
 * @since 0.2.0
 */
export interface ScanOptions {
  /**
   * Networks, ranges, addresses: `10.0.0.0/24`, `10.0.0.5-10.0.0.20`, `10.0.0.7`, `fd00::/120`. Default 127.0.0.1, unless
   * there are `hosts`.
   */
  readonly networks?: ReadonlyArray<string> | undefined
  /** Names that are looked up before each scan; an address that isn't in `allowNetworks` is left alone. */
  readonly hosts?: ReadonlyArray<string> | undefined
  /** `8080`, `3000-3010`. */
  readonly ports: ReadonlyArray<string | number>
  /** Default `/mcp`. */
  readonly paths?: ReadonlyArray<string> | undefined
  /** Default `http`. */
  readonly schemes?: ReadonlyArray<"http" | "https"> | undefined
  /** Default `streamable-http`. */
  readonly transports?: ReadonlyArray<Address["transport"]> | undefined
  /** Nothing else is ever asked. Default: what `networks` says, and loopback. */
  readonly allowNetworks?: ReadonlyArray<string> | undefined
  /** Never asked, whatever else is said. Default: none. */
  readonly denyNetworks?: ReadonlyArray<string> | undefined
  /** Addresses asked at the same time. Default 64. */
  readonly concurrency?: number | undefined
  /** Connections begun in a second. Default 500. */
  readonly rate?: number | undefined
  /** Time to connect. Default 500 ms. */
  readonly connectTimeout?: Duration.Input | undefined
  /** Time to identify what took the connection. Default 3 s. */
  readonly identifyTimeout?: Duration.Input | undefined
}

/**
 * How far a scan is, and what it has found so far, in the order of the addresses. The last one is the result.
 *
 * **Details**: servers are compared once all were asked: until then one that is reached by several addresses is several.
 *
 * @category models
 * @since 0.2.0
 */
export interface Progress {
  /** Ports of hosts that were asked, and how many there are to ask. */
  readonly asked: number
  readonly total: number
  /** Those that took a connection. */
  readonly open: number
  readonly found: ReadonlyArray<Found>
  /** Servers that say nothing of themselves without credentials. */
  readonly guarded: ReadonlyArray<Guarded>
}

/**
 * A server that was found.
 *
 * @category models
 * @since 0.2.0
 */
export interface Found {
  /** The record it is announced with. */
  readonly instance: ServiceInstance
  readonly identity: Identity
  /** Other addresses that it is reached by: URLs. */
  readonly also: ReadonlyArray<string>
}

/**
 * A server that asks for credentials.
 *
 * @category models
 * @since 0.2.0
 */
export interface Guarded {
  /** Id that its record would have. */
  readonly id: string
  readonly url: string
  /** One line for a person. */
  readonly reason: string
}

/**
 * Error raised when a scan can't be made: which option is wrong, or what this machine lacks.
 *
 * @category errors
 * @since 0.2.0
 */
export class ScanError extends Schema.TaggedError<ScanError>()("ScanError", {
  /** Name of the option that is wrong, if one is. */
  option: Schema.optionalKey(Schema.String),
  /** One line for a person. */
  reason: Schema.String
}) {
  override get message(): string {
    return this.option === undefined ? this.reason : `${this.option}: ${this.reason}`
  }
}

/** ms between two reports of progress. */
const tick = 100

const failed = Effect.mapError((mistake: Plan.Mistake) => new ScanError(mistake))

const begin = Effect.fnUntraced(function*(options: ScanOptions) {
  const plan = yield* failed(Effect.fromResult(Plan.make(options)))
  const sweep = yield* Sweep.make(plan, yield* failed(Targets.resolve(plan)))
  return { progress: sweep.progress, run: failed(sweep.run) }
})

/**
 * Scans once, and tells how far it is: at once, then every tenth of a second; the result comes last. Interrupting it closes
 * its connections.
 *
 * @category constructors
 * @since 0.2.0
 */
export const scan = (options: ScanOptions): Stream.Stream<Progress, ScanError, Identification> =>
  Stream.unwrap(Effect.gen(function*() {
    const { progress, run } = yield* begin(options)
    const running = yield* Effect.forkScoped(run)
    const ends = Stream.fromEffectRepeat(Effect.timeoutOption(Fiber.join(running), tick))
    return Stream.concat(Stream.succeed(Option.none()), ends).pipe(
      Stream.takeUntil(Option.isSome),
      Stream.map(progress)
    )
  }))

/**
 * Scans once, and answers the result.
 *
 * @category constructors
 * @since 0.2.0
 */
export const result = (options: ScanOptions): Effect.Effect<Progress, ScanError, Identification> =>
  Effect.scoped(Effect.flatMap(begin(options), ({ progress, run }) => Effect.map(run, progress)))

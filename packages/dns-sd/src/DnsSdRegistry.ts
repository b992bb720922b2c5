/**
 * MCP servers that announce themselves in the local network, by DNS-Based Service Discovery over multicast DNS.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6762
 * @see https://www.rfc-editor.org/rfc/rfc6763
 * @since 0.2.0
 */
import { Identification } from "@portolan/core/Identification"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Browsing from "./internal/browsing.ts"
import * as Multicast from "./internal/multicast.ts"
import { isAllowedBy } from "./internal/networks.ts"
import * as Publishing from "./internal/publishing.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.2.0
 */
export interface DnsSdRegistryOptions {
  /** Type of the services. Default `_mcp._tcp`. */
  readonly service?: string | undefined
  /** Names or addresses of interfaces. Default: all that are up, loopback included. */
  readonly interfaces?: ReadonlyArray<string> | undefined
  /** Only servers at these addresses. Default: private, link-local and loopback ones. */
  readonly allowNetworks?: ReadonlyArray<string> | undefined
  /** Never taken, whatever else is said. Default: none. */
  readonly denyNetworks?: ReadonlyArray<string> | undefined
  /** Whether a server must be identified before it is taken. Default true. */
  readonly identify?: boolean | undefined
  /** Time to identify a server. Default 3 s. */
  readonly identifyTimeout?: Duration.Input | undefined
  /** UDP port; another one only where nobody else listens. Default 5353. */
  readonly port?: number | undefined
  /** Default `dns-sd`. */
  readonly name?: string | undefined
}

/**
 * Makes a registry of what announces itself in the local network. Nothing is sent before it is used.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  options: DnsSdRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope | Identification> =>
  Effect.gen(function*() {
    const name = options.name ?? "dns-sd"
    const failed = (operation: string) => ({ reason }: { readonly reason: string }) =>
      new Registry.RegistryError({ registry: name, operation, reason })
    const opened = <A>(result: Result.Result<A, string>) =>
      Effect.mapError(Effect.fromResult(result), (reason) => failed("open")({ reason }))

    const { identify } = yield* Identification
    const bounds = { timeout: Duration.fromInputUnsafe(options.identifyTimeout ?? "3 seconds"), maxBytes }
    const port = options.port ?? 5353
    const network = {
      type: yield* opened(typeOf(options.service ?? "_mcp._tcp")),
      port,
      multicast: Multicast.make(port),
      interfaces: options.interfaces
    }
    const begun = Browsing.begin({
      ...network,
      isAllowed: yield* opened(isAllowedBy(options.allowNetworks, options.denyNetworks)),
      identify: options.identify === false
        ? undefined
        : (address) => Effect.scoped(Effect.map(identify(address, bounds), ({ identity }) => identity))
    })
    return Registry.make({
      name,
      type: "dns-sd",
      list: Effect.mapError(Effect.scoped(Effect.flatMap(begun, ({ first }) => first)), failed("list")),
      watch: Stream.unwrap(Effect.map(begun, ({ first, next }) =>
        Stream.concat(
          Stream.fromEffect<Registry.RegistryEvent, Multicast.MulticastError, never>(first),
          Stream.fromEffectRepeat(next)
        ))).pipe(Stream.mapError(failed("watch"))),
      registrar: Option.some(yield* Publishing.make(network, failed)),
      // A network where nothing happens is silent, and there is no connection to lose.
      idleTimeout: Option.some(Duration.infinity)
    })
  })

/**
 * Layer that adds a registry of what announces itself in the local network to `Registries`.
 *
 * @category layers
 * @since 0.2.0
 */
export const layer = (
  options: DnsSdRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries | Identification> =>
  Registries.layerOf(make(options), options)

/** Of what a server says of itself. */
const maxBytes = 262_144

/** The labels of a type of services (RFC 6763 section 7, RFC 6335 section 5.1). */
const typeOf = (service: string): Result.Result<ReadonlyArray<string>, string> =>
  /^_(?=[^.]*[a-z])[a-z\d](?:-?[a-z\d]){0,14}\._(?:tcp|udp)$/i.test(service)
    ? Result.succeed([...service.split("."), "local"])
    : Result.fail(`service: expected a type such as _mcp._tcp, not "${service}"`)

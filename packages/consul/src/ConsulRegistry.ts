/**
 * Instances in Consul: as services of its catalog, or as records in its key-value store.
 *
 * @since 0.1.0
 */
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Consul from "./Consul.ts"
import * as ConsulKeys from "./ConsulKeys.ts"
import * as ConsulServices from "./ConsulServices.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface ConsulRegistryOptions {
  /** Address of an agent, such as `http://127.0.0.1:8500`. */
  readonly url: string
  /** Only services with this tag, or with all of these. Announced services get them. Default: every service. */
  readonly tag?: string | ReadonlyArray<string> | undefined
  /** Only services of these names. Default: every service. */
  readonly services?: ReadonlyArray<string> | undefined
  /** ACL token. */
  readonly token?: string | undefined
  /** Datacenter that is read. Default: the agent's. */
  readonly datacenter?: string | undefined
  /**
   * Whether any server may answer, also while there is no leader, unless it hasn't heard one for a minute. Default: only
   * the leader.
   */
  readonly stale?: boolean | undefined
  /** For an `https:` address. */
  readonly tls?: Registry.TlsOptions | undefined
  /**
   * Prefix of the key-value store, such as `portolan/`: records are at `<prefix><service>/<id>` in place of services.
   * Announcing is to the agent's datacenter. Default: services.
   */
  readonly kv?: string | undefined
  /** How records are written down. Default: services in Consul's own fields, as the README tells; keys as JSON. */
  readonly format?: RecordFormat.RecordFormat | undefined
  /** Default `consul`. */
  readonly name?: string | undefined
  /** Default `limited`. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** How long a query waits for news. Default 10 s. */
  readonly wait?: Duration.Input | undefined
}

/**
 * Makes a registry in Consul. Nothing is connected before it is used; its connections close with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: ConsulRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const { datacenter, format, kv, name = "consul", services, stale, tls, token, trust = "limited", url } = options
    const tags = typeof options.tag === "string" ? [options.tag] : options.tag ?? []
    const wait = Duration.fromInputUnsafe(options.wait ?? "10 seconds")
    const wrong = mistake(options)
    if (wrong !== undefined) {
      return yield* new Registry.RegistryError({ registry: name, operation: "open", reason: wrong })
    }
    const connect = Consul.make({ url, token, datacenter, stale, tls, wait })
    const failed = (operation: string) => (cause: Consul.ConsulError) =>
      new Registry.RegistryError({
        registry: name,
        operation,
        reason: cause.reason,
        ...(cause.unauthorized ? { unauthorized: true } : {}),
        cause
      })
    return Registry.make({
      name,
      type: "consul",
      ...(kv === undefined
        ? ConsulServices.make(yield* connect, { tags, services, datacenter, format, connect, failed })
        : ConsulKeys.make(yield* connect, { prefix: kv, format: format ?? RecordFormat.plain, connect, failed })),
      trust,
      idleTimeout: Option.some(Duration.times(wait, 3))
    })
  })

/** What is wrong about the settings. */
const mistake = ({ kv, services, tag, url }: ConsulRegistryOptions): string | undefined => {
  if (!/^https?:$/.test(URL.parse(url)?.protocol ?? "")) {
    return `url: expected the http(s) URL of a Consul agent, not "${Consul.withoutSecrets(url)}"`
  }
  if (kv === undefined) return undefined
  if (/^\/*$/.test(kv)) return "kv: expected a prefix such as portolan/"
  return tag === undefined && services === undefined
    ? undefined
    : "kv: the prefix says which records are read; leave out tag and services"
}

/**
 * Layer that adds a registry in Consul to `Registries`; with `datacenters` one for each of them, named
 * `<name>-<datacenter>`, in this order.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  { datacenters, precedence, ...options }: ConsulRegistryOptions & {
    readonly datacenters?: ReadonlyArray<string> | undefined
    readonly precedence?: number | undefined
  }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> =>
  datacenters === undefined
    ? Registries.layerOf(make(options), { precedence })
    : Layer.effectDiscard(Effect.gen(function*() {
      const registries = yield* Registries.Registries
      for (const datacenter of datacenters) {
        const name = `${options.name ?? "consul"}-${datacenter}`
        yield* registries.add(yield* make({ ...options, datacenter, name }), { precedence })
      }
    }))

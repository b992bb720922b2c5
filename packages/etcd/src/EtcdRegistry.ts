/**
 * Instances announced in etcd: each is the text of its record at `<prefix><service>/<id>`, under a lease.
 *
 * **Mental model**: reading is a session that lists the prefix and watches from there on, with no gap between the two.
 * Writing is a lease for each announcement and a put under it; one heartbeat renews all leases and asks who holds the
 * keys, in few requests.
 *
 * **Gotchas**: etcd does not say why a key is gone. It counts as deregistered while the lease that held it is alive or it
 * had none, and as expired when the lease is gone too; so a record is removed without revoking its lease, which then ends
 * by itself.
 *
 * @since 0.1.0
 */
import * as RecordFormat from "@portolan/core/RecordFormat"
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import type { ServiceInstance } from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { createHash } from "node:crypto"
import * as Etcd from "./Etcd.ts"
import { type Location, Session } from "./internal/session.ts"

/**
 * Settings, with their defaults.
 *
 * @category models
 * @since 0.1.0
 */
export interface EtcdRegistryOptions extends Etcd.EtcdOptions {
  /** Where the records are. A slash at its end is added. Default `/portolan/`. */
  readonly prefix?: string | undefined
  /** Default `etcd`. */
  readonly name?: string | undefined
  /** Default `limited`. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** How records are written down. Default: JSON, ours and that of others. */
  readonly format?: RecordFormat.RecordFormat | undefined
  /** How long a watch may be quiet before it is opened anew. Default 2 s. */
  readonly wait?: Duration.Input | undefined
}

/**
 * Makes a registry in etcd. Nothing is connected before it is used; its connections close with the scope.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: EtcdRegistryOptions
): Effect.Effect<Registry.Registry, Registry.RegistryError, Scope.Scope> =>
  Effect.gen(function*() {
    const name = options.name ?? "etcd"
    const wait = Duration.fromInputUnsafe(options.wait ?? "2 seconds")
    const wrong = mistakeIn(options)
    if (wrong !== undefined) {
      return yield* new Registry.RegistryError({ registry: name, operation: "open", reason: wrong })
    }
    const failed = (operation: string) => (cause: Etcd.EtcdError) =>
      new Registry.RegistryError({
        registry: name,
        operation,
        reason: cause.reason,
        ...(cause.unauthorized === true ? { unauthorized: true } : {}),
        cause
      })

    const location: Location = {
      etcd: yield* Etcd.make(options),
      prefix: (options.prefix ?? "/portolan/").replace(/\/*$/, "/"),
      format: options.format ?? RecordFormat.plain
    }
    const begun = Session.begin(location)
    let last: Session | undefined
    return Registry.make({
      name,
      type: "etcd",
      list: Effect.mapBoth(begun, { onFailure: failed("list"), onSuccess: ([, snapshot]) => snapshot }),
      watch: Stream.fromEffect(begun).pipe(
        Stream.flatMap(([session, snapshot]) => {
          const dataLost = last !== undefined && session.lacksWhatWas(last)
          last = session
          return Stream.concat(Stream.succeed<Registry.RegistryEvent>({ ...snapshot, dataLost }), session.changes(wait))
        }),
        Stream.mapError(failed("watch"))
      ),
      registrar: Option.some(registrar(location, failed)),
      trust: options.trust ?? "limited",
      // The client finds out first, and knows which member it is.
      idleTimeout: Option.some(Duration.sum(Duration.times(wait, 2), Duration.times(location.etcd.timeout, 2)))
    })
  })

/**
 * Layer that adds a registry in etcd to `Registries`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: EtcdRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

/** What is wrong with the settings, in a line without the secrets that may be in them; none: nothing. */
const mistakeIn = ({ endpoints, password, tls, username }: EtcdRegistryOptions): string | undefined => {
  if (endpoints.length === 0) return "endpoints: expected http(s) URLs of etcd members"
  for (const endpoint of endpoints) {
    const url = URL.parse(endpoint)
    if (url === null || !/^https?:$/.test(url.protocol)) {
      return `endpoints: expected http(s) URLs of etcd members, not "${endpoint.replace(/^(.*?:\/\/)?.*@/, "$1")}"`
    }
    if (url.username !== "" || url.password !== "") {
      return `endpoints: the user of ${url.host} belongs in username and password`
    }
    if (tls !== undefined && url.protocol === "http:") return `tls: expected https endpoints, not ${endpoint}`
  }
  return (username === undefined) === (password === undefined) ? undefined : "username and password belong together"
}

/** The writing side: what is announced at a location. */
const registrar = (
  { etcd, format, prefix }: Location,
  failed: (operation: string) => (cause: Etcd.EtcdError) => Registry.RegistryError
): Registry.Registrar => {
  const keyOf = ({ id, service }: ServiceInstance) => `${prefix}${service}/${id}`
  const refuse = (reason: string) => new Etcd.EtcdError({ reason })
  return {
    put: (instance, { incarnation, ttl }) =>
      Effect.gen(function*() {
        const { id, service } = instance
        if (service.includes("/")) {
          return yield* refuse(`service: "${service}" can't be part of a key with its slash`)
        }
        const text = yield* Effect.mapError(format.write(instance, { id, service }), refuse)
        const seconds = Math.max(1, Math.ceil(Duration.toSeconds(ttl)))
        const handle = leaseId(keyOf(instance), incarnation, seconds)
        const granted = yield* etcd.grant(handle, seconds)
        yield* etcd.put(keyOf(instance), text, handle)
        return { instance, incarnation, ttl: Duration.seconds(granted), handle }
      }).pipe(Effect.mapError(failed("put"))),
    renew: (leases) =>
      Effect.gen(function*() {
        const [alive, holders] = yield* Effect.all([
          etcd.keepAlive(leases.map(({ handle }) => handle)),
          etcd.holders(leases.map(({ instance }) => keyOf(instance)))
        ], { concurrency: 2 })
        return leases.flatMap((lease) => {
          const holder = holders.get(keyOf(lease.instance))
          if (holder === undefined) return [{ lease, reason: "its record is gone", taken: false }]
          if (holder !== lease.handle) return [{ lease, reason: "another process took its id", taken: true }]
          return alive.has(lease.handle) ? [] : [{ lease, reason: "its lease is over", taken: false }]
        })
      }).pipe(Effect.mapError(failed("renew"))),
    remove: (lease) => Effect.mapError(etcd.deleteIf(keyOf(lease.instance), lease.handle), failed("remove"))
  }
}

/**
 * The lease of an announcement is known by what it is for, so a grant whose answer was lost is found again instead of
 * left behind, and holding a key proves the incarnation. 63 bits: etcd's ids are signed.
 */
const leaseId = (...of: ReadonlyArray<string | number>): string =>
  BigInt.asUintN(63, createHash("sha256").update(JSON.stringify(of)).digest().readBigUInt64BE()).toString()

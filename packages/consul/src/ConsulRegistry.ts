/**
 * Instances that are services of Consul, followed by blocking queries.
 *
 * **Mental model**: the list of service names is one query, and each service in scope is another; every answer replaces
 * its group. A query that waited in vain says that Consul is there.
 *
 * **Gotchas**: an announced service whose process died is `down` when its TTL is over, and gone a minute or two later:
 * Consul doesn't take a service away sooner. It is written to the agent at `url`, so that should be the one of this host.
 *
 * @since 0.1.0
 */
import * as Registries from "@portolan/core/Registries"
import * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as FiberMap from "effect/FiberMap"
import type * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Consul from "./Consul.ts"
import * as ConsulRecord from "./ConsulRecord.ts"

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
  /** Default `consul`. */
  readonly name?: string | undefined
  /** Default `limited`. */
  readonly trust?: Registry.Registry["trust"] | undefined
  /** How long a query waits for news. Default 10 s. */
  readonly wait?: Duration.Input | undefined
}

/** Answers of one query a second, once it had as many at once. */
const rate = 4

/** Requests at the same time, where a reading or a renewal needs many. */
const concurrency = 8

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
    const name = options.name ?? "consul"
    const tags = typeof options.tag === "string" ? [options.tag] : options.tag ?? []
    const wait = Duration.fromInputUnsafe(options.wait ?? "10 seconds")
    if (!/^https?:$/.test(URL.parse(options.url)?.protocol ?? "")) {
      const reason = `url: expected the http(s) URL of a Consul agent, not "${options.url}"`
      return yield* new Registry.RegistryError({ registry: name, operation: "open", reason })
    }
    const consul = yield* Consul.make({ url: options.url, token: options.token, datacenter: options.datacenter, wait })

    const failed = (operation: string) => (cause: Consul.ConsulError) =>
      new Registry.RegistryError({
        registry: name,
        operation,
        reason: cause.reason,
        ...(cause.unauthorized ? { unauthorized: true } : {}),
        cause
      })

    const inScope = (services: Readonly<Record<string, ReadonlyArray<string> | null>>) =>
      Object.entries(services).flatMap(([service, has]) =>
        service !== "consul" && (options.services?.includes(service) ?? true) && tags.every((tag) => has?.includes(tag))
          ? [service]
          : []
      )

    const snapshot = (entries: ReadonlyArray<Consul.ServiceEntry>, group?: string) => {
      const { instances, rejected } = ConsulRecord.readAll(entries)
      return Registry.snapshot(instances, rejected, group)
    }

    const watch = Stream.callback<Registry.RegistryEvent, Registry.RegistryError>((queue) =>
      Effect.gen(function*() {
        const fibers = yield* FiberMap.make<string>()
        const followed = new Set<string>()
        const say = (event: Registry.RegistryEvent) => Queue.offer(queue, event)
        const each = <A>(
          query: (index: number) => Effect.Effect<Consul.Indexed<A>, Consul.ConsulError>,
          answered: (body: A) => Effect.Effect<unknown>
        ) =>
          follow(query).pipe(
            Stream.runForEach(Option.match({ onNone: () => say(Registry.alive), onSome: answered })),
            Effect.catch((error) => Queue.fail(queue, failed("watch")(error)))
          )
        yield* each(consul.services, (services) =>
          Effect.gen(function*() {
            const groups = inScope(services)
            for (const service of followed) {
              if (groups.includes(service)) continue
              followed.delete(service)
              yield* FiberMap.remove(fibers, service)
            }
            yield* say({ _tag: "Groups", groups })
            for (const service of groups) {
              if (followed.has(service)) continue
              followed.add(service)
              yield* FiberMap.run(
                fibers,
                service,
                each((index) => consul.health(service, tags, index), (entries) => say(snapshot(entries, service)))
              )
            }
          }))
      }), { bufferSize: 16, strategy: "suspend" })

    const registrar: Registry.Registrar = {
      put: (instance, { incarnation, ttl }) =>
        Effect.gen(function*() {
          const added = tags.filter((tag) => !instance.tags.includes(tag))
          const registration = yield* Effect.mapError(
            Effect.fromResult(ConsulRecord.write({ ...instance, tags: [...instance.tags, ...added] })),
            (reason) => new Consul.ConsulError({ reason: `"${instance.id}": ${reason}` })
          )
          // The check is of this incarnation alone, so another process can't be kept alive by mistake.
          const handle = `portolan:${instance.id}:${incarnation}`
          const seconds = Duration.toSeconds(ttl)
          yield* consul.register(
            { ...registration, Meta: { ...registration.Meta, [ConsulRecord.incarnationKey]: incarnation } },
            { id: handle, seconds }
          )
          return { instance, incarnation, ttl, handle }
        }).pipe(Effect.mapError(failed("put"))),
      renew: (leases) =>
        Effect.forEach(leases, (lease) =>
          Effect.gen(function*() {
            if (yield* consul.pass(lease.handle)) return []
            const meta = yield* consul.metaOf(lease.instance.id)
            const taken = meta !== undefined && meta[ConsulRecord.incarnationKey] !== lease.incarnation
            return [{
              lease,
              reason: taken ? "another process took its id" : "the agent doesn't know its check",
              taken
            }]
          }), { concurrency }).pipe(Effect.mapBoth({
            onFailure: failed("renew"),
            onSuccess: (lost) => lost.flat()
          })),
      remove: (lease) =>
        Effect.gen(function*() {
          const meta = yield* consul.metaOf(lease.instance.id)
          if (meta?.[ConsulRecord.incarnationKey] === lease.incarnation) {
            yield* consul.deregister(lease.instance.id)
          }
        }).pipe(Effect.mapError(failed("remove")))
    }

    return Registry.make({
      name,
      type: "consul",
      list: consul.services(0).pipe(
        Effect.flatMap(({ body }) =>
          Effect.forEach(inScope(body), (service) => consul.health(service, tags, 0), { concurrency })
        ),
        Effect.mapBoth({
          onFailure: failed("list"),
          onSuccess: (answers) => merged(answers.map(({ body }) => snapshot(body)))
        })
      ),
      watch,
      groupOf: ({ service }) => service,
      registrar: Option.some(registrar),
      trust: options.trust ?? "limited",
      idleTimeout: Option.some(Duration.times(wait, 3))
    })
  })

/**
 * Layer that adds a registry in Consul to `Registries`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: ConsulRegistryOptions & { readonly precedence?: number | undefined }
): Layer.Layer<never, Registry.RegistryError, Registries.Registries> => Registries.layerOf(make(options), options)

/**
 * The answers of a blocking query, none for one that waited in vain. An index that went back means nothing: the answer
 * is dropped and asked for anew, from the beginning. https://developer.hashicorp.com/consul/api-docs/features/blocking
 */
const follow = <A>(
  query: (index: number) => Effect.Effect<Consul.Indexed<A>, Consul.ConsulError>
): Stream.Stream<Option.Option<A>, Consul.ConsulError> =>
  Stream.paginate(
    0,
    (index: number) =>
      Effect.map(query(index), (answer): readonly [ReadonlyArray<Option.Option<A>>, Option.Option<number>] => {
        if (answer.index < index) return [[], Option.some(0)]
        return [
          [answer.index === index ? Option.none() : Option.some(answer.body)],
          Option.some(Math.max(1, answer.index))
        ]
      })
  ).pipe(Stream.throttle({ cost: (answers) => answers.length, units: rate, duration: "1 second" }))

const merged = (snapshots: ReadonlyArray<Registry.Snapshot>) =>
  Registry.snapshot(snapshots.flatMap(({ instances }) => instances), snapshots.flatMap(({ rejected }) => rejected))

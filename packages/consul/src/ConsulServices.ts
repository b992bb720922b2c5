/**
 * Instances as services of Consul: each service is a group.
 *
 * **Mental model**: two blocking queries, however many services there are: one wakes for what is written, the other for
 * checks that turn critical or recover. When one wakes, the services concerned are asked for their index, a few at a
 * time, and read where it is another one than before.
 *
 * **Gotchas**: what is announced is written to the agent at `url`, so that should be the one of this host. Where the
 * process dies, Consul has the service for a minute or two more, but its own check is critical: it has expired. An
 * agent may tell its servers of that up to 30 s late: it holds back what changed by itself, where it was registering
 * something when it meant to compare all it has with theirs. A node that gets another address is seen with the next
 * change of its services.
 *
 * @since 0.2.0
 */
import type { RecordFormat } from "@portolan/core/RecordFormat"
import * as Registry from "@portolan/core/Registry"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Consul from "./Consul.ts"
import * as ConsulCatalog from "./ConsulCatalog.ts"
import * as ConsulRecord from "./ConsulRecord.ts"

/**
 * Which services, and how they are written.
 *
 * @category models
 * @since 0.2.0
 */
export interface ConsulServicesOptions {
  /** Only services with all of these. Announced services get them. */
  readonly tags: ReadonlyArray<string>
  /** Only services of these names. Default: every service. */
  readonly services?: ReadonlyArray<string> | undefined
  /** Default: the agent's. */
  readonly datacenter?: string | undefined
  /** Default: Consul's own fields. */
  readonly format?: RecordFormat | undefined
  /** Makes a client for one session: what is wrong with its connections ends with it. */
  readonly connect: Effect.Effect<Consul.Consul, never, Scope.Scope>
  /** Makes what the registry fails with. */
  readonly failed: (operation: string) => (cause: Consul.ConsulError) => Registry.RegistryError
}

/** Services that are asked about or renewed at the same time. */
const concurrency = 8

/** Services that are asked about in a second, once as many were at once; a wake counts as the smallest number of them. */
const rate = 2000
const smallest = 200

/**
 * Makes what is special about a registry of services.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (
  consul: Consul.Consul,
  { connect, datacenter, failed, format, services, tags }: ConsulServicesOptions
): Pick<Registry.Registry, "list" | "watch" | "registrar" | "groupOf"> => {
  const inScope = (all: ConsulCatalog.Services) =>
    Object.entries(all).flatMap(([service, has]) =>
      service !== "consul" && (services?.includes(service) ?? true) && tags.every((tag) => has?.includes(tag))
        ? [service]
        : []
    )
  const catalog = ConsulCatalog.make(consul)

  /** Fails if the service isn't gone, but left out without a word. Only of its own datacenter an agent can tell. */
  const proveGone = (catalog: ConsulCatalog.ConsulCatalog, service: string) =>
    datacenter === undefined ? catalog.mayRead(service) : Effect.void

  /** What a service holds, and its index; none where it is gone, which the list of services tells too. */
  const read = Effect.fnUntraced(function*(catalog: ConsulCatalog.ConsulCatalog, service: string) {
    if (!ConsulRecord.isAskable(service)) {
      const rejected = [{ id: service, reason: "service: Consul can't be asked for one of this name" }]
      return { index: undefined, renamed: false, found: { instances: [], rejected, expired: [] } }
    }
    let answer = yield* catalog.health(service)
    if (answer.body.length === 0) {
      if (!Object.hasOwn((yield* catalog.services(0)).body, service)) {
        yield* proveGone(catalog, service)
        return undefined
      }
      // It came back while it was asked for, or its nodes are left out.
      answer = yield* catalog.health(service)
      if (answer.body.length === 0) {
        const reason = `the token may not read the nodes of service "${service}": it needs node:read`
        return yield* new Consul.ConsulError({ reason, status: 403 })
      }
    }
    const tagged = answer.body.filter(({ Service }) => tags.every((tag) => Service.Tags?.includes(tag)))
    const renamed = tagged.some(({ Checks }) =>
      Checks.some(({ ServiceName = "" }) => ServiceName !== "" && ServiceName !== service)
    )
    return { index: answer.index, renamed, found: yield* ConsulRecord.readAll(tagged, format) }
  })

  const list = catalog.services(0).pipe(
    Effect.flatMap(({ body }) => Effect.forEach(inScope(body), (service) => read(catalog, service), { concurrency })),
    Effect.mapBoth({
      onFailure: failed("list"),
      onSuccess: (answers) => {
        const found = answers.flatMap((answer) => answer?.found ?? [])
        return snapshot({
          instances: found.flatMap(({ instances }) => instances),
          rejected: found.flatMap(({ rejected }) => rejected),
          expired: found.flatMap(({ expired }) => expired)
        })
      }
    })
  )

  /** A service that was in scope when a session last heard which are. */
  let witness: string | undefined
  /** The index of what was read last to its end: Consul lost data where a later session begins with a lower one. */
  let last = 0

  const session = (catalog: ConsulCatalog.ConsulCatalog) => {
    let groups: ReadonlyArray<string> = []
    let critical: ReadonlyMap<string, ConsulCatalog.Check> = new Map()
    /** Of each group, as it was read last. */
    const indexes = new Map<string, number>()
    /** Groups with checks that bear another name. */
    const renamed = new Set<string>()

    const changed = Effect.fnUntraced(function*(group: string) {
      const known = indexes.get(group)
      if (known !== undefined && known === (yield* catalog.indexOf(group))) return Registry.alive
      const answer = yield* read(catalog, group)
      if (answer === undefined) return Registry.alive
      if (answer.index !== undefined) indexes.set(group, answer.index)
      if (answer.renamed) renamed.add(group)
      else renamed.delete(group)
      return snapshot(answer.found, group)
    })
    // New ones first, then those that changed last: they are the likeliest to have changed again.
    const age = (group: string) => -(indexes.get(group) ?? Infinity)
    const readAgain = (groups: ReadonlyArray<string>): Stream.Stream<Registry.RegistryEvent, Consul.ConsulError> =>
      Stream.fromIterable(groups.toSorted((self, that) => age(self) - age(that))).pipe(
        Stream.mapEffect(changed, { concurrency, unordered: true }),
        Stream.filter(({ _tag }) => _tag === "Snapshot")
      )

    const takeServices = (all: ConsulCatalog.Services, index: number) =>
      Stream.unwrap(Effect.gen(function*() {
        const dataLost = index < last
        const found = inScope(all)
        if (found.length === 0 && witness !== undefined) yield* proveGone(catalog, witness)
        witness = found.find(ConsulRecord.isAskable)
        groups = found
        const present = new Set(groups)
        for (const group of indexes.keys()) {
          if (present.has(group)) continue
          indexes.delete(group)
          renamed.delete(group)
        }
        return Stream.succeed({ _tag: "Groups", groups, dataLost } as const).pipe(
          Stream.concat(readAgain(groups)),
          Stream.concat(Stream.fromEffectDrain(Effect.sync(() => last = index)))
        )
      }))

    const takeCritical = (checks: ReadonlyArray<ConsulCatalog.Check>) => {
      const before = critical
      critical = new Map(checks.map((check) => [JSON.stringify(check), check]))
      const concerned = new Set<string>()
      for (const [key, { ServiceName }] of before) if (!critical.has(key)) concerned.add(ServiceName)
      for (const [key, { ServiceName }] of critical) if (!before.has(key)) concerned.add(ServiceName)
      // One of a node has no service: it concerns whichever the node has.
      const isConcerned = (group: string) => concerned.has("") || concerned.has(group) || renamed.has(group)
      return readAgain(concerned.size === 0 ? [] : groups.filter(isConcerned))
    }

    // What one of the queries woke for is read to its end before the other's turn.
    return Stream.merge(
      follow(catalog.services, takeServices, (all) => inScope(all).length),
      follow(catalog.critical, takeCritical, (checks) => checks.length)
    ).pipe(Stream.flatMap((events) => events), Stream.mapError(failed("watch")))
  }

  const registrar: Registry.Registrar = {
    put: (instance, { incarnation, ttl }) =>
      Effect.gen(function*() {
        const unaskable = [instance.id, instance.service].find((name) => !ConsulRecord.isAskable(name))
        if (unaskable !== undefined) {
          return yield* new Consul.ConsulError({
            reason: `Consul can't be asked for "${unaskable}"; take another name`
          })
        }
        const registration = yield* Effect.mapError(
          ConsulRecord.write(instance, { format, tags }),
          (reason) => new Consul.ConsulError({ reason: `"${instance.id}": ${reason}` })
        )
        const handle = ConsulRecord.checkOf(instance.id, incarnation)
        // The check of another process goes; maintenance, and what others check, outlast an update of our own.
        const meta = yield* catalog.metaOf(instance.id)
        yield* catalog.register(
          { ...registration, Meta: { ...registration.Meta, [ConsulRecord.incarnationKey]: incarnation } },
          { id: handle, seconds: Duration.toSeconds(ttl) },
          meta?.[ConsulRecord.incarnationKey] !== incarnation
        )
        // What a check was registered as doesn't outlive the agent's restart; what it was told since does.
        yield* catalog.pass(handle)
        return { instance, incarnation, ttl, handle }
      }).pipe(Effect.mapError(failed("put"))),
    renew: (leases) =>
      Effect.forEach(leases, (lease) =>
        Effect.gen(function*() {
          if (yield* catalog.pass(lease.handle)) return []
          const meta = yield* catalog.metaOf(lease.instance.id)
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
        const meta = yield* catalog.metaOf(lease.instance.id)
        if (meta?.[ConsulRecord.incarnationKey] === lease.incarnation) yield* catalog.deregister(lease.instance.id)
      }).pipe(Effect.mapError(failed("remove")))
  }

  return {
    list,
    watch: Stream.unwrap(Effect.map(connect, (consul) => session(ConsulCatalog.make(consul)))),
    groupOf: ({ service }) => service,
    registrar: Option.some(registrar)
  }
}

const snapshot = ({ expired, instances, rejected }: ConsulRecord.Found, group?: string): Registry.Snapshot => ({
  ...Registry.snapshot(instances, rejected, group),
  expired
})

/**
 * Follows a blocking query: what each of its answers leads to, once there was time for as much as that is. One that
 * waited in vain says that Consul is there. An index that goes back means that Consul lost data or was restored: what
 * is known proves nothing any more. https://developer.hashicorp.com/consul/api-docs/features/blocking
 */
const follow = <A>(
  query: (index: number) => Effect.Effect<Consul.Indexed<A>, Consul.ConsulError>,
  take: (body: A, index: number) => Stream.Stream<Registry.RegistryEvent, Consul.ConsulError>,
  size: (body: A) => number
) =>
  Stream.paginate(0, (before: number) =>
    Effect.gen(function*() {
      const answer = yield* query(before)
      const index = Math.max(1, answer.index)
      if (index < before) {
        return yield* new Consul.ConsulError({ reason: `Consul's index went back from ${before} to ${index}` })
      }
      return [
        [index === before ? Option.none() : Option.some({ index, body: answer.body })],
        Option.some(index)
      ] as const
    })).pipe(
      Stream.throttle({
        cost: ([answer]) =>
          Math.min(
            rate,
            Math.max(smallest, Option.match(answer, { onNone: () => 0, onSome: ({ body }) => size(body) }))
          ),
        units: rate,
        duration: "1 second"
      }),
      Stream.map(Option.match({
        onNone: () => Stream.succeed<Registry.RegistryEvent>(Registry.alive),
        onSome: ({ body, index }) => Stream.suspend(() => take(body, index))
      }))
    )

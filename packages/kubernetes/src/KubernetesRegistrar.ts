/**
 * Announcing in Kubernetes: an EndpointSlice for each instance, and a headless Service for those of a service.
 *
 * **Mental model**: the slice is the record, whole and with its lease, so one write is all of it. The Service is what the
 * slices hang on: made with the first of them, removed with the last, and whoever deletes it deletes them too. One that
 * somebody else made is left alone.
 *
 * **Details**: whoever put a record last has it. A renewal is a JSON Patch that tests whose record it is, a removal names
 * the version that it saw.
 *
 * **Gotchas**: Kubernetes removes nothing that isn't renewed; readers see that a lease is over. What died is deleted when
 * another instance of its service is announced, an hour later or more.
 *
 * @since 0.2.0
 */
import type * as Registry from "@portolan/core/Registry"
import * as Clock from "effect/Clock"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Kubernetes from "./Kubernetes.ts"
import * as KubernetesManifest from "./KubernetesManifest.ts"
import { annotations, labels, prefix } from "./KubernetesRecord.ts"

/**
 * Where it writes, and how.
 *
 * @category models
 * @since 0.2.0
 */
export interface RegistrarOptions {
  /** Default: that of the service account or of the context. */
  readonly namespace?: string | undefined
  /** Labels that Services get besides ours, so that readers select them. */
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly failed: (operation: string) => (cause: Kubernetes.KubernetesError) => Registry.RegistryError
}

/** No lease is shorter: each renewal is a write to the cluster's database. */
const shortest = Duration.seconds(1)

/** ms beyond its lease after which a record is nobody's any more. */
const abandoned = 3_600_000

/** Annotation of a Service: the version of the slice that was made last. */
const announced = `${prefix}announced`

/** Requests of a heartbeat at a time. */
const concurrency = 16

const Texts = Schema.Record(Schema.String, Schema.String)
const optional = <S extends Schema.Constraint>(schema: S) => Schema.optionalKey(Schema.NullOr(schema))
const Written = Schema.Struct({
  metadata: Schema.Struct({
    name: Schema.String,
    uid: Schema.String,
    resourceVersion: Schema.String,
    annotations: optional(Texts),
    // By the server's clock.
    creationTimestamp: Schema.String,
    managedFields: optional(Schema.Array(Schema.Struct({ time: optional(Schema.String) })))
  })
})
type Written = typeof Written.Type["metadata"]
const decodeWritten = Schema.decodeUnknownEffect(Written)
const readWritten = (object: unknown): Effect.Effect<Written, Kubernetes.KubernetesError> =>
  Effect.mapBoth(decodeWritten(object), {
    onFailure: () =>
      new Kubernetes.KubernetesError({ reason: "what was written can't be read; is this an API server?" }),
    onSuccess: ({ metadata }) => metadata
  })

/**
 * Makes the writing side of a registry.
 *
 * @category constructors
 * @since 0.2.0
 */
export const make = (kubernetes: Kubernetes.Kubernetes, options: RegistrarOptions): Registry.Registrar => {
  const { failed } = options
  const namespace = options.namespace === undefined ? kubernetes.namespace : Effect.succeed(options.namespace)
  const ask =
    (resource: Kubernetes.Resource) =>
    (verb: Kubernetes.ObjectRequest["verb"], name: string | undefined, body?: unknown) =>
      Effect.flatMap(namespace, (namespace) => kubernetes.send({ verb, resource, namespace, name, body }))
  const service = ask(Kubernetes.services)
  const slice = ask(Kubernetes.endpointSlices)

  const slicesOf = Effect.fnUntraced(function*(service: string) {
    const labelSelector = `${labels.service}=${service}`
    const selection = { resource: Kubernetes.endpointSlices, namespace: yield* namespace, labelSelector }
    return yield* Effect.forEach((yield* kubernetes.list(selection)).items, readWritten)
  })

  /** Deletes a slice as it was seen, not one that was written since. */
  const remove = ({ name, resourceVersion }: Written) => slice("delete", name, { preconditions: { resourceVersion } })

  /** The Service of this name with these labels besides its own. Not one that somebody else made. */
  const claim = (name: string, labelled: Readonly<Record<string, string>> = {}) =>
    service("patch", name, [
      { op: "test", path: pointer("labels", labels.managedBy), value: "portolan" },
      ...Object.entries(labelled).map(([label, value]) => ({ op: "add", path: pointer("labels", label), value }))
    ]).pipe(
      Effect.mapError((error) =>
        isUntrue(error)
          ? refuse(`Service "${name}" is somebody else's: announce under another name, or in another namespace`, 409)
          : error
      ),
      Effect.flatMap(readWritten)
    )

  /** Deletes a Service of ours on which nothing hangs any more, unless something was announced under it meanwhile. */
  const tidy = Effect.fnUntraced(function*(name: string) {
    const { resourceVersion } = yield* claim(name)
    if ((yield* slicesOf(name)).length > 0) return
    yield* service("delete", name, { preconditions: { resourceVersion } })
  }, Effect.catchIf(isStatus(404, 409), () => Effect.void))

  /** Deletes what was left behind under a Service, by the server's clock. */
  const sweep = Effect.fnUntraced(function*(name: string, now: number) {
    const dead = (yield* slicesOf(name)).filter((found) =>
      now > Date.parse(writtenAt(found)) + Number(found.annotations?.[annotations.ttl]) + abandoned
    )
    yield* Effect.forEach(dead, (found) => Effect.catchIf(remove(found), isStatus(404, 409), () => Effect.void))
  })

  const write = Effect.fnUntraced(function*(manifests: KubernetesManifest.Manifests) {
    const { metadata, ...rest } = manifests.service
    const labelled = { ...metadata, labels: { ...options.labels, ...metadata.labels } }
    const claimed = claim(metadata.name, labelled.labels)
    const { name, uid } = yield* claimed.pipe(
      Effect.catchIf(isStatus(404), () =>
        service("create", undefined, { ...rest, metadata: labelled }).pipe(
          Effect.flatMap(readWritten),
          // Another announcer was first.
          Effect.catchIf(isStatus(409), () => claimed)
        ))
    )
    const ownerReferences = [{ apiVersion: rest.apiVersion, kind: rest.kind, name, uid }]
    const body = { ...manifests.slice, metadata: { ...manifests.slice.metadata, ownerReferences } }
    const update = Effect.as(slice("update", body.metadata.name, body), undefined)
    const create = slice("create", undefined, body).pipe(
      Effect.flatMap(readWritten),
      Effect.catchIf(isStatus(409), () => update)
    )
    const made = yield* update.pipe(
      Effect.catchIf(isStatus(404), () => create),
      // An address became a host name, or the other way round.
      Effect.catchIf(isImmutable, () => Effect.andThen(slice("delete", body.metadata.name), create)),
      Effect.catchIf(isStatus(422), (error) => Effect.andThen(tidy(name), Effect.fail(explained(error))))
    )
    if (made === undefined) return
    // Whoever saw the Service without this slice can't delete it any more; where he has, this fails.
    yield* service("patch", name, { metadata: { uid, annotations: { [announced]: made.resourceVersion } } })
    yield* Effect.catch(
      sweep(name, Date.parse(made.creationTimestamp)),
      (error) => Effect.logDebug(`what was left behind stays: ${error.reason}`)
    )
  })

  /** Slices that another process took, as they were seen last, and since when (epoch ms). */
  const others = new Map<string, { readonly resourceVersion: string; readonly since: number }>()

  /** Whether nobody has written it for as long as its lease lasts. */
  const isOver = ({ annotations: said, name, resourceVersion }: Written) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const seen = others.get(name)
      if (seen?.resourceVersion === resourceVersion) return now - seen.since > Number(said?.[annotations.ttl])
      others.set(name, { resourceVersion, since: now })
      return false
    })

  /** The slice of a lease; none where it is gone, or taken: it carries another incarnation, whose lease isn't over. */
  const held = Effect.fnUntraced(function*({ handle, incarnation }: Registry.Lease) {
    const found = yield* readWritten(yield* slice("get", handle))
    return found.annotations?.[annotations.incarnation] === incarnation
      ? { found, taken: false }
      : { found: undefined, taken: !(yield* isOver(found)) }
  }, Effect.catchIf(isStatus(404), () => Effect.succeed({ found: undefined, taken: false })))

  const renew = (lease: Registry.Lease, renewed: string) =>
    slice("patch", lease.handle, [
      { op: "test", path: pointer("annotations", annotations.incarnation), value: lease.incarnation },
      { op: "add", path: pointer("annotations", annotations.renewed), value: renewed }
    ]).pipe(
      Effect.as<ReadonlyArray<Registry.LeaseLost>>([]),
      Effect.catchIf(isStatus(404, 422), (error) =>
        Effect.flatMap(held(lease), ({ found, taken }) => {
          const reason = taken ? "another process took its id" : "its record is gone"
          return found === undefined ? Effect.succeed([{ lease, reason, taken }]) : Effect.fail(error)
        }))
    )

  return {
    put: (instance, { incarnation, ttl }) =>
      Effect.gen(function*() {
        const granted = Duration.max(ttl, shortest)
        const manifests = KubernetesManifest.write(instance, yield* namespace, {
          incarnation,
          ttl: Duration.toMillis(granted),
          renewed: yield* timestamp
        })
        const { slice, service } = yield* Effect.mapError(Effect.fromResult(manifests), (reason) => refuse(reason))
        yield* write({ service, slice })
        others.delete(slice.metadata.name)
        return { instance, incarnation, ttl: granted, handle: slice.metadata.name }
      }).pipe(Effect.mapError(failed("put"))),
    renew: (leases) =>
      Effect.gen(function*() {
        const renewed = yield* timestamp
        // None of them waits for one that fails.
        const [lost, [failure]] = yield* Effect.partition(leases, (lease) => renew(lease, renewed), { concurrency })
        return failure === undefined ? lost.flat() : yield* failure
      }).pipe(Effect.mapError(failed("renew"))),
    remove: (lease) =>
      Effect.gen(function*() {
        const { found } = yield* held(lease)
        others.delete(lease.handle)
        if (found === undefined) return
        yield* Effect.catchIf(remove(found), isStatus(404, 409), (error) =>
          Effect.flatMap(held(lease), ({ found }) =>
            found === undefined ? Effect.void : Effect.fail(error)))
        yield* tidy(KubernetesManifest.nameOf(lease.instance.service))
      }).pipe(Effect.mapError(failed("remove")))
  }
}

/**
 * Labels by which a selector chooses an object: those that it asks for.
 *
 * @category accessors
 * @since 0.2.0
 */
export const labelsOf = (selector: string): Readonly<Record<string, string>> =>
  Object.fromEntries((selector.match(/([^,(]|\([^)]*\))+/g) ?? []).flatMap((requirement) => {
    const asked = /^([^\s!=]+)(?:\s*==?\s*([^\s]*)|\s+in\s*\(\s*([^\s,)]*).*\))?$/.exec(requirement.trim())
    return asked?.[1] === undefined ? [] : [[asked[1], asked[2] ?? asked[3] ?? ""]]
  }))

const timestamp = Effect.map(DateTime.now, DateTime.formatIso)

/** When somebody wrote it last. */
const writtenAt = ({ creationTimestamp, managedFields }: Written): string =>
  (managedFields ?? []).reduce((latest, { time }) => time == null || time < latest ? latest : time, creationTimestamp)

/** Path of a label or an annotation in a JSON Patch (RFC 6901). */
const pointer = (where: "labels" | "annotations", key: string): string =>
  `/metadata/${where}/${key.replaceAll("/", "~1")}`

const isStatus = (...statuses: ReadonlyArray<number>) => ({ status = 0 }: Kubernetes.KubernetesError): boolean =>
  statuses.includes(status)

const isImmutable = ({ reason, status }: Kubernetes.KubernetesError): boolean =>
  status === 422 && reason.includes("field is immutable")

/** Whether it is what a JSON Patch tests that isn't so. */
const isUntrue = ({ reason, status }: Kubernetes.KubernetesError): boolean =>
  status === 422 && reason.includes("rejected our request")

const refuse = (reason: string, status?: number) => new Kubernetes.KubernetesError({ reason, status })

/** What the server has against an address, without where it stands in which object. */
const explained = (error: Kubernetes.KubernetesError): Kubernetes.KubernetesError => {
  const [, address, why] = /addresses\[0\]: Invalid value: "([^"]*)": (.*?)(?: \(HTTP 422\))?$/.exec(error.reason) ?? []
  return address === undefined
    ? error
    : new Kubernetes.KubernetesError({
      reason: `Kubernetes refuses the address "${address}": ${why}; announce one that pods can reach`,
      status: 422,
      cause: error
    })
}

/**
 * How instances are read from Services and their EndpointSlices. `KubernetesManifest` writes them.
 *
 * **Mental model**: the labels and annotations of a Service say what its endpoints have in common, each endpoint says
 * where it is and how it is; the table is in the README. A slice that carries a whole record is that record, whatever
 * else it says: so are those that we announce, and everybody else finds in them what is in any slice.
 *
 * @since 0.2.0
 */
import type { Lease } from "@portolan/core/Leases"
import * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Duration from "effect/Duration"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import { type EndpointSlice, type Port, prefix, type Service } from "./internal/objects.ts"
import * as Said from "./internal/said.ts"

export { type EndpointSlice, labels, type Port, prefix, type Service } from "./internal/objects.ts"

/**
 * Annotations of a slice that we announce.
 *
 * **Details**: a lease is alive for as long as `renewed` changes at least once within `ttl`. Its value is the writer's
 * time, for people; readers look at nothing but whether it is another one.
 *
 * @category constants
 * @since 0.2.0
 */
export const annotations = {
  /** Of the record, also where that can't be read any more. */
  id: `${prefix}id`,
  /** The whole record, as JSON. */
  record: `${prefix}record`,
  /** Tells one process's record from another's. */
  incarnation: `${prefix}incarnation`,
  /** Milliseconds. */
  ttl: `${prefix}ttl`,
  renewed: `${prefix}renewed`
} as const

/**
 * What one endpoint was read as.
 *
 * @category models
 * @since 0.2.0
 */
export interface Found {
  readonly id: string
  /** Host and port, by which two of one Service are the same; none: it stands for itself. */
  readonly place?: string | undefined
  /** Of several that are the same the one with the lowest counts. */
  readonly rank: number
  /** The instance, or in one line why there is none. */
  readonly read: Result.Result<ServiceInstance.ServiceInstance, string>
}

/**
 * Reads the endpoints of a slice of a Service. None where it hasn't the port that was named.
 *
 * @category decoding
 * @since 0.2.0
 */
export const readSlice = (service: Service, slice: EndpointSlice, portName?: string): ReadonlyArray<Found> => {
  const record = slice.metadata.annotations?.[annotations.record]
  if (record !== undefined) return [readRecord(slice, record)]
  const endpoints = slice.endpoints ?? []
  if (endpoints.length === 0) return []
  const said = Said.read(service, slice)
  const port = portOf(slice.ports ?? [], portName)
  if (Result.isFailure(port)) return [rejected(service, port.failure)]
  if (port.success === undefined) return []
  const { namespace } = service.metadata
  const { success: { port: number = 0 } } = port
  const family = service.spec?.ipFamilies?.[0] ?? "IPv4"
  return endpoints.flatMap(({ addresses: [address], conditions, targetRef, zone }) => {
    if (address === undefined) return []
    const place = `${address.includes(":") ? `[${address}]` : address}:${number}`
    const pod = targetRef?.kind === "Pod" ? targetRef.name ?? undefined : undefined
    const id = `${namespace}/${pod === undefined ? place : `${pod}:${number}`}`
    const status = statusOf(conditions)
    const own = { status, ...(zone == null ? {} : { zone }) }
    return [{
      id,
      place,
      rank: 2 * ranks.indexOf(status) + (slice.addressType === family ? 0 : 1),
      read: Result.flatMap(said, (said) => Said.decode(said, { id, place, port: port.success, own }))
    }]
  })
}

/**
 * Reads a Service as the one instance that it is to its clients, at its own address.
 *
 * @category decoding
 * @since 0.2.0
 */
export const readService = (service: Service, portName?: string): ReadonlyArray<Found> => {
  const { metadata: { name, namespace }, spec, status } = service
  const port = portOf(spec?.ports ?? [], portName)
  if (Result.isFailure(port)) return [rejected(service, port.failure)]
  if (port.success?.port == null) return []
  const outside = spec?.type === "LoadBalancer" ? status?.loadBalancer?.ingress?.[0] : undefined
  const host = outside?.hostname ?? outside?.ip ?? (spec?.type === "ExternalName" ? spec.externalName : undefined) ??
    `${name}.${namespace}.svc`
  const id = `${namespace}/${name}:${port.success.port}`
  const place = `${host.includes(":") ? `[${host}]` : host}:${port.success.port}`
  return [{
    id,
    place,
    rank: 0,
    read: Result.flatMap(
      Said.read(service),
      (said) => Said.decode(said, { id, place, port: port.success, own: {} })
    )
  }]
}

/**
 * Of all endpoints of a Service, each once: one that moves is in two slices for a moment, and one with addresses of two
 * families is in a slice of each. An address whose pod ends may be that of the next one already.
 *
 * @category combinators
 * @since 0.2.0
 */
export const unique = (found: ReadonlyArray<Found>): ReadonlyArray<Found> => {
  const ids = new Set<string>()
  const places = new Set<string>()
  return found.toSorted((self, that) => self.rank - that.rank).filter(({ id, place }) => {
    if (ids.has(id) || place !== undefined && places.has(place)) return false
    ids.add(id)
    if (place !== undefined) places.add(place)
    return true
  })
}

/**
 * How long a slice of ours lives from its last renewal, ms, and what tells that renewal from others; none: it lives
 * until it is removed.
 *
 * @category decoding
 * @since 0.2.0
 */
export const leaseOf = (
  { metadata: { annotations: said } }: EndpointSlice
): Lease | undefined => {
  const ttl = Number(said?.[annotations.ttl])
  return ttl > 0
    ? { ttl: Duration.millis(ttl), renewal: `${said?.[annotations.incarnation]} ${said?.[annotations.renewed]}` }
    : undefined
}

/** From the best to the worst. */
const ranks = ["up", "draining", "down"] as const

// Absent is ready, as Kubernetes has it. One that publishes what isn't ready is ready until its end.
const statusOf = (
  conditions: NonNullable<EndpointSlice["endpoints"]>[number]["conditions"]
): (typeof ranks)[number] => conditions?.terminating === true ? "draining" : conditions?.ready === false ? "down" : "up"

const readRecord = (slice: EndpointSlice, text: string): Found => {
  const { name, namespace } = slice.metadata
  const status = statusOf(slice.endpoints?.[0]?.conditions)
  const record = Result.filterOrFail(Said.parse(text), Predicate.isObject, () => "not a record")
  const read = Result.flatMap(
    Result.mapError(record, (reason) => `${annotations.record}: ${reason}`),
    (record) => ServiceInstance.decode(status === "up" ? record : { ...record, status })
  ).pipe(Result.filterOrFail(
    // Kubernetes has judged the addresses of the slice, and not the text.
    ({ endpoint }) => {
      const host = urlOf(endpoint)?.hostname.replace(/^\[|\]$/g, "")
      return host === undefined || slice.endpoints?.[0]?.addresses.includes(host) === true
    },
    () => `${annotations.record}: its endpoint isn't at the address of the slice`
  ))
  return {
    id: Result.match(read, {
      onFailure: () => slice.metadata.annotations?.[annotations.id] ?? `${namespace}/${name}`,
      onSuccess: ({ id }) => id
    }),
    rank: ranks.indexOf(status),
    read
  }
}

/**
 * Where an endpoint is reached over a network; none: it isn't.
 *
 * @category accessors
 * @since 0.2.0
 */
export const urlOf = (endpoint: ServiceInstance.Endpoint): URL | undefined =>
  endpoint.transport === "stdio" || endpoint.transport === "in-process"
    ? undefined
    : new URL(endpoint.transport === "a2a" ? endpoint.card : endpoint.url)

const rejected = ({ metadata: { name, namespace } }: Service, reason: string): Found => ({
  id: `${namespace}/${name}`,
  rank: 0,
  read: Result.fail(reason)
})

/** The port that is meant; none: there is no such port, so it is another kind of Service. */
const portOf = (ports: ReadonlyArray<Port>, name: string | undefined): Result.Result<Port | undefined, string> => {
  const usable = ports.filter(({ port, protocol }) => port != null && (protocol ?? "TCP") === "TCP")
  const named = usable.find((port) => port.name === (name ?? "mcp"))
  if (named !== undefined || name !== undefined) return Result.succeed(named)
  if (usable.length < 2) return Result.succeed(usable[0])
  const names = usable.map(({ name, port }) => name == null || name === "" ? String(port) : name).join(", ")
  return Result.fail(`port: none of ${names} is named mcp: set portName to the one that is meant`)
}

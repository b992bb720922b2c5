/**
 * How an instance is written down for Kubernetes, such that `KubernetesRecord` reads it as it was and everybody else finds
 * what is in any Service and its slices.
 *
 * @since 0.2.0
 */
import type * as ServiceInstance from "@portolan/core/ServiceInstance"
import * as Result from "effect/Result"
import { createHash } from "node:crypto"
import { isIPv4, isIPv6 } from "node:net"
import { annotations, labels, prefix, urlOf } from "./KubernetesRecord.ts"

/**
 * What is announced, as objects of Kubernetes: a Service without selector for all instances of the service, and a slice
 * of its own for each of them.
 *
 * @category models
 * @since 0.2.0
 */
export interface Manifests {
  readonly service: Manifest
  readonly slice: Manifest
}

/**
 * An object to be written.
 *
 * @category models
 * @since 0.2.0
 */
export interface Manifest {
  readonly apiVersion: string
  readonly kind: "Service" | "EndpointSlice"
  readonly metadata: {
    readonly name: string
    readonly namespace: string
    readonly labels: Readonly<Record<string, string>>
    readonly annotations: Readonly<Record<string, string>>
  }
  readonly [field: string]: unknown
}

/**
 * The lease of a record.
 *
 * @category models
 * @since 0.2.0
 */
export interface LeaseWritten {
  readonly incarnation: string
  /** Milliseconds. */
  readonly ttl: number
  readonly renewed: string
}

/**
 * Writes an instance; the failure is one line.
 *
 * @category encoding
 * @since 0.2.0
 */
export const write = (
  instance: ServiceInstance.ServiceInstance,
  namespace: string,
  { incarnation, renewed, ttl }: LeaseWritten
): Result.Result<Manifests, string> => {
  const { endpoint, id, service, status, version } = instance
  if (endpoint.transport === "in-process") return Result.fail("endpoint: an in-process endpoint is not written down")
  const url = urlOf(endpoint)
  const host = url?.hostname.replace(/^\[|\]$/g, "")
  const number = url === undefined ? undefined : Number(url.port) || (/^(https|wss):$/.test(url.protocol) ? 443 : 80)
  const ports = number === undefined ? [] : [{ name: "mcp", protocol: "TCP", port: number }]
  const name = nameOf(service)
  const own = {
    [labels.managedBy]: "portolan",
    // Tells every kube-proxy to leave them alone: none of them needs to hear of heartbeats.
    [labels.headless]: "",
    ...(isLabel(service) ? { [labels.name]: service } : {})
  }
  return Result.succeed({
    service: {
      apiVersion: "v1",
      kind: "Service",
      metadata: {
        name,
        namespace,
        labels: own,
        annotations: isLabel(service) ? {} : { [`${prefix}service`]: service }
      },
      // An address of its own would lead nowhere else than its slices do.
      spec: { clusterIP: "None", ...(ports.length === 0 ? {} : { ports }) }
    },
    slice: {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: nameOf(id),
        namespace,
        labels: {
          ...own,
          ...(isLabel(version) ? { [labels.version]: version } : {}),
          [labels.service]: name,
          [labels.sliceManagedBy]: "portolan.dev"
        },
        annotations: {
          [annotations.id]: id,
          [annotations.record]: JSON.stringify(instance),
          [annotations.incarnation]: incarnation,
          [annotations.ttl]: String(ttl),
          [annotations.renewed]: renewed
        }
      },
      addressType: host === undefined || isIPv4(host) ? "IPv4" : isIPv6(host) ? "IPv6" : "FQDN",
      endpoints: host === undefined ? [] : [{
        addresses: [host],
        conditions: { ready: status === "up", serving: status !== "down", terminating: status === "draining" }
      }],
      ports
    }
  })
}

/**
 * A name that Kubernetes takes for a Service (RFC 1035), another one for each text, which shows the text where it can.
 *
 * @category encoding
 * @since 0.2.0
 */
export const nameOf = (text: string): string => {
  const plain = text.toLowerCase().replace(/[^a-z0-9]+/g, "-").slice(0, 40).replace(/^-|-+$/g, "")
  // What ends like a hash gets one too, so that it is nobody else's.
  return plain === text && !/(^|-)[0-9a-f]{10}$/.test(text)
    ? `portolan-${text}`
    : `portolan-${plain === "" ? "" : `${plain}-`}${hash(text)}`
}

const hash = (text: string): string => createHash("sha256").update(text).digest("hex").slice(0, 10)

const isLabel = (text: string): boolean => /^(?=.{1,63}$)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/.test(text)

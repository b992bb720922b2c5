/**
 * Objects as manifests write them: those of every cluster, and those that its controllers make for a Service.
 *
 * @since 0.2.0
 */
import { isIPv6 } from "node:net"
import type { JsonObject } from "./Json.ts"
import type { Kind } from "./Resource.ts"

/**
 * An object as one writes it in a manifest. Without a namespace it goes to `default`; `apiVersion` may be left out.
 *
 * @category models
 * @since 0.2.0
 */
export interface Manifest extends JsonObject {
  readonly kind: Kind
  readonly metadata: JsonObject & { readonly name: string; readonly namespace?: string }
}

/**
 * What a Service exposes.
 *
 * @category models
 * @since 0.2.0
 */
export interface Exposed {
  readonly name: string
  /** Default `mcp`. */
  readonly namespace?: string | undefined
  /** Of its ready endpoints, all of one family. */
  readonly addresses: ReadonlyArray<string>
  /** That the endpoints listen on. */
  readonly port: number
  /** Default `mcp`. */
  readonly portName?: string | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
  /** Endpoints in a slice. Default 100, as the controller has it. */
  readonly perSlice?: number | undefined
}

/**
 * A Service, and the slices that the controller makes for it.
 *
 * @category constructors
 * @since 0.2.0
 */
export const exposing = (exposed: Exposed): ReadonlyArray<Manifest> => {
  const { addresses, annotations = {}, labels = {}, name, namespace = "mcp", perSlice = 100, port } = exposed
  const portName = exposed.portName ?? "mcp"
  const slices = Math.ceil(addresses.length / perSlice)
  return [
    {
      kind: "Service",
      metadata: { name, namespace, labels, annotations },
      spec: { selector: { app: name }, ports: [{ name: portName, port: 80, targetPort: port }] }
    },
    ...Array.from({ length: slices }, (_, slice): Manifest => ({
      kind: "EndpointSlice",
      metadata: {
        name: `${name}-${slice}`,
        namespace,
        labels: {
          ...labels,
          "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
          "kubernetes.io/service-name": name
        }
      },
      addressType: addresses.some(isIPv6) ? "IPv6" : "IPv4",
      endpoints: addresses.slice(slice * perSlice, (slice + 1) * perSlice).map((address, index) => ({
        addresses: [address],
        conditions: { ready: true, serving: true, terminating: false },
        targetRef: { kind: "Pod", namespace, name: `${name}-${slice * perSlice + index}` }
      })),
      ports: [{ name: portName, port }]
    }))
  ]
}

/**
 * What every cluster has.
 *
 * @category constants
 * @since 0.2.0
 */
export const everywhere: ReadonlyArray<Manifest> = [
  { kind: "Namespace", metadata: { name: "default" } },
  { kind: "Namespace", metadata: { name: "kube-system" } },
  {
    kind: "Service",
    metadata: {
      name: "kubernetes",
      namespace: "default",
      labels: { component: "apiserver", provider: "kubernetes" }
    },
    spec: {
      clusterIP: "10.96.0.1",
      ipFamilyPolicy: "SingleStack",
      ports: [{ name: "https", port: 443, targetPort: 16443 }]
    }
  },
  {
    kind: "EndpointSlice",
    metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
    addressType: "IPv4",
    endpoints: [{ addresses: ["192.0.2.1"], conditions: { ready: true } }],
    ports: [{ name: "https", port: 16443 }]
  }
]

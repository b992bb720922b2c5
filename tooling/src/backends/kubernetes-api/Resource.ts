/**
 * The resources that the stand-in serves.
 *
 * @since 0.2.0
 */
import type { JsonObject } from "./Json.ts"
import { list, map, type Shape, struct, value } from "./Shape.ts"

/**
 * Name of a resource in manifests.
 *
 * @category models
 * @since 0.2.0
 */
export type Kind = "Deployment" | "EndpointSlice" | "Lease" | "Namespace" | "Pod" | "Service"

/**
 * What somebody may do with a resource.
 *
 * @category models
 * @since 0.2.0
 */
export type Verb = "create" | "delete" | "deletecollection" | "get" | "list" | "patch" | "update" | "watch"

/**
 * A resource.
 *
 * @category models
 * @since 0.2.0
 */
export interface Resource {
  readonly kind: Kind
  /** Empty for the core group. */
  readonly group: string
  readonly version: string
  /** Name of the resource in paths. */
  readonly plural: string
  readonly namespaced: boolean
  readonly shape: Shape
  /** What an object without contents still tells. */
  readonly blank: JsonObject
  /** A deletion answers with the object, else with a status. */
  readonly answersDeleted: boolean
  /** Its metadata count the changes of its contents. */
  readonly counted: boolean
  /** An update must say which revision it replaces, and may create. */
  readonly leased: boolean
}

const metadata = struct(
  "name generateName namespace uid resourceVersion generation creationTimestamp",
  "deletionTimestamp deletionGracePeriodSeconds",
  { labels: map, annotations: map },
  { ownerReferences: list(value, ["uid"]) },
  "finalizers managedFields"
)

const object = (...contents: ReadonlyArray<Readonly<Record<string, Shape>>>): Shape =>
  struct("kind", "apiVersion", { metadata }, ...contents)

const podSpec = struct(
  "volumes",
  { initContainers: list(value, ["name"]), containers: list(value, ["name"]) },
  "restartPolicy terminationGracePeriodSeconds dnsPolicy",
  { nodeSelector: map },
  "serviceAccountName serviceAccount nodeName hostNetwork securityContext schedulerName",
  "tolerations affinity"
)

/**
 * All of them.
 *
 * @category constants
 * @since 0.2.0
 */
export const resources: ReadonlyArray<Resource> = [
  {
    kind: "Service",
    group: "",
    version: "v1",
    plural: "services",
    namespaced: true,
    shape: object(
      {
        spec: struct(
          {
            ports: list(struct("name protocol appProtocol port targetPort nodePort"), [
              "port",
              "protocol"
            ])
          },
          { selector: map },
          "clusterIP clusterIPs type externalIPs sessionAffinity loadBalancerIP",
          "loadBalancerSourceRanges externalName externalTrafficPolicy healthCheckNodePort",
          "publishNotReadyAddresses sessionAffinityConfig ipFamilies ipFamilyPolicy",
          "allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution"
        )
      },
      { status: struct("loadBalancer conditions") }
    ),
    blank: { spec: {}, status: { loadBalancer: {} } },
    answersDeleted: true,
    counted: false,
    leased: false
  },
  {
    kind: "EndpointSlice",
    group: "discovery.k8s.io",
    version: "v1",
    plural: "endpointslices",
    namespaced: true,
    shape: object(
      { addressType: value },
      {
        endpoints: list(struct(
          "addresses",
          { conditions: struct("ready serving terminating") },
          "hostname targetRef",
          { deprecatedTopology: map },
          "nodeName zone hints"
        ))
      },
      { ports: list(struct("name protocol port appProtocol")) }
    ),
    blank: { addressType: "", endpoints: null, ports: null },
    answersDeleted: false,
    counted: true,
    leased: false
  },
  {
    kind: "Deployment",
    group: "apps",
    version: "v1",
    plural: "deployments",
    namespaced: true,
    shape: object(
      {
        spec: struct(
          "replicas selector",
          { template: struct({ metadata }, { spec: podSpec }) },
          "strategy minReadySeconds revisionHistoryLimit paused progressDeadlineSeconds"
        )
      },
      {
        status: struct(
          "observedGeneration replicas updatedReplicas readyReplicas availableReplicas",
          "unavailableReplicas terminatingReplicas conditions collisionCount"
        )
      }
    ),
    blank: {
      spec: { selector: null, template: { metadata: {}, spec: { containers: null } }, strategy: {} },
      status: {}
    },
    answersDeleted: false,
    counted: true,
    leased: false
  },
  {
    kind: "Pod",
    group: "",
    version: "v1",
    plural: "pods",
    namespaced: true,
    shape: object({ spec: podSpec }, { status: value }),
    blank: { spec: { containers: null }, status: {} },
    answersDeleted: true,
    counted: false,
    leased: false
  },
  {
    kind: "Lease",
    group: "coordination.k8s.io",
    version: "v1",
    plural: "leases",
    namespaced: true,
    shape: object({
      spec: struct(
        "holderIdentity leaseDurationSeconds acquireTime renewTime leaseTransitions strategy",
        "preferredHolder"
      )
    }),
    blank: { spec: {} },
    answersDeleted: false,
    counted: false,
    leased: true
  },
  {
    kind: "Namespace",
    group: "",
    version: "v1",
    plural: "namespaces",
    namespaced: false,
    shape: object({ spec: struct("finalizers"), status: struct("phase conditions") }),
    blank: { spec: {}, status: {} },
    answersDeleted: true,
    counted: false,
    leased: false
  }
]

/**
 * The resource of a kind.
 *
 * @category accessors
 * @since 0.2.0
 */
export const ofKind = (kind: Kind): Resource => {
  const found = resources.find((resource) => resource.kind === kind)
  if (found === undefined) throw new Error(`no resource of kind ${kind}`)
  return found
}

/**
 * Group and version, as objects name them: `v1`, `discovery.k8s.io/v1`.
 *
 * @category accessors
 * @since 0.2.0
 */
export const apiVersionOf = ({ group, version }: Resource): string => group === "" ? version : `${group}/${version}`

/**
 * Resource or kind with its group, as messages name them: `services`, `endpointslices.discovery.k8s.io`.
 *
 * @category accessors
 * @since 0.2.0
 */
export const qualified = (name: string, { group }: Resource): string => group === "" ? name : `${name}.${group}`

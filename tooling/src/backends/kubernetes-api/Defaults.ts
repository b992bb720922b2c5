/**
 * What Kubernetes adds to an object that doesn't say it.
 *
 * @since 0.2.0
 */
import { isObject, type Json, type JsonObject, listOf, objectOf } from "./Json.ts"
import type { Resource } from "./Resource.ts"

const eachObject = (list: Json | undefined, change: (item: JsonObject) => JsonObject): ReadonlyArray<Json> | null =>
  list === undefined || list === null ? null : listOf(list).map((item) => isObject(item) ? change(item) : item)

/**
 * With the defaults of its version: fields that count as given by whoever wrote the object.
 *
 * @category combinators
 * @since 0.2.0
 */
export const defaulted = (resource: Resource, object: JsonObject): JsonObject => {
  const spec = objectOf(object["spec"])
  switch (resource.kind) {
    case "Service":
      return {
        ...object,
        spec: {
          type: "ClusterIP",
          sessionAffinity: "None",
          ...(spec["type"] === "ExternalName" ? {} : { internalTrafficPolicy: "Cluster" }),
          ...spec,
          ports: eachObject(spec["ports"], (port) => ({ protocol: "TCP", targetPort: port["port"], ...port }))
        }
      }
    case "EndpointSlice":
      return {
        ...object,
        endpoints: eachObject(object["endpoints"], (endpoint) => ({ conditions: {}, ...endpoint })),
        ports: eachObject(object["ports"], (port) => ({ name: "", protocol: "TCP", ...port }))
      }
    case "Deployment":
      return {
        ...object,
        spec: {
          replicas: 1,
          strategy: { type: "RollingUpdate", rollingUpdate: { maxUnavailable: "25%", maxSurge: "25%" } },
          revisionHistoryLimit: 10,
          progressDeadlineSeconds: 600,
          ...spec
        }
      }
    case "Namespace": {
      const metadata = objectOf(object["metadata"])
      const labels = { ...objectOf(metadata["labels"]), "kubernetes.io/metadata.name": metadata["name"] }
      return { ...object, metadata: { ...metadata, labels }, spec: { finalizers: ["kubernetes"] } }
    }
    default:
      return { ...object, spec }
  }
}

/**
 * With what the server itself decides: addresses, and a status that nobody gave. What it decided before stays.
 *
 * @category combinators
 * @since 0.2.0
 */
export const allocated = (
  resource: Resource,
  object: JsonObject,
  before: JsonObject | undefined,
  address: () => string
): JsonObject => {
  const status = object["status"] ?? before?.["status"]
  switch (resource.kind) {
    case "Service": {
      const spec = objectOf(object["spec"])
      const contents = { ...object, status: status ?? { loadBalancer: {} } }
      if (spec["type"] === "ExternalName") return contents
      const old = objectOf(before?.["spec"])
      const clusterIP = spec["clusterIP"] ?? old["clusterIP"] ?? address()
      const families = { ipFamilies: old["ipFamilies"] ?? ["IPv4"], ipFamilyPolicy: "SingleStack" }
      return { ...contents, spec: { clusterIPs: [clusterIP], ...families, ...spec, clusterIP } }
    }
    case "Deployment":
      return { ...object, status: status ?? {} }
    case "Namespace":
      return { ...object, status: { phase: "Active" } }
    case "Pod":
      return { ...object, status: status ?? { phase: "Pending" } }
    default:
      return object
  }
}

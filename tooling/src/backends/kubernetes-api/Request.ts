/**
 * What a request asks for, by its path and method.
 *
 * @since 0.2.0
 */
import { type Resource, resources, type Verb } from "./Resource.ts"

/**
 * A request that leads to a resource.
 *
 * @category models
 * @since 0.2.0
 */
export interface Target {
  readonly verb: Verb
  readonly resource: Resource
  /** `scale`, or empty. */
  readonly subresource: string
  /** Empty for all. */
  readonly namespace: string
  /** Empty for the whole collection. */
  readonly name: string
}

const verbs: Readonly<Record<string, readonly [ofCollection: Verb | undefined, ofObject: Verb | undefined]>> = {
  GET: ["list", "get"],
  POST: ["create", undefined],
  PUT: [undefined, "update"],
  PATCH: [undefined, "patch"],
  DELETE: ["deletecollection", "delete"]
}

/**
 * Reads a request; `undefined` where it leads to no resource.
 *
 * @category constructors
 * @since 0.2.0
 */
export const targetOf = (method: string, url: URL): Target | undefined => {
  const parts = url.pathname.split("/").slice(1)
  const core = parts[0] === "api"
  const [group = "", version, ...rest] = core ? ["", ...parts.slice(1)] : parts[0] === "apis" ? parts.slice(1) : []
  // `namespaces/mcp` is an object, `namespaces/mcp/services` a collection.
  const [namespace = "", plural, name = "", subresource = "", more] = rest[0] === "namespaces" && rest.length > 2
    ? rest.slice(1)
    : ["", ...rest]
  const resource = resources.find((one) => one.group === group && one.version === version && one.plural === plural)
  if (resource === undefined || more !== undefined || namespace !== "" && !resource.namespaced) return undefined
  if (subresource !== "" && !(resource.kind === "Deployment" && subresource === "scale")) return undefined
  const verb = verbs[method]?.[name === "" ? 0 : 1]
  if (verb === undefined || subresource !== "" && verb === "delete") return undefined
  // Objects are named within their namespace.
  if (resource.namespaced && namespace === "" && verb !== "list") return undefined
  const watched = verb === "list" && ["1", "true"].includes(url.searchParams.get("watch") ?? "")
  return { verb: watched ? "watch" : verb, resource, subresource, namespace, name }
}

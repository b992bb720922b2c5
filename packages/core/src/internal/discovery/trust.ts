/**
 * What a record may ask for, by the trust in its registry. A record can start a process, or have a secret sent to a URL
 * of its own choice.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import type { Registry } from "../../Registry.ts"
import type { ServiceInstance } from "../../ServiceInstance.ts"

/**
 * Why a record can't be taken from this registry, in a line that says what to do; none: it can.
 *
 * @category guards
 * @since 0.1.0
 */
export const refusal = (registry: Registry, instance: ServiceInstance): string | undefined => {
  // The key of a catalog entry joins registry and id with a NUL.
  if (instance.id.includes("\u0000")) return "id: it can't hold a NUL character"
  if (registry.trust === "full") return undefined
  const endpoint = instance.endpoint
  if (endpoint.transport === "stdio") {
    return `endpoint.transport: stdio starts a process, which registry "${registry.name}" isn't trusted to do; ` +
      "announce it in a local file, or set `trust: full` on this registry"
  }
  const where = secretOf(endpoint, "headers") ?? secretOf(endpoint, "env") ?? keyOf(endpoint)
  return where === undefined
    ? undefined
    : `${where}: registry "${registry.name}" isn't trusted to name secrets; ` +
      `${/^endpoint\.(headers|env)/.test(where) ? "write the value itself, " : ""}` +
      "announce it in a local file, or set `trust: full` on this registry"
}

/** Files of this machine that TLS takes, and any authorisation: its tokens are kept here. */
const keyOf = (endpoint: object): string | undefined => {
  if (Predicate.hasProperty(endpoint, "auth")) return "endpoint.auth"
  if (!Predicate.hasProperty(endpoint, "tls") || !Predicate.isObject(endpoint.tls)) return undefined
  const name = ["ca", "cert", "key", "passphrase"].find((name) => Predicate.hasProperty(endpoint.tls, name))
  return name === undefined ? undefined : `endpoint.tls.${name}`
}

const secretOf = (endpoint: object, field: string): string | undefined => {
  if (!Predicate.hasProperty(endpoint, field) || !Predicate.isObject(endpoint[field])) return undefined
  for (const [name, value] of Object.entries(endpoint[field])) {
    if (Predicate.isObject(value)) return `endpoint.${field}.${name}`
  }
  return undefined
}

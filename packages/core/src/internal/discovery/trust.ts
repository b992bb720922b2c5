/**
 * What a record may ask for, by the trust in its registry, and announce, by the registry's allow-list; and what the server
 * behind it may offer. A record can start a process, have a secret sent to a URL of its own choice, or take the place of
 * somebody else's service; a server can list any tool, whatever its record names.
 *
 * @since 0.1.0
 */
import * as Predicate from "effect/Predicate"
import type { AllowList, Registry } from "../../Registry.ts"
import type { ServiceInstance } from "../../ServiceInstance.ts"
import { pattern } from "../query/queryPredicates.ts"

/**
 * Why a record can't be taken from this registry, in a line that says what to do; none: it can.
 *
 * @category guards
 * @since 0.1.0
 */
export const refusal = (registry: Registry, instance: ServiceInstance): string | undefined => {
  // The key of a catalog entry joins registry and id with a NUL.
  if (instance.id.includes("\u0000")) return "id: it can't hold a NUL character"
  const unwanted = registry.allow === undefined ? undefined : unlisted(registry.allow, instance)
  if (unwanted !== undefined) {
    return `${unwanted.field}: registry "${registry.name}" may not announce "${unwanted.name}"; ` +
      `add it to \`allow.${unwanted.list}\` of this registry`
  }
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

/**
 * Why a tool that a server of this registry lists isn't offered, in a line; none: it may be. Its name is the server's own.
 *
 * @category guards
 * @since 0.2.0
 */
export const toolRefusal = ({ allow, name }: Pick<Registry, "allow" | "name">, tool: string): string | undefined =>
  allow === undefined || testsOf(allow).tools(tool) ? undefined : `not in \`allow.tools\` of registry "${name}"`

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

type Test = (name: string) => boolean

/** Records come by the thousand, so a list is made ready once. */
const tests = new WeakMap<AllowList, Readonly<Record<keyof AllowList, Test>>>()

const testsOf = (allow: AllowList) => {
  const known = tests.get(allow)
  if (known !== undefined) return known
  const made = {
    services: anyOf(allow.services),
    capabilities: anyOf(allow.capabilities),
    tools: anyOf(allow.tools)
  }
  tests.set(allow, made)
  return made
}

const anyOf = (patterns: ReadonlyArray<string> | undefined): Test => {
  const tests = (patterns ?? ["*"]).map(pattern)
  return (name) => tests.some((test) => test(name))
}

/** The first name of the record that isn't on the list, and the part of the list that it should be in. */
const unlisted = (allow: AllowList, instance: ServiceInstance) => {
  const listed = testsOf(allow)
  if (!listed.services(instance.service)) return { field: "service", name: instance.service, list: "services" }
  for (const list of ["capabilities", "tools"] as const) {
    const name = instance[list].find((name) => !listed[list](name))
    if (name !== undefined) return { field: list, name, list }
  }
  return undefined
}
